# SPDX-License-Identifier: GPL-2.0-only
"""What all map readers share: types of keys and values, the frame of a map's snapshot."""

from dataclasses import dataclass
from typing import Any

from ktstr.errors import KtstrError
from ktstr.introspect.btf import Btf
from ktstr.introspect.maps import MapInfo
from ktstr.introspect.regions import Builder, Captured, Region
from ktstr.introspect.render import BtfType
from ktstr.series.lazy import RawBytes, ValueType
from ktstr.series.maps import MapSnapshot


class MapUnreadable(KtstrError):
    """A map's structures contradict each other: damaged, or half-way through a change."""


def round_up8(size: int) -> int:
    """``size`` rounded up to 8 bytes, as keys and values are stored."""
    return size + 7 & ~7


def value_types(info: MapInfo, btf: Btf | None) -> tuple[ValueType, ValueType]:
    """Types of key and value; raw bytes where the map was made without BTF."""
    key: ValueType = RawBytes()
    value: ValueType = RawBytes()
    if btf is not None and info.key_type_id:
        key = BtfType(btf, info.key_type_id)
    if btf is not None and info.value_type_id:
        value = BtfType(btf, info.value_type_id)
    return key, value


def per_cpu_regions(builder: Builder, pointer: int, length: int) -> tuple[tuple[int, Region], ...]:
    """Plan every possible CPU's copy behind a per-CPU pointer.

    :raises OverLimit: when they do not fit.
    :raises UnreadableMemory: when the pointer is wild.
    """
    kernel = builder.kernel
    return tuple((cpu, builder.add(kernel.percpu(pointer, cpu), length)) for cpu in kernel.cpus)


def base_snapshot(info: MapInfo, **contents: Any) -> MapSnapshot:
    """A map's snapshot with its description filled in from ``info``."""
    return MapSnapshot(
        name=info.name,
        id=info.id,
        map_type=info.map_type,
        type_name=info.type_name,
        key_size=info.key_size,
        value_size=info.value_size,
        max_entries=info.max_entries,
        map_kva=info.kva,
        **contents,
    )


@dataclass(frozen=True, slots=True)
class FailedReader:
    """A map that is listed but not read, and why."""

    info: MapInfo
    error: str

    def decode(self, captured: Captured) -> MapSnapshot:
        """The map's description with the error."""
        return base_snapshot(self.info, error=self.error)
