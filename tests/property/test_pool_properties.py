# SPDX-License-Identifier: GPL-2.0-only
"""The pool under any costs, durations and budgets: within bounds, all once, nobody starved."""

import heapq
from collections.abc import Set
from dataclasses import dataclass, field

import anyio
import anyio.lowlevel
from hypothesis import given
from hypothesis import strategies as st

from ktstr.session.lease import Lease
from ktstr.session.pool import MAX_OVERTAKEN, Admission, Budget, Cost, Pool

COSTS = st.lists(
    st.builds(Cost, st.sampled_from((1, 1, 2, 8)), st.sampled_from((0, 100, 900))), max_size=30
)
BUDGETS = st.builds(
    Budget,
    jobs=st.none() | st.integers(1, 5),
    cpus=st.none() | st.integers(1, 8),
    memory_mib=st.none() | st.integers(0, 1000),
)


def within(costs: list[Cost], running: Set[int], leased: Set[int], budget: Budget) -> bool:
    """Worked out apart from the pool's own sums; one alone may exceed any of it."""
    memory_mib = sum(costs[index].memory_mib for index in running)
    vcpus = sum(costs[index].cpus for index in leased)
    return (
        (budget.jobs is None or len(running) <= budget.jobs)
        and (budget.cpus is None or vcpus <= budget.cpus or len(leased) == 1)
        and (budget.memory_mib is None or memory_mib <= budget.memory_mib or len(running) == 1)
    )


class Passed:
    """How many went before the one that was due first."""

    def __init__(self) -> None:
        self._first, self._count = -1, 0

    def gone(self, index: int, first: int) -> None:
        """One went, of those of which ``first`` was due."""
        if first != self._first:
            self._first, self._count = first, 0
        self._count += index != first
        assert self._count <= MAX_OVERTAKEN


@dataclass
class Simulated:
    """Runs that are prepared, run and end in known times, on a clock that jumps."""

    costs: list[Cost]
    lengths: list[tuple[int, int, int]]
    budget: Budget
    order: list[int] = field(default_factory=list)

    def run(self) -> None:
        admission = Admission(self.costs, self.budget)
        due: list[tuple[int, int, int]] = []
        now = 0
        waiting, asking = set(range(len(self.costs))), set[int]()
        started, let_run = Passed(), Passed()
        while admission.waiting or due:
            while (index := admission.start()) is not None:
                started.gone(index, min(waiting))
                waiting.remove(index)
                heapq.heappush(due, (now + self.lengths[index][0], 0, index))
            assert due, "nothing goes on, and nothing may start"
            now, phase, index = heapq.heappop(due)
            if phase == 0:
                admission.ask(index)
                asking.add(index)
            elif phase == 1:
                admission.give_back(index)
                heapq.heappush(due, (now + self.lengths[index][2], 2, index))
            else:
                admission.end(index)
                self.order.append(index)
            while (index := admission.lease()) is not None:
                let_run.gone(index, min(asking))
                asking.remove(index)
                heapq.heappush(due, (now + self.lengths[index][1], 1, index))
            assert within(self.costs, admission.running, admission.leased, self.budget)
        assert not asking, "one got no CPUs"


@given(st.data(), COSTS, BUDGETS)
def test_never_beyond_the_budget_each_once_and_nobody_starved(
    data: st.DataObject, costs: list[Cost], budget: Budget
) -> None:
    phase = st.sampled_from((1, 2, 99))
    lengths = data.draw(
        st.lists(st.tuples(phase, phase, phase), min_size=len(costs), max_size=len(costs)),
        label="lengths",
    )
    simulated = Simulated(costs, lengths, budget)
    simulated.run()
    assert sorted(simulated.order) == list(range(len(costs)))


@given(COSTS, BUDGETS, st.data())
def test_the_pool_keeps_it_too(costs: list[Cost], budget: Budget, data: st.DataObject) -> None:
    naps = data.draw(st.lists(st.integers(0, 4), min_size=len(costs), max_size=len(costs)))
    ran: list[int] = []
    running, leased = set[int](), set[int]()

    async def work(index: int, lease: Lease) -> None:
        running.add(index)
        await lease.enter()
        leased.add(index)
        assert within(costs, running, leased, budget)
        for _ in range(naps[index]):
            await anyio.lowlevel.checkpoint()
        leased.remove(index)
        lease.leave()
        for _ in range(naps[-index]):
            await anyio.lowlevel.checkpoint()
        running.remove(index)
        ran.append(index)

    anyio.run(Pool(costs, budget).run, work)
    assert sorted(ran) == list(range(len(costs)))
