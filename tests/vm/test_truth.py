# SPDX-License-Identifier: GPL-2.0-only
"""What is read from outside is what the guest itself reads, on more than one kernel.

Each kernel boots once (truth_boot.py). The guest tells every map through bpf(2) and /proc/stat;
here both are held against the captures. KTSTR_TEST_KERNEL names one other kernel to try.
"""

import os
import struct
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise

import anyio
import pytest
from tests.vm.truth_boot import (
    CROWD,
    IDLE,
    LOCKUP,
    ONLINE,
    POSSIBLE,
    Evidence,
    Told,
    ToldMap,
    build,
    collect,
)

from ktstr.series.maps import MapSnapshot, PerCpuEntry
from ktstr.series.monitor.samples import CpuReading, MonitorSample
from ktstr.series.monitor.window import MonitorWindow
from ktstr.series.snapshot import Snapshot
from ktstr.vm.cpio import Entry

pytestmark = [pytest.mark.vm, pytest.mark.timeout(600)]

KERNELS = [os.environ["KTSTR_TEST_KERNEL"]] if "KTSTR_TEST_KERNEL" in os.environ else [
    "debian:7",
    "debian:6.12",
]  # fmt: skip
SPINNERS, CROWDED, LOCKED_UP = 6, 1, 2  # as in truth_guest.c
USER_HZ_NS = 10_000_000
TICK_NS = 10_000_000
"""Of the slowest tick a kernel here has."""

WRITTEN = [
    "a_plain", "a_mmap", "a_pcpu", "h_pre", "h_nopre", "h_big", "h_pcpu", "h_pcpu_nopre",
    "h_lru", "h_lru_own", "h_lru_pcpu",
]  # fmt: skip
OTHERS = {
    "n_array": "array_of_maps", "n_hash": "hash_of_maps", "n_queue": "queue", "n_stack": "stack",
    "n_ring": "ringbuf", "n_trie": "lpm_trie", "n_task": "task_storage",
}  # fmt: skip
SECTIONS = ["truth.bss", "truth.data", "truth.rodata"]


@pytest.fixture(scope="module")
def entries(tmp_path_factory: pytest.TempPathFactory) -> list[Entry]:
    return build(tmp_path_factory.mktemp("truth"))


@pytest.fixture(scope="module", params=KERNELS)
def evidence(
    request: pytest.FixtureRequest, entries: list[Entry], tmp_path_factory: pytest.TempPathFactory
) -> Evidence:
    return anyio.run(collect, request.param, entries, tmp_path_factory.mktemp("boot"))


def contents(taken: MapSnapshot) -> dict[bytes, list[bytes]]:
    """A captured map's bytes as bpf(2) would give them."""
    assert taken.error is None and taken.truncated is None, (taken.name, taken.error)
    if taken.value is not None:
        return {bytes(4): [taken.value.data]}
    found: dict[bytes, list[bytes]] = {}
    for entry in taken.all():
        assert entry.key.data not in found, f"{taken.name} has a key twice: {entry.key.data.hex()}"
        if isinstance(entry, PerCpuEntry):
            assert entry.read_cpus() == list(range(POSSIBLE)), taken.name
            found[entry.key.data] = [entry.cpu(cpu).data for cpu in range(POSSIBLE)]
        else:
            found[entry.key.data] = [entry.value.data]
    return found


def by_id(snapshot: Snapshot) -> dict[int, MapSnapshot]:
    return {taken.id: taken for taken in snapshot.maps}


def test_every_map_of_the_kernel_is_listed_as_it_is(evidence: Evidence) -> None:
    assert evidence.cpus == tuple(range(POSSIBLE))
    for told, snapshot in [*evidence.rounds, *evidence.own]:
        assert snapshot.stale is None
        taken = by_id(snapshot)
        assert taken.keys() == told.maps.keys()
        for each in told.maps.values():
            found = taken[each.id]
            assert (found.name, found.map_type, found.max_entries) == (
                each.name, each.map_type, each.max_entries,
            )  # fmt: skip
            assert (found.key_size, found.value_size) == (each.key_size, each.value_size)


def test_maps_hold_what_bpf_reads(evidence: Evidence) -> None:
    filled: dict[str, int] = dict.fromkeys(WRITTEN, 0)
    for told, snapshot in [*evidence.rounds, *evidence.own]:
        for name in [*WRITTEN, *SECTIONS]:
            entries = told.named(name).entries
            assert contents(by_id(snapshot)[told.named(name).id]) == entries, name
            if name in filled:
                filled[name] += len(entries)
    assert min(filled.values()) >= 4 * len(evidence.rounds)
    # Rounds differ, and so do the CPUs, also the one that is not there.
    texts = [contents(snapshot.map("h_pcpu")) for _, snapshot in evidence.rounds]
    assert len({str(text) for text in texts}) == len(texts)
    assert any(len(set(values)) == POSSIBLE for values in texts[-1].values())


def mixed(raw: bytes) -> dict[str, object]:
    """``struct mixed`` of truth.h."""
    count, delta, bits, name, on = struct.unpack("<IiI6sBx", raw)
    return {
        "count": count, "delta": delta, "low": bits & 7, "mode": bits >> 3 & 31,
        "rest": bits >> 8, "on": on, "name": name,
    }  # fmt: skip


@pytest.mark.parametrize("way", ["rounds", "own"])
def test_members_are_those_of_the_values(evidence: Evidence, way: str) -> None:
    told, snapshot = getattr(evidence, way)[-1]
    for name in WRITTEN:
        values = told.named(name).entries
        for entry in snapshot.map(name):
            for cpu, raw in enumerate(values[entry.key.data]):
                value, expected = entry.cpu(cpu), mixed(raw)
                for member in ("count", "low", "mode", "rest", "on"):
                    assert value.get(member).as_u64() == expected[member], (name, member)
                assert value.get("delta").as_i64() == expected["delta"]
    raw = told.named("truth.bss").entries[bytes(4)][0]
    variables = told.named("truth.bss").variables
    for index in range(4):
        at = variables["bss_sum"][0] + 8 * index
        inside = int.from_bytes(raw[at : at + 8], "little")
        assert snapshot.var(f"bss_sum.{index}").as_u64() == inside
    assert snapshot.var("rodata_fixed.0").as_u64() == 0x1122334455667788


@pytest.mark.parametrize("way", ["rounds", "own"])
def test_maps_of_other_types_say_that_they_are_not_decoded(evidence: Evidence, way: str) -> None:
    _, snapshot = getattr(evidence, way)[0]
    for name, kind in OTHERS.items():
        taken = snapshot.map(name)
        assert taken.type_name == kind
        assert taken.error == f"type {kind} is not decoded"
        assert taken.value is taken.entries is taken.percpu_entries is None


Counters = dict[tuple[str, bytes, int, int], int]
"""By map, key, CPU and offset."""


def counters(
    name: str, entries: dict[bytes, list[bytes]], offsets: Iterable[int], size: int
) -> Counters:
    return {
        (name, key, cpu, at): int.from_bytes(raw[at : at + size], "little")
        for key, values in entries.items()
        for cpu, raw in enumerate(values)
        for at in offsets
    }


def bounded(evidence: Evidence, places: dict[str, tuple[list[int], int]]) -> None:
    """Every counter lies between its readings, and never goes back from one capture to the next.

    :param places: by map, the counters' offsets and their size.
    """

    def of(told: Told) -> Counters:
        found: Counters = {}
        for name, (offsets, size) in places.items():
            found |= counters(name, told.named(name).entries, offsets, size)
        return found

    readings = [of(evidence.before)]
    for snapshot in evidence.counting:
        reading: Counters = {}
        for name, (offsets, size) in places.items():
            taken = by_id(snapshot)[evidence.before.named(name).id]
            reading |= counters(name, contents(taken), offsets, size)
        readings.append(reading)
    readings.append(of(evidence.after))
    for earlier, later in pairwise(readings):
        shared = earlier.keys() & later.keys()
        wrong = {k: (earlier[k], later[k]) for k in shared if earlier[k] > later[k]}
        assert not wrong
    for name in places:
        first, middle, last = (
            sum(v for k, v in r.items() if k[0] == name)
            for r in (readings[0], readings[-2], readings[-1])
        )
        assert first < middle < last, f"{name} was not counted in"


def test_counters_that_run_lie_between_two_readings_of_the_guest(evidence: Evidence) -> None:
    places = {name: ([0], 4) for name in WRITTEN}
    start = evidence.before.named("truth.bss").variables["bss_sum"][0]
    bounded(evidence, places | {"truth.bss": (list(range(start, start + 32, 8)), 8)})
    for name in WRITTEN:
        keys = (
            evidence.before.named(name).entries.keys() | evidence.after.named(name).entries.keys()
        )
        for snapshot in evidence.counting:
            assert contents(snapshot.map(name)).keys() == keys, name


def test_the_schedulers_own_counters_lie_between_two_readings(evidence: Evidence) -> None:
    state = evidence.rounds[0][1].sched_ext
    if not evidence.sched_ext:
        # Nothing to count: the kernel was built without sched_ext, and that is what is said.
        assert (state.state, state.ops, state.events) == (None, None, None)
        assert "has no sched_ext" in evidence.rounds[0][1].unavailable["sched_ext"]
        assert not [m for m in evidence.before.maps.values() if m.name == "pcpu_stats"]
        return
    assert (state.state, state.ops) == ("enabled", "ktstr")
    bss = evidence.before.named("scx_ktst.bss").variables
    running = ("nr_enqueued", "nr_dispatched", "nr_select_cpu", "nr_running_cb", "nr_stopping")
    words = range(0, 48, 8)
    bounded(
        evidence,
        {
            "scx_ktst.bss": ([bss[name][0] for name in running], 8),
            "pcpu_stats": ([0], 8),
            "dsq_stats": ([0, 8], 8),
            "cgroup_stats": ([0, 8, 16], 8),
            "pid_class": ([0, 8], 8),
            "task_seen": ([0], 8),
            "run_hist": ([0], 8),
            "cpu_ctx_arr": (list(words), 8),
        },
    )
    for snapshot in evidence.counting:
        raw = contents(by_id(snapshot)[evidence.before.named("scx_ktst.bss").id])[bytes(4)][0]
        for name in running:
            at, size = bss[name]
            inside = int.from_bytes(raw[at : at + size], "little")
            assert snapshot.live_var(name).as_u64() == inside


def test_the_registered_operations_are_those_of_bpf(evidence: Evidence) -> None:
    if not evidence.sched_ext:
        assert evidence.operations == {}
        return
    told, snapshot = evidence.rounds[0]
    (inside,) = told.named("ktstr_ops").entries[bytes(4)]
    outside = snapshot.map("ktstr_ops")
    raw = contents(outside)[bytes(4)][0]
    for name, (at, size) in evidence.operations.items():
        mine, theirs = raw[at : at + size], inside[at : at + size]
        if name in ("enqueue", "dispatch", "init", "set_weight"):
            # bpf(2) puts the programs' ids in place of the trampolines' addresses.
            assert any(mine) == any(theirs) == (name != "set_weight"), name
        else:
            assert mine == theirs, name
    assert outside.get("data.name").as_str() == "ktstr"


def test_the_guests_own_snapshot_names_the_same_state_as_the_host(evidence: Evidence) -> None:
    for (_, outside), (_, inside) in zip(evidence.rounds, evidence.own, strict=True):
        assert inside.active_maps == outside.active_maps
        for field in ("state", "enabled", "ops", "switch_all", "nr_rejected", "enable_seq"):
            assert getattr(inside.sched_ext, field) == getattr(outside.sched_ext, field), field
        events = (outside.sched_ext.events or {}).keys()
        assert (inside.sched_ext.events or {}).keys() == events
        if evidence.sched_ext:
            # Read by the kernel's types alone: what bpf(2) puts there is no address.
            mine, theirs = inside.map("ktstr_ops"), outside.map("ktstr_ops")
            assert mine.get("data.name").as_str() == "ktstr"
            assert mine.get("data.flags").as_u64() == theirs.get("data.flags").as_u64()
        queues = {cpu.cpu: cpu for cpu in inside.cpus}
        assert queues.keys() == {cpu.cpu for cpu in outside.cpus}
        for cpu in outside.cpus:
            mine, gone = queues[cpu.cpu], ("curr_pid", "curr_tgid", "curr_comm", "idle")
            for field in ("nr_running", "scx_nr_running", "local_dsq_depth", "clock", "scx_flags"):
                known = getattr(mine, field) is not None
                assert known == (getattr(cpu, field) is not None), (cpu.cpu, field)
            if f"cpus.{cpu.cpu}.curr" in inside.unavailable:
                assert all(getattr(mine, field) is None for field in gone)
            else:
                assert None not in [getattr(mine, field) for field in gone]
        readers = [name for name in inside.unavailable if name.endswith(".curr")]
        assert len(readers) == 1, "one CPU ran what took it"


STATES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
SOFTIRQS = (
    "hi", "timer", "net_tx", "net_rx", "block", "irq_poll", "tasklet", "sched", "hrtimer", "rcu",
)  # fmt: skip


def test_cpu_times_lie_between_two_readings_of_proc_stat(evidence: Evidence) -> None:
    for before, snapshot, after in evidence.stats:
        times = {time.cpu: time for time in snapshot.host.per_cpu_time}
        assert times.keys() == set(range(POSSIBLE))
        for cpu in range(ONLINE):
            for column, state in enumerate(STATES):
                # Where a CPU sleeps without a tick, /proc/stat tells more than kernel_cpustat.
                name = "idle_sleeptime_ns" if state == "idle" else f"{state}_ns"
                outside = getattr(times[cpu], name)
                # The guest rounds down to 10 ms; how long a sleep lasts is known to a tick.
                low = before.stat[f"cpu{cpu}"][column] * USER_HZ_NS
                low -= TICK_NS if state == "idle" else 0
                high = (after.stat[f"cpu{cpu}"][column] + 1) * USER_HZ_NS
                assert low <= outside <= high, (cpu, state, low, outside, high)
        assert f"cpu{ONLINE}" not in before.stat


def test_interrupts_and_switches_lie_between_two_readings_of_proc_stat(evidence: Evidence) -> None:
    for before, snapshot, after in evidence.stats:
        times = snapshot.host.per_cpu_time
        for column, name in enumerate(SOFTIRQS, start=1):
            outside = sum(time.softirqs[name] for time in times)
            assert before.stat["softirq"][column] <= outside <= after.stat["softirq"][column], name
        switches = sum(cpu.nr_switches or 0 for cpu in snapshot.cpus)
        assert before.stat["ctxt"][0] <= switches <= after.stat["ctxt"][0]


def step(evidence: Evidence, index: int) -> list[MonitorSample]:
    return [s for s in evidence.monitor.samples if s.step_index == index]


def readings(samples: list[MonitorSample], cpu: int) -> Iterator[CpuReading]:
    return (each for sample in samples for each in sample.cpus if each.cpu == cpu)


def all_of(samples: Iterable[CpuReading], holds: Callable[[CpuReading], bool]) -> bool:
    return all(holds(each) for each in samples)


def test_the_monitor_sees_nothing_in_an_idle_guest(evidence: Evidence) -> None:
    window = MonitorWindow(step(evidence, IDLE))
    assert len(window.samples) >= 5 and evidence.monitor.torn_reads == 0
    lengths = sorted(n for sample in window.samples for n in sample.run_lengths())
    assert lengths[len(lengths) * 3 // 4] == 0
    assert window.stuck_count() == 0
    assert (window.avg_dsq_depth() is not None) == evidence.sched_ext
    assert (window.avg_dsq_depth() or 0.0) < 0.5


def test_the_monitor_sees_a_crowd(evidence: Evidence) -> None:
    samples = step(evidence, CROWD)
    assert len(samples) >= 5
    # The guest's own threads come by now and then.
    assert all_of(
        readings(samples, CROWDED), lambda c: SPINNERS <= (c.nr_running or 0) <= SPINNERS + 3
    )
    assert MonitorWindow(samples).max_imbalance() >= SPINNERS / 2  # type: ignore[operator]
    if evidence.sched_ext:
        # One runs; in the moment between two of them nobody may be running.
        assert all_of(
            readings(samples, CROWDED),
            lambda c: SPINNERS - 1 <= (c.local_dsq_depth or 0) <= SPINNERS + 3,
        )
    current = {c.curr_pid for c in readings(samples, CROWDED)}
    assert len(current) > 1, "six take turns"


def test_the_monitor_sees_a_clock_that_stands(evidence: Evidence) -> None:
    # Every fourth: a loaded host lets a vCPU run for ten ticks in 400 ms, not in 100.
    locked_up = step(evidence, LOCKUP)[::4]
    assert (MonitorWindow(locked_up).stuck_count() or 0) >= 2
    clocks = [c.rq_clock for c in readings(step(evidence, LOCKUP), LOCKED_UP)]
    assert max(clocks.count(clock) for clock in clocks) >= 10, "2 s at one reading in 100 ms"
    for index in (IDLE, CROWD):
        assert MonitorWindow(step(evidence, index)[::4]).stuck_count() == 0


def test_cpus_that_are_not_there_have_no_tasks(evidence: Evidence) -> None:
    for sample in evidence.monitor.samples:
        for cpu in readings([sample], ONLINE):
            assert cpu.nr_running == 0


def test_a_told_map_is_cut_as_bpf_gives_it() -> None:
    told = ToldMap(1, 6, 4, 12, 1, 0, "x")
    told.add("00000000", "01" * 12 + "ff" * 4 + "02" * 12 + "ff" * 4)
    assert told.entries == {bytes(4): [b"\x01" * 12, b"\x02" * 12]}
