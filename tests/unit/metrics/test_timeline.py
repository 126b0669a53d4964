# SPDX-License-Identifier: GPL-2.0-only
"""Phases in time: their layout, their figures and what counts as a change."""

from typing import Any

import pytest

from ktstr.metrics import PhaseBucket, StimulusEvent, Timeline
from ktstr.metrics.timeline import Direction, PhaseChange, PhaseMetrics, TimelinePhase
from ktstr.series.monitor.samples import CpuReading, MonitorSample
from ktstr.telemetry import PhaseCgroupStats

U64_MAX = (1 << 64) - 1


def start(at_ms: int, step: int, iterations: int | None = None) -> StimulusEvent:
    return StimulusEvent(at_ms, f"StepStart[{step - 1}]", "ops=1", "x", iterations, step)


def end(at_ms: int, step: int, iterations: int) -> StimulusEvent:
    label = f"StepEnd[{step - 1}]"
    return StimulusEvent(at_ms, label, "ops=1", "x", iterations, step, is_step_end=True)


def reading(at_ms: int, lengths: tuple[int, ...] = (1, 1), **values: Any) -> MonitorSample:
    cpus = tuple(CpuReading(i, n, local_dsq_depth=2 * n) for i, n in enumerate(lengths))
    return MonitorSample(at_ms, cpus, **values)


def bucket(
    step: int,
    start_ms: int,
    end_ms: int,
    metrics: dict[str, float] | None = None,
    samples: int = 2,
) -> PhaseBucket:
    label = "BASELINE" if step == 0 else f"Step[{step - 1}]"
    return PhaseBucket(step, label, start_ms, end_ms, samples, metrics or {})


def layout(timeline: Timeline) -> list[tuple[int, int, int, int]]:
    return [(p.index, p.start_ms, p.end_ms, p.metrics.sample_count) for p in timeline.phases]


@pytest.mark.parametrize(
    ("stimulus", "samples"),
    [
        ([], [reading(600)]),
        ([start(0, 1)], []),
        ([end(5, 1, 1), StimulusEvent.terminal(9, 1)], [reading(600)]),
    ],
)
def test_no_steps_or_no_readings_is_no_timeline(
    stimulus: list[StimulusEvent], samples: list[MonitorSample]
) -> None:
    assert Timeline.build(stimulus, samples) == Timeline()


def test_the_first_settled_reading_is_the_first_event() -> None:
    samples = [reading(ms) for ms in (100, 500)]
    samples += [MonitorSample(550), *(reading(ms) for ms in (600, 700, 800, 900))]
    stimulus = [start(20, 1), end(180, 1, 0), start(220, 2), StimulusEvent.terminal(400, 9)]
    # 600 on the monitor's clock is 20 on the scenario's: the offset is 580.
    assert layout(Timeline.build(stimulus, samples)) == [
        (0, 100, 600, 2),
        (1, 600, 800, 2),
        (2, 800, 901, 2),
    ]


def test_without_a_settled_reading_the_first_one_counts() -> None:
    samples = [reading(ms) for ms in (100, 200, 500)]
    assert layout(Timeline.build([start(0, 1), start(100, 2)], samples)) == [
        (1, 100, 200, 1),
        (2, 200, 501, 2),
    ]


def test_a_step_after_the_last_reading_is_empty_not_backwards() -> None:
    built = Timeline.build([start(0, 1), start(5000, 2)], [reading(600), reading(700)])
    assert layout(built) == [(1, 600, 5600, 2), (2, 5600, 5600, 0)]
    assert built.phases[1].metrics == PhaseMetrics()


def test_figures_come_from_the_usable_readings_of_the_phase() -> None:
    samples = [
        reading(600, (4, 2), events={"select_cpu_fallback": 0, "dispatch_keep_last": 3}),
        reading(700, (90_000, 1)),
        reading(1100, (3, 3), events={"select_cpu_fallback": 10, "dispatch_keep_last": 3}),
    ]
    (phase,) = Timeline.build([start(0, 1, 5)], samples).phases
    assert phase.metrics == PhaseMetrics(
        sample_count=2,
        avg_imbalance=1.5,
        max_imbalance=2.0,
        avg_dsq_depth=6.0,
        max_dsq_depth=8,
        stall_count=None,
        fallback_rate=20.0,
        keep_last_rate=0.0,
        iteration_rate=None,
    )


def test_stalls_follow_the_preemption_threshold() -> None:
    samples = [MonitorSample(ms, (CpuReading(0, 1, rq_clock=7),)) for ms in (600, 650, 700)]
    stalls = [
        Timeline.build([start(0, 1)], samples, threshold).phases[0].metrics.stall_count
        for threshold in (50_000_000, 50_000_001)
    ]
    assert stalls == [2, 0]


@pytest.mark.parametrize(
    ("stimulus", "rates"),
    [
        # Each step's own end wins over the next start, however far the counter has gone by then.
        ([start(0, 1, 100), end(500, 1, 200), start(1000, 2, 900)], [200.0, None]),
        ([start(0, 1, 100), start(1000, 2, 900), StimulusEvent.terminal(2000, 950)], [800.0, 50.0]),
        ([start(0, 1, 100), start(1000, 2, 90)], [None, None]),
        ([start(0, 1, 100), end(500, 1, 100), start(1000, 2, 900)], [0.0, None]),
    ],
)
def test_throughput_is_measured_within_the_step(
    stimulus: list[StimulusEvent], rates: list[float | None]
) -> None:
    built = Timeline.build(stimulus, [reading(600), reading(9000)])
    assert [phase.metrics.iteration_rate for phase in built.phases] == rates


def test_buckets_become_phases_in_the_order_of_steps() -> None:
    opened = start(1000, 1)
    carrier = PhaseCgroupStats(num_workers=1)
    measured = PhaseBucket(
        1,
        "Step[0]",
        1000,
        3000,
        4,
        {
            **{"avg_imbalance_ratio": 1.5, "max_imbalance_ratio": 3.0, "avg_dsq_depth": 0.0},
            **{"max_dsq_depth": 7.0, "stuck_count": 2.0, "total_fallback": 30.0},
            **{"total_keep_last": 0.0, "iteration_rate": 12.5, "unrelated": 1.0},
        },
        {"cg": carrier},
    )
    baseline, step = Timeline.from_phase_buckets(
        [measured, bucket(0, 0, 900, samples=1)], [opened, end(2000, 1, 5), start(2500, 1)]
    ).phases
    assert baseline == TimelinePhase(0, 0, 900, PhaseMetrics(sample_count=1))
    assert step == TimelinePhase(
        index=1,
        start_ms=1000,
        end_ms=3000,
        stimulus=opened,
        metrics=PhaseMetrics(4, 1.5, 3.0, 0.0, 7, 2, 15.0, 0.0, 12.5),
        per_cgroup={"cg": carrier},
    )


def test_a_step_without_its_event_is_known_by_its_label() -> None:
    (phase,) = Timeline.from_phase_buckets([bucket(3, 5, 5, {"total_fallback": 4.0}, 1)]).phases
    assert phase.stimulus == StimulusEvent(5, "Step[2]", step_index=3)
    assert phase.metrics.fallback_rate is None, "no time passed"
    assert not phase.not_measured_window


@pytest.mark.parametrize(
    ("orphan", "measured"),
    [
        (PhaseBucket(1, "Step[0]", 0, 0, per_cgroup={"cg": PhaseCgroupStats()}), False),
        (PhaseBucket(1, "Step[0]"), False),
        (PhaseBucket(1, "Step[0]", 100, U64_MAX), False),
        (PhaseBucket(1, "Step[0]", 0, 0, 1, {"max_dsq_depth": 1.0}), True),
        (PhaseBucket(1, "Step[0]", 100, 200), True),
    ],
)
def test_a_window_nobody_measured_is_said_to_be_so(orphan: PhaseBucket, measured: bool) -> None:
    (phase,) = Timeline.from_phase_buckets([orphan]).phases
    assert phase.not_measured_window is not measured


def changes(before: PhaseBucket, after: PhaseBucket) -> list[PhaseChange]:
    return list(Timeline.from_phase_buckets([before, after]).phases[1].changes)


WORSE, BETTER = Direction.DEGRADED, Direction.IMPROVED
# Metric of the bucket, name of the change, value before, the last that is no change, one beyond
# it, and its direction. Rates are totals over a phase of one second.
EDGES = [
    ("avg_imbalance_ratio", "imbalance", 1.0, 1.5, 1.5000001, WORSE),
    ("avg_imbalance_ratio", "imbalance", 2.0, 1.5, 1.4999999, BETTER),
    ("avg_dsq_depth", "dsq_depth", 1.0, 4.0, 4.0000001, WORSE),
    ("avg_dsq_depth", "dsq_depth", 4.0, 1.0, 0.9999999, BETTER),
    ("total_fallback", "fallback", 5.0, 15.0, 16.0, WORSE),
    ("total_fallback", "fallback", 15.0, 5.0, 4.0, BETTER),
    ("total_keep_last", "keep_last", 0.0, 10.0, 11.0, WORSE),
    ("total_keep_last", "keep_last", 11.0, 1.0, 0.0, BETTER),
    ("iteration_rate", "throughput", 100.0, 70.0, 69.9999, WORSE),
    ("iteration_rate", "throughput", 100.0, 130.0, 130.0001, BETTER),
]


@pytest.mark.parametrize(("metric", "name", "before", "same", "other", "direction"), EDGES)
def test_a_change_is_more_than_its_threshold(
    metric: str, name: str, before: float, same: float, other: float, direction: Direction
) -> None:
    first = bucket(1, 0, 1000, {metric: before})
    assert changes(first, bucket(2, 1000, 2000, {metric: same})) == []
    assert changes(first, bucket(2, 1000, 2000, {metric: other})) == [
        PhaseChange(direction, name, before, other)
    ]
    assert changes(first, bucket(2, 1000, 2000)) == []
    assert changes(bucket(1, 0, 1000), bucket(2, 1000, 2000, {metric: other})) == []


@pytest.mark.parametrize("counts", [(0, 2), (2, 0), (0, 0)])
def test_only_throughput_compares_phases_without_samples(counts: tuple[int, int]) -> None:
    low = {"avg_imbalance_ratio": 1.0, "avg_dsq_depth": 0.0, "iteration_rate": 100.0}
    high = {"avg_imbalance_ratio": 9.0, "avg_dsq_depth": 9.0, "iteration_rate": 0.0}
    rates = ({"total_fallback": 0.0, "total_keep_last": 0.0}, {"total_fallback": 99.0})
    before = bucket(1, 0, 1000, low | rates[0], counts[0])
    after = bucket(2, 1000, 2000, high | rates[1], counts[1])
    assert changes(before, after) == [PhaseChange(WORSE, "throughput", 100.0, 0.0)]


def test_nothing_is_relative_to_a_standstill() -> None:
    before, after = (
        bucket(1, 0, 9, {"iteration_rate": 0.0}),
        bucket(2, 9, 18, {"iteration_rate": 500.0}),
    )
    assert changes(before, after) == []


def test_changes_come_in_the_order_of_the_thresholds_and_degradations_are_listed() -> None:
    names = ["iteration_rate", "total_keep_last", "total_fallback"]
    names += ["avg_dsq_depth", "avg_imbalance_ratio"]
    built = Timeline.from_phase_buckets(
        [
            bucket(0, 0, 1000, dict.fromkeys(names, 100.0)),
            bucket(1, 1000, 2000, dict.fromkeys(names, 200.0)),
            bucket(2, 2000, 3000, dict.fromkeys(names, 200.0)),
        ]
    )
    assert [change.metric for change in built.phases[1].changes] == [
        "imbalance",
        "dsq_depth",
        "fallback",
        "keep_last",
        "throughput",
    ]
    assert built.phases[0].changes == built.phases[2].changes == ()
    assert [(phase.index, change.metric) for phase, change in built.degradations()] == [
        (1, name) for name in ("imbalance", "dsq_depth", "fallback", "keep_last")
    ]
