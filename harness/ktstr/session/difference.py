# SPDX-License-Identifier: GPL-2.0-only
"""Where two runs that should be equal first part: in the frames, or else in the records."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ktstr.session.identity import OUTSIDE
from ktstr.wire import Frame, FrameDecoder, WireError, unpack_map
from ktstr.wire.frame import type_name

MAX_ROWS: Final = 24
MAX_TEXT: Final = 120
SHOWN_BYTES: Final = 24
MISSING: Final = "-"


@dataclass(frozen=True, slots=True)
class Row:
    """One value that differs.

    :param key: dotted path of the value.
    """

    key: str
    one: str
    other: str


@dataclass(frozen=True, slots=True)
class Difference:
    """The first place where two runs differ.

    :param where: the frame's number and type, or the part of the record.
    :param rows: what differs there, at most :data:`MAX_ROWS`.
    """

    where: str
    rows: tuple[Row, ...]


def first_frame_difference(one: bytes, other: bytes) -> Difference | None:
    """The first frame that two guests sent differently; ``None`` when they sent the same bytes."""
    if one == other:
        return None
    ours, theirs = _frames(one), _frames(other)
    for index in range(max(len(ours), len(theirs))):
        a = ours[index] if index < len(ours) else None
        b = theirs[index] if index < len(theirs) else None
        if a != b:
            names = [MISSING if each is None else type_name(each.msg_type) for each in (a, b)]
            kind = names[0] if names[0] == names[1] else f"{names[0]} against {names[1]}"
            return Difference(f"frame {index}, {kind}", _rows(_fields(a), _fields(b)))
    at = next((i for i, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), -1)
    at = min(len(one), len(other)) if at < 0 else at
    rows = (Row("bytes", _text(one[at:]), _text(other[at:])),)
    return Difference(f"byte {at}, outside of any frame", rows)


def first_value_difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> Difference | None:
    """The first part of two records that differs, but for what speaks of the host."""
    for key in dict.fromkeys((*one, *other)):
        if key not in OUTSIDE and one.get(key) != other.get(key):
            rows = _rows({key: one.get(key)}, {key: other.get(key)})
            return Difference(f"the record, {key}", rows)
    return None


def _frames(data: bytes) -> list[Frame]:
    decoder = FrameDecoder()
    return [*decoder.feed(data), *decoder.resync()]


def _fields(frame: Frame | None) -> dict[str, object]:
    if frame is None:
        return {}
    try:
        return {"sequence": frame.sequence, **unpack_map(frame.payload)}
    except WireError:
        return {"sequence": frame.sequence, "payload": frame.payload}


def _rows(one: object, other: object) -> tuple[Row, ...]:
    found = []
    for row in _parted("", one, other):
        found.append(row)
        if len(found) == MAX_ROWS:
            break
    return tuple(found)


def _parted(path: str, one: object, other: object) -> Iterator[Row]:
    """Every innermost value that differs, in order."""
    if one == other:
        return
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in dict.fromkeys((*one, *other)):
            below = f"{path}.{key}" if path else str(key)
            yield from _parted(below, one.get(key, _ABSENT), other.get(key, _ABSENT))
    elif _is_list(one) and _is_list(other):
        assert isinstance(one, Sequence) and isinstance(other, Sequence)
        for index in range(max(len(one), len(other))):
            a = one[index] if index < len(one) else _ABSENT
            b = other[index] if index < len(other) else _ABSENT
            yield from _parted(f"{path}[{index}]", a, b)
    else:
        at = 0
        if isinstance(one, bytes) and isinstance(other, bytes):
            pairs = enumerate(zip(one, other, strict=False))
            at = next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))
            one, other, path = one[at:], other[at:], f"{path}, from byte {at}"
        yield Row(path, _text(one), _text(other))


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple)


_ABSENT: Final = object()


def _text(value: object) -> str:
    if value is _ABSENT:
        return MISSING
    if isinstance(value, bytes):
        more = "…" if len(value) > SHOWN_BYTES else ""
        return value[:SHOWN_BYTES].hex(" ", 8) + more
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"
