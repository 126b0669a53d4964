# SPDX-License-Identifier: GPL-2.0-only
"""Cpuset specifications and their resolution against a topology."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, Self, TypeGuard

from ktstr.model.topology import Topology, format_cpulist, parse_cpulist

CPUSET_ALLOWED: Final = (
    'a CPU list such as "0-1,3", or one of { llc = N }, { numa = N }, { range = [from, to] }, '
    "{ disjoint = [index, of] }, { overlap = [index, of, fraction] }"
)

Kind = Literal["exact", "llc", "numa", "range", "disjoint", "overlap"]


def parse_cpus(value: object) -> frozenset[int]:
    """The CPUs of a list such as ``0-1,3``.

    :raises ValueError: with what is allowed, when the value is no list or names no CPU.
    """
    allowed = 'a CPU list such as "0-1,3"'
    if not isinstance(value, str):
        raise ValueError(allowed)
    try:
        cpus = frozenset(parse_cpulist(value))
    except ValueError as error:
        raise ValueError(f"{allowed} ({error})") from None
    if not cpus:
        raise ValueError(f"{allowed}, with at least one CPU")
    return cpus


def usable_cpus(topology: Topology) -> tuple[int, ...]:
    """The CPUs that shares are cut from: all, without the last when there are more than two.

    The last one is left to the root cgroup, where the agent and the scheduler's loader run.
    """
    return tuple(range(topology.cpus - (topology.cpus > 2)))


@dataclass(frozen=True, slots=True)
class CpusetSpec:
    """A cpuset as the scenario writes it: a kind and its numbers."""

    kind: Kind
    values: tuple[int | float, ...]

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read a CPU list or a table with one key.

        :raises ValueError: with what is allowed.
        """
        if isinstance(value, cls):
            return value
        if isinstance(value, str):
            return cls("exact", tuple(sorted(parse_cpus(value))))
        if isinstance(value, Mapping) and len(value) == 1:
            key, numbers = next(iter(value.items()))
            if key in _PARSERS:
                return cls(key, _PARSERS[key](numbers))
        raise ValueError(CPUSET_ALLOWED)

    def resolve(self, topology: Topology) -> frozenset[int]:
        """The CPUs meant on one topology; never empty.

        :raises ValueError: with what the topology allows.
        """
        cpus = frozenset(_RESOLVERS[self.kind](topology, *self.values))
        if not cpus:
            usable = format_cpulist(usable_cpus(topology))
            raise ValueError(
                f"a share of at least one CPU: topology {topology} offers CPUs {usable}"
            )
        return cpus


def _index(name: str) -> Callable[[object], tuple[int, ...]]:
    def parse(value: object) -> tuple[int, ...]:
        if type(value) is not int or value < 0:
            raise ValueError(f"{{ {name} = N }} with an index from 0 up")
        return (value,)

    return parse


def _is_fraction(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _range(value: object) -> tuple[int | float, ...]:
    match value:
        case [low, high] if _is_fraction(low) and _is_fraction(high) and low < high:
            return (low, high)
    raise ValueError("{ range = [from, to] } with 0.0 <= from < to <= 1.0")


def _disjoint(value: object) -> tuple[int | float, ...]:
    match value:
        case [int(index), int(of)] if bool not in (type(index), type(of)) and 0 <= index < of:
            return (index, of)
    raise ValueError("{ disjoint = [index, of] } with integers 0 <= index < of")


def _overlap(value: object) -> tuple[int | float, ...]:
    match value:
        case [index, of, fraction] if _is_fraction(fraction):
            return (*_disjoint([index, of]), fraction)
    raise ValueError(
        "{ overlap = [index, of, fraction] } with integers 0 <= index < of "
        "and 0.0 <= fraction <= 1.0"
    )


_PARSERS: Final[dict[str, Callable[[object], tuple[int | float, ...]]]] = {
    "llc": _index("llc"),
    "numa": _index("numa"),
    "range": _range,
    "disjoint": _disjoint,
    "overlap": _overlap,
}


def require_cpus(cpus: frozenset[int], topology: Topology) -> frozenset[int]:
    """The CPUs themselves.

    :raises ValueError: when the topology lacks one of them.
    """
    if max(cpus) >= topology.cpus:
        all_cpus = format_cpulist(range(topology.cpus))
        raise ValueError(f"CPUs {all_cpus} (topology {topology})")
    return cpus


def _resolve_exact(topology: Topology, *cpus: float) -> frozenset[int]:
    return require_cpus(frozenset(int(cpu) for cpu in cpus), topology)


def _resolve_llc(topology: Topology, llc: float) -> tuple[int, ...]:
    if llc >= topology.llcs:
        raise ValueError(f"an LLC from 0 to {topology.llcs - 1} (topology {topology})")
    return topology.llc_cpus(int(llc))


def _resolve_numa(topology: Topology, node: float) -> tuple[int, ...]:
    if node >= topology.numa_nodes:
        raise ValueError(f"a node from 0 to {topology.numa_nodes - 1} (topology {topology})")
    return topology.node_cpus(int(node))


def _resolve_range(topology: Topology, low: float, high: float) -> tuple[int, ...]:
    usable = usable_cpus(topology)
    return usable[math.floor(len(usable) * low) : math.floor(len(usable) * high)]


def _resolve_share(
    topology: Topology, index: float, of: float, fraction: float = 0
) -> tuple[int, ...]:
    usable = usable_cpus(topology)
    chunk = len(usable) // int(of)
    if not chunk:
        raise ValueError(
            f"at most {len(usable)} shares: topology {topology} offers CPUs "
            f"{format_cpulist(usable)}"
        )
    extra = math.floor(chunk * fraction)
    start = int(index) * chunk
    end = len(usable) if index == of - 1 else start + chunk
    return usable[max(0, start - extra) : end + extra]


_RESOLVERS: Final[dict[Kind, Callable[..., frozenset[int] | tuple[int, ...]]]] = {
    "exact": _resolve_exact,
    "llc": _resolve_llc,
    "numa": _resolve_numa,
    "range": _resolve_range,
    "disjoint": _resolve_share,
    "overlap": _resolve_share,
}
