# SPDX-License-Identifier: GPL-2.0-only
"""Reading hash maps (kernel/bpf/hashtab.c): buckets of hlist_nulls chains.

A preallocated hash keeps its elements in one area, which is copied whole; the chains are walked
in the copied bytes, so free elements are never mistaken for entries. Elements of other hashes
(and of areas beyond the limits) are followed during the freeze, a bounded number of them.
A chain ends at an odd pointer. The guest may be stopped in the middle of an update.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ktstr.introspect.btf import Btf
from ktstr.introspect.kernel import Kernel
from ktstr.introspect.layout import (
    MapUnreadable,
    base_snapshot,
    per_cpu_regions,
    round_up8,
    value_types,
)
from ktstr.introspect.maps import HASH, LRU_PERCPU_HASH, PERCPU_HASH, MapInfo
from ktstr.introspect.memory import AddressSpace, UnreadableMemory
from ktstr.introspect.regions import Builder, Captured, Chased, OverLimit, Region
from ktstr.series.lazy import LazyValue, ValueType
from ktstr.series.maps import Column, MapSnapshot, PerCpuEntry, TableEntries

_NO_PREALLOC = 1
_WORD = struct.Struct("<Q")
_MAX_BUCKETS = 1 << 27

_Element: TypeAlias = tuple[bytes, dict[int, bytes | None] | None]
"""An element's bytes, and each CPU's value where the element only points at them."""


@dataclass(frozen=True, slots=True)
class _Shape:
    """Sizes and offsets of one hash, in bytes."""

    buckets: int
    bucket_size: int
    head_at: int
    elements: int
    element_size: int
    next_at: int
    key_at: int
    value_at: int
    percpu: bool


@dataclass(frozen=True, slots=True)
class HashReader:
    """A hash of any kind. ``area`` is its preallocated elements, ``None`` when followed.

    ``values`` are the per-CPU regions of a preallocated per-CPU hash, by per-CPU pointer.
    """

    info: MapInfo
    shape: _Shape
    buckets: Region
    area: Region | None
    values: dict[int, tuple[tuple[int, Region], ...]]
    cpu_offsets: dict[int, int]
    key_type: ValueType
    value_type: ValueType
    max_entries: int
    max_bytes: int
    truncated: str | None

    def chase(self, captured: Captured, space: AddressSpace, budget: int) -> int:
        """Follow the chains in guest memory; returns how many elements it took."""
        shape, found = self.shape, Chased()
        captured.chased[self.info.id] = found
        stride = round_up8(self.info.value_size)
        cost = shape.element_size + (stride * len(self.cpu_offsets) if shape.percpu else 0)
        limit = min(budget, self.max_entries, self.max_bytes // cost)

        def fetch(pointer: int) -> bytes:
            return space.read(pointer, shape.element_size)

        elements, found.note = _walk(self._heads(captured), fetch, shape.next_at, limit)
        for element in elements:
            values: dict[int, bytes | None] | None = None
            if shape.percpu:
                (pointer,) = _WORD.unpack_from(element, shape.value_at)
                values = {}
                for cpu, offset in self.cpu_offsets.items():
                    try:
                        values[cpu] = space.read(pointer + offset & (1 << 64) - 1, stride)
                    except UnreadableMemory:
                        values[cpu] = None
            found.elements.append((element, values))
        return len(elements)

    def _heads(self, captured: Captured) -> list[int]:
        raw = captured.content(self.buckets)
        words = np.frombuffer(raw, "<u8").reshape(-1, self.shape.bucket_size // 8)
        heads = words[:, self.shape.head_at // 8]
        found: list[int] = heads[heads & 1 == 0].tolist()
        return found

    def decode(self, captured: Captured) -> MapSnapshot:
        """Entries in chain order."""
        elements, note = self._elements(captured)
        elements = self._newest(elements)
        notes = [n for n in (self.truncated, note) if n]
        truncated = "; ".join(notes) or None
        shape, size = self.shape, self.info.value_size
        if not shape.percpu:
            entries = TableEntries(
                b"".join([element for element, _ in elements]),
                shape.element_size,
                Column(shape.key_at, self.info.key_size, self.key_type),
                Column(shape.value_at, size, self.value_type),
            )
            return base_snapshot(self.info, entries=entries, truncated=truncated)
        keys = [
            LazyValue(e[shape.key_at :][: self.info.key_size], self.key_type) for e, _ in elements
        ]
        percpu = tuple(
            PerCpuEntry(
                key,
                {
                    cpu: None if raw is None else LazyValue(raw[:size], self.value_type)
                    for cpu, raw in (values or {}).items()
                },
            )
            for key, (_, values) in zip(keys, elements, strict=True)
        )
        return base_snapshot(self.info, percpu_hash_entries=percpu, truncated=truncated)

    def _newest(self, elements: list[_Element]) -> list[_Element]:
        """Without the element that an update was about to take off its chain.

        The kernel puts the new one in front of it first, and a lookup finds that one.
        """
        start, end = self.shape.key_at, self.shape.key_at + self.info.key_size
        if len({element[start:end] for element, _ in elements}) == len(elements):
            return elements
        newest: dict[bytes, _Element] = {}
        for each in elements:
            newest.setdefault(each[0][start:end], each)
        return list(newest.values())

    def _elements(self, captured: Captured) -> tuple[list[_Element], str | None]:
        if self.area is None:
            found = captured.chased.get(self.info.id, Chased(note="it was not followed"))
            return found.elements, found.note
        area, size = captured.content(self.area), self.shape.element_size
        first = self.area.address

        def fetch(pointer: int) -> bytes:
            place = pointer - first
            if not 0 <= place <= len(area) - size or place % size:
                raise UnreadableMemory(f"{pointer:#x} is not one of the map's elements")
            return area[place : place + size]

        heads, next_at, limit = self._heads(captured), self.shape.next_at, self.max_entries
        note: str | None = None
        elements = _walk_sound(heads, first, area, size, next_at, limit)
        if elements is None:
            elements, note = _walk(heads, fetch, next_at, limit)
        if not self.shape.percpu:
            return [(element, None) for element in elements], note
        return [(e, self._values(e, captured)) for e in elements], note

    def _values(self, element: bytes, captured: Captured) -> dict[int, bytes | None]:
        (pointer,) = _WORD.unpack_from(element, self.shape.value_at)
        regions = self.values.get(pointer)
        if regions is None:
            return dict.fromkeys(self.cpu_offsets)
        return {cpu: captured.content(region) for cpu, region in regions}


def _walk_sound(
    heads: list[int], first: int, area: bytes, size: int, next_at: int, limit: int
) -> list[bytes] | None:
    """What :func:`_walk` gives, all chains a step at a time; ``None`` when anything is amiss."""
    if len(area) % size:
        return None
    rows = np.frombuffer(area, np.uint8).reshape(-1, size)
    following = np.ascontiguousarray(rows[:, next_at : next_at + 8]).view("<u8").ravel()
    pointers, chains = np.array(heads, np.uint64), np.arange(len(heads))
    steps: list[npt.NDArray[np.uint64]] = []
    owners: list[npt.NDArray[np.int64]] = []
    count = 0
    while len(pointers):
        count += len(pointers)
        # A pointer below the area wraps round and is far above it.
        places, odd = np.divmod(pointers - np.uint64(first), np.uint64(size))
        if count > min(limit, len(rows)) or odd.any() or (places >= len(rows)).any():
            return None
        steps.append(places)
        owners.append(chains)
        pointers = following[places.astype(np.int64)]
        goes_on = pointers & np.uint64(1) == 0
        pointers, chains = pointers[goes_on], chains[goes_on]
    if not count:
        return []
    found = np.concatenate(steps)[np.argsort(np.concatenate(owners), kind="stable")]
    if len(np.unique(found)) != count:
        return None
    raw = rows[found.astype(np.int64)].tobytes()
    return [raw[at : at + size] for at in range(0, len(raw), size)]


def _walk(
    heads: list[int], fetch: Callable[[int], bytes], next_at: int, limit: int
) -> tuple[list[bytes], str | None]:
    """Elements on the chains, at most ``limit``, and a note when not all could be had."""
    elements: list[bytes] = []
    seen: set[int] = set()
    note: str | None = None
    for head in heads:
        pointer = head
        while not pointer & 1:
            if len(elements) >= limit:
                return elements, f"only the first {limit} elements were read"
            if pointer in seen:
                note = f"a chain runs in a circle at {pointer:#x}"
                break
            seen.add(pointer)
            try:
                element = fetch(pointer)
            except UnreadableMemory as error:
                note = f"a chain is broken: {error.message}"
                break
            elements.append(element)
            (pointer,) = _WORD.unpack_from(element, next_at)
    return elements, note


def plan_hash(builder: Builder, info: MapInfo, btf: Btf | None) -> HashReader:
    """Plan a HASH, PERCPU_HASH, LRU_HASH or LRU_PERCPU_HASH map.

    :raises MapUnreadable: when its sizes contradict each other.
    """
    kernel = builder.kernel
    shape, buckets_at, elements_at = _shape(kernel, info)
    key_type, value_type = value_types(info, btf)
    kept = min(shape.buckets, builder.room // shape.bucket_size)
    notes = []
    if kept < shape.buckets:
        notes.append(f"only the first {kept} of {shape.buckets} buckets fit into the limits")
    buckets = builder.add(buckets_at, kept * shape.bucket_size)
    area: Region | None = None
    values: dict[int, tuple[tuple[int, Region], ...]] = {}
    if not info.flags & _NO_PREALLOC and elements_at:
        mark = builder.mark()
        try:
            area, values = _plan_area(builder, info, shape, elements_at)
        except OverLimit:
            builder.rewind(mark)
    return HashReader(
        info=info,
        shape=shape,
        buckets=buckets,
        area=area,
        values=values,
        cpu_offsets=kernel.cpu_offsets,
        key_type=key_type,
        value_type=value_type,
        max_entries=builder.limits.max_entries,
        max_bytes=builder.limits.max_map_bytes,
        truncated="; ".join(notes) or None,
    )


def _plan_area(
    builder: Builder, info: MapInfo, shape: _Shape, address: int
) -> tuple[Region, dict[int, tuple[tuple[int, Region], ...]]]:
    kernel = builder.kernel
    length = shape.elements * shape.element_size
    if length > builder.room:
        raise OverLimit(f"{length} bytes of elements")
    area = builder.add(address, length)
    values: dict[int, tuple[tuple[int, Region], ...]] = {}
    if shape.percpu:
        stride = round_up8(info.value_size)
        if shape.elements * stride * len(kernel.cpus) > builder.room:
            raise OverLimit("per-CPU values")
        # Each element of a preallocated per-CPU hash keeps its per-CPU memory for life.
        raw = kernel.read(address, length)
        for at in range(shape.value_at, length, shape.element_size):
            (pointer,) = _WORD.unpack_from(raw, at)
            values[pointer] = per_cpu_regions(builder, pointer, stride)
    return area, values


def _shape(kernel: Kernel, info: MapInfo) -> tuple[_Shape, int, int]:
    def number(name: str) -> int:
        place = kernel.need("bpf_htab", name)
        return kernel.read_unsigned(info.kva + place.offset, place.size)

    percpu = info.map_type in (PERCPU_HASH, LRU_PERCPU_HASH)
    bucket = kernel.struct("bucket")
    if bucket is None:
        raise MapUnreadable("this kernel's BTF has no struct bucket")
    key_at = kernel.need("htab_elem", "key").offset
    value_at = key_at + round_up8(info.key_size)
    needed = value_at + (8 if percpu else round_up8(info.value_size))
    # Maps that share elements between CPUs keep one spare per CPU (alloc_extra_elems).
    spare = len(kernel.cpus) if info.map_type == HASH else 0
    shape = _Shape(
        buckets=number("n_buckets"),
        bucket_size=kernel.btf.size(bucket),
        head_at=kernel.need("bucket", "head.first").offset,
        elements=info.max_entries + spare,
        element_size=number("elem_size"),
        next_at=kernel.need("htab_elem", "hash_node.next").offset,
        key_at=key_at,
        value_at=value_at,
        percpu=percpu,
    )
    count = shape.buckets
    if shape.element_size != needed:
        raise MapUnreadable(
            f"elem_size {shape.element_size} does not follow from key_size {info.key_size} and "
            f"value_size {info.value_size}, which need {needed}"
        )
    sane = 0 < count <= _MAX_BUCKETS and not count & (count - 1) and shape.bucket_size % 8 == 0
    if not sane or shape.head_at + 8 > shape.bucket_size or shape.next_at + 8 > needed:
        raise MapUnreadable(f"{count} buckets of {shape.bucket_size} bytes are not a hash table")
    return shape, number("buckets"), number("elems")
