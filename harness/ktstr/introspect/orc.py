# SPDX-License-Identifier: GPL-2.0-only
"""Unwinding with the kernel's own ORC tables, read from its memory.

ORC is what the kernel itself unwinds with: for each range of instructions it says where the
caller's stack pointer and return address are (arch/x86/include/asm/orc_types.h,
arch/x86/kernel/unwind_orc.c). drgn takes the tables from a debug file only, which we do not have.
"""

import struct
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from ktstr.errors import KernelUnfit
from ktstr.introspect.kernel import Kernel
from ktstr.introspect.memory import UnreadableMemory

MAX_TABLE: Final = 64 << 20
"""Bytes that either table may have; a distribution kernel's have 1.6 and 2.4 MiB."""

_MASK = (1 << 64) - 1
_ENTRY = struct.Struct("<hhH")
_SP, _BP, _PREV_SP, _SP_INDIRECT, _BP_INDIRECT = "rsp", "rbp", "caller", "[rsp]", "[rbp]"
_ENCODINGS = (
    {1: _PREV_SP, 2: "rdx", 3: "rdi", 4: _BP, 5: _SP, 6: "r10", 7: "r13"}
    | {8: _BP_INDIRECT, 9: _SP_INDIRECT},
    # Read out of the tables of a 7.2 kernel, whose header has other numbers.
    {2: "rdx", 3: _SP, 4: _BP, 6: "r10", 7: "r13", 8: _PREV_SP, 9: _SP_INDIRECT, 10: _BP_INDIRECT},
)
"""Registers by their number in an entry, which neither BTF nor kallsyms tell."""
_SAMPLED = 4096
_END_OF_STACK, _CALL, _REGS, _REGS_PARTIAL = 1, 2, 3, 4
_PT_REGS = {"rdx": "dx", "rdi": "di", "r10": "r10", "r13": "r13"}
_IP_IN_IRET, _CS_IN_IRET, _SP_IN_IRET = 0, 8, 24


class NoUnwind(Exception):
    """The stack cannot be followed further; the text says why."""


@dataclass(slots=True)
class Place:
    """Where an unwinding is.

    :param signal: whether ``ip`` was interrupted there, so that it is no return address.
    :param registers: those that are known beside the three, by name.
    :param method: how the place was found.
    """

    ip: int
    sp: int
    bp: int
    signal: bool = False
    registers: Mapping[str, int] = field(default_factory=dict)
    method: str = "register"


class Entry(NamedTuple):
    """One line of the table.

    :param kind: whether a call, an interrupt or nothing came before.
    :param sp_base: what the caller's stack pointer is counted from; :param bp_base: where the
        caller's frame pointer was saved, counted from; empty when it was not touched.
    :param signal: whether the address found is one of an interrupted instruction.
    """

    kind: int
    sp_base: str
    sp_offset: int
    bp_base: str
    bp_offset: int
    signal: bool


class OrcTable:
    """The tables of the kernel image; those of modules are not read.

    :raises KernelUnfit: when this kernel has none, or none that are as expected.
    :raises UnreadableMemory: when they cannot be read.
    """

    def __init__(self, kernel: Kernel) -> None:
        names = ("__start_orc_unwind_ip", "__stop_orc_unwind_ip", "__start_orc_unwind")
        first, end, entries = (kernel.symbol(name) for name in names)
        if first is None or end is None or entries is None:
            raise KernelUnfit(f"kernel {kernel.release} has no ORC tables (CONFIG_UNWINDER_ORC)")
        type_id = kernel.struct("orc_entry")
        length = end - first
        if not 0 < length <= MAX_TABLE or (type_id and kernel.btf.size(type_id) != _ENTRY.size):
            raise KernelUnfit(f"kernel {kernel.release} has ORC tables of another form")
        self._first = first
        self._kernel = kernel
        raw = array("i")
        raw.frombytes(kernel.read(first, length & ~3))
        # Each offset counts from its own place in the table.
        self._starts = array("q", (4 * at + offset for at, offset in enumerate(raw)))
        self._entries = entries
        self._registers = self._encoding(min(len(raw), _SAMPLED))

    def _encoding(self, count: int) -> Mapping[int, str]:
        """By far most entries count from the stack pointer, so its number is the commonest."""
        raw = self._kernel.read(self._entries, count * _ENTRY.size)
        numbers = [flags & 15 for _, _, flags in _ENTRY.iter_unpack(raw) if flags >> 8 & 7 == _CALL]
        for encoding in _ENCODINGS:
            if numbers and encoding.get(max(set(numbers), key=numbers.count)) == _SP:
                return encoding
        raise KernelUnfit(f"kernel {self._kernel.release} has ORC tables of another form")

    def entry(self, address: int) -> Entry | None:
        """What the table says of an instruction; ``None`` where it says nothing."""
        at = bisect_right(self._starts, address - self._first) - 1
        if at < 0:
            return None
        raw = self._kernel.read(self._entries + _ENTRY.size * at, _ENTRY.size)
        sp_offset, bp_offset, flags = _ENTRY.unpack(raw)
        kind = flags >> 8 & 7
        if not kind:
            return None
        name = self._registers.get
        sp_base, bp_base = name(flags & 15, ""), name(flags >> 4 & 15, "")
        return Entry(kind, sp_base, sp_offset, bp_base, bp_offset, bool(flags >> 11 & 1))


class Unwinder:
    """Follows kernel stacks of one guest that stands still.

    :param is_start: whether an address is the first instruction of a function.
    """

    def __init__(
        self, kernel: Kernel, table: OrcTable | None, is_start: Callable[[int], bool]
    ) -> None:
        self._kernel = kernel
        self._table = table
        self._is_start = is_start
        pairs = (("_stext", "_etext"), ("_sinittext", "_einittext"))
        bounds = [(kernel.symbol(low), kernel.symbol(high)) for low, high in pairs]
        # The idle task of the first CPU was called by code that is gone after the boot.
        self._text = [(low, high) for low, high in bounds if low is not None and high is not None]

    def is_text(self, address: int) -> bool:
        """Whether an address is one of the kernel image's code."""
        return any(low <= address < high for low, high in self._text)

    def follow(self, place: Place) -> Iterator[Place]:
        """Every place from this one outwards; the caller bounds how many.

        :raises NoUnwind: where it cannot go on though there should be more.
        """
        here: Place | None = place
        while here is not None:
            yield here
            try:
                here = self._caller(here)
            except UnreadableMemory as error:
                raise NoUnwind(error.message) from None

    def _caller(self, here: Place) -> Place | None:
        # A return address may lie behind its function's last instruction.
        looked_up = here.ip if here.signal else here.ip - 1
        in_image = self.is_text(looked_up)
        found = self._table.entry(looked_up) if self._table is not None and in_image else None
        if found is None and here.signal and self._is_start(here.ip):
            # Thunks of indirect calls have no ORC data, and interrupts like to come at them: QEMU
            # looks for one after each jump. Nothing has been pushed since the call.
            return Place(self._word(here.sp), here.sp + 8, here.bp, method="orc")
        if found is None:
            return self._by_frame_pointer(here)
        if found.kind == _END_OF_STACK:
            return None
        base = self._stack_base(here, found)
        if base & 7:
            raise NoUnwind(f"a stack pointer of {base:#x}")
        registers: Mapping[str, int] = {}
        if found.kind == _CALL:
            ip, sp = self._word(base - 8), base
        elif found.kind in (_REGS, _REGS_PARTIAL):
            frame = base
            if found.kind == _REGS:
                registers, frame = self._saved_registers(base)
            if self._word(frame + _CS_IN_IRET) & 3:
                return None  # it came from user space
            ip, sp = self._word(frame + _IP_IN_IRET), self._word(frame + _SP_IN_IRET)
        else:
            raise NoUnwind(f"ORC entry of unknown type {found.kind}")
        bp = registers.get(_BP, here.bp)
        if found.bp_base == _PREV_SP:
            bp = self._word(base + found.bp_offset)
        elif found.bp_base == _BP:
            bp = self._word(here.bp + found.bp_offset)
        signal = found.signal and found.kind != _CALL
        return Place(ip, sp, bp, signal, registers, "orc")

    def _stack_base(self, here: Place, found: Entry) -> int:
        if found.sp_base == _SP:
            base = here.sp + found.sp_offset
        elif found.sp_base == _BP:
            base = here.bp + found.sp_offset
        elif found.sp_base == _SP_INDIRECT:
            base = self._word(here.sp) + found.sp_offset
        elif found.sp_base == _BP_INDIRECT:
            base = self._word(here.bp + found.sp_offset)
        elif found.sp_base in here.registers:
            base = here.registers[found.sp_base] + found.sp_offset
        else:
            raise NoUnwind(f"the stack pointer was in {found.sp_base or 'an unknown place'}")
        return base & _MASK

    def _saved_registers(self, address: int) -> tuple[dict[str, int], int]:
        """Registers of a ``struct pt_regs``, and the address of its part that iret takes."""
        need = self._kernel.need
        try:
            saved = {
                name: self._word(address + need("pt_regs", member).offset)
                for name, member in (*_PT_REGS.items(), ("rbp", "bp"))
            }
            return saved, address + need("pt_regs", "ip").offset
        except KernelUnfit as error:
            raise NoUnwind(error.message) from None

    def _by_frame_pointer(self, here: Place) -> Place | None:
        """What the kernel does for code without ORC data, such as BPF programs."""
        if here.bp < here.sp or here.bp - here.sp > 1 << 14 or here.bp & 7:
            raise NoUnwind(f"nothing is known of the code at {here.ip:#x}")
        return Place(
            self._word(here.bp + 8),
            here.bp + 16,
            self._word(here.bp),
            method="frame-pointer",
        )

    def _word(self, address: int) -> int:
        return self._kernel.read_unsigned(address & _MASK, 8)
