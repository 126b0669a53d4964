# SPDX-License-Identifier: GPL-2.0-only
"""HTTP on the daemon's sockets: uvicorn, without its clock and its signals.

uvicorn looks ten times a second whether it is to end and what the time is. A daemon that waits for
work sleeps, so here it is told to end, and answers carry no Date.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import anyio
from starlette.types import ASGIApp
from uvicorn import Config, Server
from uvicorn.protocols.http.h11_impl import H11Protocol

from ktstr.daemon.listen import Listener

HEAD_TIMEOUT_S: Final = 10.0
"""How long a request's head may take to arrive, from the connection or its first byte on."""

KEEP_ALIVE_S: Final = 30
GRACE_S: Final = 5
"""How long answers that are under way may take when the daemon ends."""

MAX_HEAD: Final = 32 << 10
MAX_CONNECTIONS: Final = 256


class PatientProtocol(H11Protocol):
    """HTTP/1.1 on a connection whose client has to come to the point.

    :cvar head_timeout_s: how long a request's head may take, seconds.
    """

    head_timeout_s = HEAD_TIMEOUT_S
    _due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """A client has connected."""
        super().connection_made(transport)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        """Take what came; once a head is whole, the application has its own deadlines."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._forget()
        elif self._due is None and not self.transport.is_closing():
            # The beginning of another request on the same connection.
            self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._forget()
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        self._due = self.loop.call_later(self.head_timeout_s, self._give_up)

    def _forget(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def _give_up(self) -> None:
        self._due = None
        self.transport.abort()


class QuietServer(Server):
    """Serves one listener until :meth:`end`."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._ends = asyncio.Event()

    def end(self) -> None:
        """Let what is under way finish, then return from :meth:`serve`."""
        self.should_exit = True
        self._ends.set()

    async def main_loop(self) -> None:
        """Wait for :meth:`end`."""
        self.server_state.default_headers = list(self.config.encoded_headers)
        await self._ends.wait()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the daemon."""
        yield


def server_for(app: ASGIApp, **settings: Any) -> QuietServer:
    """A server for ``app``; ``settings`` are uvicorn's, in place of those here."""
    given: dict[str, Any] = {
        "http": PatientProtocol,
        "ws": "none",
        "loop": "asyncio",
        "lifespan": "off",
        "log_config": None,
        "access_log": False,
        "proxy_headers": False,
        "server_header": False,
        "date_header": False,
        "limit_concurrency": MAX_CONNECTIONS,
        "timeout_keep_alive": KEEP_ALIVE_S,
        "timeout_graceful_shutdown": GRACE_S,
        "h11_max_incomplete_event_size": MAX_HEAD,
    }
    return QuietServer(Config(app, **(given | settings)))


async def serve_all(
    doors: Sequence[tuple[Listener, ASGIApp]],
    closing: anyio.Event,
    **settings: Any,
) -> None:
    """Answer at every listener until ``closing`` is set and what was under way is answered."""
    servers = [(server_for(app, **settings), listener) for listener, app in doors]
    async with anyio.create_task_group() as group:
        for server, listener in servers:
            group.start_soon(_serve, server, listener)
        await closing.wait()
        for server, _ in servers:
            server.end()


async def _serve(server: QuietServer, listener: Listener) -> None:
    await server.serve(sockets=[listener.socket])
