# SPDX-License-Identifier: GPL-2.0-only
"""What a command of several runs writes for programs: JUnit XML, and a document as JSON."""

import errno
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ktstr.cli.screen import Screen
from ktstr.errors import KtstrError, OutputUnwritable
from ktstr.report.junit import junit
from ktstr.report.many import Outcome


@dataclass(frozen=True, slots=True)
class Reports:
    """Where the outcomes go beside the screen.

    :param on_stdout: the document goes there, and what people read to standard error.
    :param json_file: file for the document.
    :param junit_file: file for JUnit XML.
    :param html_file: page with the list of all runs; their own pages lie beside it.
    :param perfetto_file: trace of the run; of several, the folder for theirs.
    :param markdown_file: file for Markdown.
    """

    on_stdout: bool = False
    json_file: Path | None = None
    junit_file: Path | None = None
    html_file: Path | None = None
    perfetto_file: Path | None = None
    markdown_file: Path | None = None


def check_reports(reports: Reports, *, single: bool = False) -> None:
    """See before anything runs whether the files can be written; makes their folders.

    :param single: whether they are of one run, whose trace is a file and not in a folder.
    :raise OutputUnwritable: when one cannot.
    """
    traces = reports.perfetto_file
    files = [reports.json_file, reports.junit_file, reports.html_file, reports.markdown_file]
    if single:
        files.append(traces)
    for path in files:
        if path is None:
            continue
        try:
            _check_folder(path.parent)
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        except OSError as error:
            raise unwritable(path, error) from None
    if traces is not None and not single:
        try:
            _check_folder(traces)
        except OSError as error:
            raise unwritable(traces, error) from None


def _check_folder(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def write_reports(
    reports: Reports,
    outcomes: Sequence[Outcome],
    document: Mapping[str, Any],
    began_at: datetime,
) -> Iterator[KtstrError]:
    """Write all of them; yields what went wrong.

    :param document: what programs are told.
    """
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    began = began_at.strftime("%Y-%m-%dT%H:%M:%S")
    files = {
        reports.junit_file: junit(outcomes, document["wall_s"], began),
        reports.json_file: text,
    }
    for path, content in files.items():
        if path is not None:
            yield from write_text(path, content)
    if reports.html_file is not None:
        # Pages take a while to import, and only this needs them.
        from ktstr.cli.pages import rows_of, write_list

        yield from write_list(reports.html_file, rows_of(outcomes))
    if reports.perfetto_file is not None:
        from ktstr.cli.traces import write_each

        yield from write_each(reports.perfetto_file, [outcome.record for outcome in outcomes])
    if reports.on_stdout:
        out = Screen(sys.stdout)
        out.text.write(text)
        out.text.flush()
        if out.failure is not None and out.failure.errno != errno.EPIPE:
            yield OutputUnwritable(f"the outcomes cannot be printed: {out.failure.strerror}")


def write_text(path: Path, content: str) -> Iterator[OutputUnwritable]:
    """Write one of them; yields what went wrong."""
    try:
        write_whole(path, content)
    except OSError as error:
        yield unwritable(path, error)


def write_whole(path: Path, content: str) -> None:
    """Write a file of which a reader finds all or nothing.

    :raise OSError: when it cannot be written.
    """
    if path.is_symlink() or (path.exists() and not path.is_file()):
        # A pipe, /dev/stdout or a link is written to, not replaced.
        path.write_text(content, encoding="utf-8", errors="backslashreplace")
        return
    descriptor, scratch = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as out:
            out.write(content)
        os.chmod(scratch, 0o644)
        os.replace(scratch, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(scratch)
        raise


def unwritable(path: Path, error: OSError) -> OutputUnwritable:
    """The error for a report that cannot be written."""
    return OutputUnwritable(
        f"the report {path} cannot be written: {error.strerror}",
        hint="free space there, or choose another place",
    )
