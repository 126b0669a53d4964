# SPDX-License-Identifier: GPL-2.0-only
"""What a monitor's readings come to, and which of them are believed."""

from dataclasses import replace
from typing import Any

import pytest

from ktstr.series.host import PerCpuTime
from ktstr.series.monitor.report import (
    MonitorReport,
    phase_readings,
    preemption_threshold,
    program_growth,
    tick_rate,
)
from ktstr.series.monitor.samples import CpuReading, MonitorSample, Schedstat
from ktstr.series.monitor.torn import torn
from ktstr.series.monitor.window import MonitorSummary, ProgramStats
from ktstr.series.sample import Sample, SampleSeries
from ktstr.series.snapshot import CpuSnapshot, SchedExtState, Snapshot


def reading(n: int, *lengths: int, held: bool = True, **more: Any) -> MonitorSample:
    cpus = tuple(CpuReading(i, length, rq_clock=n) for i, length in enumerate(lengths))
    return MonitorSample(100 * n, cpus, held=held, **more)


def captures() -> SampleSeries:
    snapshot = Snapshot("7", (), (CpuSnapshot(0, nr_running=5, clock=1),), SchedExtState())
    return SampleSeries([Sample("periodic_000", elapsed_ms=5, snapshot=snapshot)])


def test_only_held_steps_count() -> None:
    report = MonitorReport.of([reading(1, 9, held=False), reading(2, 4, 2), reading(3, 1, 1)])
    assert len(report.samples) == 3
    assert report.summary.total_samples == 2
    assert report.summary.max_imbalance_ratio == 2.0
    assert [s.elapsed_ms for s in phase_readings(report, captures())] == [200, 300]


def test_clocks_that_stand_at_one_value_say_nothing() -> None:
    still = [replace(reading(n, 3), cpus=(CpuReading(0, 3, rq_clock=7),)) for n in range(4)]
    report = MonitorReport.of(still)
    assert report.summary == MonitorSummary(0)
    assert not report.saw_something
    # The captures stand in.
    assert [s.run_lengths() for s in phase_readings(report, captures())] == [[5]]
    assert [s.run_lengths() for s in phase_readings(None, captures())] == [[5]]
    assert not MonitorReport().saw_something


def test_the_warm_up_is_left_out_of_runs_long_enough() -> None:
    forty = [reading(n, 1) for n in range(40)]
    assert MonitorReport.of(forty).judged_samples()[0].elapsed_ms == 2000
    assert len(MonitorReport.of(forty[:39]).judged_samples()) == 39
    around = [reading(n, 1, held=False) for n in range(5)] + forty
    assert len(MonitorReport.of(around).judged_samples()) == 20


def test_the_threshold_reaches_every_reading() -> None:
    def at(n: int) -> MonitorSample:
        return MonitorSample(15 * n, (CpuReading(0, 1, rq_clock=5 if n < 9 else 6),))

    # 15 ms of silence each: more than ten ticks of 1 ms, fewer than ten of 4 ms.
    fast = MonitorReport.of([at(0), at(1), at(9)], preemption_threshold_ns=10_000_000)
    slow = MonitorReport.of([at(0), at(1), at(9)])
    assert (fast.summary.stuck, slow.summary.stuck) == (True, False)


@pytest.mark.parametrize(
    ("ticks", "seconds", "rate"),
    [
        *[(260, 1.0, 250), (1900, 2.0, 1000), (95, 1.0, 100), (310, 1.0, 300), (500, 1.0, None)],
        *[(250, 0.9, None), (0, 5.0, None)],
    ],
)
def test_tick_rates(ticks: int, seconds: float, rate: int | None) -> None:
    assert tick_rate(ticks, seconds) == rate


def test_ten_ticks() -> None:
    assert [preemption_threshold(hz) for hz in (250, 1000)] == [40_000_000, 10_000_000]


def test_programs_that_came_and_that_ran_backwards() -> None:
    first = [ProgramStats(1, "a", 5, 50)]
    last = [ProgramStats(1, "a", 2, 60), ProgramStats(2, "b", 0, 0)]
    grown = program_growth(first, last)
    assert grown == (ProgramStats(1, "a", 0, 10), ProgramStats(2, "b", 0, 0))
    assert grown[1].nsecs_per_call is None


GOOD = CpuReading(
    0,
    nr_running=2,
    scx_nr_running=2,
    local_dsq_depth=1,
    rq_clock=5_000_000_000,
    curr_pid=7,
    schedstat=Schedstat(100, 10, 10, 0, 0, 0, 0),
    time=PerCpuTime(0, hardirqs=4, user_ns=1000, iowait_ns=50, idle_ns=50),
)


def of(cpu: CpuReading) -> MonitorSample:
    return MonitorSample(0, (cpu,))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"local_dsq_depth": 10_001}, "deeper"),
        ({"nr_running": 0xFFFFFFFF}, "nr_running"),
        ({"scx_nr_running": 1 << 30}, "scx_nr_running"),
        ({"curr_pid": 1 << 31}, "pid"),
        ({"rq_clock": 4_998_000_000}, "clock went back by 2000000 ns"),
        ({"schedstat": Schedstat(99, 10)}, "run_delay went back"),
        ({"schedstat": Schedstat(100, 10, 9, 0, 0, 0, 0)}, "sched_count went back"),
        ({"time": PerCpuTime(0, hardirqs=3, user_ns=1000)}, "hardirqs went back"),
        ({"time": PerCpuTime(0, hardirqs=4, user_ns=999)}, "user_ns went back"),
    ],
)
def test_what_cannot_be(change: dict[str, Any], why: str) -> None:
    found = torn(of(replace(GOOD, **change)), of(GOOD))
    assert found is not None and why in found


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"rq_clock": 4_999_500_000},
        {"schedstat": None},
        {"time": PerCpuTime(0, hardirqs=4, user_ns=1000, iowait_ns=0, idle_ns=0)},
        {"local_dsq_depth": 10_000, "nr_running": 10_000},
    ],
)
def test_what_can_be(change: dict[str, Any]) -> None:
    assert torn(of(replace(GOOD, **change)), of(GOOD)) is None


def test_a_counter_of_32_bits_may_start_again() -> None:
    before = replace(GOOD, schedstat=Schedstat(100, 10, (1 << 32) - 1, 0, 0, 0, 0))
    after = replace(GOOD, schedstat=Schedstat(100, 10, 3, 0, 0, 0, 0))
    assert torn(of(after), of(before)) is None
    assert torn(of(after)) is None
