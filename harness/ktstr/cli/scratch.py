# SPDX-License-Identifier: GPL-2.0-only
"""One folder for all that runs keep for a while, and an end that waits for nothing."""

import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ktstr.errors import ExitCode, HostUnfit


@contextmanager
def one_scratch_folder() -> Iterator[Path]:
    """Have everything temporary of this process made below one folder, which goes at the end.

    :raise HostUnfit: when it cannot be made.
    """
    before = tempfile.tempdir
    try:
        made = tempfile.TemporaryDirectory(prefix="ktstr-", ignore_cleanup_errors=True)
    except OSError as error:
        raise HostUnfit(
            f"no scratch folder can be made: {error.strerror} ({before or 'TMPDIR'})",
            hint="free space there, or point TMPDIR elsewhere",
        ) from error
    with made as name:
        tempfile.tempdir = name
        try:
            yield Path(name)
        finally:
            tempfile.tempdir = before


def end_at_once(say: Callable[[], object]) -> None:
    """Kill the children, remove the scratch folder, ``say`` what is to be said, and exit.

    Does not return. What children of children leave is not waited for.
    """
    for pid in _children():
        with suppress(OSError):
            # QEMU and compilers lead sessions of their own.
            if os.getpgid(pid) == pid:
                os.killpg(pid, signal.SIGKILL)
            else:
                os.kill(pid, signal.SIGKILL)
    if tempfile.tempdir is not None and Path(tempfile.tempdir).name.startswith("ktstr-"):
        shutil.rmtree(tempfile.tempdir, ignore_errors=True)
    try:
        say()
    finally:
        os._exit(int(ExitCode.INTERRUPTED))


def _children() -> list[int]:
    """Processes that a thread of this one started (proc_pid_task(5): children)."""
    found: list[int] = []
    for task in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError, ValueError):
            found += map(int, task.read_text().split())
    return found
