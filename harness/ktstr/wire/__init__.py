# SPDX-License-Identifier: GPL-2.0-only
"""Frames and messages between guest and host; imported by both sides.

The guest runs this under an emulator where every imported module costs tens of
milliseconds, so nothing here imports dataclasses, enum, re or typing at run time.
"""

from ktstr.wire.decoder import DecoderStats, FrameDecoder
from ktstr.wire.frame import (
    HEADER_SIZE,
    MAX_PAYLOAD,
    Frame,
    FrameWriter,
    MsgType,
    WireError,
    encode_frame,
    type_name,
)
from ktstr.wire.messages import SnapshotKind, Stimulus, pack_payload, unpack_map

__all__ = [
    "HEADER_SIZE",
    "MAX_PAYLOAD",
    "DecoderStats",
    "Frame",
    "FrameDecoder",
    "FrameWriter",
    "MsgType",
    "SnapshotKind",
    "Stimulus",
    "WireError",
    "encode_frame",
    "pack_payload",
    "type_name",
    "unpack_map",
]
