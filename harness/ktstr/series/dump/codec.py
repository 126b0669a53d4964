# SPDX-License-Identifier: GPL-2.0-only
"""Records of a dump to JSON and strictly back: types, sizes and nesting are checked.

A dump may have travelled, and its text came from a guest: nothing in it is taken on trust.
"""

import re
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import (
    Any,
    ClassVar,
    Final,
    Protocol,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from ktstr.series.errors import SnapshotError
from ktstr.series.lazy import LazyValue
from ktstr.series.maps import Entry, MapSnapshot, PerCpuEntry
from ktstr.series.values import Json
from ktstr.series.values_json import read_lazy

MAX_ITEMS: Final = 1 << 20
MAX_CHARS: Final = 1 << 16

_CPU = re.compile("[0-9]{1,9}", re.ASCII)


class _Record(Protocol):
    """What every dataclass is."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


_T = TypeVar("_T", bound=_Record)
_SCALARS = {bool: "true or false", int: "an integer", str: "text", float: "a number"}


class DumpInvalid(SnapshotError):
    """A file is not the dump it should be; the message names the place."""


def encode(value: object) -> Json:
    """A record as JSON; members that are empty or at their default are left out."""
    if is_dataclass(value) and not isinstance(value, type):
        return {
            item.name: encode(getattr(value, item.name))
            for item in fields(value)
            if not _is_default(value, item)
        }
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [encode(item) for item in value]
    if isinstance(value, bool | int | float | str) or value is None:
        return value
    raise TypeError(f"{type(value).__name__} is no part of a dump")


def _is_default(record: object, item: Any) -> bool:
    value = getattr(record, item.name)
    if item.default is not MISSING:
        return bool(value == item.default and type(value) is type(item.default))
    if item.default_factory is not MISSING:
        return bool(value == item.default_factory())
    return False


def decode(kind: type[_T], plain: object, where: str) -> _T:
    """A record of a dataclass whose members are scalars, tuples, maps and such records.

    :raises DumpInvalid: naming the place and what was expected there.
    """
    if type(plain) is not dict:
        raise DumpInvalid(f"{where} is {_shown(plain)}, not an object")
    hints = get_type_hints(kind)
    known = {item.name: item for item in fields(kind)}
    unknown = sorted(set(plain) - set(known))
    if unknown:
        raise DumpInvalid(f"{where} has a member {unknown[0]!r:.80} that is not known")
    values = {}
    for name, item in known.items():
        if name in plain:
            values[name] = _decode(hints[name], plain[name], f"{where}.{name}")
        elif item.default is MISSING and item.default_factory is MISSING:
            raise DumpInvalid(f"{where} has no {name!r}")
    return kind(**values)


def _decode(hint: Any, plain: object, where: str) -> Any:
    if hint in _SCALARS:
        return _scalar(hint, plain, where)
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        if plain is None and type(None) in args:
            return None
        return _decode(next(a for a in args if a is not type(None)), plain, where)
    if origin is tuple:
        items = _list(plain, where)
        return tuple(_decode(args[0], item, f"{where}[{at}]") for at, item in enumerate(items))
    if origin is not None and issubclass(origin, Mapping):
        if type(plain) is not dict or len(plain) > MAX_ITEMS:
            raise DumpInvalid(f"{where} is {_shown(plain)}, not an object")
        return {
            _scalar(str, key, where): _decode(args[1], item, f"{where}.{key:.80}")
            for key, item in plain.items()
        }
    return decode(hint, plain, where)


def _scalar(hint: type, plain: object, where: str) -> Any:
    if hint is float and type(plain) is int:
        return plain
    if type(plain) is not hint or (hint is str and len(str(plain)) > MAX_CHARS):
        raise DumpInvalid(f"{where} is {_shown(plain)}, not {_SCALARS[hint]}")
    return plain


def _list(plain: object, where: str) -> list[Any]:
    if type(plain) is not list or len(plain) > MAX_ITEMS:
        raise DumpInvalid(f"{where} is {_shown(plain)}, not a list of at most {MAX_ITEMS}")
    return plain


def _shown(plain: object) -> str:
    return "nothing" if plain is None else f"{plain!r:.60}"


def _lazy(plain: object, where: str) -> LazyValue:
    try:
        return read_lazy(plain)
    except ValueError as error:
        raise DumpInvalid(f"{where}: {error}") from None


def map_from_json(plain: object, where: str) -> MapSnapshot:
    """The reverse of :meth:`MapSnapshot.to_json`; its values answer as they did.

    :raises DumpInvalid: naming the place.
    """
    if type(plain) is not dict:
        raise DumpInvalid(f"{where} is {_shown(plain)}, not a map")
    rest = dict(plain)
    contents: dict[str, Any] = {}
    if "value" in rest:
        contents["value"] = _lazy(rest.pop("value"), f"{where}.value")
    if "entries" in rest:
        contents["entries"] = tuple(
            _entry(item, f"{where}.entries[{at}]")
            for at, item in enumerate(_list(rest.pop("entries"), where))
        )
    for name in ("percpu_entries", "percpu_hash_entries"):
        if name in rest:
            contents[name] = tuple(
                _per_cpu(item, f"{where}.{name}[{at}]")
                for at, item in enumerate(_list(rest.pop(name), where))
            )
    if not all(type(rest.get(name, "")) in (str, int) for name in rest):
        raise DumpInvalid(f"{where} has a member that is neither a number nor text")
    try:
        return MapSnapshot(**rest, **contents)
    except TypeError:
        raise DumpInvalid(f"{where} lacks members of a map, or has others") from None


def _entry(plain: object, where: str) -> Entry:
    if type(plain) is not dict or set(plain) != {"key", "value"}:
        raise DumpInvalid(f"{where} is {_shown(plain)}, not an entry")
    return Entry(_lazy(plain["key"], where), _lazy(plain["value"], where))


def _per_cpu(plain: object, where: str) -> PerCpuEntry:
    if type(plain) is not dict or set(plain) != {"key", "per_cpu"}:
        raise DumpInvalid(f"{where} is {_shown(plain)}, not a per-CPU entry")
    slots = plain["per_cpu"]
    if type(slots) is not dict or not all(
        str(cpu).isascii() and str(cpu).isdecimal() for cpu in slots
    ):
        raise DumpInvalid(f"{where} does not tell its CPUs")
    per_cpu = {
        int(cpu): None if item is None else _lazy(item, f"{where}.{cpu}")
        for cpu, item in slots.items()
    }
    return PerCpuEntry(_lazy(plain["key"], where), per_cpu)
