# SPDX-License-Identifier: GPL-2.0-only
"""Requests of the guest are answered one after the other, also when they cannot be served."""

from types import SimpleNamespace
from typing import Any

import anyio
import msgpack
import pytest

from ktstr.capture.freezer import Capture
from ktstr.capture.stats import StatsClient
from ktstr.errors import GuestLost, KtstrError
from ktstr.series.bridge import CaptureUnavailable, SnapshotBridge
from ktstr.series.sample import Sample
from ktstr.session.live import Live
from ktstr.session.recorder import Recorder
from ktstr.session.requests import GuestRequests
from ktstr.wire import Frame, MsgType, WireError


class Desk:
    """A recorder that gets frames, a link that keeps answers, an inspector that plays along."""

    def __init__(self) -> None:
        self.recorder = Recorder({})
        self.replies: list[tuple[int, dict[str, object]]] = []
        self.samples: list[Sample] = []
        self.wrote: list[tuple[object, ...]] = []
        self.error: Exception | None = None
        self.due = -1
        self.bridge = SnapshotBridge()
        live: Any = SimpleNamespace(recorder=self.recorder, link=self, bridge=self.bridge)
        inspector: Any = self
        self.requests = GuestRequests(live, inspector, self.samples.append)

    def reply(self, msg_type: int, fields: dict[str, object]) -> None:
        self.replies.append((msg_type, fields))
        if len(self.replies) == self.due:
            self.done.set()

    async def capture(self) -> Capture:
        if self.error is not None:
            raise self.error
        return Capture(snapshot=None, paused_ns=5, request_ns=6, copied=7, error="stale")

    async def write_global(self, name: str, value: int, section: str | None) -> str:
        if self.error is not None:
            raise self.error
        self.wrote.append((name, value, section))
        return "x.bss"

    def ask(self, msg_type: int, **fields: object) -> None:
        self.recorder.on_frame(Frame(msg_type, 0, msgpack.packb(fields)), 1.0)

    async def served(self, count: int) -> None:
        self.due, self.done = count, anyio.Event()
        async with anyio.create_task_group() as group:
            group.start_soon(self.requests.serve)
            with anyio.fail_after(10):
                await self.done.wait()
            group.cancel_scope.cancel()


@pytest.mark.anyio
async def test_both_kinds_are_served_and_answered() -> None:
    desk = Desk()
    desk.ask(MsgType.SNAPSHOT_REQUEST, id=1, kind=1, tag="here", step=3)
    desk.ask(MsgType.KERNEL_OP_REQUEST, id=2, name="stall", value=-1, section=".data")
    await desk.served(2)
    assert desk.replies == [
        (MsgType.SNAPSHOT_REPLY, {"id": 1, "error": ""}),
        (MsgType.KERNEL_OP_REPLY, {"id": 2, "error": ""}),
    ]
    (sample,) = desk.samples
    assert (sample.tag, sample.step_index, sample.elapsed_ms) == ("here", 3, 0)
    assert (sample.paused_ns, sample.error) == (5, "stale")
    assert desk.wrote == [("stall", -1, ".data")]
    assert desk.recorder.notes == ["stall = -1 written into x.bss"]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("error", "words"),
    [
        (KtstrError("no such thing"), "no such thing"),
        (GuestLost("gone"), "gone"),
        (RuntimeError(), "RuntimeError"),
    ],
)
async def test_a_failure_is_an_answer(error: Exception, words: str) -> None:
    desk = Desk()
    desk.error = error
    desk.ask(MsgType.SNAPSHOT_REQUEST, id=9, kind=1, tag="here", step=0)
    await desk.served(1)
    assert desk.replies == [(MsgType.SNAPSHOT_REPLY, {"id": 9, "error": words})]
    assert desk.samples == []
    (event,) = desk.bridge.drain_events()
    assert isinstance(event, CaptureUnavailable) and event.tag == "here"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("msg_type", "fields"),
    [
        (MsgType.SNAPSHOT_REQUEST, {"kind": 1, "tag": "periodic_000", "step": 0}),
        (MsgType.SNAPSHOT_REQUEST, {"kind": 1, "tag": "x" * 65, "step": 0}),
        (MsgType.SNAPSHOT_REQUEST, {"kind": 1, "tag": "x", "step": 70_000}),
        (MsgType.SNAPSHOT_REQUEST, {"tag": "x", "step": 0}),
        (MsgType.SNAPSHOT_REQUEST, {"kind": 0, "tag": "x", "step": 0}),
        (MsgType.SNAPSHOT_REQUEST, {"kind": 4, "tag": "x", "step": 0}),
        (MsgType.KERNEL_OP_REQUEST, {"name": "x", "value": True, "section": None}),
        (MsgType.KERNEL_OP_REQUEST, {"name": "x", "value": 1, "section": ".rodata"}),
        (MsgType.KERNEL_OP_REQUEST, {"name": 5, "value": 1, "section": None}),
    ],
)
async def test_hostile_requests_are_refused(msg_type: int, fields: dict[str, object]) -> None:
    desk = Desk()
    desk.ask(msg_type, id=1, **fields)
    await desk.served(1)
    assert desk.replies[0][1]["error"]
    assert (desk.samples, desk.wrote) == ([], [])


def test_a_flood_is_noted_not_queued() -> None:
    desk = Desk()
    for number in range(17):
        desk.ask(MsgType.SNAPSHOT_REQUEST, id=number, tag="x", step=0)
    (note,) = desk.recorder.notes
    assert "more requests than one after the other" in note
    with pytest.raises(WireError):
        desk.requests._queue(MsgType.SNAPSHOT_REQUEST, b"")
    desk.requests._send.close()
    desk.requests._receive.close()


@pytest.mark.anyio
async def test_the_scheduler_is_asked_before_the_capture() -> None:
    desk = Desk()
    order = []

    def answer(number: int, line: bytes) -> None:
        order.append("stats")
        reply = b'{"errno":0,"args":{"resp":{"n":7}}}'
        client.on_reply(msgpack.packb({"id": number, "line": reply, "error": None}))

    client = StatsClient(answer)
    taken = desk.capture

    async def capture() -> Capture:
        order.append("capture")
        return await taken()

    desk.capture = capture  # type: ignore[method-assign]
    desk.requests._stats = client
    desk.ask(MsgType.SNAPSHOT_REQUEST, id=1, tag="here", step=3, kind=1)
    await desk.served(1)
    assert order == ["stats", "capture"]
    assert desk.samples[0].stats == {"n": 7}


def test_what_the_bridge_loses_becomes_a_note() -> None:
    recorder = Recorder({})
    nothing: Any = None
    live = Live(nothing, nothing, nothing, nothing, recorder, nothing)
    for at in (5, 9):
        live.bridge.store_sample(Sample("same", elapsed_ms=at))
    assert [sample.elapsed_ms for sample in live.samples] == [9]
    assert recorder.notes == [
        "warning: snapshot same replaced the one of +5ms that had the same name"
    ]
    live.stats_meta = {"Top": {"fields": {"a": {"desc": "words"}}}}
    meta = live.series().stats_meta
    assert meta is not None and meta.describe("a") == "words"
    assert len(live.series()) == 1
