# SPDX-License-Identifier: GPL-2.0-only
"""Which map and which variable a name means, and what the errors say when there is none."""

import copy
import pickle
from typing import Any

import pytest
from tests.unit.series.canned import entries, entry, lazy, section

from ktstr.series.errors import (
    ActiveFilterExcludedMaps,
    AmbiguousVar,
    FieldNotFound,
    IndexOutOfRange,
    MapNotFound,
    NoActiveScheduler,
    NoMatch,
    NoRendered,
    NotAStruct,
    PerCpuNotNarrowed,
    PerCpuSlot,
    TypeMismatch,
    VarNotFound,
)
from ktstr.series.lazy import LazyValue, RawBytes
from ktstr.series.maps import Entry, MapSnapshot, PerCpuEntry
from ktstr.series.snapshot import ACTIVE, CpuSnapshot, SchedExtState, Snapshot
from ktstr.series.values import MAX_HOPS, Array, Char, Ptr, RenderedValue, Struct, Truncated, Uint

OLD, NEW = section("s.bss", 3, count=1, gone=7), section("s.bss", 8, count=2)
TASKS = entries("tasks", 9, entry(4, ran=10), entry(6, ran=30))
LEFT = entries("left", 4, entry(1, ran=1))


def snapshot(active: tuple[int, ...] | None = (8, 9), **more: Any) -> Snapshot:
    state = SchedExtState("enabled", ops="mine")
    maps = (OLD, LEFT, NEW, TASKS)
    return Snapshot("6.99", maps, (CpuSnapshot(0),), state, active_maps=active, **more)


def test_the_attached_schedulers_copy_decides_between_several() -> None:
    found = snapshot()
    assert found.var("count").as_u64() == 2
    assert found.map("s.bss").id == 8
    assert snapshot((3,)).map("s.bss").id == 3 and snapshot((3,)).var("count").as_u64() == 1
    assert snapshot(None).map("s.bss").id == 8  # the newest
    assert found.var("gone").as_u64() == 7  # only the old copy has it, and it was asked for by name
    with pytest.raises(AmbiguousVar) as caught:
        snapshot(None).var("count")
    assert caught.value.requested == "count"
    assert caught.value.found_in == ("s.bss (id 3)", "s.bss (id 8)")
    with pytest.raises(AmbiguousVar):
        snapshot((3, 8)).var("count")


def test_the_live_view_has_nothing_of_others() -> None:
    found = snapshot()
    assert (found.active_ops, found.active_map_kvas) == ("mine", (0x8000, 0x9000))
    assert found.live_var("count").as_u64() == found.active().live_var("count").as_u64() == 2
    assert [m.id for m in found.active().maps] == [8, 9]
    assert found.active().map("tasks").at(0).get("ran").as_u64() == 10
    with pytest.raises(ActiveFilterExcludedMaps) as caught:
        found.live_var("gone.below")
    error = caught.value
    assert (error.requested, error.active_obj) == ("gone", "mine")
    assert error.excluded_maps == ("s.bss (id 3)",) and error.whitelist_kvas == (0x8000, 0x9000)
    assert error.message == (
        "'gone' is only in maps that the active scheduler mine does not use: s.bss (id 3)"
    )
    with pytest.raises(ActiveFilterExcludedMaps, match=r"left \(id 4\)"):
        found.active().map("left")
    with pytest.raises(MapNotFound, match=r"no map 'nix'; maps here: s\.bss, tasks$"):
        found.active().map("nix")
    with pytest.raises(VarNotFound) as missing:
        found.live_var("nix")
    assert (missing.value.available, missing.value.sections) == (("count",), ("s.bss",))


def test_without_a_known_scheduler_the_reason_is_told() -> None:
    found = snapshot(None, unavailable={ACTIVE: "this kernel does not tell"})
    assert found.active_ops is None and found.active_map_kvas is None
    with pytest.raises(NoActiveScheduler, match="this kernel does not tell") as caught:
        found.live_var("count")
    assert caught.value.reason == "this kernel does not tell"
    with pytest.raises(NoActiveScheduler, match="does not say"):
        snapshot(None).active()


def test_entries_by_key() -> None:
    assert TASKS.key(6).get("ran").as_u64() == 30
    with pytest.raises(
        NoMatch, match=r"map 'tasks', key 5: no entry matches; keys: 4, 6"
    ) as caught:
        TASKS.key(5)
    assert (caught.value.op, caught.value.len) == ("key 5", 2)
    assert caught.value.available_keys == ("4", "6")
    name = Array(3, (Char(104), Char(105), Char(0)))
    named = entries("n", 1, Entry(lazy(name), lazy(Uint(8, 1))))
    assert named.key("hi").get() == Uint(8, 1)
    assert named.at(0).raw() == Uint(8, 1)


def test_a_map_without_types_has_bytes_and_no_members() -> None:
    raw = LazyValue(b"\1\2", RawBytes())
    found = entries("raw", 1, Entry(raw, raw))
    assert found.at(0).raw().to_json() == {"kind": "bytes", "hex": "01 02"}
    assert found.find(lambda e: True).key.data == b"\1\2"
    with pytest.raises(NoRendered, match=r"map 'raw': the value has no type.*'x'") as caught:
        found.at(0).get("x")
    assert (caught.value.map, caught.value.side, caught.value.requested) == ("raw", "value", "x")
    one = MapSnapshot("one", 1, 2, "array", 4, 8, 1, value=raw)
    with pytest.raises(NoRendered):
        one.get("x")
    assert one.raw().to_json() == {"kind": "bytes", "hex": "01 02"}


def test_errors_of_entries_name_their_map() -> None:
    percpu = PerCpuEntry(lazy(Uint(32, 0)), {0: lazy(Uint(64, 5)), 1: None})
    found = MapSnapshot("pc", 1, 6, "percpu_array", 4, 8, 1, percpu_entries=(percpu,))
    with pytest.raises(PerCpuNotNarrowed) as narrow:
        found.at(0).get("x")
    assert (narrow.value.map, narrow.value.requested) == ("pc", "x")
    with pytest.raises(PerCpuSlot) as slot:
        found.at(0).cpu(1)
    assert (slot.value.map, slot.value.cpu, slot.value.unmapped, slot.value.len) == (
        "pc",
        1,
        True,
        1,
    )
    with pytest.raises(PerCpuSlot) as slot:
        found.at(0).cpu(2)
    assert slot.value.unmapped is False
    with pytest.raises(IndexOutOfRange) as index:
        found.at(1)
    assert (index.value.map, index.value.index, index.value.len) == ("pc", 1, 1)
    with pytest.raises(IndexOutOfRange) as index:
        snapshot().cpu(5)
    assert (index.value.index, index.value.len) == (5, 1)


def chain(hops: int) -> RenderedValue:
    """A list of ``hops`` pointers, each to a struct with the next."""
    value: RenderedValue = Struct(None, (("end", Uint(8, 9)),))
    for _ in range(hops):
        value = Struct(None, (("next", Ptr(1, value)),))
    return value


def test_a_path_follows_sixteen_pointers() -> None:
    assert MAX_HOPS == 16
    path = ".".join(["next"] * 16)
    assert chain(16).get(f"{path}.end") == Uint(8, 9)
    with pytest.raises(NotAStruct, match="16 pointers were followed") as caught:
        chain(17).get(f"{path}.next.end")
    assert (caught.value.component, caught.value.kind) == ("end", "ptr")
    assert chain(17).get(f"{path}.next").raw().to_json()["kind"] == "ptr"
    cut = Truncated(8, 4, Ptr(1, Struct(None, (("x", Uint(8, 1)),))))
    assert cut.get("x") == Uint(8, 1) and cut.raw() is cut


def test_errors_carry_the_whole_path() -> None:
    value = Struct(None, (("a", Struct(None, (("b", Uint(8, 1)),))),))
    with pytest.raises(FieldNotFound) as caught:
        value.get("a.c.d")
    error = caught.value
    assert (error.requested, error.walked, error.component) == ("a.c.d", "a", "c")
    assert error.available == ("b",)
    with pytest.raises(TypeMismatch) as mismatch:
        value.get("a").as_u64()
    assert (mismatch.value.expected, mismatch.value.actual) == ("an unsigned number", "struct")
    for clone in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(clone) is FieldNotFound and str(clone) == str(error)
        assert clone.available == ("b",)
