# SPDX-License-Identifier: GPL-2.0-only
"""What a monitor reads of a guest that runs on: a few KiB per CPU, planned once.

The places are those of a snapshot (:mod:`ktstr.introspect.plan`) without its maps. Nothing is
stopped, so a copy may be torn; :mod:`ktstr.series.monitor.torn` tells. A plan holds until
``scx_root`` or the set of programs changes.
"""

from dataclasses import dataclass, field

from ktstr.errors import KernelUnfit
from ktstr.introspect.btf import Field
from ktstr.introspect.cputime import CpuTimePlan, plan_cputime
from ktstr.introspect.kernel import Kernel
from ktstr.introspect.memory import AddressSpace, PhysicalMemory, Range, UnreadableMemory
from ktstr.introspect.pressure import PressurePlan, plan_pressure
from ktstr.introspect.programs import ProgramPlan, plan_programs
from ktstr.introspect.regions import Builder, Captured, Limits, OverLimit, Region
from ktstr.introspect.runqueues import RunqueuePlan, plan_runqueues
from ktstr.introspect.sched_ext import SchedExtPlan, plan_sched_ext
from ktstr.series.host import PerCpuTime
from ktstr.series.monitor.samples import (
    SCHEDSTAT_NAMES,
    CpuReading,
    MonitorSample,
    Schedstat,
    canonical_events,
)
from ktstr.series.monitor.window import ProgramStats
from ktstr.series.snapshot import CpuSnapshot, SchedExtState

_SCHEDSTAT = {
    **{name: f"rq_sched_info.{name}" for name in ("run_delay", "pcount")},
    **{name: name for name in SCHEDSTAT_NAMES if name not in ("run_delay", "pcount")},
}
_ALWAYS = ("run_delay", "pcount")


@dataclass(frozen=True, slots=True)
class Look:
    """One decoded reading.

    :param sample: without its place in time, and without what the host adds.
    :param jiffies: the guest's count of ticks.
    :param stale: why the plan is to be made anew; events are then left out.
    :param exit_kind_name: the exit kind in words.
    """

    sample: MonitorSample
    programs: tuple[ProgramStats, ...] | None
    jiffies: int | None
    stale: str | None
    exit_kind_name: str | None


@dataclass(frozen=True, slots=True)
class MonitorPlan:
    """What one reading copies. Make it with :func:`make_monitor_plan`."""

    ranges: tuple[Range, ...] = field(repr=False)
    unavailable: dict[str, str]
    runqueues: RunqueuePlan = field(repr=False)
    schedstat: dict[str, Field] = field(repr=False)
    schedstat_key: Region | None = field(repr=False)
    irq_util: Field | None = field(repr=False)
    cputime: CpuTimePlan = field(repr=False)
    pressure: PressurePlan = field(repr=False)
    sched_ext: SchedExtPlan = field(repr=False)
    programs: ProgramPlan = field(repr=False)
    jiffies: Region | None = field(repr=False)
    space: AddressSpace = field(repr=False)

    def copy(self, memory: PhysicalMemory) -> Captured:
        """Copy the planned bytes while the guest runs."""
        buffers = [memory.read(address, length) for address, length in self.ranges]
        captured = Captured(self.ranges, tuple(at for at, _ in self.ranges), buffers)
        self.runqueues.chase(captured, self.space)
        return captured

    def decode(self, captured: Captured) -> Look:
        """The reading in the copied bytes; nothing they hold makes it raise."""
        stale = next(
            (
                meaning
                for region, before, meaning in (*self.sched_ext.watched, *self.programs.watched)
                if captured.content(region) != before
            ),
            None,
        )
        # Behind an old scx_root lies memory that may be anything by now.
        state = self.sched_ext.decode(captured) if stale is None else SchedExtState()
        events = None if state.events is None else canonical_events(state.events)
        cpus = self.runqueues.decode(captured, {})
        times = {time.cpu: time for time in self.cputime.decode(captured)}
        counts = self.schedstat_key is None or captured.unsigned(self.schedstat_key, 0, 4) != 0
        regions = dict(self.runqueues.cpus)
        system = self.pressure.decode_system(captured)
        sample = MonitorSample(
            elapsed_ms=0,
            cpus=tuple(
                self._cpu(cpu, captured.content(regions[cpu.cpu]), counts, times.get(cpu.cpu))
                for cpu in cpus
            ),
            events=events,
            psi_irq_full_avg10=None if system is None else system[0],
            psi_irq_full_total_us=None if system is None else system[1],
            state=state.state,
            ops=state.ops,
            exit_kind=state.exit_kind,
            bypass_depth=state.bypass_depth,
        )
        return Look(
            sample,
            None if stale is not None else self.programs.decode(captured),
            None if self.jiffies is None else captured.unsigned(self.jiffies),
            stale,
            state.exit_name,
        )

    def _cpu(
        self, cpu: CpuSnapshot, raw: bytes, counts: bool, time: PerCpuTime | None
    ) -> CpuReading:
        numbers = {
            name: int.from_bytes(raw[place.offset :][: place.size], "little")
            for name, place in self.schedstat.items()
            if counts or name in _ALWAYS
        }
        schedstat = Schedstat(**numbers) if numbers.keys() >= set(_ALWAYS) else None
        util = self.irq_util
        return CpuReading(
            cpu=cpu.cpu,
            nr_running=cpu.nr_running,
            scx_nr_running=cpu.scx_nr_running,
            local_dsq_depth=cpu.local_dsq_depth,
            rq_clock=cpu.clock,
            scx_flags=cpu.scx_flags,
            schedstat=schedstat,
            irq_util=None
            if util is None
            else int.from_bytes(raw[util.offset :][: util.size], "little"),
            curr_pid=cpu.curr_pid,
            curr_comm=cpu.curr_comm,
            time=time,
        )


def make_monitor_plan(kernel: Kernel) -> MonitorPlan:
    """Resolve what a reading copies; blocks for milliseconds.

    :raises KernelUnfit: when this kernel shows no runqueues.
    """
    kernel.forget()
    builder = Builder(kernel, Limits())
    unavailable: dict[str, str] = {}
    runqueues = plan_runqueues(kernel, builder, unavailable)
    if not runqueues.cpus:
        raise KernelUnfit(f"no monitor: {unavailable.get('cpus', 'no runqueue is readable')}")
    schedstat = {
        name: place
        for name, path in _SCHEDSTAT.items()
        if (place := kernel.field("rq", path)) is not None
    }
    missing = [name for name in _SCHEDSTAT if name not in schedstat]
    if missing:
        unavailable["monitor.schedstat"] = (
            f"struct rq of {kernel.release} has no {', '.join(missing)}"
        )
    key = _region(kernel, builder, "sched_schedstats", 4)
    if key is not None and not missing and not kernel.read_unsigned(key.address, 4):
        unavailable["monitor.schedstat"] = (
            "only run_delay and pcount are counted: kernel.sched_schedstats is off in this guest "
            '(kernel_args = ["schedstats=enable"])'
        )
    util = kernel.field("rq", "avg_irq.util_avg")
    if util is None:
        unavailable["monitor.irq_util"] = f"struct rq of {kernel.release} has no avg_irq"
    return MonitorPlan(
        runqueues=runqueues,
        schedstat=schedstat,
        schedstat_key=key,
        irq_util=util,
        cputime=plan_cputime(kernel, builder, unavailable),
        pressure=plan_pressure(kernel, builder, unavailable),
        sched_ext=plan_sched_ext(kernel, builder, unavailable),
        programs=plan_programs(kernel, builder, unavailable),
        jiffies=_region(kernel, builder, "jiffies_64", 8),
        # Of its own: a capture drops the kernel's translations whenever it likes.
        space=AddressSpace(kernel.memory, kernel.info.root, kernel.info.levels),
        ranges=builder.coalesced(),
        unavailable=unavailable,
    )


def _region(kernel: Kernel, builder: Builder, symbol: str, size: int) -> Region | None:
    address = kernel.symbol(symbol)
    try:
        return None if address is None else builder.add(address, size)
    except (UnreadableMemory, OverLimit):
        return None
