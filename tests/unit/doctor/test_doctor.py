# SPDX-License-Identifier: GPL-2.0-only
"""What the doctor finds, and what it says to do."""

import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from ktstr.cli.doctor import doctor
from ktstr.daemon.client import Health
from ktstr.daemon.version import API, package, stamp, version
from ktstr.doctor import emulator, examine, host, programs, service
from ktstr.doctor.finding import Finding, Grade, worst
from ktstr.errors import HostUnfit
from ktstr.session.room import Room
from ktstr.vm.accel import Accelerator


def test_the_worst_finding_decides() -> None:
    some = [
        Finding("a", Grade.HINT, "x"),
        Finding("b", Grade.LIMIT, "y"),
        Finding("c", Grade.FINE, "z"),
    ]
    assert worst(some) is Grade.LIMIT
    assert worst([]) is Grade.FINE
    assert examine.verdict(some) == "scenarios run here, with limits: b"
    assert examine.verdict([Finding("c", Grade.GAP, "")]) == "scenarios cannot run here: c"
    assert examine.verdict([]) == "scenarios run here"


def test_memory_for_no_guest_is_a_gap() -> None:
    def graded(free: int | None) -> Grade:
        return worst([each for each in host.machine(Room(4, free)) if each.topic == "memory"])

    assert graded(703) is Grade.GAP
    assert graded(704) is Grade.FINE
    assert graded(None) is Grade.LIMIT


def test_a_busy_host_is_a_limit() -> None:
    assert host.load(8, 4.0).grade is Grade.FINE
    assert host.load(8, 4.1).grade is Grade.LIMIT
    # One busy CPU of two is what a run itself leaves behind.
    assert host.load(1, 1.0).grade is Grade.FINE


def test_a_full_disk_is_a_gap_with_a_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: _Usage(free=99 << 20))
    cache, scratch = host.disk(tmp_path / "not" / "there", tmp_path)
    assert (cache.grade, scratch.grade) == (Grade.GAP, Grade.GAP)
    assert "XDG_CACHE_HOME" in cache.fix
    assert "TMPDIR" in scratch.fix


def test_a_folder_that_cannot_be_seen_is_a_gap(tmp_path: Path) -> None:
    # A name that is too long is refused to every user; a folder of another's not to root.
    cache, scratch = host.disk(tmp_path / ("x" * 300) / "ktstr", tmp_path)
    assert (cache.grade, scratch.grade) == (Grade.GAP, Grade.FINE)
    assert "XDG_CACHE_HOME" in cache.fix


def test_what_cannot_be_looked_at_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise PermissionError(13, "Permission denied", "/run/user/1/ktstr/daemon.sock")

    async def refusing() -> AsyncIterator[Finding]:
        yield Finding("QEMU", Grade.FINE, "8.2")
        raise HostUnfit("the QEMU in the cache does not tell its version")

    monkeypatch.setattr(service, "daemon", broken)
    monkeypatch.setattr(emulator, "emulator", refusing)
    done = CliRunner().invoke(doctor, ["--json"])
    findings = json.loads(done.stdout)["findings"]
    told = {each["topic"]: each for each in findings if "cannot be looked at" in each["found"]}
    assert told.keys() == {"QEMU", "daemon"}
    assert "does not tell its version" in told["QEMU"]["found"]
    assert told["daemon"]["grade"] == "limit"


class _Usage:
    def __init__(self, free: int) -> None:
        self.free = free


def test_leases_that_are_off_are_a_limit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KTSTR_LEASES", "off")
    assert host.leases().grade is Grade.LIMIT
    monkeypatch.setenv("KTSTR_LEASES", str(tmp_path / "leases"))
    assert host.leases().grade is Grade.FINE
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("KTSTR_LEASES", str(tmp_path / "file" / "leases"))
    assert host.leases().grade is Grade.LIMIT


def test_an_old_python_is_a_gap() -> None:
    assert programs.python((3, 10, 9)).grade is Grade.GAP
    assert programs.python((3, 11, 0)).grade is Grade.FINE


def test_missing_compilers_are_named_in_one_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    found = programs.guest_tools()
    assert found.grade is Grade.GAP
    assert found.fix == "sudo apt-get install binutils clang-19 gcc make"


async def test_no_qemu_is_a_gap_and_ends_the_look_at_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing() -> None:
        raise HostUnfit("qemu-system-x86_64 is not in PATH")

    monkeypatch.setattr(emulator, "find_qemu", nothing)
    (found,) = [finding async for finding in emulator.emulator()]
    assert found.grade is Grade.GAP
    assert found.fix.startswith("sudo apt-get install qemu-system-x86")


async def test_tcg_is_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    async def tcg(wanted: str, qemu: object) -> Accelerator:
        return Accelerator("tcg", "TCG, because KVM cannot be used: it is not there")

    monkeypatch.setattr(emulator, "choose_accelerator", tcg)
    monkeypatch.setattr(emulator, "_kvm_fix", lambda: "sudo modprobe kvm_intel")
    found = [finding async for finding in emulator.emulator()][-1]
    assert (found.grade, found.fix) == (Grade.LIMIT, "sudo modprobe kvm_intel")


def test_what_may_bring_kvm(tmp_path: Path) -> None:
    cpuinfo, gone = tmp_path / "cpuinfo", tmp_path / "kvm"
    cpuinfo.write_text("flags\t\t: fpu vmx sse\n")
    assert emulator._kvm_fix(gone, cpuinfo) == "sudo modprobe kvm_intel"
    cpuinfo.write_text("flags\t\t: fpu svm sse\n")
    assert emulator._kvm_fix(gone, cpuinfo) == "sudo modprobe kvm_amd"
    cpuinfo.write_text("flags\t\t: fpu sse\n")
    assert emulator._kvm_fix(gone, cpuinfo) == ""
    # A device that opens, and a trial guest that died all the same.
    gone.write_text("")
    assert emulator._kvm_fix(gone, cpuinfo) == ""


def test_the_command_tells_and_exits_by_the_gaps(monkeypatch: pytest.MonkeyPatch) -> None:
    done = CliRunner().invoke(doctor, ["--json"])
    document = json.loads(done.stdout)
    topics = [finding["topic"] for finding in document["findings"]]
    assert topics[:2] == ["Python", "QEMU"]
    assert {"CPUs", "memory", "cache", "leases", "guest tools", "kernels"} <= set(topics)
    gaps = [each for each in document["findings"] if each["grade"] == "gap"]
    assert done.exit_code == (4 if gaps else 0)

    monkeypatch.setattr(programs, "python", lambda: Finding("Python", Grade.GAP, "old", "get one"))
    done = CliRunner().invoke(doctor)
    assert done.exit_code == 4
    assert "→ get one" in done.stdout
    assert "cannot run here: Python" in done.stdout.splitlines()[-1]


def test_no_daemon_is_no_gap(tmp_path: Path) -> None:
    assert service.daemon(tmp_path / "d.sock").grade is Grade.FINE


def test_a_daemon_that_does_not_answer_or_is_another_is_a_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "d.sock"
    monkeypatch.delenv("KTSTR_NO_DAEMON", raising=False)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        monkeypatch.setattr(service.Daemon, "health", lambda self: None)
        assert "does not answer" in service.daemon(path).found
        health = Health(API, "0.0", "/elsewhere", 1, 77, True)
        monkeypatch.setattr(service.Daemon, "health", lambda self: health)
        found = service.daemon(path)
        assert found.grade is Grade.LIMIT
        assert "process 77" in found.found
        assert found.fix == "systemctl --user restart ktstr"
        own = Health(API, version(), package(), stamp(), 78, True)
        monkeypatch.setattr(service.Daemon, "health", lambda self: own)
        assert service.daemon(path).grade is Grade.FINE
        assert "takes runs" in service.daemon(path).found
