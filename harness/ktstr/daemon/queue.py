# SPDX-License-Identifier: GPL-2.0-only
"""Whose run is next: fair shares between names, priorities within them. Neither waits nor looks
at a clock.

Shares take turns by stride scheduling (C. A. Waldspurger, W. E. Weihl, "Stride Scheduling",
MIT/LCS/TM-528, 1995): each has a *pass*, what it has used divided by its weight, and the share
with the smallest is next. A share that has not waited for a while saves nothing up: it comes back
at the pass that the others have reached. So two runs of one share never wait for more than a few
of another's five hundred.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import Final

EXPECTED_S: Final = 10.0
"""How long a run is taken to use its CPUs until it is known."""

STEP: Final = 1.25
"""How much more each level of priority weighs than the one below."""


def weight(priority: int) -> float:
    """What a run of this priority weighs against the runs of other shares."""
    return float(STEP**priority)


@dataclass(slots=True)
class _Share:
    """The runs of one name.

    :ivar passed: what those that have ended used, by weight; ``running`` what those are taken to
        use that run.
    :ivar waiting: (-priority, number), in the order in which they go.
    """

    passed: float
    running: float = 0.0
    started: int = 0
    waiting: list[tuple[int, int]] = field(default_factory=list)


class FairQueue:
    """The order in which runs that wait have their turns."""

    def __init__(self) -> None:
        self._shares: dict[str, _Share] = {}
        self._runs: dict[int, tuple[str, int]] = {}
        self._charged: dict[int, float] = {}
        self._now = 0.0

    def __len__(self) -> int:
        return sum(len(share.waiting) for share in self._shares.values())

    def depths(self) -> dict[str, int]:
        """How many runs of each share wait."""
        return {name: len(share.waiting) for name, share in self._shares.items() if share.waiting}

    def add(self, number: int, share: str, priority: int = 0) -> None:
        """A run waits; ``number`` is the larger the later it came."""
        # One that is known has something under way, or has used more than the others yet.
        own = self._shares.setdefault(share, _Share(self._now))
        insort(own.waiting, (-priority, number))
        self._runs[number] = share, priority

    def order(self) -> Iterator[int]:
        """Those that wait, in the order of their turns if each were to use the same."""
        heap = [
            (share.passed + share.running, share.waiting[0][1], name, 0)
            for name, share in self._shares.items()
            if share.waiting
        ]
        heapify(heap)
        while heap:
            passed, number, name, place = heappop(heap)
            yield number
            waiting = self._shares[name].waiting
            if place + 1 < len(waiting):
                passed += EXPECTED_S / weight(-waiting[place][0])
                heappush(heap, (passed, waiting[place + 1][1], name, place + 1))

    def start(self, number: int, cpus: int) -> None:
        """A run has its turn, and is charged what it is taken to use."""
        name, priority = self._runs[number]
        own = self._shares[name]
        del own.waiting[bisect_left(own.waiting, (-priority, number))]
        self._charged[number] = cpus * EXPECTED_S / weight(priority)
        own.running += self._charged[number]
        own.started += 1

    def end(self, number: int, cpu_s: float) -> None:
        """A run has ended: the CPU time that it had takes the place of what it was charged."""
        name, priority = self._runs.pop(number)
        own = self._shares[name]
        own.started -= 1
        # Sums of fractions leave crumbs.
        own.running -= self._charged.pop(number)
        own.running = own.running if own.started else 0.0
        own.passed += cpu_s / weight(priority)
        self._tidy()

    def drop(self, number: int) -> None:
        """A run that waits is not to have a turn."""
        name, priority = self._runs.pop(number)
        waiting = self._shares[name].waiting
        del waiting[bisect_left(waiting, (-priority, number))]
        self._tidy()

    def _tidy(self) -> None:
        """See how far all have come; forget the shares that would come back as if new."""
        if not self._runs:
            self._now = 0.0
            self._shares.clear()
            return
        busy = [share.passed for share in self._shares.values() if share.waiting or share.started]
        self._now = max(self._now, min(busy))
        idle = [
            name
            for name, share in self._shares.items()
            if not share.waiting and not share.started and share.passed <= self._now
        ]
        for name in idle:
            del self._shares[name]
