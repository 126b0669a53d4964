# SPDX-License-Identifier: GPL-2.0-only
"""Dataclasses as JSON and back, by their annotations: strict and bounded.

What comes back has exactly the types that were declared: an unknown key, a wrong type, a number
that is no number and a text beyond its bound are refused with the key's name.
"""

import math
import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import lru_cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Final, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from ktstr.errors import RequestInvalid

MAX_TEXT: Final = 1 << 16
MAX_ITEMS: Final = 4096
MAX_INT: Final = (1 << 63) - 1

_NO_CHARACTER: Final = re.compile("[\0\ud800-\udc7f\udd00-\udfff]")
"""Zero, and halves of characters, that no encoding takes. U+DC80 to U+DCFF are bytes of a file's
name that is not UTF-8 (PEP 383), in paths and in messages that tell of them."""

T = TypeVar("T")


def to_plain(value: Any) -> Any:
    """Maps, lists, texts and numbers that say the same."""
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: to_plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        # JSON has no word for it.
        return None
    return value


def from_plain(
    kind: type[T], value: Any, key: str = "", ready: Mapping[str, Any] | None = None
) -> T:
    """The dataclass ``kind`` with the fields of ``value``; those left out have their defaults.

    :param key: where ``value`` stands, for what is said of mistakes.
    :param ready: fields that have been made already, and may not be in ``value``.
    :raise RequestInvalid: naming the first key that is wrong and what is allowed.
    """
    if not isinstance(value, Mapping):
        raise wrong(key, value, "a map")
    found = dict(ready or {})
    hints = {name: hint for name, hint in _hints(cast(Hashable, kind)).items() if name not in found}
    for name in value:
        if name not in hints:
            raise wrong(_under(key, str(name)), value[name], f"the keys {', '.join(hints)}")
    for item in fields(cast(Any, kind)):
        if item.name in found:
            continue
        if item.name in value:
            place = _under(key, item.name)
            found[item.name] = checked(hints[item.name], value[item.name], place)
        elif item.default is MISSING and item.default_factory is MISSING:
            raise RequestInvalid(f"{_under(key, item.name)} is missing")
    return kind(**found)


def checked(hint: Any, value: Any, key: str) -> Any:
    """``value`` as what ``hint`` declares.

    :raise RequestInvalid: when it is something else.
    """
    if get_origin(hint) in (Union, UnionType):
        return _one_of(get_args(hint), value, key)
    if get_origin(hint) is Literal:
        if value not in get_args(hint) or isinstance(value, bool):
            raise wrong(key, value, " or ".join(map(repr, get_args(hint))))
        return value
    if get_origin(hint) is tuple:
        return _tuple(get_args(hint), value, key)
    if hint is Path:
        return Path(_text(value, key))
    if hint is str:
        return _text(value, key)
    if hint is bool:
        if not isinstance(value, bool):
            raise wrong(key, value, "true or false")
        return value
    if hint is int:
        if type(value) is not int or abs(value) > MAX_INT:
            raise wrong(key, value, "a whole number")
        return value
    if hint is float:
        if type(value) not in (int, float) or not math.isfinite(value):
            raise wrong(key, value, "a number")
        return float(value)
    if is_dataclass(hint) and isinstance(hint, type):
        return from_plain(hint, value, key)
    raise TypeError(f"{key}: {hint} has no form in JSON")


def wrong(key: str, value: Any, allowed: str) -> RequestInvalid:
    """The error for a value that is not allowed; shows no more of it than fits in a line."""
    shown = repr(value)
    if len(shown) > 80:
        shown = f"{shown[:77]}..."
    return RequestInvalid(f"{key or 'the message'}: found {shown}; allowed: {allowed}")


def readable(text: str) -> str:
    """The text with a mark in place of what :func:`checked` refuses in texts."""
    return _NO_CHARACTER.sub("\ufffd", text)


def _one_of(kinds: Sequence[Any], value: Any, key: str) -> Any:
    if value is None and NoneType in kinds:
        return None
    rest = [kind for kind in kinds if kind is not NoneType]
    if len(rest) != 1:
        raise TypeError(f"{key}: which of {rest} is meant cannot be told")
    return checked(rest[0], value, key)


def _tuple(kinds: Sequence[Any], value: Any, key: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple) or len(value) > MAX_ITEMS:
        raise wrong(key, value, f"a list of at most {MAX_ITEMS}")
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        return tuple(checked(kinds[0], item, f"{key}[{at}]") for at, item in enumerate(value))
    if len(value) != len(kinds):
        raise wrong(key, value, f"a list of {len(kinds)}")
    pairs = zip(kinds, value, strict=True)
    return tuple(checked(kind, item, f"{key}[{at}]") for at, (kind, item) in enumerate(pairs))


def _text(value: Any, key: str) -> str:
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise wrong(key, value, f"a text of at most {MAX_TEXT} characters")
    if _NO_CHARACTER.search(value):
        raise wrong(key, value, "a text without zeros and lone surrogates")
    return value


def _under(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name


@lru_cache(maxsize=64)
def _hints(kind: Hashable) -> dict[str, Any]:
    return get_type_hints(kind)
