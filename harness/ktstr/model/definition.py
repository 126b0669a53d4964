# SPDX-License-Identifier: GPL-2.0-only
"""The scenario file's tables as typed, frozen objects."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Final, Literal

from pydantic import (
    Field,
    PlainValidator,
    PrivateAttr,
    StrictBool,
    StrictInt,
    StrictStr,
    WithJsonSchema,
)

from ktstr.model.checks import Checks
from ktstr.model.fields import (
    Argument,
    DurationMs,
    GlobalValue,
    Identifier,
    KernelSpec,
    Name,
    PositiveMs,
    SizeBytes,
    Table,
    TopologySpec,
)
from ktstr.model.op_models import MAX_OPS, AnyOp
from ktstr.model.source import Source
from ktstr.model.topology import Topology
from ktstr.model.units import DURATION_ALLOWED, parse_duration_ms
from ktstr.model.workspec import CgroupDef

BUILT_IN_BPF: Final = frozenset({"scx_ktstr"})
"""Scheduler objects that ktstr brings along and finds by name."""

GUEST_SCHEDULER_DIR: Final = PurePosixPath("/ktstr/sched")
"""Folder in the guest that the scheduler's file is packed into."""

MAX_SNAPSHOTS: Final = 64
MIN_SNAPSHOT_SPACING_MS: Final = 100
DEFAULT_WATCHDOG_MS: Final = 20_000
MAX_WATCHDOG_MS: Final = 30_000
"""``SCX_WATCHDOG_MAX_TIMEOUT`` in kernel/sched/ext.c: 30 s."""

_MIB: Final = 1 << 20


class Vm(Table):
    """The virtual machine."""

    topology: TopologySpec = Field(
        default_factory=lambda: Topology(cores_per_llc=2),
        json_schema_extra={"default": "1n1l2c1t"},
    )
    memory: SizeBytes = Field(
        default_factory=lambda: 512 * _MIB, json_schema_extra={"default": "512M"}
    )
    clock: Literal["wall"] = "wall"

    @property
    def memory_mib(self) -> int:
        """Guest memory in MiB."""
        return self.memory // _MIB


SchedulerKind = Literal["bpf", "binary", "none"]


class Scheduler(Table):
    """What schedules the guest: exactly one of ``bpf``, ``binary`` and ``kernel_default``."""

    bpf: Annotated[StrictStr, Field(min_length=1)] | None = None
    binary: Annotated[StrictStr, Field(min_length=1)] | None = None
    kernel_default: StrictBool = False
    args: Annotated[tuple[Argument, ...], Field(max_length=256)] = ()
    globals: dict[Identifier, GlobalValue] = Field(default_factory=dict)
    timeout: PositiveMs | None = Field(default=None, json_schema_extra={"default": "20s"})
    checks: Checks = Field(default_factory=Checks)

    @property
    def kind(self) -> SchedulerKind:
        """Which of the three forms this is."""
        if self.bpf is not None:
            return "bpf"
        return "binary" if self.binary is not None else "none"

    @property
    def watchdog_ms(self) -> int | None:
        """``timeout_ms`` of the BPF object; ``None`` where ktstr does not set it."""
        if self.kind != "bpf":
            return None
        return DEFAULT_WATCHDOG_MS if self.timeout is None else self.timeout

    @property
    def built_in(self) -> bool:
        """Whether ktstr brings the object along."""
        return self.bpf in BUILT_IN_BPF

    def host_file(self, folder: Path) -> Path | None:
        """The file on the host, relative paths taken from the scenario's folder.

        ``None`` for a built-in object, whose place the caller knows, and for the kernel default.
        """
        name = self.bpf if self.bpf is not None else self.binary
        return None if name is None or self.built_in else folder / name

    @property
    def guest_file(self) -> str | None:
        """The file's path in the guest."""
        name = self.bpf if self.bpf is not None else self.binary
        if name is None:
            return None
        base = f"{name}.bpf.o" if self.built_in else Path(name).name
        return str(GUEST_SCHEDULER_DIR / base)


class Run(Table):
    """How long, how many snapshots, which seed."""

    duration: PositiveMs | None = None
    num_snapshots: Annotated[StrictInt, Field(ge=0, le=MAX_SNAPSHOTS)] = 0
    settle: DurationMs = 0
    seed: Annotated[StrictInt, Field(ge=0, le=(1 << 63) - 1)] = 1


class Backdrop(Table):
    """What is set up before the first step and stays until the last has ended."""

    cgroups: Annotated[tuple[CgroupDef, ...], Field(max_length=64)] = ()
    ops: Annotated[tuple[AnyOp, ...], Field(max_length=MAX_OPS)] = ()


@dataclass(frozen=True, slots=True)
class Hold:
    """How long a step lasts: a fixed time, or a fraction of ``run.duration``."""

    fixed_ms: int | None = None
    fraction: float | None = None

    def milliseconds(self, duration_ms: int | None) -> int:
        """The time in ms; a fraction of an unknown duration counts as nothing."""
        if self.fixed_ms is not None:
            return self.fixed_ms
        return round((self.fraction or 0.0) * (duration_ms or 0))


HOLD_ALLOWED: Final = f"{DURATION_ALLOWED}, or {{ frac = 0.5 }} of run.duration"


def _hold(value: object) -> Hold:
    match value:
        case Hold():
            return value
        case {"frac": int(f) | float(f), **rest} if not rest and type(f) is not bool and 0 < f <= 1:
            return Hold(fraction=float(f))
        case {**_rest}:
            raise ValueError("{ frac = F } with 0.0 < F <= 1.0, or a duration")
    try:
        milliseconds = parse_duration_ms(value)
    except ValueError:
        raise ValueError(HOLD_ALLOWED) from None
    if milliseconds == 0:
        raise ValueError("a duration above zero")
    return Hold(fixed_ms=milliseconds)


HoldSpec = Annotated[
    Hold,
    PlainValidator(_hold),
    WithJsonSchema({"type": ["string", "number", "object"], "x-allowed": HOLD_ALLOWED}),
]


class Step(Table):
    """One phase: ops, then cgroups and their workers, then a hold."""

    name: Name | None = None
    hold: HoldSpec
    ops: Annotated[tuple[AnyOp, ...], Field(max_length=MAX_OPS)] = ()
    cgroups: Annotated[tuple[CgroupDef, ...], Field(max_length=64)] = ()


class Scenario(Table):
    """A whole scenario file."""

    name: Name
    description: Annotated[str, Field(max_length=4096)] = ""
    kernel: KernelSpec = "debian:7"
    vm: Vm = Field(default_factory=Vm)
    scheduler: Scheduler
    run: Run = Field(default_factory=Run)
    backdrop: Backdrop = Field(default_factory=Backdrop)
    steps: Annotated[tuple[Step, ...], Field(min_length=1, max_length=256)]
    checks: Checks = Field(default_factory=Checks)

    _source: Source = PrivateAttr(default_factory=Source)

    @property
    def source(self) -> Source:
        """The text this was read from, for mistakes found later."""
        return self._source

    def holds_ms(self) -> tuple[int, ...]:
        """Length of each step's hold in ms."""
        return tuple(step.hold.milliseconds(self.run.duration) for step in self.steps)

    def step_name(self, index: int) -> str:
        """Name of a step, counted from 0; ``step1`` and so on where none is given."""
        return self.steps[index].name or f"step{index + 1}"

    def check_levels(self) -> tuple[dict[str, bool | int | float], ...]:
        """The checks of the scheduler, then those of the scenario, which go before them."""
        return self.scheduler.checks.plain(), self.checks.plain()

    def scheduler_file(self) -> Path | None:
        """The scheduler's file on the host; ``None`` when it is built in or the kernel's own."""
        return self.scheduler.host_file(Path(self.source.file).parent)
