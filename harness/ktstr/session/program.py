# SPDX-License-Identifier: GPL-2.0-only
"""The host's end of one program in a guest: what it says, what it is told, how it ends."""

import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final, Protocol

import anyio

from ktstr.errors import ChannelLost, GuestHung, GuestLost
from ktstr.session.conversation import CLOSING_S, Ending, lost
from ktstr.session.link import Link
from ktstr.vm.console import tail
from ktstr.wire import MsgType, WireError, unpack_map
from ktstr.wire.messages import INPUT_WINDOW, OUTPUT_WINDOW, take_int

STDOUT: Final = 1
STDERR: Final = 2

PING_S: Final = 5.0
"""Silence after which the guest is asked for a sign of life, seconds."""

HUNG_S: Final = 60.0
"""Silence after which the guest counts as hung, seconds; its agent answers at once."""

KILL_S: Final = 10.0
"""How long the end of a killed program may take, seconds."""

_SIGKILL: Final = 9
_SIGNALLED: Final = 128
_NOT_STARTED: Final = 127
_PIECE: Final = 4096
_NUMBER_LIMIT: Final = 1 << 32


class Silent(Protocol):
    """What is told of a guest that does not answer."""

    def __call__(self, seconds: float, /) -> object: ...


@dataclass(frozen=True, slots=True)
class Size:
    """A terminal's."""

    rows: int
    columns: int


class Program:
    """A program that was started in a guest; iterate over :meth:`output` until it ends.

    :param on_silence: told, at most every :data:`PING_S`, for how many seconds a guest has not
        answered; without it such a guest counts as hung after :data:`HUNG_S`.
    :ivar exit_code: its exit status, 128 and the signal's number if one ended it (as a shell has
        it); ``None`` while it runs.
    """

    def __init__(
        self,
        number: int,
        machine: Ending,
        link: Link,
        on_silence: Silent | None = None,
    ) -> None:
        self.exit_code: int | None = None
        self._number = number
        self._machine = machine
        self._link = link
        self._on_silence = on_silence
        self._pending: deque[tuple[int, bytes]] = deque()
        self._received = self._read = self._acknowledged = 0
        self._sent = self._taken = 0
        self._heard = self._asked = time.monotonic()
        self._refused: str | None = None

    # -- frames --------------------------------------------------------------------------------

    def take(self, msg_type: int, fields: dict[str, object]) -> None:
        """A frame that is about this program.

        :raise WireError: when it is not what it should be.
        """
        self._heard = time.monotonic()
        match msg_type:
            case MsgType.PROGRAM_OUTPUT:
                self._take_output(fields)
            case MsgType.PROGRAM_STATE:
                self._taken = min(take_int(fields, "taken"), self._sent)
            case MsgType.PROGRAM_END:
                self._take_end(fields)

    def _take_output(self, fields: dict[str, object]) -> None:
        data, stream = fields.get("data"), take_int(fields, "fd", STDERR)
        if type(data) is not bytes or stream not in (STDOUT, STDERR):
            raise WireError("a program's output is not told as it should be")
        # A frame begins within the window and may end beyond it.
        if self._received - self._read >= 2 * OUTPUT_WINDOW:
            raise WireError("a program's output goes beyond what the guest has room for")
        self._received += len(data)
        self._pending.append((stream, data))

    def _take_end(self, fields: dict[str, object]) -> None:
        ended, error = fields.get("exit"), fields.get("error")
        if isinstance(error, str):
            self._refused, self.exit_code = error[:1000], _NOT_STARTED
        elif isinstance(ended, dict) and ended.get("kind") == "Exited":
            self.exit_code = take_int(ended, "code", 255)
        elif isinstance(ended, dict) and ended.get("kind") == "Signaled":
            self.exit_code = _SIGNALLED + take_int(ended, "signal", 127)
        else:
            raise WireError(f"a program's end is told as {ended!r:.60}")

    # -- what it says --------------------------------------------------------------------------

    async def output(self, deadline_s: float | None = None) -> AsyncIterator[tuple[int, bytes]]:
        """What it prints, as it comes: (:data:`STDOUT` or :data:`STDERR`, bytes), until it ends.

        What was handed out counts as taken up when the next piece is asked for.

        :param deadline_s: how long it may run from now, seconds; ``None``: as long as it likes.
        :raise TimeoutError: it ran longer, and was killed; the guest is there for others.
        :raise GuestLost: the guest ended, or hangs.
        """
        until = None if deadline_s is None else time.monotonic() + deadline_s
        while True:
            while self._pending:
                stream, data = self._pending.popleft()
                yield stream, data
                self._read += len(data)
                self._acknowledge()
            if self.exit_code is not None:
                if self._refused is not None:
                    yield STDERR, f"{self._refused}\n".encode()
                return
            if until is not None and time.monotonic() >= until:
                await self._kill()
                raise TimeoutError(f"the program still ran after {deadline_s:g} s and was killed")
            await self._wait_for(lambda: bool(self._pending or self.exit_code is not None), until)

    def _acknowledge(self) -> None:
        if self._read - self._acknowledged >= OUTPUT_WINDOW // 4 and self.exit_code is None:
            self._acknowledged = self._read
            self._control(read=self._read)

    async def _wait_for(self, happened: Callable[[], bool], until: float | None = None) -> None:
        """Wait for ``happened()``, for ``until``, or for some seconds, with an eye on the guest."""
        soon = time.monotonic() + PING_S
        await self._link.until(
            lambda: happened() or self._machine.end is not None,
            soon if until is None else min(soon, until),
        )
        if happened():
            return
        if self._machine.end is not None or self._link.closed:
            raise await self._lost()
        self._look_for_life()

    async def _lost(self) -> GuestLost:
        # A QEMU that dies closes its ports before its end is known.
        with anyio.move_on_after(CLOSING_S):
            await self._machine.ended.wait()
        end = self._machine.end
        if end is None:
            return ChannelLost("the bulk port closed although the guest still runs")
        return lost(end, tail(self._machine.console_log))

    def _look_for_life(self) -> None:
        now = time.monotonic()
        silent_s = now - self._heard
        if silent_s < PING_S or now - self._asked < PING_S:
            return
        self._asked = now
        self._control()
        if silent_s < 2 * PING_S:
            return
        if self._on_silence is not None:
            self._on_silence(silent_s)
        elif silent_s >= HUNG_S:
            raise GuestHung(f"the guest has not answered for {silent_s:.0f} s")

    async def _kill(self) -> None:
        self._control(signal=_SIGKILL)
        over = time.monotonic() + KILL_S
        while self.exit_code is None and time.monotonic() < over:
            self._read += sum(len(data) for _, data in self._pending)
            self._pending.clear()
            self._acknowledge()
            await self._wait_for(lambda: bool(self._pending or self.exit_code is not None), over)
        if self.exit_code is None:
            raise GuestHung(f"a program was killed and had not ended {KILL_S:.0f} s later")

    # -- what it is told -----------------------------------------------------------------------

    async def send(self, data: bytes) -> None:
        """Input for it; returns once the guest has room for all.

        :raise GuestLost: the guest ended, or hangs.
        """
        for at in range(0, len(data), _PIECE):
            piece = data[at : at + _PIECE]
            while self._sent + len(piece) - self._taken > INPUT_WINDOW:
                if self.exit_code is not None:
                    return
                await self._wait_for(self._has_room)
            self._sent += len(piece)
            self._tell(MsgType.PROGRAM_INPUT, {"data": piece})

    def _has_room(self) -> bool:
        return self._sent + _PIECE - self._taken <= INPUT_WINDOW or self.exit_code is not None

    def close_input(self) -> None:
        """Its input is over."""
        self._tell(MsgType.PROGRAM_INPUT, {"data": b"", "end": True})

    def resize(self, size: Size) -> None:
        """Its terminal has another size now."""
        self._control(size=[size.rows, size.columns])

    def _control(self, **fields: object) -> None:
        self._tell(MsgType.PROGRAM_CONTROL, fields)

    def _tell(self, msg_type: int, fields: dict[str, object]) -> None:
        try:
            self._link.reply(msg_type, {"id": self._number, **fields})
        except WireError:
            # A guest that does not read is found by its silence.
            return


def read_frame(payload: bytes) -> tuple[int, dict[str, object]]:
    """Number of the program that a frame is about, and its fields.

    :raise WireError: when it has none.
    """
    fields = unpack_map(payload)
    return take_int(fields, "id", _NUMBER_LIMIT), fields
