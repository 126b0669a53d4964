# SPDX-License-Identifier: GPL-2.0-only
"""What the scheduler said about itself: its statistics over the samples, with its own words."""

from collections import Counter
from typing import Final

from rich.markup import escape
from rich.table import Table

from ktstr.report.printable import figure, one_line
from ktstr.series.errors import SnapshotError
from ktstr.series.records import plain_figures
from ktstr.series.sample import MissingStatsReason, SampleSeries, StatsMeta
from ktstr.session.record import RunRecord

MOST_FIGURES: Final = 500
_STATS: Final = "stats."


def stats_table(record: RunRecord) -> Table | None:
    """Every figure with its first and last value; ``None`` when no sample has statistics."""
    samples = record.samples
    names = _names(samples)
    if not names:
        return None
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    table.add_column("statistic", no_wrap=True)
    for heading in ("first", "last"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("what the scheduler says", no_wrap=True)
    meta = samples.stats_meta or StatsMeta({}, None)
    for name in names[:MOST_FIGURES]:
        values = [
            v
            for v in samples.stats_path().field(name, lambda value: value.raw).values_iter()
            if not isinstance(v, SnapshotError)
        ]
        row = (name, *(_shown(value) for value in (values[0], values[-1])), meta.describe(name))
        table.add_row(*(escape(one_line(text)) for text in row))
    if len(names) > MOST_FIGURES:
        table.add_row(f"... and {len(names) - MOST_FIGURES} more", "", "", "")
    return table


def missing_stats_lines(record: RunRecord) -> list[str]:
    """Why samples have no statistics, with how many; empty when all have them."""
    reasons = Counter(
        str(sample.stats)
        for sample in record.samples.iter_samples()
        if isinstance(sample.stats, MissingStatsReason)
    )
    return [f"{count} samples without statistics: {why}" for why, count in reasons.items()]


def _names(samples: SampleSeries) -> list[str]:
    found: dict[str, None] = {}
    for sample in samples.iter_samples():
        if not isinstance(sample.stats, MissingStatsReason):
            found |= dict.fromkeys(
                name.removeprefix(_STATS) for name, _ in plain_figures("stats", sample.stats)
            )
    return list(found)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return figure(value) if isinstance(value, int | float) else str(value)
