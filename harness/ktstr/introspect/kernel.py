# SPDX-License-Identifier: GPL-2.0-only
"""One running guest kernel as its memory shows it: symbols, types, per-CPU layout."""

import struct
from collections.abc import Iterable
from functools import cache, cached_property, partial
from pathlib import Path

import drgn

from ktstr.errors import KernelUnfit
from ktstr.introspect.btf import MAX_BTF_SIZE, Btf, BtfInvalid, Field, Kind
from ktstr.introspect.finder import GLOBALS, DrgnTypes
from ktstr.introspect.known_btf import KERNELS
from ktstr.introspect.memory import AddressSpace, PhysicalMemory, UnreadableMemory
from ktstr.introspect.symbols import Symbols, load_symbols, store_symbols
from ktstr.introspect.vmcoreinfo import Vmcoreinfo, read_vmcoreinfo

MAX_CPUS = 8192
_MAX_OBJECT_BTF = 16 * 1024 * 1024
_MAX_BTFS = 256
_SYMBOLS = frozenset(GLOBALS) | {
    "__start_BTF",
    "__stop_BTF",
    "__scx_switched_all",
    "bpf_stats_enabled_key",
    "event_stats_cpu",
    "kernel_cpustat",
    "kstat",
    "last_jiffies_update",
    "nr_cpu_ids",
    "page_offset_base",
    "psi_disabled",
    "psi_system",
    "runqueues",
    "sched_schedstats",
    "scx_aborting",
    "scx_bypass_depth",
    "scx_enable_seq",
    "scx_exit_info",
    "scx_exit_kind",
    "scx_nr_rejected",
    "scx_ops_bypass_depth",
    "scx_switching_all",
    "tick_cpu_sched",
}


class Kernel:
    """Symbols, types and memory of one guest kernel. Make it with :func:`attach`.

    Not thread-safe.
    """

    def __init__(self, memory: PhysicalMemory, info: Vmcoreinfo, symbols: Symbols) -> None:
        self.memory = memory
        self.info = info
        self.release = info.release
        self.build_id = info.build_id
        self.space = AddressSpace(memory, info.root, info.levels)
        self.symbols = symbols
        self._btfs: dict[tuple[int, int], Btf] = {}
        self.btf, self.btf_digest = KERNELS.indexed(self._find_btf())
        self.cpus, self.cpu_offsets = self._possible_cpus()

    @cached_property
    def prog(self) -> drgn.Program:
        """A drgn program over the same memory with types and symbols in place.

        Made when first asked for, since a process's first one costs as much as all else that
        attaching does: what this package reads at every snapshot it reads by BTF alone.

        :raises KernelUnfit: when drgn cannot use the kernel's vmcoreinfo.
        """
        prog = self.symbols.program()
        self.symbols.register(prog)
        types = DrgnTypes(prog, self.btf)
        prog.register_type_finder("btf", types.find, enable_index=0)
        prog.register_object_finder("btf", types.object, enable_index=0)
        return prog

    def _find_btf(self) -> bytes:
        start, stop = self.symbols.get("__start_BTF"), self.symbols.get("__stop_BTF")
        if start is None or stop is None or not 0 < stop - start <= MAX_BTF_SIZE:
            raise KernelUnfit(
                f"kernel {self.release} carries no BTF type information",
                hint="use a kernel built with CONFIG_DEBUG_INFO_BTF",
            )
        return self.space.read(start, stop - start)

    def _possible_cpus(self) -> tuple[tuple[int, ...], dict[int, int]]:
        mask, table = self.symbol("__cpu_possible_mask"), self.symbol("__per_cpu_offset")
        count = self.symbol("nr_cpu_ids")
        if mask is None or table is None:
            raise KernelUnfit(f"kernel {self.release} has no per-CPU tables in kallsyms")
        number = MAX_CPUS if count is None else self.read_unsigned(count, 4)
        number = max(1, min(number, MAX_CPUS))
        type_id = self.btf.find("cpumask", Kind.STRUCT)
        size = self.btf.size(type_id) if type_id else 8
        bits = int.from_bytes(self.space.read(mask, min(size, MAX_CPUS // 8)), "little")
        cpus = tuple(cpu for cpu in range(min(number, 8 * size)) if bits >> cpu & 1)
        if not cpus:
            raise KernelUnfit(f"kernel {self.release}: the mask of possible CPUs is empty")
        raw = self.space.read(table, 8 * (cpus[-1] + 1))
        offsets = struct.unpack(f"<{cpus[-1] + 1}Q", raw)
        return cpus, {cpu: offsets[cpu] for cpu in cpus}

    def symbol(self, name: str) -> int | None:
        """Address of a kernel global; for a per-CPU one the value to add a CPU's offset to."""
        return self.symbols.get(name)

    def has_symbol(self, name: str) -> bool:
        """Whether kallsyms lists ``name``."""
        return self.symbol(name) is not None

    def has_type(self, name: str) -> bool:
        """Whether the kernel's BTF has a struct, union, enum or typedef called ``name``."""
        kinds = (Kind.STRUCT, Kind.UNION, Kind.ENUM, Kind.ENUM64, Kind.TYPEDEF)
        return self.btf.find(name, *kinds) is not None

    def has_member(self, struct_name: str, path: str) -> bool:
        """Whether the struct exists and has a member at the dotted ``path``."""
        return self.field(struct_name, path) is not None

    def struct(self, name: str) -> int | None:
        """BTF type id of a struct."""
        return self.btf.find(name, Kind.STRUCT)

    def field(self, struct_name: str, path: str) -> Field | None:
        """Place of a member; ``None`` when struct or member do not exist in this kernel."""
        type_id = self.struct(struct_name)
        return None if type_id is None else self.btf.field(type_id, path)

    def need(self, struct_name: str, path: str) -> Field:
        """Place of a member that the caller cannot do without.

        :raises KernelUnfit: when this kernel has no such member.
        """
        found = self.field(struct_name, path)
        if found is None:
            raise KernelUnfit(f"kernel {self.release}: struct {struct_name} has no {path}")
        return found

    def percpu(self, pointer: int, cpu: int) -> int:
        """Address of one CPU's copy behind a per-CPU pointer or symbol."""
        return (pointer + self.cpu_offsets[cpu]) & 0xFFFFFFFFFFFFFFFF

    def read(self, address: int, length: int) -> bytes:
        """Copy kernel-virtual memory.

        :raises UnreadableMemory: when it is not mapped.
        """
        return self.space.read(address, length)

    def read_unsigned(self, address: int, size: int) -> int:
        """Unsigned little-endian integer of ``size`` bytes."""
        return int.from_bytes(self.space.read(address, size), "little")

    def forget(self) -> None:
        """Drop what may be outdated: page translations, and the BTF of unloaded programs."""
        self.space.forget()
        if len(self._btfs) > 64:
            self._btfs.clear()

    def object_btf(self, address: int) -> Btf:
        """The BTF behind a ``struct btf *`` in guest memory; the kernel's own for its own.

        :raises BtfInvalid: when it is malformed.
        :raises UnreadableMemory: when the pointer is wild.
        """
        head = self.read(address, self.btf.size(self.struct("btf") or 0))
        number = {}
        for name in ("id", "data", "data_size", "base_btf"):
            place = self.need("btf", name)
            number[name] = int.from_bytes(head[place.offset :][: place.size], "little")
        key = (address, number["id"])
        if key not in self._btfs:
            if number["data"] == self.symbol("__start_BTF"):
                self._btfs[key] = self.btf
            elif len(self._btfs) >= _MAX_BTFS:
                raise BtfInvalid(f"more than {_MAX_BTFS} BTF objects")
            elif not 0 < number["data_size"] <= _MAX_OBJECT_BTF:
                raise BtfInvalid(f"BTF {number['id']} claims {number['data_size']} bytes")
            else:
                raw = self.read(number["data"], number["data_size"])
                self._btfs[key] = Btf(raw, self.btf if number["base_btf"] else None)
        return self._btfs[key]


def _program(memory: PhysicalMemory, info: Vmcoreinfo) -> drgn.Program:
    def read(address: int, count: int, offset: int, physical: bool) -> bytes:
        try:
            return memory.read(address, count)
        except ValueError as error:
            raise drgn.FaultError(str(error), address) from None

    prog = drgn.Program(drgn.Platform(drgn.Architecture.X86_64))
    for segment in memory.segments:
        prog.add_memory_segment(segment.address, segment.size, read, physical=True)
    try:
        prog.set_linux_kernel_custom(info.text, is_live=True)
    except (ValueError, LookupError, drgn.FaultError) as error:
        raise KernelUnfit(f"vmcoreinfo is not usable: {error}") from None
    return prog


def _resolve(symbols: Symbols, names: Iterable[str]) -> dict[str, int | None]:
    return {name: symbols.get(name) for name in sorted(names)}


def attach(
    memory: PhysicalMemory, vmcoreinfo: tuple[int, int], *, cache_dir: Path | None = None
) -> Kernel:
    """Read enough of the guest kernel to find everything else. Blocks; run it in a thread.

    :param vmcoreinfo: guest-physical address and size of the note, as the guest's
        ``/sys/kernel/vmcoreinfo`` shows them.
    :param cache_dir: where symbol addresses of known kernels are kept; ``None`` keeps nothing.
    :raises KernelUnfit: when the kernel lacks vmcoreinfo, kallsyms or BTF, or they are damaged.
    """
    info = read_vmcoreinfo(memory, *vmcoreinfo)
    path = cache_dir / "symbols" / f"{info.build_id}.json" if cache_dir and info.build_id else None
    stored = load_symbols(path, info.kaslr) if path else None
    program = cache(partial(_program, memory, info))
    try:
        # A file written before a reader needed one more symbol would cost every run kallsyms.
        if stored is not None and stored[0].keys() >= _SYMBOLS:
            try:
                kernel = Kernel(memory, info, Symbols(program, stored[0]))
                if kernel.btf_digest == stored[1]:
                    return kernel
            except (UnreadableMemory, BtfInvalid, KernelUnfit):
                pass  # the file is about some other kernel: read this one's own tables
        symbols = Symbols(program)
        known = _resolve(symbols, _SYMBOLS)
        kernel = Kernel(memory, info, symbols)
    except (UnreadableMemory, BtfInvalid) as error:
        raise KernelUnfit(
            f"kernel {info.release}: its tables cannot be read from guest memory: {error.message}",
            hint="the vmcoreinfo address must come from this boot of this guest",
        ) from None
    if path is not None:
        store_symbols(path, info.kaslr, known, kernel.btf_digest)
    return kernel
