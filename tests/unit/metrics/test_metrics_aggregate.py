# SPDX-License-Identifier: GPL-2.0-only
"""Reductions by kind, rates and weighted percentiles."""

import math

import numpy as np
import pytest

from ktstr.metrics import (
    GaugeAgg,
    MergeKind,
    SampleReduction,
    SampleSource,
    aggregate_samples,
    aggregate_samples_weighted,
    derive_rate_metrics,
    weighted_percentile,
)
from ktstr.metrics.aggregate import aggregate_samples_for_phase
from ktstr.metrics.kinds import (
    INFORMATIONAL,
    Counter,
    DeltaSum,
    Distribution,
    Gauge,
    MetricKind,
    Peak,
    PerPhase,
    PerPhaseDeltaSum,
    Rate,
    Timestamp,
    WakeLatencyTailRatio,
    target_value,
)
from ktstr.metrics.registry import MetricDef

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (Counter(), 9.0),
        (DeltaSum(), 9.0),
        (PerPhaseDeltaSum(), 3.0),
        (Gauge(GaugeAgg.AVG), 3.0),
        (Gauge(GaugeAgg.LAST), 2.0),
        (Gauge(GaugeAgg.MAX), 6.0),
        (Peak(), 6.0),
        (Timestamp(), 2.0),
        (Distribution(SampleSource.WAKE_LATENCY_NS, SampleReduction.P99), 3.0),
        (Distribution(SampleSource.WAKE_LATENCY_NS, SampleReduction.WORST), 6.0),
        (WakeLatencyTailRatio(), 3.0),
        (Rate("a", "b"), None),
        (PerPhase(), None),
    ],
)
def test_values_fold_by_kind(kind: MetricKind, expected: float | None) -> None:
    assert aggregate_samples([NAN, 1.0, 6.0, INF, 2.0, -INF], kind) == expected
    assert aggregate_samples([NAN], kind) is None


def test_weights_matter_to_averages_only() -> None:
    pairs = [(1.0, 3.0), (5.0, 1.0)]
    assert aggregate_samples_weighted(pairs, Gauge(GaugeAgg.AVG)) == 2.0
    assert aggregate_samples_weighted(pairs, Counter()) == 6.0
    zero = [(1.0, 0.0), (5.0, 0.0)]
    assert aggregate_samples_weighted(zero, Gauge(GaugeAgg.AVG)) == 3.0
    huge = [(1.0, 1e308), (5.0, 1e308)]
    assert aggregate_samples_weighted(huge, Gauge(GaugeAgg.AVG)) == 3.0
    assert aggregate_samples([1e308, 1e308], Counter()) is None


@pytest.mark.parametrize(
    ("readings", "expected"),
    [([10.0, 12.0, 30.0], 20.0), ([10.0], None), ([], None), ([5.0, 5.0], 0.0), ([9.0, 3.0], 0.0)],
)
def test_a_counter_needs_two_readings(readings: list[float], expected: float | None) -> None:
    row = MetricDef("x", INFORMATIONAL, Counter(), 1, 1)
    assert aggregate_samples_for_phase(row, readings) == expected
    assert aggregate_samples_for_phase(row, [NAN, *readings]) == expected


def test_a_derived_metric_has_no_readings() -> None:
    row = MetricDef("x", INFORMATIONAL, WakeLatencyTailRatio(), 1, 1)
    assert aggregate_samples_for_phase(row, [1.0, 2.0]) is None


@pytest.mark.parametrize(
    ("iterations", "seconds", "rate"),
    [
        (100.0, 4.0, 25.0),
        (0.0, 4.0, 0.0),
        (5.0, 0.0, None),
        (5.0, None, None),
        (INF, 2.0, None),
        (1e308, 1e-308, None),
    ],
)
def test_rates_need_both_components(
    iterations: float, seconds: float | None, rate: float | None
) -> None:
    metrics = {"total_phase_iterations": iterations}
    if seconds is not None:
        metrics["total_phase_duration_sec"] = seconds
    derive_rate_metrics(metrics)
    assert metrics.get("iteration_rate") == rate


def test_weighted_percentile_counts_populations() -> None:
    values = np.array([1, 2, 3], dtype=np.uint64)
    # Populations 10, 80, 10: rank 50 and rank 90 fall in the middle, rank 91 in the last.
    weights = np.array([10.0, 80.0, 10.0])
    assert [weighted_percentile(values, weights, p) for p in (0.1, 0.11, 0.5, 0.9, 0.91)] == [
        1,
        2,
        2,
        2,
        3,
    ]
    assert weighted_percentile(values, weights, 0.0) == 1
    assert weighted_percentile(values, weights, 1.0) == 3
    # A rank is a whole sample: half of 3 is the 2nd.
    assert weighted_percentile(values[:2], np.array([1.5, 1.5]), 0.5) == 2
    assert weighted_percentile(values[:0], weights[:0], 0.5) == 0


def test_merge_kinds() -> None:
    assert Counter().merge_kind is MergeKind.COMMUTATIVE
    assert Gauge(GaugeAgg.AVG).merge_kind is MergeKind.COMMUTATIVE
    assert Gauge(GaugeAgg.LAST).merge_kind is MergeKind.NON_COMMUTATIVE
    assert Timestamp().merge_kind is MergeKind.NON_COMMUTATIVE
    assert Rate("a", "b").merge_kind is MergeKind.RECOMPUTE
    assert target_value(1.0).higher_is_worse() and not INFORMATIONAL.higher_is_worse()
