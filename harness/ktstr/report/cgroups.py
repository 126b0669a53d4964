# SPDX-License-Identifier: GPL-2.0-only
"""The table of a run: one row per phase and cgroup."""

from collections.abc import Iterator

from rich.console import JustifyMethod
from rich.markup import escape
from rich.table import Table

from ktstr.metrics import PhaseBucket
from ktstr.report.printable import NOT_MEASURED, number, one_line
from ktstr.session.record import RunRecord
from ktstr.telemetry import PhaseCgroupStats, WorkerReport
from ktstr.telemetry.cgroup import CgroupStats
from ktstr.verdict import cpu_list

NS_PER_S = 1_000_000_000

COLUMNS: tuple[tuple[str, JustifyMethod], ...] = (
    ("phase", "left"),
    ("cgroup", "left"),
    ("workers", "right"),
    ("cpus", "left"),
    ("iter", "right"),
    ("iter/s", "right"),
    ("off-cpu%", "right"),
    ("spread", "right"),
    ("gap ms", "right"),
    ("migr", "right"),
    ("latency", "left"),
    ("p50 µs", "right"),
    ("p99 µs", "right"),
    ("cv", "right"),
    ("delay µs", "right"),
)
LATENCY = next(index for index, (name, _) in enumerate(COLUMNS) if name == "latency")


def cgroup_table(record: RunRecord) -> Table | None:
    """One row per phase and cgroup; a dash is "not measured", 0 is a measured zero.

    Latencies are of wake-ups or of timers; a cgroup with both gets a second row for its timers.
    Cgroups that no phase speaks of have a row for the whole run. ``None`` without any row.
    """
    if record.result is None:
        return None
    rows: list[list[str]] = []
    for bucket in record.phases:
        title = record.phase_title(bucket.step_index)
        rows += _bucket_rows(title, bucket)
    in_phases = {name for bucket in record.phases for name in bucket.per_cgroup}
    for cgroup in record.result.stats.cgroups:
        if cgroup.cgroup_name not in in_phases:
            name = cgroup.cgroup_name
            workers = [tagged.report for tagged in record.reports if tagged.cgroup == name]
            rows += _whole_run_rows(cgroup, rate_of(workers))
    if not rows:
        return None
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    for name, justify in COLUMNS:
        table.add_column(name, justify=justify, no_wrap=True)
    for row in rows:
        table.add_row(*(escape(one_line(cell)) for cell in row))
    return table


def rate_of(workers: list[WorkerReport]) -> float | None:
    """Iterations per second of all ``workers``, each by its own time; ``None`` if none has any."""
    measured = [worker for worker in workers if worker.wall_time_ns]
    if not measured:
        return None
    return sum(worker.iterations * NS_PER_S / worker.wall_time_ns for worker in measured)


def _bucket_rows(title: str, bucket: PhaseBucket) -> Iterator[list[str]]:
    # From StepStart to StepEnd; the bucket's own window spans its snapshots only.
    seconds = bucket.get("total_phase_duration_sec") or 0.0
    for cgroup, carrier in sorted(bucket.per_cgroup.items()):
        yield from _carrier_rows(title, cgroup, carrier, seconds)
        title = ""


def _carrier_rows(
    label: str, name: str, carrier: PhaseCgroupStats, seconds: float
) -> Iterator[list[str]]:
    off_cpu = carrier.off_cpu_summary()
    wake, timer = carrier.wake_summary(), carrier.timer_summary()
    delay = carrier.run_delay_summary()
    yield from _with_latencies(
        [
            label,
            name,
            str(carrier.num_workers),
            cpu_list(carrier.cpus_used) if carrier.cpus_used else NOT_MEASURED,
            f"{carrier.total_iterations:,}",
            f"{carrier.total_iterations / seconds:,.0f}" if seconds > 0 else NOT_MEASURED,
            number(None if off_cpu is None else off_cpu[0]),
            number(None if off_cpu is None or carrier.num_workers < 2 else off_cpu[3]),
            f"{carrier.max_gap_ms}@{carrier.max_gap_cpu}" if carrier.max_gap_ms else "0",
            str(carrier.total_migrations),
        ],
        wake=None if wake is None else (wake[1], wake[0], carrier.wake_cv() or 0.0),
        timer=None if timer is None else (timer[0], timer[1]),
        delay=number(None if delay is None else delay[0]),
    )


def _whole_run_rows(cgroup: CgroupStats, rate: float | None) -> Iterator[list[str]]:
    wake = (cgroup.median_wake_latency_us, cgroup.p99_wake_latency_us, cgroup.wake_latency_cv)
    timer = (cgroup.median_timer_latency_us, cgroup.p99_timer_latency_us)
    yield from _with_latencies(
        [
            "whole run",
            cgroup.cgroup_name,
            str(cgroup.num_workers),
            cpu_list(frozenset(cgroup.cpus_used)) if cgroup.cpus_used else NOT_MEASURED,
            f"{cgroup.total_iterations:,}",
            NOT_MEASURED if rate is None else f"{rate:,.0f}",
            number(cgroup.avg_off_cpu_pct),
            number(cgroup.spread if cgroup.num_workers > 1 else None),
            f"{cgroup.max_gap_ms}@{cgroup.max_gap_cpu}" if cgroup.max_gap_ms else "0",
            str(cgroup.total_migrations),
        ],
        wake=wake if cgroup.wake_measured else None,
        timer=timer if cgroup.timer_measured else None,
        delay=number(cgroup.mean_run_delay_us if cgroup.run_delay_measured else None),
    )


def _with_latencies(
    cells: list[str],
    *,
    wake: tuple[float, float, float] | None,
    timer: tuple[float, float] | None,
    delay: str,
) -> Iterator[list[str]]:
    """The row with its latency columns; :param wake: p50, p99 (µs) and cv; timer: p50, p99."""
    of_timers = ["timer", *(number(value) for value in timer or ()), NOT_MEASURED]
    if wake is not None:
        yield [*cells, "wake", number(wake[0]), number(wake[1]), f"{wake[2]:.2f}", delay]
        if timer is not None:
            yield [*[""] * LATENCY, *of_timers, ""]
    elif timer is not None:
        yield [*cells, *of_timers, delay]
    else:
        yield [*cells, *[NOT_MEASURED] * 4, delay]
