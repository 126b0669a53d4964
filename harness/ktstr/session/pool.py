# SPDX-License-Identifier: GPL-2.0-only
"""Several runs at a time, never more than the host can carry, none of them starved.

Who may start is decided by :class:`Admission`, which neither waits nor looks at a clock;
:class:`Pool` waits and owns the runs.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import anyio

MAX_OVERTAKEN: Final = 4
"""How many later runs may start before the one whose turn it is.

Enough to fill the gap beside a large run, few enough that it waits for no more than these."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run takes of the host while it lasts.

    :param cpus: host threads that may be busy all the time: the vCPUs.
    :param memory_mib: guest memory and what QEMU needs beside it.
    """

    cpus: int = 1
    memory_mib: int = 0


@dataclass(frozen=True, slots=True)
class Budget:
    """What all running runs together may take; ``None``: no limit of that kind.

    A run that alone exceeds it runs alone.
    """

    jobs: int | None = None
    cpus: int | None = None
    memory_mib: int | None = None


class Admission:
    """Decides who starts next: in order, with a bounded number of overtakings.

    When the run whose turn it is does not fit beside those that run, a later one that fits may
    start in its place, but only :data:`MAX_OVERTAKEN` times; then all wait until it has started.

    :param memory_free: memory that is free on the host now, MiB; None when that is not known.
        Others use the host too, so this is asked beside the budget.
    """

    def __init__(
        self,
        costs: Sequence[Cost],
        budget: Budget,
        memory_free: Callable[[], int | None] = lambda: None,
    ) -> None:
        self._costs = list(costs)
        self._budget = budget
        self._memory_free = memory_free
        self._waiting = list(range(len(self._costs)))
        self._running: set[int] = set()
        self._overtaken = 0

    @property
    def waiting(self) -> int:
        """How many have not started."""
        return len(self._waiting)

    @property
    def running(self) -> frozenset[int]:
        """Those that run."""
        return frozenset(self._running)

    @property
    def taken(self) -> Cost:
        """What those that run take together."""
        costs = [self._costs[index] for index in self._running]
        return Cost(sum(cost.cpus for cost in costs), sum(cost.memory_mib for cost in costs))

    def start(self) -> int | None:
        """The index of the run to start now, which from here on counts as running; None: none."""
        if not self._waiting:
            return None
        first = self._waiting[0]
        if not self._running or self._fits(self._costs[first]):
            self._overtaken = 0
            return self._take(0)
        if self._overtaken >= MAX_OVERTAKEN:
            return None
        for place, index in enumerate(self._waiting[1:], start=1):
            if self._fits(self._costs[index]):
                self._overtaken += 1
                return self._take(place)
        return None

    def end(self, index: int) -> None:
        """A run has ended and gives back what it took."""
        self._running.remove(index)

    def give_up(self) -> None:
        """Nothing more is to start."""
        self._waiting.clear()

    def _take(self, place: int) -> int:
        index = self._waiting.pop(place)
        self._running.add(index)
        return index

    def _fits(self, cost: Cost) -> bool:
        budget, taken = self._budget, self.taken
        if budget.jobs is not None and len(self._running) >= budget.jobs:
            return False
        if budget.cpus is not None and taken.cpus + cost.cpus > budget.cpus:
            return False
        if budget.memory_mib is not None and taken.memory_mib + cost.memory_mib > budget.memory_mib:
            return False
        free = self._memory_free()
        return free is None or cost.memory_mib <= free


class Pool:
    """Runs ``work`` once for each cost, as many at a time as the budget allows.

    Each run has a cancel scope of its own; cancelling the pool from outside cancels all of them,
    and :meth:`run` returns when the last has cleaned up.
    """

    def __init__(
        self,
        costs: Sequence[Cost],
        budget: Budget,
        memory_free: Callable[[], int | None] = lambda: None,
    ) -> None:
        self.admission = Admission(costs, budget, memory_free)
        self._scopes: dict[int, anyio.CancelScope] = {}
        self._changed = anyio.Event()

    async def run(self, work: Callable[[int], Awaitable[None]]) -> None:
        """Run ``work(index)`` for every index; an exception of one ends all.

        What is to be no more than the failure of one run must be caught by ``work``.
        """
        async with anyio.create_task_group() as runs:
            while self.admission.waiting:
                index = self.admission.start()
                if index is None:
                    await self._changed.wait()
                else:
                    runs.start_soon(self._one, index, work)

    def close(self) -> None:
        """Start nothing more; what runs goes on to its end."""
        self.admission.give_up()
        self._wake()

    def cancel(self, index: int) -> None:
        """Cancel one run if it runs; the others go on."""
        if index in self._scopes:
            self._scopes[index].cancel()

    async def _one(self, index: int, work: Callable[[int], Awaitable[None]]) -> None:
        try:
            with anyio.CancelScope() as scope:
                self._scopes[index] = scope
                await work(index)
        finally:
            self._scopes.pop(index, None)
            self.admission.end(index)
            self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()
