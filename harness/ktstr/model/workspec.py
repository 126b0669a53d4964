# SPDX-License-Identifier: GPL-2.0-only
"""Cgroups and the workers in them, as the scenario file writes them."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StrictInt, StrictStr
from pydantic_core import PydanticCustomError

from ktstr.model.fields import Affinity, CgroupName, Cpuset, Table
from ktstr.model.topology import Topology, format_cpulist
from ktstr.model.works import WORK_TYPES

MAX_WORKERS = 1024
"""Workers of one work entry; each has its own process and sample memory in the guest."""

MAX_RT_PRIO = 97
"""Below the agent, which must stay in control of the guest (PRIORITY in agent/processes.py)."""

PlanValue = str | int | bool | None | list["PlanValue"] | dict[str, "PlanValue"]
"""Plain data that travels to the guest."""

Policy = Literal["normal", "batch", "idle", "fifo", "rr", "ext"]


def _known_type(name: str) -> str:
    if name not in WORK_TYPES:
        raise PydanticCustomError("enum", "unknown work type")
    return name


WorkTypeName = Annotated[
    str, AfterValidator(_known_type), Field(json_schema_extra={"enum": [*WORK_TYPES]})
]
Weight = Annotated[StrictInt, Field(ge=1, le=10_000)]


class Work(Table):
    """Workers of one type in one cgroup."""

    type: WorkTypeName
    workers: Annotated[StrictInt, Field(ge=1, le=MAX_WORKERS)] | None = None
    policy: Policy = "normal"
    rt_prio: Annotated[StrictInt, Field(ge=1, le=MAX_RT_PRIO)] | None = None
    nice: Annotated[StrictInt, Field(ge=-20, le=19)] = 0
    affinity: Affinity = None
    params: dict[str, StrictInt | StrictStr] = Field(default_factory=dict)

    @property
    def worker_count(self) -> int:
        """Workers asked for, else one group of the type."""
        return self.workers or WORK_TYPES[self.type].group_size(self.params)

    def plan(self) -> dict[str, PlanValue]:
        """The guest's form, every default written out."""
        return {
            "type": self.type,
            "workers": self.worker_count,
            "policy": self.policy,
            "rt_prio": self.rt_prio or 0,
            "nice": self.nice,
            "affinity": None if self.affinity is None else format_cpulist(self.affinity),
            "params": dict(WORK_TYPES[self.type].complete(self.params)),
        }


class CgroupDef(Table):
    """A cgroup, its limits and its workers; without ``works`` it stays empty."""

    name: CgroupName
    cpuset: Cpuset | None = None
    weight: Weight | None = None
    works: Annotated[tuple[Work, ...], Field(max_length=64)] = ()

    def plan(self, topology: Topology) -> dict[str, PlanValue]:
        """The guest's form, with the cpuset resolved.

        :raises ValueError: when the topology cannot give the cpuset.
        """
        cpus = None if self.cpuset is None else format_cpulist(self.cpuset.resolve(topology))
        return {
            "name": self.name,
            "cpus": cpus,
            "weight": self.weight,
            "works": [work.plan() for work in self.works],
        }
