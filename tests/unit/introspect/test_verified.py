# SPDX-License-Identifier: GPL-2.0-only
"""BPF programs out of a canned kernel's ``prog_idr``."""

import struct
from typing import Any

import pytest

from ktstr.errors import KernelUnfit
from ktstr.introspect.verified import verified_programs
from ktstr.series.programs import VerifiedProgram
from ktstr.testing.ram import BtfBuilder

AUX, PROG = 96, 32
STRUCT_OPS, TRACING = 27, 26


def with_types(canned: Any, *, verified: bool = True) -> None:
    """The types of programs; offsets are of no real kernel."""

    def more(b: Any, bpf_map: int, u32: int, u64: int, ptr: int, char: int) -> None:
        b.enum("bpf_prog_type", 4, {"BPF_PROG_TYPE_STRUCT_OPS": 27, "BPF_PROG_TYPE_TRACING": 26})
        canned.value_type = b.composite(
            "sched_ext_ops", 24, [("enqueue", ptr, 0), ("dispatch", ptr, 64), ("flags", u64, 128)]
        )
        b.composite("bpf_prog", PROG, [
            ("len", u32, 0), ("type", u32, 32), ("expected_attach_type", u32, 64),
            ("aux", ptr, 128),
        ])  # fmt: skip
        members = [
            ("stack_depth", u32, 0), ("attach_btf_id", u32, 64), ("func_info", ptr, 128),
            ("btf", ptr, 192), ("attach_func_name", ptr, 256), ("name", b.array(char, 16), 320),
        ]  # fmt: skip
        if verified:
            members.append(("verified_insns", u32, 32))
        b.composite("bpf_prog_aux", AUX, members)
        b.composite("bpf_func_info", 8, [("insn_off", u32, 0), ("type_id", u32, 32)])

    canned.more_types = more


def add_program(
    canned: Any, name: str, *, kind: int = STRUCT_OPS, member: int = 0, insns: int = 10,
    verified: int = 20, stack: int = 8, table: int = 0, btf: int = 0, function: int = 0,
) -> int:  # fmt: skip
    aux = canned.alloc(
        AUX,
        struct.pack("<IIIxxxxQQQ16s", stack, verified, 0, table, btf, function, name.encode()),
    )
    return int(canned.alloc(PROG, struct.pack("<IIIxxxxQ", insns, kind, member, aux)))


def listed(canned: Any, programs: list[int]) -> Any:
    """The kernel with these programs; ids count from 0."""
    node = canned.alloc(8 + 64 * 8)
    for number, address in enumerate(programs):
        canned.poke(node + 8 + 8 * number, "Q", address)
    canned.symbols["prog_idr"] = canned.alloc(16, struct.pack("<IIQ", 0, 0, node | 2))
    kernel = canned.kernel()
    for address in programs:
        # The structure's type number is known once the types are built.
        (aux,) = struct.unpack("<Q", kernel.read(address + 16, 8))
        if aux:
            canned.poke(aux + 8, "I", canned.value_type)
    return kernel


def test_a_struct_ops_program_is_named_by_its_member(canned: Any) -> None:
    with_types(canned)
    first = add_program(canned, "a_dispatch", member=1, insns=40, verified=906, stack=24)
    second = add_program(canned, "b_enqueue")
    assert verified_programs(listed(canned, [first, second])) == (
        VerifiedProgram("a_dispatch", "struct_ops", "sched_ext_ops.dispatch", 40, 906, 24),
        VerifiedProgram("b_enqueue", "struct_ops", "sched_ext_ops.enqueue", 10, 20, 8),
    )


def test_another_program_is_named_by_the_function_it_traces(canned: Any) -> None:
    with_types(canned)
    text = canned.alloc(16, b"schedule\0rubbish")
    program = add_program(canned, "on_schedule", kind=TRACING, function=text)
    (found,) = verified_programs(listed(canned, [program]))
    assert (found.kind, found.attach) == ("tracing", "schedule")


def test_the_whole_name_comes_from_the_programs_own_types(canned: Any) -> None:
    with_types(canned)
    own = BtfBuilder()
    name = "a_name_that_is_longer_than_fifteen"
    function = own.add(12, name, own.add(13))  # FUNC of a FUNC_PROTO
    table = canned.alloc(8, struct.pack("<II", 0, function))
    program = add_program(canned, name[:15], table=table, btf=canned.add_btf(own.build()))
    (found,) = verified_programs(listed(canned, [program]))
    assert found.name == name


def test_a_kernel_that_does_not_count_leaves_the_count_unknown(canned: Any) -> None:
    with_types(canned, verified=False)
    (found,) = verified_programs(listed(canned, [add_program(canned, "x")]))
    assert (found.name, found.verified, found.insns) == ("x", None, 10)


@pytest.mark.parametrize("member", [3, 0xFFFFFFFF])
def test_a_member_that_is_none_costs_the_name_of_the_operation_alone(
    canned: Any, member: int
) -> None:
    with_types(canned)
    (found,) = verified_programs(listed(canned, [add_program(canned, "x", member=member)]))
    assert (found.name, found.attach, found.verified) == ("x", None, 20)


def test_wild_pointers_cost_what_they_lead_to(canned: Any) -> None:
    with_types(canned)
    wild = 0x10
    blurred = add_program(canned, "blurred", table=wild, btf=wild, kind=TRACING, function=wild)
    lost = add_program(canned, "lost")
    kernel = listed(canned, [blurred, lost])
    canned.poke(lost + 16, "Q", wild)
    assert verified_programs(kernel) == (VerifiedProgram("blurred", "tracing", None, 10, 20, 8),)


def test_a_kernel_without_such_structures_says_so(canned: Any) -> None:
    with pytest.raises(KernelUnfit, match="bpf_prog"):
        verified_programs(canned.kernel())
