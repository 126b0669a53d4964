# SPDX-License-Identifier: GPL-2.0-only
"""Rendered values back out of their plain form, for records that are read again."""

from collections.abc import Callable
from typing import Final, TypeVar

from ktstr.series.lazy import LazyValue, RawBytes
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

MAX_DEPTH: Final = 64
MAX_CHARS: Final = 4096
CUT: Final = "..."
"""What a record holds in the place of what was nested too deep for it."""

T = TypeVar("T")


class Recorded:
    """The type of a value that was rendered before it was written down."""

    def __init__(self, value: RenderedValue) -> None:
        self._value = value

    def render(self, data: bytes) -> RenderedValue:
        return self._value

    def select(self, part: str) -> None:
        return None

    def names(self) -> tuple[str, ...]:
        return self._value.names()


def read_lazy(plain: object) -> LazyValue:
    """A lazy value that has its rendering already; bytes without a type are bytes again.

    :raises ValueError: when ``plain`` is no plain form.
    """
    value = read_value(plain)
    if isinstance(value, Bytes):
        return LazyValue(bytes.fromhex(value.hex), RawBytes())
    return LazyValue(b"", Recorded(value))


def read_value(plain: object, depth: int = 0) -> RenderedValue:
    """The value whose ``to_json()`` gave ``plain``.

    :raises ValueError: when no value gives that, in a few words.
    """
    if plain == CUT:
        return Unsupported("nested too deep for the record")
    if type(plain) is not dict or depth > MAX_DEPTH:
        raise ValueError(f"{plain!r:.40} is no rendered value")
    kind = plain.get("kind")
    read = _READERS.get(kind) if isinstance(kind, str) else None
    if read is None:
        raise ValueError(f"{kind!r:.40} is no kind of value")
    return read(plain, depth)


def _take(plain: dict[str, object], name: str, kind: type[T]) -> T:
    value = plain.get(name)
    if type(value) is not kind:
        raise ValueError(f"{name} of a {plain['kind']} is {value!r:.40}")
    return value


def _text_or_none(plain: dict[str, object], name: str) -> str | None:
    return None if plain.get(name) is None else _take(plain, name, str)


def _number(plain: dict[str, object]) -> tuple[int, int]:
    bits = _take(plain, "bits", int)
    if not 0 < bits <= 128:
        raise ValueError(f"{bits} bits are too many")
    return bits, _take(plain, "value", int)


def _float(plain: dict[str, object], depth: int) -> RenderedValue:
    value = plain.get("value")
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(value, int | float | str) and (number or value in ("nan", "inf", "-inf")):
        return Float(_take(plain, "bits", int), float(value))
    raise ValueError(f"{value!r:.40} is no number")


def _enum(plain: dict[str, object], depth: int) -> RenderedValue:
    signed = plain.get("is_signed", False) is True
    return Enum(*_number(plain), _text_or_none(plain, "variant"), signed)


def _struct(plain: dict[str, object], depth: int) -> RenderedValue:
    members = plain.get("members")
    if members == CUT:
        return Unsupported("nested too deep for the record")
    found = []
    for member in members if isinstance(members, list) else _refuse("members", members):
        if type(member) is not dict:
            return Unsupported("nested too deep for the record") if member == CUT else _bad(member)
        name = member.get("name")
        if type(name) is not str:
            raise ValueError(f"a member is called {name!r:.40}")
        found.append((name, read_value(member.get("value"), depth + 1)))
    return Struct(_text_or_none(plain, "type_name"), tuple(found))


def _array(plain: dict[str, object], depth: int) -> RenderedValue:
    elements = plain.get("elements")
    if elements == CUT:
        return Unsupported("nested too deep for the record")
    if elements is None and "chars" in plain:
        return _chars(plain)
    listed = elements if isinstance(elements, list) else _refuse("elements", elements)
    return Array(_take(plain, "len", int), tuple(read_value(e, depth + 1) for e in listed))


def _chars(plain: dict[str, object]) -> RenderedValue:
    length, codes = _take(plain, "len", int), _take(plain, "chars", str).encode("latin-1")
    kept = _take(plain, "rendered", int) if "rendered" in plain else length
    if not len(codes) <= kept <= MAX_CHARS:
        raise ValueError(f"{len(codes)} characters of {kept} rendered, at most {MAX_CHARS}")
    return Array(length, tuple(Char(code) for code in codes.ljust(kept, b"\0")))


def _ptr(plain: dict[str, object], depth: int) -> RenderedValue:
    deref = plain.get("deref")
    return Ptr(
        _take(plain, "value", int),
        None if deref is None else read_value(deref, depth + 1),
        _text_or_none(plain, "deref_skipped_reason"),
        _text_or_none(plain, "cast_annotation"),
    )


def _bytes(plain: dict[str, object], depth: int) -> RenderedValue:
    text = _take(plain, "hex", str)
    bytes.fromhex(text)
    return Bytes(text)


def _truncated(plain: dict[str, object], depth: int) -> RenderedValue:
    needed, had = _take(plain, "needed", int), _take(plain, "had", int)
    return Truncated(needed, had, read_value(plain.get("partial"), depth + 1))


def _refuse(name: str, value: object) -> list[object]:
    raise ValueError(f"{name} is {value!r:.40}")


def _bad(value: object) -> RenderedValue:
    raise ValueError(f"{value!r:.40} is no member")


_READERS: Final[dict[str, Callable[[dict[str, object], int], RenderedValue]]] = {
    "int": lambda plain, depth: Int(*_number(plain)),
    "uint": lambda plain, depth: Uint(*_number(plain)),
    "bool": lambda plain, depth: Bool(_take(plain, "value", bool)),
    "char": lambda plain, depth: Char(_take(plain, "value", int)),
    "float": _float,
    "enum": _enum,
    "struct": _struct,
    "array": _array,
    "cpu_list": lambda plain, depth: CpuList(_take(plain, "cpus", str)),
    "ptr": _ptr,
    "bytes": _bytes,
    "truncated": _truncated,
    "unsupported": lambda plain, depth: Unsupported(_take(plain, "reason", str)),
}
