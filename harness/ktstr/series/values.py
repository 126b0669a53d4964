# SPDX-License-Identifier: GPL-2.0-only
"""Rendered values: what bytes from the guest mean, by their BTF type, as plain data.

Every class has a ``kind`` tag and ``to_json()``; the plain form is tagged by that ``kind``, with
optional parts left out when absent. Navigation (:meth:`RenderedValue.get` and friends) looks
through pointers that were followed and through values that were cut short.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from ktstr.series.errors import (
    EmptyPathComponent,
    FieldNotFound,
    NotAStruct,
    SnapshotError,
    TypeMismatch,
    alternatives,
)

__all__ = [
    "Array",
    "Bool",
    "Bytes",
    "Char",
    "CpuList",
    "EmptyPathComponent",
    "Enum",
    "FieldNotFound",
    "Float",
    "Int",
    "Json",
    "NotAStruct",
    "Ptr",
    "RenderedValue",
    "SnapshotError",
    "Struct",
    "Truncated",
    "TypeMismatch",
    "Uint",
    "Unsupported",
    "alternatives",
    "resolve",
]

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"

MAX_HOPS = 16
"""Pointers followed while resolving one path."""


@dataclass(frozen=True, slots=True)
class RenderedValue(ABC):
    """Base of all rendered values."""

    kind: ClassVar[str] = ""

    def to_json(self) -> dict[str, Json]:
        """Plain form, tagged by ``kind``."""
        return {"kind": self.kind, **self._plain()}

    @abstractmethod
    def _plain(self) -> dict[str, Json]:
        """The members of the plain form beside ``kind``."""

    def raw(self) -> "RenderedValue":
        """The value as it was rendered, pointers and cut-short wrappers included."""
        return self

    def peeled(self) -> "RenderedValue":
        """The value behind followed pointers and cut-short wrappers."""
        return _peel(self)[0]

    def names(self) -> tuple[str, ...]:
        """What a path may go on with below this value."""
        value = self.peeled()
        if isinstance(value, Struct):
            return tuple(name for name, _ in value.members)
        if isinstance(value, Array):
            return tuple(str(i) for i in range(len(value.elements)))
        return ()

    def member(self, name: str) -> "RenderedValue | None":
        """Member called ``name``, also inside anonymous members; ``None`` when there is none."""
        value = self.peeled()
        for label, inner in value.members if isinstance(value, Struct) else ():
            if label == name:
                return inner
            if not label:
                found = inner.member(name)
                if found is not None:
                    return found
        return None

    def index(self, index: int) -> "RenderedValue | None":
        """Array element; ``None`` outside the elements that were rendered."""
        value = self.peeled()
        if isinstance(value, Array) and 0 <= index < len(value.elements):
            return value.elements[index]
        return None

    def get(self, path: str = "") -> "RenderedValue":
        """Value at a dotted path; digits index arrays, the empty path is the value itself.

        :raises FieldNotFound: when a part does not exist, listing what does.
        :raises NotAStruct: when a part has nothing below it.
        :raises EmptyPathComponent: for ``"a..b"``.
        """
        return resolve(self, path)

    def as_u64(self) -> int:
        """As a number that is not negative: uint, int ≥ 0, bool, char, pointer, enum.

        :raises TypeMismatch: for anything else.
        """
        value = self.peeled()
        if isinstance(value, Enum) and not value.is_signed:
            return value.value & ((1 << value.bits) - 1)
        if isinstance(value, Uint | Int | Bool | Char | Ptr | Enum) and value.value >= 0:
            return int(value.value)
        raise value._mismatch("an unsigned number")

    def as_i64(self) -> int:
        """As a signed 64-bit number: int, uint that fits, bool, char, enum.

        :raises TypeMismatch: for anything else.
        """
        value = self.peeled()
        if isinstance(value, Int | Uint | Bool | Char | Enum) and value.value < 1 << 63:
            return int(value.value)
        raise value._mismatch("a signed number")

    def as_f64(self) -> float:
        """As a floating-point number: float, int, uint.

        :raises TypeMismatch: for anything else.
        """
        value = self.peeled()
        if isinstance(value, Float | Int | Uint):
            return float(value.value)
        raise value._mismatch("a floating-point number")

    def as_bool(self) -> bool:
        """As a truth value: bool, or a number (0 is false).

        :raises TypeMismatch: for anything else.
        """
        value = self.peeled()
        if isinstance(value, Bool | Int | Uint | Char):
            return bool(value.value)
        raise value._mismatch("a truth value")

    def as_str(self) -> str:
        """As text: the name of an enum's value, or an array of char up to its NUL.

        :raises TypeMismatch: for anything else, and for an enum value without a name.
        """
        value = self.peeled()
        if isinstance(value, Enum) and value.variant is not None:
            return value.variant
        if isinstance(value, Array):
            codes = [e.value for e in value.elements if isinstance(e, Char)]
            if len(codes) == len(value.elements):
                return bytes(codes).split(b"\0", 1)[0].decode("utf-8", "backslashreplace")
        raise value._mismatch("text")

    def _mismatch(self, wanted: str) -> TypeMismatch:
        shown = f" ({self.value})" if isinstance(self, Int | Uint | Float | Enum) else ""
        why = f" ({self.reason})" if isinstance(self, Unsupported) else ""
        return TypeMismatch(wanted, f"{self.kind}{shown}{why}")


def _peel(value: RenderedValue, hops: int = MAX_HOPS) -> tuple[RenderedValue, int]:
    """The value behind pointers and cut-short wrappers, and how many hops are left."""
    for _ in range(2 * MAX_HOPS):
        if isinstance(value, Ptr) and value.deref is not None and hops:
            value, hops = value.deref, hops - 1
        elif isinstance(value, Truncated):
            value = value.partial
        else:
            break
    return value, hops


def resolve(value: RenderedValue, path: str, walked: int = 0) -> RenderedValue:
    """Value at a dotted path, of which the first ``walked`` parts led to ``value`` already.

    :raises SnapshotError: as :meth:`RenderedValue.get`.
    """
    parts = path.split(".") if path else []
    hops = MAX_HOPS
    for at, part in enumerate(parts[walked:], walked):
        where = ".".join(parts[:at])
        if not part:
            raise EmptyPathComponent(path, where)
        holder, hops = _peel(value, hops)
        if isinstance(holder, Ptr) and holder.deref is not None:
            raise NotAStruct(path, where, part, holder.kind, f"{MAX_HOPS} pointers were followed")
        inner = holder.index(int(part)) if part.isdecimal() else holder.member(part)
        if inner is None:
            there = holder.names()
            if not there:
                raise NotAStruct(path, where, part, holder.kind)
            raise FieldNotFound(path, where, part, there)
        value = inner
    return value


@dataclass(frozen=True, slots=True)
class Int(RenderedValue):
    """Signed integer of ``bits`` bits."""

    kind: ClassVar[str] = "int"
    bits: int
    value: int

    def _plain(self) -> dict[str, Json]:
        return {"bits": self.bits, "value": self.value}


@dataclass(frozen=True, slots=True)
class Uint(RenderedValue):
    """Unsigned integer of ``bits`` bits."""

    kind: ClassVar[str] = "uint"
    bits: int
    value: int

    def _plain(self) -> dict[str, Json]:
        return {"bits": self.bits, "value": self.value}


@dataclass(frozen=True, slots=True)
class Bool(RenderedValue):
    """``_Bool``."""

    kind: ClassVar[str] = "bool"
    value: bool

    def _plain(self) -> dict[str, Json]:
        return {"value": self.value}


@dataclass(frozen=True, slots=True)
class Char(RenderedValue):
    """``char`` as its byte value."""

    kind: ClassVar[str] = "char"
    value: int

    def _plain(self) -> dict[str, Json]:
        return {"value": self.value}


@dataclass(frozen=True, slots=True)
class Float(RenderedValue):
    """Floating-point number of ``bits`` bits."""

    kind: ClassVar[str] = "float"
    bits: int
    value: float

    def _plain(self) -> dict[str, Json]:
        # JSON has no words for these three; numbers that are not finite travel as text.
        finite = self.value - self.value == 0
        return {"bits": self.bits, "value": self.value if finite else str(self.value)}


@dataclass(frozen=True, slots=True)
class Enum(RenderedValue):
    """Enumeration value with its name where it has one."""

    kind: ClassVar[str] = "enum"
    bits: int
    value: int
    variant: str | None = None
    is_signed: bool = False

    def _plain(self) -> dict[str, Json]:
        plain: dict[str, Json] = {"bits": self.bits, "value": self.value, "variant": self.variant}
        return {**plain, "is_signed": True} if self.is_signed else plain


@dataclass(frozen=True, slots=True)
class Struct(RenderedValue):
    """Struct, union or data section, members in declaration order (anonymous: empty name)."""

    kind: ClassVar[str] = "struct"
    type_name: str | None
    members: tuple[tuple[str, RenderedValue], ...]

    def _plain(self) -> dict[str, Json]:
        members: list[Json] = [{"name": n, "value": v.to_json()} for n, v in self.members]
        return {"type_name": self.type_name, "members": members}


def chars_json(length: int, codes: bytes) -> dict[str, Json]:
    """Plain form, beside ``kind``, of an array of ``length`` characters that begins with these."""
    plain: dict[str, Json] = {"len": length, "chars": codes.rstrip(b"\0").decode("latin-1")}
    return plain if len(codes) == length else {**plain, "rendered": len(codes)}


def elements_json(length: int, elements: list[Json]) -> dict[str, Json]:
    """Plain form, beside ``kind``, of an array of ``length`` that begins with these."""
    codes = [e["value"] for e in elements if isinstance(e, dict) and e["kind"] == Char.kind]
    octets = [code for code in codes if isinstance(code, int) and 0 <= code < 256]
    if codes and len(octets) == len(elements):
        return chars_json(length, bytes(octets))
    return {"len": length, "elements": elements}


@dataclass(frozen=True, slots=True)
class Array(RenderedValue):
    """``len`` elements, of which ``elements`` were rendered (at most 4096).

    The plain form of characters is one text, a byte each, without the NULs at its end; a text per
    element would be thirty times as long.
    """

    kind: ClassVar[str] = "array"
    len: int
    elements: tuple[RenderedValue, ...]

    def _plain(self) -> dict[str, Json]:
        return elements_json(self.len, [element.to_json() for element in self.elements])


@dataclass(frozen=True, slots=True)
class CpuList(RenderedValue):
    """CPU mask as a range list, ``0-3,8``."""

    kind: ClassVar[str] = "cpu_list"
    cpus: str

    def _plain(self) -> dict[str, Json]:
        return {"cpus": self.cpus}


@dataclass(frozen=True, slots=True)
class Ptr(RenderedValue):
    """Pointer, with what it points to where that was copied and the reason where it was not."""

    kind: ClassVar[str] = "ptr"
    value: int
    deref: RenderedValue | None = None
    deref_skipped_reason: str | None = None
    cast_annotation: str | None = None

    def _plain(self) -> dict[str, Json]:
        plain: dict[str, Json] = {"value": self.value}
        if self.deref is not None:
            plain["deref"] = self.deref.to_json()
        if self.deref_skipped_reason is not None:
            plain["deref_skipped_reason"] = self.deref_skipped_reason
        if self.cast_annotation is not None:
            plain["cast_annotation"] = self.cast_annotation
        return plain


@dataclass(frozen=True, slots=True)
class Bytes(RenderedValue):
    """Bytes without a type, as lowercase hex pairs separated by spaces."""

    kind: ClassVar[str] = "bytes"
    hex: str

    def _plain(self) -> dict[str, Json]:
        return {"hex": self.hex}


@dataclass(frozen=True, slots=True)
class Truncated(RenderedValue):
    """A value of ``needed`` bytes of which only ``had`` were there."""

    kind: ClassVar[str] = "truncated"
    needed: int
    had: int
    partial: RenderedValue

    def _plain(self) -> dict[str, Json]:
        return {"needed": self.needed, "had": self.had, "partial": self.partial.to_json()}


@dataclass(frozen=True, slots=True)
class Unsupported(RenderedValue):
    """A value that cannot be rendered, and why."""

    kind: ClassVar[str] = "unsupported"
    reason: str

    def _plain(self) -> dict[str, Json]:
        return {"reason": self.reason}
