# SPDX-License-Identifier: GPL-2.0-only
"""Requests of the guest: captures and writes that its ops ask the host for."""

import time
from collections.abc import Awaitable, Callable

import anyio

from ktstr.capture.stats import Answer, StatsClient
from ktstr.errors import GuestLost, KtstrError
from ktstr.introspect.globals import WRITABLE
from ktstr.series.entry import NOBODY_ASKED
from ktstr.series.sample import PERIODIC_PREFIX, MissingStatsReason, Sample
from ktstr.session.inspector import Inspector
from ktstr.session.live import Live
from ktstr.session.scopes import task_scope
from ktstr.session.watches import Watches
from ktstr.wire import MsgType, SnapshotKind, WireError, unpack_map
from ktstr.wire.messages import take_int, take_str

QUEUED = 16
"""Requests that may wait; the agent sends one at a time."""

MAX_SAMPLES = 512
REASON_CHARS = 1000


class GuestRequests:
    """Serves one request after the other and answers each.

    :param on_sample: called with each sample that could be taken.
    :param stats: asks the scheduler before a capture, or says why nobody can.
    :ivar watches: the run's write watches.
    """

    def __init__(
        self,
        live: Live,
        inspector: Inspector,
        on_sample: Callable[[Sample], None],
        stats: StatsClient | MissingStatsReason = NOBODY_ASKED,
    ) -> None:
        self._stats = stats
        self._live = live
        self._inspector = inspector
        self._on_sample = on_sample
        self._taken = 0
        self.watches = Watches(live, inspector, on_sample)
        self._send, self._receive = anyio.create_memory_object_stream[tuple[int, bytes]](QUEUED)
        self._kinds: dict[int, tuple[int, Callable[[dict[str, object]], Awaitable[None]]]] = {
            MsgType.SNAPSHOT_REQUEST: (MsgType.SNAPSHOT_REPLY, self._snapshot),
            MsgType.KERNEL_OP_REQUEST: (MsgType.KERNEL_OP_REPLY, self._write),
        }
        live.recorder.on_request = self._queue

    def _queue(self, msg_type: int, payload: bytes) -> None:
        try:
            self._send.send_nowait((msg_type, payload))
        except anyio.WouldBlock:
            raise WireError("more requests than one after the other") from None

    async def serve(self) -> None:
        """Answer until cancelled, then take watches away; run as a task of the session.

        :raise GuestLost: when QEMU does not answer while a watch holds the guest.
        """
        try:
            async with task_scope() as group:
                group.start_soon(self.watches.serve)
                with self._send, self._receive:
                    async for msg_type, payload in self._receive:
                        await self._answer(msg_type, payload)
        finally:
            await self.watches.close()

    async def _answer(self, msg_type: int, payload: bytes) -> None:
        reply_type, serve = self._kinds[msg_type]
        recorder = self._live.recorder
        try:
            fields = unpack_map(payload)
            number = take_int(fields, "id")
        except WireError as error:
            recorder.note(f"a request of the guest cannot be read: {error}"[:REASON_CHARS])
            return
        reason = ""
        try:
            await serve(fields)
        except GuestLost as error:
            # The conversation notices the same loss and speaks for the run.
            reason = error.message
        except Exception as error:
            # Guest memory may hold anything, so reading it may raise anything.
            reason = error.message if isinstance(error, KtstrError) else str(error)
            reason = reason or type(error).__name__
        try:
            self._live.link.reply(reply_type, {"id": number, "error": reason[:REASON_CHARS]})
        except WireError as error:
            recorder.note(str(error))

    async def _snapshot(self, fields: dict[str, object]) -> None:
        match take_int(fields, "kind"):
            case SnapshotKind.CAPTURE:
                await self._capture(fields)
            case SnapshotKind.WATCH:
                if take_str(fields, "tag", 64).startswith(PERIODIC_PREFIX):
                    raise WireError("a watch must not be called as periodic snapshots are")
                await self.watches.add(fields)
            case SnapshotKind.END_WATCHES:
                await self.watches.end_step(take_int(fields, "step", 65535))
            case kind:
                raise WireError(f"a request for a snapshot of kind {kind}")

    async def _capture(self, fields: dict[str, object]) -> None:
        tag, step = take_str(fields, "tag", 64), take_int(fields, "step", 65535)
        if tag.startswith(PERIODIC_PREFIX) or self._taken >= MAX_SAMPLES:
            raise WireError(f"a snapshot {tag!r} is not taken: a wrong name, or one too many")
        self._taken += 1
        stats, answered = await self._ask()
        elapsed_ms = round(self._live.recorder.clock.elapsed_ms(answered))
        try:
            taken = await self._inspector.capture()
        except Exception as error:
            self._live.bridge.unavailable(tag, str(error)[:REASON_CHARS])
            raise
        self._on_sample(
            Sample(
                tag=tag,
                elapsed_ms=elapsed_ms,
                step_index=step,
                snapshot=taken.snapshot,
                stats=stats,
                paused_ns=taken.paused_ns,
                error=taken.error,
            )
        )

    async def _ask(self) -> tuple[Answer, float]:
        if isinstance(self._stats, StatsClient):
            return await self._stats.request()
        return self._stats, time.monotonic()

    async def _write(self, fields: dict[str, object]) -> None:
        name, value, section = (fields.get(key) for key in ("name", "value", "section"))
        if not isinstance(name, str) or type(value) is not int:
            raise WireError("a request to write names no variable, or no integer")
        if section is not None and section not in WRITABLE:
            raise WireError(f"a request to write into {section!r:.40}")
        where = await self._inspector.write_global(name, value, str(section) if section else None)
        self._live.recorder.note(f"{name} = {value} written into {where}")
