# SPDX-License-Identifier: GPL-2.0-only
"""CPU topology of a guest: NUMA nodes, last-level caches, cores, threads.

Written ``1n2l2c1t``: one node, two LLCs in total (not per node), two cores per LLC, one thread
per core. ``+1m`` appends memory-only nodes (CXL-like: memory, no CPU).

CPUs are numbered the way QEMU enumerates sockets, dies, cores, threads and Linux keeps: threads
of one core are neighbours, then cores of one LLC, then LLCs of one node. Every LLC and every node
is therefore one contiguous range of CPUs.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

_FORM = re.compile(r"([0-9]{1,4})n([0-9]{1,4})l([0-9]{1,4})c([0-9]{1,4})t(?:\+([0-9]{1,4})m)?")
_SOCKET_FORM = re.compile(r"[0-9]+s(?:[0-9]+l)?[0-9]+c[0-9]+t")

MAX_CPUS = 1024
"""Largest topology that can be written down; what QEMU can boot may be less."""


@dataclass(frozen=True, slots=True)
class Topology:
    """A uniform topology: every node has as many LLCs as the next, every LLC as many cores.

    :param numa_nodes: nodes that have CPUs.
    :param llcs: last-level caches in total, a multiple of ``numa_nodes``.
    :param memory_only_nodes: nodes without CPUs, numbered after those with CPUs.
    :raises ValueError: when a count is below 1, the LLCs do not divide among the nodes, or there
        are more than ``MAX_CPUS`` CPUs.
    """

    numa_nodes: int = 1
    llcs: int = 1
    cores_per_llc: int = 1
    threads_per_core: int = 1
    memory_only_nodes: int = 0

    def __post_init__(self) -> None:
        for count, what in (
            (self.numa_nodes, "NUMA nodes"),
            (self.llcs, "LLCs"),
            (self.cores_per_llc, "cores per LLC"),
            (self.threads_per_core, "threads per core"),
        ):
            if count < 1:
                raise ValueError(f"topology {self}: {what} must be at least 1")
        if self.memory_only_nodes < 0:
            raise ValueError(f"topology {self}: memory-only nodes cannot be negative")
        if self.llcs % self.numa_nodes:
            raise ValueError(
                f"topology {self}: {self.llcs} LLCs do not divide evenly among "
                f"{self.numa_nodes} nodes (l counts all LLCs, not those of one node)"
            )
        if self.cpus > MAX_CPUS:
            raise ValueError(f"topology {self}: {self.cpus} CPUs, at most {MAX_CPUS} are possible")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``NnNlNcNt`` with an optional ``+Nm``.

        :raises ValueError: when the text has another form, or the counts make no topology; the
            message says what was found and what is allowed.
        """
        match = _FORM.fullmatch(text.strip())
        if match is None:
            hint = (
                "; an s stands for sockets in an older notation, write NUMA nodes (n) and the "
                "total number of LLCs (l) instead"
                if _SOCKET_FORM.fullmatch(text.strip())
                else ""
            )
            raise ValueError(
                f"topology {text!r}: expected <nodes>n<llcs>l<cores>c<threads>t, "
                f"for example 1n2l2c1t{hint}"
            )
        return cls(*(int(group or 0) for group in match.groups()))

    def __str__(self) -> str:
        memory = f"+{self.memory_only_nodes}m" if self.memory_only_nodes else ""
        return (
            f"{self.numa_nodes}n{self.llcs}l{self.cores_per_llc}c{self.threads_per_core}t{memory}"
        )

    @property
    def cpus(self) -> int:
        """Number of CPUs."""
        return self.llcs * self.cpus_per_llc

    @property
    def nodes(self) -> int:
        """Number of NUMA nodes, memory-only ones included."""
        return self.numa_nodes + self.memory_only_nodes

    @property
    def llcs_per_node(self) -> int:
        """LLCs of one node that has CPUs."""
        return self.llcs // self.numa_nodes

    @property
    def cpus_per_llc(self) -> int:
        """CPUs (hardware threads) that share one LLC."""
        return self.cores_per_llc * self.threads_per_core

    def core_cpus(self, core: int) -> tuple[int, ...]:
        """CPUs of one core, cores counted over the whole machine.

        :raises IndexError: when there is no such core.
        """
        return self._range("core", core, self.llcs * self.cores_per_llc, self.threads_per_core)

    def llc_cpus(self, llc: int) -> tuple[int, ...]:
        """CPUs that share one LLC.

        :raises IndexError: when there is no such LLC.
        """
        return self._range("LLC", llc, self.llcs, self.cpus_per_llc)

    def node_cpus(self, node: int) -> tuple[int, ...]:
        """CPUs of one NUMA node; empty for a memory-only node.

        :raises IndexError: when there is no such node.
        """
        if self.numa_nodes <= node < self.nodes:
            return ()
        return self._range("node", node, self.numa_nodes, self.llcs_per_node * self.cpus_per_llc)

    def llc_of(self, cpu: int) -> int:
        """LLC a CPU belongs to.

        :raises IndexError: when there is no such CPU.
        """
        self._range("CPU", cpu, self.cpus, 1)
        return cpu // self.cpus_per_llc

    def node_of(self, cpu: int) -> int:
        """NUMA node a CPU belongs to.

        :raises IndexError: when there is no such CPU.
        """
        return self.llc_of(cpu) // self.llcs_per_node

    def _range(self, what: str, index: int, count: int, width: int) -> tuple[int, ...]:
        if not 0 <= index < count:
            raise IndexError(f"{what} {index}: topology {self} has {what} 0 to {count - 1}")
        return tuple(range(index * width, (index + 1) * width))


def format_cpulist(cpus: Iterable[int]) -> str:
    """CPU numbers in the kernel's list form, ``0-3,5``; empty for none."""
    runs: list[list[int]] = []
    for cpu in sorted(set(cpus)):
        if runs and cpu == runs[-1][1] + 1:
            runs[-1][1] = cpu
        else:
            runs.append([cpu, cpu])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def parse_cpulist(text: str) -> tuple[int, ...]:
    """CPU numbers from the kernel's list form, ascending and without repeats.

    :raises ValueError: when a part is neither a number nor an ascending range, or a number
        exceeds ``MAX_CPUS``.
    """
    found: set[int] = set()
    for part in filter(None, (p.strip() for p in text.split(","))):
        match = re.fullmatch(r"([0-9]{1,4})(?:-([0-9]{1,4}))?", part)
        if match is None:
            raise ValueError(f"CPU list {text!r}: {part!r} is neither a number nor a range")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first or last >= MAX_CPUS:
            raise ValueError(f"CPU list {text!r}: {part!r} must ascend and stay below {MAX_CPUS}")
        found.update(range(first, last + 1))
    return tuple(sorted(found))
