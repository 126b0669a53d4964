# SPDX-License-Identifier: GPL-2.0-only
"""Several runs at a time, never more than the host can carry, none of them starved.

A run goes through three states: it is prepared, its guest runs, it is judged and written. Memory is
its own in all three, CPUs only in the second, under a lease (:mod:`ktstr.session.lease`). Who may
start and who gets CPUs is decided by :class:`Admission`, which neither waits nor looks at a clock;
:class:`Pool` waits and owns the runs.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import anyio

from ktstr.session.lease import Lease

MAX_OVERTAKEN: Final = 4
"""How many later runs may start, or get CPUs, before the one whose turn it is.

Enough to fill the gap beside a large run, few enough that it waits for no more than these."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run takes of the host.

    :param cpus: host threads that may be busy all the time while its guest runs: the vCPUs.
    :param memory_mib: guest memory and what QEMU needs beside it, from its start to its end.
    """

    cpus: int = 1
    memory_mib: int = 0


@dataclass(frozen=True, slots=True)
class Budget:
    """What all runs together may take; ``None``: no limit of that kind.

    A run that alone exceeds it runs alone.

    :param jobs: runs from their start to their end; none is prepared beside so many.
    :param cpus: vCPUs of guests that run. While they do, guests with as many vCPUs may be prepared,
        and the runs of as many be judged and written.
    """

    jobs: int | None = None
    cpus: int | None = None
    memory_mib: int | None = None


class Admission:
    """Decides who starts next, and whose guest runs: in order, but for a few overtakings.

    When the run whose turn it is does not fit beside the others, a later one that fits may go in
    its place, but only :data:`MAX_OVERTAKEN` times; then all wait until it has gone.

    A guest that takes all CPUs is left alone: nothing is prepared beside it.

    Runs may come later (:meth:`add`), also before their cost is known: until then such a run starts
    only where no other is, and none beside it.

    :param order: gives those that wait in the order of their turns; without it they keep the one in
        which they came. A run whose turn has come keeps it, whoever would be before it later.
    :param memory_free: memory that is free on the host now, MiB; None when that is not known.
        Others use the host too, so this is asked beside the budget.
    """

    def __init__(
        self,
        costs: Sequence[Cost],
        budget: Budget,
        memory_free: Callable[[], int | None] = lambda: None,
        order: Callable[[], Iterable[int]] | None = None,
    ) -> None:
        self._costs: dict[int, Cost | None] = dict(enumerate(costs))
        self._budget = budget
        self._memory_free = memory_free
        self._order = order
        # A map, because a run may leave it from anywhere.
        self._waiting = dict.fromkeys(self._costs)
        self._turn: int | None = None
        self._started: set[int] = set()
        self._asking: set[int] = set()
        self._leased: set[int] = set()
        self._done: set[int] = set()
        self._resting: set[int] = set()
        self._overtaken = 0
        self._passed_over = 0

    @property
    def crowded(self) -> bool:
        """Whether runs may be on CPUs of others."""
        return self._budget.cpus is None

    @property
    def waiting(self) -> int:
        """How many have not started."""
        return len(self._waiting)

    @property
    def running(self) -> frozenset[int]:
        """Those that have started and not ended."""
        return frozenset(self._started)

    @property
    def leased(self) -> frozenset[int]:
        """Those whose guests run."""
        return frozenset(self._leased)

    @property
    def taken(self) -> Cost:
        """What the runs take together: vCPUs of guests that run, and memory of all."""
        memory_mib = sum(self._cost(index).memory_mib for index in self._started)
        return Cost(sum(self._cost(index).cpus for index in self._leased), memory_mib)

    def add(self, index: int, cost: Cost | None) -> None:
        """One more run waits; ``index`` is the larger the later it came."""
        self._costs[index] = cost
        self._waiting[index] = None

    def learn(self, index: int, cost: Cost) -> None:
        """What a run costs that has been added."""
        self._costs[index] = cost

    def drop(self, index: int) -> None:
        """A run that waits is not to start."""
        del self._waiting[index], self._costs[index]

    def start(self) -> int | None:
        """The index of the run to start now, which from here on counts as running; None: none."""
        if not self._waiting:
            return None
        if self._turn not in self._waiting:
            self._turn = next(iter(self._in_turn()))
            self._overtaken = 0
        if self._started <= self._resting or self._may_start(self._turn):
            return self._begin(self._turn)
        if self._overtaken >= MAX_OVERTAKEN:
            return None
        for index in self._in_turn():
            if index != self._turn and self._may_start(index):
                self._overtaken += 1
                return self._begin(index)
        return None

    def ask(self, index: int) -> None:
        """A run that has started wants its guest to run."""
        self._done.discard(index)
        self._asking.add(index)

    def withdraw(self, index: int) -> None:
        """It no longer wants that."""
        self._asking.discard(index)

    def lease(self) -> int | None:
        """The index of the run whose guest is to run now, and counts from here on; None: none."""
        asking = sorted(self._asking)
        if not asking:
            return None
        if self._has_room(asking[0]):
            self._passed_over = 0
            return self._let_run(asking[0])
        if self._passed_over < MAX_OVERTAKEN:
            for index in asking[1:]:
                if self._has_room(index):
                    self._passed_over += 1
                    return self._let_run(index)
        return None

    def give_back(self, index: int) -> None:
        """A run's guest has done what it was to do."""
        if index in self._leased:
            self._leased.remove(index)
            self._done.add(index)

    def rest(self, index: int) -> None:
        """A run has done all but to end: it takes memory, and is no reason for others to wait."""
        self._done.discard(index)
        self._resting.add(index)

    def end(self, index: int) -> None:
        """A run has ended and gives back all that it took."""
        self._started.remove(index)
        del self._costs[index]
        for some in (self._asking, self._leased, self._done, self._resting):
            some.discard(index)

    def give_up(self) -> None:
        """Nothing more is to start."""
        self._waiting.clear()

    def _in_turn(self) -> Iterable[int]:
        return self._waiting if self._order is None else self._order()

    def _begin(self, index: int) -> int:
        del self._waiting[index]
        self._started.add(index)
        return index

    def _let_run(self, index: int) -> int:
        self._asking.remove(index)
        self._leased.add(index)
        return index

    def _cpus(self, index: int) -> int:
        """A run's vCPUs, but no more than there are CPUs: it may run where no other does."""
        cpus = self._cost(index).cpus
        return cpus if self._budget.cpus is None else min(cpus, self._budget.cpus)

    def _cost(self, index: int) -> Cost:
        """A run's cost, the least there is while it is not known."""
        return self._costs[index] or Cost()

    def _free_cpus(self, cpus: int) -> int:
        return cpus - sum(self._cpus(index) for index in self._leased)

    def _has_room(self, index: int) -> bool:
        cpus = self._budget.cpus
        return cpus is None or self._cpus(index) <= self._free_cpus(cpus)

    def _may_start(self, index: int) -> bool:
        budget, cost = self._budget, self._costs[index]
        if cost is None or any(self._costs[other] is None for other in self._started):
            return False
        if budget.jobs is not None and len(self._started - self._resting) >= budget.jobs:
            return False
        if budget.cpus is not None and not self._may_prepare(index, budget.cpus):
            return False
        if (
            budget.memory_mib is not None
            and self.taken.memory_mib + cost.memory_mib > budget.memory_mib
        ):
            return False
        free = self._memory_free()
        return free is None or cost.memory_mib <= free

    def _may_prepare(self, index: int, cpus: int) -> bool:
        """Whether another run may start: soon its guest can run, or at once in place of another."""
        if any(self._cpus(running) >= cpus for running in self._leased):
            return False
        if sum(map(self._cpus, self._done)) >= cpus:
            return False
        own = self._cpus(index)
        others = self._started - self._leased - self._done - self._resting
        prepared = [self._cpus(other) for other in others]
        if sum(prepared) + own <= cpus:
            return True
        free = self._free_cpus(cpus)
        due = sum(other for other in prepared if other <= free)
        return due + own <= free and self._passed_over < MAX_OVERTAKEN


class _Leased(Lease):
    """A lease that a pool gives."""

    shared = True

    def __init__(self, pool: "Pool", index: int) -> None:
        super().__init__()
        # So many at a time, whatever they ask of the CPUs.
        self.crowded = pool.admission.crowded
        self._pool = pool
        self._index = index

    async def _granted(self) -> None:
        await self._pool._lease(self._index)

    def _given_back(self) -> None:
        self._pool._give_back(self._index)


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
        self._granted: dict[int, anyio.Event] = {}
        self._changed = anyio.Event()

    async def run(self, work: Callable[[int, Lease], Awaitable[None]]) -> None:
        """Run ``work(index, lease)`` for every index; an exception of one ends all.

        ``work`` enters the lease before a guest runs; it is left at the latest when ``work`` ends.
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
        self._grant()

    def cancel(self, index: int) -> None:
        """Cancel one run if it runs; the others go on."""
        if index in self._scopes:
            self._scopes[index].cancel()

    async def _one(self, index: int, work: Callable[[int, Lease], Awaitable[None]]) -> None:
        try:
            with anyio.CancelScope() as scope:
                self._scopes[index] = scope
                await work(index, _Leased(self, index))
        finally:
            self._scopes.pop(index, None)
            self.admission.end(index)
            self._grant()

    async def _lease(self, index: int) -> None:
        granted = self._granted[index] = anyio.Event()
        self.admission.ask(index)
        self._grant()
        try:
            await granted.wait()
        except BaseException:
            if granted.is_set():
                self.admission.give_back(index)
            raise
        finally:
            del self._granted[index]
            self.admission.withdraw(index)
            self._grant()

    def _give_back(self, index: int) -> None:
        self.admission.give_back(index)
        self._grant()

    def _grant(self) -> None:
        """Let run whose guests may, and look who may start."""
        while (index := self.admission.lease()) is not None:
            self._granted[index].set()
        self._changed.set()
        self._changed = anyio.Event()
