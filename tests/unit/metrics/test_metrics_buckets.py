# SPDX-License-Identifier: GPL-2.0-only
"""Phase buckets: building, merging, and folding the guest's carriers in."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from ktstr.metrics import (
    Phase,
    PhaseBucket,
    StimulusEvent,
    build_phase_buckets,
    build_phase_buckets_with_stimulus,
    fold_guest_per_cgroup_into_host_buckets,
    merge_matched_phase_buckets,
)
from ktstr.metrics import bucket as bucket_module
from ktstr.metrics import build as build_module
from ktstr.metrics import registry as registry_module
from ktstr.metrics.kinds import (
    LOWER_BETTER,
    Counter,
    DeltaSum,
    Gauge,
    GaugeAgg,
    MetricKind,
    Peak,
    PerPhase,
    PerPhaseDeltaSum,
    PerRunDistribution,
    Timestamp,
    WakeLatencyTailRatio,
)
from ktstr.metrics.registry import MetricDef
from ktstr.series.sample import Sample, SampleSeries
from ktstr.series.snapshot import CpuSnapshot, SchedExtState, Snapshot
from ktstr.telemetry import PhaseCgroupStats

U64_MAX = 2**64 - 1


def capture(depths: list[int | None], events: dict[str, int] | None = None) -> Snapshot:
    cpus = tuple(CpuSnapshot(cpu=i, local_dsq_depth=depth) for i, depth in enumerate(depths))
    return Snapshot(release="7.2", maps=(), cpus=cpus, sched_ext=SchedExtState(events=events))


def sample(number: int, at: int | None, step: int | None, **fields: Any) -> Sample:
    return Sample(
        f"periodic_{number:03}",
        boundary_offset_ms=at,
        step_index=step,
        **fields,
    )


def start(step: int, ms: int, total: int | None = 0) -> StimulusEvent:
    return StimulusEvent(ms, f"StepStart[{step - 1}]", total_iterations=total, step_index=step)


def end(step: int, ms: int, total: int | None = 0) -> StimulusEvent:
    return StimulusEvent(ms, "StepEnd", total_iterations=total, step_index=step, is_step_end=True)


def test_samples_reduce_by_kind_within_their_stamped_phase() -> None:
    series = SampleSeries.from_drained_typed(
        [
            sample(0, 50, 1, snapshot=capture([1, 3], {"select_cpu_fallback": 10})),
            sample(1, 90, 1, snapshot=capture([0, 8], {"select_cpu_fallback": 25})),
            sample(2, 20, None, snapshot=capture([None, None])),
            sample(3, 95, 1, snapshot=None, error="frozen too late"),
        ]
    )
    baseline, step = build_phase_buckets(series)
    assert (baseline.step_index, baseline.label, baseline.metrics) == (0, "BASELINE", {})
    assert (step.step_index, step.label) == (1, "Step[0]")
    assert (step.start_ms, step.end_ms, step.sample_count) == (50, 95, 2)
    assert step.get("max_dsq_depth") == 8.0
    assert step.get("avg_dsq_depth") == 3.0
    assert step.get("total_fallback") == 15.0
    assert step.get("total_keep_last") is None


def test_a_phase_without_any_anchor_has_the_inverted_window() -> None:
    series = SampleSeries([Sample("periodic_000")])
    (bucket,) = build_phase_buckets(series)
    assert (bucket.start_ms, bucket.end_ms) == (U64_MAX, 0)
    (bucket,) = build_phase_buckets(SampleSeries([Sample("periodic_000", elapsed_ms=7)]))
    assert (bucket.start_ms, bucket.end_ms) == (7, 7)


def test_captures_go_to_the_step_that_had_started() -> None:
    series = SampleSeries(
        [
            sample(0, 99, 2),
            sample(1, 100, 2),
            sample(2, 299, 2),
            sample(3, 900, 1),
            Sample("manual", step_index=1),
        ]
    )
    buckets = build_phase_buckets_with_stimulus(series, [start(2, 300), start(1, 100)])
    assert {b.step_index: b.sample_count for b in buckets} == {0: 1, 1: 3, 2: 1}


def test_steps_without_captures_are_synthesized() -> None:
    events = [
        start(1, 100),
        end(1, 180),
        start(2, 200),
        start(3, 250),
        StimulusEvent.terminal(400, 9),
    ]
    buckets = build_phase_buckets_with_stimulus(SampleSeries.empty(), events)
    assert [(b.step_index, b.label, b.start_ms, b.end_ms, b.sample_count) for b in buckets] == [
        (1, "Step[0]", 100, 180, 0),
        (2, "Step[1]", 200, 250, 0),
        (3, "Step[2]", 250, 400, 0),
    ]
    (last,) = build_phase_buckets_with_stimulus(SampleSeries.empty(), [start(1, 5)])
    assert (last.start_ms, last.end_ms) == (5, U64_MAX)


def test_a_steps_rate_is_its_own() -> None:
    events = [
        start(1, 0, 0),
        end(1, 2000, 1000),
        start(2, 2500, 10),
        end(2, 4500, 10),
        StimulusEvent.terminal(5000, 99),
    ]
    first, second = build_phase_buckets_with_stimulus(SampleSeries.empty(), events)
    assert first.get("iteration_rate") == 500.0
    assert first.get("total_phase_iterations") == 1000.0
    assert first.get("total_phase_duration_sec") == 2.0
    assert second.get("iteration_rate") == 0.0  # measured standstill


def test_overlapping_step_frames_close_at_the_earliest_boundary() -> None:
    events = [start(1, 100), end(1, 400), start(2, 300), end(2, 700), end(2, 600)]
    first, second = build_phase_buckets_with_stimulus(SampleSeries.empty(), events)
    assert (first.start_ms, first.end_ms) == (100, 300)
    assert (second.start_ms, second.end_ms) == (300, 600)


def test_the_first_measured_pair_of_a_step_counts() -> None:
    events = [start(1, 0, 0), end(1, 1000, 50), start(1, 2000, 0), end(1, 3000, 999)]
    (only,) = build_phase_buckets_with_stimulus(SampleSeries.empty(), events)
    assert only.get("iteration_rate") == 50.0


def test_without_step_ends_the_next_event_bounds_the_rate() -> None:
    events = [start(1, 0, 0), start(2, 1000, 300), StimulusEvent.terminal(3000, 500)]
    first, second = build_phase_buckets_with_stimulus(SampleSeries.empty(), events)
    assert first.get("iteration_rate") == 300.0
    assert second.get("iteration_rate") == 100.0


def test_a_dead_or_zero_length_step_has_no_rate() -> None:
    events = [start(1, 0, 0), end(1, 100, 5), start(2, 100, 5)]
    first, second = build_phase_buckets_with_stimulus(SampleSeries.empty(), events)
    assert first.get("iteration_rate") == 50.0
    assert second.get("iteration_rate") is None
    (only,) = build_phase_buckets_with_stimulus(
        SampleSeries.empty(), [start(1, 100, 0), end(1, 100, 9), StimulusEvent.terminal(500, 50)]
    )
    assert only.get("iteration_rate") is None


def bucket(step: int = 1, **fields: Any) -> PhaseBucket:
    return PhaseBucket(step, str(Phase(step)), **fields)


def test_buckets_merge_by_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    stamp = MetricDef("stamp", LOWER_BETTER, Timestamp(), 1, 0.1)
    monkeypatch.setitem(registry_module._BY_NAME, "stamp", stamp)
    a = bucket(
        start_ms=10,
        end_ms=50,
        sample_count=3,
        metrics={
            "total_phase_iterations": 100.0,
            "total_phase_duration_sec": 1.0,
            "iteration_rate": 100.0,
            "max_dsq_depth": 5.0,
            "avg_dsq_depth": 4.0,
            "worst_spread": 1.0,
            "stamp": 70.0,
            "unregistered": 2.0,
            "only_a": 8.0,
            "p99_wake_latency_us": 3.0,
        },
    )
    b = bucket(
        start_ms=5,
        end_ms=60,
        sample_count=0,
        metrics={
            "total_phase_iterations": 100.0,
            "total_phase_duration_sec": 3.0,
            "iteration_rate": 33.0,
            "max_dsq_depth": 7.0,
            "avg_dsq_depth": 8.0,
            "worst_spread": 2.0,
            "stamp": 60.0,
            "unregistered": 4.0,
        },
    )
    merged = merge_matched_phase_buckets(a, b)
    assert merged.metrics == {
        "total_phase_iterations": 200.0,
        "total_phase_duration_sec": 4.0,
        "iteration_rate": 50.0,  # not the mean of 100 and 33
        "max_dsq_depth": 7.0,
        "avg_dsq_depth": 5.0,  # (4 * 3 + 8 * 1) / 4: no captures still weigh 1
        "worst_spread": 2.0,  # the later window
        "stamp": 60.0,
        "unregistered": 3.0,
        "only_a": 8.0,
    }
    assert (merged.start_ms, merged.end_ms, merged.sample_count) == (5, 60, 3)
    tie = merge_matched_phase_buckets(a, bucket(end_ms=50, metrics={"worst_spread": 9.0}))
    assert tie.get("worst_spread") == 1.0


def test_buckets_of_different_steps_do_not_merge() -> None:
    with pytest.raises(ValueError, match="steps 1 and 2"):
        merge_matched_phase_buckets(bucket(1), bucket(2))


def carrier(step: int, **cgroups: int) -> PhaseBucket:
    return PhaseBucket.carrier(
        step,
        {
            name: PhaseCgroupStats(
                num_workers=1,
                total_iterations=n,
                wake_latencies_ns=np.array([n], dtype=np.uint64),
                wake_sample_total=1,
            )
            for name, n in cgroups.items()
        },
    )


def test_carriers_fold_into_their_steps() -> None:
    host = bucket(2, start_ms=10, end_ms=20, sample_count=4, metrics={"max_dsq_depth": 1.0})
    guests = [carrier(3, x=9), carrier(2, a=5), carrier(2, a=6, b=1), carrier(3, x=1)]
    matched, orphan = fold_guest_per_cgroup_into_host_buckets([host], guests)
    assert (matched.start_ms, matched.end_ms, matched.sample_count) == (10, 20, 4)
    assert matched.metrics == {"max_dsq_depth": 1.0}
    assert matched.per_cgroup["a"].num_workers == 2
    assert matched.per_cgroup["a"].wake_latencies_ns.tolist() == [5, 6]
    assert matched.cgroup_counter_total("total_iterations") == 12.0
    assert matched.window_measured
    assert (orphan.step_index, orphan.start_ms, orphan.end_ms) == (3, 0, 0)
    assert orphan.per_cgroup["x"].total_iterations == 10
    assert not orphan.window_measured


def test_duplicate_host_buckets_are_merged_and_reported() -> None:
    notes: list[str] = []
    (merged,) = fold_guest_per_cgroup_into_host_buckets(
        [bucket(1, sample_count=1), bucket(1, sample_count=2)], [], notes
    )
    assert merged.sample_count == 3
    assert notes == ["two host buckets for Step[0]: merged"]


def test_a_carrier_with_a_window_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Step\[0\].*\(1, 2\)"):
        fold_guest_per_cgroup_into_host_buckets([], [bucket(1, start_ms=1, end_ms=2)])


def test_counters_without_carriers_are_not_measured() -> None:
    assert bucket().cgroup_counter_total("total_iterations") is None
    assert carrier(1, a=0).cgroup_counter_total("total_iterations") == 0.0
    assert carrier(1, a=0).cgroup_counter_total("max_gap_ms") is None
    with pytest.raises(LookupError, match="2 captures"):
        bucket(sample_count=2).expect_metric("max_dsq_depth")


def test_series_projections() -> None:
    series = SampleSeries([sample(0, 1, 2), Sample("manual"), sample(1, 2, 1)])
    assert len(series) == 3 and not series.is_empty
    assert [s.tag for s in series.periodic_only().iter_samples()] == [
        "periodic_000",
        "periodic_001",
    ]
    assert {step: len(group) for step, group in series.by_phase().items()} == {0: 1, 1: 1, 2: 1}
    assert SampleSeries.empty().is_empty


def test_every_bucket_is_offered_the_monitor(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[list[str], int, int, object, bool]] = []
    steps: list[int] = []

    def injected(
        samples: Sequence[Sample],
        start_ms: int,
        end_ms: int,
        monitor: object,
        *,
        captured: bool,
        step: int,
    ) -> dict[str, float]:
        steps.append(step)
        seen.append(([s.tag for s in samples], start_ms, end_ms, monitor, captured))
        # A reading of the captures themselves goes before what the monitor saw of the same thing.
        return {"total_pcount": 8.0, "total_ttwu_count": 4.0, "max_dsq_depth": 99.0}

    monkeypatch.setattr(build_module, "injected_metrics", injected)
    monitor: Any = ["a reading"]
    series = SampleSeries([sample(0, 120, 1, snapshot=capture([3])), sample(1, 150, 1)])
    events = [start(1, 100), end(1, 180), start(2, 200), end(2, 260)]
    one, two = build_phase_buckets_with_stimulus(series, events, monitor=monitor)
    assert seen == [
        (["periodic_000", "periodic_001"], 120, 150, monitor, True),
        ([], 200, 260, monitor, False),
    ]
    assert steps == [1, 2]
    assert (one.get("max_dsq_depth"), two.get("max_dsq_depth")) == (3.0, 99.0)
    assert one.get("total_pcount") == two.get("total_pcount") == 8.0
    seen.clear()
    (stamped,) = build_phase_buckets(series)
    assert seen == [(["periodic_000", "periodic_001"], 120, 150, (), True)]
    assert stamped.get("total_pcount") == 8.0


def test_injected_components_become_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        build_module,
        "injected_metrics",
        lambda *_, captured, step: {"total_run_delay": 6.0, "total_pcount": 4.0},
    )
    (stamped,) = build_phase_buckets(SampleSeries([sample(0, 5, 1)]))
    (empty,) = build_phase_buckets_with_stimulus(SampleSeries.empty(), [start(1, 5)])
    assert stamped.get("total_run_delay_ns_per_sched") == 1.5
    assert empty.get("total_run_delay_ns_per_sched") == 1.5


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (Counter(), 5.0),
        (DeltaSum(), 5.0),
        (PerPhaseDeltaSum(), 5.0),
        (Peak(), 4.0),
        (Gauge(GaugeAgg.MAX), 4.0),
        (Gauge(GaugeAgg.AVG), 1.75),  # (1 * 3 + 4 * 1) / 4
        (Gauge(GaugeAgg.LAST), 4.0),
        (Timestamp(), 4.0),
        (PerPhase(), None),
        (PerRunDistribution(), None),
        (WakeLatencyTailRatio(), None),
        (None, 2.5),
    ],
)
def test_each_kind_merges_by_its_rule(
    monkeypatch: pytest.MonkeyPatch, kind: MetricKind | None, expected: float | None
) -> None:
    row = None if kind is None else MetricDef("x", LOWER_BETTER, kind, 1, 0.1)
    monkeypatch.setattr(bucket_module, "metric_def", {"x": row}.get)
    a = bucket(sample_count=3, end_ms=10, metrics={"x": 1.0})
    b = bucket(sample_count=0, end_ms=11, metrics={"x": 4.0})
    assert merge_matched_phase_buckets(a, b).get("x") == expected
    # What orders by time does not care about the side; everything else does not either.
    assert merge_matched_phase_buckets(b, a).get("x") == expected
    # A value only one side has is taken as it is, unless it is derived.
    alone = merge_matched_phase_buckets(a, bucket()).get("x")
    assert alone == (None if expected is None else 1.0)


def test_a_sum_that_no_float_can_hold_is_left_out() -> None:
    huge = bucket(metrics={"total_pcount": 1.7e308})
    assert merge_matched_phase_buckets(huge, huge).metrics == {}


def test_one_bad_carrier_is_refused_whether_its_step_is_known_or_not() -> None:
    bad = bucket(1, start_ms=0, end_ms=0)
    for hosts in ([], [bucket(1, start_ms=1, end_ms=2)]):
        with pytest.raises(ValueError, match="carriers have none"):
            fold_guest_per_cgroup_into_host_buckets(hosts, [bad])


def test_two_carriers_of_one_orphaned_step_keep_its_mark() -> None:
    (orphan,) = fold_guest_per_cgroup_into_host_buckets([], [carrier(4, a=1), carrier(4, a=2)])
    assert (orphan.start_ms, orphan.end_ms) == (0, 0)
    assert orphan.per_cgroup["a"].total_iterations == 3
    assert not orphan.window_measured
