# SPDX-License-Identifier: GPL-2.0-only
"""Maps and entries with contents that a test writes down."""

from typing import Any

from ktstr.series.lazy import LazyValue
from ktstr.series.maps import Entry, MapSnapshot
from ktstr.series.values import RenderedValue, Struct, Uint
from ktstr.series.values_json import Recorded


def lazy(value: RenderedValue) -> LazyValue:
    return LazyValue(b"", Recorded(value))


def section(name: str, map_id: int, **variables: int) -> MapSnapshot:
    members = tuple((label, Uint(64, value)) for label, value in variables.items())
    value = lazy(Struct(None, members))
    return MapSnapshot(name, map_id, 2, "array", 4, 8, 1, 0x1000 * map_id, value=value)


def entries(name: str, map_id: int, *found: Any) -> MapSnapshot:
    return MapSnapshot(name, map_id, 1, "hash", 4, 8, 9, 0x1000 * map_id, entries=tuple(found))


def entry(key: int, **members: int) -> Entry:
    value = Struct(None, tuple((n, Uint(64, v)) for n, v in members.items()))
    return Entry(lazy(Uint(32, key)), lazy(value))
