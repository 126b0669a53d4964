# SPDX-License-Identifier: GPL-2.0-only
"""Plan, copy and decode over a canned kernel, with maps that are sound and maps that are not."""

import struct
from typing import Any

import pytest

from ktstr.introspect import Limits, copy, decode, list_maps, make_plan
from ktstr.series.maps import MapSnapshot
from ktstr.series.snapshot import Snapshot
from ktstr.testing.ram import PAGE, BtfBuilder, CannedRam, PageTables


def take(canned: Any, **plan: Any) -> Snapshot:
    kernel = canned.kernel()
    made = make_plan(kernel, **plan)
    return decode(made, copy(made, canned.ram), kernel)


def pairs(found: MapSnapshot) -> dict[int, int]:
    """Keys and values of a map without BTF, as little-endian numbers."""
    assert found.entries is not None
    return {
        int.from_bytes(e.key.data, "little"): int.from_bytes(e.value.data, "little")
        for e in found.entries
    }


def test_every_map_is_listed_with_what_the_kernel_says(canned: Any) -> None:
    canned.add_array(3, "counters", [b"\1" * 8, b"\2" * 8])
    canned.add_map(7, 22, "queue", key=0, value=16, entries=5, flags=0x80)
    first, second = list_maps(canned.kernel())
    assert (first.id, first.name, first.map_type, first.value_size, first.max_entries) == (
        3, "counters", 2, 8, 2,
    )  # fmt: skip
    assert (second.name, second.key_size, second.flags, second.type_name) == (
        "queue", 0, 0x80, "type 22",
    )  # fmt: skip


def test_array_values_are_those_in_memory_at_the_copy_not_at_the_plan(canned: Any) -> None:
    address = canned.add_array(1, "arr", [struct.pack("<Q", n) for n in (5, 6, 7)])
    kernel = canned.kernel()
    plan = make_plan(kernel)
    canned.poke(address + 72 + 8, "Q", 60)
    captured = copy(plan, canned.ram)
    canned.poke(address + 72 + 8, "Q", 600)
    assert pairs(decode(plan, captured, kernel).map("arr")) == {0: 5, 1: 60, 2: 7}


def test_array_beyond_the_limit_is_cut_and_says_so(canned: Any) -> None:
    canned.add_array(1, "arr", [struct.pack("<Q", n) for n in range(10)])
    found = take(canned, limits=Limits(max_map_bytes=33)).map("arr")
    assert pairs(found) == {0: 0, 1: 1, 2: 2, 3: 3}
    assert found.truncated is not None and "first 4 of 10 entries" in found.truncated


def test_preallocated_hash_shows_only_elements_on_chains(canned: Any) -> None:
    canned.add_hash(1, [[2], [], [0, 3], []])
    assert pairs(take(canned).map("hash1")) == {102: 1002, 100: 1000, 103: 1003}


def test_hash_without_preallocation_is_followed_in_the_freeze(canned: Any) -> None:
    canned.add_hash(1, [[2, 1], [0], [], []], flags=1)
    assert pairs(take(canned).map("hash1")) == {102: 1002, 101: 1001, 100: 1000}


def test_followed_elements_share_one_budget(canned: Any) -> None:
    canned.add_hash(1, [[2, 1], [0], [], []], flags=1)
    canned.add_hash(2, [[2, 1], [0], [], []], flags=1)
    snapshot = take(canned, limits=Limits(max_chased=4))
    assert [len(snapshot.map(name)) for name in ("hash1", "hash2")] == [3, 1]
    assert snapshot.map("hash1").truncated is None
    assert "first 1 elements" in (snapshot.map("hash2").truncated or "")


@pytest.mark.parametrize("flags", [0, 1])
def test_an_update_half_way_shows_the_new_value_alone(canned: Any, flags: int) -> None:
    _, elements = canned.add_hash(1, [[3, 0, 1], [2], [], []], flags=flags)
    canned.poke(elements + 32 * 3 + 16, "Q", 101)  # 3 has come for 1, which is still there
    assert pairs(take(canned).map("hash1")) == {101: 1003, 100: 1000, 102: 1002}
    assert len(take(canned).map("hash1")) == 3


@pytest.mark.parametrize("flags", [0, 1])
def test_a_chain_in_a_circle_ends_with_a_note(canned: Any, flags: int) -> None:
    _, elements = canned.add_hash(1, [[0, 1], [2], [], []], flags=flags)
    canned.poke(elements + 32 + 8, "Q", elements)
    found = take(canned).map("hash1")
    assert pairs(found) == {100: 1000, 101: 1001, 102: 1002}
    assert "circle" in (found.truncated or "")


@pytest.mark.parametrize("flags", [0, 1])
@pytest.mark.parametrize("wild", [0, 0x10, 0xFFFFC90000000000, 0xFFFF888000000100])
def test_a_wild_pointer_costs_only_its_chain(canned: Any, flags: int, wild: int) -> None:
    _, elements = canned.add_hash(1, [[0, 1], [2], [], []], flags=flags)
    canned.poke(elements + 8, "Q", wild)
    found = take(canned).map("hash1")
    assert pairs(found) == {100: 1000, 102: 1002}
    assert "broken" in (found.truncated or "")


def test_percpu_hash_reads_one_value_per_cpu(canned: Any) -> None:
    _, elements = canned.add_hash(1, [[1], []], kind=5, pool=2, entries=2)
    slots = canned.alloc(2 * PAGE)
    for n in range(2):
        canned.poke(elements + 32 * n + 24, "Q", slots + 8 * n)
        for cpu in range(2):
            canned.poke(slots + 8 * n + PAGE * cpu, "Q", 10 * n + cpu)
    found = take(canned).map("hash1").percpu_hash_entries
    assert found is not None and len(found) == 1
    assert {cpu: value.data[0] for cpu, value in found[0].per_cpu.items() if value} == {
        0: 10,
        1: 11,
    }


def test_percpu_array_adds_each_cpus_offset(canned: Any) -> None:
    slots = canned.alloc(2 * PAGE)
    for cpu in range(2):
        canned.poke(slots + 16 + PAGE * cpu, "Q", 70 + cpu)
    canned.add_map(4, 6, "pcpu", struct.pack("<QQ", 8, slots + 16))
    entries = take(canned).map("pcpu").percpu_entries
    assert entries is not None
    assert [entries[0].cpu(cpu).data[0] for cpu in (0, 1)] == [70, 71]


def test_globals_are_rendered_by_the_maps_own_btf(canned: Any) -> None:
    b = BtfBuilder()
    u64, u32 = b.integer("u64", 8), b.integer("u32", 4)
    sec = b.datasec(".bss", 16, [(b.var("total", u64), 0, 8), (b.var("seq", u32), 8, 4)])
    btf = canned.add_btf(b.build())
    canned.add_array(1, "s.bss", [struct.pack("<QQ", 99, 7)], btf=btf, value_type=sec)
    snapshot = take(canned)
    assert snapshot.var("total").as_u64() == 99
    assert snapshot.var("seq").as_u64() == 7


def test_maps_that_cannot_be_read_are_listed_with_the_reason(canned: Any) -> None:
    canned.add_array(1, "good", [b"\5" * 8])
    canned.add_map(2, 22, "queue")
    canned.add_map(3, 2, "lying", struct.pack("<Q", 4096))
    canned.add_map(4, 1, "hash", struct.pack("<QQII", 0, 0, 3, 32), entries=2)
    canned.add_map(5, 1, "wide", struct.pack("<QQII", 0, 0, 4, 1 << 31), value=(1 << 31) - 24)
    canned.add_array(6, "typed", [b"\5" * 8], btf=0xFFFFDEAD00000000, value_type=1)
    garbage = canned.add_btf(b"\xff" * 64)
    canned.add_array(7, "garbage", [b"\5" * 8], btf=garbage, value_type=1)
    kva = canned.add_array(8, "freed", [b"\5" * 8])
    canned.poke(kva + 20, "I", 77)
    canned.maps[9] = 0xFFFFDEAD00000000
    snapshot = take(canned)
    assert [m.id for m in snapshot.maps] == list(range(1, 10))
    errors = {m.id: m.error for m in snapshot.maps}
    assert errors.pop(1) is None
    wanted = {
        2: "not decoded", 3: "elem_size", 4: "3 buckets", 5: "not a kernel address",
        6: "nothing is mapped", 7: "no BTF", 8: "has id 77", 9: "nothing is mapped",
    }  # fmt: skip
    assert {n: wanted[n] in (e or "") for n, e in errors.items()} == dict.fromkeys(wanted, True)
    assert snapshot.map("good").at(0).get().to_json() == {
        "kind": "bytes", "hex": "05 05 05 05 05 05 05 05",
    }  # fmt: skip


def test_a_map_made_after_the_plan_makes_it_stale(canned: Any) -> None:
    kva = canned.add_array(1, "arr", [b"\5" * 8])
    kernel = canned.kernel()
    plan = make_plan(kernel)
    assert decode(plan, copy(plan, canned.ram), kernel).stale is None
    root = struct.unpack("<Q", kernel.read(kernel.symbol("map_idr") + 8, 8))[0] - 2
    canned.poke(root + 8 + 8 * 5, "Q", kva)
    assert "set of BPF maps changed" in (decode(plan, copy(plan, canned.ram), kernel).stale or "")


def test_a_list_of_maps_in_a_circle_ends(canned: Any) -> None:
    canned.add_array(1, "arr", [b"\5" * 8])
    kernel = canned.kernel()
    root = struct.unpack("<Q", kernel.read(kernel.symbol("map_idr") + 8, 8))[0] - 2
    canned.poke(root + 8 + 8 * 2, "Q", root | 2)
    plan = make_plan(kernel)
    assert [m.name for m in decode(plan, copy(plan, canned.ram), kernel).maps] == ["arr"]
    assert plan.stale_reason is not None and "damaged" in plan.stale_reason


def test_runqueues_and_current_tasks(canned: Any) -> None:
    task = canned.alloc(
        64, b"\0" * 8 + b"worker\0junk".ljust(16, b"\0") + struct.pack("<ii", 42, 40)
    )
    idle = canned.alloc(64, b"\0" * 8 + b"swapper/1".ljust(16, b"\0"))
    queues = canned.alloc(2 * PAGE, struct.pack("<QQQI", 111, task, idle, 3))
    canned.poke(queues + PAGE, "QQQI", 222, idle, idle, 0)
    canned.symbols["runqueues"] = queues
    snapshot = take(canned)
    busy, quiet = snapshot.cpus
    assert (busy.nr_running, busy.clock, busy.idle) == (3, 111, False)
    assert (busy.curr_pid, busy.curr_tgid, busy.curr_comm) == (42, 40, "worker")
    assert (quiet.idle, quiet.curr_pid, quiet.curr_comm) == (True, 0, "swapper/1")
    assert busy.local_dsq_depth is None
    assert "scx.local_dsq.nr" in snapshot.unavailable["cpus.local_dsq_depth"]


def test_a_wild_current_task_is_not_read_and_not_zero(canned: Any) -> None:
    canned.symbols["runqueues"] = canned.alloc(2 * PAGE, struct.pack("<QQ", 1, 0xFFFFDEAD00000000))
    snapshot = take(canned)
    assert snapshot.cpu(0).curr_pid is None
    assert "cpus.0.curr" in snapshot.unavailable


def test_a_kernel_without_sched_ext_says_so(canned: Any) -> None:
    snapshot = take(canned)
    assert snapshot.sched_ext.state is None and snapshot.sched_ext.events is None
    assert "CONFIG_SCHED_CLASS_EXT" in snapshot.unavailable["sched_ext"]


def test_pages_that_lie_apart_are_put_together_in_order(canned: Any) -> None:
    values = [struct.pack("<Q", n) for n in range(600)]
    address = canned.add_array(1, "arr", values)
    # Swap the two physical pages behind the map: same virtual bytes, other order in RAM.
    physical = address - 0xFFFF888000000000
    page0, page1 = (canned.ram.read(physical + n * PAGE, PAGE) for n in (0, 1))
    canned.ram.write(physical, page1)
    canned.ram.write(physical + PAGE, page0)
    canned.tables.map(address, physical + PAGE)
    canned.tables.map(address + PAGE, physical)
    assert pairs(take(canned).map("arr")) == {n: n for n in range(600)}


def test_the_map_filter_leaves_maps_out(canned: Any) -> None:
    canned.add_array(1, "one", [b"\5" * 8])
    canned.add_array(2, "two", [b"\5" * 8])
    snapshot = take(canned, maps=lambda info: info.name == "two")
    assert [m.name for m in snapshot.maps] == ["two"]


def test_elements_too_wide_for_the_limit_are_not_followed(canned: Any) -> None:
    buckets = canned.alloc(16, struct.pack("<QQ", 0, canned.alloc(8)))
    body = struct.pack("<QQII", buckets, 0, 1, 1 << 30)
    canned.add_map(1, 1, "wide", body, value=(1 << 30) - 24, flags=1)
    found = take(canned).map("wide")
    assert found.entries is not None and len(found.entries) == 0
    assert "first 0 elements" in (found.truncated or "")


def test_ranges_are_joined_when_near_and_never_across_segments(canned: Any) -> None:
    half = 1 << 19
    ram = CannedRam((0, half), (half, half))
    canned = type(canned)(ram, PageTables(ram))
    address = canned.add_array(1, "arr", [struct.pack("<Q", n) for n in range(600)])
    canned.add_array(2, "far", [b"\6" * 8])
    # The map's two pages become the last of one segment and the first of the next.
    physical = address - 0xFFFF888000000000
    for page in (0, 1):
        ram.write(half + PAGE * (page - 1), ram.read(physical + PAGE * page, PAGE))
        canned.tables.map(address + PAGE * page, half + PAGE * (page - 1))
    kernel = canned.kernel()
    plan = make_plan(kernel)
    assert all(start + size <= half or start >= half for start, size in plan.ranges)
    assert plan.total_bytes < 600 * 8 + 8 + 64 * 8 + 1024
    assert pairs(decode(plan, copy(plan, ram), kernel).map("arr")) == {n: n for n in range(600)}
