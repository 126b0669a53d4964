# SPDX-License-Identifier: GPL-2.0-only
"""The ops a scenario may name: their keys, their effect on the cgroups, their form in the plan.

A new op is one class, here or in ``ktstr.model.op_programs``, in ``AnyOp``, and one row in
``ktstr.model.ops``.
"""

from typing import Annotated, Final, Literal, get_args

from pydantic import Field

from ktstr.model.cgroup_def import CgroupDef
from ktstr.model.cgroups import HOST, CgroupTable
from ktstr.model.fields import Affinity, CgroupName, Cpuset, DurationMs, SizeBytes
from ktstr.model.locate import KeyPath
from ktstr.model.op_base import Op
from ktstr.model.op_programs import (
    AttachScheduler,
    CaptureSnapshot,
    DetachScheduler,
    KillPayload,
    ReplaceScheduler,
    RestartScheduler,
    RunPayload,
    WaitPayload,
    WatchSnapshot,
    WriteBpfGlobal,
)
from ktstr.model.topology import Topology, format_cpulist
from ktstr.model.workspec import PlanValue, Weight, Work

Fault = Literal[
    "kernel-panic", "guest-hang", "kill-worker", "kill-agent", "kill-scheduler", "garbage-on-port"
]
"""Faults that ``InjectFault`` provokes inside the guest."""


MAX_OPS: Final = 256
"""Ops in one list."""

DEFAULT_GARBAGE = 5 << 20
MAX_GARBAGE = 64 << 20


class AddCgroup(Op):
    """Create an empty cgroup; in a step it goes when the step ends."""

    op: Literal["AddCgroup"]
    cgroup: CgroupName

    def apply(self, table: CgroupTable, at: KeyPath) -> None:
        table.add(self.cgroup, (*at, "cgroup"))


class AddCgroupDef(Op, CgroupDef):
    """Create a cgroup with limits and workers; in a step all of it goes when the step ends."""

    op: Literal["AddCgroupDef"]

    def apply(self, table: CgroupTable, at: KeyPath) -> None:
        table.define(self, at)

    def _fields(self, topology: Topology) -> dict[str, PlanValue]:
        return CgroupDef.plan(self, topology)


class RemoveCgroup(Op):
    """Kill the workers of a cgroup and of all below it, and remove them; nothing is reported."""

    op: Literal["RemoveCgroup"]
    cgroup: CgroupName

    def apply(self, table: CgroupTable, at: KeyPath) -> None:
        table.remove(self.cgroup, (*at, "cgroup"))


class SetCpuset(Op):
    """Give a cgroup these CPUs."""

    op: Literal["SetCpuset"]
    cgroup: CgroupName
    cpuset: Cpuset

    def apply(self, table: CgroupTable, at: KeyPath) -> None:
        cpus = table.resolve(self.cpuset, (*at, "cpuset"))
        table.set_cpus(self.cgroup, (*at, "cgroup"), cpus)

    def _fields(self, topology: Topology) -> dict[str, PlanValue]:
        return {"cgroup": self.cgroup, "cpus": format_cpulist(self.cpuset.resolve(topology))}


class ClearCpuset(Op):
    """Lift a cgroup's limit to certain CPUs."""

    op: Literal["ClearCpuset"]
    cgroup: CgroupName

    def apply(self, table: CgroupTable, at: KeyPath) -> None:
        table.set_cpus(self.cgroup, (*at, "cgroup"), None)


class SwapCpusets(Op):
    """Exchange the cpusets of two cgroups."""

    op: Literal["SwapCpusets"]
    cgroup: CgroupName
    other: CgroupName

    def apply(self, table: CgroupTable, at: KeyPath) -> None:
        table.swap_cpus(self.cgroup, (*at, "cgroup"), self.other, (*at, "other"))


class Spawn(Op):
    """Start workers in a cgroup; they end with the step."""

    op: Literal["Spawn"]
    cgroup: CgroupName
    work: Work

    def apply(self, table: CgroupTable, at: KeyPath) -> None:
        if table.find(self.cgroup, (*at, "cgroup")):
            table.check_place(self.work, self.cgroup, (*at, "work"))
            table.spawn(self.cgroup, (*at, "cgroup"))

    def _fields(self, topology: Topology) -> dict[str, PlanValue]:
        return {"cgroup": self.cgroup, "work": self.work.plan()}


class SpawnHost(Op):
    """Start workers outside of all cgroups, in the root; they end with the step."""

    op: Literal["SpawnHost"]
    work: Work

    def apply(self, table: CgroupTable, at: KeyPath) -> None:
        table.check_place(self.work, HOST, (*at, "work"))
        table.spawn(HOST, (*at, "work"))

    def _fields(self, topology: Topology) -> dict[str, PlanValue]:
        return {"cgroup": HOST, "work": self.work.plan()}


class StopCgroup(Op):
    """Kill a cgroup's workers, which then do not report, and keep the cgroup."""

    op: Literal["StopCgroup"]
    cgroup: CgroupName

    def apply(self, table: CgroupTable, at: KeyPath) -> None:
        table.stop(self.cgroup, (*at, "cgroup"))


class SetAffinity(Op):
    """Bind a cgroup's workers to CPUs; "inherit" gives them all of the cgroup's again."""

    op: Literal["SetAffinity"]
    cgroup: CgroupName
    affinity: Affinity

    def apply(self, table: CgroupTable, at: KeyPath) -> None:
        if table.find(self.cgroup, (*at, "cgroup")):
            table.check_affinity(self.affinity, self.cgroup, (*at, "affinity"))

    def _fields(self, topology: Topology) -> dict[str, PlanValue]:
        cpus = None if self.affinity is None else format_cpulist(self.affinity)
        return {"cgroup": self.cgroup, "cpus": cpus}


class MoveAllTasks(Op):
    """Move every task of a cgroup to another."""

    op: Literal["MoveAllTasks"]
    cgroup: CgroupName
    to: CgroupName

    def apply(self, table: CgroupTable, at: KeyPath) -> None:
        table.move(self.cgroup, (*at, "cgroup"), self.to, (*at, "to"))


class SetWeight(Op):
    """Set a cgroup's ``cpu.weight``."""

    op: Literal["SetWeight"]
    cgroup: CgroupName
    weight: Weight

    def apply(self, table: CgroupTable, at: KeyPath) -> None:
        table.limit(self.cgroup, (*at, "cgroup"))


class FreezeCgroup(Op):
    """Stop all tasks of a cgroup and below it until it is thawed, or the step ends."""

    op: Literal["FreezeCgroup"]
    cgroup: CgroupName

    def apply(self, table: CgroupTable, at: KeyPath) -> None:
        table.freeze(self.cgroup, (*at, "cgroup"), frozen=True)


class UnfreezeCgroup(Op):
    """Let a frozen cgroup's tasks run again."""

    op: Literal["UnfreezeCgroup"]
    cgroup: CgroupName

    def apply(self, table: CgroupTable, at: KeyPath) -> None:
        table.freeze(self.cgroup, (*at, "cgroup"), frozen=False)


class Pause(Op):
    """Stop the workload clock until ``Resume``, and let ``duration`` go by."""

    op: Literal["Pause"]
    duration: DurationMs = 0

    def _fields(self, topology: Topology) -> dict[str, PlanValue]:
        return {"duration_ms": self.duration}


class Resume(Op):
    """Let the workload clock run again."""

    op: Literal["Resume"]


class InjectFault(Op):
    """Break something on purpose, ``at`` so far into the hold: tests of ktstr itself.

    ``cgroup`` narrows kill-worker down, ``size`` is how much garbage-on-port writes.
    """

    op: Literal["InjectFault"]
    fault: Fault
    at: DurationMs = 0
    cgroup: CgroupName | None = None
    size: SizeBytes = Field(
        default_factory=lambda: DEFAULT_GARBAGE, json_schema_extra={"default": "5M"}
    )

    def _fields(self, topology: Topology) -> dict[str, PlanValue]:
        return {"fault": self.fault, "at_ms": self.at, "cgroup": self.cgroup, "size": self.size}


_AnyOp = (
    AddCgroup
    | AddCgroupDef
    | RemoveCgroup
    | SetCpuset
    | ClearCpuset
    | SwapCpusets
    | Spawn
    | SpawnHost
    | StopCgroup
    | SetAffinity
    | MoveAllTasks
    | SetWeight
    | FreezeCgroup
    | UnfreezeCgroup
    | RunPayload
    | WaitPayload
    | KillPayload
    | AttachScheduler
    | DetachScheduler
    | ReplaceScheduler
    | RestartScheduler
    | CaptureSnapshot
    | WatchSnapshot
    | WriteBpfGlobal
    | Pause
    | Resume
    | InjectFault
)
AnyOp = Annotated[_AnyOp, Field(discriminator="op")]

OPS: Final[dict[object, type[Op]]] = {op.__name__: op for op in get_args(_AnyOp)}
"""Each op's class by its name in the file."""
