# SPDX-License-Identifier: GPL-2.0-only
"""The scenario file's tables as typed, frozen objects."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, PlainValidator, PrivateAttr, StrictBool, StrictInt, WithJsonSchema

from ktstr.model.across import ScenarioChecks
from ktstr.model.cgroup_def import CgroupDef
from ktstr.model.fields import (
    DurationMs,
    KernelSpec,
    Name,
    PositiveMs,
    SizeBytes,
    Table,
    TopologySpec,
)
from ktstr.model.gauntlet_def import Constraints
from ktstr.model.locate import KeyPath
from ktstr.model.numa import MAX_NODES, NumaNode, llcs_of_nodes
from ktstr.model.op_models import MAX_OPS, AnyOp
from ktstr.model.phase_words import phase_index
from ktstr.model.scheduler_def import Scheduler
from ktstr.model.source import Source
from ktstr.model.topology import Topology
from ktstr.model.units import DURATION_ALLOWED, parse_duration_ms

Clock = Literal["wall", "virtual"]
"""What the guest's time follows: the host's, or the instructions it has executed."""

MAX_SNAPSHOTS: Final = 64
MIN_SNAPSHOT_SPACING_MS: Final = 100

JITTER_US: Final = 4000
"""Most that a seed delays the start of a worker by; a tick at 250 Hz, μs."""

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
    numa: Annotated[tuple[NumaNode, ...], Field(max_length=MAX_NODES)] = ()
    scratch_disk: SizeBytes | None = None

    @property
    def scratch_mib(self) -> int:
        """Size of the scratch disk in MiB; 0: there is none."""
        return (self.scratch_disk or 0) // _MIB

    @property
    def memory_mib(self) -> int:
        """Guest memory in MiB: that of all nodes where they are given."""
        return sum(self.node_memory_mib or (self.memory // _MIB,))

    @property
    def node_memory_mib(self) -> tuple[int, ...] | None:
        """Memory of each node in MiB; ``None``: it is shared evenly."""
        return tuple(node.memory // _MIB for node in self.numa) or None

    @property
    def node_distances(self) -> tuple[tuple[int, ...], ...] | None:
        """For each node its distance to every node; ``None``: the kernel's own."""
        rows = tuple(node.distances for node in self.numa)
        return rows if any(rows) else None

    @property
    def guest_topology(self) -> Topology:
        """The topology with its CPUs divided as the nodes say, where they are given.

        :raises ValueError: when they cannot be; a scenario that was read has no such nodes.
        """
        if not self.numa:
            return self.topology
        return self.topology.with_nodes(llcs_of_nodes(self.numa, self.topology.llcs))


class Run(Table):
    """How long, by which clock, how many snapshots, which seed; whether failures are repeated."""

    duration: PositiveMs | None = None
    num_snapshots: Annotated[StrictInt, Field(ge=0, le=MAX_SNAPSHOTS)] = 0
    settle: DurationMs = 0
    clock: Clock = "wall"
    seed: Annotated[StrictInt, Field(ge=0, le=(1 << 63) - 1)] = 1
    auto_repro: StrictBool = True

    @property
    def jitter_us(self) -> int:
        """Most that the seed delays a worker by; 0: it was not asked for, or is 0."""
        asked = self.clock == "virtual" or "seed" in self.model_fields_set
        return JITTER_US if asked and self.seed else 0


class Backdrop(Table):
    """What is set up before the first step and stays until the last has ended."""

    cgroups: Annotated[tuple[CgroupDef, ...], Field(max_length=64)] = ()
    ops: Annotated[tuple[AnyOp, ...], Field(max_length=MAX_OPS)] = ()


@dataclass(frozen=True, slots=True)
class Hold:
    """How long a step lasts: a fixed time, a fraction of ``run.duration``, or what is left of it.

    The last is a loop: the step's ops are done again every ``loop_ms``.
    """

    fixed_ms: int | None = None
    fraction: float | None = None
    loop_ms: int | None = None

    def milliseconds(self, duration_ms: int | None) -> int:
        """The time in ms; a fraction of an unknown duration counts as nothing, as does a loop."""
        if self.fixed_ms is not None:
            return self.fixed_ms
        return round((self.fraction or 0.0) * (duration_ms or 0))

    def turns(self, hold_ms: int) -> int:
        """How often the ops are done in a step of that length."""
        return 1 if self.loop_ms is None else max(1, -(-hold_ms // self.loop_ms))


HOLD_ALLOWED: Final = (
    DURATION_ALLOWED + ', or { frac = 0.5 } of run.duration, or { loop = "200ms" } until its end'
)


def _hold(value: object) -> Hold:
    match value:
        case Hold():
            return value
        case {"frac": int(f) | float(f), **rest} if not rest and type(f) is not bool and 0 < f <= 1:
            return Hold(fraction=float(f))
        case {"loop": interval, **rest} if not rest:
            return Hold(loop_ms=_above_zero(interval, "{ loop = DURATION } of a duration"))
        case {**_rest}:
            raise ValueError("{ frac = F } with 0.0 < F <= 1.0, { loop = DURATION }, or a duration")
    return Hold(fixed_ms=_above_zero(value, HOLD_ALLOWED))


def _above_zero(value: object, allowed: str) -> int:
    try:
        milliseconds = parse_duration_ms(value)
    except ValueError:
        raise ValueError(allowed) from None
    if milliseconds == 0:
        raise ValueError("a duration above zero")
    return milliseconds


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
    checks: ScenarioChecks = Field(default_factory=ScenarioChecks)
    gauntlet: Constraints = Field(default_factory=Constraints)

    _source: Source = PrivateAttr(default_factory=Source)

    @property
    def source(self) -> Source:
        """The text this was read from, for mistakes found later."""
        return self._source

    def holds_ms(self) -> tuple[int, ...]:
        """Length of each step's hold in ms; a loop takes what the others leave of the duration."""
        holds = [step.hold.milliseconds(self.run.duration) for step in self.steps]
        rest = max(0, (self.run.duration or 0) - sum(holds))
        return tuple(
            hold if step.hold.loop_ms is None else rest
            for step, hold in zip(self.steps, holds, strict=True)
        )

    def step_name(self, index: int) -> str:
        """Name of a step, counted from 0; ``step1`` and so on where none is given."""
        return self.steps[index].name or f"step{index + 1}"

    def phase_index(self, word: str) -> int | None:
        """The phase called ``word``, steps by name first; ``None``: there is none."""
        return phase_index(word, len(self.steps), self.step_name)

    def check_levels(self) -> tuple[dict[str, bool | int | float], ...]:
        """The checks of the scheduler, then those of the scenario, which go before them."""
        return self.scheduler.checks.plain(), self.checks.plain()

    @property
    def folder(self) -> Path:
        """Where relative paths start."""
        return Path(self.source.file).parent

    def scheduler_file(self) -> Path | None:
        """The scheduler's file on the host; ``None`` when it is built in or the kernel's own."""
        return self.scheduler.host_file(self.folder)

    def all_ops(self) -> Iterator[tuple[KeyPath, AnyOp]]:
        """Every op with its place, the Backdrop's first."""
        lists: list[tuple[KeyPath, tuple[AnyOp, ...]]] = [(("backdrop",), self.backdrop.ops)]
        lists += [(("steps", index), step.ops) for index, step in enumerate(self.steps)]
        for at, ops in lists:
            for index, op in enumerate(ops):
                yield (*at, "ops", index), op
