# SPDX-License-Identifier: GPL-2.0-only
"""Passes statistics requests of the host to the scheduler's scx_stats socket."""

from __future__ import annotations

import _socket

from agent.channel import Channel
from agent.loop import Loop, read_available
from ktstr.wire import MsgType, unpack_map
from ktstr.wire.messages import take_int

SOCKET = "/var/run/scx/root/stats"
REQUEST_CAP = 16 * 1024
REPLY_CAP = 1024 * 1024

# Why there is no answer, as the host's MissingStats calls it.
NO_SCHEDULER = "no_scheduler"
CANCELLED = "cancelled"
REQUEST_TOO_LARGE = "request_too_large"
RESPONSE_TOO_LARGE = "response_too_large"


class StatsRelay:
    """One connection to the scheduler, one request at a time, answered by StatsReply."""

    def __init__(self, loop: Loop, channel: Channel, path: str = SOCKET) -> None:
        self._path = path
        self._loop = loop
        self._channel = channel
        self._socket: _socket.socket | None = None
        self._pending: int | None = None
        self._answer = bytearray()
        channel.on(MsgType.STATS_REQUEST, self._request)

    def _request(self, payload: bytes) -> None:
        fields = unpack_map(payload)
        number = take_int(fields, "id")
        line = fields.get("line")
        if type(line) is not bytes or len(line) > REQUEST_CAP:
            error = "the request is not bytes, or larger than 16 KiB"
            self._reply(number, error=error, kind=REQUEST_TOO_LARGE)
            return
        if self._pending is not None:
            self._drop("a newer request came before the scheduler answered", CANCELLED)
        self._pending = number
        try:
            if self._connected().send(line) < len(line):
                self._drop("the scheduler does not read its statistics socket")
        except OSError as error:
            self._drop(f"{self._path}: {error.strerror}")

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
            self._reply(self._pending, line=bytes(line))
            self._pending = None
            self._answer.clear()
        elif len(self._answer) > REPLY_CAP:
            self._drop("the scheduler's answer exceeds 1 MiB", RESPONSE_TOO_LARGE)

    def _drop(self, reason: str, kind: str = NO_SCHEDULER) -> None:
        if self._socket is not None:
            self._loop.remove(self._socket.fileno())
            self._socket.close()
            self._socket = None
        self._answer.clear()
        if self._pending is not None:
            self._reply(self._pending, error=reason, kind=kind)
            self._pending = None

    def _reply(
        self,
        number: int,
        line: bytes | None = None,
        error: str | None = None,
        kind: str | None = None,
    ) -> None:
        fields: dict[str, object] = {"id": number, "line": line, "error": error, "kind": kind}
        self._channel.send(MsgType.STATS_REPLY, fields)
