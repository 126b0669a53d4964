# SPDX-License-Identifier: GPL-2.0-only
"""BPF maps as a guest reads them by bpf(2), checked and made what frozen captures hold.

Two things differ from the kernel's memory: timers, locks and kernel pointers inside values read as
zero, and a struct_ops map holds its programs' ids in place of their addresses.
"""

import struct
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, Final

from ktstr.errors import KtstrError
from ktstr.introspect.btf import Btf, Kind
from ktstr.introspect.layout import MapUnreadable, base_snapshot, round_up8, value_types
from ktstr.introspect.maps import (
    ARRAY,
    HASH,
    LRU_HASH,
    LRU_PERCPU_HASH,
    PERCPU_ARRAY,
    PERCPU_HASH,
    STRUCT_OPS,
    MapInfo,
)
from ktstr.introspect.regions import Limits
from ktstr.introspect.render import BtfType
from ktstr.series.lazy import U32, LazyValue, ValueType
from ktstr.series.maps import ArrayEntries, Column, MapSnapshot, PerCpuEntry, TableEntries
from ktstr.session.guest_types import GuestTypes
from ktstr.telemetry.decode import Fields

_U32: Final = (1 << 32) - 1
_TEXT: Final = 256
_OPS_VALUE: Final = "bpf_struct_ops_sched_ext_ops"
_IN_USE: Final = 1
"""``BPF_STRUCT_OPS_STATE_INUSE``: registered without a link."""

_PER_CPU: Final = (PERCPU_ARRAY, PERCPU_HASH, LRU_PERCPU_HASH)
_READ: Final = (ARRAY, HASH, LRU_HASH, STRUCT_OPS, *_PER_CPU)


class ToldMap:
    """One map as the guest told it: what it is, and its bytes.

    :raises WireError: naming the field that is wrong.
    """

    def __init__(self, values: Fields) -> None:
        self.info = MapInfo(
            id=values.integer("id", 1, _U32),
            name=values.text("name", 64),
            map_type=values.integer("type", 0, _U32),
            type_name="",
            key_size=values.integer("key_size", 0, _U32),
            value_size=values.integer("value_size", 0, _U32),
            max_entries=values.integer("max_entries", 0, _U32),
            flags=values.integer("flags", 0, _U32),
            kva=0,
            key_type_id=values.integer("key_type", 0, _U32),
            value_type_id=values.integer("value_type", 0, _U32),
            vmlinux_value_type_id=values.integer("vmlinux_type", 0, _U32),
        )
        self.btf = values.integer("btf", 0, _U32)
        self.owner = values.integer("vmlinux_btf", 0, _U32)
        self.count = values.integer("count", 0, Limits().max_entries)
        self.keys = _bytes(values, "keys")
        self.values = _bytes(values, "values")
        self.truncated = values.text_or_none("truncated", _TEXT)
        self.error = values.text_or_none("error", _TEXT)
        values.done()

    def snapshot(self, cpus: int, types: GuestTypes) -> MapSnapshot:
        """The map with its contents, or with the error that says why there are none.

        :param cpus: how many a per-CPU value has parts for.
        """
        info = replace(self.info, type_name=types.type_name(self.info.map_type))
        try:
            if info.map_type not in _READ:
                raise MapUnreadable(f"type {info.type_name} is not decoded")
            if self.error is not None:
                raise MapUnreadable(self.error)
            contents = self._contents(info, cpus, types)
        except (KtstrError, struct.error) as error:
            return base_snapshot(info, error=str(error))
        return base_snapshot(info, **contents, truncated=self.truncated)

    def _contents(self, info: MapInfo, cpus: int, types: GuestTypes) -> dict[str, Any]:
        if info.map_type == STRUCT_OPS:
            btf = self.operations_btf(types)
            self._check(len(self.values), info.value_size, "its one value")
            return {"value": LazyValue(self.values, BtfType(btf, info.vmlinux_value_type_id))}
        own = types.get(self.btf) if self.btf else None
        key_type, value_type = value_types(info, own)
        if info.map_type == ARRAY and info.max_entries == 1 and _is_section(own, info):
            if self.count != 1 or not 0 < len(self.values) <= info.value_size:
                raise MapUnreadable(f"{len(self.values)} bytes are not its one value")
            return {"value": LazyValue(self.values, value_type)}
        if self.count > info.max_entries:
            raise MapUnreadable(f"{self.count} entries in a map for {info.max_entries}")
        if info.map_type in (ARRAY, PERCPU_ARRAY):
            self._check(info.key_size, 4, "an index")
        else:
            self._check(len(self.keys), self.count * info.key_size, "its keys")
        if info.map_type in _PER_CPU:
            return self._per_cpu(info, cpus, key_type, value_type)
        size = info.value_size
        self._check(len(self.values), self.count * size, "its values")
        if info.map_type == ARRAY:
            return {"entries": ArrayEntries(self.values, size, size, self.count, value_type)}
        width = info.key_size
        rows = b"".join(
            self.keys[at * width : (at + 1) * width] + self.values[at * size : (at + 1) * size]
            for at in range(self.count)
        )
        key, value = Column(0, width, key_type), Column(width, size, value_type)
        return {"entries": TableEntries(rows, width + size, key, value)}

    def _per_cpu(
        self, info: MapInfo, cpus: int, key_type: ValueType, value_type: ValueType
    ) -> dict[str, Any]:
        size, stride = info.value_size, round_up8(info.value_size)
        self._check(len(self.values), self.count * stride * cpus, "each CPU's values")
        arrays = info.map_type == PERCPU_ARRAY
        entries = []
        for index in range(self.count):
            at = index * stride * cpus
            raw = self.keys[index * info.key_size : (index + 1) * info.key_size]
            key = LazyValue(struct.pack("<I", index), U32()) if arrays else LazyValue(raw, key_type)
            places = enumerate(range(at, at + stride * cpus, stride))
            parts = {
                cpu: LazyValue(self.values[place : place + size], value_type)
                for cpu, place in places
            }
            entries.append(PerCpuEntry(key, parts))
        return {"percpu_entries" if arrays else "percpu_hash_entries": tuple(entries)}

    def _check(self, there: int, due: int, what: str) -> None:
        if there != due:
            raise MapUnreadable(f"{what} should be {due} bytes and came as {there}")

    def operations_btf(self, types: GuestTypes) -> Btf:
        """What describes a struct_ops map's value: the kernel's types, or a module's.

        :raises KtstrError: when they did not come.
        """
        return types.get(self.owner) if self.owner else types.kernel()

    def programs(self, types: GuestTypes) -> tuple[int, frozenset[int]] | None:
        """State and programs of a map of scheduler operations; ``None`` for any other.

        :raises KtstrError: when its types cannot be had.
        """
        if self.info.map_type != STRUCT_OPS or self.error is not None:
            return None
        btf = self.operations_btf(types)
        type_id = self.info.vmlinux_value_type_id
        if btf.type(type_id).name != _OPS_VALUE:
            return None
        place, state = btf.field(type_id, "data"), btf.field(type_id, "common.state")
        if place is None or state is None or len(self.values) != btf.size(type_id):
            return None
        members = btf.members(btf.resolve(place.type_id))
        offsets = [
            place.offset + member.bit // 8
            for member in members
            if member.name != "priv" and btf.resolve(member.type_id).kind is Kind.PTR
        ]
        words = {int.from_bytes(self.values[at : at + 8], "little") for at in offsets}
        return self._word(state.offset, state.size), frozenset(words - {0})

    def _word(self, at: int, size: int) -> int:
        return int.from_bytes(self.values[at : at + size], "little")


def _bytes(values: Fields, name: str) -> bytes:
    found = values.take(name)
    if type(found) is not bytes:
        values.refuse(name, found, "bytes")
    return found


def _is_section(btf: Btf | None, info: MapInfo) -> bool:
    return btf is not None and btf.resolve(info.value_type_id).kind is Kind.DATASEC


def active_maps(
    maps: Sequence[ToldMap], linked: Collection[int], types: GuestTypes
) -> tuple[int, ...]:
    """Ids of the maps that the attached scheduler uses, ascending.

    :param linked: ids of the struct_ops maps that a link has registered.
    :raises KtstrError: when the attached scheduler's operations cannot be told from others.
    """
    found: list[tuple[int, frozenset[int]]] = []
    for told in maps:
        operations = told.programs(types)
        if operations is not None and (told.info.id in linked or operations[0] == _IN_USE):
            found.append((told.info.id, operations[1]))
    if len(found) != 1:
        raise MapUnreadable(f"{len(found)} struct_ops maps hold attached operations")
    own, programs = found[0]
    there = {told.info.id for told in maps}
    used = {each for program in programs for each in types.programs.get(program, ())}
    return tuple(sorted({own, *(used & there)}))
