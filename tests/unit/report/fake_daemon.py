# SPDX-License-Identifier: GPL-2.0-only
"""A daemon made of lists: what the live pages ask for, on a port of loopback, in a thread."""

import json
import socket
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import anyio
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from ktstr.report.page.assets import live_index_html, live_run_html

TICK_S = 0.02


def row(run_id: str, state: str = "queued", **more: Any) -> dict[str, Any]:
    """A run as the daemon lists it."""
    return {
        "id": run_id,
        "state": state,
        "name": f"scenario_{run_id[-1]}",
        "submission": {"scenario": {"path": "/x.toml"}, "share": "ci", "priority": 2},
        "submitted_at": 1_767_225_600.0 + int(run_id[-1], 16),
        "started_at": None,
        "ended_at": None,
        "verdict": None,
        "exit_code": None,
        "error": None,
        **more,
    }


class FakeDaemon:
    """Tests write to ``runs``, ``changes`` and ``events``; the server reads them.

    :ivar meanwhile: changes that are told between the making of a list and its arrival.
    """

    def __init__(self) -> None:
        self.runs: dict[str, dict[str, Any]] = {}
        self.changes: list[dict[str, Any]] = []
        self.events: dict[str, list[tuple[str, dict[str, Any]]]] = {}
        self.meanwhile: list[dict[str, Any]] = []
        self.records: dict[str, Any] = {}
        self.cancelled: list[str] = []
        self.released: list[str] = []
        self.asked: list[str] = []
        self._told = 0
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._socket.close()
        self._thread: threading.Thread | None = None
        self._server: uvicorn.Server | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def set(self, changed: dict[str, Any]) -> None:
        """A run is new, or changed."""
        self.runs[changed["id"]] = changed
        self.changes.append(changed)

    def tell(self, run_id: str, kind: str, **data: Any) -> None:
        """An event of a run."""
        self.events.setdefault(run_id, []).append((kind, data))

    def start(self) -> None:
        """Listen; on the same port as before after a stop."""
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", self.port))
        config = uvicorn.Config(
            self._app(),
            log_level="critical",
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=1,
        )
        self._server = server = uvicorn.Server(config)
        self._thread = threading.Thread(target=lambda: server.run(sockets=[listening]), daemon=True)
        self._thread.start()
        limit = time.monotonic() + 20
        while not server.started:
            assert time.monotonic() < limit, "the server does not start"
            time.sleep(0.01)

    def stop(self) -> None:
        """End it, and every stream with it."""
        if self._server is None or self._thread is None:
            return
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(20)
        assert not self._thread.is_alive()
        self._server = self._thread = None

    def _app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/", self._index),
                Route("/runs/{id}", self._page),
                Route("/v1/runs", self._list),
                Route("/v1/events", self._follow_all),
                Route("/v1/runs/{id}", self._row),
                Route("/v1/runs/{id}/events", self._follow),
                Route("/v1/runs/{id}/data", self._data),
                Route("/v1/runs/{id}/cancel", self._cancel, methods=["POST"]),
                Route("/v1/runs/{id}/release", self._release, methods=["POST"]),
            ]
        )

    async def _index(self, request: Request) -> Response:
        return HTMLResponse(live_index_html())

    async def _page(self, request: Request) -> Response:
        return HTMLResponse(live_run_html(request.path_params["id"]))

    async def _list(self, request: Request) -> Response:
        found = list(self.runs.values())
        if self.meanwhile:
            while self.meanwhile:
                self.set(self.meanwhile.pop(0))
            while self._told < len(self.changes) and not await self._gone(request):
                pass
            # What was told is on its way; the list comes after it.
            await anyio.sleep(10 * TICK_S)
        return JSONResponse({"runs": found})

    async def _row(self, request: Request) -> Response:
        found = self.runs.get(request.path_params["id"])
        if found is None:
            return JSONResponse({"detail": "no such run"}, 404)
        return JSONResponse(found)

    async def _data(self, request: Request) -> Response:
        found = self.records.get(request.path_params["id"])
        if found is None:
            return JSONResponse({"detail": "it left no record"}, 404)
        return JSONResponse(found)

    async def _cancel(self, request: Request) -> Response:
        run_id = request.path_params["id"]
        self.cancelled.append(run_id)
        self.set({**self.runs[run_id], "state": "cancelled"})
        return JSONResponse(self.runs[run_id])

    async def _release(self, request: Request) -> Response:
        run_id = request.path_params["id"]
        self.released.append(run_id)
        self.set({**self.runs[run_id], "state": "finished"})
        return JSONResponse(self.runs[run_id])

    async def _follow_all(self, request: Request) -> Response:
        async def frames() -> AsyncIterator[str]:
            seen = len(self.changes)
            yield ": connected\n\n"
            while not await self._gone(request):
                for changed in self.changes[seen:]:
                    seen += 1
                    yield f"event: run\ndata: {json.dumps(changed)}\n\n"
                    self._told = seen

        return StreamingResponse(frames(), media_type="text/event-stream")

    async def _follow(self, request: Request) -> Response:
        run_id = request.path_params["id"]
        self.asked.append(str(request.url.query))
        seen = int(request.query_params.get("after", "0"))

        async def frames() -> AsyncIterator[str]:
            nonlocal seen
            yield ": connected\n\n"
            while not await self._gone(request):
                for kind, data in self.events.get(run_id, [])[seen:]:
                    seen += 1
                    number = "" if kind == "end" else f"id: {seen}\n"
                    yield f"event: {kind}\n{number}data: {json.dumps(data)}\n\n"

        return StreamingResponse(frames(), media_type="text/event-stream")

    async def _gone(self, request: Request) -> bool:
        await anyio.sleep(TICK_S)
        return self._server is None or self._server.should_exit or await request.is_disconnected()
