# SPDX-License-Identifier: GPL-2.0-only
"""What a run tells whoever watches it; reports render these, nothing else."""

from collections.abc import Callable
from dataclasses import dataclass


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


RunEvent = StageStarted | StageProgress | StageDone | StepStarted | StepEnded | Froze | Note
Emit = Callable[[RunEvent], None]


def ignore(event: RunEvent) -> None:
    """An observer that looks away."""
