# SPDX-License-Identifier: GPL-2.0-only
"""The guest kernel's own accounting at a frozen instant, as pure data (reference-06 section 6.1).

Times and counts are cumulative; a source that was not read leaves its tuple empty.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from ktstr.series.values import Json

NET_RX = "net_rx"


@dataclass(frozen=True, slots=True)
class PerCpuTime:
    """``kernel_cpustat`` and ``kernel_stat`` of one CPU.

    :param hardirqs: hardware interrupts handled (``irqs_sum``).
    :param softirqs: softirqs handled, by lower-case name without ``_SOFTIRQ`` (``net_rx``).
    :param idle_ns: as ``kernel_cpustat`` has it: up to 7.0 counted in ticks, since 7.2 in
        sleeps that are over.
    :param iowait_sleeptime_ns: ``None`` where the kernel does not account it.
    :param idle_sleeptime_ns: idle time as ``/proc/stat`` shows it, with the sleep the CPU is in;
        behind by at most the time since the last tick of any CPU. ``None`` where it is not known.
    """

    cpu: int
    hardirqs: int = 0
    softirqs: Mapping[str, int] = field(default_factory=dict)
    user_ns: int = 0
    nice_ns: int = 0
    system_ns: int = 0
    softirq_ns: int = 0
    irq_ns: int = 0
    idle_ns: int = 0
    iowait_ns: int = 0
    steal_ns: int = 0
    iowait_sleeptime_ns: int | None = None
    idle_sleeptime_ns: int | None = None


@dataclass(frozen=True, slots=True)
class TgidTime:
    """CPU time of one thread group: its live threads and what ended ones left behind.

    :param start_time_ns: tells the group from a later one with the same number.
    :param readable: whether ``signal_struct`` could be read; without it the time is too small.
    """

    tgid: int
    user_ns: int
    system_ns: int
    start_time_ns: int = 0
    readable: bool = True


@dataclass(frozen=True, slots=True)
class CgroupPsi:
    """Interrupt pressure of one leaf cgroup.

    :param kva: address of the cgroup; with ``serial_nr`` its identity.
    :param irq_full_avg10: share of the last ten seconds, in percent.
    :param irq_full_total_us: lost time so far.
    """

    kva: int
    serial_nr: int
    irq_full_avg10: float
    irq_full_total_us: int
    path: str = ""


@dataclass(frozen=True, slots=True)
class HostReading:
    """Everything of this kind that one capture holds."""

    per_cpu_time: tuple[PerCpuTime, ...] = ()
    per_tgid_time: tuple[TgidTime, ...] = ()
    cgroup_psi: tuple[CgroupPsi, ...] = ()

    def to_json(self) -> dict[str, Json]:
        """Plain form."""
        return {
            item.name: [_plain(record) for record in getattr(self, item.name)]
            for item in fields(self)
        }


def _plain(record: PerCpuTime | TgidTime | CgroupPsi) -> dict[str, Json]:
    plain = {item.name: getattr(record, item.name) for item in fields(record)}
    return {name: dict(v) if isinstance(v, Mapping) else v for name, v in plain.items()}
