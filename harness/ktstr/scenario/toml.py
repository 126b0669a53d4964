# SPDX-License-Identifier: GPL-2.0-only
"""Writes a scenario's plain data as the TOML that people would write."""

from collections.abc import Iterator, Mapping
from typing import Final

TABLES: Final = frozenset({"vm", "scheduler", "checks", "run", "backdrop"})
"""Keys that get a ``[table]``; all other tables are written inline."""

ARRAYS: Final = frozenset({"steps", "cgroups", "across", "temporal"})
"""Keys that get an ``[[array]]`` of tables."""

_ESCAPES: Final = {"\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}
_BARE: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")


def toml_text(data: Mapping[str, object]) -> str:
    """The text that ``tomllib`` reads as ``data``.

    :raises TypeError: when a value is nothing that a scenario can hold.
    """
    return "\n".join(_table((), data)).lstrip("\n") + "\n"


def _table(path: tuple[str, ...], data: Mapping[str, object]) -> Iterator[str]:
    """Lines of a table without its header: first its own keys, then the tables below it."""
    for key, value in data.items():
        if not _has_header(key, value):
            yield f"{_key(key)} = {_block(value)}"
    for key, value in data.items():
        if not _has_header(key, value):
            continue
        here = (*path, key)
        name = ".".join(map(_key, here))
        if isinstance(value, Mapping):
            if not value or any(not _has_header(*item) for item in value.items()):
                yield f"\n[{name}]"
            yield from _table(here, value)
        elif isinstance(value, list):
            for item in value:
                yield f"\n[[{name}]]"
                yield from _table(here, item)


def _has_header(key: str, value: object) -> bool:
    if isinstance(value, Mapping):
        return key in TABLES
    return key in ARRAYS and isinstance(value, list) and bool(value) and _all_tables(value)


def _all_tables(items: list[object]) -> bool:
    return all(isinstance(item, Mapping) for item in items)


def _block(value: object) -> str:
    """A value behind its key: several tables one per line, all else on that line."""
    if isinstance(value, list) and len(value) > 1 and _all_tables(value):
        return "[\n" + "".join(f"    {_inline(item)},\n" for item in value) + "]"
    return _inline(value)


def _inline(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return _quoted(value)
        case int() | float():
            return repr(value)
        case list():
            return "[" + ", ".join(map(_inline, value)) + "]"
        case Mapping():
            pairs = [f"{_key(key)} = {_inline(inner)}" for key, inner in value.items()]
            return "{ " + ", ".join(pairs) + " }" if pairs else "{}"
    raise TypeError(f"a scenario holds no {type(value).__name__}: {value!r}")


def _key(key: str) -> str:
    return key if key and _BARE.issuperset(key) else _quoted(key)


def _quoted(text: str) -> str:
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(char: str) -> str:
    if char in '"\\':
        return f"\\{char}"
    if char < " " or char == "\x7f":
        return _ESCAPES.get(char, f"\\u{ord(char):04x}")
    return char
