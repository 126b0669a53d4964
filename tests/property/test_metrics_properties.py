# SPDX-License-Identifier: GPL-2.0-only
"""Laws of the fold: it depends on what was measured, never on the order it arrived in."""

import math
from fractions import Fraction
from itertools import permutations
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
    derive_phase_metrics,
    fold_guest_per_cgroup_into_host_buckets,
    fold_run,
    merge_matched_phase_buckets,
    populate_run_ext_all,
    weighted_percentile,
)
from ktstr.metrics.fold import group_reports, guest_carriers
from ktstr.metrics.pool import SamplePool
from ktstr.series.sample import Sample, SampleSeries
from ktstr.telemetry import (
    PhaseCgroupStats,
    PhaseSlice,
    PlatStats,
    SampleSource,
    SchbenchPhaseStats,
    TaggedReport,
    TaobenchPhaseStats,
    TaobenchStats,
    WorkerReport,
    percentile,
)
from ktstr.telemetry.moments import Moments

# A busy machine is slow, which says nothing about the code.
PURE = settings(
    deadline=None,
    max_examples=60,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)

COUNT = st.one_of(st.integers(0, 10**6), st.integers(2**63, 2**64 - 1))
LATENCIES = st.lists(st.integers(0, 2**40), max_size=8)


def vector(values: list[int]) -> np.ndarray:
    return np.array(values, dtype=np.uint64)


HISTOGRAM = st.lists(st.integers(0, 2**32 - 1), max_size=4).map(vector).map(PlatStats.from_values)
SCHBENCH = st.builds(SchbenchPhaseStats, HISTOGRAM, HISTOGRAM, HISTOGRAM, *[COUNT] * 5)
TAOBENCH = st.builds(TaobenchStats, *[COUNT] * 5)
SLICES = st.lists(
    st.builds(
        PhaseSlice,
        st.integers(1, 3),
        iterations=COUNT,
        schbench=st.none() | SCHBENCH,
        taobench=st.none() | st.builds(TaobenchPhaseStats, TAOBENCH, HISTOGRAM),
    ),
    max_size=2,
).map(tuple)


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
        phase_slices=draw(SLICES),
        taobench_whole=draw(st.none() | TAOBENCH),
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


STRATA = st.lists(
    st.tuples(st.lists(st.integers(0, 60), min_size=1, max_size=5), st.integers(0, 12)),
    min_size=1,
    max_size=5,
)


@PURE
@given(STRATA, st.sampled_from([0.0, 0.01, 0.5, 0.75, 0.99, 0.999, 1.0]))
def test_a_pool_is_the_written_out_population(
    strata: list[tuple[list[int], int]], p: float
) -> None:
    # Every sample counts as many parts of a sample as make all weights whole.
    parts = math.lcm(*(len(values) for values, _ in strata))
    filled = [(sorted(values), max(total, len(values))) for values, total in strata]
    population = sorted(
        value
        for values, total in filled
        for value in values
        for _ in range(total * parts // len(values))
    )
    pool = SamplePool((vector(values), total) for values, total in filled)
    count = sum(total for _, total in filled)
    assert len(population) == count * parts
    rank = max(math.ceil(count * p), 1) * parts
    assert pool.percentile(p) == population[rank - 1]
    mean = Fraction(sum(population), len(population))
    variance = sum((value - mean) ** 2 for value in population) / len(population)
    moments = pool.moments()
    assert moments.mean() == float(mean)
    expected = math.sqrt(variance / mean**2) if mean else 0.0
    assert moments.coefficient_of_variation() == expected


@PURE
@given(st.lists(st.lists(st.integers(0, 2**64 - 1), max_size=6), min_size=1, max_size=4))
def test_samples_that_stand_for_themselves_give_every_bit_of_the_sorted_union(
    parts: list[list[int]],
) -> None:
    pool = SamplePool((np.sort(vector(part)), len(part)) for part in parts)
    union = np.sort(vector([value for part in parts for value in part]))
    if len(union):
        for p in (0.5, 0.99, 0.999):
            assert pool.percentile(p) == percentile(union, p)
        assert pool.moments() == Moments.of(union)


def phases_of(reports: list[TaggedReport]) -> list[PhaseBucket]:
    return fold_guest_per_cgroup_into_host_buckets([], guest_carriers(reports))


@PURE
@given(runs(), st.integers(0, 6))
def test_folding_in_pieces_is_folding_at_once(reports: list[TaggedReport], cut: int) -> None:
    ordered = [tagged for group in group_reports(reports).values() for tagged in group]
    pieces = [*guest_carriers(ordered[:cut]), *guest_carriers(ordered[cut:])]
    assert fold_guest_per_cgroup_into_host_buckets([], pieces) == phases_of(ordered)
    merged: dict[int, PhaseBucket] = {}
    for part in (phases_of(ordered[:cut]), phases_of(ordered[cut:])):
        for bucket in part:
            known = merged.get(bucket.step_index)
            merged[bucket.step_index] = (
                bucket if known is None else merge_matched_phase_buckets(known, bucket)
            )
    assert [merged[step] for step in sorted(merged)] == phases_of(ordered)


@PURE
@given(runs(), st.data())
def test_the_order_of_cgroups_changes_no_bit(reports: list[TaggedReport], data: Any) -> None:
    stats = fold_run(SAMPLES, EVENTS, reports)
    before = ScenarioStats.from_cgroups(stats.cgroups, phases=phases_of(reports))
    shuffled = ScenarioStats.from_cgroups(
        data.draw(st.permutations(before.cgroups)),
        phases=[
            PhaseBucket.carrier(
                bucket.step_index,
                dict(data.draw(st.permutations(list(bucket.per_cgroup.items())))),
            )
            for bucket in data.draw(st.permutations(before.phases))
        ],
    )
    first = populate_run_ext_all(before, SampleSeries.empty()).ext_metrics
    second = populate_run_ext_all(shuffled, SampleSeries.empty()).ext_metrics
    assert first == second
    derived = {bucket.step_index: bucket.metrics for bucket in derive_phase_metrics(before.phases)}
    assert derived == {
        bucket.step_index: bucket.metrics for bucket in derive_phase_metrics(shuffled.phases)
    }


@PURE
@given(runs())
def test_derived_phases_give_the_same_run_and_derive_to_themselves(
    reports: list[TaggedReport],
) -> None:
    stats = fold_run(SAMPLES, EVENTS, reports)
    again = populate_run_ext_all(
        ScenarioStats.from_cgroups(stats.cgroups, phases=stats.phases), SAMPLES
    )
    assert again.ext_metrics == stats.ext_metrics
    assert derive_phase_metrics(stats.phases) == list(stats.phases)


@PURE
@given(runs())
def test_records_lose_nothing(reports: list[TaggedReport]) -> None:
    stats = fold_run(SAMPLES, EVENTS, reports, expected_nodes={(1, "a"): {0}})
    assert ScenarioStats.from_record(stats.to_record(), "run") == stats


@PURE
@given(runs())
def test_a_distribution_is_that_of_all_samples(reports: list[TaggedReport]) -> None:
    stats = fold_run(SAMPLES, EVENTS, reports)
    carriers = [c for bucket in stats.phases for c in bucket.per_cgroup.values()]
    delays = sorted(int(d) for c in carriers for d in c.ordered(SampleSource.RUN_DELAY_NS))
    in_carriers = {name for bucket in stats.phases for name in bucket.per_cgroup}
    others = [c.worst_run_delay_us for c in stats.cgroups if c.cgroup_name not in in_carriers]
    expected = max([d / 1000.0 for d in delays[-1:]] + others, default=None)
    assert stats.ext_metrics.get("worst_run_delay_us") == expected


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


@PURE
@given(st.lists(METRIC_MAPS, min_size=3, max_size=3), st.lists(COUNT, min_size=3, max_size=3))
def test_merging_scenarios_is_associative_and_blind_to_their_order(
    maps: list[dict[str, float]], counts: list[int]
) -> None:
    x, y, z = (
        ScenarioStats(
            total_iterations=count,
            worst_spread=float(count % 7),
            ext_metrics={**metrics, "iteration_rate": float(count % 5)},
            phases=(PhaseBucket(1, str(Phase(1)), 5, 9, 2, metrics),),
        )
        for metrics, count in zip(maps, counts, strict=True)
    )
    assert x.merge(y).merge(z) == x.merge(y.merge(z))
    found = [a.merge(b).merge(c) for a, b, c in permutations((x, y, z))]
    assert all(merged == found[0] for merged in found)
