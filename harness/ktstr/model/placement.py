# SPDX-License-Identifier: GPL-2.0-only
"""Where workers run and where their memory lies: affinity intents and memory policies.

The kernel has the last word in the guest, and what it refuses is in the worker's report; the rules
here find what can be told from the file and the topology.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Final, Literal, get_args

from pydantic import PlainValidator, WithJsonSchema

from ktstr.model.cpuset import parse_cpus
from ktstr.model.topology import Topology, format_cpulist, parse_cpulist

AffinityIntent = Literal["random", "llc", "cross", "single", "smt-pair"]
"""CPUs chosen in the guest from the worker's pool, which is what its cgroup allows at the start."""

AFFINITY_INTENTS: Final[tuple[str, ...]] = get_args(AffinityIntent)
WORK_AFFINITY_ALLOWED: Final = (
    '"inherit", '
    + ", ".join(f'"{intent}"' for intent in AFFINITY_INTENTS)
    + ' or a CPU list such as "0-1,3"'
)

MemPolicy = Literal[
    "default", "bind", "preferred", "interleave", "local", "preferred-many", "weighted-interleave"
]
"""set_mempolicy(2); preferred-many needs Linux 5.15, weighted-interleave 6.9."""

MemFlag = Literal["static", "relative", "numa-balancing"]

NODES_ALLOWED: Final = 'a list of NUMA nodes such as "0-1"'


def _affinity(value: object) -> frozenset[int] | str | None:
    if value is None or value == "inherit":
        return None
    if isinstance(value, str) and value in AFFINITY_INTENTS:
        return value
    try:
        return parse_cpus(value)
    except ValueError as error:
        raise ValueError(f"{WORK_AFFINITY_ALLOWED} ({error})") from None


WorkAffinity = Annotated[
    frozenset[int] | str | None,
    PlainValidator(_affinity),
    WithJsonSchema({"type": "string", "x-allowed": WORK_AFFINITY_ALLOWED}),
]
"""CPUs a worker binds itself to: listed, or an intent; ``None`` leaves it to the cgroup."""


def _nodes(value: object) -> frozenset[int]:
    if isinstance(value, frozenset):
        return value
    try:
        nodes = frozenset(parse_cpulist(value)) if isinstance(value, str) else frozenset()
    except ValueError:
        nodes = frozenset()
    if not nodes:
        raise ValueError(NODES_ALLOWED)
    return nodes


MemNodes = Annotated[
    frozenset[int],
    PlainValidator(_nodes),
    WithJsonSchema({"type": "string", "x-allowed": NODES_ALLOWED}),
]


@dataclass(frozen=True, slots=True)
class Memory:
    """A memory policy with its nodes and flags; what goes together is told by the methods."""

    policy: str
    nodes: frozenset[int] | None
    flags: tuple[str, ...]

    def mistakes(self) -> Iterator[tuple[str, str]]:
        """What contradicts itself, as key and what is allowed there."""
        if self.policy in ("default", "local"):
            for key, given in (("mem_nodes", self.nodes), ("mem_flags", self.flags)):
                if given:
                    yield key, f"nothing with mempolicy {self.policy}, which names no nodes"
            return
        if not self.nodes:
            yield "mem_nodes", f"{NODES_ALLOWED}: mempolicy {self.policy} needs it"
        elif self.policy == "preferred" and len(self.nodes) != 1:
            yield "mem_nodes", "exactly one node with mempolicy preferred"
        if {"static", "relative"} <= set(self.flags):
            yield "mem_flags", "one of static and relative: they exclude each other"
        if len(set(self.flags)) != len(self.flags):
            yield "mem_flags", "every flag once"

    def node_mistakes(
        self, topology: Topology, cpus: frozenset[int] | None
    ) -> Iterator[tuple[str, str]]:
        """Nodes that ``topology``, or a cpuset of ``cpus``, does not have.

        Relative nodes are counted within what is allowed, so any number means something.
        """
        if not self.nodes or "relative" in self.flags:
            return
        there = set(range(topology.nodes))
        if missing := self.nodes - there:
            have = f"0 to {topology.nodes - 1} (not {format_cpulist(missing)})"
            yield "mem_nodes", f"nodes that topology {topology} has, {have}"
        elif cpus is not None and "static" not in self.flags:
            own = {topology.node_of(cpu) for cpu in cpus}
            if self.nodes - own:
                yield (
                    "mem_nodes",
                    f"nodes of the cgroup's cpuset, {format_cpulist(own)}, or the flag static",
                )
