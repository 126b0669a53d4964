# SPDX-License-Identifier: GPL-2.0-only
"""Kinds, polarities, and the direction guessed from a name."""

import pytest

from ktstr.metrics import SampleReduction, SampleSource, infer_higher_is_worse
from ktstr.metrics.kinds import (
    HIGHER_BETTER,
    INFORMATIONAL,
    LOWER_BETTER,
    UNKNOWN,
    Counter,
    DeltaSum,
    Distribution,
    Gauge,
    GaugeAgg,
    MergeKind,
    MetricKind,
    Peak,
    PerPhase,
    PerPhaseDeltaSum,
    PerRunDistribution,
    Polarity,
    Rate,
    Timestamp,
    WakeLatencyTailRatio,
    WorstCrossNodeRatio,
    WorstLowest,
    WorstLowestDenominator,
    WorstLowestNumerator,
    target_value,
)

COMMUTATIVE, RECOMPUTE = MergeKind.COMMUTATIVE, MergeKind.RECOMPUTE
WAKE_P99 = Distribution(SampleSource.WAKE_LATENCY_NS, SampleReduction.P99)
LOWEST = WorstLowest(WorstLowestNumerator.ITERATIONS, WorstLowestDenominator.NUM_WORKERS)


@pytest.mark.parametrize(
    ("kind", "merge_kind", "derived", "text"),
    [
        (Counter(), COMMUTATIVE, False, "Counter"),
        (DeltaSum(), COMMUTATIVE, False, "DeltaSum"),
        (PerPhaseDeltaSum(), COMMUTATIVE, False, "PerPhaseDeltaSum"),
        (Gauge(GaugeAgg.AVG), COMMUTATIVE, False, "Gauge(Avg)"),
        (Gauge(GaugeAgg.MAX), COMMUTATIVE, False, "Gauge(Max)"),
        (Gauge(GaugeAgg.LAST), MergeKind.NON_COMMUTATIVE, False, "Gauge(Last)"),
        (Peak(), COMMUTATIVE, False, "Peak"),
        (Timestamp(), MergeKind.NON_COMMUTATIVE, False, "Timestamp"),
        (Rate("a", "b"), RECOMPUTE, True, "Rate"),
        (WAKE_P99, RECOMPUTE, True, "Distribution"),
        (LOWEST, RECOMPUTE, True, "WorstLowest"),
        (WakeLatencyTailRatio(), RECOMPUTE, True, "WakeLatencyTailRatio"),
        (WorstCrossNodeRatio(), RECOMPUTE, True, "WorstCrossNodeRatio"),
        (PerPhase(), RECOMPUTE, True, "PerPhase"),
        (PerRunDistribution(), RECOMPUTE, True, "PerRunDistribution"),
    ],
    ids=str,
)
def test_how_a_kind_merges(
    kind: MetricKind, merge_kind: MergeKind, derived: bool, text: str
) -> None:
    assert kind.merge_kind is merge_kind
    assert kind.is_derived is derived
    assert str(kind) == text


def test_the_parameters_of_a_kind_are_text() -> None:
    assert Counter().parameters() == {}
    assert Gauge(GaugeAgg.LAST).parameters() == {"agg": "last"}
    assert Rate("a", "b").parameters() == {"numerator": "a", "denominator": "b"}
    assert WAKE_P99.parameters() == {"source": "wake_latencies_ns", "reduction": "p99"}
    assert LOWEST.parameters() == {"numerator": "iterations", "denominator": "num_workers"}


@pytest.mark.parametrize(
    ("polarity", "folds_by_maximum", "direction", "text"),
    [
        (HIGHER_BETTER, False, False, "HigherBetter"),
        (LOWER_BETTER, True, True, "LowerBetter"),
        (UNKNOWN, True, True, "Unknown"),
        (target_value(0.5), True, True, "TargetValue(0.5)"),
        (INFORMATIONAL, False, None, "Informational"),
    ],
    ids=str,
)
def test_which_way_a_polarity_points(
    polarity: Polarity, folds_by_maximum: bool, direction: bool | None, text: str
) -> None:
    assert polarity.higher_is_worse() is folds_by_maximum
    assert polarity.classify_direction() is direction
    assert str(polarity) == text


@pytest.mark.parametrize(
    "name",
    [
        *("tail_latency", "queue_delay", "longest_gap", "stalls", "stuck_tasks", "slice_cv"),
        *("errors", "failures", "dropped", "spread", "wait_us", "wait_ms", "wait_ns"),
        *("migration_ratio", "imbalance", "max_depth", "dsq_len"),
    ],
)
def test_the_name_of_a_cost(name: str) -> None:
    assert infer_higher_is_worse(name)


@pytest.mark.parametrize(
    "name",
    [
        *("iops", "throughput", "bandwidth_mb", "iterations", "ops_per_sec", "page_locality"),
        *("fair_score", "goodput"),
    ],
)
def test_the_name_of_a_gain(name: str) -> None:
    assert not infer_higher_is_worse(name)


@pytest.mark.parametrize("name", ["throughput_error", "iterations_dropped", "iops_latency_us"])
def test_a_cost_in_a_name_outweighs_a_gain(name: str) -> None:
    assert infer_higher_is_worse(name)


@pytest.mark.parametrize("name", ["", "custom", "nr_custom_events"])
def test_a_name_that_tells_nothing_is_a_cost(name: str) -> None:
    assert infer_higher_is_worse(name)
