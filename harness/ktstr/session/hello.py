# SPDX-License-Identifier: GPL-2.0-only
"""The guest's Hello: checked facts, and its topology held against the one asked for."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ktstr.errors import ChannelLost, HostUnfit
from ktstr.model.topology import format_cpulist
from ktstr.session.mailbox import MAX_PAGES
from ktstr.vm.spec import VmSpec
from ktstr.wire import WireError, unpack_map
from ktstr.wire.messages import take_int, take_str

PROTOCOL = 1
MAX_CPUS = 8192
MAX_NODES = 1024
MAX_MEMORY_KIB = 1 << 40

HOLES_KIB = 8192
"""RAM that firmware may keep from the kernel: the BIOS area below 1 MiB and ACPI's tables."""


@dataclass(frozen=True, slots=True)
class GuestNode:
    """A NUMA node as the guest's kernel has it.

    ``cpus`` is empty for memory alone, ``distances`` goes by node number, and ``memory_kib``
    counts what the kernel keeps for itself too.
    """

    number: int
    cpus: frozenset[int]
    distances: tuple[int, ...]
    memory_kib: int

    @classmethod
    def from_fields(cls, fields: object) -> "GuestNode":
        """Read and check a node's part of Hello.

        :raise WireError: when it is something else.
        """
        if not isinstance(fields, dict):
            raise WireError(f"a NUMA node is due, found {fields!r:.60}")
        cpus = fields.get("cpus")
        return cls(
            number=take_int(fields, "node", MAX_NODES),
            cpus=frozenset(() if cpus == [] else _ints(cpus, MAX_CPUS)),
            distances=tuple(_ints(fields.get("distances"), MAX_NODES)),
            memory_kib=take_int(fields, "memory_kib", MAX_MEMORY_KIB),
        )

    def plain(self) -> dict[str, object]:
        """The node for the record of a run."""
        return {
            "node": self.number,
            "cpus": format_cpulist(self.cpus),
            "memory_kib": self.memory_kib,
            "distances": list(self.distances),
        }


@dataclass(frozen=True, slots=True)
class Hello:
    """What the agent says when it is ready for a scenario.

    ``vmcoreinfo`` is (physical address, size); ``sched_ext`` the state file's word, or None
    on a kernel without it; the topology sets hold CPU numbers; ``agent_start_s`` is what the
    agent needed from exec to here.
    """

    release: str
    mailbox: tuple[int, ...]
    vmcoreinfo: tuple[int, int]
    sched_ext: str | None
    cpus: int
    llcs: frozenset[frozenset[int]]
    nodes: tuple[GuestNode, ...]
    cores: frozenset[frozenset[int]]
    agent_start_s: float

    @classmethod
    def from_payload(cls, payload: bytes) -> "Hello":
        """Read and check a Hello frame's payload.

        :raise ChannelLost: when it is not a Hello this version understands.
        """
        try:
            fields = unpack_map(payload)
            protocol = take_int(fields, "protocol")
            if protocol != PROTOCOL:
                raise WireError(f"the agent speaks protocol {protocol}, this is {PROTOCOL}")
            shape = fields.get("topology")
            if not isinstance(shape, dict):
                raise WireError("field 'topology' is not a map")
            state = fields.get("sched_ext")
            phys, size = _ints(fields.get("vmcoreinfo"), 2)
            return cls(
                release=take_str(fields, "release", 256),
                mailbox=tuple(_ints(fields.get("mailbox"), MAX_PAGES)),
                vmcoreinfo=(phys, size),
                sched_ext=None if state is None else take_str(fields, "sched_ext", 64),
                cpus=take_int(shape, "cpus", MAX_CPUS),
                llcs=_sets(shape.get("llcs")),
                nodes=_nodes(shape.get("nodes")),
                cores=_sets(shape.get("cores")),
                agent_start_s=_seconds(fields.get("agent_start_s")),
            )
        except (WireError, ValueError) as error:
            raise ChannelLost(f"the guest's Hello cannot be read: {error}") from error


def _seconds(value: object) -> float:
    if type(value) is not float or not 0 <= value < 1e6:
        raise WireError(f"a number of seconds is due, found {value!r:.60}")
    return value


def _ints(value: object, most: int) -> list[int]:
    if not isinstance(value, list) or not 0 < len(value) <= most:
        raise WireError(f"a list of 1 to {most} integers is due, found {value!r:.60}")
    if any(type(item) is not int or item < 0 for item in value):
        raise WireError("a list of integers holds something else")
    return value


def _sets(value: object) -> frozenset[frozenset[int]]:
    if not isinstance(value, list) or len(value) > MAX_CPUS:
        raise WireError(f"a list of CPU lists is due, found {value!r:.60}")
    return frozenset(frozenset(_ints(item, MAX_CPUS)) for item in value if item)


def _nodes(value: object) -> tuple[GuestNode, ...]:
    if not isinstance(value, list) or len(value) > MAX_NODES:
        raise WireError(f"a list of NUMA nodes is due, found {value!r:.60}")
    return tuple(GuestNode.from_fields(item) for item in value)


def check_topology(hello: Hello, spec: VmSpec) -> None:
    """Hold the guest's own reading against what was asked for.

    Schedulers crash on incoherent cache domains, so a difference is an error, not a note.

    :raise HostUnfit: with every line that differs.
    """
    asked = spec.topology
    expected = {
        "CPUs": frozenset({frozenset(range(asked.cpus))}),
        "last-level caches": frozenset(frozenset(asked.llc_cpus(i)) for i in range(asked.llcs)),
        "NUMA nodes": frozenset(frozenset({n}) for n in range(asked.nodes)),
    }
    found = {
        "CPUs": frozenset({frozenset(range(hello.cpus))}),
        "last-level caches": hello.llcs,
        "NUMA nodes": frozenset(frozenset({node.number}) for node in hello.nodes),
    }
    if asked.llcs == 1 and not hello.llcs:
        found["last-level caches"] = expected["last-level caches"]
    differing = [
        (name, _show(expected[name]), _show(found[name]))
        for name in expected
        if expected[name] != found[name]
    ]
    differing += _node_differences(hello.nodes, spec)
    if differing:
        lines = "\n".join(
            f"    {name}: asked {wanted}, the guest has {has}" for name, wanted, has in differing
        )
        raise HostUnfit(
            f"the guest's topology is not {asked}:\n{lines}",
            hint="this QEMU cannot make that topology for this kernel; choose another one",
        )


def _node_differences(nodes: Iterable[GuestNode], spec: VmSpec) -> Iterator[tuple[str, str, str]]:
    """What differs about a node, what was asked, and what the guest has."""
    memory, distances = spec.memory_of_nodes(), spec.distances()
    for node in nodes:
        if node.number >= spec.topology.nodes:
            continue
        name = f"NUMA node {node.number}"
        cpus = frozenset(spec.topology.node_cpus(node.number))
        if node.cpus != cpus:
            yield f"{name}, CPUs", _show([cpus]), _show([node.cpus])
        if node.distances != distances[node.number]:
            yield f"{name}, distances", _words(distances[node.number]), _words(node.distances)
        missing_kib = memory[node.number] * 1024 - node.memory_kib
        if not 0 <= missing_kib <= HOLES_KIB:
            has = f"{node.memory_kib / 1024:.1f} MiB"
            yield f"{name}, memory", f"{memory[node.number]} MiB", has


def _words(numbers: Iterable[int]) -> str:
    return " ".join(map(str, numbers))


def _show(groups: Iterable[frozenset[int]]) -> str:
    return " ".join(
        "{" + ",".join(map(str, sorted(group))) + "}" for group in sorted(groups, key=sorted)
    )
