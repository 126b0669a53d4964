# SPDX-License-Identifier: GPL-2.0-only
"""``ktstr runs``: the table, ids by a part of them, and what is said where no daemon is."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from click.testing import CliRunner, Result
from structlog.testing import capture_logs
from tests.unit.daemon.served import SMALL, served, until

from ktstr.cli.main import main as ktstr
from ktstr.cli.runs import table
from ktstr.daemon.address import SOCKET_VARIABLE
from ktstr.daemon.submission import EventRow, RunRow, RunState, ScenarioText, Submission

pytestmark = pytest.mark.anyio

ROW = RunRow(
    "20261121-120000-00aa",
    RunState.QUEUED,
    Submission(ScenarioText("", "a"), priority=3, share="ci"),
    "a",
    submitted_at=1000.0,
)


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv(SOCKET_VARIABLE, str(tmp_path / "d.sock"))
    # What the daemon logs would come out between what the command prints.
    with capture_logs():
        yield tmp_path


async def invoked(*words: str) -> Result:
    return await anyio.to_thread.run_sync(lambda: CliRunner().invoke(ktstr, ["runs", *words]))


def test_a_line_says_where_each_run_is() -> None:
    rows = [
        ROW,
        replace(ROW, state=RunState.RUNNING, started_at=1010.0, name="evil\x1b[2Jname"),
        replace(ROW, state=RunState.FINISHED, verdict="fail", started_at=1010.0, ended_at=1012.5),
        replace(ROW, state=RunState.LOST, verdict="lost", started_at=1010.0, ended_at=1012.0),
        replace(ROW, state=RunState.CANCELLED, ended_at=1004.0),
    ]
    assert [line.split(None, 3) for line in table(rows, now=8212.5)] == [
        ["20261121-120000-00aa", "queued", "a", "ci +3  waits 2 h"],
        ["20261121-120000-00aa", "running", "evil?[2Jname", "ci +3  for 2 h"],
        ["20261121-120000-00aa", "fail", "a", "ci +3  took 2.5 s, 2 h ago"],
        ["20261121-120000-00aa", "lost", "a", "ci +3  took 2.0 s, 2 h ago"],
        ["20261121-120000-00aa", "cancelled", "a", "ci +3  waits 4.0 s"],
    ]
    assert len({line.index("ci +3") for line in table(rows, now=8212.5)}) == 1
    assert list(table([], 0.0)) == []


@pytest.mark.parametrize("words", [[], ["cancel", "x"], ["release", "x"], ["follow", "x"]])
async def test_without_a_daemon_it_says_how_to_start_one(words: list[str]) -> None:
    done = await invoked(*words)
    assert done.exit_code == 4
    assert "ktstr serve" in done.output


async def test_runs_are_listed_and_told_by_a_part_of_their_ids(place: Path) -> None:
    async with served(place) as site:
        empty = await invoked()
        assert (empty.exit_code, empty.output) == (0, "no runs\n")
        for _ in range(2):
            await site.ask("POST", "/v1/runs", SMALL)
        listed = await invoked()
        assert [line.split()[0] for line in listed.output.splitlines()] == [
            "20261121-120000-0001",
            "20261121-120000-0000",
        ]
        assert (await invoked("-n", "1")).output.count("\n") == 1
        assert '"runs"' in (await invoked("--json")).output
        several = await invoked("cancel", "20261121")
        assert (several.exit_code, "2 runs" in several.output) == (4, True)
        none = await invoked("cancel", "ffff")
        assert (none.exit_code, "no run" in none.output) == (4, True)
        done = await invoked("cancel", "0001")
        assert done.output == "20261121-120000-0001: cancelled\n"
        again = await invoked("cancel", "0001")
        assert (again.exit_code, "is over" in again.output) == (4, True)
        wrong = await invoked("--state", "asleep")
        assert (wrong.exit_code, "queued" in wrong.output) == (4, True)


async def test_following_tells_events_and_ends_by_the_verdict(place: Path) -> None:
    async with served(place) as site:
        run_id = (await site.ask("POST", "/v1/runs", SMALL)).json["id"]
        site.supervisor.tell(run_id, "note", {"text": "hello\x1b[2J", "warning": True})
        site.supervisor.tell(run_id, "unheard_of", {})
        site.supervisor.change(
            run_id, state=RunState.FINISHED, verdict="lost", exit_code=3, error="gone", hint="look"
        )
        done = await invoked("follow", run_id)
        assert done.exit_code == 3
        assert "warning: hello?[2J" in done.output
        assert done.output.endswith(f"{run_id}: lost\n  gone\n  hint: look\n")


async def test_a_follower_that_was_dropped_comes_again_and_sees_each_event_once(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(place) as site:
        run_id = (await site.ask("POST", "/v1/runs", SMALL)).json["id"]
        site.supervisor.tell(run_id, "note", {"text": "first", "warning": False})
        whole, asked = site.supervisor.follow, []

        async def follow(run_id: str, after_seq: int = 0) -> AsyncIterator[EventRow]:
            asked.append(after_seq)
            if len(asked) == 1:
                yield site.supervisor.events[run_id][0]
                return
            site.supervisor.tell(run_id, "note", {"text": "second", "warning": False})
            site.supervisor.change(run_id, state=RunState.CANCELLED, exit_code=4)
            async for event in whole(run_id, after_seq):
                yield event

        monkeypatch.setattr(site.supervisor, "follow", follow)
        done = await invoked("follow", run_id)
        assert asked == [0, 1]
        assert done.output.count("first") == done.output.count("second") == 1
        assert done.output.endswith(f"{run_id}: cancelled\n")


async def test_following_ends_with_the_daemon(place: Path) -> None:
    async with served(place) as site:
        run_id = (await site.ask("POST", "/v1/runs", SMALL)).json["id"]
        async with anyio.create_task_group() as group:

            async def follow() -> None:
                done = await invoked("follow", run_id)
                assert (done.exit_code, "the daemon ended" in done.output) == (4, True)

            group.start_soon(follow)
            await until(lambda: site.supervisor.followers > 0, "it follows")
            site.closing.set()
