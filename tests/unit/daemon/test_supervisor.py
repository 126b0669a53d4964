# SPDX-License-Identifier: GPL-2.0-only
"""The supervisor with real processes that follow scripts."""

import gc
import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from tests.unit.daemon.conftest import (
    PATIENCE_S,
    Serving,
    eventually,
    is_there,
    over,
    script,
    until,
)

from ktstr.daemon.submission import RunState
from ktstr.errors import ServiceRefused


async def test_a_run_goes_from_the_queue_to_its_verdict(serving: Serving) -> None:
    async with serving() as supervisor:
        taken = await supervisor.submit(
            script('event note {"text": "hello"}', "lease", "sleep 0.01", "verdict fail 1")
        )
        row = await over(supervisor, taken)
        assert (row.state, row.verdict, row.exit_code) == (RunState.FINISHED, "fail", 1)
        assert row.cpus == 1 and row.pid is None
        assert row.submitted_at <= row.started_at <= row.running_at <= row.ended_at
        events = [event async for event in supervisor.follow(taken.id)]
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        states = [event.data["state"] for event in events if event.type == "state"]
        assert list(dict.fromkeys(states)) == ["queued", "starting", "running", "finished"]
        assert [event.data for event in events if event.type == "note"] == [
            {"text": "hello", "warning": False}
        ]


async def test_who_follows_late_reads_the_same_from_the_store(serving: Serving) -> None:
    lines = ['event note {"text": "one"}', 'event reading {"elapsed_ms": 1, "cpus": []}']
    async with serving() as supervisor:
        taken = await supervisor.submit(script(*lines, 'event note {"text": "two"}'))
        live = [event async for event in supervisor.follow(taken.id)]
        assert "reading" in [event.type for event in live]
    async with serving() as supervisor:
        stored = [event async for event in supervisor.follow(taken.id)]
        assert stored == [event for event in live if event.type != "reading"]
        third = [event async for event in supervisor.follow(taken.id, stored[2].seq)]
        assert third == stored[3:]


async def test_a_run_that_cannot_be_defined_is_told_before_its_turn(serving: Serving) -> None:
    async with serving(jobs=1) as supervisor:
        first = await supervisor.submit(script("lease", "sleep 60"))
        await until(supervisor, first, "running")
        wrong = await over(supervisor, await supervisor.submit(script("refuse no such key")))
        assert (wrong.state, wrong.exit_code) == (RunState.FINISHED, 4)
        assert wrong.error == "no such key" and wrong.started_at is None
        await supervisor.cancel(first.id)
        assert (await over(supervisor, first)).state is RunState.CANCELLED


async def test_a_run_that_waits_is_cancelled_at_once(serving: Serving) -> None:
    async with serving(jobs=1) as supervisor:
        first = await supervisor.submit(script("lease", "sleep 60"))
        second = await supervisor.submit(script("sleep 60"))
        assert [row.id for row in await supervisor.waiting()] == [second.id]
        row = await supervisor.cancel(second.id, "not wanted")
        assert (row.state, row.error, row.started_at) == (RunState.CANCELLED, "not wanted", None)
        assert (await supervisor.row(first.id)).state is not RunState.CANCELLED


async def test_a_run_is_cancelled_before_it_has_a_process(serving: Serving) -> None:
    async with serving() as supervisor:
        taken = await supervisor.submit(script("lease", "sleep 60"))
        assert taken.state is RunState.STARTING and taken.pid is None
        await supervisor.cancel(taken.id, "at once")
        row = await over(supervisor, taken)
        assert (row.state, row.error) == (RunState.CANCELLED, "at once")
        events = [event.type async for event in supervisor.follow(taken.id)]
        assert set(events) == {"state"}


async def test_a_run_that_does_not_hear_is_killed(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ktstr.daemon.attempts.CANCEL_DEADLINE_S", 0.2)
    async with serving() as supervisor:
        taken = await supervisor.submit(script("deaf", "lease", "sleep 60"))
        pid = (await until(supervisor, taken, "running")).pid
        assert pid is not None
        await supervisor.cancel(taken.id)
        assert (await over(supervisor, taken)).state is RunState.CANCELLED
        # Its parent may not have come to reap it yet.
        await eventually(lambda: not is_there(f"/proc/{pid}"))


async def test_a_run_whose_process_dies_is_lost_and_says_by_what(serving: Serving) -> None:
    async with serving() as supervisor:
        row = await over(supervisor, await supervisor.submit(script("lease", "crash 11")))
        assert row.state is RunState.LOST
        assert row.error == "the process of the run ended without a word, by signal 11"
        assert row.evidence is not None
        assert row.error in (row.evidence / "lost.txt").read_text()
        # The crash is the run's own: others go on.
        after = await over(supervisor, await supervisor.submit(script("verdict pass 0")))
        assert after.verdict == "pass"


async def test_a_kept_vm_takes_no_turn_and_goes_when_released(serving: Serving) -> None:
    async with serving(jobs=1) as supervisor:
        kept = await supervisor.submit(script("lease", "kept"))
        row = await until(supervisor, kept, "kept")
        assert row.ended_at is None
        beside = await over(supervisor, await supervisor.submit(script("lease")))
        assert beside.verdict == "pass"
        await supervisor.release(kept.id)
        assert (await over(supervisor, kept)).state is RunState.FINISHED
        told = [event.data async for event in supervisor.follow(kept.id) if event.type == "kept"]
        assert [found["commands"] for found in told] == [[["a", "b"]]]


@pytest.mark.parametrize("deaf", [False, True])
async def test_a_kept_vm_that_is_cancelled_keeps_its_verdict(
    serving: Serving, monkeypatch: pytest.MonkeyPatch, deaf: bool
) -> None:
    monkeypatch.setattr("ktstr.daemon.attempts.CANCEL_DEADLINE_S", 0.2 if deaf else 20.0)
    async with serving() as supervisor:
        after = "sleep 60" if deaf else "verdict fail 1"
        kept = await supervisor.submit(script("lease", "kept fail 1", "deaf", after))
        await until(supervisor, kept, "kept")
        await supervisor.cancel(kept.id)
        row = await over(supervisor, kept)
        assert (row.verdict, row.exit_code) == ("fail", 1)
        assert row.state is RunState.FINISHED


async def test_runs_outlive_the_process_they_were_forked_from(
    serving: Serving, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    async with serving() as supervisor:
        taken = await supervisor.submit(script("lease", f"file {gate}", "verdict fail 1"))
        await until(supervisor, taken, "running")
        pid = (await supervisor.status()).fork_server
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        # Whose cost could not be asked for, because the process that tells it was just gone, starts
        # alone; so the first may not wait for it.
        later = await supervisor.submit(script("lease"))
        gate.touch()
        assert (await over(supervisor, taken)).verdict == "fail"
        assert (await over(supervisor, later)).verdict == "pass"
        assert (await supervisor.status()).fork_server not in (None, pid)


async def test_a_fork_server_that_cannot_start_is_told_and_nothing_hangs(
    serving: Serving,
) -> None:
    async with serving(work="ktstr.no_such_module") as supervisor:
        row = await over(supervisor, await supervisor.submit(script("lease")))
        assert (row.state, row.exit_code) == (RunState.FINISHED, 4)
        assert row.error is not None and "the fork server ended" in row.error


async def test_descriptors_and_processes_are_given_back(serving: Serving) -> None:
    async with serving() as supervisor:
        await over(supervisor, await supervisor.submit(script()))
        # What earlier tests left to the collector is not to be counted.
        gc.collect()
        before = len(os.listdir("/proc/self/fd"))
        for lines in (["lease"], ["crash 9"], ["refuse x"], ["raw x"]) * 5:
            await over(supervisor, await supervisor.submit(script(*lines)))
        await eventually(lambda: len(os.listdir("/proc/self/fd")) <= before)


async def test_a_flood_is_capped_and_the_run_still_ends(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ktstr.daemon.feed.MAX_EVENTS", 500)
    async with serving() as supervisor:
        taken = await supervisor.submit(script("flood 5000", "verdict fail 1"))
        row = await over(supervisor, taken)
        events = [event async for event in supervisor.follow(row.id)]
        assert row.verdict == "fail"
        assert row.events_dropped == 5000 - [event.type for event in events].count("note")
        assert 400 < len(events) < 520
        assert [event.type for event in events].count("dropped") == 1


async def test_what_is_no_message_is_counted_and_passed_over(serving: Serving) -> None:
    async with serving() as supervisor:
        lines = ["raw nonsense", "raw " + "x" * 300_000, 'event froze {"tag": 3}', "verdict skip 0"]
        row = await over(supervisor, await supervisor.submit(script(*lines)))
        assert row.verdict == "skip"
        assert row.events_dropped == 3


NONSENSE = (
    {"type": "cost", "cpus": "many", "memory_mib": 1, "name": "x"},
    {"type": "cost", "cpus": 1 << 70, "memory_mib": 1, "name": "x"},
    {"type": "cost", "cpus": 1},
    {"type": "dropped", "events": 1 << 70},
    {"type": "dropped", "events": None},
    {"type": "kept", "qemu": 1, "commands": 7},
    {"type": "event", "event": [[[]]]},
    {"type": "leave"},
    {"type": "unheard of"},
    {"type": "end", "end": "finished", "exit_code": 1 << 70, "sidecar": "no/path", "name": [1]},
)


async def test_a_runner_that_talks_nonsense_harms_nobody(serving: Serving) -> None:
    async with serving() as supervisor:
        lines = [f"raw {json.dumps(message)}" for message in NONSENSE]
        taken = await supervisor.submit(script(*lines, "crash 9"))
        row = await over(supervisor, taken)
        assert (row.state, row.exit_code, row.sidecar) == (RunState.FINISHED, None, None)
        assert row.cpus == 1 and row.name == "fake"
        assert (await over(supervisor, await supervisor.submit(script("lease")))).verdict == "pass"
    async with serving() as supervisor:
        assert await supervisor.row(taken.id) == row


async def test_runs_take_turns_within_the_budget(serving: Serving, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    async with serving() as supervisor:
        lines = ("cpus 2", "lease", f"file {gate}", "sleep 0.1")
        rows = [await supervisor.submit(script(*lines)) for _ in range(6)]
        for row in rows[:2]:
            await until(supervisor, row, "running")
        assert (await supervisor.status()).leased == 2
        gate.touch()
        most = 0
        with anyio.fail_after(2 * PATIENCE_S):
            while not all([(await supervisor.row(row.id)).state.over for row in rows]):
                status = await supervisor.status()
                most = max(most, status.leased)
                assert status.cpus <= 4
                await anyio.sleep(0.01)
        assert most <= 2


async def test_draining_ends_what_runs_and_leaves_what_waits(serving: Serving) -> None:
    async with serving(jobs=1) as supervisor:
        first = await supervisor.submit(script("lease", "sleep 0.2"))
        second = await supervisor.submit(script("verdict fail 1"))
        await supervisor.drain(PATIENCE_S)
        assert (await supervisor.row(first.id)).state is RunState.FINISHED
        assert (await supervisor.row(second.id)).state is RunState.QUEUED
        with pytest.raises(ServiceRefused, match="about to end"):
            await supervisor.submit(script())
    async with serving(jobs=1) as supervisor:
        assert (await over(supervisor, second)).verdict == "fail"
        seen = [event.seq async for event in supervisor.follow(second.id)]
        assert seen[0] == 1


async def test_a_run_that_outlives_the_drain_is_cancelled_with_the_reason(serving: Serving) -> None:
    async with serving() as supervisor:
        taken = await supervisor.submit(script("lease", "sleep 60"))
        await until(supervisor, taken, "running")
        await supervisor.drain(0.1)
        row = await supervisor.row(taken.id)
        assert (row.state, row.error) == (
            RunState.CANCELLED,
            "the daemon ended before the run had",
        )


async def test_draining_does_not_wait_for_a_vm_that_is_kept_meanwhile(serving: Serving) -> None:
    async with serving() as supervisor:
        taken = await supervisor.submit(script("lease", "sleep 0.5", "kept fail 1"))
        await until(supervisor, taken, "running")
        with anyio.fail_after(PATIENCE_S):
            await supervisor.drain(3600)
        assert (await supervisor.row(taken.id)).state is RunState.FINISHED
        assert "kept" in [event.type async for event in supervisor.follow(taken.id)]


async def test_a_second_daemon_is_refused_with_the_first_ones_pid(serving: Serving) -> None:
    async with serving():
        with pytest.raises(ServiceRefused, match=f"pid {os.getpid()}"):
            async with serving():
                pass
    async with serving():
        pass


async def test_two_daemons_with_folders_of_their_own_live_side_by_side(
    serving: Serving, tmp_path: Path
) -> None:
    from tests.unit.daemon.conftest import FAKE

    from ktstr.daemon.supervisor import supervising

    async with serving() as one, supervising(tmp_path / "other", FAKE) as two:
        assert (await over(one, await one.submit(script("verdict fail 1")))).verdict == "fail"
        assert (await over(two, await two.submit(script("verdict pass 0")))).verdict == "pass"
        assert len(await one.rows()) == len(await two.rows()) == 1


async def test_rows_come_newest_first_in_pages_and_by_state(serving: Serving) -> None:
    async with serving() as supervisor:
        rows = [
            await over(supervisor, await supervisor.submit(script(line)))
            for line in ("verdict pass 0", "crash 9", "verdict fail 1")
        ]
        assert [row.id for row in await supervisor.rows()] == [row.id for row in reversed(rows)]
        assert [row.id for row in await supervisor.rows([RunState.LOST])] == [rows[1].id]
        assert [row.id for row in await supervisor.rows(limit=1)] == [rows[2].id]
        older = await supervisor.rows(before=rows[2].id)
        assert [row.id for row in older] == [rows[1].id, rows[0].id]
        with pytest.raises(KeyError):
            await supervisor.row("20000101-000000-0000")


async def test_what_is_too_old_is_forgotten_with_its_folder(
    serving: Serving, tmp_path: Path
) -> None:
    async with serving() as supervisor:
        rows = [await over(supervisor, await supervisor.submit(script())) for _ in range(4)]
    async with serving(keep_runs=2) as supervisor:
        await eventually(lambda: len(os.listdir(tmp_path / "state/runs")) == 2)
        assert {row.id for row in await supervisor.rows()} == {row.id for row in rows[2:]}
        assert [event async for event in supervisor.follow(rows[3].id)]
    async with serving(keep_days=-1) as supervisor:
        await eventually(lambda: not os.listdir(tmp_path / "state/runs"))
        assert not await supervisor.rows()


async def test_the_fork_server_goes_when_nothing_has_been_run_for_a_while(
    serving: Serving,
) -> None:
    async with serving(linger_s=0.2) as supervisor:
        await over(supervisor, await supervisor.submit(script()))
        pid = (await supervisor.status()).fork_server
        await eventually(lambda: not is_there(f"/proc/{pid}"))
        assert (await supervisor.status()).fork_server is None
        # And comes again.
        assert (await over(supervisor, await supervisor.submit(script()))).verdict == "pass"


def test_a_database_of_a_later_version_is_refused(tmp_path: Path) -> None:
    from ktstr.daemon.store import Store

    path = tmp_path / "runs.sqlite"
    Store(path).close()
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(ServiceRefused, match="version 99"):
        Store(path)


def test_the_daemon_stays_small() -> None:
    """It must not import what only its runners need."""
    heavy = ["drgn", "numpy", "scipy", "pydantic", "qemu", "ktstr.session.run", "ktstr.introspect"]
    code = "import sys, json, ktstr.daemon.supervisor; print(json.dumps(sorted(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert set(heavy) & set(json.loads(out)) == set()
