# SPDX-License-Identifier: GPL-2.0-only
"""One child process that cannot outlive its owner."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import anyio

from ktstr.errors import HostUnfit
from ktstr.vm.qemu import find_setpriv

TERM_DEADLINE_S = 1.0
"""How long a process may take to follow SIGTERM before it gets SIGKILL."""

KILL_DEADLINE_S = 5.0
"""How long the kernel may take to bury a process after SIGKILL."""

# PR_SET_PDEATHSIG says nothing when the parent died before it was set; the shell looks once more.
# setpriv rather than a preexec_fn: Python code between fork and exec can deadlock with threads.
_GUARD = 'test "$PPID" = "$0" || exit 125; exec "$@"'


class Child:
    """A running program, its end watched through a pidfd.

    The program leads its own session, so that Ctrl-C at the terminal reaches only its owner, and
    the kernel kills it when the thread that started it ends: start it from the thread of the event
    loop, where ``spawn`` runs anyway.
    """

    def __init__(self, process: subprocess.Popen[bytes], on_exit: Callable[[int], None]) -> None:
        self._process = process
        self._on_exit = on_exit
        self._loop = asyncio.get_running_loop()
        self._exited = anyio.Event()
        self._pidfd = os.pidfd_open(process.pid)
        self._loop.add_reader(self._pidfd, self._reap)

    @property
    def pid(self) -> int:
        """Process id; stays the same through the guards in front of the program."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """Exit status, negative for a signal, ``None`` while it runs."""
        return self._process.returncode

    def stop(self) -> None:
        """Have all its threads stop; :meth:`stands` tells when they did.

        :raises ProcessLookupError: it has ended.
        """
        signal.pidfd_send_signal(self._pidfd, signal.SIGSTOP)

    def stands(self) -> bool:
        """Whether a stop has come to its end since the last time it was asked.

        :raises ChildProcessError: the program has ended.
        """
        return os.waitid(os.P_PIDFD, self._pidfd, os.WSTOPPED | os.WNOHANG) is not None

    def cont(self) -> None:
        """Let it run on, or not stop at all."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGCONT)

    async def wait(self, timeout_s: float) -> bool:
        """Wait for the end; ``False`` when it did not come in time."""
        with anyio.move_on_after(timeout_s):
            await self._exited.wait()
        return self._exited.is_set()

    async def kill(self) -> None:
        """End the program: SIGTERM, then SIGKILL, each with its deadline."""
        for number, deadline in (
            (signal.SIGTERM, TERM_DEADLINE_S),
            (signal.SIGKILL, KILL_DEADLINE_S),
        ):
            if self._exited.is_set():
                return
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)
            await self.wait(deadline)

    def close(self) -> None:
        """Let go of the pidfd; a program that still runs is killed without waiting for it."""
        if self._pidfd < 0:
            return
        self._loop.remove_reader(self._pidfd)
        if self._process.poll() is None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(KILL_DEADLINE_S)
        os.close(self._pidfd)
        self._pidfd = -1

    def _reap(self) -> None:
        status = self._process.poll()
        if status is None:
            return
        self._loop.remove_reader(self._pidfd)
        self._exited.set()
        self._on_exit(status)


def spawn(
    command: Sequence[str],
    *,
    fds: Sequence[int],
    output: Path,
    on_exit: Callable[[int], None],
) -> Child:
    """Start a program with descriptors of ours, its output and errors in a file.

    :param fds: descriptors the program inherits under the same numbers.
    :param output: file that takes standard output and standard error.
    :param on_exit: called in the event loop with the exit status.
    :raises HostUnfit: when the program cannot be executed or ``output`` not written.
    """
    guard = [str(find_setpriv()), "--pdeathsig", "KILL", "--"]
    watched = [*guard, "/bin/sh", "-c", _GUARD, str(os.getpid()), *command]
    try:
        with output.open("wb") as log:
            process = subprocess.Popen(
                watched,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=tuple(fds),
                start_new_session=True,
            )
    except OSError as error:
        raise HostUnfit(f"{command[0]} cannot be started: {error}") from error
    return Child(process, on_exit)
