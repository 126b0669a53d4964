# SPDX-License-Identifier: GPL-2.0-only
"""Programs that the host starts and talks with while they run: a shell, or one command.

What a program prints goes to the host as it comes, what the host sends is its input. Neither side
sends more than the other has taken up, but for a window (``ktstr.wire.messages``): so an endless
output delays no Ctrl-C, and nothing here grows with what passes through.
"""

from __future__ import annotations

import fcntl
import os
import struct
import time

from agent.channel import Channel
from agent.loop import Loop, read_available
from agent.processes import Child, Place
from agent.scheduler import Scheduler, SchedulerDied
from agent.system import write_text
from agent.workers import exit_info
from ktstr.wire import MsgType, WireError, unpack_map
from ktstr.wire.messages import INPUT_WINDOW, OUTPUT_WINDOW, take_int, take_str

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

ENOENT = 2
TIOCSWINSZ = 0x5414
READ_SIZE = 32 * 1024
# Between two looks for a scheduler that is gone; its death also wakes the loop.
LOOK_S = 3600.0
MAX_SIDE = 0xFFFF
# Of a line that is marked in the kernel log.
MARK_BYTES = 256


def set_size(fd: int, rows: int, columns: int) -> None:
    """Tell a terminal, and with SIGWINCH its programs, how large it is."""
    fcntl.ioctl(fd, TIOCSWINSZ, struct.pack("<HHHH", rows, columns, 0, 0))


def _take_size(value: object) -> tuple[int, int]:
    if (
        type(value) is not list
        or len(value) != 2
        or any(type(side) is not int or not 0 <= side <= MAX_SIDE for side in value)
    ):
        raise WireError(f"a terminal of {value!r:.60}; rows and columns are due")
    return value[0], value[1]


def _take_words(fields: dict[str, object], name: str) -> list[str]:
    value = fields.get(name)
    if type(value) is not list or any(type(word) is not str for word in value):
        raise WireError(f"field {name!r} is no list of text")
    return value


def _found(name: str, path: str) -> str:
    """The program's path; a name without a slash is looked for in the folders of ``path``.

    :raise FileNotFoundError: when it is in none of them.
    """
    if "/" in name:
        return name
    for folder in path.split(":"):
        if os.access(f"{folder}/{name}", os.X_OK):
            return f"{folder}/{name}"
    raise FileNotFoundError(ENOENT, "there is no such program in the guest", name)


class Marks:
    """Puts lines of a program's output that begin with some words into the kernel log.

    So that it tells what the program was at when the kernel said something.
    """

    def __init__(self, words: str) -> None:
        self._words = words.encode()
        self._line = bytearray()

    def take(self, data: bytes) -> None:
        """The next piece of output."""
        *lines, rest = (self._line + data).split(b"\n")
        for line in lines:
            if line.startswith(self._words):
                text = line[:MARK_BYTES].decode("utf-8", "replace").strip()
                write_text("/dev/kmsg", f"<6>ktstr: {text}\n")
        self._line = rest[:MARK_BYTES]


class Program:
    """One running program.

    :raise OSError: when there is no such program, or no terminal for it.
    """

    def __init__(self, loop: Loop, channel: Channel, fields: dict[str, object]) -> None:
        self.number = take_int(fields, "id")
        argv = _take_words(fields, "argv")
        size = fields.get("terminal")
        env = dict(word.partition("=")[::2] for word in _take_words(fields, "env"))
        argv[:1] = [_found(argv[0], env.get("PATH", ""))] if argv else [""]
        cwd = take_str(fields, "cwd")
        self._marks = Marks(take_str(fields, "mark")) if "mark" in fields else None
        self._loop = loop
        self._channel = channel
        self._sent = self._read_by_host = 0
        self._taken = 0
        self._inbox = bytearray()
        self._ending = False
        self.ended = False
        self.terminal: int | None = None
        # Our end of each output, and what the host calls it; those that are read now.
        self._outputs: dict[int, int] = {}
        self._input: int | None = None
        self._at_end = False
        if size is not None:
            fds = self._open_terminal(_take_size(size))
        else:
            fds = self._open_pipes(wants_input=fields.get("input") is True)
        try:
            place = Place(env, cwd, terminal=size is not None)
            self._child = Child(argv, fds, place=place)
        finally:
            for fd in set(fds.values()):
                os.close(fd)
        self._watch()
        loop.add(self._child.pidfd, self._child_ended)

    def _open_terminal(self, size: tuple[int, int]) -> dict[int, int]:
        master, slave = os.openpty()
        set_size(slave, *size)
        self.terminal = master
        self._outputs[master] = 1
        # Of its own, because the loop knows one callback for a descriptor.
        self._input = os.dup(master)
        os.set_blocking(master, False)
        return dict.fromkeys((0, 1, 2), slave)

    def _open_pipes(self, *, wants_input: bool) -> dict[int, int]:
        fds = {}
        if wants_input:
            fds[0], self._input = os.pipe()
            os.set_blocking(self._input, False)
        else:
            fds[0] = os.open("/dev/null", os.O_RDONLY)
        for theirs in (1, 2):
            ours, fds[theirs] = os.pipe()
            os.set_blocking(ours, False)
            self._outputs[ours] = theirs
        return fds

    # -- what it says --------------------------------------------------------------------------

    def _watch(self) -> None:
        """Wait for output where the host has room for it, and for nothing where it has not."""
        room = self._sent - self._read_by_host < OUTPUT_WINDOW
        for fd in self._outputs:
            if room and fd not in self._loop:
                self._loop.add(fd, self._pump)
            elif not room:
                self._loop.remove(fd)

    def _pump(self) -> None:
        """Pass on what can be read now, as far as the host has room."""
        for fd in list(self._outputs):
            while self._sent - self._read_by_host < OUTPUT_WINDOW:
                data = read_available(fd, READ_SIZE)
                if data:
                    self._send(fd, data)
                    continue
                if data == b"" or self._ending:
                    # Closed; or whoever holds it still is not the program.
                    self._close_output(fd)
                break
        if self._ending and not self._outputs:
            self._finish()
        else:
            self._watch()

    def _send(self, fd: int, data: bytes) -> None:
        self._sent += len(data)
        if self._marks is not None:
            self._marks.take(data)
        fields: dict[str, object] = {"id": self.number, "fd": self._outputs[fd], "data": data}
        self._channel.send(MsgType.PROGRAM_OUTPUT, fields)

    def _close_output(self, fd: int) -> None:
        self._loop.remove(fd)
        del self._outputs[fd]
        if fd != self.terminal:
            os.close(fd)

    # -- what it is told -----------------------------------------------------------------------

    def feed(self, data: bytes, *, end: bool) -> None:
        """Its input goes on, or with ``end`` is over.

        :raise WireError: when it is more than the host was given room for.
        """
        if len(self._inbox) + len(data) > INPUT_WINDOW:
            raise WireError("more input than there is room for")
        self._inbox += data
        self._at_end = self._at_end or end
        self._write()

    def _write(self) -> None:
        fd = self._input
        written = 0
        while self._inbox and fd is not None:
            try:
                count = os.write(fd, self._inbox)
            except BlockingIOError:
                if fd not in self._loop:
                    self._loop.add_writable(fd, self._write)
                break
            except OSError:
                # Nobody reads it any more.
                count = len(self._inbox)
                self._at_end = True
            written += count
            del self._inbox[:count]
        if fd is None:
            written = len(self._inbox)
            self._inbox.clear()
        if not self._inbox and fd is not None:
            self._loop.remove(fd)
            if self._at_end and self.terminal is None:
                os.close(fd)
                self._input = None
        self._taken += written
        if written:
            self.tell()

    def tell(self) -> None:
        """Say how much of the input it has, and that this guest lives."""
        self._channel.send(MsgType.PROGRAM_STATE, {"id": self.number, "taken": self._taken})

    def control(self, fields: dict[str, object]) -> None:
        """What the host has read, the terminal's size, a signal; without any, a sign of life."""
        if "read" in fields:
            self._read_by_host = take_int(fields, "read")
            self._pump()
        elif "size" in fields:
            if self.terminal is not None:
                set_size(self.terminal, *_take_size(fields["size"]))
        elif "signal" in fields:
            self._child.kill(take_int(fields, "signal", 64))
        else:
            self.tell()

    # -- its end -------------------------------------------------------------------------------

    def _child_ended(self) -> None:
        if self._child.poll():
            self._loop.remove(self._child.pidfd)
            self._ending = True
            self._pump()

    def _finish(self) -> None:
        if self.ended:
            return
        self.ended = True
        for fd in (self._input, self.terminal):
            if fd is not None:
                self._loop.remove(fd)
                os.close(fd)
        self._input = self.terminal = None
        self._child.close()
        status = exit_info(self._child.status)
        self._channel.send(MsgType.PROGRAM_END, {"id": self.number, "exit": status})


class Programs:
    """Serves the host's requests for programs until it asks for the end."""

    step = 0

    def __init__(
        self, loop: Loop, channel: Channel, scheduler: Scheduler, shutdown: Callable[[], bool]
    ) -> None:
        self._loop = loop
        self._channel = channel
        self._scheduler = scheduler
        self._shutdown = shutdown
        self._running: dict[int, Program] = {}
        channel.on(MsgType.PROGRAM_START, self._start)
        channel.on(MsgType.PROGRAM_INPUT, self._input)
        channel.on(MsgType.PROGRAM_CONTROL, self._control)

    def prepare(self) -> None:
        """Nothing has to be there before the scheduler."""

    def run(self) -> None:
        """Serve; a scheduler that ends meanwhile is reported and ends nothing."""
        started: dict[str, object] = {"steps": 0, "uptime_ms": int(time.monotonic() * 1000)}
        self._channel.send(MsgType.SCENARIO_START, started)
        scheduler = self._scheduler
        while not self._shutdown():
            self._loop.run(
                time.monotonic() + LOOK_S,
                lambda: self._shutdown() or (scheduler.attached and scheduler.gone),
            )
            try:
                scheduler.check("the shell")
            except SchedulerDied:
                pass

    def _start(self, payload: bytes) -> None:
        fields = unpack_map(payload)
        number = take_int(fields, "id")
        try:
            self._running[number] = Program(self._loop, self._channel, fields)
        except OSError as error:
            reason = f"{error.filename or 'starting it'}: {error.strerror}"
            self._channel.send(MsgType.PROGRAM_END, {"id": number, "exit": None, "error": reason})

    def _input(self, payload: bytes) -> None:
        fields = unpack_map(payload)
        data = fields.get("data")
        program = self._find(fields)
        if type(data) is not bytes:
            raise WireError("input is not bytes")
        if program is not None:
            program.feed(data, end=fields.get("end") is True)

    def _control(self, payload: bytes) -> None:
        fields = unpack_map(payload)
        program = self._find(fields)
        if program is not None:
            program.control(fields)

    def _find(self, fields: dict[str, object]) -> Program | None:
        """The program that is meant; None when it has ended meanwhile."""
        number = take_int(fields, "id")
        program = self._running.get(number)
        if program is not None and program.ended:
            del self._running[number]
            return None
        return program
