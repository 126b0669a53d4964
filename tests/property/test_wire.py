# SPDX-License-Identifier: GPL-2.0-only
"""The decoder against arbitrary streams: it loses nothing that is intact, and never raises."""

import struct
import zlib
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from ktstr.wire import HEADER_SIZE, MAX_PAYLOAD, FrameDecoder, WireError, unpack_map

TAGS = st.sampled_from([b"HELO", b"STIM", b"ALOG", b"WRPT", b"QQQ1"])
PAYLOADS = st.lists(st.tuples(TAGS, st.binary(max_size=200)), max_size=12)


def stream_of(parts: list[tuple[bytes, bytes]]) -> list[bytes]:
    return [
        tag + struct.pack("<III", len(payload), zlib.crc32(payload), number) + payload
        for number, (tag, payload) in enumerate(parts)
    ]


def chunks(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


@given(PAYLOADS, st.lists(st.integers(0, 10_000), max_size=20))
def test_any_cutting_of_the_stream_gives_the_same_frames(
    parts: list[tuple[bytes, bytes]], cuts: list[int]
) -> None:
    decoder = FrameDecoder()
    data = b"".join(stream_of(parts))
    frames = [frame for piece in chunks(data, cuts) for frame in decoder.feed(piece)]
    assert [frame.payload for frame in frames] == [payload for _, payload in parts]
    assert [frame.sequence for frame in frames] == list(range(len(parts)))
    assert decoder.stats.clean
    assert decoder.pending == 0


@given(
    PAYLOADS,
    st.lists(st.binary(max_size=300), min_size=13, max_size=13),
    st.lists(st.integers(0, 10_000), max_size=10),
)
def test_frames_between_garbage_are_all_recovered(
    parts: list[tuple[bytes, bytes]], garbage: list[bytes], cuts: list[int]
) -> None:
    """Garbage may swallow the start of a frame only if it forms a plausible header itself."""
    frames = stream_of(parts)
    data = b"".join(piece for pair in zip(garbage, [*frames, b""], strict=False) for piece in pair)
    decoder = FrameDecoder()
    found = [frame for piece in chunks(data, cuts) for frame in decoder.feed(piece)]
    found += decoder.resync()
    payloads = [frame.payload for frame in found]
    # Everything sent arrives, in order; garbage itself cannot pass for a frame with a payload.
    wanted = iter(payloads)
    assert all(payload in wanted for _, payload in parts)


@given(st.binary(max_size=4096), st.lists(st.integers(0, 10_000), max_size=10))
def test_random_bytes_never_raise_and_never_pile_up(data: bytes, cuts: list[int]) -> None:
    decoder = FrameDecoder()
    for piece in chunks(data, cuts):
        decoder.feed(piece)
        assert decoder.pending <= HEADER_SIZE + MAX_PAYLOAD
    decoder.resync()
    assert decoder.pending == 0


@given(st.permutations(range(6)), st.data())
def test_reordered_and_truncated_frames_are_told_apart_from_garbage(
    order: list[int], data: st.DataObject
) -> None:
    frames = stream_of([(b"ALOG", bytes([n]) * (n + 1)) for n in range(6)])
    decoder = FrameDecoder()
    found = decoder.feed(b"".join(frames[n] for n in order))
    assert [frame.sequence for frame in found] == list(order)
    cut = data.draw(st.integers(1, len(frames[5]) - 1))
    decoder.feed(frames[5][:cut])
    assert decoder.resync() == []


@given(st.lists(st.integers(0, 255), min_size=1, max_size=40), st.integers(0, 2000))
@settings(max_examples=50)
def test_one_damaged_byte_costs_at_most_one_frame(noise: list[int], where: int) -> None:
    parts = [(b"ALOG", bytes(noise))] * 5
    data = bytearray(b"".join(stream_of(parts)))
    at = where % len(data)
    data[at] ^= 0x55
    decoder = FrameDecoder()
    found = decoder.feed(data) + decoder.resync()
    assert len(found) >= 4


@given(st.binary(max_size=400))
def test_payload_decoding_raises_nothing_but_the_one_error(payload: bytes) -> None:
    try:
        value = unpack_map(payload)
    except WireError:
        return
    assert all(isinstance(key, str) for key in value)
