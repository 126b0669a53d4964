# SPDX-License-Identifier: GPL-2.0-only
"""Copied bytes to rendered values, by BTF layout.

Works on bytes alone: the guest may be running again or gone. Types come from the guest, so
depth, array length and the number of values made per rendering are bounded.
"""

import struct
from collections.abc import Callable

from ktstr.introspect.btf import Btf, BtfInvalid, Kind, Member, Type
from ktstr.series.values import (
    Array,
    Bool,
    Bytes,
    Char,
    CpuList,
    Enum,
    Float,
    Int,
    Ptr,
    RenderedValue,
    Struct,
    Truncated,
    Uint,
    Unsupported,
)

MAX_ELEMENTS = 4096
MAX_DEPTH = 32
MAX_MASK = 1024
"""Bytes of a CPU mask that are looked at: 8192 CPUs."""
MAX_VALUES = 1 << 17
"""Values made by one rendering; a hand-made type can nest arrays of nothing without end."""

_SIGNED, _CHAR, _BOOL = 1, 2, 4
_CPU_MASKS = {"cpumask": "bits", "bpf_cpumask": "cpumask", "scx_bitmap": "bits"}
_SHOWN = 256
_INT_SIZES = (1, 2, 4, 8, 16)
_FLOATS = {2: "<e", 4: "<f", 8: "<d"}


class BtfType:
    """A BTF type as a :class:`ktstr.series.values.ValueType`: renders bytes, never raises."""

    __slots__ = ("btf", "type_id")

    def __init__(self, btf: Btf, type_id: int) -> None:
        self.btf = btf
        self.type_id = type_id

    def render(self, data: bytes) -> RenderedValue:
        """Value of ``data``; malformed types and missing bytes become part of the value."""
        return _Rendering(self.btf, data).at(self.type_id, 0, 0)

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
            if head.name in _CPU_MASKS or not part:
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


def cpu_list(mask: bytes) -> str:
    """CPU numbers of a little-endian bit mask as a range list: ``0-3,8``."""
    bits = int.from_bytes(mask, "little")
    parts, cpu = [], 0
    while bits:
        skip = (bits & -bits).bit_length() - 1
        bits >>= skip
        run = (~bits & (bits + 1)).bit_length() - 1
        cpu += skip
        parts.append(str(cpu) if run == 1 else f"{cpu}-{cpu + run - 1}")
        cpu += run
        bits >>= run
    return ",".join(parts)


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
            if encoding & _BOOL:
                return Bool(value != 0)
            if encoding & _CHAR or (head.name == "char" and width == 8):
                return Char(value & 0xFF)
            if encoding & _SIGNED:
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
        elements = []
        for index in range(min(count, MAX_ELEMENTS if size else 1)):
            at = offset + index * size
            if self._left < 0 or (size and at >= len(self._data)):
                break
            elements.append(self.at(element, at, depth + 1))
        array = Array(count, tuple(elements))
        return self._whole(array, offset, count * size)

    def _composite(self, head: Type, offset: int, depth: int) -> RenderedValue:
        if head.name in _CPU_MASKS:
            place = self._btf.field(head.id, _CPU_MASKS[head.name])
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
