# SPDX-License-Identifier: GPL-2.0-only
"""A client of QEMU's gdb stub: as much of gdb's remote serial protocol as write watches need.

Packets are ``$text#checksum``, acknowledged by ``+`` or asked for again by ``-`` until both sides
agree to leave that out (GDB manual, appendix E). Two habits of QEMU's stub shape the client: every
byte that it does not wait for stops a running machine, so nothing is sent while it runs but the
acknowledgement of a stop; and one stop packet comes for each time the machine stops, whoever
stopped it. A packet that answers no command is therefore a stop.
"""

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import anyio

from ktstr.errors import GuestHung, GuestLost, QemuDied

ANSWER_S: Final = 5.0
"""How long the stub may take to answer a command."""

MAX_PACKET: Final = 16 << 10
"""Longest packet that is taken, bytes; QEMU's are at most 4 KiB."""

MAX_REPEATS: Final = 3
"""How often a packet may arrive damaged, or one of ours be asked for again, in a row."""

TRAP: Final = 5
"""Signal of a stop that a watch caused, and nobody asked for."""

_RIP = slice(2 * 8 * 16, 2 * 8 * 17)
"""The instruction pointer in the answer to ``g``, hexadecimal: it follows 16 registers."""

_WATCHES: Final = ("watch", "rwatch", "awatch")
_READ: Final = 4096


class GdbFault(ValueError):
    """A packet, or an answer in one, is not what the protocol says."""


@dataclass(frozen=True, slots=True)
class Stop:
    """The machine stopped.

    :param signal: as gdb numbers it; :data:`TRAP` for a watch, 2 for a stop that was asked for.
    :param thread: the stub's number of the vCPU, counted from 1.
    :param watch: address of the watch that was hit; ``None`` when no watch is named.
    """

    signal: int
    thread: int | None = None
    watch: int | None = None


def checksum(text: bytes) -> bytes:
    """The two hexadecimal digits that follow a packet."""
    return b"%02x" % (sum(text) & 0xFF)


def frame(text: bytes) -> bytes:
    """A packet around plain text (no ``$``, ``#`` or ``}``)."""
    return b"$" + text + b"#" + checksum(text)


class Packets:
    """Takes the stub's bytes apart: ``+``, ``-``, packets, and b"" for a damaged packet."""

    def __init__(self) -> None:
        self._open: bytearray | None = None

    def feed(self, data: bytes) -> list[bytes]:
        """What ``data`` completes: ``b"+"``, ``b"-"``, ``b"$text"``, or ``b""`` for damage.

        :raises GdbFault: when a packet grows beyond :data:`MAX_PACKET`.
        """
        found: list[bytes] = []
        for value in data:
            if value == 0x24:  # $ begins a packet, also inside one that never ended
                self._open = bytearray()
            elif self._open is None:
                if value in b"+-":
                    found.append(bytes((value,)))
            else:
                self._open.append(value)
                if len(self._open) > MAX_PACKET:
                    raise GdbFault(f"a packet of the gdb stub is longer than {MAX_PACKET} bytes")
                if self._open[-3:-2] == b"#":
                    text, sent = bytes(self._open[:-3]), bytes(self._open[-2:])
                    found.append(b"$" + text if sent.lower() == checksum(text) else b"")
                    self._open = None
        return found


def parse_stop(text: str) -> Stop:
    """Read a stop packet: ``T05thread:01;watch:ffff8880;`` or ``S05``.

    :raises GdbFault: when it is none.
    """
    try:
        if text[:1] not in ("T", "S") or len(text) < 3:
            raise ValueError
        number = int(text[1:3], 16)
        pairs = [part.split(":", 1) for part in text[3:].split(";") if part]
        fields = {pair[0]: pair[1] for pair in pairs}
        thread = fields.get("thread")
        # With several processes it would read p1.2, which this client does not ask for.
        which = None if thread is None else int(thread.rpartition(".")[2], 16)
        watch = next((fields[key] for key in _WATCHES if key in fields), None)
        at = None if watch is None else int(watch, 16)
    except (ValueError, IndexError):
        raise GdbFault(f"the gdb stub reports {text!r:.80}, which is no stop") from None
    if which is not None and not 0 < which < 1 << 16:
        raise GdbFault(f"the gdb stub reports vCPU {which}")
    return Stop(number, which, None if at is None else at & (1 << 64) - 1)


class Debugger:
    """The connection to the stub of a machine that stands still.

    :ivar hit: the stop for a watch that nobody has taken up yet.
    :ivar on_hit: called in the event loop when there is one.
    :ivar standing: set while the machine stands still, as far as the stub told.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.hit: Stop | None = None
        self.standing = anyio.Event()
        self.standing.set()
        self.on_hit: Callable[[], None] = lambda: None
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._packets = Packets()
        self._turn = anyio.Lock()
        self._acks = True
        self._last = b""
        self._repeats = 0
        self._answers: list[str] = []
        self._answering = False
        self._acked = False
        self._news = anyio.Event()
        self._broken: GuestLost | None = None
        self._loop.add_reader(sock.fileno(), self._readable)

    async def open(self) -> None:
        """Settle how to talk.

        :raises GuestLost: when the stub does not.
        """
        offers = await self.command("qSupported:swbreak+;hwbreak+")
        if "QStartNoAckMode+" in offers.split(";"):
            await self._expect_ok("QStartNoAckMode")
            self._acks = False

    async def watch(self, address: int, size: int) -> None:
        """Stop the machine after each write to these bytes.

        :raises GdbRefused: when the stub does not take it.
        :raises GuestLost: when it does not answer.
        """
        await self._expect_ok(f"Z2,{address:x},{size:x}")

    async def unwatch(self, address: int, size: int) -> None:
        """Take a watch away.

        :raises GuestLost: when the stub does not.
        """
        await self._expect_ok(f"z2,{address:x},{size:x}")

    async def instruction_pointer(self, thread: int) -> int:
        """Where a vCPU goes on: the instruction after a write that was watched.

        :raises GdbFault: when the stub's answer is none.
        :raises GuestLost: when it does not answer.
        """
        await self._expect_ok(f"Hg{thread:x}")
        registers = (await self.command("g"))[_RIP]
        try:
            return int.from_bytes(bytes.fromhex(registers.ljust(16, "x")), "little")
        except ValueError:
            raise GdbFault(f"the gdb stub gives {registers!r:.40} as instruction pointer") from None

    async def resume(self) -> None:
        """Let the machine run on.

        :raises GuestLost: when the stub does not answer.
        """
        async with self._turn:
            self.standing = anyio.Event()
            self._send(b"c")
            # An acknowledgement, or at once the next stop.
            await self._until(lambda: self._acked or not self._acks or self.standing.is_set(), "c")

    async def wait_standing(self) -> None:
        """Wait until the stub has told that the machine stands.

        :raises GuestHung: it does not, in time.
        """
        with anyio.move_on_after(ANSWER_S):
            await self.standing.wait()
        if not self.standing.is_set():
            raise GuestHung(f"QEMU's gdb stub told of no stop within {ANSWER_S:g} s")

    async def detach(self) -> None:
        """Leave the machine to itself; it runs on unless it has ended.

        :raises GuestLost: when the stub does not answer.
        """
        await self._expect_ok("D")

    def close(self) -> None:
        """Listen no more; the socket belongs to who made it."""
        if self._sock.fileno() >= 0:
            self._loop.remove_reader(self._sock.fileno())
        self._fail(QemuDied("the connection to QEMU's gdb stub is closed"))

    def take_hit(self) -> Stop | None:
        """The hit, which then is the caller's to end with a continue."""
        hit, self.hit = self.hit, None
        return hit

    async def command(self, text: str) -> str:
        """Send a command and wait for its answer; the machine has to stand still.

        :raises GuestLost: when there is no answer.
        """
        async with self._turn:
            self._answers.clear()
            self._answering = True
            try:
                self._send(text.encode("ascii"))
                await self._until(lambda: bool(self._answers), text)
            finally:
                self._answering = False
            return self._answers[0]

    async def _expect_ok(self, text: str) -> None:
        answer = await self.command(text)
        if answer != "OK":
            said = repr(answer[:40]) if answer else "that it does not know it"
            raise GdbRefused(f"QEMU's gdb stub answers {text!r} with {said}")

    async def _until(self, arrived: Callable[[], bool], text: str) -> None:
        with anyio.move_on_after(ANSWER_S):
            while not arrived() and self._broken is None:
                self._news = anyio.Event()
                await self._news.wait()
        if self._broken is not None:
            raise self._broken
        if not arrived():
            raise GuestHung(f"QEMU's gdb stub did not answer {text!r} within {ANSWER_S:g} s")

    def _send(self, text: bytes) -> None:
        self._last, self._acked, self._repeats = frame(text), False, 0
        self._write(self._last)

    def _write(self, data: bytes) -> None:
        if self._broken is not None:
            return
        try:
            # Never more than some dozen bytes on the way: the buffer takes them.
            if self._sock.send(data) != len(data):
                raise OSError("the stub does not read")
        except OSError as error:
            self._fail(QemuDied(f"QEMU's gdb stub takes nothing: {error}"))

    def _readable(self) -> bool:
        """Take what has come; whether there was anything."""
        try:
            data = self._sock.recv(_READ)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._loop.remove_reader(self._sock.fileno())
            self._fail(QemuDied("QEMU closed the connection of its gdb stub"))
            return False
        try:
            for item in self._packets.feed(data):
                self._take(item)
        except GdbFault as error:
            self._loop.remove_reader(self._sock.fileno())
            self._fail(GuestLost(str(error)))
        self._news.set()
        return True

    def _take(self, item: bytes) -> None:
        if item == b"+":
            self._acked = True
        elif item in (b"-", b""):
            self._repeats += 1
            if self._repeats > MAX_REPEATS or not self._acks:
                raise GdbFault("packets from or to QEMU's gdb stub are damaged")
            self._write(self._last if item == b"-" else b"-")
        else:
            if self._acks:
                self._write(b"+")
            self._repeats = 0
            text = item[1:].decode("latin-1")
            if self._answering and not self._answers:
                self._answers.append(text)
            else:
                self._stopped(parse_stop(text))

    def _stopped(self, stop: Stop) -> None:
        self.standing.set()
        if stop.signal == TRAP:
            self.hit = stop
            self.on_hit()

    def _fail(self, error: GuestLost) -> None:
        if self._broken is None:
            self._broken = error
        self.standing.set()
        self._news.set()


class GdbRefused(GuestLost):
    """The stub does not do what it was asked for."""
