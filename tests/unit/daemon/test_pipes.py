# SPDX-License-Identifier: GPL-2.0-only
"""What a run has said, for its readers, and how it gets out of its process."""

import json
import os
import threading

import anyio
import pytest

from ktstr.daemon.feed import Feed
from ktstr.daemon.outgoing import Outgoing


async def test_readers_of_any_speed_see_the_same_in_the_same_order() -> None:
    feed, seen = Feed("run"), dict[int, list[int]]()

    async def read(naps: int) -> None:
        seen[naps] = []
        async for event in feed.after(0):
            seen[naps].append(event.seq)
            for _ in range(naps):
                await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as readers:
        for naps in (0, 3, 50):
            readers.start_soon(read, naps)
        for number in range(100):
            feed.add("note", {"text": str(number)}, 0.0)
            await anyio.lowlevel.checkpoint()
        feed.close()
    assert list(seen.values()) == [list(range(1, 101))] * 3


async def test_a_reader_begins_where_it_left_off() -> None:
    feed = Feed("run", first=11)
    for _ in range(5):
        feed.add("note", {}, 0.0)
    feed.close()
    assert [event.seq async for event in feed.after(0)] == [11, 12, 13, 14, 15]
    assert [event.seq async for event in feed.after(13)] == [14, 15]
    assert [event.seq async for event in feed.after(99)] == []


async def test_readings_leave_room_for_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ktstr.daemon.feed.MAX_EVENTS", 100)
    feed = Feed("run")
    for _ in range(200):
        feed.add("reading", {}, 0.0)
    for _ in range(50):
        feed.add("note", {}, 0.0)
    assert feed.add("state", {}, 0.0, vital=True) is not None
    feed.close()
    kinds = [event.type async for event in feed.after(0)]
    assert [kinds.count(kind) for kind in ("reading", "note", "state")] == [75, 25, 1]
    assert feed.dropped == 125 + 25


def test_bytes_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ktstr.daemon.feed.MAX_BYTES", 1000)
    feed = Feed("run")
    assert feed.add("note", {"text": "x" * 2000}, 0.0) is None
    assert feed.add("note", {"text": "x" * 500}, 0.0) is not None
    assert feed.dropped == 1


def lines_of(descriptor: int) -> list[dict[str, object]]:
    with open(descriptor, "rb") as file:
        return [json.loads(line) for line in file.read().splitlines()]


async def test_a_full_pipe_makes_nobody_wait_and_what_was_dropped_is_told() -> None:
    reading, writing = os.pipe()
    out = Outgoing(writing)
    out.attach()
    for number in range(60_000):
        out.send({"type": "event", "number": number, "text": "x" * 40})
    out.send({"type": "end"}, vital=True)
    found: list[list[dict[str, object]]] = []
    reader = threading.Thread(target=lambda: found.append(lines_of(reading)))
    reader.start()
    await anyio.to_thread.run_sync(out.flush)
    os.close(writing)
    await anyio.to_thread.run_sync(reader.join)
    (lines,) = found
    events = [line["number"] for line in lines if line["type"] == "event"]
    assert events == list(range(len(events)))
    (dropped,) = [line["events"] for line in lines if line["type"] == "dropped"]
    assert len(events) + dropped == 60_000 and dropped
    assert lines[-1] == {"type": "end"}


async def test_what_did_not_fit_goes_out_once_there_is_room() -> None:
    reading, writing = os.pipe()
    out = Outgoing(writing)
    out.attach()
    for number in range(3000):
        out.send({"number": number, "text": "x" * 100})
    got = b""
    os.set_blocking(reading, False)
    with anyio.fail_after(30):
        while got.count(b"\n") < 3000:
            await anyio.wait_readable(reading)
            got += os.read(reading, 1 << 16)
    assert [json.loads(line)["number"] for line in got.splitlines()] == list(range(3000))
    os.close(reading)
    out.send({"nobody": "reads"})
    os.close(writing)
