# SPDX-License-Identifier: GPL-2.0-only
"""What launch() does when QEMU does not come up: a small program stands in QEMU's place."""

import os
import sys
from pathlib import Path

import anyio
import pytest

from ktstr.errors import HostUnfit, KernelUnfit, QemuDied
from ktstr.model.topology import Topology
from ktstr.vm.accel import Accelerator
from ktstr.vm.launch import launch
from ktstr.vm.qemu import Qemu
from ktstr.vm.spec import VmSpec

pytestmark = pytest.mark.anyio


@pytest.fixture
def spec(tmp_path: Path) -> VmSpec:
    for name in ("kernel", "initrd"):
        (tmp_path / name).touch()
    return VmSpec(
        tmp_path / "kernel",
        tmp_path / "initrd",
        Topology.parse("1n1l1c1t"),
        Accelerator("tcg", ""),
        memory_mib=16,
    )


def program(folder: Path, body: str) -> Qemu:
    path = folder / "qemu"
    path.write_text(f"#!{sys.executable} -S\nimport os, sys, time, signal\n{body}\n")
    path.chmod(0o755)
    return Qemu(path, None)


def memory_files() -> set[int]:
    """Inodes of the memory files this process holds; other tests may have left some."""
    inodes = set()
    for fd in os.listdir("/proc/self/fd"):
        path = Path("/proc/self/fd", fd)
        if path.is_symlink() and "memfd:ktstr" in os.readlink(path):
            inodes.add(path.stat().st_ino)
    return inodes


def running(pid_file: Path) -> bool:
    return pid_file.exists() and Path("/proc", pid_file.read_text()).exists()


async def attempt(spec: VmSpec, folder: Path, qemu: Qemu) -> None:
    async with launch(spec, folder, qemu=qemu):
        raise AssertionError("nothing was there to launch")


async def test_refusal_is_shown(spec: VmSpec, tmp_path: Path) -> None:
    qemu = program(tmp_path, "sys.stderr.write('qemu: no such thing\\n'); os._exit(1)")
    before = memory_files()
    with pytest.raises(HostUnfit, match="refused to start this machine\n  qemu: qemu: no such"):
        await attempt(spec, tmp_path, qemu)
    assert memory_files() <= before


async def test_death_by_signal_is_not_a_refusal(spec: VmSpec, tmp_path: Path) -> None:
    qemu = program(tmp_path, "sys.stderr.write('kvm: oh\\n'); sys.stderr.flush(); os.abort()")
    with pytest.raises(QemuDied, match="killed by SIGABRT\n  qemu: kvm: oh"):
        await attempt(spec, tmp_path, qemu)


async def test_cancelled_while_it_does_not_answer(spec: VmSpec, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    qemu = program(
        tmp_path, f"open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    )
    before = memory_files()
    with anyio.move_on_after(0.5) as scope:
        await attempt(spec, tmp_path, qemu)
    assert scope.cancelled_caught
    assert memory_files() <= before
    assert not running(pid_file)


@pytest.mark.parametrize("missing", ["kernel", "initrd"])
async def test_missing_files_are_named(spec: VmSpec, tmp_path: Path, missing: str) -> None:
    (tmp_path / missing).unlink()
    with pytest.raises(KernelUnfit, match=f"{missing} is not a file"):
        await attempt(spec, tmp_path, program(tmp_path, ""))


async def test_program_that_is_gone(spec: VmSpec, tmp_path: Path) -> None:
    with pytest.raises(HostUnfit, match="refused to start"):
        await attempt(spec, tmp_path, Qemu(tmp_path / "gone", None))
