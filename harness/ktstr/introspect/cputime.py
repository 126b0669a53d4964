# SPDX-License-Identifier: GPL-2.0-only
"""CPU time and interrupts of each CPU: ``kernel_cpustat``, ``kstat`` and ``tick_cpu_sched``.

Where these per-CPU variables and their members lie is asked of kallsyms and BTF, one by one; what
a kernel lacks is named and left out (include/linux/kernel_stat.h, kernel/time/tick-sched.h).
"""

from dataclasses import dataclass, field, replace
from typing import Any

from ktstr.introspect.btf import Field
from ktstr.introspect.idletime import IdlePlan, plan_idle
from ktstr.introspect.kernel import Kernel
from ktstr.introspect.memory import UnreadableMemory
from ktstr.introspect.regions import Builder, Captured, OverLimit, Region
from ktstr.series.host import PerCpuTime

STATES = ("user", "nice", "system", "softirq", "irq", "idle", "iowait", "steal")
SOFTIRQS = (
    "hi",
    "timer",
    "net_tx",
    "net_rx",
    "block",
    "irq_poll",
    "tasklet",
    "sched",
    "hrtimer",
    "rcu",
)


@dataclass(frozen=True, slots=True)
class CpuTimePlan:
    """Where each value of :class:`PerCpuTime` is copied from.

    :param regions: the variables' copies by name and CPU.
    :param numbers: by attribute, the variable and the place in it.
    :param softirqs: by name, the place in ``kstat``.
    :param idle: how a sleep that lasts is told; ``None`` when this kernel does not show it.
    """

    cpus: tuple[int, ...] = ()
    regions: dict[tuple[str, int], Region] = field(default_factory=dict)
    numbers: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    softirqs: dict[str, tuple[int, int]] = field(default_factory=dict)
    idle: IdlePlan | None = None

    def decode(self, captured: Captured) -> tuple[PerCpuTime, ...]:
        """One record per CPU; empty when this kernel shows neither times nor interrupts."""
        if not self.numbers:
            return ()
        return tuple(self._cpu(cpu, captured) for cpu in self.cpus)

    def _cpu(self, cpu: int, captured: Captured) -> PerCpuTime:
        raws = {
            variable: captured.content(self.regions[variable, cpu])
            for variable in ("kernel_cpustat", "kstat", "tick_cpu_sched")
            if (variable, cpu) in self.regions
        }
        values: dict[str, Any] = {}
        for name, (variable, offset, size) in self.numbers.items():
            if variable in raws:
                values[name] = int.from_bytes(raws[variable][offset : offset + size], "little")
        counts = raws.get("kstat")
        if counts is not None:
            values["softirqs"] = {
                name: int.from_bytes(counts[offset : offset + size], "little")
                for name, (offset, size) in self.softirqs.items()
            }
        if self.idle is not None:
            values["idle_sleeptime_ns"] = self.idle.decode(cpu, captured)
        return PerCpuTime(cpu, **values)


def plan_cputime(kernel: Kernel, builder: Builder, unavailable: dict[str, str]) -> CpuTimePlan:
    """Plan the accounting of every CPU; what this kernel lacks is named in ``unavailable``."""
    plan = CpuTimePlan(kernel.cpus)
    _plan_states(kernel, plan, unavailable)
    _plan_counts(kernel, plan, unavailable)
    sleep = kernel.field("tick_sched", "iowait_sleeptime")
    if sleep is None or kernel.symbol("tick_cpu_sched") is None:
        unavailable["host.iowait_sleeptime_ns"] = (
            f"kernel {kernel.release} keeps no iowait_sleeptime in tick_cpu_sched"
        )
    else:
        plan.numbers["iowait_sleeptime_ns"] = ("tick_cpu_sched", sleep.offset, sleep.size)
    _add_regions(kernel, builder, plan, unavailable)
    return replace(plan, idle=plan_idle(kernel, builder, unavailable))


def _plan_states(kernel: Kernel, plan: CpuTimePlan, unavailable: dict[str, str]) -> None:
    array = kernel.field("kernel_cpustat", "cpustat")
    if array is None or kernel.symbol("kernel_cpustat") is None:
        unavailable["host.cpu_time"] = f"kernel {kernel.release} has no kernel_cpustat"
        return
    for state in STATES:
        place = _element(kernel, array, f"CPUTIME_{state.upper()}", 8)
        if place is None:
            unavailable[f"host.{state}_ns"] = f"kernel {kernel.release} does not account {state}"
        else:
            plan.numbers[f"{state}_ns"] = ("kernel_cpustat", *place)


def _plan_counts(kernel: Kernel, plan: CpuTimePlan, unavailable: dict[str, str]) -> None:
    if kernel.symbol("kstat") is None:
        unavailable["host.interrupts"] = f"kernel {kernel.release} has no kstat"
        return
    total = kernel.field("kernel_stat", "irqs_sum")
    if total is None:
        unavailable["host.hardirqs"] = f"struct kernel_stat of {kernel.release} has no irqs_sum"
    else:
        plan.numbers["hardirqs"] = ("kstat", total.offset, total.size)
    array = kernel.field("kernel_stat", "softirqs")
    for name in () if array is None else SOFTIRQS:
        assert array is not None
        place = _element(kernel, array, f"{name.upper()}_SOFTIRQ", 4)
        if place is not None:
            plan.softirqs[name] = place
    if not plan.softirqs:
        unavailable["host.softirqs"] = f"kernel {kernel.release} does not count softirqs"


def _element(kernel: Kernel, array: Field, enumerator: str, size: int) -> tuple[int, int] | None:
    """Offset and size of the array's element that an enumerator numbers."""
    found = kernel.btf.find_enumerator(enumerator)
    if found is None or not 0 <= found[1] < array.size // size:
        return None
    return array.offset + size * found[1], size


_STRUCTS = {
    "kernel_cpustat": "kernel_cpustat",
    "kstat": "kernel_stat",
    "tick_cpu_sched": "tick_sched",
}


def _add_regions(
    kernel: Kernel, builder: Builder, plan: CpuTimePlan, unavailable: dict[str, str]
) -> None:
    used = {variable for variable, _, _ in plan.numbers.values()}
    if plan.softirqs:
        used.add("kstat")
    for variable in sorted(used):
        symbol, struct_id = kernel.symbol(variable), kernel.struct(_STRUCTS[variable])
        assert symbol is not None and struct_id is not None
        size = kernel.btf.size(struct_id)
        for cpu in kernel.cpus:
            try:
                region = builder.add(kernel.percpu(symbol, cpu), size)
            except (UnreadableMemory, OverLimit) as error:
                unavailable[f"host.{variable}.{cpu}"] = error.message
            else:
                plan.regions[variable, cpu] = region
