# SPDX-License-Identifier: GPL-2.0-only
"""A tiny kernel in canned RAM, with structure layouts of its own that no real kernel has."""

import struct
from collections.abc import Callable
from dataclasses import dataclass, field

import drgn
import pytest

from ktstr.introspect.kernel import Kernel
from ktstr.introspect.symbols import Symbols
from ktstr.introspect.vmcoreinfo import parse_vmcoreinfo
from ktstr.testing.ram import INT_SIGNED, PAGE, BtfBuilder, CannedRam, PageTables

BASE = 0xFFFF888000000000
TEXT = 0xFFFFFFFF81000000


@dataclass
class CannedKernel:
    """Memory is handed out with :meth:`alloc` and mapped at ``BASE`` plus its physical address."""

    ram: CannedRam
    tables: PageTables
    cpus: int = 2
    symbols: dict[str, int | None] = field(default_factory=dict)
    maps: dict[int, int] = field(default_factory=dict)
    more_types: Callable[..., None] | None = None
    value_type: int = 0

    def alloc(self, size: int, data: bytes = b"") -> int:
        """Zeroed, mapped memory on a page of its own; returns its virtual address."""
        pages = -(-size // PAGE)
        physical = self.ram.frames(pages)
        self.tables.map(BASE + physical, physical, pages * PAGE)
        self.ram.write(physical, data)
        return BASE + physical

    def poke(self, address: int, layout: str, *values: int) -> None:
        self.ram.write(address - BASE, struct.pack("<" + layout, *values))

    # Offsets below follow the types of _kernel_btf().
    def add_map(
        self, map_id: int, kind: int, name: str, body: bytes = b"", *, key: int = 4, value: int = 8,
        entries: int = 1, flags: int = 0, btf: int = 0, key_type: int = 0, value_type: int = 0,
    ) -> int:  # fmt: skip
        head = struct.pack("<IIIIII", kind, key, value, entries, flags, map_id)
        head += name.encode().ljust(16, b"\0") + struct.pack(
            "<QIII4x", btf, key_type, value_type, 0
        )
        assert len(head) == 64
        self.maps[map_id] = self.alloc(64 + len(body), head + body)
        return self.maps[map_id]

    def add_btf(self, blob: bytes, btf_id: int = 9) -> int:
        return self.alloc(
            32, struct.pack("<QQII8x", 0, self.alloc(len(blob), blob), len(blob), btf_id)
        )

    def add_array(self, map_id: int, name: str, values: list[bytes], **more: int) -> int:
        size = len(values[0])
        body = struct.pack("<Q", size) + b"".join(values)
        return self.add_map(map_id, 2, name, body, value=size, entries=len(values), **more)

    def add_hash(
        self, map_id: int, chains: list[list[int]], *, kind: int = 1, entries: int = 4,
        flags: int = 0, pool: int = 4,
    ) -> tuple[int, int]:  # fmt: skip
        """u32 → u64 hash; ``chains`` hold element numbers, key 100+n, value 1000+n.

        Returns the addresses of buckets and elements. Elements are 8 (hash) + 8 (next) + 8 (key)
        + 8 (value) bytes, also those on no chain.
        """
        elements = self.alloc(32 * pool)
        for n in range(pool):
            self.poke(elements + 32 * n, "IIQII", n, 0, 1, 100 + n, 0)
            self.poke(elements + 32 * n + 24, "Q", 1000 + n)
        buckets = self.alloc(16 * len(chains))
        for index, chain in enumerate(chains):
            ends = [elements + 32 * n for n in chain] + [index << 1 | 1]
            self.poke(buckets + 16 * index + 8, "Q", ends[0])
            for n, after in zip(chain, ends[1:], strict=True):
                self.poke(elements + 32 * n + 8, "Q", after)
        area = 0 if flags & 1 else elements
        body = struct.pack("<QQII", buckets, area, len(chains), 32)
        self.add_map(map_id, kind, f"hash{map_id}", body, entries=entries, flags=flags)
        return buckets, elements

    def kernel(self) -> Kernel:
        blob = _kernel_btf(self.more_types)
        physical = self.ram.frames(-(-len(blob) // PAGE))
        self.ram.write(physical, blob)
        self.tables.map(TEXT, physical, -(-len(blob) // PAGE) * PAGE)
        node = self.alloc(8 + 64 * 8)
        for map_id, address in self.maps.items():
            self.poke(node + 8 + 8 * map_id, "Q", address)
        idr = self.alloc(16, struct.pack("<IIQ", 0, 0, node | 2))
        offsets = self.alloc(
            8 * self.cpus, struct.pack(f"<{self.cpus}Q", *range(0, PAGE * self.cpus, PAGE))
        )
        known = dict.fromkeys(_PROBED) | self.symbols
        known |= {
            "__start_BTF": TEXT,
            "__stop_BTF": TEXT + len(blob),
            "map_idr": idr,
            "__cpu_possible_mask": self.alloc(8, struct.pack("<Q", (1 << self.cpus) - 1)),
            "__per_cpu_offset": offsets,
            "nr_cpu_ids": self.alloc(4, struct.pack("<I", self.cpus)),
        }
        info = parse_vmcoreinfo(
            "OSRELEASE=6.99-canned\nBUILD-ID=c0ffee\nNUMBER(phys_base)=0\n"
            f"SYMBOL(swapper_pg_dir)={0xFFFFFFFF80000000 + self.tables.root:x}\n"
        )
        prog = drgn.Program(drgn.Platform(drgn.Architecture.X86_64))
        return Kernel(self.ram, info, Symbols(lambda: prog, known))


_PROBED = (
    "runqueues", "scx_enable_state_var", "scx_ops_enable_state_var", "scx_root", "scx_ops",
    "scx_switching_all", "scx_bypass_depth", "scx_ops_bypass_depth", "scx_nr_rejected",
    "scx_enable_seq", "scx_exit_kind", "scx_exit_info", "scx_aborting", "event_stats_cpu",
    "kernel_cpustat", "kstat", "tick_cpu_sched", "psi_disabled", "psi_system", "init_task",
    "cgrp_dfl_root", "sched_schedstats", "bpf_stats_enabled_key", "jiffies_64", "prog_idr",
    "last_jiffies_update",
)  # fmt: skip


def _kernel_btf(more: Callable[..., None] | None = None) -> bytes:
    b = BtfBuilder()
    u8, u32, u64 = b.integer("u8", 1), b.integer("u32", 4), b.integer("u64", 8)
    s32 = b.integer("int", 4, INT_SIGNED)
    char = b.integer("char", 1)
    ptr = b.ptr()
    b.composite("cpumask", 8, [("bits", b.array(u64, 1), 0)])
    b.composite(
        "btf",
        32,
        [("base_btf", ptr, 0), ("data", ptr, 64), ("data_size", u32, 128), ("id", u32, 160)],
    )
    words = ("map_type", "key_size", "value_size", "max_entries", "map_flags", "id")
    head = [(name, u32, 32 * i) for i, name in enumerate(words)]
    head += [("name", b.array(char, 16), 192), ("btf", ptr, 320), ("btf_key_type_id", u32, 384)]
    head += [("btf_value_type_id", u32, 416), ("btf_vmlinux_value_type_id", u32, 448)]
    bpf_map = b.composite("bpf_map", 64, head)
    tails = b.composite(
        "", 0, [("value", b.array(char, 0), 0), ("pptrs", b.array(ptr, 0), 0)], union=True
    )
    b.composite("bpf_array", 72, [("map", bpf_map, 0), ("elem_size", u32, 512), ("", tails, 576)])
    htab = [("map", bpf_map, 0), ("buckets", ptr, 512), ("elems", ptr, 576)]
    b.composite("bpf_htab", 88, [*htab, ("n_buckets", u32, 640), ("elem_size", u32, 672)])
    first = b.composite("hlist_nulls_head", 8, [("first", ptr, 0)])
    b.composite("bucket", 16, [("lock", u32, 0), ("head", first, 64)])
    node = b.composite("hlist_nulls_node", 8, [("next", ptr, 0)])
    b.composite(
        "htab_elem", 16, [("hash", u32, 0), ("hash_node", node, 64), ("key", b.array(char, 0), 128)]
    )
    root = b.composite("xarray", 8, [("xa_head", ptr, 0)])
    b.composite("idr", 16, [("idr_base", u32, 0), ("idr_rt", root, 64)])
    b.composite("xa_node", 520, [("shift", u8, 0), ("slots", b.array(ptr, 64), 64)])
    b.composite(
        "rq",
        64,
        [
            *[("clock", u64, 0), ("curr", ptr, 64), ("idle", ptr, 128)],
            *[("nr_running", u32, 192), ("nr_iowait", u32, 224)],
        ],
    )
    links = b.composite("list_head", 16, [("next", ptr, 0), ("prev", ptr, 64)])
    words = [(name, u64, 320 + 64 * i) for i, name in enumerate(("utime", "stime", "start_time"))]
    b.composite(
        "task_struct",
        104,
        [
            *[("comm", b.array(char, 16), 64), ("pid", s32, 192), ("tgid", s32, 224)],
            *[("flags", u32, 256), *words, ("signal", ptr, 512), ("tasks", links, 576)],
            ("thread_node", links, 704),
        ],
    )
    b.composite(
        "signal_struct", 40, [("utime", u64, 64), ("stime", u64, 128), ("thread_head", links, 192)]
    )
    _add_accounting(b, u32, u64, ptr, links)
    if more is not None:
        more(b, bpf_map, u32, u64, ptr, char)
    return b.build()


def _add_accounting(b: BtfBuilder, u32: int, u64: int, ptr: int, links: int) -> None:
    """CPU time and pressure; states and softirqs are numbered as in no kernel."""
    b.enum("cpu_usage_stat", 4, {"CPUTIME_IRQ": 0, "CPUTIME_USER": 1, "CPUTIME_SYSTEM": 2})
    b.enum("", 4, {"NET_RX_SOFTIRQ": 0, "TIMER_SOFTIRQ": 2})
    b.enum("psi_states", 4, {"PSI_IO_SOME": 0, "PSI_IRQ_FULL": 1, "NR_PSI_STATES": 3})
    places = [("idle_elapse", b.integer("bool", 1), 0), ("idle_entrytime", u64, 256)]
    b.composite("kernel_cpustat", 40, [("cpustat", b.array(u64, 3), 64), *places])
    b.composite("kernel_stat", 24, [("irqs_sum", u64, 0), ("softirqs", b.array(u32, 3), 64)])
    averages = b.array(b.array(u64, 3), 2)
    b.composite("psi_group", 72, [("avg", averages, 64), ("total", b.array(u64, 2), 448)])
    members = [("serial_nr", u64, 0), ("sibling", links, 64), ("children", links, 192)]
    css = b.composite("cgroup_subsys_state", 48, members)
    cgroup = b.composite("cgroup", 72, [("self", css, 64), ("psi", ptr, 448)])
    b.composite("cgroup_root", 80, [("cgrp", cgroup, 64)])


@pytest.fixture
def canned() -> CannedKernel:
    """An empty canned kernel of two CPUs with 1 MiB of RAM."""
    ram = CannedRam((0, 1 << 20))
    return CannedKernel(ram, PageTables(ram))
