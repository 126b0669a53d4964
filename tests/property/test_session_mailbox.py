# SPDX-License-Identifier: GPL-2.0-only
"""The mailbox: any plan arrives whole, and no page list makes the host write elsewhere."""

import binascii
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktstr.errors import ChannelLost, DefinitionInvalid
from ktstr.session.mailbox import EMPTY, HEADER, MAGIC, PAGE, RUNG, ring
from ktstr.testing.ram import CannedRam

PAGES = 64


def waiting(pages: list[int], *, magic: int = MAGIC, state: int = EMPTY) -> CannedRam:
    ram = CannedRam((0, PAGES * PAGE))
    if 0 <= pages[0] <= (PAGES - 1) * PAGE:
        ram.write(pages[0], HEADER.pack(magic, state, 0, 0, 0, 0))
    return ram


def collected(ram: CannedRam, pages: list[int]) -> tuple[bytes, tuple[int, ...]]:
    """What the agent reads: its pages one after the other (guest/agent/mailbox.py)."""
    body = b"".join(ram.read(page, PAGE) for page in pages)
    header = struct.unpack_from("<QIIIIQ", body)
    return body[HEADER.size : HEADER.size + header[2]], header


@given(
    numbers=st.lists(st.integers(0, PAGES - 1), min_size=1, max_size=8, unique=True),
    payload=st.binary(max_size=3 * PAGE),
    wall_ns=st.integers(0, 2**63),
)
def test_any_payload_arrives_through_any_pages(
    numbers: list[int], payload: bytes, wall_ns: int
) -> None:
    pages = [number * PAGE for number in numbers]
    ram = waiting(pages)
    before = {page: ram.read(page, PAGE) for page in range(0, PAGES * PAGE, PAGE)}
    if len(payload) > len(pages) * PAGE - HEADER.size:
        with pytest.raises(DefinitionInvalid, match="bytes of plan"):
            ring(ram, pages, payload, wall_ns)
        assert {page: ram.read(page, PAGE) for page in before} == before
        return
    ring(ram, pages, payload, wall_ns)
    got, header = collected(ram, pages)
    assert got == payload
    assert header == (MAGIC, RUNG, len(payload), binascii.crc32(payload), 0, wall_ns)
    for page in set(before) - set(pages):
        assert ram.read(page, PAGE) == before[page], "a page nobody named was written"


def test_a_payload_that_just_fits_and_one_byte_more() -> None:
    pages = [5 * PAGE, 2 * PAGE]
    room = 2 * 4096 - 32
    ram = waiting(pages)
    ring(ram, pages, b"x" * room, 0)
    assert collected(ram, pages)[0] == b"x" * room
    with pytest.raises(DefinitionInvalid):
        ring(waiting(pages), pages, b"x" * (room + 1), 0)


@given(
    pages=st.lists(st.integers(0, 2**64), min_size=1, max_size=6), payload=st.binary(max_size=8192)
)
def test_a_hostile_page_list_is_a_lost_channel_at_worst(pages: list[int], payload: bytes) -> None:
    ram = waiting(pages)
    try:
        ring(ram, pages, payload, 0)
    except (ChannelLost, DefinitionInvalid):
        return
    assert all(page <= PAGES * PAGE for page in pages[: -(-(len(payload) + HEADER.size) // PAGE)])


@pytest.mark.parametrize(("magic", "state"), [(0, EMPTY), (MAGIC, RUNG), (MAGIC, 2)])
def test_memory_that_is_no_waiting_mailbox_is_left_alone(magic: int, state: int) -> None:
    ram = waiting([PAGE], magic=magic, state=state)
    before = ram.read(0, PAGES * PAGE)
    with pytest.raises(ChannelLost, match="not a waiting mailbox"):
        ring(ram, [PAGE], b"plan", 0)
    assert ram.read(0, PAGES * PAGE) == before
