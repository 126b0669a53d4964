# SPDX-License-Identifier: GPL-2.0-only
"""BPF maps of a frozen instant: copied contents behind lazy, navigable entries."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeAlias, overload

from ktstr.series.errors import (
    IndexOutOfRange,
    MapRenderIncomplete,
    NoMatch,
    NoRendered,
    PerCpuNotNarrowed,
    PerCpuSlot,
    TypeMismatch,
)
from ktstr.series.lazy import U32, LazyValue, ValueType, plain_rows, plain_values
from ktstr.series.values import Bytes, Json, RenderedValue

__all__ = [
    "AnyEntry",
    "ArrayEntries",
    "Column",
    "Entry",
    "IndexOutOfRange",
    "MapRenderIncomplete",
    "MapSnapshot",
    "NoMatch",
    "PerCpuEntry",
    "PerCpuNotNarrowed",
    "PerCpuSlot",
    "TableEntries",
    "key_text",
]

_GLOBALS = (".bss", ".data", ".rodata")


@dataclass(frozen=True, slots=True)
class Entry:
    """One key and its value.

    :param map_name: the map it was taken from, for error texts.
    """

    key: LazyValue
    value: LazyValue
    map_name: str = field(default="", compare=False)

    def get(self, path: str = "") -> RenderedValue:
        """Part of the value at a dotted path.

        :raises NoRendered: when the map was made without types.
        :raises SnapshotError: when there is no such part.
        """
        if path and not self.value.is_typed:
            raise NoRendered(self.map_name, "value", path)
        return self.value.get(path)

    def raw(self) -> RenderedValue:
        """The value as it was rendered; bytes when the map was made without types."""
        return self.value.value

    def cpu(self, cpu: int) -> LazyValue:
        """The value: it is the same for every CPU."""
        return self.value

    def to_json(self) -> dict[str, Json]:
        """Plain form."""
        return {"key": self.key.to_json(), "value": self.value.to_json()}


@dataclass(frozen=True, slots=True)
class PerCpuEntry:
    """One key with a value per CPU; ``None`` where a CPU's value could not be read.

    :param map_name: the map it was taken from, for error texts.
    """

    key: LazyValue
    per_cpu: Mapping[int, LazyValue | None]
    map_name: str = field(default="", compare=False)

    def cpu(self, cpu: int) -> LazyValue:
        """The value of one CPU.

        :raises PerCpuSlot: when there is none.
        """
        found = self.per_cpu.get(cpu)
        if found is None:
            there = [c for c, value in self.per_cpu.items() if value is not None]
            raise PerCpuSlot(self.map_name, cpu, there, unmapped=cpu in self.per_cpu)
        return found

    def read_cpus(self) -> list[int]:
        """The CPUs whose value could be read."""
        return [cpu for cpu, value in self.per_cpu.items() if value is not None]

    def sum_u64(self, path: str = "") -> int:
        """Sum over CPUs of an unsigned part.

        :raises SnapshotError: when any CPU's part is missing or not a number.
        """
        return sum(self.cpu(cpu).get(path).as_u64() for cpu in self.per_cpu)

    def get(self, path: str = "") -> RenderedValue:
        """Always an error: say which CPU first, with :meth:`cpu`.

        :raises PerCpuNotNarrowed: always.
        """
        raise PerCpuNotNarrowed(self.map_name, path, list(self.per_cpu))

    def to_json(self) -> dict[str, Json]:
        """Plain form; CPU numbers become text, as JSON wants."""
        per_cpu: dict[str, Json] = {
            str(c): v.to_json() if v is not None else None for c, v in self.per_cpu.items()
        }
        return {"key": self.key.to_json(), "per_cpu": per_cpu}


class _Rows(Sequence[Entry]):
    """Entries that are made when asked for."""

    __slots__ = ()

    @abstractmethod
    def _entry(self, index: int) -> Entry:
        """The entry of a row that exists."""

    @overload
    def __getitem__(self, index: int) -> Entry: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Entry]: ...
    def __getitem__(self, index: int | slice) -> Entry | Sequence[Entry]:
        rows = range(len(self))[index]
        return self._entry(rows) if isinstance(rows, int) else tuple(map(self._entry, rows))


class ArrayEntries(_Rows):
    """Entries of an array map over its copied bytes; each is made when asked for."""

    __slots__ = ("_count", "_data", "_size", "_stride", "_type")

    def __init__(
        self, data: bytes, stride: int, size: int, count: int, value_type: ValueType
    ) -> None:
        self._data, self._stride, self._size = data, stride, size
        self._count, self._type = count, value_type

    def __len__(self) -> int:
        return self._count

    def _entry(self, index: int) -> Entry:
        raw = self._data[index * self._stride :][: self._size]
        key = LazyValue(index.to_bytes(4, "little"), U32())
        return Entry(key, LazyValue(raw, self._type))

    def to_json(self) -> list[Json]:
        """Plain forms of all entries, without making the entries where the type can do so."""
        rows = range(0, self._count * self._stride, self._stride)
        values = plain_rows(self._data, rows, self._size, self._type)
        return [
            {"key": {"kind": "uint", "bits": 32, "value": index}, "value": value}
            for index, value in enumerate(values)
        ]


class Column(NamedTuple):
    """Where the keys, or the values, of a table lie in its rows; bytes."""

    at: int
    size: int
    type: ValueType


class TableEntries(_Rows):
    """Entries over copied rows that hold key and value; each is made when asked for.

    :param data: the rows, ``stride`` bytes each.
    """

    __slots__ = ("_data", "_key", "_stride", "_value")

    def __init__(self, data: bytes, stride: int, key: Column, value: Column) -> None:
        self._data, self._stride, self._key, self._value = data, stride, key, value

    def __len__(self) -> int:
        return len(self._data) // self._stride

    def _entry(self, index: int) -> Entry:
        start = index * self._stride
        key, value = (
            LazyValue(self._data[start + at : start + at + size], kind)
            for at, size, kind in (self._key, self._value)
        )
        return Entry(key, value)

    def to_json(self) -> list[Json]:
        """Plain forms of all entries."""
        pairs = zip(self._plain(self._key), self._plain(self._value), strict=True)
        return [{"key": key, "value": value} for key, value in pairs]

    def _plain(self, column: Column) -> list[Json]:
        rows = range(column.at, len(self) * self._stride + column.at, self._stride)
        return plain_rows(self._data, rows, column.size, column.type)


AnyEntry: TypeAlias = Entry | PerCpuEntry


@dataclass(frozen=True, slots=True)
class MapSnapshot:
    """A BPF map at the frozen instant.

    Exactly one of ``value`` (data section, struct_ops), ``entries``, ``percpu_entries`` (arrays),
    ``percpu_hash_entries`` or ``error`` is filled. ``truncated`` says what was left out and why.
    """

    name: str
    id: int
    map_type: int
    type_name: str
    key_size: int
    value_size: int
    max_entries: int
    map_kva: int = 0
    value: LazyValue | None = None
    entries: Sequence[Entry] | None = None
    percpu_entries: Sequence[PerCpuEntry] | None = None
    percpu_hash_entries: Sequence[PerCpuEntry] | None = None
    error: str | None = None
    truncated: str | None = None

    @property
    def is_globals(self) -> bool:
        """Whether it holds a scheduler's global variables."""
        return self.value is not None and any(part in self.name for part in _GLOBALS)

    def all(self) -> Sequence[AnyEntry]:
        """Every entry.

        :raises MapRenderIncomplete: when the contents could not be read or are one value.
        """
        for entries in (self.entries, self.percpu_entries, self.percpu_hash_entries):
            if entries is not None:
                return entries
        why = self.error or "it holds one value, read it with .get(path)"
        raise MapRenderIncomplete(self.name, "entries", why)

    def __iter__(self) -> Iterator[AnyEntry]:
        return map(self._named, self.all())

    def __len__(self) -> int:
        return len(self.all())

    def _named(self, entry: AnyEntry) -> AnyEntry:
        return replace(entry, map_name=self.name)

    def get(self, path: str = "") -> RenderedValue:
        """Part of the one value of a data section or struct_ops map.

        :raises MapRenderIncomplete: when the map holds entries or could not be read.
        :raises NoRendered: when the map was made without types.
        :raises SnapshotError: when there is no such part.
        """
        value = self._one_value()
        if path and not value.is_typed:
            raise NoRendered(self.name, "value", path)
        return value.get(path)

    def raw(self) -> RenderedValue:
        """The one value as it was rendered.

        :raises MapRenderIncomplete: as :meth:`get`.
        """
        return self._one_value().value

    def _one_value(self) -> LazyValue:
        if self.value is None:
            why = self.error or "it holds entries, choose one with .at(i) or .find(…)"
            raise MapRenderIncomplete(self.name, "single value", why)
        return self.value

    def at(self, index: int) -> AnyEntry:
        """Entry by position; for arrays the position is the key.

        :raises IndexOutOfRange: when there is none.
        """
        entries = self.all()
        if not 0 <= index < len(entries):
            raise IndexOutOfRange(self.name, index, len(entries), self.truncated or "")
        return self._named(entries[index])

    def find(self, condition: Callable[[AnyEntry], bool]) -> AnyEntry:
        """First entry that satisfies a condition.

        :raises NoMatch: when none does, listing the keys.
        """
        for entry in self:
            if condition(entry):
                return entry
        raise NoMatch(self.name, "find", len(self), self._keys())

    def key(self, wanted: int | str) -> AnyEntry:
        """The entry whose key is a number, or the text of an enum or char array.

        :raises NoMatch: when there is none, listing the keys.
        """
        for entry in self:
            if key_text(entry) == str(wanted):
                return entry
        raise NoMatch(self.name, f"key {wanted!r}", len(self), self._keys())

    def filter(self, condition: Callable[[AnyEntry], bool]) -> list[AnyEntry]:
        """Every entry that satisfies a condition."""
        return [entry for entry in self if condition(entry)]

    def max_by(self, measure: Callable[[AnyEntry], float]) -> AnyEntry:
        """Entry with the largest measure; the first of equals.

        :raises NoMatch: when the map is empty.
        """
        entries = list(self)
        if not entries:
            raise NoMatch(self.name, "max_by", 0)
        return max(entries, key=measure)

    def _keys(self) -> list[str]:
        return [key_text(entry) for entry in self.all()]

    def to_json(self) -> dict[str, Json]:
        """Plain form with everything rendered; absent parts are left out."""
        plain: dict[str, Json] = {
            "name": self.name,
            "id": self.id,
            "map_kva": self.map_kva,
            "map_type": self.map_type,
            "type_name": self.type_name,
            "key_size": self.key_size,
            "value_size": self.value_size,
            "max_entries": self.max_entries,
        }
        if self.value is not None:
            plain["value"] = self.value.to_json()
        if self.entries is not None:
            plain["entries"] = _plain_entries(self.entries)
        if self.percpu_entries is not None:
            plain["percpu_entries"] = _plain_per_cpu(self.percpu_entries)
        if self.percpu_hash_entries is not None:
            plain["percpu_hash_entries"] = _plain_per_cpu(self.percpu_hash_entries)
        for name in ("error", "truncated"):
            if getattr(self, name) is not None:
                plain[name] = getattr(self, name)
        return plain


def _plain_entries(entries: Sequence[Entry]) -> list[Json]:
    """What ``to_json`` of each gives, all keys and all values at once."""
    if isinstance(entries, ArrayEntries | TableEntries):
        return entries.to_json()
    keys = plain_values([entry.key for entry in entries])
    values = plain_values([entry.value for entry in entries])
    return [{"key": k, "value": v} for k, v in zip(keys, values, strict=True)]


def _plain_per_cpu(entries: Sequence[PerCpuEntry]) -> list[Json]:
    """What ``to_json`` of each gives, all keys and all values at once."""
    keys = plain_values([entry.key for entry in entries])
    values = iter(
        plain_values([v for entry in entries for v in entry.per_cpu.values() if v is not None])
    )
    return [
        {
            "key": key,
            "per_cpu": {
                str(cpu): None if v is None else next(values) for cpu, v in entry.per_cpu.items()
            },
        }
        for key, entry in zip(keys, entries, strict=True)
    ]


def key_text(entry: AnyEntry) -> str:
    """An entry's key in a few letters: a number, a text, or the bytes."""
    value = entry.key.value
    try:
        return value.as_str()
    except TypeMismatch:
        pass
    try:
        return str(value.as_i64())
    except TypeMismatch:
        return value.hex if isinstance(value, Bytes) else str(getattr(value, "value", value))
