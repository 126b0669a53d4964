# SPDX-License-Identifier: GPL-2.0-only
"""Pages of runs as files: one for a run, a list and a folder beside it for several."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final
from urllib.parse import quote

from ktstr.cli.reports import unwritable, write_whole
from ktstr.errors import KtstrError
from ktstr.report.many import Outcome
from ktstr.report.page.html import page_html
from ktstr.report.page.index import IndexRow, index_html
from ktstr.session.ends import first_reason
from ktstr.session.record import RunRecord
from ktstr.session.sidecar.read import read_sidecar

SUFFIX: Final = ".html"


def write_page(path: Path, record: RunRecord) -> None:
    """Write the page of one run.

    :raise OutputUnwritable: when it cannot be written.
    """
    try:
        write_whole(path, page_html(record))
    except OSError as error:
        raise unwritable(path, error) from error


def write_list(path: Path, runs: Sequence[tuple[IndexRow, Path | None]]) -> Iterator[KtstrError]:
    """Write a list of runs, and the pages of those with a record into a folder beside it.

    The folder is called like the list, with ``.runs`` in place of its suffix; the links are
    relative, so that both can be moved together. Yields what went wrong; the list is written last.
    """
    folder = path.with_name(f"{path.stem}.runs")
    rows: list[IndexRow] = []
    names: Counter[str] = Counter()
    for row, sidecar in runs:
        href = ""
        if sidecar is not None:
            name = sidecar.name.removesuffix(".ktstr.json")
            # Records of two folders may have one name.
            names[name] += 1
            number = f"-{names[name]}" if names[name] > 1 else ""
            target = folder / f"{name}{number}{SUFFIX}"
            try:
                record = read_sidecar(sidecar)
                folder.mkdir(parents=True, exist_ok=True)
                write_page(target, record)
                href = f"{quote(folder.name)}/{quote(target.name)}"
            except KtstrError as error:
                yield error
            except OSError as error:
                yield unwritable(target, error)
        rows.append(replace(row, href=href))
    try:
        write_whole(path, index_html(rows))
    except OSError as error:
        yield unwritable(path, error)


def rows_of(outcomes: Sequence[Outcome]) -> list[tuple[IndexRow, Path | None]]:
    """The outcomes of a command as rows of such a list."""
    return [
        (
            IndexRow(
                label=outcome.title,
                verdict=outcome.verdict,
                reason=outcome.reason,
                wall_s=outcome.wall_s or None,
                kernel=outcome.facts.get("kernel", ""),
                topology=outcome.facts.get("topology", ""),
                scheduler=outcome.facts.get("scheduler", ""),
            ),
            outcome.record,
        )
        for outcome in outcomes
    ]


def row_of(record: RunRecord) -> IndexRow:
    """A record as a row of such a list."""
    facts = record.facts
    kernel, scheduler = facts.get("kernel"), facts.get("scheduler")
    wall = record.host.get("wall_s")
    return IndexRow(
        label=record.name,
        verdict="guest lost" if record.verdict == "lost" else record.verdict,
        reason=first_reason(record),
        wall_s=float(wall) if isinstance(wall, int | float) else None,
        kernel=str(kernel.get("release", "")) if isinstance(kernel, dict) else "",
        topology=str(facts.get("topology") or ""),
        scheduler=str(scheduler.get("path") or "") if isinstance(scheduler, dict) else "",
    )
