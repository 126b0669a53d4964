# SPDX-License-Identifier: GPL-2.0-only
"""Which QEMU may take a checkpoint over, and what it is given."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ktstr.errors import CheckpointUnusable, HostUnfit
from ktstr.model.topology import Topology
from ktstr.vm import resume as module
from ktstr.vm.accel import Accelerator
from ktstr.vm.checkpoint import Checkpoint, touched, write_checkpoint
from ktstr.vm.checkpoint_manifest import KernelFacts, MachineShape, Manifest, QemuVersion
from ktstr.vm.qemu import Qemu
from ktstr.vm.qemu_version import installed_version, parsed_version
from ktstr.vm.ram import MIB, GuestRam
from ktstr.vm.resume import check_version, resumed
from ktstr.vm.spec import VmSpec

pytestmark = pytest.mark.anyio

OLD = QemuVersion(number="7.2.22", package="Debian 1:7.2")


def taken(
    folder: Path, accel: str = "tcg", state: bytes | None = b"devices", firmware: int | None = 64
) -> Checkpoint:
    """A checkpoint of a small machine."""
    spec = VmSpec(None, None, Topology.parse("1n1l1c1t"), Accelerator("tcg", ""), memory_mib=2)
    shape = MachineShape.of(spec, firmware).model_copy(update={"accelerator": accel})
    manifest = Manifest(
        scenario="s", run_id="r", moment="m", kernel=KernelFacts(), qemu=OLD, machine=shape
    )
    with GuestRam([2 * MIB]) as ram:
        ram.write(8192, b"seen")
        write_checkpoint(folder / "x.checkpoint", manifest, touched(ram), state)
    return Checkpoint(folder / "x.checkpoint")


def stand_in(folder: Path, body: str) -> Qemu:
    """A program in QEMU's place; ``arguments`` are its own."""
    path = folder / "qemu"
    head = "import os, pathlib, sys\narguments = sys.argv[1:]\n"
    path.write_text(f"#!{sys.executable} -S\n{head}{body}\n")
    path.chmod(0o755)
    return Qemu(path, Path("/nowhere/qboot.rom"))


def noted(folder: Path) -> list[str]:
    """What the program in QEMU's place was given."""
    return (folder / "qemu.argv").read_text().splitlines()


TELLS = "if '--version' in arguments: print('QEMU emulator version {}'); sys.exit()"


@pytest.mark.parametrize(
    "said, number, package",
    [
        ("QEMU emulator version 7.2.22 (Debian 1:7.2+x)\nCopyright", "7.2.22", "Debian 1:7.2+x"),
        ("QEMU emulator version 10.0.2\n", "10.0.2", ""),
        ("QEMU emulator version 9.2.50 (v9.2.0-1-gabc)", "9.2.50", "v9.2.0-1-gabc"),
    ],
)
def test_qemus_version_is_read(said: str, number: str, package: str) -> None:
    assert parsed_version(said) == QemuVersion(number=number, package=package)


@pytest.mark.parametrize("said", ["", "QEMU emulator version ", "bash: not found"])
def test_no_version_is_an_error(said: str) -> None:
    with pytest.raises(HostUnfit, match="version is not told"):
        parsed_version(said)


def test_another_version_is_refused_and_both_are_named() -> None:
    check_version("x", OLD, QemuVersion(number="7.2.22", package="Ubuntu"))
    with pytest.raises(CheckpointUnusable) as refused:
        check_version("x", OLD, QemuVersion(number="8.2.2"))
    assert "7.2.22 (Debian 1:7.2)" in str(refused.value) and "8.2.2" in str(refused.value)
    assert "--force" in str(refused.value)


async def test_a_program_that_tells_no_version(tmp_path: Path) -> None:
    with pytest.raises(HostUnfit):
        await installed_version(tmp_path / "missing")
    with pytest.raises(HostUnfit):
        await installed_version(stand_in(tmp_path, "sys.exit(3)").program)


async def test_another_version_is_not_started(tmp_path: Path) -> None:
    qemu = stand_in(tmp_path, TELLS.format("8.2.2") + "\npathlib.Path(__file__ + '.ran').touch()")
    with taken(tmp_path) as checkpoint, pytest.raises(CheckpointUnusable, match=r"8\.2\.2"):
        async with resumed(checkpoint, tmp_path, qemu=qemu):
            raise AssertionError("it was refused")
    assert not (tmp_path / "qemu.ran").exists()


@pytest.mark.parametrize("size", [64, None])
async def test_force_starts_it_and_what_qemu_says_is_told(tmp_path: Path, size: int | None) -> None:
    body = "pathlib.Path(__file__ + '.argv').write_text(chr(10).join(arguments))\n"
    body += "print('no such device', file=sys.stderr); sys.exit(1)"
    qemu = stand_in(tmp_path, TELLS.format("8.2.2") + "\n" + body)
    with (
        taken(tmp_path, firmware=size) as checkpoint,
        pytest.raises(HostUnfit, match="no such device"),
    ):
        roms = replace(qemu, data=tmp_path)
        async with resumed(checkpoint, tmp_path, force=True, qemu=roms):
            raise AssertionError("it died")
    given = noted(tmp_path)
    assert given[given.index("-L") + 1] == str(tmp_path)
    assert "-kernel" not in given and "-incoming" in given
    if size is None:
        assert "-bios" not in given
    else:
        # The size of what it had, whatever this host has installed.
        assert os.stat(given[given.index("-bios") + 1]).st_size == size


async def test_memory_alone_cannot_be_resumed(tmp_path: Path) -> None:
    qemu = stand_in(tmp_path, TELLS.format("7.2.22"))
    with (
        taken(tmp_path, state=None) as checkpoint,
        pytest.raises(CheckpointUnusable, match="memory only"),
    ):
        async with resumed(checkpoint, tmp_path, qemu=qemu):
            raise AssertionError("there are no devices")


async def test_kvm_needs_kvm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def obstacle(qemu: Qemu) -> str:
        return "/dev/kvm does not exist"

    monkeypatch.setattr(module, "kvm_obstacle", obstacle)
    qemu = stand_in(tmp_path, TELLS.format("7.2.22"))
    with (
        taken(tmp_path, accel="kvm") as checkpoint,
        pytest.raises(HostUnfit, match="/dev/kvm does not exist"),
    ):
        async with resumed(checkpoint, tmp_path, qemu=qemu):
            raise AssertionError("there is no KVM")
