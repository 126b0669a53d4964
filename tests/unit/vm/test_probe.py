# SPDX-License-Identifier: GPL-2.0-only
import os
import stat
import sys
from pathlib import Path

import pytest

from ktstr.errors import HostUnfit
from ktstr.vm import accel
from ktstr.vm.accel import choose_accelerator
from ktstr.vm.probe import firmware, trial_boot
from ktstr.vm.qemu import Qemu, find_qemu

pytestmark = pytest.mark.anyio


def fake_qemu(folder: Path, body: str) -> Path:
    """A program in QEMU's place that does what ``body`` says."""
    path = folder / "qemu-system-x86_64"
    path.write_text(f"#!{sys.executable} -S\nimport os, sys, time\n{body}\n")
    path.chmod(0o755)
    return path


GOOD = "os.write(1, b'ktstr\\n'); os._exit(99)"


def test_rom_starts_with_a_jump_at_the_reset_vector() -> None:
    rom = firmware()
    assert len(rom) == 65536
    # Near jump, 16-bit displacement from 0xfff3 back to 0xfe00.
    assert rom[0xFFF0:0xFFF3] == b"\xe9" + (0x10000 - 0x1F3).to_bytes(2, "little")
    assert rom[0xFE00] == 0xFA


async def test_exact_output_and_status_pass(tmp_path: Path) -> None:
    trial = await trial_boot(fake_qemu(tmp_path, GOOD), "kvm")
    assert (trial.ran, trial.detail) == (True, "")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("os.write(1, b'ktstr\\n'); os._exit(0)", "exited 0"),
        ("os.write(1, b'ktst'); os._exit(99)", "the guest wrote b'ktst'"),
        ("os.write(1, b'ktstr\\nktstr\\n'); os._exit(99)", "the guest wrote b'ktstr"),
        ("os._exit(99)", "the guest wrote nothing"),
        (
            "os.write(2, b'no\\nkvm'); os.abort()",
            "killed by SIGABRT, the guest wrote nothing; no kvm",
        ),
    ],
)
async def test_anything_else_fails(tmp_path: Path, body: str, said: str) -> None:
    trial = await trial_boot(fake_qemu(tmp_path, body), "kvm")
    assert not trial.ran
    assert said in trial.detail


async def test_hanging_guest_is_given_up(tmp_path: Path) -> None:
    body = f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    trial = await trial_boot(fake_qemu(tmp_path, body), "kvm", deadline_s=1.0)
    assert trial.detail == "did not finish within 1 s"
    assert not still_running(tmp_path / "pid")


def still_running(pid_file: Path) -> bool:
    return pid_file.exists() and Path("/proc", pid_file.read_text()).exists()


async def test_program_that_cannot_be_executed(tmp_path: Path) -> None:
    with pytest.raises(HostUnfit, match="cannot be started"):
        await trial_boot(tmp_path / "missing", "kvm")


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "kvm"
    path.touch()
    monkeypatch.setattr(accel, "_DEVICE", path)
    return path


async def test_auto_takes_kvm_when_the_trial_ran_and_remembers(
    tmp_path: Path, device: Path
) -> None:
    log = tmp_path / "calls"
    qemu = Qemu(fake_qemu(tmp_path, f"open({str(log)!r}, 'a').write('x'); {GOOD}"), None)
    for _ in range(3):
        chosen = await choose_accelerator("auto", cache_dir=tmp_path / "cache", qemu=qemu)
        assert chosen.name == "kvm"
        assert "trial guest ran" in chosen.reason
    assert log.read_text() == "x"
    # Another QEMU, another trial.
    os.utime(qemu.program, (1, 1))
    await choose_accelerator("auto", cache_dir=tmp_path / "cache", qemu=qemu)
    assert log.read_text() == "xx"


@pytest.mark.parametrize("rubbish", ["", "{", "[]", '{"key": 1, "obstacle": null}'])
async def test_rubbish_in_the_cache_means_a_new_trial(
    tmp_path: Path, device: Path, rubbish: str
) -> None:
    (tmp_path / "accelerator.json").write_text(rubbish)
    qemu = Qemu(fake_qemu(tmp_path, GOOD), None)
    chosen = await choose_accelerator("auto", cache_dir=tmp_path, qemu=qemu)
    assert chosen.name == "kvm"


async def test_unfit_kvm(tmp_path: Path, device: Path) -> None:
    qemu = Qemu(fake_qemu(tmp_path, "os.abort()"), None)
    chosen = await choose_accelerator("auto", cache_dir=tmp_path, qemu=qemu)
    assert chosen.name == "tcg"
    assert "KVM cannot be used: the trial guest ended wrongly" in chosen.reason
    with pytest.raises(HostUnfit, match="KVM was asked for and cannot be used: the trial guest"):
        await choose_accelerator("kvm", cache_dir=tmp_path, qemu=qemu)


async def test_cache_folder_that_refuses_is_no_obstacle(tmp_path: Path, device: Path) -> None:
    qemu = Qemu(fake_qemu(tmp_path, GOOD), None)
    blocked = tmp_path / "file"
    blocked.touch()
    chosen = await choose_accelerator("auto", cache_dir=blocked / "cache", qemu=qemu)
    assert chosen.name == "kvm"


async def test_without_a_device_nothing_is_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accel, "_DEVICE", tmp_path / "none")
    qemu = Qemu(tmp_path / "missing", None)
    chosen = await choose_accelerator("auto", cache_dir=tmp_path, qemu=qemu)
    assert chosen.reason == f"TCG, because KVM cannot be used: {tmp_path / 'none'} does not exist"


async def test_tcg_on_request_needs_no_trial(tmp_path: Path) -> None:
    chosen = await choose_accelerator("tcg", qemu=Qemu(tmp_path / "missing", None))
    assert chosen.name == "tcg"


def test_missing_qemu_names_the_package(tmp_path: Path) -> None:
    with pytest.raises(HostUnfit) as caught:
        find_qemu(str(tmp_path))
    assert "apt-get install qemu-system-x86" in str(caught.value)


def test_qboot_is_found_beside_the_program(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    program = fake_qemu(tmp_path / "bin", "")
    assert find_qemu(str(tmp_path / "bin")) == Qemu(program, None)
    rom = tmp_path / "share" / "qemu" / "qboot.rom"
    rom.parent.mkdir(parents=True)
    rom.touch()
    assert find_qemu(str(tmp_path / "bin")) == Qemu(program, rom, rom.parent)
    assert stat.S_ISREG(rom.stat().st_mode)
