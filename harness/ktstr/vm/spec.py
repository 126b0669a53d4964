# SPDX-License-Identifier: GPL-2.0-only
"""What a virtual machine is to be, and whether this host can give it."""

from dataclasses import dataclass
from pathlib import Path

from ktstr.errors import HostUnfit
from ktstr.model.numa import LOCAL_DISTANCE, REMOTE_DISTANCE
from ktstr.model.topology import Topology
from ktstr.vm.accel import Accelerator

TCG_COMFORTABLE_CPUS = 8
"""vCPUs beyond which a TCG guest spends its time on spinning (16 on 2 host cores: 30 s to boot)."""

MAX_APIC_ID = 254
"""Highest APIC id without x2APIC and interrupt remapping; 255 is the broadcast id."""

QEMU_OVERHEAD_MIB = 192
"""Host memory QEMU needs beside the guest's RAM (TCG's translation cache, devices, threads)."""


@dataclass(frozen=True, slots=True)
class VirtualClock:
    """Guest time that follows the instructions executed, not the host's time.

    :param seed: stands on the guest's command line, which the kernel mixes into its random
        numbers: each seed is another run, and always the same one.
    :param shift: an instruction takes ``2**shift`` ns, 0 to 10.
    """

    seed: int
    shift: int = 1


@dataclass(frozen=True, slots=True)
class VmSpec:
    """Everything that shapes one machine.

    :param kernel: bzImage, or an ELF vmlinux with a PVH note when ``pvh`` is set; ``None`` for a
        machine that boots nothing, since it continues from saved RAM.
    :param initrd: initramfs; ``None`` where there is no kernel.
    :param memory_mib: RAM in total, MiB.
    :param cmdline: words appended to the kernel command line.
    :param node_memory_mib: RAM of each node (memory-only ones last); ``None`` shares it evenly.
    :param node_distances: for each node its distance to every node, 10 to itself; ``None`` leaves
        them to the kernel, which takes 20 between nodes.
    :param scratch_mib: size of a disk that keeps nothing; 0: no such disk.
    :param pvpanic: give the guest the device through which it reports a panic.
    :param debug: offer a gdb stub (only together with ``attach``).
    :param watch: write watches can be set.
    :param one_thread: under TCG, run all vCPUs in turn on one host thread.
    :param virtual: the clock of a run that can be repeated exactly; TCG only.
    """

    kernel: Path | None
    initrd: Path | None
    topology: Topology
    accel: Accelerator
    memory_mib: int = 512
    pvh: bool = False
    cmdline: tuple[str, ...] = ()
    node_memory_mib: tuple[int, ...] | None = None
    node_distances: tuple[tuple[int, ...], ...] | None = None
    scratch_mib: int = 0
    pvpanic: bool = True
    debug: bool = False
    watch: bool = False
    one_thread: bool = False
    virtual: VirtualClock | None = None

    def memory_of_nodes(self) -> tuple[int, ...]:
        """MiB of each node, in node order.

        :raises HostUnfit: when the given split does not fit the topology or the total.
        """
        nodes = self.topology.nodes
        if self.node_memory_mib is None:
            share, rest = divmod(self.memory_mib, nodes)
            split = (share + rest, *(share for _ in range(nodes - 1)))
        else:
            split = self.node_memory_mib
        if len(split) != nodes or sum(split) != self.memory_mib or min(split) < 1:
            raise HostUnfit(
                f"memory of {self.memory_mib} MiB split as {list(split)} does not fit the "
                f"{nodes} nodes of topology {self.topology}",
                hint="give each node at least 1 MiB, and as much in total as vm.memory",
            )
        return split

    def distances(self) -> tuple[tuple[int, ...], ...]:
        """For each node its distance to every node, the kernel's own where none are given."""
        nodes = range(self.topology.nodes)
        return self.node_distances or tuple(
            tuple(LOCAL_DISTANCE if here == there else REMOTE_DISTANCE for there in nodes)
            for here in nodes
        )


def sockets_and_dies(topology: Topology) -> tuple[int, int]:
    """Sockets, and dies per socket: each LLC is a die.

    A socket is a node where all nodes are alike. Otherwise one socket holds all dies, as QEMU's
    sockets are alike; a node may be a part of a socket, but an LLC never lies in two nodes.
    """
    if topology.node_llcs:
        return 1, topology.llcs
    return topology.numa_nodes, topology.llcs // topology.numa_nodes


def highest_apic_id(topology: Topology) -> int:
    """APIC id of the last CPU: each level takes a whole number of bits (Intel SDM 3A, 9.9)."""

    def bits(count: int) -> int:
        return (count - 1).bit_length()

    thread_bits = bits(topology.threads_per_core)
    core_bits = bits(topology.cores_per_llc)
    sockets, dies = sockets_and_dies(topology)
    die_bits = bits(dies)
    apic_id = sockets - 1
    apic_id = apic_id << die_bits | dies - 1
    apic_id = apic_id << core_bits | topology.cores_per_llc - 1
    return apic_id << thread_bits | topology.threads_per_core - 1


def spec_warnings(spec: VmSpec) -> list[str]:
    """What will work but disappoint, in sentences."""
    warnings = []
    if spec.accel.name == "tcg" and spec.topology.cpus > TCG_COMFORTABLE_CPUS:
        warnings.append(
            f"{spec.topology.cpus} vCPUs under TCG: above {TCG_COMFORTABLE_CPUS} the guest boots "
            f"and runs many times slower; expect time limits to be missed"
        )
    return warnings


def check_host(spec: VmSpec, *, meminfo: str | None = None) -> None:
    """Refuse what this host cannot give, before anything is started.

    :param meminfo: text in the form of /proc/meminfo; read from there when ``None``.
    :raises HostUnfit: too little free memory, or a topology whose APIC ids QEMU cannot number.
    """
    apic_id = highest_apic_id(spec.topology)
    if apic_id > MAX_APIC_ID:
        raise HostUnfit(
            f"topology {spec.topology} needs APIC id {apic_id}, this machine type goes to "
            f"{MAX_APIC_ID}",
            hint="use fewer CPUs, or counts that are powers of two at each level",
        )
    text = Path("/proc/meminfo").read_text() if meminfo is None else meminfo
    available = _available_mib(text)
    needed = spec.memory_mib + QEMU_OVERHEAD_MIB
    if available is not None and available < needed:
        raise HostUnfit(
            f"{available} MiB of memory are free on this host, the guest needs {needed} MiB "
            f"({spec.memory_mib} for its RAM, {QEMU_OVERHEAD_MIB} for QEMU)",
            hint="lower vm.memory or stop other guests",
        )


def _available_mib(meminfo: str) -> int | None:
    for line in meminfo.splitlines():
        name, _, value = line.partition(":")
        words = value.split()
        if name == "MemAvailable" and words and words[0].isdigit():
            return int(words[0]) // 1024
    return None
