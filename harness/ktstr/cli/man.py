# SPDX-License-Identifier: GPL-2.0-only
"""Man pages, made from the commands themselves (man(7), the classic macros).

``python -m ktstr.cli.man FOLDER`` writes them; they are kept in ``docs/man``.
"""

import inspect
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import click

SECTION: Final = 1
_BLOCK: Final = "\b"
_SEE_ALSO: Final = {"ktstr": ("ktstr-run",), "ktstr-run": ("ktstr",)}
_EXITS: Final = (
    ("0", "Pass, or skip."),
    ("1", "A check failed: a finding about the scheduler."),
    ("2", "Inconclusive: nothing was checked, or the host spoiled it."),
    ("3", "The guest was lost; the evidence is kept."),
    ("4", "Nothing could be run; the message names the fix."),
    ("130", "Interrupted; everything is cleaned up."),
)
_FILES: Final = (
    ("~/.cache/ktstr", "Kernels, guest images, templates (XDG_CACHE_HOME)."),
    ("/tmp/ktstr-leases", "Who has which CPUs of this host (KTSTR_LEASES)."),
)


def pages() -> dict[str, str]:
    """The text of each page by its file's name."""
    from ktstr.cli.main import main as ktstr
    from ktstr.cli.run import main as ktstr_run

    return {
        f"{name}.{SECTION}": "\n".join(_page(name, command)) + "\n"
        for name, command in (("ktstr", ktstr), ("ktstr-run", ktstr_run))
    }


def _page(name: str, command: click.Command) -> Iterator[str]:
    context = click.Context(command, info_name=name)
    help_text = _help(command)
    yield '.\\" SPDX-License-Identifier: GPL-2.0-only'
    yield f'.TH {name.upper()} {SECTION} "" "ktstr" "Tests for process schedulers"'
    yield ".SH NAME"
    yield f"{_text(name)} \\- {_text(_decapitalised(_first_sentence(help_text)).rstrip('.'))}"
    yield ".SH SYNOPSIS"
    yield f".B {_text(name)}"
    yield _text(" ".join(command.collect_usage_pieces(context)))
    yield ".SH DESCRIPTION"
    yield from _paragraphs(help_text)
    if isinstance(command, click.Group):
        yield ".SH COMMANDS"
        for sub in command.list_commands(context):
            found = command.get_command(context, sub)
            if found is not None:
                yield from _command(f"{name} {sub}", found, context)
    else:
        yield ".SH OPTIONS"
        yield from _options(command, context)
    yield ".SH EXIT STATUS"
    yield from _terms(_EXITS)
    yield ".SH FILES"
    yield from _terms(_FILES)
    yield ".SH SEE ALSO"
    yield ", ".join(f"\\fB{_text(other)}\\fR({SECTION})" for other in _SEE_ALSO[name])


def _command(name: str, command: click.Command, parent: click.Context) -> Iterator[str]:
    context = click.Context(command, info_name=command.name, parent=parent)
    usage = " ".join(command.collect_usage_pieces(context))
    yield f".SS {_text(f'{name} {usage}')}"
    yield from _paragraphs(_help(command))
    yield from _options(command, context)
    if isinstance(command, click.Group):
        for sub in command.list_commands(context):
            found = command.get_command(context, sub)
            if found is not None:
                yield from _command(f"{name} {sub}", found, context)


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    records = (parameter.get_help_record(context) for parameter in command.params)
    # Arguments without help are in the synopsis and the text.
    yield from _terms(record for record in records if record is not None and record[1])


def _terms(terms: Iterable[tuple[str, str]]) -> Iterator[str]:
    for term, meaning in terms:
        yield ".TP"
        yield f"\\fB{_text(term)}\\fR"
        yield _text(" ".join(meaning.split()))


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in re.split(r"\n\s*\n", text):
        lines = [line.strip("\n") for line in paragraph.strip("\n").splitlines()]
        verbatim = bool(lines) and lines[0].strip() == _BLOCK
        if verbatim:
            yield ".PP"
            yield ".nf"
            yield from (_text(line) for line in lines[1:])
            yield ".fi"
        elif lines:
            yield ".PP"
            yield _text(" ".join(line.strip() for line in lines))


def _help(command: click.Command) -> str:
    return inspect.cleandoc(command.help or command.short_help or "").split("\f")[0]


def _first_sentence(text: str) -> str:
    paragraph = " ".join(text.split("\n\n")[0].split())
    return re.split(r"(?<=[.:])\s", paragraph)[0]


def _decapitalised(text: str) -> str:
    return text[:1].lower() + text[1:]


def _text(text: str) -> str:
    """Text that no character of is a request or an escape."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


def write(folder: Path) -> None:
    """Write all pages."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
