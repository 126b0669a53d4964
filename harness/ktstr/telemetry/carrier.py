# SPDX-License-Identifier: GPL-2.0-only
"""Raw components of one cgroup in one phase, and how they combine (seed 001).

Carriers hold samples and counters, never reductions, so that every figure above them is computed
from the pooled components.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce

import numpy as np

from ktstr.telemetry.cgroup import pages_on
from ktstr.telemetry.reductions import (
    NS_PER_US,
    coefficient_of_variation,
    mean_of,
    off_cpu_pct,
    percentile,
)
from ktstr.telemetry.report import WorkerReport
from ktstr.telemetry.reservoir import MAX_WAKE_SAMPLES, weighted_merge_reservoirs
from ktstr.telemetry.slices import EPOCH_GAP, PhaseSlice
from ktstr.telemetry.vectors import (
    ByValue,
    Percents,
    Samples,
    no_percents,
    no_samples,
    require_samples,
    saturating_sum,
)

_COUNTERS = ("total_migrations", "total_iterations", "total_cpu_time_ns")


@dataclass(frozen=True, slots=True, eq=False)
class PhaseCgroupStats(ByValue):
    """What the workers of one cgroup did in one phase.

    :param wake_latencies_ns: at most :data:`MAX_WAKE_SAMPLES`; ``wake_sample_total`` is the true
        population. Likewise the timer pair.
    :param run_delays_ns: one value per worker.
    :param off_cpu_pcts: one value per worker with measured wall time; empty is not measured.
    :param numa_pages_local: ``None`` when nobody said which nodes the pages should be on.
    :param cross_node_migrated: system-wide, so the largest of the workers' readings.
    :param stripped: sample vectors were dropped to fit a frame.
    :param metrics: derived scalars, filled after all merging.
    """

    num_workers: int = 0
    cpus_used: frozenset[int] = frozenset()
    wake_latencies_ns: Samples = field(default_factory=no_samples)
    wake_sample_total: int = 0
    timer_latencies_ns: Samples = field(default_factory=no_samples)
    timer_sample_total: int = 0
    run_delays_ns: Samples = field(default_factory=no_samples)
    off_cpu_pcts: Percents = field(default_factory=no_percents)
    total_migrations: int = 0
    total_iterations: int = 0
    total_cpu_time_ns: int = 0
    numa_pages_local: int | None = 0
    numa_pages_total: int = 0
    cross_node_migrated: int = 0
    max_gap_ms: int = 0
    max_gap_cpu: int = 0
    stripped: bool = False
    metrics: Mapping[str, float] = field(default_factory=dict)
    schbench: None = None
    taobench: None = None

    def __post_init__(self) -> None:
        for name in ("wake_latencies_ns", "timer_latencies_ns", "run_delays_ns"):
            require_samples("PhaseCgroupStats", name, getattr(self, name))

    def merge(self, other: "PhaseCgroupStats") -> "PhaseCgroupStats":
        """Union with a carrier of the same cgroup and phase over other workers.

        Derived metrics are dropped: they come from the merged components.
        """
        gap = self if self.max_gap_ms > other.max_gap_ms else other
        local: int | None = None
        if self.numa_pages_local is not None and other.numa_pages_local is not None:
            local = saturating_sum((self.numa_pages_local, other.numa_pages_local))
        return PhaseCgroupStats(
            num_workers=self.num_workers + other.num_workers,
            cpus_used=self.cpus_used | other.cpus_used,
            wake_latencies_ns=_merge_reservoirs(
                self.wake_latencies_ns,
                self.wake_sample_total,
                other.wake_latencies_ns,
                other.wake_sample_total,
            ),
            wake_sample_total=saturating_sum((self.wake_sample_total, other.wake_sample_total)),
            timer_latencies_ns=_merge_reservoirs(
                self.timer_latencies_ns,
                self.timer_sample_total,
                other.timer_latencies_ns,
                other.timer_sample_total,
            ),
            timer_sample_total=saturating_sum((self.timer_sample_total, other.timer_sample_total)),
            run_delays_ns=np.concatenate((self.run_delays_ns, other.run_delays_ns)),
            off_cpu_pcts=np.concatenate((self.off_cpu_pcts, other.off_cpu_pcts)),
            total_migrations=saturating_sum((self.total_migrations, other.total_migrations)),
            total_iterations=saturating_sum((self.total_iterations, other.total_iterations)),
            total_cpu_time_ns=saturating_sum((self.total_cpu_time_ns, other.total_cpu_time_ns)),
            numa_pages_local=local,
            numa_pages_total=saturating_sum((self.numa_pages_total, other.numa_pages_total)),
            cross_node_migrated=max(self.cross_node_migrated, other.cross_node_migrated),
            max_gap_ms=gap.max_gap_ms,
            max_gap_cpu=gap.max_gap_cpu,
            stripped=self.stripped or other.stripped,
        )

    def get(self, metric_name: str) -> float | None:
        """The derived value of ``metric_name``; ``None`` when it was not measured."""
        return self.metrics.get(metric_name)

    def expect_metric(self, metric_name: str) -> float:
        """:raise LookupError: naming the metrics that are there, when this one is not."""
        value = self.get(metric_name)
        if value is None:
            raise LookupError(
                f"metric {metric_name!r} was not measured in this cgroup "
                f"({self.num_workers} workers, stripped={self.stripped}); "
                f"present: {sorted(self.metrics)}"
            )
        return value

    def cgroup_counter(self, name: str) -> float | None:
        """``total_migrations``, ``total_iterations`` or ``total_cpu_time_ns``, else ``None``."""
        return float(getattr(self, name)) if name in _COUNTERS else None

    def off_cpu_summary(self) -> tuple[float, float, float, float] | None:
        """``(avg, min, max, spread)`` in percent; ``None`` when not measured."""
        average = mean_of(self.off_cpu_pcts.tolist())
        if average is None:
            return None
        low, high = float(self.off_cpu_pcts.min()), float(self.off_cpu_pcts.max())
        return average, low, high, high - low

    def wake_summary(self) -> tuple[float, float] | None:
        """``(p99, median)`` wake latency in microseconds; ``None`` without samples."""
        if len(self.wake_latencies_ns) == 0:
            return None
        ordered = np.sort(self.wake_latencies_ns)
        return percentile(ordered, 0.99) / NS_PER_US, percentile(ordered, 0.5) / NS_PER_US

    def wake_cv(self) -> float | None:
        """Coefficient of variation of the wake latencies; ``None`` without samples."""
        if len(self.wake_latencies_ns) == 0:
            return None
        return coefficient_of_variation(np.sort(self.wake_latencies_ns))

    def timer_summary(self) -> tuple[float, float, float] | None:
        """``(median, p99, p999)`` timer latency in microseconds; ``None`` without samples."""
        if len(self.timer_latencies_ns) == 0:
            return None
        ordered = np.sort(self.timer_latencies_ns)
        return (
            percentile(ordered, 0.5) / NS_PER_US,
            percentile(ordered, 0.99) / NS_PER_US,
            percentile(ordered, 0.999) / NS_PER_US,
        )

    def run_delay_summary(self) -> tuple[float, float] | None:
        """``(mean, worst)`` run delay per worker in microseconds; ``None`` without workers."""
        mean = mean_of(self.run_delays_ns.astype(np.float64).tolist())
        if mean is None:
            return None
        return mean / NS_PER_US, int(self.run_delays_ns.max()) / NS_PER_US


def _merge_reservoirs(a: Samples, w_a: int, b: Samples, w_b: int) -> Samples:
    if len(a) + len(b) <= MAX_WAKE_SAMPLES:
        return np.concatenate((a, b))
    return weighted_merge_reservoirs(a, w_a, b, w_b, MAX_WAKE_SAMPLES)


def phase_cgroup_stats(
    reports: Sequence[WorkerReport],
    expected_nodes: Collection[int] | None = None,
    *,
    stripped: bool = False,
) -> PhaseCgroupStats:
    """The carrier of one cgroup over whole reports of step-local workers.

    :param expected_nodes: NUMA nodes the cgroup's memory should be on, if anybody said so.
    :param stripped: whether the reports' sample vectors had been left out.
    """
    carriers = [
        PhaseCgroupStats(
            num_workers=1,
            cpus_used=report.cpus_used,
            wake_latencies_ns=report.wake_latencies_ns,
            wake_sample_total=report.wake_sample_total,
            timer_latencies_ns=report.timer_latencies_ns,
            timer_sample_total=report.timer_sample_total,
            run_delays_ns=np.array([report.schedstat_run_delay_ns], dtype=np.uint64),
            off_cpu_pcts=_share(report.off_cpu_ns, report.wall_time_ns),
            total_migrations=report.migration_count,
            total_iterations=report.iterations,
            total_cpu_time_ns=report.schedstat_cpu_time_ns,
            numa_pages_local=None if expected_nodes is None else pages_on([report], expected_nodes),
            numa_pages_total=saturating_sum(report.numa_pages.values()),
            cross_node_migrated=report.vmstat_numa_pages_migrated,
            max_gap_ms=report.max_gap_ms,
            max_gap_cpu=report.max_gap_cpu,
            stripped=stripped,
        )
        for report in reports
    ]
    return reduce(PhaseCgroupStats.merge, carriers) if carriers else PhaseCgroupStats()


def phase_slice_carriers(
    reports: Sequence[WorkerReport], expected_nodes: Collection[int] | None = None
) -> dict[int, PhaseCgroupStats]:
    """Carriers of one cgroup's persistent workers by step index, from their phase slices.

    BASELINE and the time between steps belong to no step and are left out.
    """
    found: dict[int, PhaseCgroupStats] = {}
    for report in reports:
        for part in report.phase_slices:
            if part.phase_epoch in (0, EPOCH_GAP):
                continue
            carrier = _slice_carrier(part, expected_nodes)
            before = found.get(part.phase_epoch)
            found[part.phase_epoch] = carrier if before is None else before.merge(carrier)
    return found


def _slice_carrier(part: PhaseSlice, expected_nodes: Collection[int] | None) -> PhaseCgroupStats:
    local = (
        None
        if expected_nodes is None
        else saturating_sum(
            pages for node, pages in part.numa_pages.items() if node in expected_nodes
        )
    )
    return PhaseCgroupStats(
        num_workers=1,
        cpus_used=part.cpus_used,
        wake_latencies_ns=part.wake_latencies_ns,
        wake_sample_total=part.wake_sample_total,
        timer_latencies_ns=part.timer_latencies_ns,
        timer_sample_total=part.timer_sample_total,
        run_delays_ns=np.array([part.run_delay_ns], dtype=np.uint64),
        off_cpu_pcts=_share(part.off_cpu_ns, part.wall_ns),
        total_migrations=part.migration_count,
        total_iterations=part.iterations,
        total_cpu_time_ns=part.schedstat_cpu_time_ns,
        numa_pages_local=local,
        numa_pages_total=saturating_sum(part.numa_pages.values()),
        cross_node_migrated=part.vmstat_numa_pages_migrated,
        max_gap_ms=part.max_gap_ms,
        max_gap_cpu=part.max_gap_cpu,
    )


def _share(off_cpu_ns: int, wall_ns: int) -> Percents:
    share = off_cpu_pct(off_cpu_ns, wall_ns)
    return np.array([] if share is None else [share], dtype=np.float64)
