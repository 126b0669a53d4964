# SPDX-License-Identifier: GPL-2.0-only
"""Why a scheduler was not loaded, out of logs that libbpf and the verifier wrote."""

import pytest

from ktstr.verdict.load_failure import MAX_NAMES, Absent, absent, mismatch, refusal

STRONG = """\
libbpf: extern (func ksym) 'scx_bpf_dispatch': not found in kernel or module BTFs
libbpf: failed to load BPF skeleton 'scx_simple': -3
../scx_simple.c:74 [scx panic]: No such process
"""
WEAK = """\
libbpf: prog 'quux_enqueue': BPF program load failed: Invalid argument
libbpf: prog 'quux_enqueue': -- BEGIN PROG LOAD LOG --
0: R1=ctx() R10=fp0
7: <invalid kfunc call>
kfunc 'scx_bpf_quux___v2' is referenced but wasn't resolved
processed 8 insns (limit 1000000) max_states_per_insn 0 total_states 0
-- END PROG LOAD LOG --
libbpf: prog 'quux_enqueue': failed to load: -22
"""


def test_a_missing_kfunc_is_named_however_it_was_declared() -> None:
    assert absent(STRONG) == [Absent("kfunc", "scx_bpf_dispatch")]
    assert absent(WEAK) == [Absent("kfunc", "scx_bpf_quux")]
    assert mismatch(STRONG, "6.12.95") == (
        "kernel 6.12.95 has no kfunc scx_bpf_dispatch; the scheduler was built for another kernel"
    )


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("extern (var ksym) 'scx_flick': not found in kernel BTF", "no variable scx_flick;"),
        (
            "struct_ops init_kern qmap_ops: Cannot find member sub_attach in kernel BTF",
            "no callback sub_attach;",
        ),
        (
            "struct_ops init_kern: struct sched_ext_ops is not found in kernel BTF",
            "no struct sched_ext_ops;",
        ),
        (
            "extern (func ksym) 'scx_bpf_kick_cpu': func_proto [31] incompatible with vmlinux [9]",
            "another kfunc scx_bpf_kick_cpu than",
        ),
        (
            "failed to resolve CO-RE relocation <byte_off> [18] struct task_struct.scx.flick (0:1)",
            "struct task_struct.scx.flick",
        ),
    ],
)
def test_what_else_a_kernel_may_lack_is_named(line: str, found: str) -> None:
    text = f"one\nlibbpf: {line}\nthree\n"
    why = mismatch(text, "7.2.13+deb14")
    assert why is not None and why.startswith("kernel 7.2.13+deb14 has ") and found in why


def test_many_missing_kfuncs_are_told_in_order_and_counted() -> None:
    line = "libbpf: extern (func ksym) 'scx_bpf_{}': not found in kernel or module BTFs\n"
    names = ["f", "a", "e", "b", "d", "a"]
    text = "".join(line.format(name) for name in names)
    assert [one.name for one in absent(text)] == [f"scx_bpf_{n}" for n in ("f", "a", "e", "b", "d")]
    why = mismatch(text, None)
    assert MAX_NAMES == 4
    assert why is not None and why.startswith(
        "the kernel has no kfunc scx_bpf_f, scx_bpf_a, scx_bpf_e, scx_bpf_b, and 1 more;"
    )


def test_a_log_about_something_else_says_nothing() -> None:
    for text in ("", "stats: local=3 global=4\n", "error: scx_foo is not found in kernel\n"):
        assert mismatch(text, "6.12") is None
        assert refusal(text) is None


def test_the_verifiers_reason_is_that_of_the_program_it_refused() -> None:
    accepted = "0: (95) exit\nR0 is fine\nprocessed 1 insns (limit 1000000)\n"
    assert refusal(accepted + WEAK) == "kfunc 'scx_bpf_quux___v2' is referenced but wasn't resolved"
    loader = "0: (85) call foo\nR1 is a scalar\nprocessed 9 insns (limit 1000000)\n"
    assert refusal(loader) == "R1 is a scalar"


def test_names_are_bounded_and_plain() -> None:
    long = f"extern (func ksym) '{'x' * 500}': not found in kernel or module BTFs"
    assert absent(long) == []
    assert absent("extern (func ksym) 'a\x1b[31m': not found in kernel or module BTFs") == []
