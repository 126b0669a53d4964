# SPDX-License-Identifier: GPL-2.0-only
"""Which runs one command comes to: scenarios times kernels times topologies times repetitions."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from ktstr.errors import KtstrError
from ktstr.session.options import RunOptions
from ktstr.session.pool import Cost

MAX_RUNS: Final = 100_000
"""Runs of one command; beyond it a repetition was meant for something else."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One run that is due.

    :param name: the scenario's own name, once its file was read.
    :param kernel: the kernel it boots, where the command names any; None: the scenario's own.
    :param topology: the topology as it was named, where the command names any.
    :param profile: name of the flags it uses, where it is one of several of its scenario.
    :param repetition: which time this is, from 1; 0 where nothing is repeated.
    :param refused: why it cannot run.
    :param skipped: why it is not to run; empty when it is.
    :param cost: what of the host it takes while it runs.
    :param scheduler: the scheduler as it was named, where several take turns.
    """

    path: Path
    options: RunOptions
    profile: str | None = None
    kernel: str | None = None
    topology: str | None = None
    repetition: int = 0
    refused: KtstrError | None = None
    skipped: str = ""
    cost: Cost = field(default_factory=Cost)
    name: str = ""
    scheduler: str | None = None

    @property
    def variant(self) -> str:
        """What tells it from other runs of its scenario, repetitions aside; empty when nothing."""
        named = (self.topology, self.kernel, self.scheduler, self.profile)
        return ", ".join(part for part in named if part)


@dataclass(frozen=True, slots=True)
class Axes:
    """What each scenario is multiplied by.

    :param kernels: kernel specifications; none: each scenario's own.
    :param topologies: topologies or names of presets; none: each scenario's own.
    :param repeat: how often everything is run.
    """

    kernels: tuple[str, ...] = ()
    topologies: tuple[str, ...] = ()
    repeat: int = 1


def expand(turns: Iterable[Turn], axes: Axes) -> list[Turn]:
    """Every run of the matrix, in the order in which they are to start.

    All is run once before anything is run again: what fails everywhere shows early, an interrupted
    command has seen everything as often as possible, and the repetitions of one run lie apart in
    time, so that a passing disturbance of the host does not hit all of them. Within a repetition
    scenarios keep their order, and each goes through its kernels, then its topologies.

    :raise ValueError: when there would be more than :data:`MAX_RUNS`.
    """
    base = list(turns)
    count = len(base) * max(1, len(axes.kernels)) * max(1, len(axes.topologies)) * axes.repeat
    if count > MAX_RUNS:
        raise ValueError(f"{count} runs; at most {MAX_RUNS} in one command")
    once = [cell for turn in base for cell in _cells(turn, axes)]
    if axes.repeat == 1:
        return once
    return [replace(turn, repetition=time) for time in range(1, axes.repeat + 1) for turn in once]


def _cells(turn: Turn, axes: Axes) -> Iterator[Turn]:
    for kernel in axes.kernels or (None,):
        for topology in axes.topologies or (None,):
            options = turn.options
            if kernel is not None:
                options = replace(options, kernel=kernel)
            if topology is not None:
                options = replace(options, topology=topology)
            yield replace(turn, options=options, kernel=kernel, topology=topology)


def unique(words: Sequence[str]) -> tuple[str, ...]:
    """The entries of comma-separated lists, each once, in order of their first appearance."""
    found = (part.strip() for word in words for part in word.split(","))
    return tuple(dict.fromkeys(part for part in found if part))
