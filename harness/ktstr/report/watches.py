# SPDX-License-Identifier: GPL-2.0-only
"""The writes that watches answered with a capture."""

from typing import Final

from rich.markup import escape
from rich.table import Table

from ktstr.report.printable import NOT_MEASURED, one_line
from ktstr.series.sample import Sample, Trigger
from ktstr.session.record import RunRecord

MOST_LINES: Final = 12
"""Lines of the table unless everything is asked for."""


def watch_table(record: RunRecord, *, everything: bool = False) -> Table | None:
    """One line per hit, in the order they came; ``None`` when there is none."""
    hits = [(s, s.trigger) for s in record.samples.iter_samples() if s.trigger is not None]
    if not hits:
        return None
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    for title in ("watch", "at ms", "written", "old", "new", "by", "CPU"):
        figures = title in ("at ms", "old", "new", "CPU")
        table.add_column(title, justify="right" if figures else "left", no_wrap=True)
    fits = everything or len(hits) <= MOST_LINES
    for sample, trigger in hits if fits else hits[: MOST_LINES - 1]:
        table.add_row(*(escape(one_line(cell)) for cell in _cells(sample, trigger)))
    if not fits:
        left = len(hits) - (MOST_LINES - 1)
        table.add_row(escape(f"... and {left} more (ktstr show --metrics)"), *[""] * 6)
    return table


def _cells(sample: Sample, trigger: Trigger) -> list[str]:
    address = trigger.instruction
    figures = (sample.elapsed_ms, trigger.old, trigger.new, trigger.cpu)
    at, old, new, cpu = (NOT_MEASURED if each is None else str(each) for each in figures)
    by = trigger.code or (NOT_MEASURED if address is None else f"{address:#x}")
    return [sample.tag, at, trigger.watch, old, new, by, cpu]
