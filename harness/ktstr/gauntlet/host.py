# SPDX-License-Identifier: GPL-2.0-only
"""How large a guest this host can carry."""

from dataclasses import dataclass
from typing import Final, Literal

from ktstr.model.topology import Topology
from ktstr.session.room import host_room, whole_memory_mib
from ktstr.vm.accel import choose_accelerator
from ktstr.vm.spec import QEMU_OVERHEAD_MIB

EMULATED_PER_CPU: Final = 4
"""Emulated vCPUs for a host CPU: on two, 8 boot in comfort and 16 take half a minute."""


@dataclass(frozen=True, slots=True)
class HostLimits:
    """What guests may have here.

    :param accelerator: ``kvm`` or ``tcg``.
    :param cpus: of the host.
    :param max_cpus: vCPUs of one guest.
    :param memory_mib: of the host, used or not, MiB; None when not known. Runs wait for what
        others use.
    :param asked: whether ``max_cpus`` was asked for.
    :param machines: like this one, that share the work.
    """

    accelerator: str
    cpus: int
    max_cpus: int
    memory_mib: int | None = None
    asked: bool = False
    machines: int = 1

    def why_not(self, topology: Topology, memory_mib: int) -> str:
        """What is against such a guest, in words; empty when nothing is."""
        if topology.cpus > self.max_cpus:
            return f"{topology.cpus} CPUs, {self.limit}"
        if self.memory_mib is not None and memory_mib + QEMU_OVERHEAD_MIB > self.memory_mib:
            return f"{memory_mib} MiB of memory, this host has {self.memory_mib} MiB"
        return ""

    @property
    def limit(self) -> str:
        """The limit of CPUs and where it comes from."""
        if self.asked:
            return f"--max-cpus is {self.max_cpus}"
        cpus = f"{self.cpus} CPU{'' if self.cpus == 1 else 's'}"
        return f"at most {self.max_cpus} here by default ({self.accelerator} on {cpus})"


async def host_limits(accel: Literal["auto", "kvm", "tcg"], max_cpus: int | None) -> HostLimits:
    """The limits of this host.

    Under KVM a vCPU for each CPU: more would wait for each other and say nothing of a scheduler.

    :param max_cpus: as asked for; None: by host and accelerator.
    :raise HostUnfit: when there is no such accelerator.
    """
    chosen = await choose_accelerator(accel)
    cpus, memory_mib = host_room().cpus, whole_memory_mib()
    if max_cpus is not None:
        return HostLimits(chosen.name, cpus, max_cpus, memory_mib, asked=True)
    per_cpu = 1 if chosen.name == "kvm" else EMULATED_PER_CPU
    return HostLimits(chosen.name, cpus, cpus * per_cpu, memory_mib)
