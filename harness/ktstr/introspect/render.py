# SPDX-License-Identifier: GPL-2.0-only
"""Copied bytes to rendered values, by BTF layout.

Works on bytes alone: the guest may be running again or gone. Types come from the guest, so
depth, array length and the number of values made per rendering are bounded.
"""

import struct
from collections.abc import Callable
from typing import Literal

import numpy as np

from ktstr.introspect.bounds import (
    CPU_MASKS,
    INT_BOOL,
    INT_CHAR,
    INT_SIGNED,
    MAX_DEPTH,
    MAX_ELEMENTS,
    MAX_MASK,
    MAX_VALUES,
    cpu_list,
)
from ktstr.introspect.btf import Btf, BtfInvalid, Kind, Member, Type
from ktstr.introspect.plain import Uncommon, Writer, compile_type
from ktstr.series.values import (
    Array,
    Bool,
    Bytes,
    Char,
    CpuList,
    Enum,
    Float,
    Int,
    Json,
    Ptr,
    RenderedValue,
    Struct,
    Truncated,
    Uint,
    Unsupported,
)

_SHOWN = 256
_INT_SIZES = (1, 2, 4, 8, 16)
_LETTERS = {1: "B", 2: "H", 4: "I", 8: "Q"}
_FLOATS = {2: "<e", 4: "<f", 8: "<d"}


class BtfType:
    """A BTF type as a :class:`ktstr.series.values.ValueType`: renders bytes, never raises."""

    __slots__ = ("_writer", "btf", "type_id")

    def __init__(self, btf: Btf, type_id: int) -> None:
        self.btf = btf
        self.type_id = type_id
        self._writer: Writer | Literal[False] | None = False

    def render(self, data: bytes) -> RenderedValue:
        """Value of ``data``; malformed types and missing bytes become part of the value."""
        return _Rendering(self.btf, data).at(self.type_id, 0, 0)

    def plain_many(self, data: bytes, size: int) -> list[Json] | None:
        """Plain forms of the values of ``size`` bytes that ``data`` holds one after the other.

        ``None`` when they are to be rendered one by one.
        """
        if self._writer is False:
            try:
                self._writer = compile_type(self.btf, self.type_id)
            except (Uncommon, BtfInvalid, struct.error):
                self._writer = None
        if self._writer is None or not size or self._writer.extent > size:
            return None
        return self._writer.write(np.frombuffer(data, np.uint8).reshape(-1, size), 0)

    def select(self, part: str) -> "tuple[int, int, BtfType] | None":
        """Place and type of one member or element, so that the rest need not be rendered."""
        btf = self.btf
        try:
            head = btf.resolve(self.type_id)
            if head.kind is Kind.ARRAY and part.isdecimal():
                element, _, count = btf.tail(head, "3I")
                size = btf.size(element)
                index = int(part)
                return (index * size, size, BtfType(btf, element)) if index < count else None
            if head.name in CPU_MASKS or not part:
                return None
            place = btf.field(head.id, part)
        except (BtfInvalid, struct.error):
            return None
        if place is None or place.width:
            return None
        return place.offset, place.size, BtfType(btf, place.type_id)

    def names(self) -> tuple[str, ...]:
        """Names of the members; empty for types without members and for malformed ones."""
        try:
            head = self.btf.resolve(self.type_id)
            if head.kind in (Kind.STRUCT, Kind.UNION, Kind.DATASEC):
                return tuple(member.name for member in self.btf.members(head))
        except (BtfInvalid, struct.error):
            pass
        return ()


class _Rendering:
    def __init__(self, btf: Btf, data: bytes) -> None:
        self._btf = btf
        self._data = data
        self._left = MAX_VALUES

    def at(self, type_id: int, offset: int, depth: int) -> RenderedValue:
        self._left -= 1
        if depth > MAX_DEPTH:
            return Unsupported(f"nested deeper than {MAX_DEPTH}")
        if self._left < 0:
            return Unsupported(f"more than {MAX_VALUES} values")
        try:
            head = self._btf.resolve(type_id)
            make = _RENDERERS.get(head.kind)
            if make is None:
                return Unsupported(f"{head.kind.name.lower()} has no value")
            return make(self, head, offset, depth)
        except (BtfInvalid, struct.error) as error:
            return Unsupported(f"malformed type: {error}")

    def _raw(self, offset: int, size: int) -> bytes | Truncated:
        raw = self._data[offset : offset + size]
        if len(raw) == size:
            return raw
        return Truncated(size, len(raw), Bytes(raw[:_SHOWN].hex(" ")))

    def _int(self, head: Type, offset: int, depth: int) -> RenderedValue:
        _, width, shift = self._btf.encoding(head)
        if 0 < width < 8 * head.arg:
            return self._bits(head, 8 * offset + shift, width)
        return self._whole_number(head, offset, depth)

    def _number(self, head: Type, value: int, width: int) -> RenderedValue:
        """A value of ``width`` bits of an integer or enum type."""
        if head.kind is Kind.INT:
            encoding, _, _ = self._btf.encoding(head)
            if encoding & INT_BOOL:
                return Bool(value != 0)
            if encoding & INT_CHAR or (head.name == "char" and width == 8):
                return Char(value & 0xFF)
            if encoding & INT_SIGNED:
                return Int(width, _signed(value, width))
            return Uint(width, value)
        if head.kind in (Kind.ENUM, Kind.ENUM64):
            value = _signed(value, width) if head.flag else value
            return Enum(width, value, self._btf.enumerators(head).get(value), head.flag)
        return Unsupported(f"bit field of {head.kind.name.lower()}")

    def _bits(self, head: Type, bit: int, width: int) -> RenderedValue:
        start, end = bit // 8, (bit + width + 7) // 8
        raw = self._raw(start, end - start)
        if isinstance(raw, Truncated):
            return raw
        value = int.from_bytes(raw, "little") >> bit % 8 & (1 << width) - 1
        return self._number(head, value, width)

    def _whole_number(self, head: Type, offset: int, depth: int) -> RenderedValue:
        if head.arg not in _INT_SIZES:
            return Unsupported(f"{head.kind.name.lower()} of {head.arg} bytes")
        raw = self._raw(offset, head.arg)
        if isinstance(raw, Truncated):
            return raw
        return self._number(head, int.from_bytes(raw, "little"), 8 * head.arg)

    def _float(self, head: Type, offset: int, depth: int) -> RenderedValue:
        raw = self._raw(offset, head.arg)
        if isinstance(raw, Truncated):
            return raw
        if head.arg not in _FLOATS:
            return Unsupported(f"float of {head.arg} bytes")
        return Float(8 * head.arg, struct.unpack(_FLOATS[head.arg], raw)[0])

    def _pointer(self, head: Type, offset: int, depth: int) -> RenderedValue:
        raw = self._raw(offset, 8)
        return raw if isinstance(raw, Truncated) else Ptr(int.from_bytes(raw, "little"))

    def _array(self, head: Type, offset: int, depth: int) -> RenderedValue:
        element, _, count = self._btf.tail(head, "3I")
        size = self._btf.size(element)
        numbers = self._numbers(element, offset, min(count, MAX_ELEMENTS), depth)
        if numbers is not None:
            return self._whole(Array(count, numbers), offset, count * size)
        elements = []
        for index in range(min(count, MAX_ELEMENTS if size else 1)):
            at = offset + index * size
            if self._left < 0 or (size and at >= len(self._data)):
                break
            elements.append(self.at(element, at, depth + 1))
        array = Array(count, tuple(elements))
        return self._whole(array, offset, count * size)

    def _numbers(
        self, element: int, offset: int, count: int, depth: int
    ) -> tuple[RenderedValue, ...] | None:
        """Elements that are plain integers and all there, unpacked at once; else ``None``."""
        head = self._btf.resolve(element)
        if head.kind is not Kind.INT or head.arg not in _LETTERS or depth >= MAX_DEPTH:
            return None
        encoding, width, _ = self._btf.encoding(head)
        if 0 < width < 8 * head.arg or encoding & INT_BOOL or self._left < count:
            return None
        if offset + count * head.arg > len(self._data):
            return None
        self._left -= count
        bits, letter = 8 * head.arg, _LETTERS[head.arg]
        if encoding & INT_CHAR or (head.name == "char" and bits == 8):
            values = struct.unpack_from(f"<{count}{letter}", self._data, offset)
            return tuple([Char(value & 0xFF) for value in values])
        if encoding & INT_SIGNED:
            values = struct.unpack_from(f"<{count}{letter.lower()}", self._data, offset)
            return tuple([Int(bits, value) for value in values])
        values = struct.unpack_from(f"<{count}{letter}", self._data, offset)
        return tuple([Uint(bits, value) for value in values])

    def _composite(self, head: Type, offset: int, depth: int) -> RenderedValue:
        if head.name in CPU_MASKS:
            place = self._btf.field(head.id, CPU_MASKS[head.name])
            if place is not None:
                size = min(place.size, MAX_MASK)
                self._left -= size // 16
                raw = self._raw(offset + place.offset, size)
                return raw if isinstance(raw, Truncated) else CpuList(cpu_list(raw))
        members = []
        for member in self._btf.members(head):
            if self._left < 0:
                break
            members.append((member.name, self._member(member, offset, depth)))
        return self._whole(Struct(head.name or None, tuple(members)), offset, head.arg)

    def _member(self, member: Member, offset: int, depth: int) -> RenderedValue:
        if member.width:
            self._left -= 1
            try:
                head = self._btf.resolve(member.type_id)
                return self._bits(head, 8 * offset + member.bit, member.width)
            except (BtfInvalid, struct.error) as error:
                return Unsupported(f"malformed type: {error}")
        return self.at(member.type_id, offset + member.bit // 8, depth + 1)

    def _whole(self, value: RenderedValue, offset: int, size: int) -> RenderedValue:
        had = max(0, min(size, len(self._data) - offset))
        return value if had == size else Truncated(size, had, value)


def _signed(value: int, width: int) -> int:
    return value - (1 << width) if value >> (width - 1) & 1 else value


_RENDERERS: dict[Kind, Callable[[_Rendering, Type, int, int], RenderedValue]] = {
    Kind.INT: _Rendering._int,
    Kind.PTR: _Rendering._pointer,
    Kind.ARRAY: _Rendering._array,
    Kind.STRUCT: _Rendering._composite,
    Kind.UNION: _Rendering._composite,
    Kind.DATASEC: _Rendering._composite,
    Kind.ENUM: _Rendering._whole_number,
    Kind.ENUM64: _Rendering._whole_number,
    Kind.FLOAT: _Rendering._float,
}
