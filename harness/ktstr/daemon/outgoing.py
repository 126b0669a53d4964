# SPDX-License-Identifier: GPL-2.0-only
"""JSON lines into a pipe, whose writer never waits: what does not fit is dropped, and counted."""

import asyncio
import json
import os
import select
import threading
from collections.abc import Mapping
from typing import Any, Final

MAX_BUFFERED: Final = 1 << 20
FLUSH_DEADLINE_MS: Final = 5_000


class Outgoing:
    """The writing end of a pipe, from any thread.

    :param descriptor: is made non-blocking.
    """

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._buffer = bytearray()
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waits = False
        self._dropped = 0
        self._broken = False

    def attach(self) -> None:
        """Write on in this event loop when the pipe has room again."""
        self._loop = asyncio.get_running_loop()

    def send(self, message: Mapping[str, Any], *, vital: bool = False) -> None:
        """Pass on a message, or drop it when too much waits and it is not ``vital``."""
        with self._lock:
            if not vital and len(self._buffer) > MAX_BUFFERED:
                self._dropped += 1
                return
            if self._dropped:
                self._put({"type": "dropped", "events": self._dropped})
                self._dropped = 0
            self._put(message)
            self._write()
            if self._buffer and not self._waits and self._loop is not None:
                self._waits = True
                self._loop.call_soon_threadsafe(self._wait)

    def flush(self) -> None:
        """Wait until everything is out, but not for long."""
        self._loop = None
        poller = select.poll()
        poller.register(self._descriptor, select.POLLOUT)
        with self._lock:
            while self._buffer and poller.poll(FLUSH_DEADLINE_MS):
                self._write()
                if self._broken:
                    return

    def _put(self, message: Mapping[str, Any]) -> None:
        self._buffer += json.dumps(message, separators=(",", ":")).encode() + b"\n"

    def _write(self) -> None:
        try:
            while self._buffer:
                del self._buffer[: os.write(self._descriptor, self._buffer[:65536])]
        except BlockingIOError:
            return
        except OSError:
            # Nobody reads; the end of standard input will say so.
            self._broken = True
            self._buffer.clear()

    def _wait(self) -> None:
        if self._loop is not None:
            self._loop.add_writer(self._descriptor, self._writable)

    def _writable(self) -> None:
        with self._lock:
            self._write()
            if not self._buffer and self._loop is not None:
                self._loop.remove_writer(self._descriptor)
                self._waits = False
