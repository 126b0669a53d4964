# SPDX-License-Identifier: GPL-2.0-only
"""Incremental frame decoder that survives whatever the other side sends.

Garbage is skipped at C speed (``bytes.translate`` and ``find``), a damaged frame costs
at most a constant factor of the bytes received, and at most one frame is ever buffered.
"""

from __future__ import annotations

import binascii

from ktstr.wire.frame import HEADER, HEADER_SIZE, MAX_PAYLOAD, Frame, is_known

# A sequence number further than this from the expected one marks a header as garbage:
# together with the letters-and-digits type this leaves about one false header in 10^9 bytes.
SEQUENCE_WINDOW = 1 << 20
# Bytes of failed checksums allowed per byte received. Without a limit, a guest could send
# one megabyte of nested fake headers and buy hours of checksumming.
RESCAN_FACTOR = 4
RESCAN_FLOOR = 4 * MAX_PAYLOAD

_TYPE_CHARS = bytes(0x41 if (0x41 <= c <= 0x5A or 0x30 <= c <= 0x39) else 0 for c in range(256))


class DecoderStats:
    """What a decoder dropped or noticed since it was made.

    ``frames`` decoded, ``unknown`` of them of a type this version does not know,
    ``dropped_bytes`` skipped, ``bad_crc`` checksums that failed, ``missing`` sequence
    numbers never seen, ``reordered`` frames that arrived after a later one.
    """

    __slots__ = ("bad_crc", "dropped_bytes", "frames", "missing", "reordered", "unknown")

    def __init__(self) -> None:
        self.frames = 0
        self.unknown = 0
        self.dropped_bytes = 0
        self.bad_crc = 0
        self.missing = 0
        self.reordered = 0

    @property
    def clean(self) -> bool:
        """Whether every byte so far belonged to an intact frame in order."""
        return not (self.dropped_bytes or self.bad_crc or self.missing or self.reordered)

    def as_dict(self) -> dict[str, int]:
        """The counters by name."""
        return {name: getattr(self, name) for name in self.__slots__}


class FrameDecoder:
    """Turns a byte stream into frames; never raises on its content."""

    def __init__(self) -> None:
        self.stats = DecoderStats()
        self._buffer = bytearray()
        self._expected = 0
        self._credit = RESCAN_FLOOR

    @property
    def pending(self) -> int:
        """Bytes held back because they may begin a frame."""
        return len(self._buffer)

    def feed(self, data: bytes | bytearray | memoryview) -> list[Frame]:
        """Take the next bytes of the stream and return the frames they complete."""
        frames: list[Frame] = []
        view = memoryview(data)
        self._credit = min(self._credit + RESCAN_FACTOR * len(view), 8 * RESCAN_FLOOR)
        while len(view):
            room = HEADER_SIZE + MAX_PAYLOAD - len(self._buffer)
            self._buffer += view[:room]
            view = view[room:]
            self._parse(frames)
        return frames

    def resync(self) -> list[Frame]:
        """Give up on the frame being waited for and look for frames in the bytes held back.

        For the end of a stream, or when a header promised bytes that never came.
        """
        frames: list[Frame] = []
        while self._buffer:
            self._parse(frames, at_end=True)
        return frames

    def _plausible(self, msg_type: int, length: int, sequence: int) -> bool:
        if length > MAX_PAYLOAD:
            return False
        if b"\0" in msg_type.to_bytes(4, "little").translate(_TYPE_CHARS):
            return False
        distance = (sequence - self._expected) & 0xFFFFFFFF
        return distance <= SEQUENCE_WINDOW or distance >= (1 << 32) - SEQUENCE_WINDOW

    def _parse(self, frames: list[Frame], at_end: bool = False) -> None:
        buffer = self._buffer
        position = 0
        marks: bytes | bytearray = b""
        with memoryview(buffer) as view:
            while len(view) - position >= HEADER_SIZE:
                msg_type, length, crc, sequence = HEADER.unpack_from(view, position)
                if not self._plausible(msg_type, length, sequence):
                    # Marks every byte that can stand in a type, once per call.
                    marks = marks or buffer.translate(_TYPE_CHARS)
                    found = marks.find(b"AAAA", position + 1)
                    if found < 0:
                        found = max(position + 1, len(view) - 3)
                    self.stats.dropped_bytes += found - position
                    position = found
                    continue
                end = position + HEADER_SIZE + length
                if end > len(view):
                    if not at_end:
                        break
                    self.stats.dropped_bytes += 1
                    position += 1
                    continue
                payload = view[position + HEADER_SIZE : end]
                intact = binascii.crc32(payload) == crc
                if intact:
                    frames.append(Frame(msg_type, sequence, bytes(payload)))
                    self._account(msg_type, sequence)
                    position = end
                else:
                    self.stats.bad_crc += 1
                    skip = 1 if self._credit >= length else end - position
                    self._credit = max(0, self._credit - length)
                    self.stats.dropped_bytes += skip
                    position += skip
                payload.release()
            if at_end:
                self.stats.dropped_bytes += len(view) - position
                position = len(view)
        del buffer[:position]

    def _account(self, msg_type: int, sequence: int) -> None:
        self.stats.frames += 1
        if not is_known(msg_type):
            self.stats.unknown += 1
        ahead = (sequence - self._expected) & 0xFFFFFFFF
        if ahead > SEQUENCE_WINDOW:
            self.stats.reordered += 1
            return
        self.stats.missing += ahead
        self._expected = (sequence + 1) & 0xFFFFFFFF
