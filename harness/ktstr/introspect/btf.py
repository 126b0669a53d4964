# SPDX-License-Identifier: GPL-2.0-only
"""BTF (BPF Type Format) from guest memory: index, names, sizes, members.

Source: include/uapi/linux/btf.h. A record's length follows from its second word alone, so the
chain of records is followed with one look-up per record: 120 000 types in 15 ms, decision 0017.
The blob comes from the guest: each use checks ids, lengths and string offsets.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ktstr.errors import KtstrError

MAX_BTF_SIZE = 64 * 1024 * 1024
MAX_CHAIN = 32
"""Longest chain of typedefs and qualifiers, and deepest anonymous nesting, that is followed."""
_MAX_VISITS = 4096
_POINTER_SIZE = 8


class BtfInvalid(KtstrError):
    """The BTF blob is malformed, or a type in it is."""


class Kind(IntEnum):
    """BTF_KIND_* values."""

    VOID = 0
    INT = 1
    PTR = 2
    ARRAY = 3
    STRUCT = 4
    UNION = 5
    ENUM = 6
    FWD = 7
    TYPEDEF = 8
    VOLATILE = 9
    CONST = 10
    RESTRICT = 11
    FUNC = 12
    FUNC_PROTO = 13
    VAR = 14
    DATASEC = 15
    FLOAT = 16
    DECL_TAG = 17
    TYPE_TAG = 18
    ENUM64 = 19


TRANSPARENT = frozenset(
    {Kind.TYPEDEF, Kind.VOLATILE, Kind.CONST, Kind.RESTRICT, Kind.TYPE_TAG, Kind.VAR}
)
_HEADER = struct.Struct("<HBBIIIII")
# Bytes after the 12-byte record head: fixed part and part per element, by kind.
_FIXED: dict[int, int] = {Kind.INT: 4, Kind.ARRAY: 12, Kind.VAR: 4, Kind.DECL_TAG: 4}
_EACH: dict[int, int] = {
    Kind.STRUCT: 12,
    Kind.UNION: 12,
    Kind.ENUM: 8,
    Kind.FUNC_PROTO: 8,
    Kind.DATASEC: 12,
    Kind.ENUM64: 12,
}


class Type(NamedTuple):
    """Head of one record; ``arg`` is a size in bytes or a type id, by kind."""

    id: int
    kind: Kind
    name: str
    vlen: int
    flag: bool
    arg: int
    at: int


class Member(NamedTuple):
    """One member: bit offset from the start of its parent; ``width`` 0 unless a bit field."""

    name: str
    type_id: int
    bit: int
    width: int


@dataclass(frozen=True, slots=True)
class Field:
    """A member found by path: byte offset and size, with the bit window of a bit field."""

    offset: int
    size: int
    type_id: int
    bit: int = 0
    width: int = 0


class Btf:
    """One BTF blob, split BTF with the blob it builds on.

    What was looked up is remembered. Several threads may look up at once: what they remember for
    one question is the same.

    :raises BtfInvalid: when header or record chain are malformed.
    """

    def __init__(self, raw: bytes, base: "Btf | None" = None) -> None:
        self.raw = raw
        self.base = base
        self._first = len(base) if base else 1
        self._string_base = base.string_end if base else 0
        if len(raw) < _HEADER.size or len(raw) > MAX_BTF_SIZE:
            raise BtfInvalid(f"BTF of {len(raw)} bytes: too short or too long")
        magic, version, _, head, type_at, type_len, str_at, str_len = _HEADER.unpack_from(raw)
        if magic != 0xEB9F or version != 1:
            raise BtfInvalid(f"no BTF of version 1: magic {magic:#x}, version {version}")
        self._types_at: int = head + type_at
        self._strings_at: int = head + str_at
        self._strings_end: int = head + str_at + str_len
        types_end = self._types_at + type_len
        if head < _HEADER.size or max(types_end, self._strings_end) > len(raw):
            raise BtfInvalid("BTF sections reach past the end of the blob")
        if self._types_at % 4 or type_len % 4:
            raise BtfInvalid("BTF type section is not aligned to 4 bytes")
        words = np.frombuffer(raw, "<u4", type_len // 4, self._types_at)
        self._starts = _record_starts(words)
        self._end: int = self._first + len(self._starts)
        self._name_offsets = words[self._starts]
        self._kinds = (words[self._starts + 1] >> 24) & 31
        self._names: dict[tuple[str, frozenset[Kind]], int | None] = {}
        self._constants: dict[str, tuple[int, int] | None] = {}
        self._heads: dict[int, Type] = {}
        self._members: dict[int, tuple[Member, ...]] = {}
        self._resolved: dict[int, Type] = {}
        self._encodings: dict[int, tuple[int, int, int]] = {}
        self._enumerators: dict[int, dict[int, str]] = {}
        self._fields: dict[tuple[int, str], Field | None] = {}

    def __len__(self) -> int:
        """One more than the highest type id."""
        return self._end

    @property
    def string_end(self) -> int:
        """Where the string offsets of BTF split from this one begin."""
        return self._string_base + self._strings_end - self._strings_at

    def string(self, offset: int) -> str:
        """Name at a string offset.

        :raises BtfInvalid: when the offset is outside the string section.
        """
        if offset < self._string_base and self.base is not None:
            return self.base.string(offset)
        at = self._strings_at + offset - self._string_base
        end = self.raw.find(b"\0", at, self._strings_end) if at < self._strings_end else -1
        if end < 0:
            raise BtfInvalid(f"BTF string offset {offset} is outside the string section")
        return self.raw[at:end].decode("ascii", "replace")

    def type(self, type_id: int) -> Type:
        """Head of the record of ``type_id`` (0 is void).

        :raises BtfInvalid: when there is no such type.
        """
        known = self._heads.get(type_id)
        if known is not None:
            return known
        if type_id == 0:
            return Type(0, Kind.VOID, "void", 0, False, 0, 0)
        if 0 < type_id < self._first and self.base is not None:
            return self.base.type(type_id)
        if not self._first <= type_id < len(self):
            raise BtfInvalid(f"BTF has no type {type_id}, ids end at {len(self) - 1}")
        at = self._types_at + 4 * int(self._starts[type_id - self._first])
        name, info, arg = struct.unpack_from("<III", self.raw, at)
        kind = Kind(info >> 24 & 31)
        head = Type(type_id, kind, self.string(name), info & 0xFFFF, bool(info >> 31), arg, at + 12)
        self._heads[type_id] = head
        return head

    def _owner(self, type_id: int) -> "Btf":
        return self.base._owner(type_id) if self.base and type_id < self._first else self

    def tail(self, head: Type, layout: str) -> tuple[int, ...]:
        """Unpack the words after a record's head."""
        return struct.unpack_from("<" + layout, self._owner(head.id).raw, head.at)

    def find(self, name: str, *kinds: Kind) -> int | None:
        """Id of the first type called ``name`` of one of ``kinds``; ``None`` when there is none."""
        key = (name, frozenset(kinds))
        if key not in self._names:
            own = self._find_own(name, kinds)
            self._names[key] = own if own or not self.base else self.base.find(name, *kinds)
        return self._names[key]

    def _find_own(self, name: str, kinds: tuple[Kind, ...]) -> int | None:
        offset = self._string_offset(name)
        for index in () if offset is None else np.flatnonzero(self._name_offsets == offset):
            if int(self._kinds[index]) in kinds:
                return int(index) + self._first
        return None

    def _string_offset(self, name: str) -> int | None:
        # Compilers and linkers of BTF store each string once, whole, after another's NUL.
        text = name.encode("ascii", "replace") + b"\0"
        if not name:
            return None
        at = self._strings_at
        if not self.raw.startswith(text, at):
            at = self.raw.find(b"\0" + text, at, self._strings_end) + 1
        return at - self._strings_at + self._string_base if at else None

    def find_enumerator(self, name: str) -> tuple[int, int] | None:
        """Type id of the first enum that has ``name``, and its value; ``None`` without one."""
        if name not in self._constants:
            self._constants[name] = self._find_enumerator(name)
        return self._constants[name]

    def _find_enumerator(self, name: str) -> tuple[int, int] | None:
        offset = self._string_offset(name)
        enums = (self._kinds == Kind.ENUM) | (self._kinds == Kind.ENUM64)
        for index in () if offset is None else np.flatnonzero(enums):
            head = self.type(int(index) + self._first)
            for value, at in self._enumerator_words(head):
                if at == offset:
                    return head.id, value
        return None if self.base is None else self.base.find_enumerator(name)

    def resolve(self, type_id: int) -> Type:
        """Follow typedefs, qualifiers, tags and variables to the type underneath.

        :raises BtfInvalid: when the chain is longer than :data:`MAX_CHAIN`.
        """
        known = self._resolved.get(type_id)
        if known is not None:
            return known
        at = type_id
        for _ in range(MAX_CHAIN):
            head = self.type(at)
            if head.kind not in TRANSPARENT:
                self._resolved[type_id] = head
                return head
            at = head.arg
        raise BtfInvalid(f"BTF type {type_id}: more than {MAX_CHAIN} typedefs and qualifiers")

    def size(self, type_id: int) -> int:
        """Size in bytes.

        :raises BtfInvalid: for types without a size (void, functions, forward declarations).
        """
        count = 1
        for _ in range(MAX_CHAIN):
            head = self.resolve(type_id)
            if head.kind is Kind.ARRAY:
                type_id, _, length = self.tail(head, "3I")
                count *= length
            elif head.kind is Kind.PTR:
                return count * _POINTER_SIZE
            elif head.kind in _SIZED:
                return count * head.arg
            else:
                break
        raise BtfInvalid(f"BTF type {type_id} has no size")

    def members(self, head: Type) -> tuple[Member, ...]:
        """Members of a struct or union, or variables of a data section, in order."""
        if head.id not in self._members:
            found = []
            words = self.tail(head, f"{3 * head.vlen}I")
            for first, second, third in zip(words[::3], words[1::3], words[2::3], strict=True):
                if head.kind is Kind.DATASEC:
                    found.append(Member(self.type(first).name, first, 8 * second, 0))
                else:
                    width = third >> 24 if head.flag else 0
                    bit = third & 0xFFFFFF if head.flag else third
                    found.append(Member(self.string(first), second, bit, width))
            self._members[head.id] = tuple(found)
        return self._members[head.id]

    def encoding(self, head: Type) -> tuple[int, int, int]:
        """Of an INT: encoding bits (1 signed, 2 char, 4 bool), width and offset in bits."""
        known = self._encodings.get(head.id)
        if known is None:
            (word,) = self.tail(head, "I")
            known = (word >> 24 & 15, word & 0xFF, word >> 16 & 0xFF)
            self._encodings[head.id] = known
        return known

    def enumerators(self, head: Type) -> dict[int, str]:
        """Value to name of an enum; the first name wins for a value given twice."""
        if head.id not in self._enumerators:
            self._enumerators[head.id] = self._read_enumerators(head)
        return self._enumerators[head.id]

    def _read_enumerators(self, head: Type) -> dict[int, str]:
        names: dict[int, str] = {}
        for value, offset in self._enumerator_words(head):
            names.setdefault(value, self.string(offset))
        return names

    def _enumerator_words(self, head: Type) -> Iterator[tuple[int, int]]:
        """Value and string offset of each enumerator."""
        wide = head.kind is Kind.ENUM64
        step = 3 if wide else 2
        words = self.tail(head, f"{step * head.vlen}I")
        bits = 64 if wide else 32
        for at in range(0, len(words), step):
            value = words[at + 1] | (words[at + 2] << 32 if wide else 0)
            if head.flag and value >> (bits - 1):
                value -= 1 << bits
            yield value, words[at]

    def field(self, type_id: int, path: str) -> Field | None:
        """Place of the member at a dotted ``path``; anonymous structs are looked through."""
        key = (type_id, path)
        if key not in self._fields:
            self._fields[key] = self._field(type_id, path)
        return self._fields[key]

    def _field(self, type_id: int, path: str) -> Field | None:
        start, member = 0, None
        for part in path.split("."):
            if member is not None:
                type_id = member.type_id
            member = self._member(type_id, part, 0, [_MAX_VISITS])
            if member is None:
                return None
            start += member.bit
        assert member is not None
        if member.width:
            span = (start % 8 + member.width + 7) // 8
            return Field(start // 8, span, member.type_id, start % 8, member.width)
        try:
            size = self.size(member.type_id)
        except BtfInvalid:
            return None
        return Field(start // 8, size, member.type_id)

    def _member(self, type_id: int, name: str, depth: int, left: list[int]) -> Member | None:
        head = self.resolve(type_id)
        if head.kind not in (Kind.STRUCT, Kind.UNION, Kind.DATASEC) or depth > MAX_CHAIN:
            return None
        for member in self.members(head):
            if member.name == name:
                return member
            if not member.name:
                left[0] -= 1
                if left[0] < 0:
                    raise BtfInvalid(f"BTF type {head.id}: too many anonymous members")
                inner = self._member(member.type_id, name, depth + 1, left)
                if inner is not None:
                    return inner._replace(bit=inner.bit + member.bit)
        return None


_SIZED = frozenset(
    {Kind.INT, Kind.STRUCT, Kind.UNION, Kind.ENUM, Kind.ENUM64, Kind.FLOAT, Kind.DATASEC}
)


class _Lengths(dict[int, int]):
    """Words of a whole record by its second word, which holds kind and number of elements.

    A kernel's 120 000 records have a few thousand different ones.
    """

    def __missing__(self, info: int) -> int:
        kind = info >> 24 & 31
        if not 0 < kind <= Kind.ENUM64:
            raise BtfInvalid("of unknown kind")
        size = 12 + _FIXED.get(kind, 0) + _EACH.get(kind, 0) * (info & 0xFFFF)
        self[info] = size // 4
        return size // 4


def _record_starts(words: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """Word index of every record, following the chain from the first word.

    :raises BtfInvalid: on an unknown kind or a record that reaches past the section.
    """
    lengths, table, count = _Lengths(), words.data, len(words)
    starts: list[int] = []
    at = 0
    try:
        while at < count:
            starts.append(at)
            at += lengths[table[at + 1]]
    except IndexError:
        at = -1
    except BtfInvalid as error:
        raise BtfInvalid(f"BTF type {len(starts)} is {error.message}") from None
    if at != count:
        raise BtfInvalid(f"BTF type {len(starts)} is past the end of the section")
    return np.array(starts, np.uint32)
