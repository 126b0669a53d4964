# SPDX-License-Identifier: GPL-2.0-only
"""The agent's mailbox, with the host's hand played by writes into the same pages; and faults."""

import binascii
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent import faults, mailbox
from agent.mailbox import EMPTY, HEADER, MAGIC, PAGE, PAGES, RUNG, TAKEN, Mailbox
from agent.processes import Child


@pytest.fixture
def box(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mailbox]:
    # Not on this host's kernel; and not locked, which a user may not.
    monkeypatch.setattr(mailbox, "write_text", lambda path, text: None)
    monkeypatch.setattr(mailbox, "_MAP_LOCKED", 0)
    made = Mailbox()
    yield made
    made._memory.close()


def ring(box: Mailbox, payload: bytes, **changes: int) -> None:
    header = {
        "magic": MAGIC,
        "state": RUNG,
        "length": len(payload),
        "crc": binascii.crc32(payload),
        "entropy": 0,
        "wall": 1_700_000_000_123_456_789,
        **changes,
    }
    body = HEADER.pack(*header.values()) + payload
    box._memory[: len(body)] = body


def state(box: Mailbox) -> int:
    return HEADER.unpack_from(box._memory)[1]


def test_it_waits_empty(box: Mailbox) -> None:
    assert HEADER.unpack_from(box._memory) == (MAGIC, EMPTY, 0, 0, 0, 0)


@pytest.mark.parametrize("size", [0, 1, PAGE, PAGES * PAGE - HEADER.size])
def test_a_payload_of_any_size_is_taken_once(box: Mailbox, size: int) -> None:
    payload = os.urandom(size)
    ring(box, payload)
    assert box.wait() == (payload, 1_700_000_000_123_456_789)
    assert state(box) == TAKEN


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"magic": MAGIC + 1}, "damaged"),
        ({"length": PAGES * PAGE - HEADER.size + 1}, "damaged"),
        ({"length": 2}, "checksum"),
        ({"crc": 0}, "checksum"),
    ],
)
def test_damage_is_refused(box: Mailbox, changes: dict[str, int], words: str) -> None:
    ring(box, b"plan", **changes)
    with pytest.raises(ValueError, match=words):
        box.wait()


def test_its_own_pages_are_the_ones_announced(box: Mailbox) -> None:
    try:
        pages = box.pages()
    except OSError:
        pytest.skip("this host hides physical addresses")
    assert len(set(pages)) == PAGES
    assert all(page % PAGE == 0 for page in pages)


class Crowd:
    """Worker groups as far as faults look at them."""

    def __init__(self, *pids: int) -> None:
        self.pids = list(pids)
        self.groups = [self]

    def of_cgroup(self, name: str) -> "list[Crowd]":
        return [self] if name == "one" else []


def test_the_fault_kills_the_first_worker_that_still_lives(heard: Any) -> None:
    children = [Child(["/bin/sleep", "60"], {}) for _ in range(3)]
    crowd: Any = Crowd(*(child.pid for child in children))
    fault = {"fault": "kill-worker", "cgroup": "one"}
    for expected in range(3):
        faults.inject(fault, crowd, None, heard)
        assert children[expected].wait(30)
        assert [child.poll() for child in children].count(True) == expected + 1
    with pytest.raises(ValueError, match="no worker is alive"):
        faults.inject(fault, crowd, None, heard)
    for child in children:
        child.close()


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"fault": "kill-worker", "cgroup": "none"}, "no worker is alive"),
        ({"fault": "earthquake"}, "unknown fault 'earthquake'"),
    ],
)
def test_faults_without_a_victim_or_a_name(heard: Any, fault: Any, words: str) -> None:
    crowd: Any = Crowd()
    with pytest.raises(ValueError, match=words):
        faults.inject(fault, crowd, None, heard)


def test_garbage_has_the_size_asked_for_and_no_pattern() -> None:
    read_end, write_end = os.pipe()
    faults._garbage(write_end, 20_000)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as stream:
        found = stream.read()
    assert len(found) == 20_000
    assert len(set(found)) == 256


def test_random_bytes_come_in_front_of_a_payload(box: Mailbox) -> None:
    entropy, payload = os.urandom(64), b"plan"
    ring(box, entropy + payload, length=len(payload), entropy=64)
    assert box.wait()[0] == payload
    assert box.entropy == entropy


def test_more_random_bytes_than_fit_are_refused(box: Mailbox) -> None:
    ring(box, b"plan", entropy=PAGES * PAGE - HEADER.size - 3)
    with pytest.raises(ValueError, match="damaged"):
        box.wait()


def test_it_can_be_waited_at_again(box: Mailbox) -> None:
    ring(box, b"first")
    assert box.wait()[0] == b"first"
    assert not box.rung()
    box.empty()
    assert state(box) == EMPTY
    pauses: list[int] = []

    def pause() -> None:
        pauses.append(1)
        if len(pauses) == 3:
            ring(box, b"second")

    assert box.wait(pause)[0] == b"second"
    assert len(pauses) == 3


def test_a_plan_that_came_with_the_image_needs_no_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "plan"
    monkeypatch.setattr(mailbox, "DELIVERED", str(place))
    assert mailbox.delivered() is None
    place.write_bytes(b"the plan")
    assert mailbox.delivered() == b"the plan"
