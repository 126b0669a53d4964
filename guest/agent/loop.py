# SPDX-License-Identifier: GPL-2.0-only
"""One epoll loop: everything the agent waits for goes through :meth:`Loop.run`."""

from __future__ import annotations

import os
import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Loop:
    """File descriptors with callbacks, and one interval callback."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._ticks: list[Callable[[], None]] = []
        self.tick_s = 0.1
        self._next_tick = 0.0

    def add(self, fd: int, callback: Callable[[], None]) -> None:
        """Call ``callback`` whenever ``fd`` can be read or its other end is gone."""
        self._epoll.register(fd, select.EPOLLIN)
        self._callbacks[fd] = callback

    def add_writable(self, fd: int, callback: Callable[[], None]) -> None:
        """Call ``callback`` whenever ``fd`` takes data or its other end is gone."""
        self._epoll.register(fd, select.EPOLLOUT)
        self._callbacks[fd] = callback

    def remove(self, fd: int) -> None:
        """Stop watching ``fd``; unknown descriptors are ignored."""
        if self._callbacks.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def __contains__(self, fd: int) -> bool:
        return fd in self._callbacks

    def every_tick(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` about every ``tick_s`` seconds while the loop runs."""
        self._ticks.append(callback)

    def run(self, deadline: float, until: Callable[[], bool] | None = None) -> bool:
        """Serve events until ``until()`` holds or the monotonic ``deadline`` passes.

        :return: whether ``until()`` held; always False without ``until``.
        """
        while True:
            if until is not None and until():
                return True
            now = time.monotonic()
            if now >= deadline:
                return False
            if self._ticks and now >= self._next_tick:
                # Not per run: many short runs in a row tick as one long run does.
                self._next_tick = now + self.tick_s
                for tick in self._ticks:
                    tick()
                continue  # what a tick found may be what is waited for
            limit = min(deadline, self._next_tick) if self._ticks else deadline
            for fd, _ in self._epoll.poll(max(0.0, limit - now)):
                callback = self._callbacks.get(fd)
                if callback is not None:
                    callback()


def read_available(fd: int, size: int = 65536) -> bytes | None:
    """Bytes that can be read now: ``b""`` at the end of the stream, None when there are none."""
    try:
        return os.read(fd, size)
    except BlockingIOError:
        return None
    except OSError:
        return b""
