# SPDX-License-Identifier: GPL-2.0-only
"""The daemon's side of its runners: starts them, talks with them, sees them end."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import anyio

from ktstr.daemon.paths import STATE_MARK
from ktstr.errors import HostUnfit

MAX_LINE: Final = 256 << 10
"""Bytes of one line of a runner; longer ones are dropped."""

READ: Final = 64 << 10
READY_DEADLINE_S: Final = 120.0
"""How long the fork server may take to import what runs need."""

FORK_DEADLINE_S: Final = 30.0
END_DEADLINE_S: Final = 5.0
PAUSE_S: Final = 0.05
"""How long nothing is read of a runner that says too much."""


class Runner:
    """A forked process: commands to it, messages from it, its end.

    :ivar status: its exit status, negative for a signal; None while it runs, and afterwards where
        nobody could tell.
    :ivar lost_lines: what it said that was no message.
    """

    def __init__(self, commands: int, events: int) -> None:
        self.pid = 0
        self.status: int | None = None
        self.lost_lines = 0
        self.slow = False
        self._commands = commands
        self._events = events
        self._pidfd = -1
        self._loop = asyncio.get_running_loop()
        self._ended = anyio.Event()
        self._told = anyio.Event()
        self._silent = anyio.Event()
        self._buffer = bytearray()
        self._skipping = False
        self._take: Callable[[dict[str, Any]], None] = _ignored
        self._timer: asyncio.TimerHandle | None = None

    def listen(self, take: Callable[[dict[str, Any]], None]) -> None:
        """Have ``take`` called with every message from now on."""
        self._take = take
        self._loop.add_reader(self._events, self._readable)

    def send(self, command: Mapping[str, Any]) -> None:
        """Tell it something short; nothing happens when it has ended."""
        with suppress(OSError):
            os.write(self._commands, json.dumps(command).encode() + b"\n")

    def born(self, pid: int, pidfd: int) -> None:
        """It has been forked."""
        self.pid, self._pidfd = pid, pidfd
        self._loop.add_reader(pidfd, self._over)

    def kill(self) -> None:
        """End it at once; the kernel ends its QEMU with it."""
        if not self._ended.is_set() and self._pidfd >= 0:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def buried(self, status: int | None) -> None:
        """Its parent knows how it ended, or is gone itself."""
        self.status = status
        self._told.set()

    async def wait(self) -> None:
        """Wait until it has ended, and all it said has been taken."""
        await self._ended.wait()
        with anyio.move_on_after(END_DEADLINE_S):
            await self._told.wait()
        # Its end of the pipe is closed, unless it left a process behind that has it too.
        with anyio.move_on_after(END_DEADLINE_S):
            await self._silent.wait()

    def close(self) -> None:
        """Let go of the descriptors; a process that runs is killed."""
        self.kill()
        if self._timer is not None:
            self._timer.cancel()
        for descriptor in (self._events, self._pidfd):
            if descriptor >= 0:
                self._loop.remove_reader(descriptor)
        for descriptor in (self._commands, self._events, self._pidfd):
            if descriptor >= 0:
                os.close(descriptor)
        self._commands = self._events = self._pidfd = -1
        self._ended.set()
        self._silent.set()

    def _over(self) -> None:
        self._loop.remove_reader(self._pidfd)
        self._ended.set()

    def _readable(self) -> None:
        try:
            data = os.read(self._events, READ)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._loop.remove_reader(self._events)
            self._silent.set()
            return
        self._buffer += data
        *lines, rest = self._buffer.split(b"\n")
        self._buffer = rest
        for line in lines:
            if self._skipping:
                self._skipping = False
            else:
                self._message(bytes(line))
        if len(self._buffer) > MAX_LINE:
            self._buffer.clear()
            self.lost_lines += not self._skipping
            self._skipping = True
        if self.slow:
            # Its pipe fills, and it waits: what it does is no concern of others.
            self._loop.remove_reader(self._events)
            self._timer = self._loop.call_later(PAUSE_S, self._again)

    def _again(self) -> None:
        self._loop.add_reader(self._events, self._readable)

    def _message(self, line: bytes) -> None:
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            message = None
        if isinstance(message, dict) and isinstance(message.get("type"), str):
            self._take(message)
        else:
            self.lost_lines += 1


class Nursery:
    """Forks runners from a fork server, which it starts when one is needed.

    :param work: module that runs in the forked processes (:mod:`ktstr.daemon.forkserver`).
    :param log: file that takes what the fork server itself says.
    :param state: folder by which the processes are found after a crash.
    """

    def __init__(self, work: str, log: Path, state: Path) -> None:
        self._work = work
        self._log = log
        self._state = state
        self._loop = asyncio.get_running_loop()
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._ready = anyio.Event()
        self._born: deque[tuple[Runner, anyio.Event]] = deque()
        self._alive: dict[int, Runner] = {}
        self._why = ""

    @property
    def pid(self) -> int | None:
        """The fork server's process id; None while there is none."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """See to it that there is a fork server; it takes a second until it is of use."""
        if self._process is not None:
            return
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs:
            ours.setblocking(False)
            command = [sys.executable, "-m", "ktstr.daemon.forkserver", str(theirs.fileno())]
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    [*command, self._work],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                    # One thread: a fork takes only the one that forks along.
                    env={
                        **os.environ,
                        STATE_MARK: str(self._state),
                        "OPENBLAS_NUM_THREADS": "1",
                    },
                )
            self._socket = socket.socket(fileno=os.dup(ours.fileno()))
        self._ready = anyio.Event()
        self._loop.add_reader(self._socket, self._answered)

    async def fork(self, log: Path) -> Runner:
        """A new runner, which waits for its first command.

        :param log: file that takes its output.
        :raise HostUnfit: when there is none in time.
        """
        try:
            self.start()
            with anyio.fail_after(READY_DEADLINE_S):
                await self._ready.wait()
            if self._socket is None:
                raise HostUnfit(f"the fork server ended: {self._why}", hint=f"read {self._log}")
            runner, born = self._ask(log)
        except TimeoutError:
            self.stop()
            raise HostUnfit(
                f"the fork server was not ready within {READY_DEADLINE_S:.0f} s",
                hint=f"read {self._log}",
            ) from None
        except OSError as error:
            raise HostUnfit(f"no process can be started: {error}") from error
        try:
            with anyio.fail_after(FORK_DEADLINE_S):
                await born.wait()
        except TimeoutError:
            self.stop()
        except BaseException:
            runner.close()
            raise
        if not runner.pid:
            runner.close()
            raise HostUnfit(f"the fork server did not fork: {self._why}", hint=f"read {self._log}")
        return runner

    def stop(self) -> None:
        """End the fork server; runners that live go on."""
        if self._process is None:
            return
        self._dropped("it was stopped")

    def _ask(self, log: Path) -> tuple[Runner, anyio.Event]:
        assert self._socket is not None
        opened = []
        try:
            their_commands, commands = os.pipe()
            opened += [their_commands, commands]
            events, their_events = os.pipe()
            opened += [events, their_events]
            output = _open_log(log)
            opened.append(output)
            socket.send_fds(self._socket, [b"fork"], [their_commands, their_events, output])
        except OSError:
            for descriptor in opened:
                os.close(descriptor)
            raise
        for descriptor in (their_commands, their_events, output):
            os.close(descriptor)
        os.set_blocking(events, False)
        os.set_blocking(commands, False)
        runner, born = Runner(commands, events), anyio.Event()
        self._born.append((runner, born))
        return runner, born

    def _answered(self) -> None:
        assert self._socket is not None
        try:
            data, descriptors, _, _ = socket.recv_fds(self._socket, 4096, 1)
        except BlockingIOError:
            return
        except OSError:
            data, descriptors = b"", []
        if not data:
            self._dropped("")
            return
        message = json.loads(data)
        if "pid" in message:
            runner, born = self._born.popleft()
            runner.born(message["pid"], descriptors[0])
            self._alive[runner.pid] = runner
            born.set()
        elif "exit" in message:
            gone = self._alive.pop(message["exit"], None)
            if gone is not None:
                gone.buried(message["status"])
        else:
            self._ready.set()

    def _dropped(self, why: str) -> None:
        """The fork server is gone, or is to go."""
        assert self._process is not None and self._socket is not None
        self._loop.remove_reader(self._socket)
        self._socket.close()
        self._socket = None
        # It follows the socket at once, unless it is stuck.
        try:
            status = self._process.wait(0.5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        self._why = why or (f"status {status}" if status >= 0 else f"signal {-status}")
        self._process = None
        for runner in self._alive.values():
            runner.buried(None)
        self._alive.clear()
        self._ready.set()
        while self._born:
            self._born.popleft()[1].set()


def _open_log(path: Path) -> int:
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError:
        # A full disk is no reason not to run.
        return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)


def _ignored(message: dict[str, Any]) -> None:
    """Nobody listens yet."""
