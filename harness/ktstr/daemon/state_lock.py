# SPDX-License-Identifier: GPL-2.0-only
"""One daemon for each state folder: a lock that the kernel takes back, however its holder ends."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ktstr.errors import ServiceRefused


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock.

    :raise ServiceRefused: when another process does, with its id.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ServiceRefused(f"{path} cannot be opened: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(descriptor, 20).decode("ascii", "replace").strip() or "unknown"
            raise ServiceRefused(
                f"another daemon (pid {holder}) uses {path.parent}",
                hint="end it, or give this one a folder of its own with --state",
            ) from None
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except OSError:
            # The lock holds without the number in it.
            pass
        yield
    finally:
        os.close(descriptor)
