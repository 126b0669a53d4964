# SPDX-License-Identifier: GPL-2.0-only
"""Ops on what runs beside the workers: the scheduler, payloads, and the host's own eyes and hands.

A payload is any program of the user's that runs in the guest while a scenario does.
"""

from typing import Annotated, Final, Literal

from pydantic import Field, StrictInt

from ktstr.model.cgroups import CgroupTable
from ktstr.model.fields import (
    Argument,
    CgroupName,
    HostFile,
    Identifier,
    Name,
    PositiveMs,
    SymbolName,
    VariablePath,
    file_name,
)
from ktstr.model.locate import KeyPath
from ktstr.model.op_base import Op
from ktstr.model.scheduler_def import GUEST_INCLUDE_DIR, SchedulerProgram
from ktstr.model.topology import Topology
from ktstr.model.workspec import PlanValue

GUEST_PAYLOAD_DIR: Final = "/ktstr/payload"
"""Folder in the guest that payloads are packed into."""

DEFAULT_PAYLOAD_MS: Final = 30_000

MAX_WATCHES: Final = 3
"""Watches at a time: x86 has four, and the reference keeps one for itself."""

MAX_HITS: Final = 16
"""Captures of one watch; each stops the guest, which a hot variable would bring to a halt."""


class AttachScheduler(Op):
    """Start a scheduler while none is attached; without ``scheduler`` it is the scenario's."""

    op: Literal["AttachScheduler"]
    scheduler: SchedulerProgram | None = None

    def apply(self, table: CgroupTable, at: KeyPath) -> None:
        table.programs.attach((*at, "op"), (*at, "scheduler"), own=self.scheduler is None)

    def _fields(self, topology: Topology) -> dict[str, PlanValue]:
        return {"scheduler": None if self.scheduler is None else self.scheduler.plan()}


class DetachScheduler(Op):
    """End the scheduler, so that the kernel's own takes over."""

    op: Literal["DetachScheduler"]

    def apply(self, table: CgroupTable, at: KeyPath) -> None:
        table.programs.detach((*at, "op"))


class ReplaceScheduler(Op):
    """End the scheduler and start another."""

    op: Literal["ReplaceScheduler"]
    scheduler: SchedulerProgram

    def apply(self, table: CgroupTable, at: KeyPath) -> None:
        table.programs.need_scheduler((*at, "op"))

    def _fields(self, topology: Topology) -> dict[str, PlanValue]:
        return {"scheduler": self.scheduler.plan()}


class RestartScheduler(Op):
    """End the scheduler and start the same again."""

    op: Literal["RestartScheduler"]

    def apply(self, table: CgroupTable, at: KeyPath) -> None:
        table.programs.need_scheduler((*at, "op"))


class RunPayload(Op):
    """Start a program in the background; it ends with the step at the latest.

    ``files`` are packed into :data:`GUEST_INCLUDE_DIR`. Numbers in what it prints as JSON become
    measurements of the verdict, and any exit status but ``exit_code`` fails the run.
    """

    op: Literal["RunPayload"]
    name: Name
    command: HostFile
    args: Annotated[tuple[Argument, ...], Field(max_length=256)] = ()
    cgroup: CgroupName | None = None
    files: Annotated[tuple[HostFile, ...], Field(max_length=64)] = ()
    output: Literal["json", "text"] = "json"
    exit_code: Annotated[StrictInt, Field(ge=0, le=255)] = 0

    @property
    def guest_file(self) -> str:
        """The program's path in the guest."""
        return f"{GUEST_PAYLOAD_DIR}/{file_name(self.command)}"

    def apply(self, table: CgroupTable, at: KeyPath) -> None:
        table.programs.run(self.name, (*at, "name"), permanent=table.step == 0)
        if self.cgroup is not None:
            table.run_in(self.cgroup, (*at, "cgroup"))

    def _fields(self, topology: Topology) -> dict[str, PlanValue]:
        return {
            "name": self.name,
            "argv": [self.guest_file, *self.args],
            "cgroup": self.cgroup,
            "folder": str(GUEST_INCLUDE_DIR),
            "output": self.output,
            "exit_code": self.exit_code,
        }


class WaitPayload(Op):
    """Wait for a payload's end; after ``timeout`` it is killed and the run fails."""

    op: Literal["WaitPayload"]
    name: Name
    timeout: PositiveMs = Field(default=DEFAULT_PAYLOAD_MS, json_schema_extra={"default": "30s"})

    def apply(self, table: CgroupTable, at: KeyPath) -> None:
        table.programs.end(self.name, (*at, "name"))

    def _fields(self, topology: Topology) -> dict[str, PlanValue]:
        return {"name": self.name, "timeout_ms": self.timeout}


class KillPayload(Op):
    """Kill a payload with all it started; what it printed until then still counts."""

    op: Literal["KillPayload"]
    name: Name

    def apply(self, table: CgroupTable, at: KeyPath) -> None:
        table.programs.end(self.name, (*at, "name"))


class CaptureSnapshot(Op):
    """Let the host freeze the guest and keep what its memory shows, under ``name``."""

    op: Literal["CaptureSnapshot"]
    name: Name


class WatchSnapshot(Op):
    """Freeze the guest at each write to a variable, and keep what its memory shows then.

    What is watched is a ``symbol`` of the kernel, or a ``variable`` of the loaded scheduler, which
    ``section`` narrows down. After ``hits`` writes the watch is taken away, at the latest when the
    step ends that set it. ``size`` is in bytes; by default a variable's own, and 4 of a symbol.
    """

    op: Literal["WatchSnapshot"]
    name: Name
    symbol: SymbolName | None = None
    variable: VariablePath | None = None
    section: Literal[".bss", ".data"] | None = None
    size: Literal[1, 2, 4, 8] | None = None
    hits: Annotated[StrictInt, Field(ge=1, le=MAX_HITS)] = 1

    def apply(self, table: CgroupTable, at: KeyPath) -> None:
        if self.variable is not None:
            table.programs.need_scheduler((*at, "op"))


GlobalNumber = Annotated[StrictInt, Field(ge=-(1 << 63), le=(1 << 64) - 1)]


class WriteBpfGlobal(Op):
    """Let the host write an integer variable of the loaded scheduler, in frozen guest memory.

    ``section`` narrows down where the variable is. Constants are out of reach: the verifier has
    built them into the program.
    """

    op: Literal["WriteBpfGlobal"]
    name: Identifier
    value: GlobalNumber
    section: Literal[".bss", ".data"] | None = None

    def apply(self, table: CgroupTable, at: KeyPath) -> None:
        table.programs.need_scheduler((*at, "op"))
