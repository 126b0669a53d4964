# SPDX-License-Identifier: GPL-2.0-only
"""Daemons that are killed, with guests: runs end as what they are, and nothing is left behind."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from ktstr.daemon.reaper import leftovers

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]

PATIENCE_S = 120.0
ATTEMPTS = 5

SCENARIO = """
name = "killed"
[vm]
topology = "1n1l1c1t"
[scheduler]
bpf = "scx_ktstr"
[run]
settle = "0s"
num_snapshots = {snapshots}
[[steps]]
hold = "{hold}"
[[steps.cgroups]]
name = "busy"
works = [{{ type = "SpinWait", workers = 2 }}]
[checks]
not_starved = true
"""

DAEMON = """
import json, sys
from pathlib import Path
import anyio
from ktstr.daemon.submission import ScenarioText, Submission
from ktstr.daemon.settings import Settings
from ktstr.daemon.supervisor import supervising
from ktstr.daemon.wire import row_to_json, submission_from_json

async def main() -> None:
    async with supervising(Path(sys.argv[1]), Settings(grace_s=3)) as supervisor:
        for line in sys.argv[2:]:
            row = await supervisor.submit(submission_from_json(json.loads(line)))
            print(json.dumps({"taken": row.id}), flush=True)
            async for event in supervisor.follow(row.id):
                print(json.dumps({"type": event.type, **event.data}), flush=True)
        rows = [row_to_json(row) for row in await supervisor.rows()]
        print(json.dumps({"rows": rows}), flush=True)

anyio.run(main)
"""


class Daemon:
    """A supervisor in a process of its own, which runs what it is given and tells of it."""

    def __init__(self, state: Path, *submissions: dict[str, Any]) -> None:
        self.state = state
        lines = [json.dumps(each) for each in submissions]
        self.process = subprocess.Popen(
            [sys.executable, "-c", DAEMON, str(state), *lines],
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
        )

    def tells(self) -> Iterator[dict[str, Any]]:
        """What it says, until it ends."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):
                yield json.loads(line)

    def until(self, **wanted: Any) -> dict[str, Any]:
        """The first it says with these fields."""
        seen = []
        for told in self.tells():
            seen.append(told)
            if all(told.get(key) == value for key, value in wanted.items()):
                return told
        pytest.fail(f"it ended without saying {wanted}: {seen}")

    def kill(self) -> None:
        """SIGKILL; any number of times."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def rows(self) -> list[dict[str, Any]]:
        """The rows it tells of at its end."""
        rows = next(told["rows"] for told in self.tells() if "rows" in told)
        assert self.process.wait(PATIENCE_S) == 0
        found: list[dict[str, Any]] = rows
        return found


Start = Callable[..., Daemon]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts daemons, one after the other, that use the same state folder."""
    started = []

    def begin(*submissions: dict[str, Any]) -> Daemon:
        started.append(Daemon(tmp_path / "state", *submissions))
        return started[-1]

    yield begin
    for daemon in started:
        daemon.kill()
    wait_for_no_leftovers(tmp_path / "state")


def submission(hold: str = "20s", snapshots: int = 0, **options: Any) -> dict[str, Any]:
    toml = SCENARIO.format(hold=hold, snapshots=snapshots)
    return {"scenario": {"toml": toml, "name": "killed"}, "options": options}


def guests(state: Path) -> list[int]:
    """QEMU processes that a state folder's daemon is to blame for."""
    return [each.pid for each in leftovers(state) if "qemu-system" in each.command.split(" ")[0]]


def wait_for_no_leftovers(state: Path) -> float:
    """How long until nothing of the daemon's runs any more, seconds."""
    began = time.monotonic()
    while list(leftovers(state)):
        assert time.monotonic() - began < PATIENCE_S, list(leftovers(state))
        time.sleep(0.02)
    return time.monotonic() - began


def evidence(row: dict[str, Any]) -> dict[str, str]:
    folder = Path(row["evidence"])
    return {path.name: path.read_text(errors="replace") for path in folder.iterdir()}


def test_killed_during_a_boot(start: Start, tmp_path: Path) -> None:
    state = tmp_path / "state"
    daemon = start(submission(cold=True))
    daemon.until(type="stage_started", key="boot")
    assert guests(state)
    daemon.kill()
    # The guest ends by itself: nobody has to come for it.
    wait_for_no_leftovers(state)
    (row,) = start().rows()
    assert (row["state"], row["verdict"], row["exit_code"]) == ("lost", "lost", 3)
    assert row["error"] == "the daemon ended while this run was running"
    assert row["sidecar"] is None and not list(state.rglob("*.ktstr.json"))
    found = evidence(row)
    assert row["error"] in found["lost.txt"]
    assert "StageStarted" in found["harness.log"]


def test_killed_while_a_step_holds_and_the_guest_is_frozen_now_and_then(
    start: Start, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    daemon = start(submission(snapshots=30))
    daemon.until(type="froze")
    # A runner that has no time to clean up: the reaper's case.
    runner = read_pid(state)
    os.kill(runner, signal.SIGSTOP)
    daemon.kill()
    assert guests(state)
    rows = start().rows()
    assert [row["state"] for row in rows] == ["lost"]
    assert not list(leftovers(state))
    found = evidence(rows[0])
    assert f"process {runner} had to be killed" in found["lost.txt"]
    assert "Froze" in found["harness.log"]


def read_pid(state: Path) -> int:
    (note,) = state.glob("runs/*/runner.json")
    pid: int = json.loads(note.read_text())["pid"]
    return pid


def being_written(state: Path) -> Path | None:
    """The record under the name that it has until it is whole; None when that was not seen."""
    deadline = time.monotonic() + PATIENCE_S
    while not list(state.glob("runs/*/end.json")):
        if begun := list(state.glob("runs/*/.*.ktstr.json.*")):
            return begun[0]
        assert time.monotonic() < deadline, "no record"
    return None


@pytest.mark.parametrize("half_written", [True, False])
def test_killed_while_the_record_is_written(
    start: Start, tmp_path: Path, half_written: bool
) -> None:
    state = tmp_path / "state"
    begun: Path | None = None
    for _ in range(ATTEMPTS):
        daemon = start(submission(hold="200ms"))
        daemon.until(type="step_ended")
        if not half_written or (begun := being_written(state)) is not None:
            break
        # It was written unseen: another may be slower.
        daemon.rows()
        wait_for_no_leftovers(state)
        shutil.rmtree(state)
    else:
        pytest.fail(f"{ATTEMPTS} records were written unseen")
    if half_written:
        with suppress(ProcessLookupError):
            os.kill(read_pid(state), signal.SIGSTOP)
    daemon.kill()
    (row,) = start().rows()
    records = list(state.rglob("*.ktstr.json"))
    if row["state"] == "finished":
        (record,) = records
        assert json.loads(record.read_text())["verdict"] == row["verdict"] == "pass"
        assert row["sidecar"] == str(record)
    else:
        assert row["state"] == "lost" and not records
    assert begun is None or not begun.exists()
    assert not list(leftovers(state))
