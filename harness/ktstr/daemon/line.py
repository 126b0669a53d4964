# SPDX-License-Identifier: GPL-2.0-only
"""The line of runs before a host: fair turns (:mod:`ktstr.daemon.queue`) for what fits
(:class:`ktstr.session.pool.Admission`). Neither waits nor looks at a clock."""

from collections.abc import Callable
from itertools import islice
from typing import Final

from ktstr.daemon.queue import FairQueue
from ktstr.session.pool import Admission, Budget, Cost

LOOK_AHEAD: Final = 64
"""How many of those that wait are looked at for one that fits beside what runs."""


class Line:
    """Who starts, and whose guest runs."""

    def __init__(self, budget: Budget, memory_free: Callable[[], int | None]) -> None:
        self.budget = budget
        self._queue = FairQueue()
        self._admission = Admission([], budget, memory_free, self.ahead)
        self._costs: dict[int, Cost] = {}

    def __len__(self) -> int:
        return self._admission.waiting

    @property
    def running(self) -> int:
        """How many have started and not ended."""
        return len(self._admission.running)

    @property
    def leased(self) -> int:
        """How many guests run."""
        return len(self._admission.leased)

    @property
    def taken(self) -> Cost:
        """What those that have started take together."""
        return self._admission.taken

    def depths(self) -> dict[str, int]:
        """How many runs of each share wait."""
        return self._queue.depths()

    def order(self) -> list[int]:
        """Those that wait, in the order of their turns as it is now."""
        return list(self._queue.order())

    def ahead(self) -> list[int]:
        """Those of them that are next, up to :data:`LOOK_AHEAD`."""
        return list(islice(self._queue.order(), LOOK_AHEAD))

    def add(self, number: int, share: str, priority: int) -> None:
        """A run waits, at a cost that is not known yet."""
        self._queue.add(number, share, priority)
        self._admission.add(number, None)

    def learn(self, number: int, cost: Cost) -> None:
        """What a run costs that waits, or has started."""
        self._costs[number] = cost
        self._admission.learn(number, cost)

    def cpus(self, number: int) -> int:
        """A run's vCPUs; 1 while they are not known."""
        return self._costs.get(number, Cost()).cpus

    def start(self) -> int | None:
        """The run to start now; None: none."""
        number = self._admission.start()
        if number is not None:
            self._queue.start(number, self.cpus(number))
        return number

    def ask(self, number: int) -> None:
        """A run wants its guest to run."""
        self._admission.ask(number)

    def lease(self) -> int | None:
        """The run whose guest is to run now; None: none."""
        return self._admission.lease()

    def leave(self, number: int) -> None:
        """A run's guest has done what it was to do, or does not want to run any more."""
        self._admission.withdraw(number)
        self._admission.give_back(number)

    def rest(self, number: int) -> None:
        """A run's guest stands for people to look at."""
        self._admission.rest(number)

    def drop(self, number: int) -> None:
        """A run that waits is not to start."""
        self._queue.drop(number)
        self._admission.drop(number)
        self._costs.pop(number, None)

    def end(self, number: int, cpu_s: float) -> None:
        """A run has ended; its guest could use ``cpu_s`` of CPU time."""
        self._queue.end(number, cpu_s)
        self._admission.end(number)
        self._costs.pop(number, None)
