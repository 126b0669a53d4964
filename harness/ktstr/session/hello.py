# SPDX-License-Identifier: GPL-2.0-only
"""The guest's Hello: checked facts, and its topology held against the one asked for."""

from collections.abc import Iterable
from dataclasses import dataclass

from ktstr.errors import ChannelLost, HostUnfit
from ktstr.model.topology import Topology
from ktstr.session.mailbox import MAX_PAGES
from ktstr.wire import WireError, unpack_map
from ktstr.wire.messages import take_int, take_str

PROTOCOL = 1
MAX_CPUS = 8192


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
    nodes: frozenset[frozenset[int]]
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
                nodes=_sets(shape.get("nodes")),
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


def check_topology(hello: Hello, asked: Topology) -> None:
    """Hold the guest's own reading against what was asked for.

    Schedulers crash on incoherent cache domains, so a difference is an error, not a note.

    :raise HostUnfit: with every line that differs.
    """
    expected = {
        "CPUs": frozenset({frozenset(range(asked.cpus))}),
        "last-level caches": frozenset(frozenset(asked.llc_cpus(i)) for i in range(asked.llcs)),
        "NUMA nodes": frozenset(frozenset(asked.node_cpus(n)) for n in range(asked.numa_nodes)),
    }
    found = {
        "CPUs": frozenset({frozenset(range(hello.cpus))}),
        "last-level caches": hello.llcs,
        "NUMA nodes": hello.nodes,
    }
    if asked.llcs == 1 and not hello.llcs:
        found["last-level caches"] = expected["last-level caches"]
    differing = [name for name in expected if expected[name] != found[name]]
    if differing:
        lines = "\n".join(
            f"    {name}: asked {_show(expected[name])}, the guest has {_show(found[name])}"
            for name in differing
        )
        raise HostUnfit(
            f"the guest's topology is not {asked}:\n{lines}",
            hint="this QEMU cannot make that topology for this kernel; choose another one",
        )


def _show(groups: Iterable[frozenset[int]]) -> str:
    return " ".join(
        "{" + ",".join(map(str, sorted(group))) + "}" for group in sorted(groups, key=sorted)
    )
