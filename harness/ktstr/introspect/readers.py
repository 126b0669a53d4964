# SPDX-License-Identifier: GPL-2.0-only
"""Which reader serves which map type."""

from collections.abc import Callable
from typing import Protocol

from ktstr.errors import KtstrError
from ktstr.introspect import maps
from ktstr.introspect.arrays import plan_array, plan_percpu_array, plan_struct_ops
from ktstr.introspect.btf import Btf
from ktstr.introspect.hashes import plan_hash
from ktstr.introspect.layout import FailedReader
from ktstr.introspect.maps import MapInfo, map_btf
from ktstr.introspect.regions import Builder, Captured
from ktstr.series.maps import MapSnapshot


class MapReader(Protocol):
    """One map's share of a plan: knows its regions and turns their bytes into a snapshot."""

    @property
    def info(self) -> MapInfo: ...
    def decode(self, captured: Captured) -> MapSnapshot: ...


_PLANNERS: dict[int, Callable[[Builder, MapInfo, Btf | None], MapReader]] = {
    maps.ARRAY: plan_array,
    maps.PERCPU_ARRAY: plan_percpu_array,
    maps.STRUCT_OPS: plan_struct_ops,
    maps.HASH: plan_hash,
    maps.PERCPU_HASH: plan_hash,
    maps.LRU_HASH: plan_hash,
    maps.LRU_PERCPU_HASH: plan_hash,
}


def make_reader(builder: Builder, info: MapInfo) -> MapReader:
    """Plan one map; a map that cannot be read gets a reader that says why."""
    if info.error is not None:
        return FailedReader(info, info.error)
    planner = _PLANNERS.get(info.map_type)
    if planner is None:
        return FailedReader(info, f"type {info.type_name} is not decoded")
    mark = builder.mark()
    try:
        return planner(builder, info, map_btf(builder.kernel, info))
    except KtstrError as error:
        builder.rewind(mark)
        return FailedReader(info, error.message)
