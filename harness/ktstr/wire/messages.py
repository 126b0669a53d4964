# SPDX-License-Identifier: GPL-2.0-only
"""Payloads: small msgpack maps, checked field by field on arrival."""

from __future__ import annotations

import msgpack

from ktstr.wire.frame import WireError

U64_MAX = (1 << 64) - 1

STIMULUS_LIMITS = {
    "elapsed_ms": (1 << 32) - 1,
    "step_index": (1 << 16) - 1,
    "op_count": (1 << 16) - 1,
    "op_kinds": (1 << 32) - 1,
    "cgroup_count": (1 << 16) - 1,
    "worker_count": (1 << 16) - 1,
    "total_iterations": U64_MAX,
}
"""Fields of StepStart, StepEnd and ScenarioEnd with the largest value of each."""

MAX_UPTIME_MS = 1 << 40


def pack_payload(value: object) -> bytes:
    """A msgpack payload of plain data."""
    packed: bytes = msgpack.packb(value, use_bin_type=True)
    return packed


def unpack_map(payload: bytes) -> dict[str, object]:
    """A payload as a map with string keys.

    :raise WireError: when the payload is not one msgpack map, or is too deep or too large.
    """
    try:
        # Its own limits follow from the payload's size, which the frame cap bounds.
        value = msgpack.unpackb(payload, raw=False, strict_map_key=False)
    except Exception as error:  # msgpack raises half a dozen unrelated types
        raise WireError(f"payload is not msgpack: {error or type(error).__name__}") from None
    if type(value) is not dict:
        raise WireError(f"payload is a {type(value).__name__}, not a map")
    for key in value:
        if type(key) is not str:
            raise WireError(f"payload has the key {key!r}, keys are text")
    return value


def take_int(fields: dict[str, object], name: str, maximum: int = U64_MAX) -> int:
    """The non-negative integer field ``name``.

    :raise WireError: when it is missing, not an integer, negative or above ``maximum``.
    """
    value = fields.get(name)
    if type(value) is not int or not 0 <= value <= maximum:
        raise WireError(f"field {name!r} is {value!r:.80}; an integer from 0 to {maximum} is due")
    return value


def take_str(fields: dict[str, object], name: str, maximum: int = 4096) -> str:
    """The text field ``name``, at most ``maximum`` characters.

    :raise WireError: when it is missing, not text or longer.
    """
    value = fields.get(name)
    if type(value) is not str or len(value) > maximum:
        raise WireError(
            f"field {name!r} is {value!r:.80}; text of at most {maximum} characters is due"
        )
    return value


OUTPUT_WINDOW = 256 * 1024
"""Output of a program that may be on its way to a host that has not taken it up, bytes."""

INPUT_WINDOW = 64 * 1024
"""Input of a program that may be on its way to it, bytes."""


class SnapshotKind:
    """What a SnapshotRequest asks for: 1 and 2 are the reference's numbers, 3 is ktstr's own."""

    CAPTURE = 1
    WATCH = 2
    END_WATCHES = 3


class Stimulus:
    """Payload of StepStart, StepEnd and ScenarioEnd.

    ``elapsed_ms`` is workload time: what holds have lasted on the guest's monotonic clock, without
    what lies between them; ``step_index`` is 1-based, 0 is BASELINE; ``op_kinds`` is a bit mask
    of op indices; ``total_iterations`` sums the live counters of the workers alive at that instant.
    ``uptime_ms`` is the guest's monotonic clock at that instant; ``None`` when it was not told.
    """

    __slots__ = (*STIMULUS_LIMITS, "uptime_ms")

    elapsed_ms: int
    step_index: int
    op_count: int
    op_kinds: int
    cgroup_count: int
    worker_count: int
    total_iterations: int
    uptime_ms: int | None

    def __init__(self, uptime_ms: int | None = None, **fields: int) -> None:
        self.uptime_ms = uptime_ms
        for name in STIMULUS_LIMITS:
            setattr(self, name, fields.get(name, 0))

    def to_payload(self) -> bytes:
        """The wire form."""
        fields = {name: getattr(self, name) for name in STIMULUS_LIMITS}
        if self.uptime_ms is not None:
            fields["uptime_ms"] = self.uptime_ms
        return pack_payload(fields)

    @classmethod
    def from_payload(cls, payload: bytes) -> Stimulus:
        """Read and check the wire form.

        :raise WireError: when a field is missing or out of its range.
        """
        fields = unpack_map(payload)
        known = {name: take_int(fields, name, most) for name, most in STIMULUS_LIMITS.items()}
        uptime_ms = take_int(fields, "uptime_ms", MAX_UPTIME_MS) if "uptime_ms" in fields else None
        return cls(uptime_ms, **known)

    def __repr__(self) -> str:
        inner = ", ".join(f"{name}={getattr(self, name)}" for name in self.__slots__)
        return f"Stimulus({inner})"
