# SPDX-License-Identifier: GPL-2.0-only
"""CPU topology of a guest: NUMA nodes, last-level caches, cores, threads.

Written ``1n2l2c1t``: one node, two LLCs in total (not per node), two cores per LLC, one thread
per core. ``+1m`` appends memory-only nodes (CXL-like: memory, no CPU).

CPUs are numbered the way QEMU enumerates sockets, dies, cores, threads and Linux keeps: threads
of one core are neighbours, then cores of one LLC, then LLCs of one node. Every LLC and every node
is therefore one contiguous range of CPUs.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Self

_FORM = re.compile(r"([0-9]{1,4})n([0-9]{1,4})l([0-9]{1,4})c([0-9]{1,4})t(?:\+([0-9]{1,4})m)?")
_SOCKET_FORM = re.compile(r"[0-9]+s(?:[0-9]+l)?[0-9]+c[0-9]+t")

MAX_CPUS = 1024
"""Largest topology that can be written down; what QEMU can boot may be less."""


@dataclass(frozen=True, slots=True)
class Topology:
    """Every LLC has as many cores as the next, and so has every node LLCs unless they are given.

    :param numa_nodes: nodes that have CPUs.
    :param llcs: last-level caches in total, a multiple of ``numa_nodes`` when shared evenly.
    :param memory_only_nodes: nodes without CPUs, numbered after those with CPUs.
    :param node_llcs: LLCs of each node that has CPUs, where they differ; empty shares evenly.
    :raises ValueError: when a count is below 1, the LLCs do not divide among the nodes, those of
        the nodes are not all of them, or there are more than ``MAX_CPUS`` CPUs.
    """

    numa_nodes: int = 1
    llcs: int = 1
    cores_per_llc: int = 1
    threads_per_core: int = 1
    memory_only_nodes: int = 0
    node_llcs: tuple[int, ...] = ()

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
        if self.node_llcs:
            if (
                len(self.node_llcs) != self.numa_nodes
                or min(self.node_llcs) < 1
                or sum(self.node_llcs) != self.llcs
            ):
                raise ValueError(
                    f"topology {self}: {list(self.node_llcs)} does not share {self.llcs} LLCs "
                    f"among {self.numa_nodes} nodes"
                )
        elif self.llcs % self.numa_nodes:
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
        nodes, llcs, cores, threads, memory = (int(group or 0) for group in match.groups())
        return cls(nodes, llcs, cores, threads, memory)

    def with_nodes(self, node_llcs: Sequence[int]) -> "Topology":
        """The same CPUs, divided among other nodes.

        :param node_llcs: LLCs of each node; nodes without any have memory only and come last.
        :raises ValueError: when they are not all of the LLCs.
        """
        own = tuple(llcs for llcs in node_llcs if llcs)
        return replace(
            self,
            numa_nodes=len(own),
            memory_only_nodes=len(node_llcs) - len(own),
            node_llcs=own if len(set(own)) > 1 else (),
        )

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
    def llcs_of_nodes(self) -> tuple[int, ...]:
        """LLCs of each node that has CPUs, in node order."""
        return self.node_llcs or (self.llcs // self.numa_nodes,) * self.numa_nodes

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
        self._range("node", node, self.numa_nodes, 1)
        first = sum(self.llcs_of_nodes[:node])
        last = first + self.llcs_of_nodes[node]
        return tuple(range(first * self.cpus_per_llc, last * self.cpus_per_llc))

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
        return bisect_right([*accumulate(self.llcs_of_nodes)], self.llc_of(cpu))

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
