# SPDX-License-Identifier: GPL-2.0-only
"""One scenario with many seeds: each seed another interleaving, each of them repeatable."""

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Protocol

import anyio

from ktstr.errors import GuestLost, OutputUnwritable
from ktstr.session.events import Emit
from ktstr.session.options import RunOptions
from ktstr.session.record import RunRecord
from ktstr.session.run import run_scenario
from ktstr.session.scopes import task_scope
from ktstr.session.seeds import Tried


class Watcher(Protocol):
    """Who is told how it goes."""

    def running(self, seed: int) -> AbstractContextManager[Emit]:
        """Around one seed's run; what it gives takes the run's events."""

    def tried(self, tried: Tried) -> None:
        """A seed's run has ended."""


SHIFTS: Final = (1, 2, 3)
"""How long an instruction may take, as powers of two of a nanosecond. A shift of 0 takes twice the
host's time of 1; with more than 3 a tick has too few instructions for the kernel to get along."""


@dataclass(slots=True)
class Exploration:
    """Which seeds are due and what became of those that were tried.

    :param vary_shift: whether the seed also says how long an instruction takes.
    :param until_fail: whether the first failing seed, in the order of ``seeds``, ends it.
    """

    seeds: Sequence[int]
    until_fail: bool = False
    vary_shift: bool = False
    tried: dict[int, Tried] = field(default_factory=dict)
    _failed: int | None = None

    def add(self, place: int, tried: Tried) -> None:
        """Take what became of the seed at ``place``."""
        self.tried[self.seeds[place]] = tried
        if tried.failed:
            self._failed = place if self._failed is None else min(place, self._failed)

    def in_order(self) -> list[Tried]:
        """What was tried, in the order in which it was due."""
        return [self.tried[seed] for seed in self.seeds if seed in self.tried]

    def first_failure(self) -> Tried | None:
        """The first seed that failed, in the order in which they were due."""
        return None if self._failed is None else self.tried[self.seeds[self._failed]]

    def shift_of(self, seed: int) -> int | None:
        """The shift that goes with a seed; ``None``: that of any run."""
        return SHIFTS[seed % len(SHIFTS)] if self.vary_shift else None

    def is_over_at(self, place: int) -> bool:
        """Whether the seed at ``place`` need not be tried: one before it has failed."""
        return self.until_fail and self._failed is not None and self._failed < place


async def explore(
    path: Path, options: RunOptions, exploration: Exploration, jobs: int, watcher: Watcher
) -> None:
    """Try the seeds, ``jobs`` at a time, and leave what became of them in ``exploration``.

    With ``until_fail`` the seeds before the one that failed are still brought to their end, so that
    the first failure does not depend on how fast the host is; those behind it are cancelled.

    :raise CannotRun: when the scenario cannot run: with another seed it could not either.
    """

    def chosen(seed: int) -> RunOptions:
        # Repeating it with probes is for whoever looks into the one seed.
        shift = exploration.shift_of(seed)
        return replace(options, clock="virtual", seed=seed, icount_shift=shift, auto_repro=False)

    waiting = iter(enumerate(exploration.seeds))
    scopes: dict[int, anyio.CancelScope] = {}

    async def take_turns() -> None:
        for place, seed in waiting:
            if exploration.is_over_at(place):
                return
            with anyio.CancelScope() as scope:
                scopes[place] = scope
                tried = await _try(path, chosen(seed), watcher)
                exploration.add(place, tried)
                watcher.tried(tried)
            del scopes[place]
            for behind, other in scopes.items():
                if exploration.is_over_at(behind):
                    other.cancel()

    # The outer scope raises what went wrong, not a group around it.
    async with task_scope(), anyio.create_task_group() as turns:
        for _ in range(min(jobs, len(exploration.seeds))):
            turns.start_soon(take_turns)


async def _try(path: Path, options: RunOptions, watcher: Watcher) -> Tried:
    began, seed = time.monotonic(), options.seed
    assert seed is not None, "the seed is what is tried"
    with watcher.running(seed) as emit:
        try:
            record: RunRecord = await run_scenario(path, options, emit)
        except GuestLost as error:
            reason = str(error).partition("\n")[0]
            wall_s = time.monotonic() - began
            return Tried(seed, "guest lost", error.exit_code, wall_s, (reason,))
    if record.output_error is not None:
        raise OutputUnwritable(record.output_error)
    return Tried.of(seed, record, time.monotonic() - began)
