# SPDX-License-Identifier: GPL-2.0-only
"""BPF maps of a capture in a sidecar: the globals whole, of the rest what fits into a few KiB.

Global variables stand under ``globals`` by the name of their map, which is how people look for
them; ``maps`` says what every map is and holds the entries of the others. Where not everything
fits, the attached scheduler's maps come first, and the small ones before the large. What is left
out is said in the map's ``truncated`` or ``error``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from ktstr.series.maps import AnyEntry, Entry, MapSnapshot, PerCpuEntry
from ktstr.series.snapshot import Snapshot
from ktstr.series.values_json import read_lazy
from ktstr.telemetry.decode import Fields

MAX_MAPS: Final = 256
MAX_BYTES: Final = 4 * 1024
"""Bytes of map contents, as the kernel has them, that one capture keeps beside the globals.

Rendered, a byte becomes about thirty letters."""

_TEXT: Final = 4096
_MANY: Final = 1 << 16
_U32: Final = (1 << 32) - 1
_KINDS: Final = ("entries", "percpu_entries", "percpu_hash_entries")
_LEFT_OUT: Final = "its contents are not in the record"


@dataclass(slots=True)
class _Room:
    left: int = MAX_BYTES


def maps_record(snapshot: Snapshot) -> dict[str, Any]:
    """The two keys of a sample that hold its maps."""
    active = snapshot.active_maps or ()
    # Small maps first: many of them whole say more than one that fills the room.
    order = sorted(snapshot.maps, key=lambda m: (m.id not in active, _about(m), m.id))
    room = _Room()
    labels: set[str] = set()
    plain: dict[str, Any] = {"globals": {}, "maps": []}
    for found in order[:MAX_MAPS]:
        head = _head(found)
        if found.is_globals and found.value is not None:
            # Two programs may each have a map of that name; the attached one's comes first.
            label = found.name if found.name not in labels else f"{found.name}#{found.id}"
            labels.add(label)
            plain["globals"][label] = found.value.to_json()
            head["globals"] = label
        else:
            head |= _contents(found, room)
        plain["maps"].append(head)
    plain["maps"].sort(key=lambda head: head["id"])
    return plain


def _head(found: MapSnapshot) -> dict[str, Any]:
    names = ("name", "id", "map_type", "type_name", "key_size", "value_size", "max_entries")
    return {name: getattr(found, name) for name in (*names, "map_kva", "error", "truncated")}


def _contents(found: MapSnapshot, room: _Room) -> dict[str, Any]:
    if found.value is not None:
        if len(found.value.data) > room.left:
            return {"error": _LEFT_OUT}
        room.left -= len(found.value.data)
        return {"value": found.value.to_json()}
    for name in _KINDS:
        entries: Sequence[AnyEntry] | None = getattr(found, name)
        if entries is None:
            continue
        kept = _fitting(entries, room)
        plain: dict[str, Any] = {name: [entry.to_json() for entry in kept]}
        if len(kept) < len(entries):
            note = f"the record keeps the first {len(kept)} of {len(entries)} entries"
            plain["truncated"] = "; ".join(filter(None, (found.truncated, note)))
        return plain
    return {}


def _fitting(entries: Sequence[AnyEntry], room: _Room) -> list[AnyEntry]:
    kept: list[AnyEntry] = []
    for entry in entries:
        size = _size(entry)
        if size > room.left:
            break
        room.left -= size
        kept.append(entry)
    return kept


def _about(found: MapSnapshot) -> int:
    """Bytes of a map's contents, by those of its first entry."""
    if found.value is not None:
        return 0 if found.is_globals else len(found.value.data)
    entries: Sequence[AnyEntry] = next(filter(None, (getattr(found, n) for n in _KINDS)), ())
    return len(entries) * _size(entries[0]) if entries else 0


def _size(entry: AnyEntry) -> int:
    if isinstance(entry, Entry):
        return len(entry.key.data) + len(entry.value.data)
    return len(entry.key.data) + sum(len(v.data) for v in entry.per_cpu.values() if v)


def read_maps(values: Fields) -> tuple[MapSnapshot, ...]:
    """The maps of a sample, in the order of their ids.

    :raise RecordError: naming the field that is wrong.
    """
    sections = values.take("globals")
    if type(sections) is not dict:
        values.refuse("globals", sections, "a map")
    found = [_map(each, sections) for each in values.maps("maps", MAX_MAPS)]
    return tuple(sorted(found, key=lambda m: m.id))


def _map(values: Fields, sections: dict[str, object]) -> MapSnapshot:
    contents: dict[str, Any] = {}
    if values.has("globals"):
        label = values.one_of("globals", sections)
        contents["value"] = _lazy(values, "globals", sections[label])
    if values.has("value"):
        contents["value"] = _lazy(values, "value", values.take("value"))
    if values.has("entries"):
        contents["entries"] = tuple(_entry(each) for each in values.maps("entries", _MANY))
    for name in _KINDS[1:]:
        if values.has(name):
            contents[name] = tuple(_percpu_entry(each) for each in values.maps(name, _MANY))
    found = MapSnapshot(
        name=values.text("name", 255),
        id=values.integer("id", 0, _U32),
        map_type=values.integer("map_type", 0, _U32),
        type_name=values.text("type_name", 255),
        key_size=values.integer("key_size", 0, _U32),
        value_size=values.integer("value_size", 0, _U32),
        max_entries=values.integer("max_entries", 0, _U32),
        map_kva=values.u64("map_kva"),
        error=values.text_or_none("error", _TEXT),
        truncated=values.text_or_none("truncated", _TEXT),
        **contents,
    )
    values.done()
    return found


def _entry(values: Fields) -> Entry:
    entry = Entry(*(_lazy(values, name, values.take(name)) for name in ("key", "value")))
    values.done()
    return entry


def _percpu_entry(values: Fields) -> PerCpuEntry:
    per_cpu = values.take("per_cpu")
    if type(per_cpu) is not dict or not all(str(key).isdecimal() for key in per_cpu):
        values.refuse("per_cpu", per_cpu, "a map of values by CPU number")
    entry = PerCpuEntry(
        _lazy(values, "key", values.take("key")),
        {
            int(cpu): None if value is None else _lazy(values, "per_cpu", value)
            for cpu, value in per_cpu.items()
        },
    )
    values.done()
    return entry


def _lazy(values: Fields, name: str, plain: object) -> Any:
    try:
        return read_lazy(plain)
    except ValueError as error:
        values.refuse(name, str(error), "a rendered value")
