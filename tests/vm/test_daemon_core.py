# SPDX-License-Identifier: GPL-2.0-only
"""Runs with guests in the daemon: their events, their records, and how they are ended."""

import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from ktstr.daemon.reaper import leftovers
from ktstr.daemon.settings import Settings
from ktstr.daemon.submission import EventRow, RunRow, RunState, ScenarioText, Submission
from ktstr.daemon.supervisor import Supervisor, supervising
from ktstr.daemon.wire import submission_from_json

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]

PATIENCE_S = 120.0
SCENARIO = """
name = "daemons"
[vm]
topology = "1n1l1c1t"
[scheduler]
bpf = "scx_ktstr"
[run]
settle = "0s"
[[steps]]
hold = "{hold}"
[[steps.cgroups]]
name = "busy"
works = [{{ type = "SpinWait", workers = 2 }}]
[checks]
not_starved = true
"""


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Supervisor]:
    async with supervising(folder / "state", Settings()) as supervisor:
        yield supervisor


def wants(hold: str, **options: object) -> Submission:
    toml = SCENARIO.format(hold=hold)
    return submission_from_json(
        {"scenario": {"toml": toml, "name": "daemons"}, "options": options, "share": "tests"}
    )


async def seen(supervisor: Supervisor, row: RunRow) -> list[EventRow]:
    with anyio.fail_after(PATIENCE_S):
        return [event async for event in supervisor.follow(row.id)]


async def until(supervisor: Supervisor, row: RunRow, kind: str, **fields: object) -> EventRow:
    with anyio.fail_after(PATIENCE_S):
        async for event in supervisor.follow(row.id):
            if event.type == kind and fields.items() <= dict(event.data).items():
                return event
    pytest.fail(f"the run ended without {kind} {fields}: {await supervisor.row(row.id)}")


def guests(folder: Path) -> list[int]:
    state = folder / "state"
    return [each.pid for each in leftovers(state) if "qemu-system" in each.command.split(" ")[0]]


async def test_runs_with_guests(tmp_path: Path) -> None:
    out = tmp_path / "out"
    async with serving(tmp_path) as supervisor:
        # A record where the client wants it, under the daemon's run id; readings on the way.
        passing = await supervisor.submit(wants("1s", out_dir=str(out)))
        events = await seen(supervisor, passing)
        row = await supervisor.row(passing.id)
        assert (row.state, row.verdict, row.exit_code, row.name) == (
            RunState.FINISHED,
            "pass",
            0,
            "daemons",
        )
        assert row.sidecar == out / f"daemons-{row.id}.ktstr.json"
        assert json.loads(row.sidecar.read_text())["host"]["run_id"] == row.id
        kinds = [event.type for event in events]
        assert "step_started" in kinds and "step_ended" in kinds
        readings = [event.data["cpus"] for event in events if event.type == "reading"]
        assert len(readings) >= 2, "one every 200 ms of a second and a bit"
        # Two spinning workers on the one CPU.
        assert all(len(cpus) == 1 for cpus in readings)
        assert max(runnable for ((runnable, _, _),) in readings) >= 2
        # The first one has nothing to be compared with.
        assert max(busy for ((_, busy, _),) in readings if busy is not None) > 0.2

        # What is wrong with a scenario is said as ktstr-run says it.
        wrong = await supervisor.submit(Submission(ScenarioText('name = "x"\nnonsense = 1\n', "x")))
        await seen(supervisor, wrong)
        row = await supervisor.row(wrong.id)
        assert (row.state, row.verdict, row.exit_code) == (RunState.FINISHED, "cannot run", 4)
        assert row.error is not None and "x.toml:2: nonsense" in row.error

        # Cancelled in the middle of a step: the guest is gone, and the reason is kept.
        endless = await supervisor.submit(wants("60s"))
        await until(supervisor, endless, "step_started")
        assert guests(tmp_path)
        await supervisor.cancel(endless.id, "enough")
        await seen(supervisor, endless)
        row = await supervisor.row(endless.id)
        assert (row.state, row.error, row.sidecar) == (RunState.CANCELLED, "enough", None)
        assert not guests(tmp_path)

        # Kept: recorded, its guest stands, and others run beside it.
        kept = await supervisor.submit(wants("100ms", keep_vm=True))
        told = await until(supervisor, kept, "kept")
        (qemu,) = guests(tmp_path)
        assert told.data["qemu"] == qemu and told.data["state"] == "paused"
        names = [what for what, _ in told.data["commands"]]
        assert names[:2] == ["QMP", "serial console"]
        row = await supervisor.row(kept.id)
        assert (row.state, row.verdict) == (RunState.KEPT, "pass")
        beside = await supervisor.submit(wants("100ms"))
        await seen(supervisor, beside)
        assert (await supervisor.row(beside.id)).verdict == "pass"
        await supervisor.release(kept.id)
        await seen(supervisor, kept)
        assert (await supervisor.row(kept.id)).state is RunState.FINISHED
        assert not guests(tmp_path)
    assert not list(leftovers(tmp_path / "state"))


async def test_a_process_that_is_killed_takes_its_guest_along_and_nothing_else(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path) as supervisor:
        taken = await supervisor.submit(wants("60s"))
        await until(supervisor, taken, "step_started")
        runner = (await supervisor.row(taken.id)).pid
        assert runner is not None

        os.kill(runner, signal.SIGSEGV)
        await seen(supervisor, taken)
        row = await supervisor.row(taken.id)
        assert row.state is RunState.LOST and row.exit_code == 3
        assert row.error == "the process of the run ended without a word, by signal 11"
        assert row.evidence is not None
        names = {path.name for path in row.evidence.iterdir()}
        assert {"lost.txt", "harness.log", "runner.log"} <= names
        assert "Fatal Python error: Segmentation fault" in (row.evidence / "runner.log").read_text()
        assert not guests(tmp_path)
        again = await supervisor.submit(wants("100ms"))
        await seen(supervisor, again)
        assert (await supervisor.row(again.id)).verdict == "pass"
