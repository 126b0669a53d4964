# SPDX-License-Identifier: GPL-2.0-only
"""The monitor's loop against a guest that is scripted."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import anyio
import pytest

from ktstr.capture import monitor as module
from ktstr.capture.monitor import GuestMonitor, Moment
from ktstr.errors import GuestLost, KernelUnfit
from ktstr.introspect.monitor import Look
from ktstr.series.monitor.samples import CpuReading, MonitorSample
from ktstr.series.monitor.window import ProgramStats

pytestmark = pytest.mark.anyio


def look(
    clock: int,
    *,
    length: int = 1,
    stale: str | None = None,
    kind: int | None = 0,
    name: str = "none",
    jiffies: int | None = None,
    programs: tuple[ProgramStats, ...] | None = None,
) -> Look:
    sample = MonitorSample(0, (CpuReading(0, length, rq_clock=clock),), exit_kind=kind)
    return Look(sample, programs, jiffies, stale, name)


@dataclass
class ScriptedPlan:
    """Gives the scripted looks, one for each copy; ends the monitor after the last."""

    looks: list[Look]
    done: Callable[[], None]
    unavailable: dict[str, str] = field(default_factory=dict)
    copies: int = 0

    def copy(self, memory: object) -> Any:
        self.copies += 1
        if len(self.looks) == 1:
            self.done()
        return self.looks.pop(0)

    def decode(self, captured: Any) -> Look:
        return captured


class Scripted:
    """A monitor over plans made of looks, with a clock that ticks 100 ms per reading."""

    def __init__(self, *plans: list[Look] | Exception, **more: Any) -> None:
        self.now = 0
        self.scope = anyio.CancelScope()
        self.plans = list(plans)
        self.made: list[ScriptedPlan] = []
        memory: Any = None
        plan: Any = self.plan
        self.monitor: Any = GuestMonitor(
            memory,
            plan,
            self.moment,
            period_s=0.0001,
            **more,
        )

    async def plan(self) -> ScriptedPlan:
        looks = self.plans.pop(0)
        if isinstance(looks, Exception):
            raise looks
        last = not self.plans
        self.made.append(ScriptedPlan(looks, self.scope.cancel if last else lambda: None))
        return self.made[-1]

    def moment(self) -> Moment:
        self.now += 100
        return Moment(self.now // 2, self.now, held=self.now > 200, step_index=7)

    async def run(self) -> GuestMonitor:
        with self.scope, anyio.fail_after(20):
            await self.monitor.run()
        return self.monitor


def clocks(monitor: GuestMonitor) -> list[int | None]:
    return [sample.cpus[0].rq_clock for sample in monitor.samples]


async def test_readings_are_placed_in_time() -> None:
    monitor = await Scripted([look(1), look(2), look(3)], vcpu_times=lambda: {0: 99}).run()
    found = [(s.elapsed_ms, s.taken_ms, s.held, s.step_index) for s in monitor.samples]
    assert found[:3] == [(50, 100, False, None), (100, 200, False, None), (150, 300, True, 7)]
    assert {s.cpus[0].vcpu_cpu_time_ns for s in monitor.samples} == {99}


async def test_a_torn_reading_is_taken_again() -> None:
    back = 10**9
    script = Scripted([look(2 * back), look(back), look(3 * back), look(4 * back)])
    monitor = await script.run()
    assert clocks(monitor) == [2 * back, 3 * back, 4 * back]
    assert monitor.torn_reads == 0
    assert script.made[0].copies == 4


async def test_what_stays_torn_is_dropped_and_counted() -> None:
    back = 10**9
    torn = [look(5 * back), look(back), look(back + 1), look(2 * back)]
    monitor = await Scripted(torn).run()
    assert clocks(monitor) == [5 * back, 2 * back], "a clock that was set back for good goes on"
    assert monitor.report().torn_reads == 1


async def test_the_plan_is_made_anew_when_it_is_stale() -> None:
    script = Scripted([look(9, stale="another scheduler")], [look(1), look(2)])
    script.monitor._tell_exit = lambda found: None
    monitor = await script.run()
    # A new plan's readings are not held against those of the old one.
    assert clocks(monitor) == [9, 1, 2]
    assert len(script.made) == 2


async def test_what_one_plan_can_show_is_not_missing() -> None:
    script = Scripted([look(1, stale="new")], [look(2)])
    reasons = [{"a": "never", "b": "not yet"}, {"a": "never", "c": "gone again"}]
    make = script.plan

    async def plan() -> ScriptedPlan:
        return replace(await make(), unavailable=reasons.pop(0))

    script.monitor._make_plan = plan
    assert (await script.run()).report().unavailable == {"a": "never"}


async def test_a_guest_that_cannot_be_read_ends_the_monitor() -> None:
    monitor = await Scripted(*[KernelUnfit("no runqueues")] * 3).run()
    assert monitor.samples == []
    assert monitor.report().notes == ("the monitor ended: no runqueues",)
    with pytest.raises(GuestLost):
        await Scripted(GuestLost("gone")).run()


async def test_nothing_is_read_while_the_guest_stands_still() -> None:
    still = [True, True, False, False]
    script = Scripted([look(1), look(2)], standing_still=lambda: still.pop(0))
    monitor = await script.run()
    assert len(monitor.samples) == 2
    assert monitor.missed_ticks >= 2


async def test_late_ticks_are_skipped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    script = Scripted([look(1), look(2), look(3)])
    script.monitor._period_s = 0.1
    moment = script.moment

    def slow() -> Moment:
        # The first reading takes 350 ms: those due at 100, 200 and 300 ms are lost.
        now[0] += 0.35 if not script.monitor.samples else 0.1
        return moment()

    script.monitor._moment = slow
    monkeypatch.setattr(module.anyio, "sleep", lambda seconds: anyio.lowlevel.checkpoint())
    monitor = await script.run()
    assert len(monitor.samples) == 3
    assert monitor.missed_ticks == 2


async def test_the_exit_is_told_once() -> None:
    told: list[tuple[int, str]] = []
    looks = [
        look(1, kind=None),
        look(2, kind=1, name="done"),
        look(3, kind=1026, name="error_stall"),
        look(4, kind=1024, name="error"),
    ]
    await Scripted(looks, on_exit_kind=lambda kind, name: told.append((kind, name))).run()
    assert told == [(1026, "error_stall")]


async def test_ticks_tell_the_threshold() -> None:
    at_250 = [look(n, jiffies=1000 + 25 * n) for n in range(1, 13)]
    assert (await Scripted(at_250).run()).report().preemption_threshold_ns == 40_000_000
    at_1000 = [look(n, jiffies=1000 + 100 * n) for n in range(1, 13)]
    assert (await Scripted(at_1000).run()).report().preemption_threshold_ns == 10_000_000
    known = (await Scripted([look(1), look(2)], hz=100).run()).report()
    assert known.preemption_threshold_ns == 100_000_000
    assert {s.preemption_threshold_ns for s in known.samples} == {100_000_000}
    unknown = (await Scripted([look(1), look(2)]).run()).report()
    assert unknown.preemption_threshold_ns == 40_000_000
    assert unknown.notes == ("the guest's tick rate is not known; 250 a second are assumed",)


async def test_programs_count_what_they_added() -> None:
    first = (ProgramStats(3, "dispatch", 10, 1000),)
    last = (ProgramStats(3, "dispatch", 14, 1800), ProgramStats(5, "new", 1, 7))
    looks = [look(1, programs=first), look(2, programs=last)]
    summary = (await Scripted(looks).run()).report().summary
    assert summary.programs == (ProgramStats(3, "dispatch", 4, 800), ProgramStats(5, "new", 1, 7))
    assert [p.nsecs_per_call for p in summary.programs] == [200.0, 7.0]


async def test_readings_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SAMPLES", 3)
    monitor = await Scripted([look(n) for n in range(1, 9)]).run()
    assert len(monitor.samples) == 3
    assert monitor.notes == ["the monitor kept the first 3 readings and read no more"]


async def test_a_slow_decode_goes_into_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    moved: list[object] = []

    async def run_sync(function: Any, *args: Any) -> Any:
        moved.append(args)
        return function(*args)

    monkeypatch.setattr(module.anyio.to_thread, "run_sync", run_sync)
    monkeypatch.setattr(module, "DECODE_IN_LOOP_NS", 0)
    await Scripted([look(1), look(2)]).run()
    assert len(moved) == 2
