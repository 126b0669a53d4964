# SPDX-License-Identifier: GPL-2.0-only
"""A daemon that is killed: what it had acknowledged is there, what it ran has an end."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.daemon.conftest import Serving, eventually, over, script, until

from ktstr.daemon.paths import END, Paths, write_note
from ktstr.daemon.reaper import end_leftovers, leftovers, reap, start_ticks
from ktstr.daemon.store import Change, Store
from ktstr.daemon.submission import EventRow, RunRow, RunState

ENDLESS = """
import sys
from pathlib import Path
import anyio
from ktstr.daemon.submission import ScenarioText, Submission
from ktstr.daemon.settings import Settings
from ktstr.daemon.supervisor import supervising
from ktstr.session.room import Room

async def main():
    settings = Settings(work="ktstr.testing.fake_runner", jobs=2, room=lambda: Room(4, 4000))
    async with supervising(Path(sys.argv[1]), settings) as supervisor:
        while True:
            text = "lease\\nsleep 0.1" if sys.argv[2] == "short" else "lease\\nsleep 60"
            row = await supervisor.submit(Submission(ScenarioText(text, "fake")))
            print(row.id, flush=True)
            await anyio.sleep(0.005)

anyio.run(main)
"""


def killed_after(state: Path, acknowledged: int, length: str, running: int = 0) -> list[str]:
    """Submit without an end, and kill the daemon once it has acknowledged and runs so many."""
    command = [sys.executable, "-c", ENDLESS, str(state), length]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as daemon:
        assert daemon.stdout is not None
        ids = []
        while len(ids) < acknowledged or running > 0:
            line = daemon.stdout.readline().strip()
            assert line or daemon.poll() is None
            # The other lines are its log.
            running -= "state=running" in line
            if line and " " not in line:
                ids.append(line)
        daemon.kill()
        ids += [line for line in daemon.stdout.read().split("\n")[:-1] if " " not in line]
    return [run_id for run_id in ids if run_id]


async def test_nothing_that_was_acknowledged_is_lost(serving: Serving, tmp_path: Path) -> None:
    ids = killed_after(tmp_path / "state", 60, "short")
    async with serving(jobs=2) as supervisor:
        rows = {run_id: await supervisor.row(run_id) for run_id in ids}
        assert len(rows) == len(ids) >= 60
        for row in rows.values():
            if not row.state.over:
                await over(supervisor, row)
        ended = [await supervisor.row(run_id) for run_id in ids]
        assert {row.state for row in ended} <= {RunState.FINISHED, RunState.LOST}
        # Only those that were under way, or about to be, can be lost.
        assert [row.state for row in ended].count(RunState.LOST) <= 2 + 4


async def test_what_ran_is_lost_and_its_processes_are_gone(
    serving: Serving, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    ids = killed_after(state, 5, "long", running=2)
    async with serving(jobs=2) as supervisor:
        lost = await supervisor.rows([RunState.LOST])
        assert {row.id for row in lost} == set(ids[:2])
        for row in lost:
            assert row.error == f"the daemon ended while this run was {row_state(row)}"
            assert row.exit_code == 3 and row.pid is None
            events = [event async for event in supervisor.follow(row.id)]
            assert events[-1].data["state"] == "lost"
        # Those that waited have their turns now, in their order.
        for run_id in ids[2:4]:
            await until(supervisor, await supervisor.row(run_id), "running")
    assert not list(leftovers(state))


def row_state(row: RunRow) -> str:
    return "starting" if row.running_at is None else "running"


def a_row(run_id: str, state: RunState) -> RunRow:
    return RunRow(run_id, state, script(), "fake", 1.0, started_at=2.0)


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    found = Paths(tmp_path / "state")
    found.make()
    return found


ID = "20260101-000000-abcd"


@pytest.mark.parametrize(
    ("end", "state", "verdict", "code"),
    [
        ({"end": "finished", "verdict": "fail", "exit_code": 1}, "finished", "fail", 1),
        ({"end": "cancelled"}, "cancelled", None, None),
        ({"end": "lost", "error": "the daemon was gone"}, "lost", "lost", 3),
        (None, "lost", "lost", 3),
        ({"end": "finished", "verdict": 7, "exit_code": "x", "at": "y"}, "finished", None, None),
    ],
)
def test_a_run_ends_as_its_folder_says(
    paths: Paths, end: dict[str, object] | None, state: str, verdict: str | None, code: int | None
) -> None:
    folder = paths.run(ID)
    folder.mkdir()
    if end is not None:
        write_note(folder / END, end)
    (row,) = reap(paths, [(a_row(ID, RunState.RUNNING), None)])
    assert (row.state.value, row.verdict, row.exit_code) == (state, verdict, code)


def test_a_whole_record_without_a_last_word_is_a_finished_run(paths: Paths) -> None:
    folder = paths.run(ID)
    folder.mkdir()
    record = folder / f"fake-{ID}.ktstr.json"
    record.write_text(
        '{\n "schema": 3,\n "name": "other",\n "verdict": "inconclusive",\n "exit_code": 2,\n'
        ' "error": null,\n "metrics": {}\n}\n'
    )
    (row,) = reap(paths, [(a_row(ID, RunState.RUNNING), None)])
    assert (row.state, row.verdict, row.exit_code) == (RunState.FINISHED, "inconclusive", 2)
    assert (row.name, row.sidecar) == ("other", record)


def test_a_kept_run_has_its_verdict_already(paths: Paths) -> None:
    paths.run(ID).mkdir()
    kept = replace(a_row(ID, RunState.KEPT), verdict="fail", exit_code=1, sidecar=Path("/x"))
    (row,) = reap(paths, [(kept, None)])
    assert (row.state, row.verdict, row.exit_code) == (RunState.FINISHED, "fail", 1)
    assert row.sidecar == Path("/x") and row.ended_at is not None


def test_what_is_left_of_a_lost_run_becomes_its_evidence(paths: Paths) -> None:
    scratch = paths.run(ID) / "scratch" / "ktstr-1"
    scratch.mkdir(parents=True)
    (scratch / "console.log").write_text("a panic")
    (scratch / "ram").write_bytes(b"\0" * 1000)
    (scratch / "link.log").symlink_to("/etc/passwd")
    half = paths.run(ID) / f".fake-{ID}.ktstr.json.abc"
    half.write_text("{")
    last = EventRow(ID, 7, 0.5, "step_started", {"index": 1})
    (row,) = reap(paths, [(a_row(ID, RunState.RUNNING), last)])
    assert row.evidence is not None
    found = {path.name: path.read_text() for path in row.evidence.iterdir()}
    assert found.pop("lost.txt").splitlines() == [
        "the daemon ended while this run was running",
        f"run {ID}, fake",
        'the last it said, at 1970-01-01T00:00:00.500+00:00: step_started {"index": 1}',
    ]
    assert found == {"console.log": "a panic"}
    assert not half.exists() and not scratch.exists()


def test_a_run_whose_process_was_never_begun_waits_again(paths: Paths) -> None:
    paths.run(ID).mkdir()
    (row,) = reap(paths, [(a_row(ID, RunState.STARTING), None)])
    assert (row.state, row.started_at) == (RunState.QUEUED, None)


def test_processes_of_other_state_folders_are_left_alone(paths: Paths) -> None:
    environment = {**os.environ, "KTSTR_DAEMON_STATE": f"{paths.state}-other"}
    with subprocess.Popen(["sleep", "60"], env=environment) as other:
        assert end_leftovers(paths.state, 0.0) == []
        assert other.poll() is None
        other.kill()


def test_processes_that_do_not_end_are_killed_and_named(paths: Paths) -> None:
    environment = {**os.environ, "KTSTR_DAEMON_STATE": str(paths.state)}
    with subprocess.Popen(["sleep", "60"], env=environment) as deaf:
        while not list(leftovers(paths.state)):
            time.sleep(0.01)
        (found,) = end_leftovers(paths.state, 0.05)
        assert (found.pid, found.command) == (deaf.pid, "sleep 60")
        assert deaf.wait() == -signal.SIGKILL


def test_when_a_process_started_is_read_past_any_name() -> None:
    own = start_ticks(os.getpid())
    assert own is not None and own > 0
    assert start_ticks(2**22 + 1) is None


async def test_a_submission_of_another_version_ends_and_says_so(
    serving: Serving, tmp_path: Path
) -> None:
    paths = Paths(tmp_path / "state")
    paths.make()
    store = Store(paths.database)
    store.write(Change([a_row(ID, RunState.QUEUED)]))
    text = json.dumps({"unknown_option": 1})
    store._database.execute(
        "UPDATE runs SET row = json_set(row, '$.submission.options', json(?))", (text,)
    )
    store.close()
    async with serving() as supervisor:
        await eventually(lambda: True)
        row = await supervisor.row(ID)
        assert row.state is RunState.LOST
        assert row.error is not None and "unknown_option" in row.error
        assert (await over(supervisor, await supervisor.submit(script()))).verdict == "pass"
