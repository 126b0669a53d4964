# SPDX-License-Identifier: GPL-2.0-only
"""One phase against another: orientation, margins, and what cannot be compared."""

import pytest

from ktstr.metrics import Phase, PhaseBucket, ScenarioStats
from ktstr.telemetry import PhaseCgroupStats
from ktstr.verdict import (
    AssertResult,
    DetailKind,
    better_across_phases,
    better_across_phases_cgroup,
)

BASE, CANDIDATE = Phase.BASELINE, Phase.step(0)


def stats(metric: str, before: float | None, after: float | None) -> ScenarioStats:
    buckets = [
        PhaseBucket(
            step_index=index,
            label=str(Phase(index)),
            start_ms=0,
            end_ms=1,
            sample_count=1,
            metrics={} if value is None else {metric: value},
            per_cgroup={"cg": PhaseCgroupStats(metrics={} if value is None else {metric: value})},
        )
        for index, value in ((0, before), (1, after))
    ]
    return ScenarioStats(phases=tuple(buckets))


def verdict(metric: str, before: float | None, after: float | None, margin: float | None) -> str:
    """``pass``, or the one message of a failure or a doubt."""
    result = AssertResult()
    claim = better_across_phases(result, stats(metric, before, after), BASE, CANDIDATE, metric)
    claim.better_than() if margin is None else claim.by_at_least(margin)
    if result.passes:
        assert result.outcomes == []
        (held,) = result.passes
        return f"{held.name} {held.value} {held.comparator} {held.expected}"
    ((kind, message),) = [
        (d.kind, f"{type(o).__name__}: {d.message}")
        for o in result.outcomes
        for d in [*result.failure_details(), *result.inconclusive_details()]
    ]
    assert kind is DetailKind.BENCHMARK
    return message


@pytest.mark.parametrize(
    ("metric", "before", "after", "margin", "says"),
    [
        ("iteration_rate", 100.0, 101.0, None, "iteration_rate 101.0 gt 100.0"),
        (
            "iteration_rate",
            100.0,
            100.0,
            None,
            (
                "Fail: iteration_rate: expected Step[0] better than BASELINE (higher is better), "
                "was 100.0 against 100.0"
            ),
        ),
        ("avg_dsq_depth", 4.0, 3.5, None, "avg_dsq_depth 3.5 lt 4.0"),
        (
            "avg_dsq_depth",
            4.0,
            5.0,
            None,
            (
                "Fail: avg_dsq_depth: expected Step[0] better than BASELINE (lower is better), "
                "was 5.0 against 4.0"
            ),
        ),
        ("iteration_rate", 100.0, 125.0, 0.25, "iteration_rate 125.0 ge 125.0"),
        (
            "iteration_rate",
            100.0,
            124.0,
            0.25,
            (
                "Fail: iteration_rate: expected Step[0] better by 25.0% than BASELINE "
                "(higher is better), was 124.0 against 100.0"
            ),
        ),
        ("avg_dsq_depth", 4.0, 3.0, 0.25, "avg_dsq_depth 3.0 le 3.0"),
        ("avg_dsq_depth", 0.0, 0.0, 0.0, "avg_dsq_depth 0.0 le 0.0"),
        (
            "avg_dsq_depth",
            0.0,
            0.0,
            0.25,
            "Inconclusive: avg_dsq_depth: BASELINE is 0, of which 25.0% is nothing",
        ),
        (
            "iteration_rate",
            None,
            1.0,
            None,
            "Inconclusive: iteration_rate: not measured in BASELINE",
        ),
        ("iteration_rate", 1.0, None, 0.1, "Inconclusive: iteration_rate: not measured in Step[0]"),
        (
            "total_hardirqs",
            1.0,
            2.0,
            None,
            "Inconclusive: total_hardirqs: the metric has no direction in the registry",
        ),
        (
            "made_up",
            1.0,
            2.0,
            0.1,
            "Inconclusive: made_up: the metric has no direction in the registry",
        ),
        (
            "iteration_rate",
            1.0,
            2.0,
            -0.1,
            "Fail: iteration_rate: caller error: margin negative -0.1",
        ),
    ],
)
def test_across_phases(
    metric: str, before: float | None, after: float | None, margin: float | None, says: str
) -> None:
    assert verdict(metric, before, after, margin) == says


def test_across_phases_within_a_cgroup() -> None:
    result = AssertResult()
    better_across_phases_cgroup(
        result,
        stats("iterations_per_worker", 5.0, 4.0),
        BASE,
        CANDIDATE,
        "cg",
        "iterations_per_worker",
    ).better_than()
    (detail,) = result.failure_details()
    assert detail.message.startswith("cg.iterations_per_worker: expected Step[0] better than")
    absent = AssertResult()
    better_across_phases_cgroup(
        absent, ScenarioStats(), BASE, CANDIDATE, "cg", "iterations_per_worker"
    ).better_than()
    assert absent.is_inconclusive()
