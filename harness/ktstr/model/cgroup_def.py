# SPDX-License-Identifier: GPL-2.0-only
"""Cgroups as the scenario file writes them: a name, limits, and the workers inside.

Nesting is in the name (``parent/child``), as in the file system: ops, reports and checks then
speak of any cgroup, however deep, by one key.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import Field, PlainValidator, StrictBool, WithJsonSchema

from ktstr.model.fields import CgroupName, Cpuset, Table
from ktstr.model.topology import Topology, format_cpulist
from ktstr.model.workspec import PlanValue, Weight, Work

DEFAULT_PERIOD_US: Final = 100_000
"""The kernel's own period of ``cpu.max``."""

QUOTA_US: Final = (1_000, 3_600_000_000)
PERIOD_US: Final = (1_000, 1_000_000)
"""What the kernel takes (kernel/sched/core.c, tg_set_cfs_bandwidth): 1 ms to 1 s."""

CPU_MAX_ALLOWED: Final = (
    'a share of one CPU such as "50%" (at least 1%), or { quota_us, period_us } with a quota from '
    f"{QUOTA_US[0]} and a period from {PERIOD_US[0]} to {PERIOD_US[1]} (default "
    f"{DEFAULT_PERIOD_US})"
)
_PERCENT: Final = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,2})?)%", re.ASCII)


@dataclass(frozen=True, slots=True)
class CpuMax:
    """A limit of CPU time: ``quota_us`` of every ``period_us``, over all CPUs together."""

    quota_us: int
    period_us: int = DEFAULT_PERIOD_US

    def __post_init__(self) -> None:
        for value, (low, high) in ((self.quota_us, QUOTA_US), (self.period_us, PERIOD_US)):
            if type(value) is not int or not low <= value <= high:
                raise ValueError(CPU_MAX_ALLOWED)

    @classmethod
    def parse(cls, value: object) -> "CpuMax":
        """Read a share or a table.

        :raises ValueError: with what is allowed.
        """
        match value:
            case CpuMax():
                return value
            case str() if share := _PERCENT.fullmatch(value):
                return cls(round(float(share[1]) * DEFAULT_PERIOD_US / 100))
            case {"quota_us": int(quota), "period_us": int(period), **rest} if not rest:
                return cls(quota, period)
            case {"quota_us": int(quota), **rest} if not rest:
                return cls(quota)
        raise ValueError(CPU_MAX_ALLOWED)

    def __str__(self) -> str:
        """As the control file takes it."""
        return f"{self.quota_us} {self.period_us}"


CpuMaxSpec = Annotated[
    CpuMax,
    PlainValidator(CpuMax.parse),
    WithJsonSchema({"type": ["string", "object"], "x-allowed": CPU_MAX_ALLOWED}),
]


class CgroupDef(Table):
    """A cgroup, its limits and its workers; without ``works`` it stays empty.

    ``swappable`` lets a run replace the types of its works by one type for all.
    """

    name: CgroupName
    cpuset: Cpuset | None = None
    weight: Weight | None = None
    cpu_max: CpuMaxSpec | None = None
    swappable: StrictBool = False
    works: Annotated[tuple[Work, ...], Field(max_length=64)] = ()

    @property
    def limited(self) -> bool:
        """Whether it needs a controller."""
        return bool(self.cpuset or self.weight or self.cpu_max)

    def plan(self, topology: Topology) -> dict[str, PlanValue]:
        """The guest's form, with the cpuset resolved.

        :raises ValueError: when the topology cannot give the cpuset.
        """
        cpus = None if self.cpuset is None else format_cpulist(self.cpuset.resolve(topology))
        return {
            "name": self.name,
            "cpus": cpus,
            "weight": self.weight,
            "cpu_max": None if self.cpu_max is None else str(self.cpu_max),
            "works": [work.plan() for work in self.works],
        }
