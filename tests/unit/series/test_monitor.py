# SPDX-License-Identifier: GPL-2.0-only
"""Monitor readings: derived values, plausibility, stuck clocks, and captures read as a monitor."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktstr.series.monitor.samples import (
    CpuReading,
    MonitorSample,
    canonical_events,
    clocks_look_initialised,
    is_cpu_stuck,
    monitor_samples,
    sample_looks_valid,
    stuck_cpus,
    without_warm_up,
)
from ktstr.series.sample import Sample, SampleSeries
from ktstr.series.snapshot import CpuSnapshot, SchedExtState, Snapshot

MS = 1_000_000


def lengths(*nr_running: int | None) -> MonitorSample:
    return MonitorSample(0, tuple(CpuReading(i, n) for i, n in enumerate(nr_running)))


@pytest.mark.parametrize(
    ("sample", "ratio"),
    [
        (lengths(6, 2, 4), 3.0),
        (lengths(5, 0), 5.0),
        (lengths(0, 0), 0.0),
        (lengths(1, 1), 1.0),
        (lengths(4, None), 1.0),
        (lengths(None), 1.0),
        (lengths(), 1.0),
    ],
)
def test_imbalance_is_longest_over_shortest_counted_as_one_at_least(
    sample: MonitorSample, ratio: float
) -> None:
    assert sample.imbalance_ratio() == ratio


@given(st.lists(st.integers(0, 10_000), min_size=1), st.randoms(use_true_random=False))
def test_imbalance_does_not_depend_on_the_order_of_cpus(
    values: list[int], source: random.Random
) -> None:
    shuffled = source.sample(values, len(values))
    assert lengths(*values).imbalance_ratio() == lengths(*shuffled).imbalance_ratio()
    assert lengths(*values).imbalance_ratio() <= max(values)


@pytest.mark.parametrize(("depth", "valid"), [(10_000, True), (10_001, False), (None, True)])
def test_a_queue_deeper_than_ten_thousand_is_not_one(depth: int | None, valid: bool) -> None:
    cpus = (CpuReading(0, local_dsq_depth=1), CpuReading(1, local_dsq_depth=depth))
    assert sample_looks_valid(MonitorSample(0, cpus)) is valid


def clocks(*readings: int | None) -> MonitorSample:
    return MonitorSample(0, tuple(CpuReading(i, rq_clock=c) for i, c in enumerate(readings)))


@pytest.mark.parametrize(
    ("samples", "alive"),
    [
        ([clocks(7, 7), clocks(7, 7)], False),
        ([clocks(7, 7), clocks(7, 8)], True),
        ([clocks(0, 0)], False),
        ([clocks(0)], True),
        ([clocks(None, None)], True),
        ([], True),
    ],
)
def test_clocks_that_are_all_the_same_are_not_set_up(
    samples: list[MonitorSample], alive: bool
) -> None:
    assert clocks_look_initialised(samples) is alive


def at(
    elapsed_ms: int,
    clock: int | None = 5,
    running: int | None = 1,
    vcpu_ns: int | None = None,
    taken_ms: int | None = None,
) -> MonitorSample:
    cpu = CpuReading(3, nr_running=running, rq_clock=clock, vcpu_cpu_time_ns=vcpu_ns)
    return MonitorSample(elapsed_ms, (cpu,), taken_ms=taken_ms)


@pytest.mark.parametrize(
    ("before", "after", "stuck"),
    [
        (at(0), at(100), True),
        (at(0, clock=5), at(100, clock=6), False),
        (at(0, clock=0), at(100, clock=0), False),
        (at(0, running=0), at(100, running=0), False),
        (at(0, running=0), at(100, running=1), True),
        (at(0, running=1), at(100, running=0), True),
        # The vCPU had 39 or 40 ms of host time: 40 ms count.
        (at(0, vcpu_ns=7), at(100, vcpu_ns=7 + 40 * MS), True),
        (at(0, vcpu_ns=7), at(100, vcpu_ns=6 + 40 * MS), False),
        # Without vCPU times it cannot have run longer than the readings are apart.
        (at(0), at(40), True),
        (at(0), at(39), False),
        (at(0, vcpu_ns=7), at(39), False),
        # The time between the readings is that of taking them, not of where they belong.
        (at(0, taken_ms=60), at(100, taken_ms=61), False),
        (at(100, taken_ms=100), at(100, taken_ms=200), True),
        (at(0, clock=None), at(100, clock=None), False),
        (at(0, running=None), at(100), False),
    ],
)
def test_a_cpu_is_stuck_when_it_had_work_and_time_but_its_clock_stood(
    before: MonitorSample, after: MonitorSample, stuck: bool
) -> None:
    assert is_cpu_stuck(before, after, 3) is stuck
    assert not is_cpu_stuck(before, after, 0), "there is no CPU 0"


def test_the_preemption_threshold_is_an_argument() -> None:
    assert is_cpu_stuck(at(0), at(50), 3, preemption_threshold_ns=50 * MS)
    assert not is_cpu_stuck(at(0), at(50), 3, preemption_threshold_ns=50 * MS + 1)


def test_nothing_to_compare_is_not_the_same_as_no_cpu_stuck() -> None:
    assert stuck_cpus(at(0), at(100, clock=6)) == []
    assert stuck_cpus(at(0, clock=None), at(100)) is None
    assert stuck_cpus(at(0), MonitorSample(100, (CpuReading(0, 1, rq_clock=5),))) is None


def test_event_counters_are_summed_over_cpus() -> None:
    cpus = (
        CpuReading(0, events={"select_cpu_fallback": 2, "reenq_immed": 1}),
        CpuReading(1),
        CpuReading(2, events={"select_cpu_fallback": 5}),
    )
    summed = {"select_cpu_fallback": 7, "reenq_immed": 1}
    assert MonitorSample(0, cpus).event_totals() == summed
    assert MonitorSample(0, cpus, events={"reenq_immed": 9}).event_totals() == {"reenq_immed": 9}
    assert MonitorSample(0, (CpuReading(0),)).event_totals() is None
    assert MonitorSample(0, (CpuReading(0, events={}),)).event_totals() == {}


def test_events_have_one_name_whatever_the_kernel_calls_them() -> None:
    raw = {"SCX_EV_DISPATCH_KEEP_LAST": 1, "ENQ_SLICE_DFL": 2, "reenq_immed": 3}
    assert canonical_events(raw) == {
        "dispatch_keep_last": 1,
        "refill_slice_dfl": 2,
        "reenq_immed": 3,
    }


def test_captures_are_read_as_monitor_samples() -> None:
    cpu = CpuSnapshot(
        1, nr_running=4, scx_nr_running=3, local_dsq_depth=2, scx_flags=8, clock=99, nr_switches=5
    )
    state = SchedExtState(events={"SCX_EV_SELECT_CPU_FALLBACK": 6})
    series = SampleSeries(
        [
            Sample("periodic_000", 510, 500, 1, Snapshot("7.2", (), (cpu,), state)),
            Sample("periodic_001", 700, 650, 1, None, error="no"),
            Sample("manual", 800, None, 1, Snapshot("7.2", (), (), SchedExtState())),
            Sample("unplaced", snapshot=Snapshot("7.2", (), (cpu,), state)),
        ]
    )
    first, manual = monitor_samples(series)
    assert first == MonitorSample(
        elapsed_ms=500,
        taken_ms=510,
        cpus=(CpuReading(1, 4, 3, 2, rq_clock=99, scx_flags=8),),
        events={"select_cpu_fallback": 6},
    )
    assert first.clock_ms == 510
    assert (manual.elapsed_ms, manual.clock_ms, manual.cpus, manual.events) == (800, 800, (), None)


@pytest.mark.parametrize(("count", "left"), [(0, 0), (20, 20), (21, 1), (50, 30)])
def test_the_warm_up_is_cut_only_when_something_is_left(count: int, left: int) -> None:
    samples = [MonitorSample(i) for i in range(count)]
    assert without_warm_up(samples) == samples[count - left :]
