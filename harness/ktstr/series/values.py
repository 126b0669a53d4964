# SPDX-License-Identifier: GPL-2.0-only
"""Rendered values: what bytes from the guest mean, by their BTF type, as plain data.

Every class has a ``kind`` tag and ``to_json()``; the plain form is tagged by that ``kind``, with
optional parts left out when absent. Navigation (:meth:`RenderedValue.get` and friends) looks
through pointers that were followed and through values that were cut short.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from ktstr.errors import KtstrError

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"

MAX_HOPS = 16
"""Pointers followed while resolving one path."""
_LISTED = 24


class SnapshotError(KtstrError):
    """A question about a snapshot has no answer; the message lists what there is."""


class FieldNotFound(SnapshotError):
    """A path names a member or element that does not exist."""


class NotAStruct(SnapshotError):
    """A path goes on below a value that has no members."""


class TypeMismatch(SnapshotError):
    """A value was asked for as a type it is not."""


class EmptyPathComponent(SnapshotError):
    """A dotted path has an empty part."""


def alternatives(names: Iterable[str]) -> str:
    """The first names of a list, for the "what is there" half of an error message."""
    listed = list(names)
    more = f", … ({len(listed)} in all)" if len(listed) > _LISTED else ""
    return ", ".join(listed[:_LISTED]) + more or "nothing"


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

    def peeled(self) -> "RenderedValue":
        """The value behind followed pointers and cut-short wrappers."""
        value = self
        for _ in range(MAX_HOPS):
            if isinstance(value, Ptr) and value.deref is not None:
                value = value.deref
            elif isinstance(value, Truncated):
                value = value.partial
            else:
                break
        return value

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
        value = self
        parts = path.split(".") if path else []
        for at, part in enumerate(parts):
            walked = ".".join(parts[:at]) or "the value"
            if not part:
                raise EmptyPathComponent(f"path {path!r} has an empty part after {walked}")
            inner = value.index(int(part)) if part.isdecimal() else value.member(part)
            if inner is None:
                there = value.names()
                if not there:
                    kind = value.peeled().kind
                    raise NotAStruct(f"path {path!r}: {walked} is {kind}, it has no {part!r}")
                raise FieldNotFound(
                    f"path {path!r}: {walked} has no {part!r}; there: {alternatives(there)}"
                )
            value = inner
        return value

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
        why = f": {self.reason}" if isinstance(self, Unsupported) else ""
        return TypeMismatch(f"{self.kind}{shown} is not {wanted}{why}")


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


@dataclass(frozen=True, slots=True)
class Array(RenderedValue):
    """``len`` elements, of which ``elements`` were rendered (at most 4096)."""

    kind: ClassVar[str] = "array"
    len: int
    elements: tuple[RenderedValue, ...]

    def _plain(self) -> dict[str, Json]:
        return {"len": self.len, "elements": [e.to_json() for e in self.elements]}


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
