# SPDX-License-Identifier: GPL-2.0-only
"""Unwinding by canned ORC tables, and what is shown where they end; QEMU's registers."""

import struct
from types import SimpleNamespace
from typing import Any

import pytest

from ktstr.errors import KernelUnfit
from ktstr.introspect import stacks as module
from ktstr.introspect.memory import UnreadableMemory
from ktstr.introspect.orc import OrcTable
from ktstr.introspect.registers import parse_registers
from ktstr.introspect.stacks import MAX_FRAMES, MAX_SCANNED, Stacks
from ktstr.series.dump.parts import TaskState, VcpuRegisters

TEXT, TABLE, ENTRIES, STACK, TASK = 0x10000, 0x200000, 0x300000, 0x400000, 0x500000
FIELDS = {
    ("task_struct", "thread.sp"): 8,
    ("inactive_task_frame", "bp"): 8,
    ("inactive_task_frame", "ret_addr"): 16,
    ("pt_regs", "dx"): 0, ("pt_regs", "di"): 8, ("pt_regs", "r10"): 16, ("pt_regs", "r13"): 24,
    ("pt_regs", "bp"): 32, ("pt_regs", "ip"): 40,
}  # fmt: skip
# Registers as 7.2 numbers them: 3 the stack pointer, 4 the base pointer, 8 the caller's.
NEW = {"sp": 3, "bp": 4, "prev": 8}
OLD = {"sp": 5, "bp": 4, "prev": 1}
CALL, REGS, END = 2 << 8, 3 << 8, 1 << 8
T = TaskState(7, 7, "t")


class Canned:
    """Memory by address, functions of 0x100 bytes from TEXT on: f0, f1, …"""

    release = "canned"

    def __init__(self, rows: list[tuple[int, int, int, int]], numbers: dict[str, int]) -> None:
        """:param rows: start, offset of the stack pointer, of the base pointer, flags."""
        self.bytes: dict[int, int] = {}
        # So that the stack pointer's number is the commonest, as in any kernel.
        rows = rows + [(TEXT + 0x8000 + n, 8, 0, numbers["sp"] | CALL) for n in range(20)]
        for n, (start, sp, bp, flags) in enumerate(rows):
            self.put(TABLE + 4 * n, struct.pack("<i", start - (TABLE + 4 * n)))
            self.put(ENTRIES + 6 * n, struct.pack("<hhH", sp, bp, flags))
        self.symbols: dict[str, int] = {
            "__start_orc_unwind_ip": TABLE,
            "__stop_orc_unwind_ip": TABLE + 4 * len(rows),
            "__start_orc_unwind": ENTRIES,
            "_stext": TEXT,
            "_etext": TEXT + 0x10000,
        }
        self.btf = SimpleNamespace(size=lambda type_id: {1: 6, 2: 24}[type_id])

    def put(self, address: int, data: bytes) -> None:
        self.bytes |= {address + n: byte for n, byte in enumerate(data)}

    def words(self, address: int, *values: int) -> None:
        self.put(address, struct.pack(f"<{len(values)}Q", *values))

    def symbol(self, name: str) -> int | None:
        return self.symbols.get(name)

    def struct(self, name: str) -> int | None:
        return {"orc_entry": 1, "inactive_task_frame": 2}.get(name)

    def need(self, struct_name: str, path: str) -> Any:
        return SimpleNamespace(offset=FIELDS[struct_name, path])

    def read(self, address: int, length: int) -> bytes:
        try:
            return bytes(self.bytes[address + n] for n in range(length))
        except KeyError:
            raise UnreadableMemory(f"nothing is mapped at {address:#x}") from None

    def read_unsigned(self, address: int, size: int) -> int:
        return int.from_bytes(self.read(address, size), "little")


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    def code_at(kernel: Any, address: int) -> str | None:
        number, inside = divmod(address - TEXT, 0x100)
        return f"f{number}+{inside:#x}" if 0 <= number < 0x100 else None

    monkeypatch.setattr(module, "code_at", code_at)


def stacks_of(canned: Any) -> Stacks:
    return Stacks(canned)


def sleeping(kernel: Canned, stack: list[int], bp: int = 0) -> Any:
    """The trace of a task that was switched away from in f0, with ``stack`` above its frame."""
    kernel.words(TASK + 8, STACK)
    kernel.words(STACK, 0, bp, TEXT + 0x20, *stack)
    return stacks_of(kernel).of_task(T, TASK)


def shown(trace: Any) -> list[str]:
    return [frame.in_words() for frame in trace.frames]


@pytest.mark.parametrize("numbers", [NEW, OLD], ids=["new", "old"])
def test_calls_are_followed_to_the_end_of_the_stack(numbers: dict[str, int]) -> None:
    sp, bp, prev = numbers["sp"], numbers["bp"], numbers["prev"]
    kernel = Canned(
        [
            (TEXT, 16, 0, sp | CALL),
            (TEXT + 0x100, 24, -16, sp | prev << 4 | CALL),  # saved its caller's base pointer
            (TEXT + 0x200, 16, -16, bp | prev << 4 | CALL),  # counts from that
            (TEXT + 0x300, 0, 0, END),
        ],
        numbers,
    )
    frame = STACK + 24
    # f0: one word, then its return address; f1: saved base pointer, then the return address.
    stack = [
        0xAA,
        TEXT + 0x140,
        0xBB,
        frame + 56,
        TEXT + 0x2FF + 1 - 0x80,
        0xCC,
        0xDD,
        0,
        TEXT + 0x310,
    ]
    trace = sleeping(kernel, stack)
    assert trace.note is None
    assert shown(trace) == ["f0+0x20", "f1+0x40", "f2+0x80", "f3+0x10"]
    assert [frame.method for frame in trace.frames] == ["saved", "orc", "orc", "orc"]
    assert trace.method == "orc"


def test_a_call_as_the_last_instruction_belongs_to_its_function() -> None:
    kernel = Canned(
        [(TEXT, 8, 0, 3 | CALL), (TEXT + 0x100, 8, 0, 3 | CALL), (TEXT + 0x200, 0, 0, END)], NEW
    )
    trace = sleeping(kernel, [TEXT + 0x200, TEXT + 0x210])
    assert shown(trace) == ["f0+0x20", "f1+0x100", "f2+0x10"]


def test_an_interrupt_leads_to_the_instruction_it_came_at_and_another_stack() -> None:
    kernel = Canned(
        [
            (TEXT, 0, 0, 3 | REGS | 1 << 11),
            (TEXT + 0x100, 8, 0, 3 | CALL),
            (TEXT + 0x200, 0, 0, END),
        ],
        NEW,
    )
    other = STACK + 0x1000
    kernel.words(other, TEXT + 0x210)
    # pt_regs: dx, di, r10, r13, bp, then what iret takes: ip, cs, flags, sp, ss.
    regs = [0, 0, 0, 0, 0x55, TEXT + 0x100, 0x10, 0, other, 0x18]
    trace = sleeping(kernel, regs)
    assert shown(trace) == ["f0+0x20", "f1+0x0", "f2+0x10"]


def test_an_interrupt_at_a_function_without_orc_goes_on_where_it_was_called() -> None:
    rows = [(TEXT, 0, 0, 3 | REGS | 1 << 11), (TEXT + 0x100, 0, 0, 0), (TEXT + 0x200, 0, 0, END)]
    other = STACK + 0x1000

    def trace(inside: int) -> Any:
        kernel = Canned(rows, NEW)
        kernel.words(other, TEXT + 0x210)
        # A base pointer that would lead elsewhere.
        kernel.words(other + 0x100, 0, TEXT + 0x310)
        regs = [0, 0, 0, 0, other + 0x100, TEXT + 0x100 + inside, 0x10, 0, other, 0x18]
        return sleeping(kernel, regs)

    assert shown(trace(0)) == ["f0+0x20", "f1+0x0", "f2+0x10"]
    assert shown(trace(1))[2] != "f2+0x10"


def test_an_interrupt_out_of_user_space_ends_the_stack() -> None:
    kernel = Canned([(TEXT, 0, 0, 3 | REGS | 1 << 11)], NEW)
    trace = sleeping(kernel, [0, 0, 0, 0, 0, 0x400123, 0x33, 0, 0x7FFF, 0x2B])
    assert (shown(trace), trace.note) == (["f0+0x20"], None)


def test_code_without_orc_is_followed_by_frame_pointer() -> None:
    kernel = Canned([(TEXT, 0, 0, 0), (TEXT + 0x100, 0, 0, END)], NEW)
    trace = sleeping(kernel, [0xAA, 0, TEXT + 0x110], bp=STACK + 32)
    assert shown(trace) == ["f0+0x20", "f1+0x10"]
    assert trace.frames[1].method == "frame-pointer"


def test_where_nothing_leads_on_words_are_shown_as_doubtful() -> None:
    kernel = Canned([(TEXT, 0, 0, 0)], NEW)
    words = [0xAA, TEXT + 0x150, 0xBB, TEXT + 0x250]
    trace = sleeping(kernel, words)
    assert shown(trace) == ["f0+0x20", "? f1+0x50", "? f2+0x50"]
    assert trace.note is not None and "look like return addresses" in trace.note
    assert trace.method == "scan"
    many = sleeping(kernel, [TEXT + 0x150] * 100)
    assert len(many.frames) == 1 + MAX_SCANNED


def test_a_stack_that_leads_into_itself_is_cut() -> None:
    kernel = Canned([(TEXT, 8, 0, 3 | CALL), (TEXT + 0x100, 16, -16, 4 | 8 << 4 | CALL)], NEW)
    frame = STACK + 24
    trace = sleeping(kernel, [TEXT + 0x110, frame + 8, TEXT + 0x110], bp=frame + 8)
    assert (len(trace.frames), trace.note) == (MAX_FRAMES, f"cut after {MAX_FRAMES} frames")


def test_wild_pointers_are_told() -> None:
    kernel = Canned([(TEXT, 8, 0, 3 | CALL)], NEW)
    kernel.words(TASK + 8, 0x66660000)
    trace = stacks_of(kernel).of_task(T, TASK)
    assert trace.frames == () and "nothing is mapped at 0x66660010" in str(trace.note)


def test_a_cpu_in_user_space_has_no_kernel_stack() -> None:
    stacks = stacks_of(Canned([], NEW))
    assert stacks.of_vcpu(T, VcpuRegisters(0, cpl=3)).note == "it runs in user space"
    assert "not read" in str(stacks.of_vcpu(T, VcpuRegisters(0, cpl=0, values={"rip": 1})).note)


def test_a_cpu_in_the_kernel_starts_at_its_instruction() -> None:
    kernel = Canned([(TEXT, 8, 0, 3 | CALL), (TEXT + 0x100, 0, 0, END)], NEW)
    kernel.words(STACK, TEXT + 0x110)
    values = {"rip": TEXT, "rsp": STACK, "rbp": 0}
    trace = stacks_of(kernel).of_vcpu(T, VcpuRegisters(0, cpl=0, values=values))
    assert shown(trace) == ["f0+0x0", "f1+0x10"]


def test_tables_of_another_form_are_not_used() -> None:
    kernel: Any = Canned([], {"sp": 12})
    with pytest.raises(KernelUnfit, match="another form"):
        OrcTable(kernel)
    assert "another form" in str(Stacks(kernel).unavailable)
    del kernel.symbols["__start_orc_unwind"]
    assert "CONFIG_UNWINDER_ORC" in str(Stacks(kernel).unavailable)


REGISTERS = """
CPU#0
RAX=0000000000000001 RBX=0000000000000002 RCX=0000000000000003 RDX=0000000000000004
R8 =0000000000000005 R9 =0000000000000006 R10=0000000000000007 R11=0000000000000008
RIP=ffffffff81000010 RFL=00000282 [--S----] CPL=0 II=0 A20=1 SMM=0 HLT=1
CS =0010 0000000000000000 ffffffff 00af9b00 DPL=0 CS64 [-RA]
GS =0000 ffff888000100000 00000000 00000000
CR0=80050033 CR2=00007fd586c69000 CR3=0000000006840000 CR4=00750ef0
EFER=0000000000000d01
XMM00=0000000000000000 0000000000000000
CPU#1
RIP=0000000000401000 RFL=00000246 [---Z-P-] CPL=3 II=0 A20=1 SMM=0 HLT=0
GS =0000 0000000000000000 00000000 00000000
"""


def test_registers_are_taken_by_name() -> None:
    first, second = parse_registers(REGISTERS, {1: 0xFFFF888000100000})
    # The GS base is that of CPU 1, whatever QEMU calls its vCPU.
    assert (first.cpu, first.cpl, first.halted) == (1, 0, True)
    assert first.values == {
        "rax": 1, "rbx": 2, "rcx": 3, "rdx": 4, "r8": 5, "r9": 6, "r10": 7, "r11": 8,
        "rip": 0xFFFFFFFF81000010, "rflags": 0x282, "cs": 0x10, "cs_base": 0, "gs": 0,
        "gs_base": 0xFFFF888000100000, "cr0": 0x80050033, "cr2": 0x7FD586C69000,
        "cr3": 0x6840000, "cr4": 0x750EF0, "efer": 0xD01,
    }  # fmt: skip
    assert (second.cpu, second.cpl, second.halted) == (1, 3, False)
    assert parse_registers("unknown command: info registers") == ()


def test_a_stack_that_was_aligned_anew_is_left_through_the_base_pointer() -> None:
    # 10: the word at the base pointer's offset is the caller's stack pointer.
    kernel = Canned(
        [
            (TEXT, -8, 0, 10 | 4 << 4 | CALL),
            (TEXT + 0x100, 16, -16, 4 | 8 << 4 | CALL),
            (TEXT + 0x200, 0, 0, END),
        ],
        NEW,
    )

    def at(index: int) -> int:
        return STACK + 24 + 8 * index

    stack = [0xAA, at(5), at(6), 0xBB, TEXT + 0x110, 0xCC, 0, TEXT + 0x210]
    trace = sleeping(kernel, stack, bp=at(2))
    assert shown(trace) == ["f0+0x20", "f1+0x10", "f2+0x10"]
    assert trace.note is None
