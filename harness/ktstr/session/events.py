# SPDX-License-Identifier: GPL-2.0-only
"""What a run tells whoever watches it; reports render these, nothing else."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class StageStarted:
    """A stage of the run began: ``key`` is stable, ``text`` is for people."""

    key: str
    text: str


@dataclass(frozen=True, slots=True)
class StageProgress:
    """News from inside a stage; ``fraction`` from 0 to 1, or None when unknown."""

    key: str
    text: str
    fraction: float | None


@dataclass(frozen=True, slots=True)
class StageDone:
    """A stage ended after ``seconds``; ``text`` says with what."""

    key: str
    text: str
    seconds: float


@dataclass(frozen=True, slots=True)
class StepStarted:
    """A scenario step holds from now for ``hold_s`` seconds; ``name`` is empty if it has none."""

    index: int
    of: int
    name: str
    hold_s: float


@dataclass(frozen=True, slots=True)
class StepEnded:
    """A scenario step's hold is over."""

    index: int


@dataclass(frozen=True, slots=True)
class Froze:
    """A snapshot was taken, or failed (``error``); the guest stood still for ``paused_ms``.

    That is ``None`` where the guest took it itself. ``trigger`` says which write it answers; empty
    for any other.
    """

    tag: str
    offset_ms: float
    paused_ms: float | None
    maps: int
    error: str | None
    trigger: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """Something worth a line; ``warning`` when a person should look."""

    text: str
    warning: bool = False


@dataclass(frozen=True, slots=True)
class Reading:
    """What the monitor read of each CPU: runnable tasks, busy share, depth of the local queue.

    Only for those who ask (:func:`wants_readings`), at most every :data:`READING_PERIOD_MS`.

    :param elapsed_ms: workload time.
    :param cpus: by CPU number; the busy share, 0 to 1, is of the time since the reading before.
        ``None`` where it is not known.
    """

    elapsed_ms: int
    cpus: tuple[tuple[int | None, float | None, int | None], ...]


READING_PERIOD_MS: Final = 200

RunEvent = (
    StageStarted | StageProgress | StageDone | StepStarted | StepEnded | Froze | Note | Reading
)
Emit = Callable[[RunEvent], None]


def wants_readings(emit: Emit) -> bool:
    """Whether an observer takes :class:`Reading`: it says so by an attribute of that name."""
    return bool(getattr(emit, "wants_readings", False))


def ignore(event: RunEvent) -> None:
    """An observer that looks away."""
