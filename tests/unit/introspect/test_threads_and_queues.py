# SPDX-License-Identifier: GPL-2.0-only
"""Threads and dispatch queues of a canned kernel, also where a hostile one leads in circles."""

import struct
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

from ktstr.errors import KernelUnfit
from ktstr.introspect.dsq import MAX_QUEUED, MAX_QUEUES, read_queues
from ktstr.introspect.memory import UnreadableMemory
from ktstr.introspect.threads import MAX_TASKS, read_tasks, ticks_per_second
from ktstr.series.dump.parts import BUILTIN, DsqState, TaskState, dsq_name

HZ = 250
JIFFIES = (1 << 32) - 300 * HZ + 40 * HZ  # 40 s after boot
INIT, JIFFIES_AT, ROOT_AT, ROOT = 0x1000, 0x100, 0x108, 0x90000
TASK = {
    "pid": (0, 4), "tgid": (4, 4), "comm": (8, 16), "thread_info.cpu": (24, 4), "__state": (28, 4),
    "on_rq": (32, 1), "on_cpu": (33, 1), "sched_class": (40, 8), "policy": (48, 4),
    "prio": (52, 4), "static_prio": (56, 4), "scx.weight": (60, 4), "scx.dsq": (64, 8),
    "scx.slice": (72, 8), "scx.dsq_vtime": (80, 8), "scx.flags": (88, 4),
    "scx.runnable_at": (96, 8), "tasks": (104, 16), "signal": (120, 8), "thread_node": (128, 16),
    "scx.dsq_list": (144, 24), "mm": (168, 8),
}  # fmt: skip
FIELDS = {("task_struct", name): place for name, place in TASK.items()} | {
    ("signal_struct", "thread_head"): (0, 16),
    ("scx_dispatch_q", "id"): (0, 8),
    ("scx_dispatch_q", "nr"): (8, 4),
    ("scx_dispatch_q", "list"): (16, 16),
    ("scx_dispatch_q", "hash_node"): (32, 8),
    ("scx_dsq_list_node", "flags"): (16, 4),
    ("rq", "scx.local_dsq"): (8, 48),
    ("scx_sched", "dsq_hash"): (0, 8),
    ("scx_sched", "pnode"): (8, 8),
    ("scx_sched_pnode", "global_dsq"): (8, 48),
    ("rhashtable", "tbl"): (0, 8),
    ("bucket_table", "size"): (0, 4),
    ("bucket_table", "nest"): (4, 4),
    ("bucket_table", "buckets"): (8, 0),
}
EXT_CLASS = 0x77


class Canned:
    """Memory by address; structures as in FIELDS."""

    release = "canned"
    cpus = (0, 1)

    def __init__(self) -> None:
        self.bytes: dict[int, int] = {}
        self.symbols = {
            "init_task": INIT,
            "jiffies_64": JIFFIES_AT,
            "ext_sched_class": EXT_CLASS,
            "scx_root": ROOT_AT,
            "runqueues": 0x40000,
        }
        self.btf = SimpleNamespace(size=lambda type_id: 176)
        self.words(JIFFIES_AT, JIFFIES, 0)

    def put(self, address: int, data: bytes) -> None:
        self.bytes |= {address + n: byte for n, byte in enumerate(data)}

    def words(self, address: int, *values: int) -> None:
        self.put(address, struct.pack(f"<{len(values)}Q", *values))

    def symbol(self, name: str) -> int | None:
        return self.symbols.get(name)

    def struct(self, name: str) -> int | None:
        return 1

    def field(self, struct_name: str, path: str) -> Any:
        place = FIELDS.get((struct_name, path))
        return None if place is None else SimpleNamespace(offset=place[0], size=place[1])

    def need(self, struct_name: str, path: str) -> Any:
        found = self.field(struct_name, path)
        if found is None:
            raise KernelUnfit(f"struct {struct_name} has no {path}")
        return found

    def percpu(self, pointer: int, cpu: int) -> int:
        return pointer + 0x1000 * cpu

    def read(self, address: int, length: int) -> bytes:
        try:
            return bytes(self.bytes[address + n] for n in range(length))
        except KeyError:
            raise UnreadableMemory(f"nothing is mapped at {address:#x}") from None

    def read_unsigned(self, address: int, size: int) -> int:
        return int.from_bytes(self.read(address, size), "little")

    def task(self, address: int, after: int, pid: int, comm: str = "t", **numbers: int) -> None:
        """A process of one thread; ``after`` is the next in the list."""
        self.put(address, bytes(176))
        for name, value in (numbers | {"pid": pid, "tgid": pid}).items():
            offset, size = TASK[name.replace("__", ".") if name != "__state" else name]
            self.put(address + offset, value.to_bytes(size, "little"))
        self.put(address + 8, comm.encode())
        signal = address + 0x200
        self.words(address + 104, after + 104, 0)
        self.words(address + 120, signal)
        self.words(address + 128, signal, signal)
        self.words(signal, address + 128, address + 128)

    def queue(self, address: int, dsq_id: int, *tasks: int, count: int | None = None) -> None:
        """A queue with the tasks at these addresses in it."""
        self.words(address, dsq_id, len(tasks) if count is None else count)
        chain = [address + 16, *(task + 144 for task in tasks), address + 16]
        for at, after in pairwise(chain):
            self.words(at, after)


@pytest.fixture
def kernel() -> Any:
    canned = Canned()
    canned.task(INIT, 0x2000, 0, "swapper/0", on_rq=1, on_cpu=1)
    canned.task(0x2000, 0x3000, 1, "init", __state=1, mm=0x8888)
    canned.task(
        0x3000, INIT, 42, "worker", thread_info__cpu=1, on_rq=1, sched_class=EXT_CLASS, prio=120,
        scx__weight=100, scx__dsq=0x5000, scx__slice=20_000_000, scx__runnable_at=JIFFIES - 500,
    )  # fmt: skip
    canned.queue(0x5000, 23, 0x3000)
    return canned


def test_threads_are_found_with_what_they_wait_for(kernel: Any) -> None:
    tasks = read_tasks(kernel, 40_100_000_000)
    assert tasks.note is None
    idle, init, worker = tasks.by_address.values()
    assert (idle.comm, idle.state, idle.on_cpu, idle.pid) == ("swapper/0", "R", True, 0)
    assert (init.comm, init.state, init.on_rq, init.weight) == ("init", "S", False, None)
    assert (idle.is_user, init.is_user) == (False, True)
    assert worker == TaskState(
        42, 42, "worker", cpu=1, state="R", on_rq=True, sched_class="ext", policy=0, prio=120,
        static_prio=0, weight=100, dsq_id=23, slice_ns=20_000_000, dsq_vtime=0, scx_flags=0,
        runnable_ms=2000.0,
    )  # fmt: skip


@pytest.mark.parametrize(("state", "letter"), [(2, "D"), (0x402, "I"), (0x20, "Z"), (0x8000, "?")])
def test_states_are_letters(kernel: Any, state: int, letter: str) -> None:
    kernel.task(0x2000, 0x3000, 1, __state=state)
    assert read_tasks(kernel, None).by_address[0x2000].state == letter


def test_a_list_of_processes_that_is_broken_or_round_ends(kernel: Any) -> None:
    kernel.words(0x2000 + 104, 0x66660000)
    tasks = read_tasks(kernel, None)
    assert len(tasks.by_address) == 2 and "damaged" in str(tasks.note)
    kernel.words(0x2000 + 104, 0x2000 + 104)
    tasks = read_tasks(kernel, None)
    assert len(tasks.by_address) == 2 and "back into itself" in str(tasks.note)
    kernel.words(0x2000 + 0x200, 0x2000 + 0x200)  # no thread at all: the list never grows
    assert f"does not end within {MAX_TASKS}" in str(read_tasks(kernel, None).note)


@pytest.mark.parametrize("hz", [100, 250, 300, 1000])
@pytest.mark.parametrize("seconds", [2, 100, 5000])
def test_the_length_of_a_jiffy_follows_from_the_counter(hz: int, seconds: int) -> None:
    jiffies = (1 << 32) - 300 * hz + seconds * hz
    assert ticks_per_second(jiffies, seconds * 10**9) == hz


def test_a_counter_that_fits_no_rate_gives_none() -> None:
    assert ticks_per_second(12345, 10**9) is None


def queues(kernel: Any, unavailable: dict[str, str] | None = None) -> list[DsqState]:
    told = {} if unavailable is None else unavailable
    return list(read_queues(kernel, read_tasks(kernel, None), told))


def set_up(kernel: Any) -> None:
    """Two local queues, a global one, and two buckets of user queues."""
    kernel.queue(0x40008, BUILTIN | 2)
    kernel.queue(0x41008, BUILTIN | 2, 0x3000)
    kernel.queue(0x5000, 23)
    kernel.words(ROOT_AT, ROOT)
    kernel.words(ROOT, 0x91000, 0x92000)
    kernel.words(0x92000, 0x93000)
    kernel.queue(0x93008, BUILTIN | 1)
    kernel.put(0x91000, struct.pack("<II", 2, 0))
    kernel.words(0x91008, (0x5000 + 32) | 1, 1)  # the lock bit of a bucket is no part of it
    kernel.words(0x5000 + 32, 1)


def test_every_kind_of_queue_is_read(kernel: Any) -> None:
    set_up(kernel)
    unavailable: dict[str, str] = {}
    assert queues(kernel, unavailable) == [
        DsqState("local", BUILTIN | 2, cpu=0, length=0),
        DsqState("local", BUILTIN | 2, cpu=1, length=1, pids=(42,)),
        DsqState("global", BUILTIN | 1, node=0, length=0),
        DsqState("user", 23, length=0),
    ]
    assert unavailable == {}


def test_an_iterators_mark_is_no_task(kernel: Any) -> None:
    set_up(kernel)
    kernel.put(0x3000 + 144 + 16, struct.pack("<I", 1))
    assert [q.pids for q in queues(kernel)] == [(), (), (), ()]


def test_queues_that_are_round_or_broken_end(kernel: Any) -> None:
    set_up(kernel)
    kernel.words(0x3000 + 144, 0x3000 + 144)
    (_, local, *_) = queues(kernel)
    assert len(local.pids) == MAX_QUEUED and local.note == f"cut after {MAX_QUEUED} tasks"
    kernel.words(0x3000 + 144, 0x66660000)
    (_, local, *_) = queues(kernel)
    assert local.pids == (42,) and "damaged" in str(local.note)


def test_a_table_of_queues_that_is_round_ends(kernel: Any) -> None:
    set_up(kernel)
    kernel.words(0x5000 + 32, 0x5000 + 32)
    unavailable: dict[str, str] = {}
    assert len(queues(kernel, unavailable)) == MAX_QUEUES
    assert unavailable == {"dsq_states.user": f"more than {MAX_QUEUES} queues"}
    kernel.put(0x91000, struct.pack("<II", 1 << 30, 0))
    queues(kernel, unavailable)
    assert "buckets" in unavailable["dsq_states.user"]


def test_what_cannot_be_read_is_named_and_the_rest_is_there(kernel: Any) -> None:
    set_up(kernel)
    kernel.words(ROOT, 0x66660000, 0x92000)
    unavailable: dict[str, str] = {}
    assert [q.kind for q in queues(kernel, unavailable)] == ["local", "local", "global"]
    assert "0x66660000" in unavailable["dsq_states.user"]


def test_ids_have_names() -> None:
    named = [dsq_name(n) for n in (0x17, BUILTIN | 1, BUILTIN | 2, BUILTIN | 1 << 62 | 3)]
    assert named == ["user 0x17", "global", "local", "local of CPU 3"]
