# SPDX-License-Identifier: GPL-2.0-only
"""Stop, act, continue, in one turn of the event loop.

A freeze costs the guest what lies between QEMU's STOP and its RESUME, so nothing may wait in
between: no task is scheduled, no message goes through a queue. Two QMP commands go out on the wire
below the client (QEMU docs/interop/qmp-spec). The moment the wire tells of the stop, the caller's
function runs, and the continue is written before anything else happens in the process
(docs/decisions/0019).
"""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import anyio

from ktstr.errors import GuestHung, GuestLost, KtstrError, QemuDied
from ktstr.vm.events import MachineEvent, event_from_qmp
from ktstr.vm.gdb import Debugger
from ktstr.vm.qmp_line import QmpLine

DEADLINE_S: Final = 30.0
"""How long QEMU may take to stop the vCPUs, and to let them run again (seed: rendezvous)."""

REST_S: Final = 0.003
"""How long nobody listens after the continue: its answers would wake the host against the guest."""


@dataclass(frozen=True, slots=True)
class Stood:
    """How long one freeze took, ns.

    :param paused_ns: from QEMU's STOP event, when all vCPUs had stopped, to its RESUME event.
    :param request_ns: from the request until the answer was heard that the guest runs again.
    """

    paused_ns: int
    request_ns: int


class Freezes:
    """Freezes of one machine, one at a time, on the wire of its QMP session."""

    def __init__(self, line: QmpLine) -> None:
        self._line = line
        self._loop = asyncio.get_running_loop()
        self._turn = anyio.Lock()
        self._freeze: _Freeze | None = None
        self._count = 0
        self._news: asyncio.Future[None] | None = None
        self._failure: KtstrError | None = None
        line.on_end = lambda: self._fail(QemuDied("QEMU closed its QMP connection"))

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

    async def _frozen(self, freeze: "_Freeze") -> Stood:
        self._line.read()  # what was told before is not this freeze's
        self._count += 1
        self._freeze, self._line.tap = freeze, self._tap
        began_ns = time.perf_counter_ns()
        try:
            self._execute("stop")
            await self._until(freeze.news, "stop the guest and let it run on")
            if not freeze.acted:
                await freeze.stub_stands()
                freeze.act(self._send_cont)
                await self._until(lambda: freeze.over, "let the guest run on")
            request_ns = time.perf_counter_ns() - began_ns
        finally:
            if not freeze.acted:
                self._send_cont()  # a stop that comes too late must not keep the guest
            self._freeze = self._line.tap = None
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

    def _send_cont(self) -> None:
        self._execute("cont")

    def _execute(self, command: str) -> None:
        self._line.send(f'{{"execute":"{command}","id":"{command} {self._count}"}}\r\n'.encode())

    def _fail(self, failure: KtstrError) -> None:
        if self._failure is None:
            self._failure = failure
        self._tell()

    def _tap(self, line: bytes) -> bool:
        """Take what belongs to the freeze: its answers, and the events of its stop."""
        freeze = self._freeze
        if freeze is None or not (
            b'"STOP"' in line
            or b'"RESUME"' in line
            or b'"id": "stop ' in line
            or b'"id": "cont ' in line
        ):
            return False
        acted = freeze.acted
        try:
            message = json.loads(line)
            if "event" in message:
                freeze.note(event_from_qmp(message), self._send_cont)
            elif message["id"].endswith(f" {self._count}"):
                self._answered(freeze, message)
        except (ValueError, AttributeError, KeyError, TypeError) as error:
            self._tell(GuestLost(f"QEMU's QMP session is damaged: {error}"))
        if freeze.acted and not acted and not freeze.over:
            self._line.rest(REST_S)
        elif freeze.news():
            self._tell()
        return True

    def _answered(self, freeze: "_Freeze", message: dict[str, object]) -> None:
        if "error" in message:
            described = message["error"]
            said = described.get("desc") if isinstance(described, dict) else described
            self._tell(GuestLost(f"QEMU would neither stop nor continue the guest: {said}"))
        elif message["id"] == f"stop {self._count}":
            freeze.stopped(self._send_cont)
        else:
            freeze.over = True


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
