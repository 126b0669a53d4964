# SPDX-License-Identifier: GPL-2.0-only
"""The metric registry: one row per metric (reference-06 section 1.2)."""

from dataclasses import dataclass

from ktstr.metrics.kinds import (
    HIGHER_BETTER,
    LOWER_BETTER,
    Counter,
    Distribution,
    Gauge,
    GaugeAgg,
    MetricKind,
    Peak,
    PerPhase,
    Polarity,
    Rate,
    SampleReduction,
    WakeLatencyTailRatio,
    WorstCrossNodeRatio,
    WorstLowest,
    WorstLowestDenominator,
    WorstLowestNumerator,
)
from ktstr.telemetry.cgroup import SampleSource


@dataclass(frozen=True, slots=True)
class MetricDef:
    """One metric.

    :param default_abs: absolute gate; a difference counts only when it clears both gates.
    :param default_rel: relative gate, a fraction.
    :param display_unit: empty for a bare number.
    """

    name: str
    polarity: Polarity
    kind: MetricKind
    default_abs: float
    default_rel: float
    display_unit: str = ""


H, L = HIGHER_BETTER, LOWER_BETTER
_LAST, _AVG = Gauge(GaugeAgg.LAST), Gauge(GaugeAgg.AVG)
_WAKE, _TIMER, _DELAY = (
    SampleSource.WAKE_LATENCY_NS,
    SampleSource.TIMER_LATENCY_NS,
    SampleSource.RUN_DELAY_NS,
)
_P99, _P999, _MEDIAN = SampleReduction.P99, SampleReduction.P999, SampleReduction.MEDIAN
_CV, _MEAN, _WORST = SampleReduction.CV, SampleReduction.MEAN, SampleReduction.WORST
_ITERATIONS, _LOCAL = WorstLowestNumerator.ITERATIONS, WorstLowestNumerator.NUMA_LOCAL
_WORKERS, _CPU_TIME, _PAGES = (
    WorstLowestDenominator.NUM_WORKERS,
    WorstLowestDenominator.CPU_TIME_NS,
    WorstLowestDenominator.NUMA_TOTAL,
)

# fmt: off
METRICS: tuple[MetricDef, ...] = (
    # Fairness and placement
    MetricDef("worst_spread", L, _LAST, 5, 0.25, "%"),
    MetricDef("worst_gap_ms", L, Peak(), 500, 0.50, "ms"),
    MetricDef("total_migrations", L, Counter(), 10, 0.30),
    MetricDef("worst_migration_ratio", L, _LAST, 0.05, 0.20),
    # Read from each frozen capture
    MetricDef("max_dsq_depth", L, Peak(), 10, 0.50),
    MetricDef("avg_dsq_depth", L, _AVG, 5, 0.50),
    MetricDef("total_fallback", L, Counter(), 5, 0.30),
    MetricDef("total_keep_last", L, Counter(), 5, 0.30),
    # Wake and timer latency, pooled over the run
    MetricDef("worst_p99_wake_latency_us", L, Distribution(_WAKE, _P99), 50, 0.25, "µs"),
    MetricDef("worst_median_wake_latency_us", L, Distribution(_WAKE, _MEDIAN), 20, 0.25, "µs"),
    MetricDef("worst_wake_latency_cv", L, Distribution(_WAKE, _CV), 0.10, 0.25),
    MetricDef("worst_p99_timer_latency_us", L, Distribution(_TIMER, _P99), 50, 0.25, "µs"),
    MetricDef("worst_median_timer_latency_us", L, Distribution(_TIMER, _MEDIAN), 20, 0.25, "µs"),
    MetricDef("worst_p999_timer_latency_us", L, Distribution(_TIMER, _P999), 100, 0.25, "µs"),
    MetricDef("worst_timer_latency_us", L, Distribution(_TIMER, _WORST), 200, 0.25, "µs"),
    # Throughput
    MetricDef("iteration_rate", H, Rate("total_phase_iterations", "total_phase_duration_sec"),
              1, 0.30, "iter/s"),
    MetricDef("total_iterations", H, Counter(), 100, 0.10),
    MetricDef("total_phase_iterations", H, Counter(), 100, 0.10),
    MetricDef("total_phase_duration_sec", H, Counter(), 1, 0.30, "s"),
    MetricDef("total_cpu_time_sec", H, Counter(), 1, 0.30, "s"),
    MetricDef("total_iterations_pooled", H, Counter(), 100, 0.10),
    MetricDef("iterations_per_cpu_sec", H, Rate("total_iterations_pooled", "total_cpu_time_sec"),
              10, 0.10, "iter/cpu-s"),
    # Run delay, efficiency, NUMA
    MetricDef("worst_mean_run_delay_us", L, Distribution(_DELAY, _MEAN), 50, 0.25, "µs"),
    MetricDef("worst_run_delay_us", L, Distribution(_DELAY, _WORST), 100, 0.50, "µs"),
    MetricDef("worst_wake_latency_tail_ratio", L, WakeLatencyTailRatio(), 0.5, 0.25, "x"),
    MetricDef("worst_iterations_per_worker", H, WorstLowest(_ITERATIONS, _WORKERS), 10, 0.10),
    MetricDef("worst_iterations_per_cpu_sec", H, WorstLowest(_ITERATIONS, _CPU_TIME),
              10, 0.10, "iter/cpu-s"),
    MetricDef("worst_page_locality", H, WorstLowest(_LOCAL, _PAGES), 0.05, 0.10),
    MetricDef("worst_cross_node_migration_ratio", L, WorstCrossNodeRatio(), 0.05, 0.20),
    # One cgroup in one phase
    MetricDef("p99_wake_latency_us", L, PerPhase(), 50, 0.25, "µs"),
    MetricDef("median_wake_latency_us", L, PerPhase(), 20, 0.25, "µs"),
    MetricDef("wake_latency_cv", L, PerPhase(), 0.10, 0.25),
    MetricDef("p99_timer_latency_us", L, PerPhase(), 50, 0.25, "µs"),
    MetricDef("median_timer_latency_us", L, PerPhase(), 20, 0.25, "µs"),
    MetricDef("p999_timer_latency_us", L, PerPhase(), 100, 0.25, "µs"),
    MetricDef("mean_run_delay_us", L, PerPhase(), 50, 0.25, "µs"),
    MetricDef("max_run_delay_us", L, PerPhase(), 100, 0.50, "µs"),
    MetricDef("avg_off_cpu_pct", L, PerPhase(), 5, 0.25, "%"),
    MetricDef("min_off_cpu_pct", L, PerPhase(), 5, 0.25, "%"),
    MetricDef("max_off_cpu_pct", L, PerPhase(), 5, 0.25, "%"),
    MetricDef("off_cpu_spread_pct", L, PerPhase(), 5, 0.25, "%"),
    MetricDef("migration_ratio", L, PerPhase(), 0.05, 0.20),
    MetricDef("iterations_per_worker", H, PerPhase(), 10, 0.10),
    MetricDef("page_locality", H, PerPhase(), 0.05, 0.10),
    MetricDef("cross_node_migration_ratio", L, PerPhase(), 0.05, 0.20),
    MetricDef("total_cpu_time_ns", H, Counter(), 100, 0.10, "ns"),
)
# fmt: on
"""Every metric this version computes."""

TYPED_FIELD_NAMES = frozenset(
    {
        "max_dsq_depth",
        "max_imbalance_ratio",
        "total_fallback",
        "total_keep_last",
        "stuck_count",
        "total_iterations",
        "total_migrations",
    }
)
"""Metrics with a typed home of their own: never written to the run-level map."""

_BY_NAME = {metric.name: metric for metric in METRICS}


def metric_def(name: str) -> MetricDef | None:
    """The row of ``name``; ``None`` when it is not registered."""
    return _BY_NAME.get(name)
