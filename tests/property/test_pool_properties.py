# SPDX-License-Identifier: GPL-2.0-only
"""The pool under any costs, durations and budgets: within bounds, all once, nobody starved."""

import heapq
from dataclasses import dataclass, field

import anyio
import anyio.lowlevel
from hypothesis import given
from hypothesis import strategies as st

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


def within(costs: list[Cost], running: frozenset[int], budget: Budget) -> bool:
    """Worked out apart from the pool's own sums."""
    cpus = memory_mib = 0
    for index in running:
        cpus += costs[index].cpus
        memory_mib += costs[index].memory_mib
    return (
        (budget.jobs is None or len(running) <= budget.jobs)
        and (budget.cpus is None or cpus <= budget.cpus)
        and (budget.memory_mib is None or memory_mib <= budget.memory_mib)
    )


@dataclass
class Simulated:
    """Runs of known lengths, on a clock that jumps from one end to the next."""

    costs: list[Cost]
    lengths: list[int]
    budget: Budget
    order: list[int] = field(default_factory=list)

    def run(self) -> None:
        admission = Admission(self.costs, self.budget)
        ends: list[tuple[int, int]] = []
        now = 0
        waiting = set(range(len(self.costs)))
        first, passed = -1, 0
        while admission.waiting or ends:
            while (index := admission.start()) is not None:
                running = admission.running
                assert len(running) == 1 or within(self.costs, running, self.budget)
                if min(waiting) != first:
                    first, passed = min(waiting), 0
                waiting.remove(index)
                passed += index != first
                assert passed <= MAX_OVERTAKEN
                self.order.append(index)
                heapq.heappush(ends, (now + self.lengths[index], index))
            assert ends, "nothing runs, and nothing may start"
            now, index = heapq.heappop(ends)
            admission.end(index)


@given(st.data(), COSTS, BUDGETS)
def test_never_beyond_the_budget_each_once_and_nobody_starved(
    data: st.DataObject, costs: list[Cost], budget: Budget
) -> None:
    lengths = data.draw(
        st.lists(st.sampled_from((1, 2, 99)), min_size=len(costs), max_size=len(costs)),
        label="lengths",
    )
    simulated = Simulated(costs, lengths, budget)
    simulated.run()
    assert sorted(simulated.order) == list(range(len(costs)))


@given(COSTS, BUDGETS, st.data())
def test_the_pool_keeps_it_too(costs: list[Cost], budget: Budget, data: st.DataObject) -> None:
    naps = data.draw(st.lists(st.integers(0, 4), min_size=len(costs), max_size=len(costs)))
    ran: list[int] = []
    running: set[int] = set()

    async def work(index: int) -> None:
        running.add(index)
        assert len(running) == 1 or within(costs, frozenset(running), budget)
        for _ in range(naps[index]):
            await anyio.lowlevel.checkpoint()
        running.remove(index)
        ran.append(index)

    anyio.run(Pool(costs, budget).run, work)
    assert sorted(ran) == list(range(len(costs)))
