# SPDX-License-Identifier: GPL-2.0-only
"""``ktstr scenarios``: the catalogue, as a table, as JSON, as the manual's page."""

import json
from itertools import groupby
from typing import TYPE_CHECKING

import click

from ktstr.cli.command_line import BadCommandLine, Command

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ktstr.model.catalogue import Entry

PAGE_HEAD = """\
# The scenarios that come with ktstr

Each is a file below `configs/scenarios/` and runs by its name (`ktstr-run cgroup_steady`), with
others (`ktstr-run --filter cpuset`) or with all (`ktstr-run --all`). They hold for 2 to 4 s on four
vCPUs in two LLCs, with limits wide enough for an emulated guest.

The files load `scx_ktstr`, which comes with ktstr. `--scheduler S` puts another in its place:
`none` is the kernel's own, a path that ends in `.o` a BPF object, any other path a program, and
`kernel:NAME` a scheduler of the kernel's source ([schedulers](guide/schedulers.md)).

A scheduler's own flags multiply a scenario: `ktstr-run NAME --all-flags` runs it once for every
combination that makes sense, `--flags a+b` with one of them ([scenario file](scenario-file.md)).

Several run as many at a time as the host carries ([many runs](guide/many-runs.md)); a table at the
end says how each went, and the exit status is that of the worst. `configs/scenarios/faults/` has
what goes wrong on purpose: it runs by path and is no part of the catalogue.

`ktstr scenarios --markdown` prints this page.
"""


@click.command(cls=Command)
@click.option("--filter", "word", metavar="WORD", default="", help="Only what has WORD in it.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--markdown", is_flag=True, help="Print docs/scenarios.md, always whole.")
def scenarios(word: str, as_json: bool, markdown: bool) -> None:
    """List the scenarios that come with ktstr and run by name."""
    from ktstr.model.catalogue import catalogue

    if markdown and (as_json or word):
        raise BadCommandLine("--markdown goes with neither --json nor --filter")
    found = catalogue(word)
    if markdown:
        click.echo("\n".join(_page(found)))
    elif as_json:
        click.echo(json.dumps([_document(entry) for entry in found], indent=2, ensure_ascii=False))
    elif found:
        for line in _lines(found):
            click.echo(line)
    else:
        raise click.ClickException(
            f"no scenario has {word!r} in its name, group or sentence; "
            "`ktstr scenarios` lists them all"
        )


def _document(entry: "Entry") -> dict[str, str]:
    return {
        "name": entry.name,
        "group": entry.group,
        "provokes": entry.provokes,
        "path": str(entry.path),
    }


def _lines(entries: "Sequence[Entry]") -> "Iterator[str]":
    width = max(len(entry.name) for entry in entries)
    for group, members in groupby(entries, key=lambda entry: entry.group):
        yield click.style(group, bold=True)
        for entry in members:
            yield f"  {entry.name:<{width}}  {entry.provokes}"


def _page(entries: "Sequence[Entry]") -> "Iterator[str]":
    yield PAGE_HEAD.rstrip()
    for group, members in groupby(entries, key=lambda entry: entry.group):
        yield f"\n## {group}\n\n| scenario | provokes |\n|---|---|"
        for entry in members:
            yield f"| `{entry.name}` | {entry.provokes} |"
