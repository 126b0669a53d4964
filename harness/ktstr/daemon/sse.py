# SPDX-License-Identifier: GPL-2.0-only
"""Server-sent events (WHATWG HTML, section 9.2) whose every end is noticed.

A stream ends when its source does, when the client is gone, when the daemon closes, or when the
client has not taken anything for a while; in each case the source is closed.
"""

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

import anyio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

TYPE: Final = "text/event-stream"
HEARTBEAT_S: Final = 15.0
"""How often a client hears that the daemon is there, when nothing happens."""

TAKE_TIMEOUT_S: Final = 30.0
"""How long a client may take no bytes while its connection's buffers are full."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One event.

    :param seq: its number, which a client that returns names in ``Last-Event-ID``.
    """

    kind: str
    data: Mapping[str, Any]
    seq: int | None = None

    def encoded(self) -> bytes:
        """Its bytes; JSON has no raw line breaks, so data is one line."""
        number = "" if self.seq is None else f"id: {self.seq}\n"
        # Kinds are the daemon's own words, never a guest's.
        return f"event: {self.kind}\n{number}data: {json.dumps(self.data)}\n\n".encode()


class EventStream(Response):
    """The answer that tells ``frames`` as they come.

    :param closing: set when the daemon ends; the last event is then ``closing``.
    """

    media_type = TYPE

    def __init__(self, frames: AsyncGenerator[Frame, None], closing: anyio.Event) -> None:
        super().__init__(
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}, media_type=TYPE
        )
        del self.headers["content-length"]
        self._frames = frames
        self._closing = closing
        self._said = 0
        self._turn = anyio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Tell the events until one of the ends."""
        head = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        async with aclosing(self._frames), anyio.create_task_group() as group:
            group.start_soon(self._await_client, receive, group.cancel_scope)
            await send(head)
            # A head of its own packet: the client knows that it is connected.
            await self._put(send, b": connected\n\n")
            group.start_soon(self._await_closing, send, group.cancel_scope)
            group.start_soon(self._beat, send, group.cancel_scope)
            if await self._tell(send):
                await self._end(send)
            group.cancel_scope.cancel()

    async def _tell(self, send: Send) -> bool:
        async for frame in self._frames:
            if not await self._put(send, frame.encoded()):
                return False
        return True

    async def _put(self, send: Send, data: bytes) -> bool:
        """Whether the client's connection took it in time."""
        self._said += 1
        with anyio.move_on_after(TAKE_TIMEOUT_S) as scope:
            async with self._turn:
                await send({"type": "http.response.body", "body": data, "more_body": True})
        return not scope.cancelled_caught

    async def _beat(self, send: Send, scope: anyio.CancelScope) -> None:
        while True:
            before = self._said
            await anyio.sleep(HEARTBEAT_S)
            if self._said == before and not await self._put(send, b": alive\n\n"):
                scope.cancel()

    async def _await_closing(self, send: Send, scope: anyio.CancelScope) -> None:
        await self._closing.wait()
        if await self._put(send, Frame("closing", {}).encoded()):
            await self._end(send)
        scope.cancel()

    async def _end(self, send: Send) -> None:
        # Kept for good: nothing may follow it.
        await self._turn.acquire()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _await_client(self, receive: Receive, scope: anyio.CancelScope) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        scope.cancel()
