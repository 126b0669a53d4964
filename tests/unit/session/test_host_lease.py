# SPDX-License-Identifier: GPL-2.0-only
"""A run's lease of its host, beside that of its pool."""

import os
from pathlib import Path

import anyio
import pytest

from ktstr.daemon.outgoing import Outgoing
from ktstr.daemon.runner import RemoteLease
from ktstr.errors import HostUnfit
from ktstr.leases.fit import Want
from ktstr.leases.host import Host
from ktstr.leases.ledger import Ledger
from ktstr.session import host_lease
from ktstr.session.events import Note, RunEvent, StageProgress, StageStarted
from ktstr.session.host_lease import HostLease, on_this_host
from ktstr.session.lease import Lease
from ktstr.session.pool import Budget, Cost, Pool

TWO = Host({0: 0, 1: 0}, memory_mib=1000)


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    found = Ledger(tmp_path / "leases", TWO)
    monkeypatch.setattr(host_lease, "shared_ledger", lambda: found)
    return found


async def test_alone_it_waits_for_nobody_and_leaves_nothing(ledger: Ledger) -> None:
    said: list[RunEvent] = []
    async with on_this_host(Lease(), Cost(2, 300), "mine", said.append) as lease:
        assert [entry.held.memory_mib for entry in ledger.entries()] == [300]
        assert lease.enter_now()
        assert isinstance(lease, HostLease)
        assert lease.cpus == frozenset({0, 1})
        lease.leave()
        # The memory stays with the run until its guest is gone.
        assert [entry.held.memory_mib for entry in ledger.entries()] == [300]
    assert ledger.entries() == []
    assert said == []


async def test_it_waits_for_another_process_and_counts_the_time(ledger: Ledger) -> None:
    other = ledger.ask(Want(1), "other")
    said: list[RunEvent] = []
    async with on_this_host(Lease(), Cost(2), "mine", said.append) as lease:
        assert not lease.enter_now()
        async with anyio.create_task_group() as group:
            group.start_soon(lease.enter)
            await anyio.sleep(0.1)
            assert not lease.held
            other.close()
        assert lease.held
        assert lease.waited_s > 0.05
    assert any(isinstance(event, StageProgress) and "(other)" in event.text for event in said)
    assert ledger.entries() == []


async def test_a_cancelled_wait_leaves_no_place_in_the_queue(ledger: Ledger) -> None:
    other = ledger.ask(Want(2), "other")
    async with on_this_host(Lease(), Cost(1), "mine", lambda event: None) as lease:
        with anyio.move_on_after(0.05):
            await lease.enter()
        assert not lease.held
        assert [entry.what for entry in ledger.entries() if entry.want.cpus] == ["other"]
    other.close()


async def test_who_asked_at_once_keeps_that_place(ledger: Ledger) -> None:
    other = ledger.ask(Want(2), "other")
    async with on_this_host(Lease(), Cost(2), "mine", lambda event: None) as lease:
        assert not lease.enter_now()
        later = ledger.ask(Want(1), "later")
        other.close()
        assert not ledger.try_again(later)
        await lease.enter()
        assert lease.held
        later.close()


async def test_memory_is_waited_for_and_told(ledger: Ledger) -> None:
    other = ledger.ask(Want(memory_mib=900), "other")
    said: list[RunEvent] = []

    async def give_back() -> None:
        await anyio.sleep(0.05)
        other.close()

    async with anyio.create_task_group() as group:
        group.start_soon(give_back)
        async with on_this_host(Lease(), Cost(1, 200), "mine", said.append):
            assert StageStarted("memory", "waiting for memory") in said


async def test_runs_of_one_pool_share_the_host_with_others(ledger: Ledger) -> None:
    pool = Pool([Cost(1), Cost(1), Cost(1)], Budget(cpus=2))
    most, now = 0, 0

    async def work(index: int, lease: Lease) -> None:
        nonlocal most, now
        async with on_this_host(lease, Cost(1), f"run {index}", lambda event: None) as own:
            await own.enter()
            now += 1
            most = max(most, now)
            assert len([entry for entry in ledger.entries() if entry.held.cpus]) == now
            await anyio.sleep(0.02)
            now -= 1
            own.leave()

    await pool.run(work)
    assert most == 2
    assert ledger.entries() == []


async def test_a_pool_of_so_many_at_a_time_crowds_itself(ledger: Ledger) -> None:
    pool = Pool([Cost(2), Cost(2)], Budget(jobs=2))
    together = anyio.Event()
    inside = 0

    async def work(index: int, lease: Lease) -> None:
        nonlocal inside
        async with on_this_host(lease, Cost(2), f"run {index}", lambda event: None) as own:
            await own.enter()
            inside += 1
            if inside == 2:
                together.set()
            with anyio.fail_after(30):
                await together.wait()

    await pool.run(work)


async def test_runs_of_a_daemon_for_so_many_crowd_each_other_across_processes(
    ledger: Ledger,
) -> None:
    reading, writing = os.pipe()
    lease = RemoteLease(Outgoing(writing), crowded=True, crowd=os.getppid())
    async with on_this_host(lease, Cost(2), "mine", lambda event: None) as own:
        async with anyio.create_task_group() as group:
            group.start_soon(own.enter)
            await anyio.wait_readable(reading)
            lease.grant()
        held = [entry.held for entry in ledger.entries() if entry.held.cpus]
        assert [(each.pid, each.crowd) for each in held] == [(os.getpid(), os.getppid())]
    os.close(reading)
    os.close(writing)


async def test_without_a_usable_ledger_runs_go_on_and_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    broken = Ledger(tmp_path / "file" / "leases", TWO)
    monkeypatch.setattr(host_lease, "shared_ledger", lambda: broken)
    said: list[RunEvent] = []
    plain = Lease()
    async with on_this_host(plain, Cost(2), "mine", said.append) as lease:
        assert lease is plain
    (note,) = said
    assert isinstance(note, Note)
    assert note.warning
    assert "KTSTR_LEASES" in note.text


async def test_a_wait_of_hours_ends_with_whom_it_waited_for(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_lease, "LONGEST_WAIT_S", 0.01)
    other = ledger.ask(Want(2), "stubborn")
    async with on_this_host(Lease(), Cost(2), "mine", lambda event: None) as lease:
        with pytest.raises(HostUnfit, match="stubborn"):
            await lease.enter()
    assert [entry.what for entry in ledger.entries()] == ["stubborn"]
    other.close()
