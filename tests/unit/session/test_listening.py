# SPDX-License-Identifier: GPL-2.0-only
"""A link that follows a file, and says nothing."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest

from ktstr.session import listening
from ktstr.session.listening import ListeningLink
from ktstr.session.scopes import task_scope
from ktstr.wire import Frame, FrameWriter, MsgType, WireError, pack_payload

pytestmark = pytest.mark.anyio

GOODBYE = pack_payload({"reason": "done"})


@dataclass
class Sender:
    """A machine as far as a link sees it, whose guest writes into a file."""

    bulk_file: Path
    bulk: Any = None
    ctl: Any = None
    ended: anyio.Event = field(default_factory=anyio.Event)

    def write(self, data: bytes) -> None:
        with self.bulk_file.open("ab") as file:
            file.write(data)


def link_to(folder: Path) -> tuple[Sender, ListeningLink, list[Frame]]:
    sender, frames = Sender(folder / "frames.bin"), list[Frame]()
    sender.write(b"")
    machine: Any = sender
    return sender, ListeningLink(machine, lambda frame, now: frames.append(frame)), frames


def goodbye() -> bytes:
    out = bytearray()
    FrameWriter(out.extend).send(MsgType.GOODBYE, GOODBYE)
    return bytes(out)


async def test_a_frame_is_heard_when_its_last_byte_is_there(tmp_path: Path) -> None:
    sender, link, frames = link_to(tmp_path)
    async with task_scope() as group:
        group.start_soon(link.serve)
        sender.write(goodbye()[:20])
        deadline = time.monotonic() + 30
        assert await link.until(lambda: link.decoder.pending == 20, time.monotonic() + 0.5) or (
            link.decoder.pending == 20
        )
        assert not frames
        sender.write(goodbye()[20:])
        assert await link.until(lambda: bool(frames), deadline)
        sender.ended.set()
        assert not await link.until(lambda: False, deadline)
    assert (link.closed, link.decoder.stats.clean) == (True, True)


async def test_what_came_before_the_end_is_heard_after_it(tmp_path: Path) -> None:
    sender, link, frames = link_to(tmp_path)
    sender.write(goodbye() + b"half")
    sender.ended.set()
    await link.serve()
    assert [frame.payload for frame in frames] == [GOODBYE]
    assert (link.closed, link.decoder.stats.dropped_bytes) == (True, 4)


async def test_a_guest_that_sends_without_end_is_not_heard_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "MOST_BYTES", 1000)
    sender, link, _ = link_to(tmp_path)
    sender.write(bytes(1001))
    await link.serve()
    assert link.closed
    assert link.archive_error is not None and "more than" in link.archive_error


async def test_nothing_can_be_said(tmp_path: Path) -> None:
    _, link, _ = link_to(tmp_path)
    with pytest.raises(WireError, match="hears nothing"):
        link.request_stats(1, b"x")
