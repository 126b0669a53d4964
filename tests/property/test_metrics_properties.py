# SPDX-License-Identifier: GPL-2.0-only
"""Laws of the fold: it depends on what was measured, never on the order it arrived in."""

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ktstr.metrics import (
    Phase,
    PhaseBucket,
    ScenarioStats,
    StimulusEvent,
    fold_run,
    merge_matched_phase_buckets,
    populate_run_ext_all,
    weighted_percentile,
)
from ktstr.series.sample import Sample, SampleSeries
from ktstr.telemetry import PhaseCgroupStats, TaggedReport, WorkerReport

# A busy machine is slow, which says nothing about the code.
PURE = settings(
    deadline=None,
    max_examples=60,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)

COUNT = st.one_of(st.integers(0, 10**6), st.integers(2**63, 2**64 - 1))
LATENCIES = st.lists(st.integers(0, 2**40), max_size=8)


@st.composite
def tagged_reports(draw: st.DrawFn, number: int) -> TaggedReport:
    wakes = draw(LATENCIES)
    wall = draw(st.integers(0, 10**12))
    report = WorkerReport(
        tid=number,
        completed=True,
        iterations=draw(COUNT),
        migration_count=draw(COUNT),
        wall_time_ns=wall,
        off_cpu_ns=draw(st.integers(0, wall)),
        schedstat_run_delay_ns=draw(COUNT),
        schedstat_cpu_time_ns=draw(COUNT),
        wake_latencies_ns=np.array(wakes, dtype=np.uint64),
        wake_sample_total=len(wakes) + draw(st.integers(0, 1000)),
        numa_pages=draw(st.dictionaries(st.integers(0, 2), COUNT, max_size=2)),
    )
    return TaggedReport(
        draw(st.integers(0, 3)), draw(st.sampled_from("abc")), 0, 0, number, "Mixed", report
    )


@st.composite
def runs(draw: st.DrawFn) -> list[TaggedReport]:
    return [draw(tagged_reports(number)) for number in range(draw(st.integers(0, 6)))]


EVENTS = [
    StimulusEvent(0, "StepStart[0]", total_iterations=0, step_index=1),
    StimulusEvent(1000, "StepEnd[0]", total_iterations=70, step_index=1, is_step_end=True),
    StimulusEvent(1100, "StepStart[1]", total_iterations=0, step_index=2),
    StimulusEvent(3000, "StepEnd[1]", total_iterations=30, step_index=2, is_step_end=True),
]
SAMPLES = SampleSeries([Sample("periodic_000", 500, 500, 1), Sample("periodic_001", 1500, 1500, 2)])


@PURE
@given(runs(), st.randoms(use_true_random=False))
def test_arrival_order_changes_no_bit(reports: list[TaggedReport], random: Any) -> None:
    shuffled, events = list(reports), list(EVENTS)
    random.shuffle(shuffled)
    random.shuffle(events)
    assert fold_run(SAMPLES, EVENTS, reports) == fold_run(SAMPLES, events, shuffled)


@PURE
@given(runs())
def test_no_nan_or_infinity_ever_appears(reports: list[TaggedReport]) -> None:
    stats = fold_run(SAMPLES, EVENTS, reports, expected_nodes={(1, "a"): {0}})
    json.dumps(stats.to_plain(), allow_nan=False)
    values = [*stats.ext_metrics.values()]
    for phase in stats.phases:
        values += phase.metrics.values()
        for carrier in phase.per_cgroup.values():
            values += carrier.metrics.values()
    assert all(math.isfinite(value) for value in values)


@PURE
@given(runs(), st.randoms(use_true_random=False))
def test_renaming_cgroups_changes_no_run_level_metric(
    reports: list[TaggedReport], random: Any
) -> None:
    names = ["a", "b", "c"]
    random.shuffle(names)
    other = dict(zip("abc", names, strict=True))
    renamed = [
        TaggedReport(t.step_index, other[t.cgroup], 0, 0, t.worker, t.work_type, t.report)
        for t in reports
    ]
    first, second = fold_run(SAMPLES, EVENTS, reports), fold_run(SAMPLES, EVENTS, renamed)
    assert first.ext_metrics == second.ext_metrics


@PURE
@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(1, 9)), min_size=1, max_size=12),
    st.sampled_from([0.01, 0.5, 0.99, 0.999]),
)
def test_a_weighted_percentile_is_that_of_the_written_out_population(
    pairs: list[tuple[int, int]], p: float
) -> None:
    pairs.sort()
    population = [value for value, weight in pairs for _ in range(weight)]
    rank = max(math.ceil(len(population) * p), 1)
    values = np.array([value for value, _ in pairs], dtype=np.uint64)
    weights = np.array([float(weight) for _, weight in pairs])
    assert weighted_percentile(values, weights, p) == population[rank - 1]


@PURE
@given(st.lists(LATENCIES, min_size=1, max_size=4))
def test_the_run_pool_below_the_cap_is_the_plain_pool(parts: list[list[int]]) -> None:
    phases = [
        PhaseBucket.carrier(
            step,
            {
                "cg": PhaseCgroupStats(
                    wake_latencies_ns=np.array(part, dtype=np.uint64), wake_sample_total=len(part)
                )
            },
        )
        for step, part in enumerate(parts, start=1)
    ]
    stats = ScenarioStats.from_cgroups([], phases=phases)
    ext = populate_run_ext_all(stats, SampleSeries.empty()).ext_metrics
    pool = sorted(value for part in parts for value in part)
    if not pool:
        assert "worst_p99_wake_latency_us" not in ext
        return
    assert ext["worst_p99_wake_latency_us"] == pool[math.ceil(len(pool) * 0.99) - 1] / 1000
    assert ext["worst_median_wake_latency_us"] == pool[math.ceil(len(pool) * 0.5) - 1] / 1000
    mean = sum(pool) / len(pool)
    spread = math.sqrt(sum((value - mean) ** 2 for value in pool) / len(pool))
    assert ext["worst_wake_latency_cv"] == pytest.approx(spread / mean if mean else 0.0)


METRIC_MAPS = st.dictionaries(
    st.sampled_from(
        ["total_phase_iterations", "total_phase_duration_sec", "max_dsq_depth", "total_fallback"]
    ),
    st.integers(0, 2**40).map(float),
)


@PURE
@given(METRIC_MAPS, METRIC_MAPS, METRIC_MAPS)
def test_bucket_merging_is_associative_for_sums_and_peaks(
    a: dict[str, float], b: dict[str, float], c: dict[str, float]
) -> None:
    x, y, z = (PhaseBucket(1, str(Phase(1)), 5, 9, 2, metrics) for metrics in (a, b, c))
    left = merge_matched_phase_buckets(merge_matched_phase_buckets(x, y), z)
    right = merge_matched_phase_buckets(x, merge_matched_phase_buckets(y, z))
    assert left == right
