# SPDX-License-Identifier: GPL-2.0-only
"""Who may start beside whom, and what becomes of the others when one goes wrong or is cancelled."""

import anyio
import anyio.lowlevel
import pytest

from ktstr.session.pool import MAX_OVERTAKEN, Admission, Budget, Cost, Pool

pytestmark = pytest.mark.anyio


def started(admission: Admission) -> list[int]:
    found = []
    while (index := admission.start()) is not None:
        found.append(index)
    return found


def cpus(*counts: int) -> list[Cost]:
    return [Cost(count) for count in counts]


def test_in_order_as_far_as_it_fits() -> None:
    admission = Admission(cpus(2, 1, 1, 1), Budget(cpus=4))
    assert started(admission) == [0, 1, 2]
    assert admission.taken.cpus == 4
    admission.end(1)
    assert started(admission) == [3]
    assert admission.waiting == 0 and admission.running == {0, 2, 3}


def test_what_exceeds_the_budget_runs_alone() -> None:
    admission = Admission(cpus(1, 16, 1), Budget(cpus=4))
    assert started(admission) == [0, 2]
    admission.end(0)
    assert started(admission) == []
    admission.end(2)
    assert started(admission) == [1]
    admission.end(1)
    assert started(admission) == [] and admission.waiting == 0


def test_a_large_run_is_overtaken_so_often_and_no_oftener() -> None:
    # Two places; the first stays in one of them, so that the large run never fits.
    admission = Admission(cpus(1, 2, *[1] * 20), Budget(cpus=2))
    assert started(admission) == [0, 2]
    overtaken = [2]
    while len(overtaken) < MAX_OVERTAKEN:
        admission.end(overtaken[-1])
        overtaken += started(admission)
    admission.end(overtaken[-1])
    assert started(admission) == []
    admission.end(0)
    assert started(admission) == [1]
    # The next one may be overtaken as often again.
    admission.end(1)
    assert started(admission) == [6, 7]


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

    async def work(index: int) -> None:
        nonlocal most
        most = max(most, len(pool.admission.running))
        for _ in range(index % 4):
            await anyio.lowlevel.checkpoint()
        ran.append(index)

    await pool.run(work)
    assert sorted(ran) == list(range(9))
    assert most == 3 and not pool.admission.running


async def test_one_can_be_cancelled_and_the_others_go_on() -> None:
    ended: list[str] = []
    pool = Pool(cpus(1, 1, 1), Budget(cpus=2))

    async def work(index: int) -> None:
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

    async def work(index: int) -> None:
        if index == 0:
            pool.close()
        await anyio.lowlevel.checkpoint()
        ended.append(index)

    await pool.run(work)
    assert set(ended) <= {0, 1} and 0 in ended


async def test_cancelled_from_outside_all_clean_up_before_it_returns() -> None:
    cleaned: list[int] = []
    pool = Pool(cpus(1, 1, 1), Budget(cpus=2))

    async def work(index: int) -> None:
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

    async def work(index: int) -> None:
        if index == 1:
            raise ZeroDivisionError
        await anyio.sleep_forever()

    with pytest.raises(ExceptionGroup) as caught:
        await pool.run(work)
    assert caught.group_contains(ZeroDivisionError)
