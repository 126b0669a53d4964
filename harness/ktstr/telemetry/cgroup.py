# SPDX-License-Identifier: GPL-2.0-only
"""Statistics of one cgroup, reduced from its workers' full reports (seed 001)."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from ktstr.telemetry.reductions import (
    NS_PER_US,
    coefficient_of_variation,
    iterations_per_cpu_sec_of,
    iterations_per_worker_of,
    mean_of,
    migration_ratio_of,
    off_cpu_pct,
    page_ratio_of,
    percentile,
)
from ktstr.telemetry.report import WorkerReport
from ktstr.telemetry.vectors import saturating_sum


class SampleSource(Enum):
    """Which sample vectors a pooled distribution reads."""

    WAKE_LATENCY_NS = "wake_latencies_ns"
    TIMER_LATENCY_NS = "timer_latencies_ns"
    RUN_DELAY_NS = "run_delays_ns"


@dataclass(frozen=True, slots=True)
class CgroupStats:
    """One cgroup's reductions over every sample its workers kept.

    The wake and timer figures are 0.0 when their ``*_measured`` flag is false; the off-CPU
    figures and the page ratios are ``None`` when not measured. Latencies are microseconds.
    """

    cgroup_name: str = ""
    num_workers: int = 0
    cpus_used: frozenset[int] = frozenset()
    num_cpus: int = 0
    avg_off_cpu_pct: float | None = None
    min_off_cpu_pct: float | None = None
    max_off_cpu_pct: float | None = None
    spread: float | None = None
    max_gap_ms: int = 0
    max_gap_cpu: int = 0
    total_migrations: int = 0
    migration_ratio: float = 0.0
    p99_wake_latency_us: float = 0.0
    median_wake_latency_us: float = 0.0
    wake_latency_cv: float = 0.0
    wake_measured: bool = False
    median_timer_latency_us: float = 0.0
    p99_timer_latency_us: float = 0.0
    p999_timer_latency_us: float = 0.0
    worst_timer_latency_us: float = 0.0
    timer_measured: bool = False
    total_iterations: int = 0
    total_cpu_time_ns: int = 0
    mean_run_delay_us: float = 0.0
    worst_run_delay_us: float = 0.0
    run_delay_measured: bool = False
    page_locality: float | None = None
    cross_node_migration_ratio: float | None = None
    taobench_whole: None = None
    ext_metrics: Mapping[str, float] = field(default_factory=dict)

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
        wake_latency_cv=coefficient_of_variation(wakes) if has_wakes else 0.0,
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
    )


def pages_on(reports: Sequence[WorkerReport], nodes: Collection[int]) -> int:
    """Resident pages of all workers on ``nodes``."""
    return saturating_sum(
        pages for report in reports for node, pages in report.numa_pages.items() if node in nodes
    )


def _pooled(vectors: Sequence[np.ndarray]) -> np.ndarray:
    """All samples, ascending."""
    pool = np.concatenate(vectors) if vectors else np.empty(0, dtype=np.uint64)
    pool.sort()
    return pool
