# SPDX-License-Identifier: GPL-2.0-only
"""Passes statistics requests of the host to the scheduler's scx_stats socket."""

from __future__ import annotations

import _socket

from agent.channel import Channel
from agent.loop import Loop, read_available
from ktstr.wire import MsgType, unpack_map
from ktstr.wire.messages import take_int

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

SOCKET = "/var/run/scx/root/stats"
REQUEST_CAP = 16 * 1024
REPLY_CAP = 1024 * 1024

# Why there is no answer, as the host's MissingStats calls it.
NO_SCHEDULER = "no_scheduler"
CANCELLED = "cancelled"
REQUEST_TOO_LARGE = "request_too_large"
RESPONSE_TOO_LARGE = "response_too_large"


class StatsSocket:
    """One connection to the scheduler, made when it is needed; one question at a time.

    Each is answered by a call with ``line``, or with ``error`` and its ``kind``.
    """

    def __init__(self, loop: Loop, path: str = SOCKET) -> None:
        self._path = path
        self._loop = loop
        self._socket: _socket.socket | None = None
        self._pending: Callable[[dict[str, object]], object] | None = None
        self._answer = bytearray()

    def ask(self, line: bytes, answered: Callable[[dict[str, object]], object]) -> None:
        """Send one line; ``answered`` is called while the loop runs, or at once on failure."""
        if self._pending is not None:
            self._drop("a newer request came before the scheduler answered", CANCELLED)
        self._pending = answered
        try:
            if self._connected().send(line) < len(line):
                self._drop("the scheduler does not read its statistics socket")
        except OSError as error:
            self._drop(f"{self._path}: {error.strerror}")

    def give_up(self, reason: str) -> None:
        """Answer the open question with an error; a late answer must not pass for the next."""
        self._drop(reason, CANCELLED)

    def _connected(self) -> _socket.socket:
        if self._socket is None:
            stream = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
            try:
                # Before connecting, which would wait for a server that accepts no more.
                stream.setblocking(False)
                stream.connect(self._path)
            except OSError:
                stream.close()
                raise
            self._socket = stream
            self._loop.add(stream.fileno(), self._receive)
        return self._socket

    def _receive(self) -> None:
        assert self._socket is not None
        data = read_available(self._socket.fileno())
        if data == b"":
            self._drop("the scheduler closed its statistics socket")
            return
        if self._pending is None:
            return  # nobody asked; it must not pass for the next answer
        self._answer += data or b""
        line, newline, _ = self._answer.partition(b"\n")
        if newline:
            self._answer.clear()
            self._settle(line=bytes(line))
        elif len(self._answer) > REPLY_CAP:
            self._drop("the scheduler's answer exceeds 1 MiB", RESPONSE_TOO_LARGE)

    def _drop(self, reason: str, kind: str = NO_SCHEDULER) -> None:
        if self._socket is not None:
            self._loop.remove(self._socket.fileno())
            self._socket.close()
            self._socket = None
        self._answer.clear()
        self._settle(error=reason, kind=kind)

    def _settle(
        self, line: bytes | None = None, error: str | None = None, kind: str | None = None
    ) -> None:
        answered, self._pending = self._pending, None
        if answered is not None:
            answered({"line": line, "error": error, "kind": kind})


class StatsRelay:
    """Passes each StatsRequest of the host on and answers it by a StatsReply."""

    def __init__(self, loop: Loop, channel: Channel, path: str = SOCKET) -> None:
        self._stats = StatsSocket(loop, path)
        self._channel = channel
        channel.on(MsgType.STATS_REQUEST, self._request)

    def _request(self, payload: bytes) -> None:
        fields = unpack_map(payload)
        number = take_int(fields, "id")

        def reply(answer: dict[str, object]) -> None:
            self._channel.send(MsgType.STATS_REPLY, {"id": number, **answer})

        line = fields.get("line")
        if type(line) is not bytes or len(line) > REQUEST_CAP:
            error = "the request is not bytes, or larger than 16 KiB"
            reply({"line": None, "error": error, "kind": REQUEST_TOO_LARGE})
            return
        self._stats.ask(line, reply)

    def close(self) -> None:
        """End the connection."""
        self._stats.give_up("the relay ends")
