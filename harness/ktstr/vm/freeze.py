# SPDX-License-Identifier: GPL-2.0-only
"""Stop, act, continue, in one turn of the event loop.

A freeze costs the guest what lies between QEMU's STOP and its RESUME, so nothing may wait in
between: no task is scheduled, no message goes through a queue. This is a QMP session of its own,
as little of the protocol as two commands need (QEMU docs/interop/qmp-spec). The moment its socket
tells of the stop, the caller's function runs, and the continue is written before anything else
happens in the process (docs/decisions/0019).
"""

import asyncio
import json
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import anyio

from ktstr.errors import GuestHung, GuestLost, KtstrError, QemuDied
from ktstr.vm.events import MachineEvent, event_from_qmp
from ktstr.vm.gdb import Debugger

DEADLINE_S: Final = 30.0
"""How long QEMU may take to stop the vCPUs, and to let them run again (seed: rendezvous)."""

MAX_BUFFERED: Final = 1 << 20
"""Longest unfinished message that is taken, bytes."""

_READ: Final = 65536
_NEGOTIATE: Final = b'{"execute":"qmp_capabilities"}\n'


@dataclass(frozen=True, slots=True)
class Stood:
    """How long one freeze took, ns.

    :param paused_ns: from QEMU's STOP event, when all vCPUs had stopped, to its RESUME event.
    :param request_ns: from the request to the answer that the guest runs again.
    """

    paused_ns: int
    request_ns: int


class FreezeLine:
    """The QMP session that freezes; one freeze at a time.

    :param sock: our end, non-blocking; QEMU's greeting may still be on its way.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = b""
        self._loop = asyncio.get_running_loop()
        self._turn = anyio.Lock()
        self._freeze: _Freeze | None = None
        self._count = 0
        self._news: asyncio.Future[None] | None = None
        self._failure: KtstrError | None = None
        self._ready = False
        self._refused: str | None = None

    async def freeze(self, inside: Callable[[], object], debugger: Debugger | None) -> Stood:
        """Run ``inside`` while the guest stands still; it must neither wait nor take long.

        The guest runs on whatever ``inside`` does, also under cancellation. It stays stopped only
        when a watch of ``debugger`` was hit meanwhile: that hit's owner lets it go.

        :param debugger: attached to the machine's gdb stub, which then has to do the continuing.
        :raises QemuDied: QEMU is gone.
        :raises GuestHung: no stop, or no answer to the continue, in time.
        :raises GuestLost: QEMU refused: the guest has ended.
        :raises Exception: whatever ``inside`` raised.
        """
        with anyio.CancelScope(shield=True):
            async with self._turn:
                stood = await self._frozen(_Freeze(inside, debugger))
        return stood

    def close(self) -> None:
        """Listen no more; the socket belongs to who made it."""
        if self._sock.fileno() >= 0:
            self._loop.remove_reader(self._sock.fileno())

    async def _frozen(self, freeze: "_Freeze") -> Stood:
        self._loop.add_reader(self._sock.fileno(), self._readable)
        try:
            if not self._ready:
                self._send(_NEGOTIATE)
                await self._until(lambda: self._ready, "open a QMP session")
            while self._readable():
                pass  # what the machine told since the last freeze, other people's stops included
            self._count += 1
            self._refused, self._freeze = None, freeze
            began_ns = time.perf_counter_ns()
            self._execute("stop")
            await self._until(freeze.news, "stop the guest and let it run on")
            if not freeze.acted:
                await freeze.stub_stands()
                freeze.act(self._send_cont)
                await self._until(lambda: freeze.over, "let the guest run on")
            request_ns = time.perf_counter_ns() - began_ns
        finally:
            if self._freeze is freeze and not freeze.acted:
                self._send_cont()  # a stop that comes too late must not keep the guest
            self._freeze = None
            if self._sock.fileno() >= 0:
                self._loop.remove_reader(self._sock.fileno())
        if freeze.failure is not None:
            raise freeze.failure
        return Stood(min(request_ns, freeze.paused_ns(request_ns)), request_ns)

    async def _until(self, arrived: Callable[[], bool], what: str) -> None:
        # Plain asyncio: anyio's scopes and events cost a busy guest a tenth of a millisecond.
        timer = self._loop.call_later(DEADLINE_S, self._late, what)
        try:
            while not arrived():
                if self._failure is not None:
                    raise self._failure
                if self._refused is not None:
                    raise GuestLost(f"QEMU would not {what}: {self._refused}")
                self._news = self._loop.create_future()
                await self._news
        finally:
            timer.cancel()

    def _late(self, what: str) -> None:
        self._tell(GuestHung(f"QEMU did not {what} within {DEADLINE_S:g} s"))

    def _tell(self, failure: KtstrError | None = None) -> None:
        """Wake who waits for QEMU."""
        if self._news is not None and not self._news.done():
            if failure is None:
                self._news.set_result(None)
            else:
                self._news.set_exception(failure)

    def _send(self, data: bytes) -> None:
        try:
            if self._sock.send(data) != len(data):
                raise OSError("QEMU does not read")
        except OSError as error:
            self._fail(QemuDied(f"QEMU takes no commands: {error}"))

    def _send_cont(self) -> None:
        self._execute("cont")

    def _execute(self, command: str) -> None:
        self._send(f'{{"execute":"{command}","id":"{command} {self._count}"}}\n'.encode())

    def _fail(self, failure: KtstrError) -> None:
        if self._failure is None:
            self._failure = failure
        self._tell()

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
            self._fail(QemuDied("QEMU closed its QMP connection"))
            return False
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        try:
            if len(self._buffer) > MAX_BUFFERED:
                raise ValueError("a message without an end")
            for line in lines:
                self._told(json.loads(line))
        except (ValueError, AttributeError) as error:
            self._fail(GuestLost(f"QEMU's QMP session is damaged: {error}"))
        if self._freeze is None or self._freeze.news() or self._refused is not None:
            self._tell()
        return True

    def _told(self, message: dict[str, object]) -> None:
        freeze = self._freeze
        if "event" in message:
            if freeze is not None:
                freeze.note(event_from_qmp(message), self._send_cont)
        elif "error" in message and self._is_mine(message):
            described = message["error"]
            said = described.get("desc") if isinstance(described, dict) else described
            self._refused = str(said)
        elif "return" in message:
            if "id" not in message:
                self._ready = True
            elif freeze is not None and message["id"] == f"stop {self._count}":
                freeze.stopped(self._send_cont)
            elif freeze is not None and message["id"] == f"cont {self._count}":
                freeze.over = True

    def _is_mine(self, message: dict[str, object]) -> bool:
        """Not an answer to a freeze that gave up waiting."""
        said = message.get("id")
        return said is None or str(said).endswith(f" {self._count}")


class _Freeze:
    """One freeze on its way: stop asked for, seen, acted upon, continued."""

    def __init__(self, inside: Callable[[], object], debugger: Debugger | None) -> None:
        self.seen = self.acted = self.over = False
        self.failure: BaseException | None = None
        self._inside = inside
        self._debugger = debugger
        self._stop_us: int | None = None
        self._resume_us: int | None = None

    def note(self, event: MachineEvent, send_cont: Callable[[], None]) -> None:
        """Take an event of the machine."""
        if event.name == "STOP":
            self._stop_us = event.at_us
            self.stopped(send_cont)
        elif event.name == "RESUME" and self.acted:
            self._resume_us = event.at_us
            if self._debugger is not None:
                # The stub acknowledges no continue; this event does.
                self.over = True

    def stopped(self, send_cont: Callable[[], None]) -> None:
        """The vCPUs stand: act at once, unless the stub has not told its part yet."""
        self.seen = True
        if not self.acted and (self._debugger is None or self._debugger.caught_up()):
            self.act(send_cont)

    def act(self, send_cont: Callable[[], None]) -> None:
        """Run the caller's function, then let the guest go on, whatever came of it."""
        self.acted = True
        try:
            self._inside()
        except BaseException as failure:
            self.failure = failure
        if self._debugger is not None and self._debugger.hit is not None:
            self.over = True
        elif self._debugger is not None and self._stop_us is not None:
            self._debugger.send_resume()
        else:
            # Without a stub, or when the guest stood already because it has ended.
            send_cont()

    def news(self) -> bool:
        """Whether it is over, or has to wait for the stub before it can act."""
        return self.over or (self.seen and not self.acted)

    async def stub_stands(self) -> None:
        """Wait for the stub's word of the stop: it must not come after the continue."""
        if self._debugger is not None:
            await self._debugger.wait_standing()

    def paused_ns(self, request_ns: int) -> int:
        """From STOP to RESUME, or the whole request when an event went missing."""
        if self._stop_us is None or self._resume_us is None or self._resume_us < self._stop_us:
            return request_ns
        return (self._resume_us - self._stop_us) * 1000
