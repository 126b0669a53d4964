# SPDX-License-Identifier: GPL-2.0-only
"""File locks of the cache: exclusive ones for making and removing, shared ones for using.

Both are flock(2) on the same file, so they exclude each other between processes, and the kernel
releases them when a process ends, however it ends.
"""

import fcntl
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import anyio
from filelock import FileLock, Timeout

from ktstr.errors import HostUnfit

_POLL_SECONDS = 0.05
_SHARED_SECONDS = 10.0


@asynccontextmanager
async def exclusive(path: Path, seconds: float, why: str) -> AsyncIterator[None]:
    """Hold the lock file *path* alone, waiting up to *seconds* for others.

    :param why: what the other holder is doing, for the message.
    :raise HostUnfit: it was not free in time.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, thread_local=False)
    deadline = anyio.current_time() + seconds
    while True:
        try:
            lock.acquire(blocking=False)
            break
        except Timeout:
            if anyio.current_time() >= deadline:
                raise HostUnfit(
                    f"{why}: the lock {path} was not free within {seconds:.0f} s",
                    hint="wait for the other process or end it",
                ) from None
        await anyio.sleep(_POLL_SECONDS)
    try:
        yield
    finally:
        lock.release()


@contextmanager
def exclusive_now(path: Path) -> Iterator[bool]:
    """Hold the lock file *path* alone if nobody has it; yields whether it was free."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, thread_local=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


@contextmanager
def shared(path: Path) -> Iterator[None]:
    """Hold the lock file *path* together with other users.

    :raise HostUnfit: somebody held it alone for too long.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + _SHARED_SECONDS
    while (fd := _try_shared(path)) is None:
        if time.monotonic() >= deadline:
            raise HostUnfit(
                f"the lock {path} was held by another process for {_SHARED_SECONDS:.0f} s",
                hint="wait for the other process or end it",
            )
        time.sleep(_POLL_SECONDS)
    try:
        yield
    finally:
        os.close(fd)


def _try_shared(path: Path) -> int | None:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        if os.fstat(fd).st_nlink:  # else its last owner removed it: the name means another file
            return fd
    except BlockingIOError:
        pass
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    return None
