# SPDX-License-Identifier: GPL-2.0-only
"""The wire to QEMU's QMP session, shared by the QMP client and by freezes.

All messages pass through to the client, but for those a freeze takes: it has no time for a client's
queues and tasks, and what its two commands cost there would be missing from a guest that keeps all
of the host's CPUs busy.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Final

MAX_BUFFERED: Final = 16 << 20
"""Longest unfinished message, and most bytes on their way to the client."""

_READ: Final = 65536


class QmpLine:
    """Stands between QEMU's socket and the client's.

    :ivar client: the client's end, non-blocking; owned by the client.
    :ivar tap: sees each line from QEMU first; what it takes (``True``) the client never sees.
    :ivar on_end: called once when QEMU is gone.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.tap: Callable[[bytes], bool] | None = None
        self.on_end: Callable[[], None] = lambda: None
        self._sock = sock
        self._sock.setblocking(False)
        self._inner, self.client = socket.socketpair()
        for end in (self._inner, self.client):
            end.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._begun = b""
        self._to_client = bytearray()
        self._to_qemu = bytearray()
        self._ended = False
        self._loop.add_reader(self._sock.fileno(), self.read)
        self._loop.add_reader(self._inner.fileno(), self._from_client)

    def send(self, command: bytes) -> None:
        """Send a command of a freeze; it goes out at once unless QEMU has stopped reading."""
        self._to_qemu += command
        self._flush(self._sock, self._to_qemu)

    def read(self) -> bool:
        """Take what QEMU has sent by now; whether there was anything."""
        try:
            data = self._sock.recv(_READ)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data or len(self._begun) > MAX_BUFFERED or len(self._to_client) > MAX_BUFFERED:
            self._end()
            return False
        *lines, self._begun = (self._begun + data).split(b"\n")
        for line in lines:
            if self.tap is None or not self.tap(line):
                self._to_client += line + b"\n"
        if self._to_client:
            self._flush(self._inner, self._to_client)
        return True

    def rest(self, seconds: float) -> None:
        """Look away for a moment: what comes meanwhile is taken in one go afterwards."""
        if not self._ended:
            self._loop.remove_reader(self._sock.fileno())
            self._loop.call_later(seconds, self._wake)

    def close(self) -> None:
        """Listen no more, and hang up on the client; QEMU's socket belongs to who made it."""
        self._end()

    def _wake(self) -> None:
        if not self._ended:
            self._loop.add_reader(self._sock.fileno(), self.read)

    def _from_client(self) -> None:
        try:
            data = self._inner.recv(_READ)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._loop.remove_reader(self._inner.fileno())
            return
        self._to_qemu += data
        self._flush(self._sock, self._to_qemu)

    def _flush(self, sock: socket.socket, waiting: bytearray) -> None:
        """Send what is waiting; the rest when there is room."""
        if self._ended:
            return
        try:
            del waiting[: sock.send(waiting)]
        except BlockingIOError:
            pass
        except OSError:
            # Whoever hung up is noticed where it is read from.
            waiting.clear()
        if waiting:
            self._loop.add_writer(sock.fileno(), self._flush, sock, waiting)
        else:
            self._loop.remove_writer(sock.fileno())

    def _end(self) -> None:
        if self._ended:
            return
        self._ended = True
        for sock in (self._sock, self._inner):
            if sock.fileno() >= 0:
                self._loop.remove_reader(sock.fileno())
                self._loop.remove_writer(sock.fileno())
        self._inner.close()
        self.on_end()
