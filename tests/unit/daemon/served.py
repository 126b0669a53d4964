# SPDX-License-Identifier: GPL-2.0-only
"""A supervisor in memory, and the HTTP interface in front of it on a real socket."""

import http.client
import json
import socket
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from ktstr.daemon.app import create_app
from ktstr.daemon.listen import Listener, unix_listener
from ktstr.daemon.metrics import Metrics
from ktstr.daemon.server import serve_all
from ktstr.daemon.settings import Status
from ktstr.daemon.submission import EventRow, RunRow, RunState, Submission
from ktstr.daemon.supervisor import Supervisor

TOKEN = "a-token-of-some-length"
SMALL = {"scenario": {"toml": "name = 'a'", "name": "a"}}


class FakeSupervisor(Supervisor):
    """Keeps runs in a dict; tests say what becomes of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs: dict[str, RunRow] = {}
        self.events: dict[str, list[EventRow]] = {}
        self.refusal: Exception | None = None
        self.asked: list[tuple[str, str]] = []
        self.followers = 0
        self._news = anyio.Event()

    @property
    def draining(self) -> bool:
        return self.refusal is not None

    async def status(self) -> Status:
        states = Counter(row.state.value for row in self.runs.values())
        queued = [row for row in self.runs.values() if row.state is RunState.QUEUED]
        shares = Counter(row.submission.share for row in queued)
        return Status(
            draining=self.draining,
            queued=dict(shares),
            runs=dict(states),
            running=states["running"],
            leased=states["running"],
            cpus=2 * states["running"],
            cpus_budget=4,
            memory_mib=512,
            memory_budget_mib=None,
            store_errors=3,
            store_failure=None,
            events_lost=1,
            fork_server=None,
        )

    async def submit(self, submission: Submission) -> RunRow:
        if self.refusal is not None:
            raise self.refusal
        run_id = f"20261121-120000-{len(self.runs):04x}"
        folder = self.folder / run_id
        folder.mkdir()
        row = RunRow(
            run_id, RunState.QUEUED, submission, submission.name, time.time(), folder=folder
        )
        self.runs[run_id], self.events[run_id] = row, []
        self._wake()
        return row

    def change(self, run_id: str, **fields: Any) -> RunRow:
        self.runs[run_id] = replace(self.runs[run_id], **fields)
        self.tell(run_id, "state", {"state": self.runs[run_id].state.value})
        return self.runs[run_id]

    def tell(self, run_id: str, kind: str, data: dict[str, Any]) -> None:
        events = self.events[run_id]
        events.append(EventRow(run_id, len(events) + 1, 1.5, kind, data))
        self._wake()

    def _wake(self) -> None:
        self._news.set()
        self._news = anyio.Event()

    async def cancel(self, run_id: str, why: str = "on demand") -> RunRow:
        self.asked.append(("cancel", run_id))
        return self.change(run_id, state=RunState.CANCELLED)

    async def release(self, run_id: str) -> RunRow:
        self.asked.append(("release", run_id))
        return self.change(run_id, state=RunState.FINISHED)

    async def rows(
        self,
        states: Collection[RunState] | None = None,
        limit: int = 100,
        before: str | None = None,
    ) -> list[RunRow]:
        found = sorted(self.runs.values(), key=lambda row: row.id, reverse=True)
        return [
            row
            for row in found
            if (states is None or row.state in states) and (before is None or row.id < before)
        ][:limit]

    async def row(self, run_id: str) -> RunRow:
        return self.runs[run_id]

    async def follow(self, run_id: str, after_seq: int = 0) -> AsyncGenerator[EventRow, None]:
        self.followers += 1
        try:
            while True:
                news = self._news
                for event in self.events[run_id][after_seq:]:
                    after_seq = event.seq
                    yield event
                if self.runs[run_id].state.over and after_seq == len(self.events[run_id]):
                    return
                if news is self._news:
                    await news.wait()
        finally:
            self.followers -= 1

    async def changes(self) -> AsyncGenerator[RunRow, None]:
        self.followers += 1
        try:
            while True:
                await self._news.wait()
                for row in list(self.runs.values()):
                    yield row
        finally:
            self.followers -= 1


@dataclass
class Reply:
    """One answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class _Http(http.client.HTTPConnection):
    def __init__(self, target: str | tuple[str, int]) -> None:
        super().__init__("ktstr", timeout=20)
        self._target = target

    def connect(self) -> None:
        family = socket.AF_UNIX if isinstance(self._target, str) else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        self.sock.settimeout(20)
        self.sock.connect(self._target)


@dataclass
class Served:
    """The interface behind one door, and how a client asks there."""

    supervisor: FakeSupervisor
    listener: Listener
    metrics: Metrics
    closing: anyio.Event

    @property
    def target(self) -> Any:
        return self.listener.socket.getsockname()

    def connection(self) -> socket.socket:
        """A plain connection."""
        family = socket.AF_UNIX if isinstance(self.target, str) else socket.AF_INET
        made = socket.socket(family, socket.SOCK_STREAM)
        made.settimeout(20)
        made.connect(self.target)
        return made

    async def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: dict[str, str] | None = None,
    ) -> Reply:
        """One request; ``body`` becomes JSON unless it is bytes."""
        return await anyio.to_thread.run_sync(self._ask, method, path, body, headers or {})

    def _ask(self, method: str, path: str, body: object, headers: dict[str, str]) -> Reply:
        sent = dict(headers)
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        if data is not None and not isinstance(body, bytes):
            sent.setdefault("Content-Type", "application/json")
        connection = _Http(self.target)
        try:
            connection.request(method, path, data, sent)
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Reply(response.status, found, response.read())
        finally:
            connection.close()


@asynccontextmanager
async def served(
    folder: Path, listener: Listener | None = None, **given: Any
) -> AsyncIterator[Served]:
    """The interface on a socket in ``folder``, until the block ends."""
    supervisor = FakeSupervisor(folder)
    metrics, ends = Metrics(), anyio.Event()
    door = listener or unix_listener(folder / "d.sock")
    app = create_app(supervisor, **{"token": None, "metrics": metrics, "closing": ends, **given})
    with closing(door):
        async with anyio.create_task_group() as group:
            group.start_soon(serve_all, [(door, app)], ends)
            try:
                yield Served(supervisor, door, metrics, ends)
            finally:
                ends.set()


async def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for something that is sure to come."""
    with anyio.move_on_after(20):
        while not condition():  # noqa: ASYNC110 - nobody tells of it
            await anyio.sleep(0.01)
        return
    raise AssertionError(f"never: {what}")
