# SPDX-License-Identifier: GPL-2.0-only
"""The frame's bytes, written out by hand, and the limits of one frame."""

import struct
import zlib

import pytest

from ktstr.wire import (
    MAX_PAYLOAD,
    FrameDecoder,
    FrameWriter,
    MsgType,
    Stimulus,
    WireError,
    encode_frame,
    pack_payload,
    type_name,
    unpack_map,
)


def by_hand(tag: bytes, sequence: int, payload: bytes) -> bytes:
    """A frame from its description: four little-endian u32, then the payload."""
    assert len(tag) == 4
    header = tag + struct.pack("<III", len(payload), zlib.crc32(payload), sequence)
    return header + payload


def test_a_frame_is_sixteen_bytes_of_header_and_the_payload() -> None:
    assert encode_frame(MsgType.HELLO, 7, b"abc") == by_hand(b"HELO", 7, b"abc")


def test_the_writer_counts_from_zero_and_skips_no_number_on_error() -> None:
    sent: list[bytes] = []
    writer = FrameWriter(sent.append)
    writer.send(MsgType.HELLO)
    with pytest.raises(WireError, match="exceeds the frame cap"):
        writer.send(MsgType.HELLO, bytes(MAX_PAYLOAD + 1))
    writer.send(MsgType.GOODBYE, b"x")
    assert sent == [by_hand(b"HELO", 0, b""), by_hand(b"BYE0", 1, b"x")]


def test_the_largest_payload_passes() -> None:
    payload = bytes(MAX_PAYLOAD)
    frames = FrameDecoder().feed(by_hand(b"WRPT", 0, payload))
    assert [len(frame.payload) for frame in frames] == [MAX_PAYLOAD]


def test_unknown_types_are_kept_and_counted() -> None:
    decoder = FrameDecoder()
    (frame,) = decoder.feed(by_hand(b"ZZZ9", 0, b"later"))
    assert (frame.payload, decoder.stats.unknown) == (b"later", 1)
    assert type_name(frame.msg_type) == "unknown:ZZZ9"


def test_a_gap_in_the_sequence_is_counted_and_a_late_frame_is_reordered() -> None:
    decoder = FrameDecoder()
    stream = by_hand(b"HELO", 0, b"") + by_hand(b"ALOG", 4, b"") + by_hand(b"ALOG", 2, b"")
    assert [frame.sequence for frame in decoder.feed(stream)] == [0, 4, 2]
    assert (decoder.stats.missing, decoder.stats.reordered) == (3, 1)
    assert not decoder.stats.clean


def test_a_flipped_bit_costs_one_frame_only() -> None:
    frames = [by_hand(b"ALOG", n, bytes([n]) * 50) for n in range(3)]
    damaged = bytearray(b"".join(frames))
    damaged[66 + 20] ^= 1
    decoder = FrameDecoder()
    assert [frame.sequence for frame in decoder.feed(damaged)] == [0, 2]
    assert (decoder.stats.bad_crc, decoder.stats.missing) == (1, 1)
    assert decoder.stats.dropped_bytes == 66


def test_an_oversized_length_is_garbage_not_a_wait() -> None:
    lie = b"HELO" + struct.pack("<III", MAX_PAYLOAD + 1, 0, 0)
    decoder = FrameDecoder()
    (frame,) = decoder.feed(lie + by_hand(b"HELO", 0, b"true"))
    assert frame.payload == b"true"


def test_a_promise_never_kept_is_given_up_by_resync() -> None:
    lie = b"HELO" + struct.pack("<III", 4096, 0, 0)
    decoder = FrameDecoder()
    assert decoder.feed(lie + by_hand(b"ALOG", 1, b"behind it")) == []
    (frame,) = decoder.resync()
    assert frame.payload == b"behind it"
    assert decoder.pending == 0


def test_nested_fake_headers_do_not_cost_a_checksum_each() -> None:
    """One megabyte of headers that each claim a megabyte: bounded work, nothing decoded."""
    count = 1 << 16
    fakes = b"".join(
        b"HELO" + struct.pack("<III", 1 << 20, 0xDEAD, n % 1000) for n in range(2 * count)
    )
    decoder = FrameDecoder()
    assert decoder.feed(fakes) == []
    # Each failed checksum covers a megabyte; without a budget there would be 65536 of them.
    assert decoder.stats.bad_crc < 200


def test_a_stimulus_round_trips_and_refuses_what_does_not_fit() -> None:
    stimulus = Stimulus(elapsed_ms=5, step_index=2, op_count=1, op_kinds=1 << 31, cgroup_count=3)
    again = Stimulus.from_payload(stimulus.to_payload())
    assert repr(again) == repr(stimulus)
    assert again.op_kinds == 2147483648
    fields = unpack_map(stimulus.to_payload())
    for name, bad in (("elapsed_ms", -1), ("step_index", 65536), ("op_count", "1")):
        with pytest.raises(WireError, match=name):
            Stimulus.from_payload(pack_payload({**fields, name: bad}))


def test_a_stimulus_tells_the_guests_clock_when_it_is_told() -> None:
    assert Stimulus.from_payload(Stimulus(elapsed_ms=5).to_payload()).uptime_ms is None
    told = Stimulus(4321, elapsed_ms=5)
    assert unpack_map(told.to_payload())["uptime_ms"] == 4321
    assert Stimulus.from_payload(told.to_payload()).uptime_ms == 4321
    fields = unpack_map(told.to_payload())
    for bad in (-1, "1", 1 << 41):
        with pytest.raises(WireError, match="uptime_ms"):
            Stimulus.from_payload(pack_payload({**fields, "uptime_ms": bad}))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc1",
        pack_payload([1]),
        pack_payload({1: 2}),
        b"\x81\xa1a",
        b"\xdf\xff\xff\xff\xff",
        b"\x81\xa1a\x01\x00",
    ],
)
def test_a_payload_that_is_no_map_is_the_one_error(payload: bytes) -> None:
    with pytest.raises(WireError):
        unpack_map(payload)


def test_deep_nesting_is_refused_without_a_crash() -> None:
    with pytest.raises(WireError):
        unpack_map(b"\x81\xa1a" + b"\x91" * 100_000)
