# SPDX-License-Identifier: GPL-2.0-only
"""Idle time of each CPU as ``/proc/stat`` shows it: what was slept, and the sleep that lasts.

A CPU without a tick writes its idle time down when it wakes: 7.2 in ``kernel_cpustat``, 7.0 and
older in ``tick_cpu_sched``, beside the idle ticks they count in ``kernel_cpustat``
(kernel/sched/cputime.c, kernel/time/tick-sched.c).
"""

from dataclasses import dataclass

from ktstr.introspect.btf import Field
from ktstr.introspect.kernel import Kernel
from ktstr.introspect.memory import UnreadableMemory
from ktstr.introspect.regions import Builder, Captured, OverLimit, Region

_IDLE_ACTIVE = 1 << 2
"""``TS_FLAG_IDLE_ACTIVE`` (kernel/time/tick-sched.h), a macro that BTF does not have."""


@dataclass(frozen=True, slots=True)
class _Sleep:
    """One CPU's copies: idle time written down, since when it sleeps, whether it does."""

    slept: Region
    since: Region
    active: Region
    waiting: Region


@dataclass(frozen=True, slots=True)
class IdlePlan:
    """Where idle time is copied from.

    :param now: time of the last tick of any CPU, ns on the clock of ``since``.
    :param active: bits of which one is set while the CPU sleeps.
    """

    now: Region
    active: int
    cpus: dict[int, _Sleep]

    def decode(self, cpu: int, captured: Captured) -> int | None:
        """Idle time so far, in ns; ``None`` for a CPU that could not be planned."""
        sleep = self.cpus.get(cpu)
        if sleep is None:
            return None
        read = captured.unsigned
        slept = read(sleep.slept)
        # With somebody waiting for I/O it is that wait which goes on.
        if not read(sleep.active, 0, 1) & self.active or read(sleep.waiting, 0, 4):
            return slept
        # A sleep may have begun after the last tick.
        return slept + max(0, read(self.now) - read(sleep.since))


def plan_idle(kernel: Kernel, builder: Builder, unavailable: dict[str, str]) -> IdlePlan | None:
    """Plan every CPU's idle time; ``None``, with the reason, when this kernel does not show it."""
    found = _places(kernel)
    now, queues = kernel.symbol("last_jiffies_update"), kernel.symbol("runqueues")
    waiting = kernel.field("rq", "nr_iowait")
    if found is None or now is None or queues is None or waiting is None:
        unavailable["host.idle_sleeptime_ns"] = (
            f"kernel {kernel.release} does not show since when a CPU sleeps"
        )
        return None
    base, slept, since, active, bits = found
    cpus: dict[int, _Sleep] = {}
    mark = builder.mark()
    try:
        region = builder.add(now, 8)
        for cpu in kernel.cpus:
            own = kernel.percpu(base, cpu)
            cpus[cpu] = _Sleep(
                builder.add(own + slept, 8),
                builder.add(own + since, 8),
                builder.add(own + active, 1),
                builder.add(kernel.percpu(queues, cpu) + waiting.offset, 4),
            )
    except (UnreadableMemory, OverLimit) as error:
        builder.rewind(mark)
        unavailable["host.idle_sleeptime_ns"] = error.message
        return None
    return IdlePlan(region, bits, cpus)


def _places(kernel: Kernel) -> tuple[int, int, int, int, int] | None:
    """Per-CPU variable; offsets of time slept, start of the sleep, mark of a sleep; its bits."""
    stat, sched = kernel.symbol("kernel_cpustat"), kernel.symbol("tick_cpu_sched")
    array = kernel.field("kernel_cpustat", "cpustat")
    idle = kernel.btf.find_enumerator("CPUTIME_IDLE")
    entered = kernel.field("kernel_cpustat", "idle_entrytime")
    elapse = kernel.field("kernel_cpustat", "idle_elapse")
    if stat is not None and array and idle and entered and elapse:
        if not 0 <= idle[1] < array.size // 8:
            return None
        return stat, array.offset + 8 * idle[1], entered.offset, elapse.offset, 1
    old: list[Field | None] = [
        kernel.field("tick_sched", name) for name in ("idle_sleeptime", "idle_entrytime", "flags")
    ]
    slept, since, flags = old
    if sched is None or slept is None or since is None or flags is None:
        return None
    return sched, slept.offset, since.offset, flags.offset, _IDLE_ACTIVE
