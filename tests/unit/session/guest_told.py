# SPDX-License-Identifier: GPL-2.0-only
"""What a guest could tell in a GuestSnapshot frame, with types that no real kernel has."""

import struct
from functools import cache
from typing import Any

import msgpack

from ktstr.introspect.btf import Btf
from ktstr.introspect.cputime import SOFTIRQS, STATES
from ktstr.series.sample import Sample
from ktstr.session.guest_snapshots import GuestSnapshots
from ktstr.session.guest_types import GuestTypes
from ktstr.testing.ram import BtfBuilder

Body = dict[str, Any]
CPUS = 2
READER = 99
"""Process id of what takes the snapshots."""

MAP_TYPES = {"HASH": 1, "ARRAY": 2, "PERCPU_HASH": 5, "PERCPU_ARRAY": 6, "QUEUE": 22,
             "STRUCT_OPS": 26}  # fmt: skip
ENQUEUE, DISPATCH = 71, 72
"""Ids of the scheduler's programs."""

OPS_BYTES = struct.pack("<QQQQQ", 2, ENQUEUE, 0, 5, 1 << 40)
"""State 2, a program, a hole, flags, and what belongs to the kernel."""


@cache
def kernel_blob() -> tuple[bytes, int]:
    """BTF of a kernel, and the type of a scheduler's registered operations in it."""
    b = BtfBuilder()
    u32, u64, ptr = b.integer("u32", 4), b.integer("u64", 8), b.ptr()
    b.enum("bpf_map_type", 4, {f"BPF_MAP_TYPE_{name}": n for name, n in MAP_TYPES.items()})
    # Each state one place after its own number, each softirq in the opposite order.
    b.enum("cpu_usage_stat", 4, {f"CPUTIME_{s.upper()}": i + 1 for i, s in enumerate(STATES)})
    last = len(SOFTIRQS) - 1
    b.enum("", 4, {f"{s.upper()}_SOFTIRQ": last - i for i, s in enumerate(SOFTIRQS)})
    b.composite("kernel_cpustat", 80, [("cpustat", b.array(u64, 10), 0)])
    b.composite("kernel_stat", 48, [("irqs_sum", u64, 0), ("softirqs", b.array(u32, 10), 64)])
    ops = b.composite(
        "sched_ext_ops", 32,
        [("enqueue", ptr, 0), ("dispatch", ptr, 64), ("flags", u64, 128), ("priv", ptr, 192)],
    )  # fmt: skip
    common = b.composite("bpf_struct_ops_common_value", 8, [("state", u32, 0)])
    value = b.composite(
        "bpf_struct_ops_sched_ext_ops", 40, [("common", common, 0), ("data", ops, 64)]
    )
    return b.build(), value


@cache
def program_blob() -> tuple[bytes, dict[str, int]]:
    """BTF of a scheduler: variables ``total`` and ``level`` in ``.bss``, and ``struct row``."""
    b = BtfBuilder()
    u32, u64 = b.integer("u32", 4), b.integer("u64", 8)
    s32 = b.integer("int", 4, 1)
    rows = [(b.var("total", u64), 0, 8), (b.var("level", s32), 8, 4)]
    row = b.composite("row", 12, [("ran", u64, 0), ("slots", u32, 64)])
    ids = {"bss": b.datasec(".bss", 12, rows), "row": row, "u32": u32, "u64": u64}
    return b.build(), ids


PROGRAM_BTF = 4


def told_map(map_id: int, kind: str, name: str, values: bytes = b"", **more: Any) -> Body:
    """One map of u32 keys and u64 values, or as ``more`` says."""
    return {
        "id": map_id, "type": MAP_TYPES[kind], "name": name, "key_size": 4, "value_size": 8,
        "max_entries": 4, "flags": 0, "btf": 0, "key_type": 0, "value_type": 0,
        "vmlinux_type": 0, "vmlinux_btf": 0, "count": 0, "keys": b"", "values": values,
        "truncated": None, "error": None,
    } | more  # fmt: skip


def bss(map_id: int, total: int, level: int = 0, name: str = "mine.bss") -> Body:
    """A section with its two variables."""
    _, ids = program_blob()
    typed = {"btf": PROGRAM_BTF, "key_type": 0, "value_type": ids["bss"]}
    raw = struct.pack("<Qi", total, level)
    return told_map(map_id, "ARRAY", name, raw, value_size=12, max_entries=1, count=1, **typed)


def operations(map_id: int, raw: bytes = OPS_BYTES) -> Body:
    """A struct_ops map of a scheduler."""
    types = {"vmlinux_type": kernel_blob()[1], "value_size": 40, "max_entries": 1, "count": 1}
    return told_map(map_id, "STRUCT_OPS", "mine_ops", raw, **types)


def all_maps() -> list[Body]:
    """One map of each kind; those of ids 11 to 15 are the scheduler's."""
    _, ids = program_blob()
    typed = {"btf": PROGRAM_BTF, "key_type": ids["u32"]}
    words = struct.pack("<4Q", 10, 20, 30, 40)
    table = struct.pack("<QIQI", 100, 3, 200, 4)
    keys = struct.pack("<II", 7, 9)
    # A per-CPU value takes a multiple of eight bytes for each CPU.
    slots = b"".join(struct.pack("<QIxxxx", ran, ran + 1) for ran in (1, 2, 3, 4))
    return [
        bss(11, 5, -3),
        told_map(12, "ARRAY", "words", words, count=4, value_type=ids["u64"], **typed),
        told_map(
            13, "HASH", "table", table, count=2, keys=keys, value_size=12, value_type=ids["row"],
            **typed,
        ),
        told_map(
            14, "PERCPU_ARRAY", "each", slots, count=2, max_entries=2, value_size=12,
            value_type=ids["row"], **typed,
        ),
        operations(15),
        told_map(
            16, "PERCPU_HASH", "pairs", slots, count=2, keys=keys, value_size=12,
            value_type=ids["row"], **typed,
        ),
        told_map(17, "QUEUE", "line"),
        bss(18, 6, name="old.bss"),
    ]  # fmt: skip


def told_cpu(cpu: int, **more: Any) -> Body:
    """A CPU whose figures are its number and what they count."""
    numbers = ("nr_running", "scx_nr_running", "local_dsq_depth", "scx_flags", "clock")
    counted = {name: 100 * cpu + at for at, name in enumerate(numbers)}
    times = struct.pack("<10Q", *(1000 * cpu + at for at in range(10)))
    interrupts = struct.pack("<Q10I", 50 + cpu, *(200 * cpu + at for at in range(10)))
    return {
        "cpu": cpu, **counted, "nr_switches": 7, "idle": 0, "curr_pid": 5, "curr_tgid": 4,
        "curr_comm": b"spin", "cpustat": times, "kstat": interrupts,
    } | more  # fmt: skip


FILES = {
    "state": b"enabled\n", "switch_all": b"1\n", "nr_rejected": b"3\n", "enable_seq": b"2\n",
    "ops": b"mine\n", "events": b"SCX_EV_A 4\nSCX_EV_B 0\n",
    "stat": b"cpu  1 2 3 4\ncpu0 1 2 3 40 5\ncpu1 1 2 3 50 5\nintr 9\n", "schedstat": None,
}  # fmt: skip


def body(**more: Any) -> Body:
    """What scx_snap packs, in full."""
    blob, _ = program_blob()
    return {
        "version": 1,
        "pid": READER,
        "nr_cpus": CPUS,
        "cpus": [told_cpu(0), told_cpu(1)],
        "files": dict(FILES),
        "maps": all_maps(),
        "btfs": [{"id": PROGRAM_BTF, "name": "", "kernel": False, "data": blob}],
        "progs": [
            {"id": ENQUEUE, "type": 27, "maps": [11, 12, 13]},
            {"id": DISPATCH, "type": 27, "maps": [14, 16]},
        ],
        "links": [15],
        "took_ns": 1000,
    } | more


def frame(packed: Body | bytes | None, **more: Any) -> bytes:
    """A GuestSnapshot's payload."""
    raw = msgpack.packb(packed) if isinstance(packed, dict) else packed
    fields = {
        "tag": "periodic_000", "elapsed_ms": 702, "boundary_ms": 700, "step": 2, "stats": None,
        "meta": None, "body": raw, "error": None,
    }  # fmt: skip
    payload: bytes = msgpack.packb(fields | more)
    return payload


class Told:
    """Takes frames as a run does, and keeps what they became."""

    def __init__(self) -> None:
        self.pending: list[Sample] = []
        self.described: list[dict[str, object]] = []
        self.notes: list[str] = []
        types = GuestTypes(lambda: Btf(kernel_blob()[0]))
        self.snapshots = GuestSnapshots(
            "6.99", types, self.pending.append, lambda meta: self.described.append(dict(meta)),
            self.notes.append,
        )  # fmt: skip

    def receive(self, *payloads: bytes) -> "Told":
        for payload in payloads:
            self.snapshots.receive(payload)
        return self

    @property
    def samples(self) -> list[Sample]:
        """The samples, decoded."""
        return [sample.settled() for sample in self.pending]
