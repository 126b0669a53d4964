# SPDX-License-Identifier: GPL-2.0-only
"""``ktstr resume`` and ``dump`` on checkpoints that cannot be used: exit 4, and why."""

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from ktstr.cli.main import main as ktstr
from ktstr.model.topology import Topology
from ktstr.vm.accel import Accelerator
from ktstr.vm.checkpoint import touched, write_checkpoint
from ktstr.vm.checkpoint_manifest import KernelFacts, MachineShape, Manifest, QemuVersion
from ktstr.vm.ram import MIB, GuestRam
from ktstr.vm.spec import VmSpec


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Of a guest that had not come far, with something in its reason that a terminal obeys."""
    spec = VmSpec(None, None, Topology.parse("1n1l2c1t"), Accelerator("tcg", ""), memory_mib=2)
    manifest = Manifest(
        scenario="mine",
        run_id="r1",
        moment="end of step 1",
        reason="no \x1b[31mtrust\nsecond line",
        elapsed_ms=952.4,
        kernel=KernelFacts(release="6.99"),
        qemu=QemuVersion(number="7.2.22", package="Debian"),
        machine=MachineShape.of(spec, 64),
    )
    path = tmp_path / "x.checkpoint"
    with GuestRam([2 * MIB]) as ram:
        write_checkpoint(path, manifest, touched(ram), b"devices")
    return path


@pytest.mark.parametrize("command", ["resume", "dump"])
@pytest.mark.parametrize(
    "content, words",
    [
        (None, "No such file"),
        (b"\x7fELF", "is no checkpoint"),
        (b"KTSTRCKP" + bytes(40), "is cut short"),
    ],
)
def test_a_file_that_is_none(
    tmp_path: Path, command: str, content: bytes | None, words: str
) -> None:
    path = tmp_path / "x.checkpoint"
    if content is not None:
        path.write_bytes(content)
    done = CliRunner().invoke(ktstr, [command, str(path)])
    assert (done.exit_code, words in done.output) == (4, True), done.output
    assert "Traceback" not in done.output


def test_a_guest_that_said_no_hello_cannot_be_dumped(checkpoint: Path) -> None:
    # Whatever the file is called.
    other = checkpoint.rename(checkpoint.with_suffix(".bin"))
    for command in (["dump"], ["dump", "--cpu", "0"]):
        done = CliRunner().invoke(ktstr, [*command, str(other)])
        assert done.exit_code == 4
        assert "had not said Hello" in done.output


def test_another_qemu_is_refused_after_telling_what_the_checkpoint_is(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "qemu-system-x86_64"
    program.write_text(f"#!{sys.executable} -S\nprint('QEMU emulator version 8.2.2')\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    done = CliRunner().invoke(ktstr, ["resume", str(checkpoint)])
    assert done.exit_code == 4
    assert done.output.splitlines() == [
        f"{checkpoint}: mine at the end of step 1, after 952 ms of workload (run r1)",
        "  no ?[31mtrust",
        "  kernel 6.99, topology 1n1l2c1t, 2 MiB, tcg, QEMU 7.2.22 (Debian)",
        f"error: {checkpoint} was taken by QEMU 7.2.22 (Debian); here is QEMU 8.2.2",
        "  hint: install that version, or try with --force",
    ]


def test_a_socket_that_nobody_listens_on(tmp_path: Path) -> None:
    done = CliRunner().invoke(ktstr, ["resume", str(tmp_path / "qmp.sock")])
    assert done.exit_code == 1
    assert "Is the ktstr-run that printed it still running?" in done.output
