# SPDX-License-Identifier: GPL-2.0-only
"""The attached scheduler's maps in a canned kernel that keeps its operations as 6.12 does."""

import struct
from dataclasses import dataclass
from typing import Any

import pytest

from ktstr.introspect import copy, decode, make_plan
from ktstr.introspect.active import MAX_PROGRAMS, MAX_USED_MAPS
from ktstr.series.errors import NoActiveScheduler
from ktstr.series.snapshot import Snapshot

OPS_SIZE, COMMON = 32, 8
STATE = "scx_enable_state_var"


@dataclass
class Scheduler:
    """Addresses of what a test damages."""

    map_kva: int
    links: int
    aux: int


def with_types(canned: Any) -> None:
    """Add the types that a kernel with struct_ops has; offsets are of no real kernel."""

    def more(b: Any, bpf_map: int, u32: int, u64: int, ptr: int, char: int) -> None:
        ops = b.composite("sched_ext_ops", OPS_SIZE, [
            ("enqueue", ptr, 0), ("dispatch", ptr, 64), ("flags", u64, 128), ("priv", ptr, 192),
        ])  # fmt: skip
        common = b.composite("bpf_struct_ops_common_value", COMMON, [("state", u32, 0)])
        canned.value_type = b.composite(
            "bpf_struct_ops_sched_ext_ops", COMMON + OPS_SIZE,
            [("common", common, 0), ("data", ops, 8 * COMMON)],
        )  # fmt: skip
        value = b.composite("bpf_struct_ops_value", COMMON, [("data", b.array(char, 0), 64)])
        b.composite("bpf_struct_ops_map", 128, [
            ("map", bpf_map, 0), ("links", ptr, 512), ("funcs_cnt", u32, 576),
            ("kvalue", value, 640),
        ])  # fmt: skip
        b.composite("bpf_link", 16, [("prog", ptr, 64)])
        b.composite("bpf_prog", 24, [("aux", ptr, 128)])
        b.composite("bpf_prog_aux", 24, [("used_map_cnt", u32, 0), ("used_maps", ptr, 64)])

    canned.more_types = more
    canned.symbols["scx_ops"] = canned.alloc(OPS_SIZE)
    canned.symbols[STATE] = canned.alloc(4, struct.pack("<I", 1))


def add_scheduler(canned: Any, map_id: int, enqueue: int, used: list[int]) -> Scheduler:
    """A struct_ops map with one program that uses the maps of those ids."""
    maps = canned.alloc(
        8 * len(used), struct.pack(f"<{len(used)}Q", *(canned.maps[i] for i in used))
    )
    aux = canned.alloc(24, struct.pack("<IxxxxQ", len(used), maps))
    program = canned.alloc(24, struct.pack("<QQQ", 0, 0, aux))
    link = canned.alloc(16, struct.pack("<QQ", 0, program))
    links = canned.alloc(24, struct.pack("<QQQ", link, 0, 0))
    value = struct.pack("<QQQQQ", 2, enqueue, 0, 0, 77)
    body = struct.pack("<QQ", links, 3) + value
    kva = canned.add_map(map_id, 26, f"ops{map_id}", body, value=len(value))
    return Scheduler(kva, links, aux)


def take(canned: Any, before_copy: Any = None) -> Snapshot:
    kernel = canned.kernel()
    for kva in canned.maps.values():
        # The value's type is only known once the types are built.
        if kernel.read_unsigned(kva, 4) == 26:
            canned.poke(kva + 56, "I", canned.value_type)
    plan = make_plan(kernel)
    if before_copy is not None:
        before_copy()
    return decode(plan, copy(plan, canned.ram), kernel)


@pytest.fixture
def loaded(canned: Any) -> tuple[Any, Scheduler]:
    """Two schedulers in memory, of which the one with id 5 is attached."""
    with_types(canned)
    for map_id in (1, 2, 3):
        canned.add_array(map_id, f"m{map_id}", [b"\1" * 8])
    add_scheduler(canned, 4, 0xFFFF0000, [1, 2])
    attached = add_scheduler(canned, 5, 0xFFFF1000, [2, 3])
    canned.poke(canned.symbols["scx_ops"], "QQQQ", 0xFFFF1000, 0, 9, 55)
    return canned, attached


def test_the_map_with_the_kernels_pointers_and_what_its_programs_use(loaded: Any) -> None:
    canned, _ = loaded
    found = take(canned)
    assert found.stale is None
    assert found.active_maps == (2, 3, 5)
    assert [m.name for m in found.active().maps] == ["m2", "m3", "ops5"]


def test_a_scheduler_that_leaves_before_the_freeze_makes_the_plan_stale(loaded: Any) -> None:
    canned, _ = loaded
    gone = lambda: canned.poke(canned.symbols["scx_ops"], "QQQQ", 0xFFFF0000, 0, 0, 0)  # noqa: E731
    assert take(canned, gone).stale == "another scheduler was loaded or unloaded"


def test_without_a_scheduler_there_is_none(loaded: Any) -> None:
    canned, _ = loaded
    canned.poke(canned.symbols["scx_ops"], "QQQQ", 0, 0, 0, 55)  # `priv` alone is no operation
    found = take(canned)
    assert found.active_maps is None
    with pytest.raises(NoActiveScheduler, match="no scheduler is loaded"):
        found.active()


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("count", MAX_PROGRAMS + 1, "claims 257 programs"),
        ("links", 0x10, "0x10"),
        ("used", MAX_USED_MAPS + 1, "claims 1025 maps"),
        ("pointer", 0x20, "0x20"),
    ],
)
def test_damage_costs_the_view_not_the_snapshot(
    loaded: Any, field: str, value: int, words: str
) -> None:
    canned, attached = loaded
    places = {
        "count": (attached.map_kva + 72, "I"), "links": (attached.map_kva + 64, "Q"),
        "used": (attached.aux, "I"), "pointer": (attached.aux + 8, "Q"),
    }  # fmt: skip
    address, layout = places[field]
    canned.poke(address, layout, value)
    found = take(canned)
    assert found.active_maps is None and len(found.maps) == 5
    with pytest.raises(NoActiveScheduler, match=words):
        found.live_var("x")


def test_two_maps_with_the_same_pointers_are_not_told_apart(loaded: Any) -> None:
    canned, _ = loaded
    add_scheduler(canned, 6, 0xFFFF1000, [1])
    with pytest.raises(NoActiveScheduler, match="2 struct_ops maps"):
        take(canned).active()


def test_a_kernel_without_struct_ops_says_so(canned: Any) -> None:
    canned.add_array(1, "m1", [b"\1" * 8])
    kernel = canned.kernel()
    plan = make_plan(kernel)
    found = decode(plan, copy(plan, canned.ram), kernel)
    with pytest.raises(NoActiveScheduler, match=r"6\.99-canned has no struct sched_ext_ops"):
        found.active()
