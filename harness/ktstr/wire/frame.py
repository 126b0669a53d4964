# SPDX-License-Identifier: GPL-2.0-only
"""The frame: a 16-byte little-endian header and a payload.

Header: ``type u32 · length u32 · crc32(payload) u32 · sequence u32``. A type is four
upper-case letters or digits read as a little-endian integer, so that a hex dump of the
stream is readable and a decoder can tell a header from garbage.
"""

from __future__ import annotations

import binascii
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

HEADER = struct.Struct("<IIII")
HEADER_SIZE = HEADER.size
MAX_PAYLOAD = 16 * 1024 * 1024
"""Largest payload of one frame, bytes (the reference's MAX_BULK_FRAME_PAYLOAD)."""


class WireError(ValueError):
    """The one decode error: a frame or payload is not what the protocol says."""


def _tag(text: str) -> int:
    return int.from_bytes(text.encode("ascii"), "little")


class MsgType:
    """Frame types. Guest to host on ``ktstr.bulk`` unless said otherwise."""

    HELLO = _tag("HELO")
    PREPARED = _tag("REDY")
    SCENARIO_START = _tag("SCST")
    STEP_START = _tag("STIM")
    STEP_END = _tag("STEN")
    SCENARIO_PAUSE = _tag("SCPP")
    SCENARIO_RESUME = _tag("SCRR")
    SCENARIO_END = _tag("SCEN")
    WORKER_REPORT = _tag("WRPT")
    SNAPSHOT_REQUEST = _tag("SNRQ")
    GUEST_SNAPSHOT = _tag("GSNP")
    KERNEL_OP_REQUEST = _tag("KORQ")
    PAYLOAD_RESULT = _tag("PMET")
    SCHEDULER_STATUS = _tag("SCAT")
    SCHEDULER_EXIT = _tag("SCDX")
    SCHEDULER_LOG = _tag("SCLG")
    AGENT_LOG = _tag("ALOG")
    AGENT_ERROR = _tag("AERR")
    STATS_REPLY = _tag("STRP")
    PROGRAM_OUTPUT = _tag("POUT")
    PROGRAM_STATE = _tag("PSTA")
    PROGRAM_END = _tag("PEND")
    GOODBYE = _tag("BYE0")

    # Host to guest, on ``ktstr.ctl``.
    STATS_REQUEST = _tag("STRQ")
    PAUSE = _tag("PAUS")
    RESUME = _tag("RESU")
    SHUTDOWN = _tag("SHUT")
    SNAPSHOT_REPLY = _tag("SNRP")
    KERNEL_OP_REPLY = _tag("KORP")
    PROGRAM_START = _tag("PRUN")
    PROGRAM_INPUT = _tag("PINP")
    PROGRAM_CONTROL = _tag("PCTL")


_NAMES = {
    value: name for name, value in vars(MsgType).items() if name.isupper() and type(value) is int
}


def type_name(msg_type: int) -> str:
    """Name of a frame type for people; unknown types show their four characters."""
    known = _NAMES.get(msg_type)
    if known is not None:
        return known
    return "unknown:" + msg_type.to_bytes(4, "little").decode("latin-1")


def is_known(msg_type: int) -> bool:
    """Whether this version of the protocol defines the type."""
    return msg_type in _NAMES


class Frame:
    """One decoded frame: its type, sequence number and checked payload."""

    __slots__ = ("msg_type", "payload", "sequence")

    def __init__(self, msg_type: int, sequence: int, payload: bytes) -> None:
        self.msg_type = msg_type
        self.sequence = sequence
        self.payload = payload

    def __repr__(self) -> str:
        return f"Frame({type_name(self.msg_type)}, #{self.sequence}, {len(self.payload)} B)"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Frame):
            return NotImplemented
        return (self.msg_type, self.sequence, self.payload) == (
            other.msg_type,
            other.sequence,
            other.payload,
        )

    def __hash__(self) -> int:
        return hash((self.msg_type, self.sequence, self.payload))


def encode_frame(msg_type: int, sequence: int, payload: bytes) -> bytes:
    """Header and payload as one byte string.

    :raise WireError: when the payload exceeds :data:`MAX_PAYLOAD`.
    """
    if len(payload) > MAX_PAYLOAD:
        raise WireError(f"payload of {len(payload)} bytes exceeds the frame cap of {MAX_PAYLOAD}")
    crc = binascii.crc32(payload)
    return HEADER.pack(msg_type, len(payload), crc, sequence & 0xFFFFFFFF) + payload


class FrameWriter:
    """Numbers the frames of one port and hands the bytes to ``write``.

    :param write: takes the whole frame; blocks or queues until all of it is taken.
    """

    __slots__ = ("_write", "sequence")

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self.sequence = 0

    def send(self, msg_type: int, payload: bytes = b"") -> None:
        """Send one frame.

        :raise WireError: when the payload exceeds :data:`MAX_PAYLOAD`; nothing is sent and
            the sequence number is not used up.
        """
        data = encode_frame(msg_type, self.sequence, payload)
        self.sequence += 1
        self._write(data)
