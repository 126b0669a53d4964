# SPDX-License-Identifier: GPL-2.0-only
"""The host's end of the ports when things around it fail."""

import errno
import os
import time
from pathlib import Path

import anyio.lowlevel
import pytest

from ktstr.session import link as link_module
from ktstr.session.link import Link
from ktstr.session.scopes import task_scope
from ktstr.testing.guest import ScriptedGuest
from ktstr.wire import Frame, WireError

pytestmark = pytest.mark.anyio


async def hear_goodbye(archive: Path) -> tuple[Link, list[Frame]]:
    """A link that has heard a Goodbye and its port's end."""
    frames: list[Frame] = []
    with ScriptedGuest() as guest:
        link = Link(guest.bulk, guest.ctl, archive, lambda frame, now: frames.append(frame))
        async with task_scope() as group:
            group.start_soon(link.serve)
            guest.goodbye()
            assert await link.until(lambda: bool(frames), time.monotonic() + 30)
            guest.close_bulk()
            assert not await link.until(lambda: False, time.monotonic() + 30)
    return link, frames


async def test_a_folder_that_takes_no_archive_costs_the_archive_only() -> None:
    link, frames = await hear_goodbye(Path("/proc/no/frames.bin"))
    assert len(frames) == 1
    assert link.archive_error == os.strerror(errno.ENOENT)


async def test_a_full_disk_costs_the_archive_only() -> None:
    link, frames = await hear_goodbye(Path("/dev/full"))
    assert len(frames) == 1
    assert link.archive_error == os.strerror(errno.ENOSPC)


async def test_the_archive_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "ARCHIVE_CAP", 4096)
    with ScriptedGuest() as guest:
        link = Link(guest.bulk, guest.ctl, tmp_path / "a", lambda frame, now: None)
        async with task_scope() as group:
            group.start_soon(link.serve)
            for n in range(64):
                guest.send(0x41414141, {"text": "x" * 1000})
                heard = n + 1
                assert await link.until(
                    lambda heard=heard: link.decoder.stats.frames >= heard, time.monotonic() + 30
                )
    assert link.archive_error is not None
    # The read that reaches the cap is kept whole: one frame here.
    assert 4096 <= (tmp_path / "a").stat().st_size < 4096 + 1100


async def test_a_guest_that_does_not_read_its_port_is_told_not_waited_for(tmp_path: Path) -> None:
    with ScriptedGuest() as guest:
        link = Link(guest.bulk, guest.ctl, tmp_path / "a", lambda frame, now: None)
        with pytest.raises(WireError, match="control port"):
            for number in range(100_000):
                link.request_stats(number, b"{}\n")
        link.request_shutdown()


async def test_held_it_reads_nothing_and_afterwards_everything(tmp_path: Path) -> None:
    frames: list[Frame] = []
    with ScriptedGuest() as guest:
        link = Link(guest.bulk, guest.ctl, tmp_path / "a", lambda frame, now: frames.append(frame))
        async with task_scope() as group:
            group.start_soon(link.serve)
            with link.held():
                for _ in range(3):
                    guest.send(0x41414141, {"text": "x"})
                for _ in range(50):
                    await anyio.lowlevel.checkpoint()
                assert frames == []
            assert await link.until(lambda: len(frames) == 3, time.monotonic() + 30)
    assert link.decoder.stats.clean


async def test_what_a_saved_guest_had_said_comes_first_and_counts(tmp_path: Path) -> None:
    """A clone goes on with the sequence numbers of the guest it was saved from."""
    with ScriptedGuest() as first:
        link = Link(first.bulk, first.ctl, tmp_path / "first", lambda frame, now: None)
        async with task_scope() as group:
            group.start_soon(link.serve)
            first.hello()
            assert await link.until(lambda: link.heard, time.monotonic() + 30)
            first.attached()
            # Not waited for: it is in the socket when the guest stands.
            said = link.said_so_far()
        assert said == (tmp_path / "first").read_bytes()
        link.forget()
        assert link.said_so_far() is None

        # The scripted guest goes on, and another link takes over with what was said.
        heard: list[int] = []
        clone = Link(
            first.bulk,
            first.ctl,
            tmp_path / "b",
            lambda frame, now: heard.append(frame.sequence),
            said,
        )
        async with task_scope() as group:
            group.start_soon(clone.serve)
            assert await clone.until(lambda: len(heard) == 2, time.monotonic() + 30)
            assert not clone.heard
            first.goodbye()
            assert await clone.until(lambda: len(heard) == 3, time.monotonic() + 30)
            assert clone.heard
        assert heard == [0, 1, 2]
        assert clone.decoder.stats.clean
        assert (tmp_path / "b").read_bytes().startswith(said)


async def test_who_says_too_much_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "HISTORY_CAP", 512)
    with ScriptedGuest() as guest:
        link = Link(guest.bulk, guest.ctl, tmp_path / "a", lambda frame, now: None)
        async with task_scope() as group:
            group.start_soon(link.serve)
            guest.send(0x41414141, {"text": "x" * 600})
            assert await link.until(lambda: link.heard, time.monotonic() + 30)
            assert link.said_so_far() is None
