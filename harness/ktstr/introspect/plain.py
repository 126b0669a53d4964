# SPDX-License-Identifier: GPL-2.0-only
"""Plain forms of many values of one type, column by column.

A report shows every value of every map. Rendering them one by one makes an object per number and
a dict per object; this makes the dicts alone, all first members of a map's values before all
second ones, so that numpy takes the bytes apart and a comprehension per member does the rest.

What comes out is exactly what :meth:`BtfType.render` and ``to_json`` give, which remain the
definition: a type with anything out of the ordinary (malformed, cut short, over a bound, bit
fields wider than a word) is not compiled, and its values are rendered one by one.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

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
from ktstr.introspect.btf import Btf, Kind, Member, Type
from ktstr.series.values import Float, Json, chars_json, elements_json

Rows: TypeAlias = "npt.NDArray[np.uint8]"
"""One value per row, as bytes."""

MAX_VISITS = 4096
"""Types looked at while one is compiled: a struct may have 65 535 members of 65 535 each."""


class Writer(NamedTuple):
    """How to write a type: ``extent`` is the bytes it looks at, ``values`` how many it makes."""

    write: Callable[[Rows, int], list[Json]]
    extent: int
    values: int


class Uncommon(Exception):
    """This type is to be rendered value by value."""


def compile_type(btf: Btf, type_id: int) -> Writer:
    """Writer of a type; ``write(rows, offset)`` takes each value from ``offset`` of its row.

    :raises Uncommon: when it is not one for columns.
    :raises BtfInvalid: when it is malformed.
    :raises struct.error: when it reaches past the end of its BTF.
    """
    return _Compiler(btf).writer(type_id, 0)


def _column(rows: Rows, offset: int, size: int, signed: bool = False) -> list[int]:
    cut = np.ascontiguousarray(rows[:, offset : offset + size])
    numbers: list[int] = cut.view(f"<{'i' if signed else 'u'}{size}").ravel().tolist()
    return numbers


def _bit_column(rows: Rows, bit: int, width: int, signed: bool) -> list[int]:
    start, end = bit // 8, (bit + width + 7) // 8
    wide = np.zeros((len(rows), 8), np.uint8)
    wide[:, : end - start] = rows[:, start:end]
    words = wide.view("<u8").ravel()
    # Up to the top of the word and back again: the shift down brings the sign along.
    words = words << np.uint64(64 - bit % 8 - width)
    down = words.view("<i8") >> (64 - width) if signed else words >> np.uint64(64 - width)
    numbers: list[int] = down.tolist()
    return numbers


def _number(btf: Btf, head: Type, width: int) -> tuple[bool, Callable[[list[int]], list[Json]]]:
    """Whether to read a number of ``width`` bits as signed, and how to write it."""
    if head.kind is Kind.INT:
        encoding, _, _ = btf.encoding(head)
        if encoding & INT_BOOL:
            return False, lambda column: [{"kind": "bool", "value": v != 0} for v in column]
        if encoding & INT_CHAR or (head.name == "char" and width == 8):
            return False, lambda column: [{"kind": "char", "value": v & 0xFF} for v in column]
        kind = "int" if encoding & INT_SIGNED else "uint"
        return kind == "int", lambda column: [
            {"kind": kind, "bits": width, "value": v} for v in column
        ]
    if head.kind not in (Kind.ENUM, Kind.ENUM64):
        raise Uncommon
    name = btf.enumerators(head).get
    if head.flag:
        return True, lambda column: [
            {"kind": "enum", "bits": width, "value": v, "variant": name(v), "is_signed": True}
            for v in column
        ]
    return False, lambda column: [
        {"kind": "enum", "bits": width, "value": v, "variant": name(v)} for v in column
    ]


def _mask(start: int, size: int) -> Writer:
    def write(rows: Rows, offset: int) -> list[Json]:
        at = offset + start
        masks = (row.tobytes() for row in rows[:, at : at + size])
        return [{"kind": "cpu_list", "cpus": cpu_list(mask)} for mask in masks]

    return Writer(write, start + size, 1 + size // 16)


class _Compiler:
    def __init__(self, btf: Btf) -> None:
        self._btf = btf
        self._left = MAX_VISITS

    def writer(self, type_id: int, depth: int) -> Writer:
        self._left -= 1
        if depth > MAX_DEPTH or self._left < 0:
            raise Uncommon
        head = self._btf.resolve(type_id)
        make = _MAKERS.get(head.kind)
        if make is None:
            raise Uncommon
        made = make(self, head, depth)
        if made.values >= MAX_VALUES:
            raise Uncommon
        return made

    def _bits(self, head: Type, bit: int, width: int) -> Writer:
        if bit % 8 + width > 64:
            raise Uncommon
        signed, plain = _number(self._btf, head, width)

        def write(rows: Rows, offset: int) -> list[Json]:
            return plain(_bit_column(rows, 8 * offset + bit, width, signed))

        return Writer(write, (bit + width + 7) // 8, 1)

    def _int(self, head: Type, depth: int) -> Writer:
        _, width, shift = self._btf.encoding(head)
        if 0 < width < 8 * head.arg:
            return self._bits(head, shift, width)
        return self._whole_number(head, depth)

    def _whole_number(self, head: Type, depth: int) -> Writer:
        size = head.arg
        if size not in (1, 2, 4, 8):
            raise Uncommon
        signed, plain = _number(self._btf, head, 8 * size)
        return Writer(lambda rows, offset: plain(_column(rows, offset, size, signed)), size, 1)

    def _float(self, head: Type, depth: int) -> Writer:
        size = head.arg
        if size not in (4, 8):
            raise Uncommon

        def write(rows: Rows, offset: int) -> list[Json]:
            cut = np.ascontiguousarray(rows[:, offset : offset + size])
            return [Float(8 * size, v).to_json() for v in cut.view(f"<f{size}").ravel().tolist()]

        return Writer(write, size, 1)

    def _pointer(self, head: Type, depth: int) -> Writer:
        return Writer(
            lambda rows, offset: [{"kind": "ptr", "value": v} for v in _column(rows, offset, 8)],
            8,
            1,
        )

    def _array(self, head: Type, depth: int) -> Writer:
        element, _, length = self._btf.tail(head, "3I")
        size, kept = self._btf.size(element), min(length, MAX_ELEMENTS)
        if not kept:
            return Writer(
                lambda rows, offset: [{"kind": "array", "len": 0, "elements": []} for _ in rows],
                0,
                1,
            )
        inner = self.writer(element, depth + 1)
        if not size or inner.extent > size:
            raise Uncommon

        if self._is_char(element):
            # Of a character wider than a byte, the first byte is the value.
            return Writer(
                lambda rows, offset: [
                    {"kind": "array", **chars_json(length, row.tobytes())}
                    for row in rows[:, offset : offset + kept * size : size]
                ],
                length * size,
                1 + kept,
            )

        def write(rows: Rows, offset: int) -> list[Json]:
            cut = np.ascontiguousarray(rows[:, offset : offset + kept * size])
            flat = inner.write(cut.reshape(-1, size), 0)
            parts = [flat[at : at + kept] for at in range(0, len(flat), kept)]
            return [{"kind": "array", **elements_json(length, part)} for part in parts]

        return Writer(write, length * size, 1 + kept * inner.values)

    def _is_char(self, element: int) -> bool:
        head = self._btf.resolve(element)
        if head.kind is not Kind.INT or head.arg not in (1, 2, 4, 8):
            return False
        encoding, width, _ = self._btf.encoding(head)
        whole = not 0 < width < 8 * head.arg
        named = encoding & INT_CHAR or (head.name == "char" and head.arg == 1)
        return bool(named) and whole and not encoding & INT_BOOL

    def _composite(self, head: Type, depth: int) -> Writer:
        if head.name in CPU_MASKS:
            place = self._btf.field(head.id, CPU_MASKS[head.name])
            if place is not None:
                return _mask(place.offset, min(place.size, MAX_MASK))
        type_name = head.name or None
        parts = [(m.name, *self._member(m, depth)) for m in self._btf.members(head)]

        def write(rows: Rows, offset: int) -> list[Json]:
            columns = [
                [{"name": name, "value": v} for v in part.write(rows, offset + at)]
                for name, at, part in parts
            ]
            together = zip(*columns, strict=True) if columns else ((),) * len(rows)
            return [
                {"kind": "struct", "type_name": type_name, "members": list(row)} for row in together
            ]

        extent = max((at + part.extent for _, at, part in parts), default=0)
        return Writer(write, max(extent, head.arg), 1 + sum(part.values for _, _, part in parts))

    def _member(self, member: Member, depth: int) -> tuple[int, Writer]:
        if member.width:
            return 0, self._bits(self._btf.resolve(member.type_id), member.bit, member.width)
        return member.bit // 8, self.writer(member.type_id, depth + 1)


_MAKERS: dict[Kind, Callable[[_Compiler, Type, int], Writer]] = {
    Kind.INT: _Compiler._int,
    Kind.PTR: _Compiler._pointer,
    Kind.ARRAY: _Compiler._array,
    Kind.STRUCT: _Compiler._composite,
    Kind.UNION: _Compiler._composite,
    Kind.DATASEC: _Compiler._composite,
    Kind.ENUM: _Compiler._whole_number,
    Kind.ENUM64: _Compiler._whole_number,
    Kind.FLOAT: _Compiler._float,
}
