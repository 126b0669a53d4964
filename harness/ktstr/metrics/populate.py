# SPDX-License-Identifier: GPL-2.0-only
"""Run-level metrics, in the order of seed 000.

Each step writes into the map it is handed; only :func:`populate_run_ext_all` knows the order.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from ktstr.metrics.aggregate import (
    aggregate_samples_weighted,
    derive_rate_metrics,
    reduce_sorted_distribution_weighted,
)
from ktstr.metrics.bucket import PhaseBucket
from ktstr.metrics.build import reduce_readings
from ktstr.metrics.kinds import (
    Distribution,
    PerPhaseDeltaSum,
    SampleReduction,
    WakeLatencyTailRatio,
    WorstCrossNodeRatio,
    WorstLowest,
    WorstLowestDenominator,
    WorstLowestNumerator,
)
from ktstr.metrics.registry import METRICS, TYPED_FIELD_NAMES, metric_def
from ktstr.metrics.scenario import ScenarioStats
from ktstr.series.sample import SampleSeries
from ktstr.telemetry.carrier import PhaseCgroupStats
from ktstr.telemetry.cgroup import CgroupStats, SampleSource
from ktstr.telemetry.reductions import page_ratio_of
from ktstr.telemetry.vectors import saturating_sum

WAKE_LATENCY_TAIL_RATIO_MIN_ITERATIONS = 100
"""Below this many iterations in the whole run a tail ratio says nothing."""


def populate_run_ext_all(stats: ScenarioStats, samples: SampleSeries) -> ScenarioStats:
    """``stats`` with its run-level metrics.

    ``stats.phases`` should be the buckets before :func:`derive_phase_metrics`.
    """
    target = dict(stats.ext_metrics)
    populate_run_ext_metrics(samples, target)
    populate_run_ext_metrics_from_phases(stats.phases, target)
    populate_run_pooled_iterations_per_cpu_sec(stats.cgroups, target)
    populate_run_distribution_metrics(stats, target)
    return replace(stats, ext_metrics=target)


def populate_run_ext_metrics(samples: SampleSeries, target: dict[str, float]) -> None:
    """Metrics read from captures, over every capture of the run."""
    for name, value in reduce_readings(samples.iter_samples()).items():
        if name not in TYPED_FIELD_NAMES:
            target.setdefault(name, value)
    derive_rate_metrics(target)


def populate_run_ext_metrics_from_phases(
    phases: Sequence[PhaseBucket], target: dict[str, float]
) -> None:
    """Metrics that only phases have, folded by kind; a phase weighs its captures, at least 1."""
    for name in sorted({name for phase in phases for name in phase.metrics}):
        definition = metric_def(name)
        if name in target or name in TYPED_FIELD_NAMES or definition is None:
            continue
        if definition.kind.is_derived:
            continue
        values = [
            (phase.metrics[name], float(max(phase.sample_count, 1)))
            for phase in phases
            if name in phase.metrics
        ]
        if isinstance(definition.kind, PerPhaseDeltaSum):
            folded: float | None = math.fsum(value for value, _ in values)
        else:
            folded = aggregate_samples_weighted(values, definition.kind)
        if folded is not None and math.isfinite(folded):
            target[name] = folded
    derive_rate_metrics(target)


def populate_run_pooled_iterations_per_cpu_sec(
    cgroups: Sequence[CgroupStats], target: dict[str, float]
) -> None:
    """Iterations per CPU second over all cgroups that measured CPU time."""
    measured = [cgroup for cgroup in cgroups if cgroup.total_cpu_time_ns > 0]
    if not measured:
        return
    target["total_iterations_pooled"] = float(saturating_sum(c.total_iterations for c in measured))
    target["total_cpu_time_sec"] = saturating_sum(c.total_cpu_time_ns for c in measured) / 1e9
    derive_rate_metrics(target)


def populate_run_distribution_metrics(stats: ScenarioStats, target: dict[str, float]) -> None:
    """Metrics re-pooled from raw samples and from the cgroups' counters."""
    carriers = [item for phase in stats.phases for item in phase.per_cgroup.items()]
    pools = {source: _Pool(source, carriers) for source in SampleSource}
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
                value = _worst_cross_node(stats.phases)
            case WakeLatencyTailRatio():
                value = _worst_tail_ratio(stats)
            case _:
                continue
        if value is not None and math.isfinite(value):
            target[metric.name] = value


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


class _Pool:
    """All samples of one source, ascending, each weighted by the population it stands for."""

    def __init__(
        self, source: SampleSource, carriers: Sequence[tuple[str, PhaseCgroupStats]]
    ) -> None:
        self._source = source
        vectors, weights, names = [], [], set()
        for name, carrier in carriers:
            vector, total = _samples_of(carrier, source)
            if len(vector) == 0:
                continue
            names.add(name)
            vectors.append(vector)
            weights.append(np.full(len(vector), max(total, len(vector)) / len(vector)))
        self._names = names
        values = np.concatenate(vectors) if vectors else np.empty(0, dtype=np.uint64)
        loads = np.concatenate(weights) if weights else np.empty(0)
        if len(loads) == 0 or loads.min() == loads.max():
            self._ordered, self._weights = np.sort(values), loads
        else:
            # Equal values are ordered by weight, so that no sum depends on the order of carriers.
            order = np.lexsort((loads, values))
            self._ordered, self._weights = values[order], loads[order]

    def worst(self, reduction: SampleReduction, cgroups: Iterable[CgroupStats]) -> float | None:
        """The pool's reduction or that of a cgroup whose samples no carrier has, if larger."""
        found: list[float] = []
        if len(self._ordered):
            found.append(
                reduce_sorted_distribution_weighted(self._ordered, self._weights, reduction)
            )
        attribute = _REDUCED_BY_CGROUP.get((self._source, reduction))
        if attribute is not None:
            found += [
                float(getattr(cgroup, attribute))
                for cgroup in cgroups
                if cgroup.cgroup_name not in self._names and cgroup.measured_for(self._source)
            ]
        return max(found, default=None)


def _samples_of(carrier: PhaseCgroupStats, source: SampleSource) -> tuple[np.ndarray, int]:
    match source:
        case SampleSource.WAKE_LATENCY_NS:
            return carrier.wake_latencies_ns, carrier.wake_sample_total
        case SampleSource.TIMER_LATENCY_NS:
            return carrier.timer_latencies_ns, carrier.timer_sample_total
        case SampleSource.RUN_DELAY_NS:
            return carrier.run_delays_ns, len(carrier.run_delays_ns)


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


def _page_localities(phases: Iterable[PhaseBucket]) -> Iterable[float | None]:
    for carrier in _latest_residency(phases).values():
        if carrier.numa_pages_local is not None:
            yield page_ratio_of(carrier.numa_pages_local, carrier.numa_pages_total)


def _worst_cross_node(phases: Sequence[PhaseBucket]) -> float | None:
    ratios = []
    for name, latest in _latest_residency(phases).items():
        migrated = saturating_sum(
            phase.per_cgroup[name].cross_node_migrated
            for phase in phases
            if name in phase.per_cgroup
        )
        ratios.append(migrated / latest.numa_pages_total)
    return max(ratios, default=None)


def _worst_tail_ratio(stats: ScenarioStats) -> float | None:
    if stats.total_iterations < WAKE_LATENCY_TAIL_RATIO_MIN_ITERATIONS:
        return None
    ratios = (cgroup.wake_latency_tail_ratio() for cgroup in stats.cgroups)
    return max((ratio for ratio in ratios if ratio > 0.0), default=None)
