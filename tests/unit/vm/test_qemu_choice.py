# SPDX-License-Identifier: GPL-2.0-only
"""Which QEMU counts instructions, and which one continues a checkpoint."""

from pathlib import Path

import pytest

from ktstr.errors import HostUnfit
from ktstr.kernels.apt import Progress
from ktstr.vm.checkpoint_manifest import QemuVersion
from ktstr.vm.qemu import Qemu, find_qemu, qemu_at
from ktstr.vm.qemu_choice import qemu_of_version, virtual_clock_qemu
from ktstr.vm.qemu_store import QemuStore
from ktstr.vm.qemu_version import numbers, shares_turns

pytestmark = pytest.mark.anyio


def program(folder: Path, version: str) -> Path:
    folder.mkdir(parents=True)
    path = folder / "qemu-system-x86_64"
    path.write_text(f"#!/bin/sh\necho 'QEMU emulator version {version}'\n")
    path.chmod(0o755)
    return path


class Store(QemuStore):
    """Has the QEMUs it is given; asked for one where it has none, it fails."""

    def __init__(self, *programs: Path) -> None:
        self.qemus = [Qemu(path, None) for path in programs]

    async def newest(self, progress: Progress | None = None, *, insist: bool = False) -> Qemu:
        if not self.qemus:
            raise HostUnfit("the index has none (7 s ago)")
        return self.qemus[-1]

    def kept(self) -> list[Qemu]:
        return self.qemus


class Untouched(Store):
    """Must not be asked."""

    async def newest(self, progress: Progress | None = None, *, insist: bool = False) -> Qemu:
        raise AssertionError("another QEMU was asked for")


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The host's QEMU, 7.2."""
    path = program(tmp_path / "bin", "7.2.22 (Debian 1:7.2)")
    monkeypatch.setenv("PATH", f"{path.parent}:/usr/bin:/bin")
    monkeypatch.delenv("KTSTR_QEMU", raising=False)
    return path


@pytest.mark.parametrize(
    ("version", "even"),
    [
        ("7.2.22", False),
        ("8.0.5", False),
        ("8.1.0", True),
        ("9.0", True),
        ("10.0.2", True),
        ("", False),
        ("odd", False),
    ],
)
def test_turns_are_shared_from_8_1_on(version: str, even: bool) -> None:
    assert shares_turns(QemuVersion(number=version)) is even


def test_a_version_as_numbers() -> None:
    assert numbers(QemuVersion(number="10.0.2-rc1")) == (10, 0, 2)


async def test_an_old_host_gets_the_newer_one(system: Path, tmp_path: Path) -> None:
    newer = program(tmp_path / "newer", "10.0.2")
    choice = await virtual_clock_qemu(store=Store(newer))
    assert (choice.qemu.program, choice.obstacle) == (newer, None)
    assert str(choice) == "QEMU 10.0.2 from bookworm-backports"


async def test_a_new_host_needs_no_other(
    system: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = program(tmp_path / "new", "8.1.0")
    monkeypatch.setenv("PATH", f"{path.parent}:/usr/bin:/bin")
    choice = await virtual_clock_qemu(store=Untouched())
    assert (choice.qemu.program, choice.obstacle, str(choice)) == (path, None, "QEMU 8.1.0")


async def test_where_none_can_be_had_the_old_one_runs_and_it_is_told(system: Path) -> None:
    choice = await virtual_clock_qemu(store=Store())
    assert (choice.qemu.program, choice.obstacle) == (system, "the index has none (7 s ago)")


@pytest.mark.parametrize(
    ("version", "obstacle"), [("7.2.1", "KTSTR_QEMU names it"), ("9.2.0", None)]
)
async def test_the_one_that_is_named_is_used(
    system: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    version: str,
    obstacle: str | None,
) -> None:
    path = program(tmp_path / "mine", version)
    monkeypatch.setenv("KTSTR_QEMU", str(path))
    choice = await virtual_clock_qemu(store=Untouched())
    assert (choice.qemu.program, choice.obstacle) == (path, obstacle)
    assert str(choice) == f"QEMU {version} named by KTSTR_QEMU"


async def test_a_checkpoint_goes_to_the_version_it_is_from(
    system: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = program(tmp_path / "newer", "10.0.2 (Debian)")
    broken = tmp_path / "broken"
    store = Store(broken, newer)
    found = [
        await qemu_of_version(QemuVersion(number=number), store=store)
        for number in ("7.2.22", "10.0.2", "9.9.9")
    ]
    # The last is nobody's: the host's own is refused then, by name.
    assert [qemu.program for qemu in found] == [system, newer, system]
    monkeypatch.setenv("KTSTR_QEMU", str(newer))
    assert (await qemu_of_version(QemuVersion(number="7.2.22"))).program == newer


def test_the_variable_comes_before_path_and_must_name_a_program(
    system: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = program(tmp_path / "mine", "9.2.0")
    monkeypatch.setenv("KTSTR_QEMU", str(mine))
    assert find_qemu().program == mine
    assert find_qemu(str(system.parent)).program == system
    monkeypatch.setenv("KTSTR_QEMU", "")
    assert find_qemu().program == system
    for wrong in (tmp_path / "none", tmp_path):
        monkeypatch.setenv("KTSTR_QEMU", str(wrong))
        with pytest.raises(HostUnfit, match=f"{wrong}, which KTSTR_QEMU names, is not a program"):
            find_qemu()


def test_one_that_lies_elsewhere_is_told_where_its_roms_are(tmp_path: Path) -> None:
    path = program(tmp_path / "usr" / "bin", "10.0.2")
    assert qemu_at(path) == Qemu(path, None) and qemu_at(path).options() == []
    data = tmp_path / "usr" / "share" / "qemu"
    data.mkdir(parents=True)
    assert qemu_at(path).options() == [("-L", str(data))]
    assert qemu_at(Path("/usr/bin/qemu-system-x86_64")).options() == []
