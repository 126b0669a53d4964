# SPDX-License-Identifier: GPL-2.0-only
"""What the scheduler said about itself: its statistics over the samples, with its own words."""

from collections import Counter
from typing import Final

from rich.markup import escape
from rich.table import Table

from ktstr.report.printable import figure, one_line
from ktstr.series.records import Scalar, plain_figures
from ktstr.series.sample import MissingStatsReason, SampleSeries, StatsMeta
from ktstr.session.record import RunRecord

MOST_FIGURES: Final = 500


def stats_table(record: RunRecord) -> Table | None:
    """Every figure with its first and last value; ``None`` when no sample has statistics."""
    figures = _figures(record.samples)
    if not figures:
        return None
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    table.add_column("statistic", no_wrap=True)
    for heading in ("first", "last"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("what the scheduler says", no_wrap=True)
    meta = record.samples.stats_meta or StatsMeta({}, None)
    for path, (first, last) in list(figures.items())[:MOST_FIGURES]:
        row = (".".join(path), _shown(first), _shown(last), meta.describe(path))
        table.add_row(*(escape(one_line(text)) for text in row))
    if len(figures) > MOST_FIGURES:
        table.add_row(f"... and {len(figures) - MOST_FIGURES} more", "", "", "")
    return table


def missing_stats_lines(record: RunRecord) -> list[str]:
    """Why samples have no statistics, with how many; empty when all have them."""
    reasons = Counter(
        str(sample.stats)
        for sample in record.samples.iter_samples()
        if isinstance(sample.stats, MissingStatsReason)
    )
    return [f"{count} samples without statistics: {why}" for why, count in reasons.items()]


def _figures(samples: SampleSeries) -> dict[tuple[str, ...], tuple[Scalar, Scalar]]:
    """First and last value of every figure, by the keys that lead to it."""
    found: dict[tuple[str, ...], tuple[Scalar, Scalar]] = {}
    for sample in samples.iter_samples():
        if not isinstance(sample.stats, MissingStatsReason):
            for path, value in plain_figures(sample.stats):
                found[path] = found.get(path, (value, value))[0], value
    return found


def _shown(value: Scalar) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return figure(value) if isinstance(value, int | float) else str(value)
