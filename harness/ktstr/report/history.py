# SPDX-License-Identifier: GPL-2.0-only
"""Runs of the past as lines, newest first, and one metric of theirs as bars."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from ktstr.history.dimensions import Dimension, counted
from ktstr.history.plot import bars, base
from ktstr.history.rows import Row
from ktstr.metrics import metric_def
from ktstr.report.printable import NOT_MEASURED, figure, one_line

KEY_METRICS: Final = ("iteration_rate", "worst_p99_wake_latency_us")
"""What a list shows of each run, where no metric is asked for."""

_STYLES: Final = {"pass": "green", "fail": "red", "lost": "red", "inconclusive": "yellow"}
_CELL: Final = 40


def listing(rows: Sequence[Row], metrics: Sequence[str] = KEY_METRICS) -> Iterator[Text]:
    """A line per run in the order given, below a heading."""
    heads = (
        *("when (UTC)", "name", "verdict", "kernel", "topology", "scheduler", "commit"),
        *metrics,
        "run id",
    )
    cells = [
        (
            row.started or NOT_MEASURED,
            *(
                one_line(text or NOT_MEASURED, _CELL)
                for text in (
                    *(row.scenario, row.verdict, row.kernel, row.topology, row.scheduler),
                    row.project_commit,
                )
            ),
            *(figure(row.metric(name)) for name in metrics),
            one_line(row.run_id, _CELL),
        )
        for row in rows
    ]
    right = {7 + place for place in range(len(metrics))}
    widths = [max(map(cell_len, column)) for column in zip(heads, *cells, strict=True)]
    for line, row in zip((heads, *cells), (None, *rows), strict=True):
        text = Text(style="bold" if row is None else "")
        for place, (cell, width) in enumerate(zip(line, widths, strict=True)):
            padded = (
                " " * (width - cell_len(cell)) + cell
                if place in right
                else set_cell_size(cell, width)
            )
            style = _STYLES.get(row.verdict, "") if row is not None and place == 2 else ""
            text.append(padded, style=style)
            text.append("  ")
        text.rstrip()
        yield text


def plot(rows: Sequence[Row], metric: str) -> Iterator[Text]:
    """A bar for each run, in the order given; runs that did not measure it have none."""
    found = metric_def(metric)
    unit = found.display_unit if found is not None else ""
    values = [row.metric(metric) for row in rows]
    shapes = bars(values)
    names = [one_line(row.scenario, _CELL) for row in rows]
    width = max(map(cell_len, names), default=0)
    numbers = [figure(value) for value in values]
    wide = max(map(len, numbers), default=0)
    start = base(values)
    begin = f", bars begin at {figure(start)}" if start else ""
    yield Text(f"{metric}{f' ({unit})' if unit else ''}{begin}", style="bold")
    for row, name, number, shape in zip(rows, names, numbers, shapes, strict=True):
        text = Text(f"{row.started or NOT_MEASURED:19}  {set_cell_size(name, width)}  ")
        text.append(f"{row.verdict:12}", style=_STYLES.get(row.verdict, ""))
        text.append(f"  {number:>{wide}}  {shape}")
        text.rstrip()
        yield text


def value_counts(rows: Sequence[Row], dimension: Dimension) -> Iterator[str]:
    """The values that runs have in a dimension, and how many runs have each."""
    for value, count in counted(rows, dimension.of):
        yield f"{count:6}  {NOT_MEASURED if value is None else one_line(value, 200)}"


def entry(row: Row) -> dict[str, Any]:
    """A run for programs: everything a comparison knows of it."""
    return {
        "run_id": row.run_id,
        "path": str(row.path),
        "started": row.started,
        "name": row.scenario,
        "verdict": row.verdict,
        "exit_code": row.exit_code,
        "reason": row.reason,
        "wall_s": row.wall_s,
        **{each.value.replace("-", "_"): _value(row, each) for each in Dimension},
        "metrics": dict(row.metrics),
        "phases": [
            {"step": each.step_index, "label": each.label, "name": each.name}
            | {"metrics": dict(each.metrics)}
            for each in row.phases
        ],
    }


def _value(row: Row, dimension: Dimension) -> object:
    return getattr(row, dimension.value.replace("-", "_"))
