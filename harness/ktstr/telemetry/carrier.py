# SPDX-License-Identifier: GPL-2.0-only
"""Raw components of one cgroup in one phase, and how they combine (seed 001).

Carriers hold samples and counters, never reductions, so that every figure above them is computed
from the pooled components.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Annotated, Any, Protocol, Self, TypeVar

import numpy as np

from ktstr.telemetry.cgroup import SampleSource, pages_on
from ktstr.telemetry.codec import (
    MAX_WORKERS,
    U64,
    Coded,
    CountOrNone,
    Cpu,
    CpuSet,
    Flag,
    Numbers,
    PerWorker,
    PerWorkerPercents,
    Reservoir,
    integer,
    one_or_nil,
)
from ktstr.telemetry.engines import SchbenchPhaseStats, TaobenchPhaseStats
from ktstr.telemetry.moments import Moments
from ktstr.telemetry.plat import PlatStats
from ktstr.telemetry.reductions import (
    NS_PER_US,
    mean_of,
    off_cpu_pct,
    percentile,
)
from ktstr.telemetry.report import WorkerReport
from ktstr.telemetry.reservoir import merge_reservoirs
from ktstr.telemetry.slices import EPOCH_GAP, PhaseSlice
from ktstr.telemetry.vectors import (
    ByValue,
    Percents,
    Samples,
    joined,
    no_percents,
    no_samples,
    require_percents,
    require_samples,
    saturating_sum,
)

_COUNTERS = ("total_migrations", "total_iterations", "total_cpu_time_ns")


class _Sorted:
    """Room for sorted vectors beside the fields: what compares and pickles does not see it."""

    __slots__ = ("_sorted",)

    _sorted: dict[SampleSource, Samples]


@dataclass(frozen=True, slots=True, eq=False)
class PhaseCgroupStats(Coded, ByValue, _Sorted):
    """What the workers of one cgroup did in one phase.

    :param wake_latencies_ns: at most ``MAX_WAKE_SAMPLES``; ``wake_sample_total`` is the true
        population. Likewise the timer pair.
    :param run_delays_ns: one value per worker.
    :param off_cpu_pcts: one value per worker with measured wall time; empty is not measured.
    :param numa_pages_local: ``None`` when nobody said which nodes the pages should be on.
    :param cross_node_migrated: system-wide, so the largest of the workers' readings.
    :param stripped: sample vectors were dropped to fit a frame.
    :param metrics: derived scalars, filled after all merging.
    :param schbench: ``None`` where no worker ran that engine; likewise ``taobench``.
    """

    num_workers: Annotated[int, integer(0, MAX_WORKERS)] = 0
    cpus_used: CpuSet = frozenset()
    wake_latencies_ns: Reservoir = field(default_factory=no_samples)
    wake_sample_total: U64 = 0
    timer_latencies_ns: Reservoir = field(default_factory=no_samples)
    timer_sample_total: U64 = 0
    run_delays_ns: PerWorker = field(default_factory=no_samples)
    off_cpu_pcts: PerWorkerPercents = field(default_factory=no_percents)
    total_migrations: U64 = 0
    total_iterations: U64 = 0
    total_cpu_time_ns: U64 = 0
    numa_pages_local: CountOrNone = 0
    numa_pages_total: U64 = 0
    cross_node_migrated: U64 = 0
    max_gap_ms: U64 = 0
    max_gap_cpu: Cpu = 0
    stripped: Flag = False
    metrics: Numbers = field(default_factory=dict)
    schbench: Annotated[SchbenchPhaseStats | None, one_or_nil(SchbenchPhaseStats)] = None
    taobench: Annotated[TaobenchPhaseStats | None, one_or_nil(TaobenchPhaseStats)] = None

    def __post_init__(self) -> None:
        for source in SampleSource:
            require_samples("PhaseCgroupStats", source.value, getattr(self, source.value))
        require_percents("PhaseCgroupStats", "off_cpu_pcts", self.off_cpu_pcts)

    def ordered(self, source: SampleSource) -> Samples:
        """That source's samples in ascending order, read-only; sorted once and kept."""
        try:
            kept = self._sorted
        except AttributeError:
            kept = {}
            object.__setattr__(self, "_sorted", kept)
        if source not in kept:
            kept[source] = np.sort(getattr(self, source.value))
            kept[source].flags.writeable = False
        return kept[source]

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
            wake_latencies_ns=merge_reservoirs(
                self.wake_latencies_ns,
                self.wake_sample_total,
                other.wake_latencies_ns,
                other.wake_sample_total,
            ),
            wake_sample_total=saturating_sum((self.wake_sample_total, other.wake_sample_total)),
            timer_latencies_ns=merge_reservoirs(
                self.timer_latencies_ns,
                self.timer_sample_total,
                other.timer_latencies_ns,
                other.timer_sample_total,
            ),
            timer_sample_total=saturating_sum((self.timer_sample_total, other.timer_sample_total)),
            run_delays_ns=joined(self.run_delays_ns, other.run_delays_ns),
            off_cpu_pcts=joined(self.off_cpu_pcts, other.off_cpu_pcts),
            total_migrations=saturating_sum((self.total_migrations, other.total_migrations)),
            total_iterations=saturating_sum((self.total_iterations, other.total_iterations)),
            total_cpu_time_ns=saturating_sum((self.total_cpu_time_ns, other.total_cpu_time_ns)),
            numa_pages_local=local,
            numa_pages_total=saturating_sum((self.numa_pages_total, other.numa_pages_total)),
            cross_node_migrated=max(self.cross_node_migrated, other.cross_node_migrated),
            max_gap_ms=gap.max_gap_ms,
            max_gap_cpu=gap.max_gap_cpu,
            stripped=self.stripped or other.stripped,
            schbench=_both(self.schbench, other.schbench),
            taobench=_both(self.taobench, other.taobench),
        )

    def without_samples(self) -> "PhaseCgroupStats":
        """The same counters without sample vectors and schbench histograms.

        Marked as stripped when there were any, so that it does not read as not measured.
        """
        engine = self.schbench
        had = any(
            len(vector) > 0
            for vector in (*(getattr(self, s.value) for s in SampleSource), self.off_cpu_pcts)
        )
        if engine is not None:
            had = had or any(h.nr_samples for h in (engine.wakeup, engine.request, engine.rps))
            engine = replace(engine, wakeup=PlatStats(), request=PlatStats(), rps=PlatStats())
        return replace(
            self,
            wake_latencies_ns=no_samples(),
            timer_latencies_ns=no_samples(),
            run_delays_ns=no_samples(),
            off_cpu_pcts=no_percents(),
            stripped=self.stripped or had,
            schbench=engine,
        )

    def with_metrics(self, metrics: Mapping[str, float]) -> "PhaseCgroupStats":
        """The same carrier with these derived scalars; what was sorted stays sorted."""
        derived = replace(self, metrics=metrics)
        with suppress(AttributeError):
            object.__setattr__(derived, "_sorted", self._sorted)
        return derived

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
        ordered = self.ordered(SampleSource.WAKE_LATENCY_NS)
        if len(ordered) == 0:
            return None
        return percentile(ordered, 0.99) / NS_PER_US, percentile(ordered, 0.5) / NS_PER_US

    def wake_cv(self) -> float | None:
        """Coefficient of variation of the wake latencies; ``None`` without samples."""
        ordered = self.ordered(SampleSource.WAKE_LATENCY_NS)
        return Moments.of(ordered).coefficient_of_variation() if len(ordered) else None

    def timer_summary(self) -> tuple[float, float, float] | None:
        """``(median, p99, p999)`` timer latency in microseconds; ``None`` without samples."""
        ordered = self.ordered(SampleSource.TIMER_LATENCY_NS)
        if len(ordered) == 0:
            return None
        return (
            percentile(ordered, 0.5) / NS_PER_US,
            percentile(ordered, 0.99) / NS_PER_US,
            percentile(ordered, 0.999) / NS_PER_US,
        )

    def run_delay_summary(self) -> tuple[float, float] | None:
        """``(mean, worst)`` run delay per worker in microseconds; ``None`` without workers."""
        ordered = self.ordered(SampleSource.RUN_DELAY_NS)
        mean = mean_of(ordered.astype(np.float64).tolist())
        if mean is None:
            return None
        return mean / NS_PER_US, int(ordered[-1]) / NS_PER_US


class _Mergeable(Protocol):
    def merge(self, other: Any) -> Self: ...


_M = TypeVar("_M", bound=_Mergeable)


def _both(a: _M | None, b: _M | None) -> _M | None:
    """The union; one that stands alone is kept."""
    if a is None or b is None:
        return b if a is None else a
    return a.merge(b)


def strip_phase_cgroup_samples(
    carriers: Mapping[str, PhaseCgroupStats],
) -> dict[str, PhaseCgroupStats]:
    """The carriers of a phase without their samples, for a frame that has no room for them."""
    return {name: carrier.without_samples() for name, carrier in carriers.items()}


def phase_cgroup_stats(
    reports: Sequence[WorkerReport],
    expected_nodes: Collection[int] | None = None,
    *,
    stripped: bool = False,
) -> PhaseCgroupStats:
    """The carrier of one cgroup over whole reports of step-local workers.

    :param expected_nodes: NUMA nodes the cgroup's memory should be on, if anybody said so.
    :param stripped: whether the reports' sample vectors had been left out; only those that had
        samples count as stripped.
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
            stripped=stripped and report.wake_sample_total + report.timer_sample_total > 0,
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
        schbench=part.schbench,
        taobench=part.taobench,
    )


def _share(off_cpu_ns: int, wall_ns: int) -> Percents:
    share = off_cpu_pct(off_cpu_ns, wall_ns)
    return np.array([] if share is None else [share], dtype=np.float64)
