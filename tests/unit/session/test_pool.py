# SPDX-License-Identifier: GPL-2.0-only
"""Who may start beside whom, and what becomes of the others when one goes wrong or is cancelled."""

import anyio
import anyio.lowlevel
import pytest

from ktstr.session.lease import Lease
from ktstr.session.pool import MAX_OVERTAKEN, Admission, Budget, Cost, Pool

pytestmark = pytest.mark.anyio


def started(admission: Admission) -> list[int]:
    found = []
    while (index := admission.start()) is not None:
        found.append(index)
    return found


def leased(admission: Admission, *asking: int) -> list[int]:
    """Whose guests run from now on, when these ask for it too."""
    for index in asking:
        admission.ask(index)
    found = []
    while (index := admission.lease()) is not None:
        found.append(index)
    return found


def go(admission: Admission) -> list[int]:
    """Start what may start; whoever starts asks for CPUs at once. Whose guests run from now on."""
    found = []
    while (index := admission.start()) is not None:
        found += leased(admission, index)
    return found


def cpus(*counts: int) -> list[Cost]:
    return [Cost(count) for count in counts]


def test_guests_run_in_order_as_far_as_they_fit_and_as_many_are_prepared() -> None:
    admission = Admission(cpus(2, 1, 1, 1, 4), Budget(cpus=4))
    assert go(admission) == [0, 1, 2]
    assert admission.taken.cpus == 4
    # The last one may be prepared when nothing else is.
    assert admission.waiting == 1 and admission.running == {0, 1, 2, 3}
    admission.give_back(1)
    assert leased(admission) == [3]
    assert started(admission) == [4]
    assert admission.leased == {0, 2, 3}


def test_without_asking_nobody_gets_cpus() -> None:
    admission = Admission(cpus(1, 1, 1), Budget(cpus=2))
    assert started(admission) == [0, 1]
    assert leased(admission) == []
    # Who is ready first goes first.
    assert leased(admission, 1) == [1]
    assert leased(admission, 0) == [0]


def test_what_is_over_takes_memory_until_its_end_but_no_cpus() -> None:
    admission = Admission([Cost(1, 600)] * 4, Budget(cpus=1, memory_mib=1500))
    assert go(admission) == [0]
    admission.give_back(0)
    assert (admission.taken, admission.running) == (Cost(0, 600), {0})
    # As many are judged and written at a time as there are CPUs.
    assert started(admission) == []
    admission.end(0)
    assert go(admission) == [1]
    admission.give_back(1)
    admission.end(1)
    assert admission.taken == Cost(0, 0)


def test_memory_is_taken_from_the_start() -> None:
    admission = Admission([Cost(1, 600)] * 4, Budget(cpus=2, memory_mib=1500))
    assert started(admission) == [0, 1]
    assert leased(admission, 0, 1) == [0, 1]
    assert started(admission) == []
    admission.give_back(0)
    assert started(admission) == []
    admission.end(0)
    assert started(admission) == [2]


def test_a_guest_that_takes_all_cpus_is_left_alone() -> None:
    admission = Admission(cpus(2, 2, 1), Budget(cpus=2))
    assert go(admission) == [0]
    assert admission.running == {0}
    admission.give_back(0)
    # The last one waits while two vCPUs' worth of guests are prepared, and one that is judged.
    assert started(admission) == []
    admission.end(0)
    assert started(admission) == [1]


def test_what_exceeds_the_budget_runs_alone() -> None:
    admission = Admission(cpus(1, 16, 1), Budget(cpus=4))
    # It can be prepared only when nothing else is; a later one goes on meanwhile.
    assert go(admission) == [0, 2]
    admission.give_back(0)
    admission.end(0)
    assert go(admission) == [] and admission.running == {1, 2}
    admission.give_back(2)
    admission.end(2)
    assert leased(admission) == [1]
    assert admission.taken.cpus == 16
    admission.give_back(1)
    admission.end(1)
    assert go(admission) == [] and admission.waiting == 0


def test_a_large_guest_is_overtaken_so_often_and_no_oftener() -> None:
    # Two CPUs; the first stays on one of them, so that the large one never fits.
    admission = Admission(cpus(1, 2, *[1] * 5, 2, *[1] * 9), Budget(cpus=2))
    assert go(admission) == [0, 2]
    overtaken = [2]
    for _ in range(MAX_OVERTAKEN - 1):
        admission.give_back(overtaken[-1])
        admission.end(overtaken[-1])
        overtaken += go(admission)
    assert overtaken == [2, 3, 4, 5] and 1 in admission.running
    admission.give_back(5)
    admission.end(5)
    assert go(admission) == []
    admission.give_back(0)
    admission.end(0)
    assert leased(admission) == [1]
    # The next one may be overtaken as often again.
    admission.give_back(1)
    admission.end(1)
    assert go(admission) == [6, 8]


def test_prepared_guests_overtake_no_oftener_either() -> None:
    admission = Admission(cpus(1, 8, *[1] * 9), Budget(cpus=8))
    assert admission.start() == 0 and leased(admission, 0) == [0]
    assert started(admission) == [1, *range(2, 9)]
    assert leased(admission, *range(1, 9)) == [2, 3, 4, 5]
    admission.give_back(0)
    assert leased(admission) == []


def test_who_asks_again_waits_again() -> None:
    # A repetition with probes is a second guest of the same run.
    admission = Admission(cpus(1, 1), Budget(cpus=1))
    assert go(admission) == [0]
    admission.give_back(0)
    assert leased(admission, 0) == [0]
    admission.give_back(0)
    admission.end(0)
    assert go(admission) == [1]


def test_who_gives_up_asking_gets_nothing() -> None:
    admission = Admission(cpus(1, 1, 1), Budget(cpus=2))
    assert go(admission) == [0, 1]
    assert admission.running == {0, 1, 2}
    admission.withdraw(2)
    admission.give_back(0)
    assert leased(admission) == []


def test_memory_and_jobs_bound_it_too() -> None:
    costs = [Cost(1, 600), Cost(1, 500), Cost(1, 400)]
    assert started(Admission(costs, Budget(memory_mib=1000))) == [0, 2]
    assert started(Admission(costs, Budget(jobs=2))) == [0, 1]
    assert started(Admission(costs, Budget())) == [0, 1, 2]


def test_memory_that_others_took_is_not_counted_on() -> None:
    free = [500]
    admission = Admission([Cost(1, 600)] * 2, Budget(memory_mib=2000), lambda: free[0])
    # One alone is tried in any case: whether it can be is told where the machine is made.
    assert started(admission) == [0]
    free[0] = 600
    assert started(admission) == [1]


async def test_each_runs_once_and_places_are_reused() -> None:
    ran: list[int] = []
    most = 0
    pool = Pool(cpus(*[1] * 9), Budget(cpus=3))

    async def work(index: int, lease: Lease) -> None:
        nonlocal most
        assert not lease.held
        await lease.enter()
        most = max(most, len(pool.admission.leased))
        for _ in range(index % 4):
            await anyio.lowlevel.checkpoint()
        lease.leave()
        await anyio.lowlevel.checkpoint()
        ran.append(index)

    await pool.run(work)
    assert sorted(ran) == list(range(9))
    assert most == 3 and not pool.admission.running


async def test_the_next_is_prepared_while_a_guest_runs_and_runs_while_that_is_judged() -> None:
    events: list[str] = []
    prepared, over = anyio.Event(), anyio.Event()
    # A guest that took all CPUs would be left alone.
    pool = Pool(cpus(1, 2), Budget(cpus=2))

    async def work(index: int, lease: Lease) -> None:
        events.append(f"{index} prepared")
        if index == 1:
            prepared.set()
        await lease.enter()
        events.append(f"{index} runs")
        if index == 0:
            await prepared.wait()
            lease.leave()
            await over.wait()
        else:
            over.set()
        events.append(f"{index} judged")

    await pool.run(work)
    assert events == [
        "0 prepared",
        "0 runs",
        "1 prepared",
        "1 runs",
        "1 judged",
        "0 judged",
    ]


async def test_a_lease_is_entered_and_left_any_number_of_times() -> None:
    pool = Pool(cpus(1), Budget(cpus=1))

    async def work(index: int, lease: Lease) -> None:
        lease.leave()
        for _ in range(2):
            await lease.enter()
            assert await lease.enter() == 0.0
            assert pool.admission.leased == {0} and lease.held
            lease.leave()
            lease.leave()
            assert pool.admission.leased == set() and not lease.held
        await lease.enter()

    await pool.run(work)
    assert pool.admission.leased == set()


async def test_one_that_is_cancelled_while_it_waits_keeps_nobody_waiting() -> None:
    ended: list[str] = []
    pool = Pool(cpus(1, 2, 1), Budget(cpus=2))

    async def work(index: int, lease: Lease) -> None:
        try:
            if index == 0:
                await lease.enter()
                while 1 not in pool.admission._asking:
                    await anyio.lowlevel.checkpoint()
                pool.cancel(1)
                while 1 in pool.admission.running:
                    await anyio.lowlevel.checkpoint()
                assert pool.admission._asking <= {2}
            else:
                await lease.enter()
            ended.append(f"{index} ran")
        except anyio.get_cancelled_exc_class():
            ended.append(f"{index} cancelled")
            raise

    await pool.run(work)
    assert sorted(ended) == ["0 ran", "1 cancelled", "2 ran"]
    assert pool.admission.leased == set()


async def test_a_lease_granted_as_it_is_cancelled_is_given_back() -> None:
    pool = Pool(cpus(1, 2), Budget(cpus=2))
    impatient = anyio.CancelScope()

    async def work(index: int, lease: Lease) -> None:
        if index == 0:
            await lease.enter()
            while 1 not in pool.admission._asking:
                await anyio.lowlevel.checkpoint()
            impatient.cancel()
            # Granted before it could see that it is cancelled.
            lease.leave()
            assert pool.admission.leased == {1}
        else:
            with impatient:
                await lease.enter()
            assert impatient.cancelled_caught
            assert pool.admission.leased == set() and not lease.held

    await pool.run(work)
    assert not pool.admission.running


async def test_who_stops_waiting_is_not_granted_anything_later() -> None:
    pool = Pool(cpus(1, 2), Budget(cpus=2))
    impatient, gone = anyio.CancelScope(), anyio.Event()

    async def work(index: int, lease: Lease) -> None:
        if index == 0:
            await lease.enter()
            while 1 not in pool.admission._asking:
                await anyio.lowlevel.checkpoint()
            impatient.cancel()
            await gone.wait()
            lease.leave()
            assert pool.admission.leased == set()
        else:
            with impatient:
                await lease.enter()
            gone.set()
            await anyio.lowlevel.checkpoint()

    await pool.run(work)


async def test_by_jobs_a_run_has_its_cpus_at_once() -> None:
    most = 0
    pool = Pool(cpus(8, 8, 8, 8), Budget(jobs=2))

    async def work(index: int, lease: Lease) -> None:
        nonlocal most
        await lease.enter()
        lease.leave()
        most = max(most, len(pool.admission.running))
        await anyio.lowlevel.checkpoint()

    await pool.run(work)
    assert most == 2


async def test_one_can_be_cancelled_and_the_others_go_on() -> None:
    ended: list[str] = []
    pool = Pool(cpus(1, 1, 1), Budget(cpus=2))

    async def work(index: int, lease: Lease) -> None:
        try:
            if index == 0:
                await anyio.sleep_forever()
            pool.cancel(0)
            ended.append(f"{index} done")
        finally:
            if index == 0:
                ended.append("0 cleaned up")

    await pool.run(work)
    assert sorted(ended) == ["0 cleaned up", "1 done", "2 done"]
    pool.cancel(0)


async def test_closed_it_starts_nothing_more() -> None:
    ended: list[int] = []
    pool = Pool(cpus(*[1] * 8), Budget(cpus=2))

    async def work(index: int, lease: Lease) -> None:
        if index == 0:
            pool.close()
        await anyio.lowlevel.checkpoint()
        ended.append(index)

    await pool.run(work)
    assert set(ended) <= {0, 1} and 0 in ended


async def test_cancelled_from_outside_all_clean_up_before_it_returns() -> None:
    cleaned: list[int] = []
    pool = Pool(cpus(1, 1, 1), Budget(cpus=2))

    async def work(index: int, lease: Lease) -> None:
        try:
            if index == 1:
                scope.cancel()
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.lowlevel.checkpoint()
                cleaned.append(index)

    with anyio.CancelScope() as scope:
        await pool.run(work)
    assert sorted(cleaned) == [0, 1]


async def test_an_error_ends_all() -> None:
    pool = Pool(cpus(1, 1, 1), Budget(cpus=2))

    async def work(index: int, lease: Lease) -> None:
        if index == 1:
            raise ZeroDivisionError
        await anyio.sleep_forever()

    with pytest.raises(ExceptionGroup) as caught:
        await pool.run(work)
    assert caught.group_contains(ZeroDivisionError)
