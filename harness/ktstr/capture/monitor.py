# SPDX-License-Identifier: GPL-2.0-only
"""The monitor's loop: a reading of the running guest every 100 ms of host time."""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

import anyio
import anyio.to_thread

from ktstr.errors import GuestLost, KtstrError
from ktstr.introspect.memory import PhysicalMemory
from ktstr.introspect.monitor import Look, MonitorPlan
from ktstr.series.monitor.report import (
    MonitorReport,
    preemption_threshold,
    program_growth,
    tick_rate,
)
from ktstr.series.monitor.samples import (
    DEFAULT_PREEMPTION_THRESHOLD_NS,
    PREEMPTION_TICKS,
    MonitorSample,
)
from ktstr.series.monitor.torn import torn
from ktstr.series.monitor.window import ProgramStats

PERIOD_S = 0.1
MAX_SAMPLES = 10_000
"""Readings that are kept: at one every 100 ms, those of the first 16 minutes."""

MAX_READINGS = 400_000
"""Readings of single CPUs that are kept, so that large guests do not fill the memory."""

DECODE_IN_LOOP_NS = 1_000_000
"""A decode that takes longer than this goes into a thread from then on."""

OVER_KINDS = frozenset({"none", "done"})
"""Exit kinds of a scheduler that runs, and of none at all."""

MAX_REPLANS = 3
"""Failures in a row to find the places of what is read, after which the monitor gives up."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Where a reading stands in time.

    :param elapsed_ms: workload time.
    :param taken_ms: host time since the monitor began, without what the guest stood still.
    :param held: whether a step was being held, and ``step_index`` which.
    """

    elapsed_ms: int
    taken_ms: int
    held: bool
    step_index: int


class GuestMonitor:
    """Reads one guest until cancelled; :meth:`report` gives what it saw, at any time.

    A tick that comes too late is skipped and counted, never made up for. A reading that contradicts
    itself or the one before is copied once more; if it still does, it is dropped and counted.

    :param make_plan: resolves what a reading copies; called again when that changed.
    :param moment: says when it is.
    :param standing_still: whether the guest is stopped just now; nothing is read then.
    :param vcpu_times: host CPU time in ns of each vCPU; ``None`` when it cannot be told apart.
    :param on_exit_kind: called once, at the first reading with a scheduler that ended, with the
        kind's number and name.
    :param hz: ticks a second of the guest, when known; otherwise they are counted.
    :param on_sample: called with each reading that is kept.
    """

    def __init__(
        self,
        memory: PhysicalMemory,
        make_plan: Callable[[], Awaitable[MonitorPlan]],
        moment: Callable[[], Moment],
        *,
        standing_still: Callable[[], bool] = lambda: False,
        vcpu_times: Callable[[], Mapping[int, int] | None] = lambda: None,
        on_exit_kind: Callable[[int, str], None] | None = None,
        hz: int | None = None,
        on_sample: Callable[[MonitorSample], None] | None = None,
        period_s: float = PERIOD_S,
    ) -> None:
        self.samples: list[MonitorSample] = []
        self.torn_reads = 0
        self.missed_ticks = 0
        self.notes: list[str] = []
        self.unavailable: dict[str, str] = {}
        self._memory = memory
        self._make_plan = make_plan
        self._moment = moment
        self._standing_still = standing_still
        self._vcpu_times = vcpu_times
        self._on_exit_kind = on_exit_kind
        self._hz = hz
        self._on_sample = on_sample
        self._period_s = period_s
        self._decode_ns = 0
        self._last: MonitorSample | None = None
        self._ticks: list[tuple[int, int]] = []
        self._programs: list[tuple[ProgramStats, ...]] = []
        self._full = False
        self._plans = 0

    async def run(self) -> None:
        """Read at every tick, without an end.

        :raise GuestLost: when the machine is gone while places are looked up.
        """
        plan = await self._planned()
        due = time.monotonic()
        while plan is not None and not self._full:
            await anyio.sleep(max(0.0, due - time.monotonic()))
            if self._standing_still():
                self.missed_ticks += 1
            elif await self.tick(plan) is not None:
                plan = await self._planned()
            due += self._period_s
            late = int((time.monotonic() - due) / self._period_s)
            if late > 0:
                self.missed_ticks += late
                due += late * self._period_s

    async def _planned(self) -> MonitorPlan | None:
        """The places of what is read; None, with a note, when they cannot be found."""
        self._last = None
        for _ in range(MAX_REPLANS):
            try:
                plan = await self._make_plan()
            except GuestLost:
                raise
            except Exception as error:
                # Guest memory may hold anything, so reading it may raise anything.
                last = str(error) if isinstance(error, KtstrError) else type(error).__name__
                await anyio.sleep(self._period_s)
                continue
            # What one scheduler or another showed was not missing.
            self.unavailable = {
                name: reason
                for name, reason in plan.unavailable.items()
                if not self._plans or name in self.unavailable
            }
            self._plans += 1
            return plan
        self.notes.append(f"the monitor ended: {last}")
        return None

    async def tick(self, plan: MonitorPlan) -> str | None:
        """Take one reading; why the plan is outdated, or ``None`` while it holds."""
        look, sample = await self._look(plan)
        if torn(sample, self._last) is not None:
            look, sample = await self._look(plan)
            if torn(sample, self._last) is not None:
                self.torn_reads += 1
                # What follows is held against this one: a counter may have been reset for good.
                self._last = sample
                return look.stale
        self._last = sample
        self._keep(look, sample)
        if self._on_sample is not None:
            self._on_sample(sample)
        self._tell_exit(look)
        return look.stale

    async def _look(self, plan: MonitorPlan) -> tuple[Look, MonitorSample]:
        captured = plan.copy(self._memory)
        moment, host = self._moment(), self._vcpu_times()
        began = time.perf_counter_ns()
        if self._decode_ns < DECODE_IN_LOOP_NS:
            look = plan.decode(captured)
        else:
            look = await anyio.to_thread.run_sync(plan.decode, captured)
        self._decode_ns = time.perf_counter_ns() - began
        sample = replace(
            look.sample,
            elapsed_ms=moment.elapsed_ms,
            taken_ms=moment.taken_ms,
            held=moment.held,
            step_index=moment.step_index if moment.held else None,
        )
        if host is not None:
            cpus = tuple(replace(c, vcpu_cpu_time_ns=host.get(c.cpu)) for c in sample.cpus)
            sample = replace(sample, cpus=cpus)
        return look, sample

    def _keep(self, look: Look, sample: MonitorSample) -> None:
        self.samples.append(sample)
        if look.jiffies is not None:
            # The first and the last are enough.
            self._ticks[1:] = [(sample.clock_ms, look.jiffies)]
        if look.programs is not None:
            self._programs[1:] = [look.programs]
        kept = len(self.samples)
        if kept >= MAX_SAMPLES or kept * len(sample.cpus) >= MAX_READINGS:
            self._full = True
            self.notes.append(f"the monitor kept the first {kept} readings and read no more")

    def _tell_exit(self, look: Look) -> None:
        kind = look.sample.exit_kind
        if not kind or self._on_exit_kind is None or look.exit_kind_name in OVER_KINDS:
            return
        tell, self._on_exit_kind = self._on_exit_kind, None
        tell(kind, look.exit_kind_name or str(kind))

    def report(self) -> MonitorReport:
        """What was seen so far."""
        threshold, notes = self._threshold()
        programs = program_growth(self._programs[0], self._programs[-1]) if self._programs else None
        return MonitorReport.of(
            self.samples,
            preemption_threshold_ns=threshold,
            programs=programs,
            torn_reads=self.torn_reads,
            missed_ticks=self.missed_ticks,
            notes=[*self.notes, *notes],
            unavailable=self.unavailable,
        )

    def _threshold(self) -> tuple[int, list[str]]:
        hz = self._hz
        if hz is None and len(self._ticks) == 2:
            (first_ms, first), (last_ms, last) = self._ticks
            hz = tick_rate(last - first, (last_ms - first_ms) / 1000)
        if hz:
            return preemption_threshold(hz), []
        if not self.samples:
            return DEFAULT_PREEMPTION_THRESHOLD_NS, []
        assumed = PREEMPTION_TICKS * 1_000_000_000 // DEFAULT_PREEMPTION_THRESHOLD_NS
        note = f"the guest's tick rate is not known; {assumed} a second are assumed"
        return DEFAULT_PREEMPTION_THRESHOLD_NS, [note]
