# SPDX-License-Identifier: GPL-2.0-only
"""How all runs of a command went: tables for people, a document for programs."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ktstr.errors import ExitCode
from ktstr.report.many import (
    REASON_CHARS,
    VERDICT_STYLES,
    Outcome,
    counted,
    exit_code,
    workload_s,
)
from ktstr.report.matrix import Cell, Grid, cells_of, grid_of
from ktstr.report.printable import one_line

SCHEMA: Final = 1
"""Version of :func:`document`."""

MAX_NOTES: Final = 10
COLUMN_CHARS: Final = 28
"""Of a column's name; the end of a file's path says more than its beginning."""


def summary(outcomes: Sequence[Outcome], wall_s: float) -> list[RenderableType]:
    """The table of all runs, the worst last and skips after passes, and the totals below it.

    In a long log the last lines are what people see first. Repetitions share a row. Where scenarios
    were multiplied by kernels, topologies or flags, what happened where stands in a grid above it,
    with a column for each kernel if there are several, and the table is left to what did not pass.

    :param wall_s: from the first start to the last end, seconds.
    """
    cells = cells_of(outcomes)
    parts: list[RenderableType] = []
    grid = grid_of(outcomes)
    if grid is not None:
        parts += [Text(), _grid(grid)]
        if releases := grid.releases():
            parts += [Text(), _kernels(releases)]
        cells = [cell for cell in cells if cell.worst.verdict != "pass"]
    if cells:
        parts += [Text(), outcome_table(cells)]
    parts += [Text(), *pass_notes(outcomes), totals(outcomes, wall_s)]
    return parts


def outcome_table(cells: Iterable[Cell]) -> Table:
    """A line for each cell: its worst verdict, what it took, the first reason."""
    table = Table(box=None, padding=(0, 1), pad_edge=False)
    table.add_column("scenario", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("s", justify="right", no_wrap=True)
    table.add_column("first reason", no_wrap=True)
    for cell in cells:
        outcome = cell.worst
        table.add_row(
            Text(one_line(outcome.label)),
            Text(cell.verdict, style=VERDICT_STYLES.get(outcome.verdict, "")),
            cell.seconds,
            Text(one_line(outcome.reason, REASON_CHARS)),
        )
    return table


def _grid(grid: Grid) -> Table:
    table = Table(box=None, padding=(0, 1), pad_edge=False)
    table.add_column("scenario", no_wrap=True)
    for column in grid.columns:
        table.add_column(_column(column), no_wrap=True)
    for line in grid.lines:
        found = [line.cells.get(column) for column in grid.columns]
        table.add_row(Text(one_line(line.label)), *(_cell(cell) for cell in found))
    return table


def _kernels(releases: dict[str, str]) -> Table:
    """What the kernels of the columns turned out to be."""
    table = Table(box=None, padding=(0, 1), pad_edge=False)
    table.add_column("kernel", no_wrap=True)
    table.add_column("release", no_wrap=True)
    for kernel, release in releases.items():
        table.add_row(Text(one_line(kernel)), Text(one_line(release), style="dim"))
    return table


def _column(name: str) -> str:
    text = one_line(name) or "-"
    return text if len(text) <= COLUMN_CHARS else "…" + text[1 - COLUMN_CHARS :]


def _cell(cell: Cell | None) -> Text:
    if cell is None:
        return Text("")
    text = Text(cell.verdict, style=VERDICT_STYLES.get(cell.worst.verdict, ""))
    if cell.worst.wall_s >= 0.05:
        text.append(f" {cell.seconds} s", style="dim")
    return text


def pass_notes(outcomes: Iterable[Outcome]) -> list[RenderableType]:
    """What was noted of runs that passed: elsewhere nobody would look for it."""
    seen = Counter(
        note for outcome in outcomes if outcome.verdict == "pass" for note in outcome.notes
    )
    lines: list[RenderableType] = [
        Text(f"note: {one_line(note, REASON_CHARS)}" + _times(count), style="dim")
        for note, count in seen.most_common(MAX_NOTES)
    ]
    if len(seen) > MAX_NOTES:
        lines.append(Text(f"... and {len(seen) - MAX_NOTES} more notes", style="dim"))
    return lines


def _times(count: int) -> str:
    return f" ({count} runs)" if count > 1 else ""


def document(outcomes: Sequence[Outcome], wall_s: float, code: ExitCode) -> dict[str, Any]:
    """All outcomes and their totals, for programs.

    ``matrix`` has a column for each kernel where the command names several; else it is ``null``.
    """
    grid = grid_of(outcomes)
    return {
        "schema": SCHEMA,
        "exit_code": int(code),
        "wall_s": round(wall_s, 3),
        "workload_s": workload_s(outcomes),
        "verdicts": dict(counted(outcomes)),
        "matrix": grid.document() if grid is not None and grid.kernels else None,
        "scenarios": [outcome.document() for outcome in outcomes],
    }


def totals(outcomes: Sequence[Outcome], wall_s: float) -> Text:
    """What all outcomes come to, in a sentence.

    :param wall_s: from the first start to the last end, seconds.
    """
    ends = counted(outcomes)
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in ends.items())
    labels = {(outcome.turn.path, outcome.label) for outcome in outcomes}
    what = "scenario" if len(labels) == len({o.turn.path for o in outcomes}) else "run"
    what = "run" if len(outcomes) > len(labels) else what
    text = f"{len(outcomes)} {what}{'' if len(outcomes) == 1 else 's'}: {verdicts}; {wall_s:.0f} s"
    workload = workload_s(outcomes)
    if workload:
        text += f", {wall_s / workload:.1f} times the {workload:g} s that they hold"
    good = exit_code(outcomes) == ExitCode.PASS
    if len(ends) > 1 and not good:
        text += f"; the worst: {[*ends][-1]}"
    return Text(text, style="bold green" if good else "bold red")
