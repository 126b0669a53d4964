# SPDX-License-Identifier: GPL-2.0-only
"""Whatever is queued by whom: every run has its turn once, shares are fair, nobody starves."""

import heapq
from collections import Counter
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from ktstr.daemon.line import LOOK_AHEAD, Line
from ktstr.daemon.queue import EXPECTED_S, FairQueue, weight
from ktstr.session.pool import MAX_OVERTAKEN, Budget, Cost

SHARES = st.sampled_from("abc")
PRIORITIES = st.integers(-10, 10)


@given(st.lists(st.tuples(SHARES, PRIORITIES), max_size=40))
def test_within_a_share_higher_priorities_go_first_and_equal_ones_as_they_came(
    runs: list[tuple[str, int]],
) -> None:
    queue = FairQueue()
    for number, (share, priority) in enumerate(runs):
        queue.add(number, share, priority)
    order = list(queue.order())
    assert sorted(order) == list(range(len(runs)))
    for share in "abc":
        own = [number for number in order if runs[number][0] == share]
        assert own == sorted(own, key=lambda number: (-runs[number][1], number))


@given(
    st.lists(st.integers(1, 60), min_size=2, max_size=5),
    st.integers(1, 4),
    st.floats(0.01, 100.0),
)
def test_shares_with_runs_of_one_length_start_as_many_each(
    counts: list[int], at_a_time: int, used_s: float
) -> None:
    """One share queues all of its runs before the next comes; it gains nothing by it."""
    queue = FairQueue()
    names = [share for share, count in enumerate(counts) for _ in range(count)]
    for number, share in enumerate(names):
        queue.add(number, str(share))
    left, started, running = Counter(names), Counter[int](), list[int]()
    while len(queue) or running:
        while len(queue) and len(running) < at_a_time:
            number = next(queue.order())
            queue.start(number, 1)
            running.append(number)
            started[names[number]] += 1
            left[names[number]] -= 1
            behind = [started[share] for share, count in left.items() if count]
            if behind:
                assert started[names[number]] - min(behind) <= at_a_time + 1
        queue.end(running.pop(0), used_s)
    assert not left.total()


@given(st.integers(-10, 9), st.integers(2, 12))
def test_a_share_of_higher_priority_gets_more_by_its_weight(low: int, rounds: int) -> None:
    queue, used = FairQueue(), Counter[str]()
    for number in range(400):
        queue.add(2 * number, "low", low)
        queue.add(2 * number + 1, "high", low + 1)
    for _ in range(rounds * 9):
        number = next(queue.order())
        queue.start(number, 1)
        queue.end(number, 5.0)
        used["high" if number % 2 else "low"] += 1
    # 1.25 to 1 is 5 to 4 of each nine.
    assert abs(used["high"] - 5 * rounds) <= 1


def test_a_share_that_comes_back_has_saved_nothing_up() -> None:
    queue = FairQueue()
    for number in range(100):
        queue.add(number, "busy")
    for number in range(50):
        queue.start(number, 1)
        queue.end(number, EXPECTED_S)
    for number in range(100, 110):
        queue.add(number, "late")
    turns = []
    for _ in range(8):
        number = next(queue.order())
        queue.start(number, 1)
        queue.end(number, EXPECTED_S)
        turns.append(number >= 100)
    assert turns.count(True) == 4


def test_what_has_gone_is_forgotten() -> None:
    queue = FairQueue()
    queue.add(0, "steady")
    queue.start(0, 1)
    for number in range(1, 1000):
        queue.add(number, f"share {number}")
        queue.drop(number)
    assert queue.depths() == {}
    assert len(queue._shares) == 1
    queue.end(0, 1.0)
    assert not queue._shares and not queue._runs and not queue._charged


@dataclass
class Simulated:
    """Runs that come, start, run and end in known times; what they cost is known late."""

    runs: list[tuple[str, int, int, int, int, int]]
    budget: Budget
    ended: list[int] = field(default_factory=list)

    def go(self) -> None:
        line = Line(self.budget, lambda: None)
        due = [(run[4], "come", number) for number, run in enumerate(self.runs)]
        heapq.heapify(due)
        now, waiting, passed = 0, dict[int, int](), Counter[int]()
        while due:
            now, what, number = heapq.heappop(due)
            share, priority, cpus, length, _, known = self.runs[number]
            match what:
                case "come":
                    line.add(number, share, priority)
                    waiting[number] = now
                    heapq.heappush(due, (now + known, "known", number))
                case "known":
                    if number not in self.ended:
                        line.learn(number, Cost(cpus, 1))
                case "leave":
                    line.leave(number)
                    line.end(number, float(length * cpus))
                    self.ended.append(number)
            head = next(iter(line.order()), None)
            while (started := line.start()) is not None:
                # Who was before it in the order, and still is not let in, was passed over.
                passed[head] += head is not None and head != started and head in waiting
                assert head not in waiting or passed[head] <= MAX_OVERTAKEN * len(self.runs)
                del waiting[started]
                line.ask(started)
                head = next(iter(line.order()), None)
            while (let := line.lease()) is not None:
                heapq.heappush(due, (now + self.runs[let][3], "leave", let))
            cpus_limit = self.budget.cpus
            assert cpus_limit is None or line.leased <= 1 or line.taken.cpus <= cpus_limit
        assert not waiting, "some never started"


RUN = st.tuples(
    SHARES,
    PRIORITIES,
    st.integers(1, 6),
    st.integers(1, 9),
    st.integers(0, 30),
    st.integers(0, 5),
)


@given(st.lists(RUN, max_size=LOOK_AHEAD + 10), st.integers(1, 6), st.none() | st.integers(1, 3))
def test_every_run_starts_whatever_comes_and_whenever_its_cost_is_known(
    runs: list[tuple[str, int, int, int, int, int]], cpus: int, jobs: int | None
) -> None:
    budget = Budget(cpus=cpus) if jobs is None else Budget(jobs=jobs)
    simulated = Simulated(runs, budget)
    simulated.go()
    assert sorted(simulated.ended) == list(range(len(runs)))


def test_weights_are_as_documented() -> None:
    assert [round(weight(priority), 3) for priority in (-1, 0, 1, 10)] == [0.8, 1.0, 1.25, 9.313]
