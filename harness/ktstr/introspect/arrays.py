# SPDX-License-Identifier: GPL-2.0-only
"""Reading array maps, data sections and struct_ops maps (kernel/bpf/arraymap.c)."""

import struct
from dataclasses import dataclass

from ktstr.introspect.btf import Btf, Kind
from ktstr.introspect.layout import (
    MapUnreadable,
    base_snapshot,
    per_cpu_regions,
    round_up8,
    value_types,
)
from ktstr.introspect.maps import MapInfo
from ktstr.introspect.regions import Builder, Captured, OverLimit, Region
from ktstr.introspect.render import BtfType
from ktstr.series.lazy import U32, LazyValue, ValueType
from ktstr.series.maps import ArrayEntries, MapSnapshot, PerCpuEntry


@dataclass(frozen=True, slots=True)
class ArrayReader:
    """An ARRAY: ``single`` for a data section, whose one value holds all variables."""

    info: MapInfo
    region: Region
    stride: int
    count: int
    value_type: ValueType
    single: bool
    truncated: str | None

    def decode(self, captured: Captured) -> MapSnapshot:
        """Entries over the copied values."""
        data = captured.content(self.region)
        if self.single:
            value = LazyValue(data[: self.info.value_size], self.value_type)
            return base_snapshot(self.info, value=value, truncated=self.truncated)
        entries = ArrayEntries(data, self.stride, self.info.value_size, self.count, self.value_type)
        return base_snapshot(self.info, entries=entries, truncated=self.truncated)


def plan_array(builder: Builder, info: MapInfo, btf: Btf | None) -> ArrayReader:
    """Plan an ARRAY map.

    :raises MapUnreadable: when its sizes contradict each other.
    """
    kernel = builder.kernel
    stride = _checked_stride(builder, info)
    _, value_type = value_types(info, btf)
    is_section = btf is not None and btf.resolve(info.value_type_id).kind is Kind.DATASEC
    single = is_section and info.max_entries == 1
    start = info.kva + kernel.need("bpf_array", "value").offset
    if single:
        length = min(info.value_size, builder.room)
        note = None if length == info.value_size else _cut(length, info.value_size, "bytes")
        region = builder.add(start, length)
        return ArrayReader(info, region, stride, 1, value_type, True, note)
    count = min(info.max_entries, builder.limits.max_entries, builder.room // stride)
    note = None if count == info.max_entries else _cut(count, info.max_entries, "entries")
    region = builder.add(start, count * stride)
    return ArrayReader(info, region, stride, count, value_type, False, note)


@dataclass(frozen=True, slots=True)
class PercpuArrayReader:
    """A PERCPU_ARRAY: one region per entry and CPU."""

    info: MapInfo
    slots: tuple[tuple[tuple[int, Region], ...], ...]
    value_type: ValueType
    truncated: str | None

    def decode(self, captured: Captured) -> MapSnapshot:
        """Entries with a value per CPU."""
        size = self.info.value_size
        entries = tuple(
            PerCpuEntry(
                LazyValue(struct.pack("<I", index), U32()),
                {
                    cpu: LazyValue(captured.content(region)[:size], self.value_type)
                    for cpu, region in slots
                },
            )
            for index, slots in enumerate(self.slots)
        )
        return base_snapshot(self.info, percpu_entries=entries, truncated=self.truncated)


def plan_percpu_array(builder: Builder, info: MapInfo, btf: Btf | None) -> PercpuArrayReader:
    """Plan a PERCPU_ARRAY map.

    :raises MapUnreadable: when its sizes contradict each other.
    """
    kernel = builder.kernel
    stride = _checked_stride(builder, info)
    _, value_type = value_types(info, btf)
    per_entry = stride * len(kernel.cpus)
    count = min(info.max_entries, builder.limits.max_entries, builder.room // per_entry)
    raw = kernel.read(info.kva + kernel.need("bpf_array", "pptrs").offset, 8 * count)
    slots: list[tuple[tuple[int, Region], ...]] = []
    for pointer in struct.unpack(f"<{count}Q", raw):
        try:
            slots.append(per_cpu_regions(builder, pointer, stride))
        except OverLimit:
            break
    kept = len(slots)
    note = None if kept == info.max_entries else _cut(kept, info.max_entries, "entries")
    return PercpuArrayReader(info, tuple(slots), value_type, note)


@dataclass(frozen=True, slots=True)
class StructOpsReader:
    """A STRUCT_OPS map: the kernel's own copy of the registered operations."""

    info: MapInfo
    region: Region
    value_type: ValueType

    def decode(self, captured: Captured) -> MapSnapshot:
        """The one value."""
        value = LazyValue(captured.content(self.region), self.value_type)
        return base_snapshot(self.info, value=value)


def plan_struct_ops(builder: Builder, info: MapInfo, _: Btf | None) -> StructOpsReader:
    """Plan a STRUCT_OPS map (``kvalue`` in kernel/bpf/bpf_struct_ops.c).

    :raises MapUnreadable: when its type is missing or its size contradicts it.
    """
    kernel = builder.kernel
    if not info.vmlinux_value_type_id:
        raise MapUnreadable("it names no value type in the kernel's BTF")
    # The map's own BTF is the program's; the operations are described by that of the kernel or
    # module that offers them, which newer kernels name in the map.
    owner = kernel.field("bpf_struct_ops_map", "btf")
    pointer = kernel.read_unsigned(info.kva + owner.offset, 8) if owner else 0
    btf = kernel.object_btf(pointer) if pointer else kernel.btf
    size = btf.size(info.vmlinux_value_type_id)
    if size != info.value_size:
        raise MapUnreadable(f"value_size {info.value_size} is not its type's size {size}")
    if size > builder.room:
        raise OverLimit(f"its {size} bytes exceed the limit for one map")
    place = kernel.need("bpf_struct_ops_map", "kvalue")
    region = builder.add(info.kva + place.offset, size)
    return StructOpsReader(info, region, BtfType(btf, info.vmlinux_value_type_id))


def _checked_stride(builder: Builder, info: MapInfo) -> int:
    kernel = builder.kernel
    place = kernel.need("bpf_array", "elem_size")
    stride = kernel.read_unsigned(info.kva + place.offset, place.size)
    if info.key_size != 4 or not info.value_size or not info.max_entries:
        raise MapUnreadable(
            f"key_size {info.key_size}, value_size {info.value_size} and max_entries "
            f"{info.max_entries} are not those of an array"
        )
    if stride != round_up8(info.value_size):
        raise MapUnreadable(f"elem_size {stride} does not follow from value_size {info.value_size}")
    return stride


def _cut(kept: int, there: int, what: str) -> str:
    return f"only the first {kept} of {there} {what} fit into the snapshot's limits"
