# SPDX-License-Identifier: GPL-2.0-only
"""Length-prefixed messages on the pipes between the agent and its C helpers."""

from __future__ import annotations

import struct

_LENGTH = struct.Struct("<I")
# A report with three full reservoirs is below 4 MiB; a frame to the host takes 16 MiB.
LIMIT = 8 * 1024 * 1024


class LengthPrefixed:
    """Splits a byte stream into messages of ``u32 length`` and that many bytes."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._buffer = bytearray()
        self._limit = limit

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes and return the messages they complete.

        :raise ValueError: on a length above the limit; the stream cannot be followed then.
        """
        self._buffer += data
        messages = []
        position = 0
        while len(self._buffer) - position >= 4:
            (length,) = _LENGTH.unpack_from(self._buffer, position)
            if length > self._limit:
                raise ValueError(f"a message of {length} bytes; {self._limit} is the limit")
            if len(self._buffer) - position - 4 < length:
                break
            start = position + 4
            messages.append(bytes(self._buffer[start : start + length]))
            position = start + length
        del self._buffer[:position]
        return messages
