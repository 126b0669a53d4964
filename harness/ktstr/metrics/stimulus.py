# SPDX-License-Identifier: GPL-2.0-only
"""The scenario's own timeline: step starts, step ends and the end (seed 002)."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol

from ktstr.metrics.phase import MAX_STEP_INDEX, Phase
from ktstr.telemetry.codec import U64, Coded, CountOrNone, Flag, Kind, text, text_or_nil


class StimulusRecord(Protocol):
    """What StepStart, StepEnd and ScenarioEnd frames carry (``ktstr.wire.Stimulus``)."""

    elapsed_ms: int
    step_index: int
    op_count: int
    op_kinds: int
    cgroup_count: int
    worker_count: int
    total_iterations: int


StepOrNone = Annotated[
    int | None,
    Kind(
        lambda fields, name: fields.optional(
            name, lambda step: fields.integer(step, 0, MAX_STEP_INDEX)
        )
    ),
]
"""The encoding of a phase, or none."""


@dataclass(frozen=True, slots=True)
class StimulusEvent(Coded):
    """A moment at which the scenario changed something.

    :param elapsed_ms: workload time on the guest's clock, in ms: holds, not what lies between.
    :param total_iterations: live worker iterations so far. 0 is a reading; ``None`` is none.
    :param step_index: 1-based; ``None`` for what belongs to no step.
    :param is_terminal: the end of the scenario, a right boundary only.
    :param is_step_end: the end of a step's hold.
    """

    elapsed_ms: U64
    label: Annotated[str, text(4096)]
    op_kind: Annotated[str | None, text_or_nil(4096)] = None
    detail: Annotated[str | None, text_or_nil(4096)] = None
    total_iterations: CountOrNone = None
    step_index: StepOrNone = None
    is_terminal: Flag = False
    is_step_end: Flag = False

    @classmethod
    def from_wire(cls, record: StimulusRecord) -> "StimulusEvent":
        """A step start."""
        return cls._of_step(record, "StepStart", is_step_end=False)

    @classmethod
    def from_step_end(cls, record: StimulusRecord) -> "StimulusEvent":
        """The end of a step's hold, with the same step index as its start."""
        return cls._of_step(record, "StepEnd", is_step_end=True)

    @classmethod
    def _of_step(cls, record: StimulusRecord, name: str, *, is_step_end: bool) -> "StimulusEvent":
        return cls(
            elapsed_ms=record.elapsed_ms,
            label=f"{name}[{max(record.step_index - 1, 0)}]",
            op_kind=f"ops={record.op_count}",
            detail=f"{record.cgroup_count} cgroups, {record.worker_count} workers",
            total_iterations=record.total_iterations,
            step_index=record.step_index,
            is_step_end=is_step_end,
        )

    @classmethod
    def terminal(cls, elapsed_ms: int, total_iterations: int) -> "StimulusEvent":
        """The end of the scenario."""
        return cls(
            elapsed_ms=elapsed_ms,
            label="ScenarioEnd",
            total_iterations=total_iterations,
            is_terminal=True,
        )

    @property
    def is_step_start(self) -> bool:
        """Whether it opens the phase of its step."""
        return self.step_index is not None and not self.is_step_end and not self.is_terminal

    def rate_to(self, following: "StimulusEvent") -> float | None:
        """Iterations per second up to ``following``.

        0.0 is measured standstill; ``None`` is no measurement (see :meth:`rate_components`).
        """
        components = self.rate_components(following)
        return None if components is None else components[0] / components[1]

    def rate_components(self, following: "StimulusEvent") -> tuple[float, float] | None:
        """``(iterations, seconds)`` up to ``following``.

        ``None`` when a counter is missing, the counter went backward, or no time passed.
        """
        before, after = self.total_iterations, following.total_iterations
        window_ms = following.elapsed_ms - self.elapsed_ms
        if before is None or after is None or after < before or window_ms <= 0:
            return None
        return float(after - before), window_ms / 1000.0

    def phase(self) -> Phase | None:
        """The phase it belongs to; ``None`` for the end of the scenario."""
        return None if self.step_index is None else Phase(self.step_index)


def step_starts(events: Iterable[StimulusEvent]) -> list[tuple[int, int]]:
    """``(elapsed_ms, step_index)`` of every step start, by time."""
    return sorted(
        (event.elapsed_ms, event.step_index)
        for event in events
        if event.is_step_start and event.step_index is not None
    )


def step_throughput(events: Sequence[StimulusEvent], phase: Phase) -> float | None:
    """Iterations per second of a step, from its start to its end.

    Without a step end the earliest later start bounds it, and without one the end of the scenario.
    0.0 is measured standstill; ``None`` is no measurement.
    """
    step = phase.as_u16()
    starts = [event for event in events if event.is_step_start and event.step_index == step]
    if not starts:
        return None
    start = min(starts, key=_time)
    ends = [event for event in events if event.is_step_end and event.step_index == step]
    later = [
        event for event in events if event.is_step_start and event.elapsed_ms > start.elapsed_ms
    ]
    bounds = ends or later or [event for event in events if event.is_terminal]
    return start.rate_to(min(bounds, key=_time)) if bounds else None


def throughput_ratio(
    events: Sequence[StimulusEvent], phase: Phase, baseline: Phase
) -> float | None:
    """Throughput of ``phase`` over that of ``baseline``; infinite over a standstill.

    ``None`` when either was not measured.
    """
    a, b = step_throughput(events, phase), step_throughput(events, baseline)
    if a is None or b is None:
        return None
    return a / b if b > 0.0 else math.inf


def _time(event: StimulusEvent) -> int:
    return event.elapsed_ms
