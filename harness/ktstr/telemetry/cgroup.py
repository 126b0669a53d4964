# SPDX-License-Identifier: GPL-2.0-only
"""Statistics of one cgroup, reduced from its workers' full reports (seed 001)."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import reduce
from typing import Annotated

import numpy as np

from ktstr.telemetry.codec import (
    MAX_WORKERS,
    U64,
    Coded,
    Cpu,
    CpuSet,
    Flag,
    Number,
    NumberOrNone,
    Numbers,
    integer,
    one_or_nil,
    text,
)
from ktstr.telemetry.decode import MAX_CPU
from ktstr.telemetry.engines import TaobenchStats
from ktstr.telemetry.moments import Moments
from ktstr.telemetry.reductions import (
    NS_PER_US,
    iterations_per_cpu_sec_of,
    iterations_per_worker_of,
    mean_of,
    migration_ratio_of,
    off_cpu_pct,
    page_ratio_of,
    percentile,
)
from ktstr.telemetry.report import WorkerReport
from ktstr.telemetry.vectors import Samples, no_samples, saturating_sum


class SampleSource(Enum):
    """Which sample vectors a pooled distribution reads."""

    WAKE_LATENCY_NS = "wake_latencies_ns"
    TIMER_LATENCY_NS = "timer_latencies_ns"
    RUN_DELAY_NS = "run_delays_ns"


@dataclass(frozen=True, slots=True)
class CgroupStats(Coded):
    """One cgroup's reductions over every sample its workers kept.

    The wake, timer and run-delay figures are 0.0 when their ``*_measured`` flag is false; the
    off-CPU figures and the page ratios are ``None`` when not measured. Latencies are microseconds.

    :param taobench_whole: counters of the whole run; ``None`` where no worker ran that engine.
    """

    cgroup_name: Annotated[str, text(4096)] = ""
    num_workers: Annotated[int, integer(0, MAX_WORKERS)] = 0
    cpus_used: CpuSet = frozenset()
    num_cpus: Annotated[int, integer(0, MAX_CPU + 1)] = 0
    avg_off_cpu_pct: NumberOrNone = None
    min_off_cpu_pct: NumberOrNone = None
    max_off_cpu_pct: NumberOrNone = None
    spread: NumberOrNone = None
    max_gap_ms: U64 = 0
    max_gap_cpu: Cpu = 0
    total_migrations: U64 = 0
    migration_ratio: Number = 0.0
    p99_wake_latency_us: Number = 0.0
    median_wake_latency_us: Number = 0.0
    wake_latency_cv: Number = 0.0
    wake_measured: Flag = False
    median_timer_latency_us: Number = 0.0
    p99_timer_latency_us: Number = 0.0
    p999_timer_latency_us: Number = 0.0
    worst_timer_latency_us: Number = 0.0
    timer_measured: Flag = False
    total_iterations: U64 = 0
    total_cpu_time_ns: U64 = 0
    mean_run_delay_us: Number = 0.0
    worst_run_delay_us: Number = 0.0
    run_delay_measured: Flag = False
    page_locality: NumberOrNone = None
    cross_node_migration_ratio: NumberOrNone = None
    taobench_whole: Annotated[TaobenchStats | None, one_or_nil(TaobenchStats)] = None
    ext_metrics: Numbers = field(default_factory=dict)

    def wake_latency_tail_ratio(self) -> float:
        """p99 over median wake latency; 0.0 without a positive median."""
        if self.median_wake_latency_us <= 0.0:
            return 0.0
        return self.p99_wake_latency_us / self.median_wake_latency_us

    def measured_for(self, source: SampleSource) -> bool:
        """Whether any worker recorded a sample of ``source``."""
        match source:
            case SampleSource.WAKE_LATENCY_NS:
                return self.wake_measured
            case SampleSource.TIMER_LATENCY_NS:
                return self.timer_measured
            case SampleSource.RUN_DELAY_NS:
                return self.run_delay_measured

    def iterations_per_worker(self) -> float | None:
        """``None`` without workers; 0.0 for workers that got nowhere."""
        return iterations_per_worker_of(self.num_workers, self.total_iterations)

    def iterations_per_cpu_sec(self) -> float | None:
        """Efficiency per second on a CPU; ``None`` without workers or CPU time."""
        return iterations_per_cpu_sec_of(
            self.num_workers, self.total_cpu_time_ns, self.total_iterations
        )


def cgroup_stats(
    reports: Sequence[WorkerReport],
    *,
    cgroup_name: str = "",
    expected_nodes: Collection[int] | None = None,
) -> CgroupStats:
    """Reduce the reports of one cgroup.

    :param expected_nodes: NUMA nodes the cgroup's memory should be on; ``None`` leaves
        ``page_locality`` unmeasured.
    """
    cpus = frozenset[int]().union(*(report.cpus_used for report in reports))
    shares = [
        share
        for report in reports
        if (share := off_cpu_pct(report.off_cpu_ns, report.wall_time_ns)) is not None
    ]
    gap_ms = gap_cpu = 0
    for report in reports:
        if report.max_gap_ms >= gap_ms:  # the later of two equal gaps names the CPU
            gap_ms, gap_cpu = report.max_gap_ms, report.max_gap_cpu
    wakes = _pooled([report.wake_latencies_ns for report in reports])
    timers = _pooled([report.timer_latencies_ns for report in reports])
    delays = [report.schedstat_run_delay_ns / NS_PER_US for report in reports]
    iterations = saturating_sum(report.iterations for report in reports)
    migrations = saturating_sum(report.migration_count for report in reports)
    pages = saturating_sum(sum(report.numa_pages.values()) for report in reports)
    local = None if expected_nodes is None else pages_on(reports, expected_nodes)
    migrated = max((report.vmstat_numa_pages_migrated for report in reports), default=0)
    whole = [report.taobench_whole for report in reports if report.taobench_whole is not None]
    has_wakes, has_timers = len(wakes) > 0, len(timers) > 0
    return CgroupStats(
        cgroup_name=cgroup_name,
        num_workers=len(reports),
        cpus_used=cpus,
        num_cpus=len(cpus),
        avg_off_cpu_pct=mean_of(shares),
        min_off_cpu_pct=min(shares, default=None),
        max_off_cpu_pct=max(shares, default=None),
        spread=max(shares) - min(shares) if shares else None,
        max_gap_ms=gap_ms,
        max_gap_cpu=gap_cpu,
        total_migrations=migrations,
        migration_ratio=migration_ratio_of(migrations, iterations),
        p99_wake_latency_us=percentile(wakes, 0.99) / NS_PER_US if has_wakes else 0.0,
        median_wake_latency_us=percentile(wakes, 0.5) / NS_PER_US if has_wakes else 0.0,
        wake_latency_cv=Moments.of(wakes).coefficient_of_variation(),
        wake_measured=has_wakes,
        median_timer_latency_us=percentile(timers, 0.5) / NS_PER_US if has_timers else 0.0,
        p99_timer_latency_us=percentile(timers, 0.99) / NS_PER_US if has_timers else 0.0,
        p999_timer_latency_us=percentile(timers, 0.999) / NS_PER_US if has_timers else 0.0,
        worst_timer_latency_us=int(timers[-1]) / NS_PER_US if has_timers else 0.0,
        timer_measured=has_timers,
        total_iterations=iterations,
        total_cpu_time_ns=saturating_sum(report.schedstat_cpu_time_ns for report in reports),
        mean_run_delay_us=mean_of(delays) or 0.0,
        worst_run_delay_us=max(delays, default=0.0),
        run_delay_measured=bool(delays),
        page_locality=None if local is None else page_ratio_of(local, pages),
        cross_node_migration_ratio=page_ratio_of(migrated, pages),
        taobench_whole=reduce(TaobenchStats.merge, whole) if whole else None,
    )


def pages_on(reports: Sequence[WorkerReport], nodes: Collection[int]) -> int:
    """Resident pages of all workers on ``nodes``."""
    return saturating_sum(
        pages for report in reports for node, pages in report.numa_pages.items() if node in nodes
    )


def _pooled(vectors: Sequence[Samples]) -> Samples:
    """All samples, ascending."""
    pool = np.concatenate(vectors) if vectors else no_samples()
    pool.sort()
    return pool
