# SPDX-License-Identifier: GPL-2.0-only
"""Metrics re-pooled from raw samples and from the cgroups' counters: step 8 of seed 000."""

import math
from collections.abc import Iterable, Iterator, Sequence

from ktstr.metrics.bucket import PhaseBucket
from ktstr.metrics.kinds import (
    Distribution,
    SampleReduction,
    WakeLatencyTailRatio,
    WorstCrossNodeRatio,
    WorstLowest,
    WorstLowestDenominator,
    WorstLowestNumerator,
)
from ktstr.metrics.pool import SamplePool
from ktstr.metrics.registry import METRICS
from ktstr.metrics.scenario import ScenarioStats
from ktstr.telemetry.carrier import PhaseCgroupStats
from ktstr.telemetry.cgroup import CgroupStats, SampleSource
from ktstr.telemetry.reductions import page_ratio_of
from ktstr.telemetry.vectors import Samples, saturating_sum

WAKE_LATENCY_TAIL_RATIO_MIN_ITERATIONS = 100
"""Below this many iterations in the whole run a tail ratio says nothing."""


def populate_run_distribution_metrics(stats: ScenarioStats, target: dict[str, float]) -> None:
    """Distributions over all samples, and the worst cgroup's ratios."""
    pools = {source: _SourcePool(source, stats.phases) for source in SampleSource}
    for metric in METRICS:
        value: float | None
        match metric.kind:
            case Distribution(source, reduction):
                value = pools[source].worst(reduction, stats.cgroups)
            case WorstLowest(WorstLowestNumerator.ITERATIONS, WorstLowestDenominator.NUM_WORKERS):
                value = _lowest(cgroup.iterations_per_worker() for cgroup in stats.cgroups)
            case WorstLowest(WorstLowestNumerator.ITERATIONS, WorstLowestDenominator.CPU_TIME_NS):
                value = _lowest(cgroup.iterations_per_cpu_sec() for cgroup in stats.cgroups)
            case WorstLowest(WorstLowestNumerator.NUMA_LOCAL, WorstLowestDenominator.NUMA_TOTAL):
                value = _lowest(_page_localities(stats.phases))
            case WorstCrossNodeRatio():
                value = max(_cross_node_ratios(stats.phases), default=None)
            case WakeLatencyTailRatio():
                value = _worst_tail_ratio(stats)
            case _:
                continue
        if value is not None and math.isfinite(value):
            target[metric.name] = value


_TOTALS = {
    SampleSource.WAKE_LATENCY_NS: "wake_sample_total",
    SampleSource.TIMER_LATENCY_NS: "timer_sample_total",
}
"""Where a carrier keeps the population of its samples; run delays are never capped."""

_REDUCED_BY_CGROUP = {
    (SampleSource.WAKE_LATENCY_NS, SampleReduction.P99): "p99_wake_latency_us",
    (SampleSource.WAKE_LATENCY_NS, SampleReduction.MEDIAN): "median_wake_latency_us",
    (SampleSource.WAKE_LATENCY_NS, SampleReduction.CV): "wake_latency_cv",
    (SampleSource.TIMER_LATENCY_NS, SampleReduction.MEDIAN): "median_timer_latency_us",
    (SampleSource.TIMER_LATENCY_NS, SampleReduction.P99): "p99_timer_latency_us",
    (SampleSource.TIMER_LATENCY_NS, SampleReduction.P999): "p999_timer_latency_us",
    (SampleSource.TIMER_LATENCY_NS, SampleReduction.WORST): "worst_timer_latency_us",
    (SampleSource.RUN_DELAY_NS, SampleReduction.MEAN): "mean_run_delay_us",
    (SampleSource.RUN_DELAY_NS, SampleReduction.WORST): "worst_run_delay_us",
}
"""The reduction a cgroup without samples in any carrier still has."""


class _SourcePool:
    """All carriers' samples of one source, and the names of the cgroups they are from."""

    def __init__(self, source: SampleSource, phases: Iterable[PhaseBucket]) -> None:
        self._source = source
        self._names: set[str] = set()
        self._pool = SamplePool(self._strata(phases))

    def _strata(self, phases: Iterable[PhaseBucket]) -> Iterator[tuple[Samples, int]]:
        total = _TOTALS.get(self._source)
        for phase in phases:
            for name, carrier in phase.per_cgroup.items():
                if len(ordered := carrier.ordered(self._source)):
                    self._names.add(name)
                    yield ordered, len(ordered) if total is None else getattr(carrier, total)

    def worst(self, reduction: SampleReduction, cgroups: Iterable[CgroupStats]) -> float | None:
        """The pool's reduction or that of a cgroup whose samples no carrier has, if larger."""
        found = [] if (pooled := self._pool.reduce(reduction)) is None else [pooled]
        attribute = _REDUCED_BY_CGROUP.get((self._source, reduction))
        if attribute is not None:
            found += [
                float(getattr(cgroup, attribute))
                for cgroup in cgroups
                if cgroup.cgroup_name not in self._names and cgroup.measured_for(self._source)
            ]
        return max(found, default=None)


def _lowest(ratios: Iterable[float | None]) -> float | None:
    return min((ratio for ratio in ratios if ratio is not None), default=None)


def _latest_residency(phases: Iterable[PhaseBucket]) -> dict[str, PhaseCgroupStats]:
    """Per cgroup the latest carrier that saw pages: residency is a gauge, never summed."""
    return {
        name: carrier
        for phase in sorted(phases, key=lambda phase: phase.step_index)
        for name, carrier in phase.per_cgroup.items()
        if carrier.numa_pages_total > 0
    }


def _page_localities(phases: Iterable[PhaseBucket]) -> Iterator[float | None]:
    for carrier in _latest_residency(phases).values():
        if carrier.numa_pages_local is not None:
            yield page_ratio_of(carrier.numa_pages_local, carrier.numa_pages_total)


def _cross_node_ratios(phases: Sequence[PhaseBucket]) -> Iterator[float]:
    for name, latest in _latest_residency(phases).items():
        migrated = saturating_sum(
            phase.per_cgroup[name].cross_node_migrated
            for phase in phases
            if name in phase.per_cgroup
        )
        yield migrated / latest.numa_pages_total


def _worst_tail_ratio(stats: ScenarioStats) -> float | None:
    if stats.total_iterations < WAKE_LATENCY_TAIL_RATIO_MIN_ITERATIONS:
        return None
    ratios = (cgroup.wake_latency_tail_ratio() for cgroup in stats.cgroups)
    return max((ratio for ratio in ratios if ratio > 0.0), default=None)
