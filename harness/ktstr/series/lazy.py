# SPDX-License-Identifier: GPL-2.0-only
"""Copied bytes that know their type and are rendered when asked for."""

import struct
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from ktstr.series.values import Bytes, Json, RenderedValue, Uint, resolve


class ValueType(Protocol):
    """Something that can turn bytes into a rendered value; no method may raise."""

    def render(self, data: bytes) -> RenderedValue: ...

    def select(self, part: str) -> "tuple[int, int, ValueType] | None":
        """Byte offset, size and type of a member or element, ``None`` to render the whole."""
        ...

    def names(self) -> tuple[str, ...]:
        """Names of the members, without rendering them."""
        ...


@runtime_checkable
class ColumnType(ValueType, Protocol):
    """A type that can write many values at once, faster than one by one."""

    def plain_many(self, data: bytes, size: int) -> list[Json] | None:
        """Plain forms of the values of ``size`` bytes each; ``None`` to go one by one."""
        ...


class LazyValue:
    """Copied bytes with their type, rendered when first asked for and then kept."""

    __slots__ = ("_rendered", "_type", "data")

    def __init__(self, data: bytes, value_type: ValueType) -> None:
        self.data = data
        self._type = value_type
        self._rendered: RenderedValue | None = None

    @property
    def value(self) -> RenderedValue:
        """The rendered value."""
        if self._rendered is None:
            self._rendered = self._type.render(self.data)
        return self._rendered

    def names(self) -> tuple[str, ...]:
        """Names of the members, without rendering them."""
        return self._type.names()

    def get(self, path: str = "") -> RenderedValue:
        """Value at a dotted path; only what the path leads to is rendered.

        :raises SnapshotError: as :meth:`RenderedValue.get`.
        """
        data, value_type, rest, walked = self.data, self._type, path, 0
        while rest and self._rendered is None:
            part, _, below = rest.partition(".")
            place = value_type.select(part)
            if place is None or place[0] + place[1] > len(data):
                break
            data, value_type = data[place[0] : place[0] + place[1]], place[2]
            rest, walked = below, walked + 1
        if not walked:
            return self.value.get(path)
        return resolve(value_type.render(data), path, walked)

    def raw(self) -> RenderedValue:
        """The rendered value as it is."""
        return self.value

    @property
    def is_typed(self) -> bool:
        """Whether the bytes have a type, and may have members."""
        return not isinstance(self._type, RawBytes)

    def to_json(self) -> Json:
        """Plain form of the rendered value."""
        return plain_values((self,))[0]

    def __repr__(self) -> str:
        return f"LazyValue({len(self.data)} bytes)"


def plain_values(values: Sequence[LazyValue]) -> list[Json]:
    """Plain forms of values, written together when they are of one type and size."""
    if not values:
        return []
    kind, size = values[0]._type, len(values[0].data)
    if isinstance(kind, ColumnType) and all(
        v._type is kind and len(v.data) == size for v in values
    ):
        together = kind.plain_many(b"".join([v.data for v in values]), size)
        if together is not None:
            return together
    return [v.value.to_json() for v in values]


def plain_rows(data: bytes, rows: range, size: int, kind: ValueType) -> list[Json]:
    """Plain forms of values of one type, ``size`` bytes from each of ``rows`` in ``data``."""
    together: list[Json] | None = None
    if isinstance(kind, ColumnType) and rows and rows[-1] + size <= len(data):
        if rows.step == size:
            raw = data[rows[0] : rows[-1] + size]
        else:
            raw = b"".join([data[at : at + size] for at in rows])
        together = kind.plain_many(raw, size)
    if together is None:
        return [kind.render(data[at : at + size]).to_json() for at in rows]
    return together


class RawBytes:
    """The type of values that have none: rendered as :class:`Bytes`."""

    def render(self, data: bytes) -> RenderedValue:
        return Bytes(data.hex(" "))

    def select(self, part: str) -> None:
        return None

    def names(self) -> tuple[str, ...]:
        return ()


class U32:
    """The type of array indices: a 32-bit unsigned number."""

    def render(self, data: bytes) -> RenderedValue:
        return Uint(32, int.from_bytes(data, "little"))

    def plain_many(self, data: bytes, size: int) -> list[Json] | None:
        if size != 4:
            return None
        numbers = struct.unpack(f"<{len(data) // 4}I", data)
        return [{"kind": "uint", "bits": 32, "value": number} for number in numbers]

    def select(self, part: str) -> None:
        return None

    def names(self) -> tuple[str, ...]:
        return ()
