# SPDX-License-Identifier: GPL-2.0-only
"""Metrics as tables: one row per metric, in the registry's order, with its unit."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from rich.markup import escape
from rich.table import Table

from ktstr.metrics import METRICS, RENDER_SUPPRESSED_COMPONENTS, PhaseBucket, metric_def
from ktstr.metrics.phase import Phase
from ktstr.report.printable import figure, one_line
from ktstr.session.record import RunRecord, in_order
from ktstr.telemetry import PhaseCgroupStats

MAIN = frozenset(
    {
        "worst_spread",
        "worst_gap_ms",
        "total_migrations",
        "worst_p99_wake_latency_us",
        "worst_p99_timer_latency_us",
        "iteration_rate",
        "worst_mean_run_delay_us",
    }
)
"""The metrics that every run prints; the others are shown on request."""

MAX_COLUMNS = 6
"""Columns of one table; more phases or cgroups get tables of their own below."""

CARRIER_COUNTERS = ("total_migrations", "total_iterations", "total_cpu_time_ns")

Column = tuple[str, Mapping[str, float]]
"""Heading and the metrics measured there, by name."""


def main_metrics(record: RunRecord) -> Iterator[Table]:
    """The few that matter, for the run and, while they fit on the screen, for each phase."""
    columns = _run_and_phases(record)
    if len(columns) > MAX_COLUMNS:
        columns = columns[:1]
    yield from _tables(
        [(title, {n: v for n, v in found.items() if n in MAIN}) for title, found in columns]
    )


def all_metrics(record: RunRecord) -> Iterator[Table]:
    """Everything that was measured, for the run and for each phase."""
    yield from _tables(_run_and_phases(record))


def cgroup_metrics(record: RunRecord) -> Iterator[Table]:
    """Everything that was measured of each cgroup, phase by phase."""
    for bucket in record.phases:
        if bucket.per_cgroup:
            title = record.phase_title(bucket.step_index)
            columns = [(name, _of_cgroup(found)) for name, found in bucket.per_cgroup.items()]
            yield from _tables(columns, title)


def _run_and_phases(record: RunRecord) -> list[Column]:
    phases = [
        (
            record.phase_title(bucket.step_index),
            _of_phase(record, bucket),
        )
        for bucket in record.phases
    ]
    return [("run", record.run_metrics()), *phases]


def _of_phase(record: RunRecord, bucket: PhaseBucket) -> dict[str, float]:
    assert record.result is not None
    phase, stats = Phase(bucket.step_index), record.result.stats
    known = {metric.name: stats.phase_metric(phase, metric.name) for metric in METRICS}
    return {name: value for name, value in known.items() if value is not None} | dict(
        bucket.metrics
    )


def _of_cgroup(carrier: PhaseCgroupStats) -> dict[str, float]:
    counters = {name: carrier.cgroup_counter(name) for name in CARRIER_COUNTERS}
    return {name: value for name, value in counters.items() if value is not None} | dict(
        carrier.metrics
    )


def _tables(columns: Sequence[Column], title: str = "metric") -> Iterator[Table]:
    names = _names(found for _, found in columns)
    if not names:
        return
    for start in range(0, len(columns), MAX_COLUMNS):
        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
        table.add_column(escape(one_line(title)), no_wrap=True)
        table.add_column("unit", no_wrap=True)
        shown = columns[start : start + MAX_COLUMNS]
        for heading, _ in shown:
            table.add_column(escape(one_line(heading)), justify="right", no_wrap=True)
        for name in names:
            definition = metric_def(name)
            unit = "" if definition is None else definition.display_unit
            cells = [figure(found.get(name)) for _, found in shown]
            table.add_row(escape(one_line(name)), escape(unit), *cells)
        yield table


def _names(columns: Iterable[Mapping[str, float]]) -> list[str]:
    """What is measured in any column, without the parts of rates."""
    found = {name: 0.0 for measured in columns for name in measured}
    return [name for name in in_order(found) if name not in RENDER_SUPPRESSED_COMPONENTS]
