# SPDX-License-Identifier: GPL-2.0-only
"""What a work type is: parameters, group, reservoirs. The types are rows of ``works_*.py``."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from ktstr.model.topology import Topology

Reservoir = Literal["wake", "cost", "timer"]
"""Sample reservoirs of a report: wake latencies, iteration costs, timer latencies."""


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter of a work type; the unit is the name's last part.

    :param choices: names for the values 0, 1 and so on; a scenario gives one of them, the worker
        gets its number.
    """

    name: str
    default: int
    low: int
    high: int
    summary: str
    choices: tuple[str, ...] = ()

    @classmethod
    def choice(cls, name: str, summary: str, *choices: str) -> "Param":
        """A parameter that is one of a few words; the first is the default."""
        return cls(name, 0, 0, len(choices) - 1, summary, choices)

    @property
    def allowed(self) -> str:
        """What may stand for the parameter, in words."""
        if self.choices:
            words = ", ".join(f'"{choice}"' for choice in self.choices)
            return f'one of {words} (default "{self.choices[self.default]}")'
        return f"an integer from {self.low} to {self.high} (default {self.default})"

    def number(self, value: int | str) -> int | None:
        """The worker's number for a scenario's value; ``None`` when it is not allowed."""
        if isinstance(value, str):
            return self.choices.index(value) if value in self.choices else None
        return value if not self.choices and self.low <= value <= self.high else None


@dataclass(frozen=True, slots=True)
class WorkType:
    """One kind of load.

    :param group: workers that work together; ``workers`` must be a multiple of it.
    :param group_params: parameters whose values add to ``group`` (``1 + fan_out`` and the like).
    :param fills: the reservoirs its reports carry samples in.
    :param process_wide: what it does befalls its whole process (it forks and reaps, or moves to
        another cgroup), so that its workers cannot be threads of one.
    :param makes_tasks: it makes processes or threads, which the kernel lets no task of
        SCHED_DEADLINE do (sched(7)).
    :param cpu_nodes: NUMA nodes with CPUs it cannot do without.
    :param memory_nodes: NUMA nodes with memory it cannot do without.
    """

    name: str
    summary: str
    params: tuple[Param, ...] = ()
    group: int = 1
    group_params: tuple[str, ...] = ()
    fills: frozenset[Reservoir] = frozenset()
    process_wide: bool = False
    makes_tasks: bool = False
    cpu_nodes: int = 1
    memory_nodes: int = 1

    def complete(self, given: Mapping[str, int | str]) -> dict[str, int]:
        """Every parameter's number in table order: the given one, else the default."""
        numbers = {}
        for param in self.params:
            number = param.number(given[param.name]) if param.name in given else None
            numbers[param.name] = param.default if number is None else number
        return numbers

    def group_size(self, given: Mapping[str, int | str]) -> int:
        """The number ``workers`` must be a multiple of."""
        complete = self.complete(given)
        return self.group + sum(complete[name] for name in self.group_params)

    def topology_needed(self, topology: Topology) -> str | None:
        """What ``topology`` would have to have for this type to work; ``None``: it has it."""
        if topology.numa_nodes < self.cpu_nodes:
            return f"a topology with {self.cpu_nodes} NUMA nodes that have CPUs, not {topology}"
        if topology.numa_nodes + topology.memory_only_nodes < self.memory_nodes:
            return f"a topology with {self.memory_nodes} NUMA nodes, not {topology}"
        return None


WAKE: Final[frozenset[Reservoir]] = frozenset({"wake"})
COST: Final[frozenset[Reservoir]] = frozenset({"cost"})
TIMER: Final[frozenset[Reservoir]] = frozenset({"timer"})

MAX_US: Final = 60_000_000
"""Longest time a parameter may ask for: a minute."""

MAX_ITERS: Final = 1_000_000_000
"""Most steps of a busy loop."""
