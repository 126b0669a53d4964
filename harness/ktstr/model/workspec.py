# SPDX-License-Identifier: GPL-2.0-only
"""Workers as the scenario file writes them: what they do, how many, and how they are scheduled."""

from collections.abc import Iterator
from pathlib import PurePath
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, StrictInt, StrictStr
from pydantic_core import PydanticCustomError

from ktstr.model.fields import Argument, Table
from ktstr.model.placement import MemFlag, MemNodes, Memory, MemPolicy, WorkAffinity
from ktstr.model.python_work import GUEST_PYTHON, PythonCall, command_words, split_call
from ktstr.model.topology import Topology, format_cpulist
from ktstr.model.work_type import MAX_US
from ktstr.model.works.registry import WORK_TYPES

MAX_WORKERS = 1024
"""Workers of one work entry; each has its own process and sample memory in the guest."""

MAX_RT_PRIO = 97
"""Below the agent, which must stay in control of the guest (PRIORITY in agent/processes.py)."""

MAX_COMPOSED: Final = 16
"""Works that one work can be composed with."""

PlanValue = str | int | bool | None | list["PlanValue"] | dict[str, "PlanValue"]
"""Plain data that travels to the guest."""

Policy = Literal["normal", "batch", "idle", "fifo", "rr", "deadline", "ext"]
CloneMode = Literal["fork", "thread"]

CUSTOM: Final = "Custom"
"""The work type that is a program of the user's."""

GUEST_WORK_DIR: Final = "/ktstr/work"

DEADLINE_KEYS: Final = ("dl_runtime_us", "dl_deadline_us", "dl_period_us")


def _known_type(name: str) -> str:
    if name not in WORK_TYPES:
        raise PydanticCustomError("enum", "unknown work type")
    return name


WorkTypeName = Annotated[
    str, AfterValidator(_known_type), Field(json_schema_extra={"enum": [*WORK_TYPES]})
]
Weight = Annotated[StrictInt, Field(ge=1, le=10_000)]
ProgramFile = Annotated[StrictStr, Field(min_length=1, max_length=4096)]
Microseconds = Annotated[StrictInt, Field(ge=1, le=MAX_US)]
Comm = Annotated[
    str,
    Field(
        pattern="^[!-~][ -~]{0,14}$",
        json_schema_extra={"x-allowed": "a text of 1 to 15 printable ASCII characters"},
    ),
]


class WorkSpec(Table):
    """Workers of one type; the keys of a composed work, and all but one of those of a work."""

    type: WorkTypeName
    workers: Annotated[StrictInt, Field(ge=1, le=MAX_WORKERS)] | None = None
    clone: CloneMode = "fork"
    comm: Comm | None = None
    policy: Policy = "normal"
    rt_prio: Annotated[StrictInt, Field(ge=1, le=MAX_RT_PRIO)] | None = None
    dl_runtime_us: Microseconds | None = None
    dl_deadline_us: Microseconds | None = None
    dl_period_us: Microseconds | None = None
    nice: Annotated[StrictInt, Field(ge=-20, le=19)] = 0
    affinity: WorkAffinity = None
    mempolicy: MemPolicy = "default"
    mem_nodes: MemNodes | None = None
    mem_flags: Annotated[tuple[MemFlag, ...], Field(max_length=3)] = ()
    command: ProgramFile | None = None
    python: PythonCall | None = None
    args: Annotated[tuple[Argument, ...], Field(max_length=16)] = ()
    params: dict[str, StrictInt | StrictStr] = Field(default_factory=dict)

    @property
    def worker_count(self) -> int:
        """Workers asked for, else one group of the type."""
        return self.workers or WORK_TYPES[self.type].group_size(self.params)

    @property
    def cpus(self) -> frozenset[int] | None:
        """The CPUs the affinity lists, ``None`` for an intent or none."""
        return None if isinstance(self.affinity, str) else self.affinity

    @property
    def memory(self) -> Memory:
        """Where its memory is to lie."""
        return Memory(self.mempolicy, self.mem_nodes, self.mem_flags)

    @property
    def own_file(self) -> tuple[str, str] | None:
        """The user's file that custom work takes along: the key that names it, and its path."""
        if self.python is not None:
            return "python", split_call(self.python)[0]
        return None if self.command is None else ("command", self.command)

    @property
    def guest_file(self) -> str | None:
        """Where the user's file of custom work lies in the guest."""
        file = self.own_file
        return None if file is None else f"{GUEST_WORK_DIR}/{PurePath(file[1]).name}"

    def _program(self) -> tuple[str | None, tuple[str, ...]]:
        """What the guest starts for custom work, and its arguments."""
        if self.python is None or self.guest_file is None:
            return self.guest_file, self.args
        words = command_words(self.guest_file, split_call(self.python)[1])
        return GUEST_PYTHON, (*words, *self.args)

    def mistakes(self) -> Iterator[tuple[str, str]]:
        """What contradicts itself, as key and what is allowed there."""
        deadlines = [getattr(self, key) for key in DEADLINE_KEYS]
        if self.policy != "deadline":
            for key, value in zip(DEADLINE_KEYS, deadlines, strict=True):
                if value is not None:
                    yield key, f"{key} only with policy deadline (here: {self.policy})"
        elif None in deadlines or sorted(deadlines) != deadlines:
            yield (
                "policy",
                "deadline with dl_runtime_us <= dl_deadline_us <= dl_period_us, all three given",
            )
        custom = self.type == CUSTOM
        for key, what in (("command", "the path of a program"), ("python", "a Python function")):
            if not custom and getattr(self, key) is not None:
                yield key, f"{what} with {CUSTOM}, nothing with other types"
        if custom and self.own_file is None:
            yield "command", f"the path of a program with {CUSTOM}, or python with a function"
        elif custom and None not in (self.command, self.python):
            yield "python", "one of command and python, not both"
        if self.args and not custom:
            yield "args", f"arguments of a program, only with {CUSTOM}"
        if any("\x1f" in word for word in self.args):
            yield "args", "no unit separator (0x1f) in a word"
        work_type = WORK_TYPES[self.type]
        if work_type.process_wide and self.clone == "thread":
            yield "clone", f"fork with {self.type}: what it does befalls the whole process"
        if work_type.makes_tasks and self.policy == "deadline":
            why = "it makes tasks, which the kernel lets no task of that policy do"
            yield "policy", f"another than deadline with {self.type}: {why}"
        if custom and self.clone == "thread":
            yield "clone", f"fork with {CUSTOM}: a program of its own cannot be a thread"
        yield from self.memory.mistakes()

    def place_mistakes(
        self, topology: Topology, cpus: frozenset[int] | None
    ) -> Iterator[tuple[str, str]]:
        """What ``topology``, or a cgroup limited to ``cpus``, cannot give; as :meth:`mistakes`."""
        needed = WORK_TYPES[self.type].topology_needed(topology)
        if needed is not None:
            yield "type", f"{self.type} only on {needed}"
        if self.affinity == "smt-pair" and topology.threads_per_core < 2:
            yield "affinity", f"smt-pair on a topology with 2 threads per core, not {topology}"
        yield from self.memory.node_mistakes(topology, cpus)

    def plan(self) -> dict[str, PlanValue]:
        """The guest's form; what is rarely given is left out where it is not."""
        affinity = self.affinity
        program, args = self._program()
        plan: dict[str, PlanValue] = {
            "type": self.type,
            "workers": self.worker_count,
            "policy": self.policy,
            "rt_prio": self.rt_prio or 0,
            "nice": self.nice,
            "affinity": format_cpulist(affinity) if isinstance(affinity, frozenset) else affinity,
            "params": dict(WORK_TYPES[self.type].complete(self.params)),
        }
        rare: dict[str, Any] = {
            "clone": None if self.clone == "fork" else self.clone,
            "comm": self.comm,
            **{key: getattr(self, key) for key in DEADLINE_KEYS},
            "mempolicy": None if self.mempolicy == "default" else self.mempolicy,
            "mem_nodes": None if self.mem_nodes is None else format_cpulist(self.mem_nodes),
            "mem_flags": ",".join(self.mem_flags) or None,
            "program": program,
            "args": "\x1f".join(args) or None,
        }
        plan.update({key: value for key, value in rare.items() if value is not None})
        return plan


class Work(WorkSpec):
    """Workers in one cgroup: the primary ones, and those they are composed with.

    Each of them reports with its place: ``group_idx`` 0 for the primary, then from 1 on.
    """

    composed: Annotated[tuple[WorkSpec, ...], Field(max_length=MAX_COMPOSED)] = ()

    def all_works(self) -> Iterator[tuple[tuple[str | int, ...], WorkSpec]]:
        """The work itself and its composed ones, each with its key below the work's."""
        yield (), self
        for index, work in enumerate(self.composed):
            yield ("composed", index), work

    def plan(self) -> dict[str, PlanValue]:
        """As that of a :class:`WorkSpec`, with the plans of the composed works inside."""
        plan = super().plan()
        if self.composed:
            plan["composed"] = [
                {**work.plan(), "group_idx": index + 1} for index, work in enumerate(self.composed)
            ]
        return plan
