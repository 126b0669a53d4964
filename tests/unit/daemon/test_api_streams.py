# SPDX-License-Identifier: GPL-2.0-only
"""Events over HTTP: past and future, returning clients, clients that vanish or do not take."""

import socket
import struct
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from tests.unit.daemon.served import SMALL, Served, served, until

from ktstr.daemon import sse
from ktstr.daemon.client import Daemon, Message
from ktstr.daemon.submission import RunState

pytestmark = pytest.mark.anyio


async def submitted(site: Served) -> str:
    run_id: str = (await site.ask("POST", "/v1/runs", SMALL)).json["id"]
    return run_id


def daemon(site: Served) -> Daemon:
    return Daemon(Path(site.target))


async def taken(site: Served, path: str, count: int, after: int | None = None) -> list[Message]:
    """The first ``count`` events, or all when there are fewer."""

    def read() -> list[Message]:
        found: list[Message] = []
        with daemon(site).follow(path, after) as stream:
            for message in stream:
                found.append(message)
                if len(found) == count:
                    break
        return found

    return await anyio.to_thread.run_sync(read)


async def test_past_then_present_then_the_end(tmp_path: Path) -> None:
    async with served(tmp_path) as site:
        run_id = await submitted(site)
        site.supervisor.tell(run_id, "note", {"text": "one\ntwo\u2028", "warning": False})
        found: list[Message] = []

        async def follow() -> None:
            found.extend(await taken(site, f"/v1/runs/{run_id}/events", 99))

        async with anyio.create_task_group() as group:
            group.start_soon(follow)
            await until(lambda: site.supervisor.followers == 1, "a follower")
            site.supervisor.tell(run_id, "step_ended", {"index": 1})
            site.supervisor.change(run_id, state=RunState.FINISHED, verdict="pass")
        assert [(m.kind, m.seq) for m in found] == [
            ("note", 1),
            ("step_ended", 2),
            ("state", 3),
            ("end", None),
        ]
        assert found[0].data == {"text": "one\ntwo\u2028", "warning": False, "at": 1.5}
        assert found[3].data["verdict"] == "pass"
        await until(lambda: site.supervisor.followers == 0, "nobody follows")
        assert site.metrics.followers == 0


async def test_a_client_that_returns_hears_only_what_it_missed(tmp_path: Path) -> None:
    async with served(tmp_path) as site:
        run_id = await submitted(site)
        for index in range(5):
            site.supervisor.tell(run_id, "step_ended", {"index": index})
        site.supervisor.change(run_id, state=RunState.FINISHED)
        path = f"/v1/runs/{run_id}/events"
        assert [m.seq for m in await taken(site, path, 99, after=3)] == [4, 5, 6, None]
        assert [m.seq for m in await taken(site, f"{path}?after=4", 99)] == [5, 6, None]
        wrong = await site.ask("GET", path, headers={"Last-Event-ID": "-1"})
        assert wrong.status == 400


async def test_changes_of_all_runs_are_told(tmp_path: Path) -> None:
    async with served(tmp_path) as site:
        run_id = await submitted(site)

        async def change() -> None:
            await until(lambda: site.supervisor.followers == 1, "a follower")
            site.supervisor.change(run_id, state=RunState.RUNNING)

        async with anyio.create_task_group() as group:
            group.start_soon(change)
            (message,) = await taken(site, "/v1/events", 1)
        assert (message.kind, message.data["id"], message.data["state"]) == (
            "run",
            run_id,
            "running",
        )


def asked(site: Served, path: str) -> socket.socket:
    """A connection that has asked for a stream and read its head."""
    made = site.connection()
    made.sendall(f"GET {path} HTTP/1.1\r\nHost: ktstr\r\n\r\n".encode())
    return made


@pytest.mark.parametrize("path", ["/v1/runs/{}/events", "/v1/events"])
@pytest.mark.parametrize("abrupt", [True, False])
async def test_a_client_that_vanishes_is_let_go(tmp_path: Path, path: str, abrupt: bool) -> None:
    async with served(tmp_path) as site:
        run_id = await submitted(site)
        site.supervisor.tell(run_id, "step_ended", {"index": 1})
        for _ in range(3):
            made = asked(site, path.format(run_id))
            await anyio.to_thread.run_sync(made.recv, 1 << 16)
            await until(lambda: site.supervisor.followers == 1, "a follower")
            if abrupt:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            made.close()
            # Nothing happens in the run: the closed connection alone has to be noticed.
            await until(lambda: site.supervisor.followers == 0, "nobody follows")
        assert site.metrics.followers == 0


async def test_a_client_that_takes_nothing_is_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "TAKE_TIMEOUT_S", 0.5)
    async with served(tmp_path) as site:
        run_id = await submitted(site)
        made = asked(site, f"/v1/runs/{run_id}/events")
        try:
            await until(lambda: site.supervisor.followers == 1, "a follower")
            text = "x" * 60_000
            for _ in range(40):
                site.supervisor.tell(run_id, "note", {"text": text, "warning": False})
            await until(lambda: site.supervisor.followers == 0, "nobody follows")
        finally:
            made.close()


async def test_silence_is_broken_by_heartbeats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "HEARTBEAT_S", 0.05)
    async with served(tmp_path) as site:
        run_id = await submitted(site)
        with asked(site, f"/v1/runs/{run_id}/events") as made:
            seen = b""
            while seen.count(b": alive\n\n") < 3:
                seen += await anyio.to_thread.run_sync(made.recv, 4096)


async def test_streams_end_with_the_daemon(tmp_path: Path) -> None:
    async with served(tmp_path) as site:
        run_id = await submitted(site)
        found: list[Any] = []

        async def follow() -> None:
            found.extend(await taken(site, f"/v1/runs/{run_id}/events", 99))

        async with anyio.create_task_group() as group:
            group.start_soon(follow)
            await until(lambda: site.supervisor.followers == 1, "a follower")
            site.closing.set()
        assert [message.kind for message in found] == ["closing"]
        assert site.supervisor.followers == 0
