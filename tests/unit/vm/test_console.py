# SPDX-License-Identifier: GPL-2.0-only
from pathlib import Path

from ktstr.vm.console import panic_message, tail, tail_lines

LOG = """\
[    1.0] hello
[    2.0] BUG: kernel NULL pointer dereference, address: 0000000000000000
[    2.1] Oops: Oops: 0002 [#1] SMP NOPTI
[    2.2] Kernel panic - not syncing: Fatal exception\r
[    2.3] Rebooting in 1 seconds..
"""


def test_panic_with_its_cause() -> None:
    assert panic_message(LOG) == (
        "BUG: kernel NULL pointer dereference, address: 0000000000000000; "
        "Kernel panic - not syncing: Fatal exception"
    )


def test_panic_without_cause() -> None:
    assert (
        panic_message("Kernel panic - not syncing: sysrq triggered crash\n")
        == "Kernel panic - not syncing: sysrq triggered crash"
    )


def test_an_oops_alone_is_no_panic() -> None:
    assert panic_message("BUG: something\nOops: x\n") is None
    assert panic_message("") is None


def test_panic_text_is_bounded_and_printable() -> None:
    message = panic_message("Kernel panic - not syncing: \x1b[31m" + "x" * 5000)
    assert message is not None
    assert len(message) < 300
    assert "\x1b" not in message


def test_tail_is_bounded(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"a" * 100 + b"\xff" + b"b" * 10)
    assert tail(log, 11) == "\N{REPLACEMENT CHARACTER}" + "b" * 10
    assert tail(tmp_path / "missing") == ""


def test_tail_lines_drop_feature_noise_and_control_characters(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(
        "qemu: warning: TCG doesn't support requested feature: CPUID.07H:EBX.avx512f [bit 16]\n"
        "qemu: warning: host doesn't support requested feature: CPUID.01H:ECX.pni [bit 0]\n"
        "\n"
        "qemu: \x1b[2Jcould not load\n"
        "last\n"
    )
    assert tail_lines(log) == ("qemu: ?[2Jcould not load", "last")
    assert tail_lines(log, 1) == ("last",)


def test_lines_behind_a_mark_are_left_out(tmp_path: Path) -> None:
    log = tmp_path / "console.log"
    log.write_text("one\ntwo\n[ 1.0] the mark\nthree\n")
    assert tail_lines(log, until="the mark") == ("one", "two")
    assert tail_lines(log, 1, until="the mark") == ("two",)
    assert tail_lines(log, until="no such mark")[-1] == "three"
