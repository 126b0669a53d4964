# SPDX-License-Identifier: GPL-2.0-only
"""What a run has said, at its bounds."""

import pytest

from ktstr.daemon import feed
from ktstr.daemon.feed import Feed


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "MAX_EVENTS", 8)


async def seen(of: Feed, after: int = 0) -> list[tuple[int, str]]:
    of.close()
    return [(event.seq, event.type) async for event in of.after(after)]


async def test_at_the_bound_the_oldest_readings_go_and_steps_stay() -> None:
    made = Feed("x")
    made.add("step_started", {}, 0.0)
    for number in range(20):
        assert made.add("reading", {"elapsed_ms": number}, 0.0) is not None
    made.add("step_ended", {}, 0.0)
    # Six of eight are the share of what passes, and the first step is one of them.
    kept = [(1, "step_started"), *((n, "reading") for n in range(17, 22)), (22, "step_ended")]
    assert await seen(made) == kept
    assert await seen(made, 18) == kept[3:]
    assert made.dropped == 15


async def test_a_reader_whose_place_is_forgotten_goes_on_with_what_is_kept() -> None:
    made = Feed("x")
    for _ in range(3):
        made.add("reading", {}, 0.0)
    reader = made.after(0)
    assert (await anext(reader)).seq == 1
    for _ in range(20):
        made.add("reading", {}, 0.0)
    made.close()
    assert [event.seq async for event in reader] == list(range(18, 24))


async def test_readings_make_room_by_their_size_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "MAX_BYTES", 400)
    made = Feed("x")
    for _ in range(5):
        # 106 bytes of JSON: two of them fit into three quarters of 400.
        made.add("reading", {"a": "x" * 98}, 0.0)
    assert made.add("reading", {"a": "x" * 400}, 0.0) is None
    made.add("reading", {"a": "x" * 98}, 0.0)
    assert [seq for seq, _ in await seen(made)][-1] == 6
