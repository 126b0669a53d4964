# SPDX-License-Identifier: GPL-2.0-only
"""CPU times, processes and pressure in canned memory, of layouts no real kernel has."""

import struct
from typing import Any

import pytest

from ktstr.introspect import copy, decode, make_plan, tasks
from ktstr.introspect.memory import UnreadableMemory, Words
from ktstr.introspect.pressure import MAX_CGROUPS
from ktstr.series.host import CgroupPsi, PerCpuTime, TgidTime
from ktstr.series.snapshot import Snapshot
from ktstr.testing.ram import PAGE

KTHREAD = 0x00200000
TASKS_AT, NODE_AT, HEAD_AT = 72, 88, 24
SIBLING_AT, CHILDREN_AT = 8 + 8, 8 + 24


def take(canned: Any) -> Snapshot:
    kernel = canned.kernel()
    plan = make_plan(kernel)
    return decode(plan, copy(plan, canned.ram), kernel)


def test_times_and_interrupts_of_each_cpu(canned: Any) -> None:
    times = canned.alloc(2 * PAGE)
    counts = canned.alloc(2 * PAGE)
    for cpu in (0, 1):
        canned.poke(times + cpu * PAGE + 8, "QQQ", 7 + cpu, 100 + cpu, 200 + cpu)
        canned.poke(counts + cpu * PAGE, "QIII", 50 + cpu, 9, 99, 3)
    canned.symbols |= {"kernel_cpustat": times, "kstat": counts}
    snapshot = take(canned)
    softirqs = {"net_rx": 9, "timer": 3}
    assert snapshot.host.per_cpu_time == (
        PerCpuTime(0, 50, softirqs, user_ns=100, system_ns=200, irq_ns=7),
        PerCpuTime(1, 51, softirqs, user_ns=101, system_ns=201, irq_ns=8),
    )
    assert snapshot.unavailable["host.steal_ns"].endswith("does not account steal")
    assert "iowait_sleeptime" in snapshot.unavailable["host.iowait_sleeptime_ns"]
    assert "since when a CPU sleeps" in snapshot.unavailable["host.idle_sleeptime_ns"]


SLEEPS = [
    # slept, since, marked, waiting for I/O; at 9000
    ((5000, 8000, True, 0), 6000),
    ((5000, 8000, False, 0), 5000),
    ((5000, 8000, True, 1), 5000),
    ((5000, 9500, True, 0), 5000),
]
"""One CPU's words, and its idle time."""


@pytest.mark.parametrize("where", ["kernel_cpustat", "tick_sched"])
@pytest.mark.parametrize(("words", "expected"), SLEEPS)
def test_a_sleep_that_lasts_is_idle_time(
    canned: Any, where: str, words: tuple[int, int, bool, int], expected: int
) -> None:
    slept, since, marked, waiting = words
    times, ticks, queues = (canned.alloc(2 * PAGE) for _ in range(3))
    own = PAGE  # CPU 1's copies
    if where == "kernel_cpustat":
        canned.more_types = lambda b, *_: b.enum("", 4, {"CPUTIME_IDLE": 2})
        canned.poke(times + own, "QQQQQ", marked, 7, 100, slept, since)
    else:
        canned.more_types = _tick_sched
        # The other flags say nothing about a sleep.
        canned.poke(ticks + own, "QQQ", 0b011011 | marked << 2, slept, since)
        canned.symbols["tick_cpu_sched"] = ticks
    canned.poke(queues + own + 28, "I", waiting)
    canned.symbols |= {"kernel_cpustat": times, "runqueues": queues}
    canned.symbols["last_jiffies_update"] = canned.alloc(8, struct.pack("<Q", 9000))
    snapshot = take(canned)
    assert snapshot.host.per_cpu_time[1].idle_sleeptime_ns == expected
    assert snapshot.host.per_cpu_time[0].idle_sleeptime_ns == 0
    assert "host.idle_sleeptime_ns" not in snapshot.unavailable


def _tick_sched(b: Any, bpf_map: int, u32: int, u64: int, ptr: int, char: int) -> None:
    names = ("flags", "idle_sleeptime", "idle_entrytime")
    b.composite("tick_sched", 24, [(name, u64, 64 * n) for n, name in enumerate(names)])


def test_a_kernel_without_them_says_so(canned: Any) -> None:
    snapshot = take(canned)
    assert snapshot.host.per_cpu_time == snapshot.host.per_tgid_time == ()
    assert snapshot.unavailable["host.cpu_time"] == "kernel 6.99-canned has no kernel_cpustat"
    assert snapshot.unavailable["host.interrupts"] == "kernel 6.99-canned has no kstat"
    assert "task list" in snapshot.unavailable["host.per_tgid_time"]


class Processes:
    """Tasks in canned memory, each process with its threads."""

    def __init__(self, canned: Any) -> None:
        self.canned = canned
        self.leaders = [self._task(0, KTHREAD, 0, 0)]
        canned.symbols["init_task"] = self.leaders[0]

    def _task(self, tgid: int, flags: int, user: int, system: int) -> int:
        task = self.canned.alloc(104)
        self.canned.poke(task + 28, "iI", tgid, flags)
        self.canned.poke(task + 40, "QQQ", user, system, 5000 + tgid)
        return int(task)

    def add(
        self, tgid: int, *times: tuple[int, int], ended: tuple[int, int] = (0, 0), flags: int = 0
    ) -> int:
        """A process of one thread per entry of ``times``; returns its signal_struct."""
        threads = [self._task(tgid, flags, *each) for each in times]
        signal = int(self.canned.alloc(40))
        self.canned.poke(signal + 8, "QQ", *ended)
        ring = [signal + HEAD_AT, *(task + NODE_AT for task in threads)]
        for at, after in zip(ring, [*ring[1:], ring[0]], strict=True):
            self.canned.poke(at, "Q", after)
        for task in threads:
            self.canned.poke(task + 64, "Q", signal)
        self.leaders.append(threads[0])
        return signal

    def link(self) -> None:
        ring = [task + TASKS_AT for task in self.leaders]
        for at, after in zip(ring, [*ring[1:], ring[0]], strict=True):
            self.canned.poke(at, "Q", after)


def test_processes_have_the_time_of_all_their_threads(canned: Any) -> None:
    made = Processes(canned)
    made.add(10, (1, 2), (30, 40), ended=(500, 600))
    made.add(11, (9, 9), flags=KTHREAD)
    made.add(12, (7, 8))
    made.link()
    assert take(canned).host.per_tgid_time == (
        TgidTime(10, 531, 642, 5010),
        TgidTime(12, 7, 8, 5012),
    )


def freeze(kernel: Any, plan: Any) -> dict[int, int]:
    """User time by process, of one more freeze under the same plan."""
    captured = copy(plan, kernel.memory)
    snapshot = decode(plan, captured, kernel)
    plan.settle()
    return {each.tgid: each.user_ns for each in snapshot.host.per_tgid_time}


def test_a_list_that_stayed_is_gathered_and_not_walked(
    canned: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Processes(canned)
    made.add(10, (1, 2))
    made.add(12, (7, 8), (70, 80))
    made.link()
    kernel = canned.kernel()
    plan = make_plan(kernel)
    canned.poke(made.leaders[2] + 40, "Q", 1007)

    def no_walk(memory: object) -> None:
        raise AssertionError("it was walked within the freeze")

    monkeypatch.setattr(plan.task_trail, "_walk", no_walk)
    assert freeze(kernel, plan) == {10: 1, 12: 1077}


def test_who_came_or_went_since_is_seen_at_once(canned: Any) -> None:
    made = Processes(canned)
    made.add(10, (1, 2))
    made.link()
    kernel = canned.kernel()
    plan = make_plan(kernel)
    signal = made.add(11, (5, 5))
    made.link()
    assert freeze(kernel, plan) == {10: 1, 11: 5}
    # Another thread, behind the first one.
    thread = made._task(11, 0, 30, 0)
    canned.poke(thread + 64, "Q", signal)
    canned.poke(thread + NODE_AT, "Q", signal + HEAD_AT)
    canned.poke(made.leaders[2] + NODE_AT, "Q", thread + NODE_AT)
    assert freeze(kernel, plan) == {10: 1, 11: 35}
    del made.leaders[1]
    made.link()
    assert freeze(kernel, plan) == {11: 35}


def test_a_kernel_thread_that_becomes_a_process_is_marked(canned: Any) -> None:
    made = Processes(canned)
    made.add(11, (9, 9), flags=KTHREAD)
    made.link()
    kernel = canned.kernel()
    plan = make_plan(kernel)
    canned.poke(made.leaders[1] + 32, "I", 0)
    snapshot = decode(plan, copy(plan, canned.ram), kernel)
    (found,) = snapshot.host.per_tgid_time
    assert (found.tgid, found.readable) == (11, False)


def test_words_lie_in_ram_and_on_their_boundary(canned: Any) -> None:
    start = canned.ram.segments[0].address
    assert Words(canned.ram, [start, start + 4]).copy().tolist() == [
        int.from_bytes(canned.ram.read(start, 4), "little"),
        int.from_bytes(canned.ram.read(start + 4, 4), "little"),
    ]
    for wrong in (start + 2, 1 << 45):
        with pytest.raises(UnreadableMemory):
            Words(canned.ram, [wrong])


def test_a_process_half_way_gone_is_marked(canned: Any) -> None:
    made = Processes(canned)
    signal = made.add(10, (1, 2))
    canned.poke(signal + HEAD_AT, "Q", 0xFFFF8FFFFFFF0000)
    made.link()
    (found,) = take(canned).host.per_tgid_time
    assert (found.tgid, found.readable) == (10, False)


def test_a_list_without_an_end_is_left(canned: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "MAX_TASKS", 5)
    made = Processes(canned)
    made.add(10, (1, 2))
    made.link()
    # The list bites its own tail past its head.
    canned.poke(made.leaders[1] + TASKS_AT, "Q", made.leaders[1] + TASKS_AT)
    snapshot = take(canned)
    assert 1 <= len(snapshot.host.per_tgid_time) <= 5
    assert snapshot.unavailable["host.per_tgid_time"].startswith("more than 5 tasks")


def test_a_list_that_leads_nowhere_breaks_off(canned: Any) -> None:
    made = Processes(canned)
    made.add(10, (1, 2))
    made.link()
    canned.poke(made.leaders[1] + TASKS_AT, "Q", 0x1234)
    snapshot = take(canned)
    assert [group.tgid for group in snapshot.host.per_tgid_time] == [10]
    assert "breaks off" in snapshot.unavailable["host.per_tgid_time"]


class Cgroups:
    """A tree of cgroups; each has a psi_group of its own."""

    def __init__(self, canned: Any) -> None:
        self.canned = canned
        self.root = int(canned.alloc(80)) + 8
        canned.symbols |= {"cgrp_dfl_root": self.root - 8, "psi_system": canned.alloc(72)}
        self.ring(self.root)

    def ring(self, parent: int, *children: int) -> None:
        ring = [parent + CHILDREN_AT, *(child + SIBLING_AT for child in children)]
        for at, after in zip(ring, [*ring[1:], ring[0]], strict=True):
            self.canned.poke(at, "Q", after)

    def make(self, serial: int, share: int, total: int) -> int:
        cgroup, group = int(self.canned.alloc(72)), int(self.canned.alloc(72))
        self.canned.poke(cgroup + 8, "Q", serial)
        self.canned.poke(cgroup + 56, "Q", group)
        # avg[PSI_IRQ_FULL = 1][0] and total[0][1].
        self.canned.poke(group + 8 + 24, "Q", share)
        self.canned.poke(group + 56 + 8, "Q", total)
        self.ring(cgroup)
        return cgroup


def test_pressure_of_the_leaf_cgroups(canned: Any) -> None:
    made = Cgroups(canned)
    inner, left, right = made.make(1, 9, 9), made.make(2, 2048 * 3, 5000), made.make(3, 1024, 999)
    made.ring(made.root, inner)
    made.ring(inner, left, right)
    found = sorted(take(canned).host.cgroup_psi, key=lambda leaf: leaf.serial_nr)
    assert found == [CgroupPsi(left, 2, 3.0, 5), CgroupPsi(right, 3, 0.5, 0)]


def test_a_tree_that_bites_its_tail_is_walked_once(canned: Any) -> None:
    made = Cgroups(canned)
    one, two = made.make(1, 0, 0), made.make(2, 0, 0)
    made.ring(made.root, one)
    made.ring(one, two)
    made.ring(two, one)
    canned.poke(one + SIBLING_AT, "Q", one + SIBLING_AT)
    assert len(take(canned).host.cgroup_psi) <= MAX_CGROUPS


def test_pressure_that_is_switched_off_or_not_there_is_told(canned: Any) -> None:
    made = Cgroups(canned)
    made.ring(made.root, made.make(1, 0, 0))
    canned.symbols["psi_disabled"] = canned.alloc(4, struct.pack("<I", 1))
    snapshot = take(canned)
    assert snapshot.host.cgroup_psi == ()
    assert "psi=0" in snapshot.unavailable["host.pressure"]
