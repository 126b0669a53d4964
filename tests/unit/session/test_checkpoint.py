# SPDX-License-Identifier: GPL-2.0-only
"""When a run keeps checkpoints, and that whatever hinders it is a note and nothing more."""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from ktstr.errors import GuestHung, QemuDied, StateUnusable
from ktstr.model.topology import Topology
from ktstr.session import checkpoint as module
from ktstr.session.checkpoint import Checkpoints, firmware_bytes, host_cpu, qemu_version
from ktstr.session.recorder import Recorder
from ktstr.vm.accel import Accelerator
from ktstr.vm.checkpoint import Checkpoint
from ktstr.vm.checkpoint_manifest import QemuVersion
from ktstr.vm.ram import MIB, GuestRam
from ktstr.vm.spec import VmSpec

pytestmark = pytest.mark.anyio
VERSION = {"qemu": {"major": 7, "minor": 2, "micro": 22}, "package": "(Debian 1:7.2)"}


class Machine:
    """A machine that stands still, or whose QEMU is gone."""

    argv = ("qemu",)
    spec = VmSpec(None, None, Topology.parse("1n1l1c1t"), Accelerator("tcg", ""), memory_mib=2)

    def __init__(self, folder: Path, ram: GuestRam) -> None:
        self.console_log = folder / "console.log"
        self.ram = ram
        self.gone: Exception | None = None

    async def qmp(self, command: str, arguments: object = None) -> object:
        if self.gone is not None:
            raise self.gone
        return {"query-version": VERSION, "human-monitor-command": "RIP=1"}[command]


class Link:
    """The two waits of a step: that it begins, and that it ends before its last moment."""

    def __init__(self, begins: bool = True, ends_early: bool = False) -> None:
        self.answers = [begins, ends_early]
        self.deadlines: list[float] = []

    async def until(self, predicate: Any, deadline: float) -> bool:
        self.deadlines.append(deadline)
        return self.answers.pop(0)


@pytest.fixture
def ram() -> Iterator[GuestRam]:
    with GuestRam([2 * MIB]) as ram:
        ram.write(8192, b"then")
        yield ram


@pytest.fixture
def live(tmp_path: Path, ram: GuestRam, monkeypatch: pytest.MonkeyPatch) -> Any:
    async def save_state(machine: Machine, path: Path) -> int:
        return written(path)

    monkeypatch.setattr(module, "save_state", save_state)
    kernel = SimpleNamespace(spec="debian:7", release="7.2.13", digest="d1")
    scheduler = SimpleNamespace(kind="none", bpf=None, binary=None)
    return SimpleNamespace(
        machine=Machine(tmp_path, ram),
        recorder=Recorder({}),
        prepared=SimpleNamespace(kernel=kernel, image=SimpleNamespace(digest="i1")),
        definition=SimpleNamespace(
            scenario=SimpleNamespace(name="mine", scheduler=scheduler), holds_ms=(300.0, 1000.0)
        ),
        link=Link(),
    )


class Inspector:
    """Lets the machine stand still, and what is in RAM be overwritten afterwards."""

    def __init__(self, ram: GuestRam, error: Exception | None = None) -> None:
        self.ram = ram
        self.error = error

    @asynccontextmanager
    async def standing(self) -> AsyncIterator[None]:
        if self.error is not None:
            raise self.error
        yield
        self.ram.write(8192, b"NOW.")


def written(path: Path) -> int:
    """QEMU's part of a checkpoint, in a file."""
    return path.write_bytes(b"devices")


def files(folder: Path) -> list[Path]:
    """What is in a folder that may not be there."""
    return list(folder.iterdir()) if folder.exists() else []


def unheard(event: object) -> None:
    """Nobody looks at progress here."""


async def test_a_run_that_passed_keeps_nothing(live: Any, tmp_path: Path) -> None:
    kept = Checkpoints("r1", tmp_path / "mine-r1", on_fail=True)
    assert await kept.conclude(live, None, unheard) == []
    assert await Checkpoints("r1", tmp_path / "mine-r1").conclude(live, "it failed", unheard) == []
    assert files(tmp_path) == [] and live.recorder.notes == []


async def test_the_end_of_a_run_that_failed_is_kept(live: Any, tmp_path: Path) -> None:
    live.recorder.step_index = 2
    kept = Checkpoints("r1", tmp_path / "mine-r1", on_fail=True)
    target = tmp_path / "mine-r1.checkpoint"
    assert await kept.conclude(live, "it failed", unheard) == [str(target)]
    assert files(tmp_path) == [target]
    with Checkpoint(target) as found:
        told = found.manifest
        assert (told.scenario, told.run_id, told.step) == ("mine", "r1", 2)
        assert (told.moment, told.reason) == ("end of the run", "it failed")
        assert told.qemu == QemuVersion(number="7.2.22", package="Debian 1:7.2")
        assert (told.kernel.release, told.kernel.digest) == ("7.2.13", "d1")
        assert told.stateless is None and told.vmcoreinfo is None
        assert (found.state(), found.registers()) == (b"devices", "RIP=1")
        assert found.memory.read(8192, 4) == b"then"


async def test_a_steps_last_moment_is_what_was_there_then(
    live: Any, tmp_path: Path, ram: GuestRam
) -> None:
    live.recorder.step_starts[2] = 50.0
    kept = Checkpoints("r1", tmp_path / "mine-r1", step=2)
    await kept.keep_step(live, Inspector(ram), unheard)  # type: ignore[arg-type]
    # 50 s, one second of hold, and what it is taken ahead of the end.
    assert live.link.deadlines[1] == 51.0 - module.LEAD_S
    assert files(tmp_path) == [], "nothing is written while the guest runs"
    (target,) = await kept.conclude(live, None, unheard)
    assert Path(target) == tmp_path / "mine-r1.step2.checkpoint"
    with Checkpoint(Path(target)) as found:
        assert found.manifest.moment == "end of step 2"
        assert found.memory.read(8192, 4) == b"then"
    (note,) = live.recorder.notes
    assert note.startswith("checkpoint at the end of step 2: the guest stood still for ")


async def test_a_step_that_ended_early_is_told(live: Any, tmp_path: Path, ram: GuestRam) -> None:
    live.recorder.step_starts[1] = 0.0
    live.link = Link(ends_early=True)
    kept = Checkpoints("r1", tmp_path / "mine-r1", step=1)
    await kept.keep_step(live, Inspector(ram), unheard)  # type: ignore[arg-type]
    assert live.recorder.notes[0].endswith("the step's workers had been told to end")
    kept.close()


async def test_the_workload_clock_stands_while_a_step_is_taken(
    live: Any, tmp_path: Path, ram: GuestRam, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = live.recorder.clock
    seen = []

    async def save_state(machine: Machine, path: Path) -> int:
        seen.append(clock.running)
        return written(path)

    monkeypatch.setattr(module, "save_state", save_state)
    for runs in (True, False):
        if runs:
            clock.start(time.monotonic())
        else:
            clock.stop(time.monotonic())
        live.recorder.step_starts[1], live.link = 0.0, Link()
        kept = Checkpoints("r1", tmp_path / "mine-r1", step=1)
        await kept.keep_step(live, Inspector(ram), unheard)  # type: ignore[arg-type]
        kept.close()
        assert clock.running is runs
    assert seen == [False, False]


@pytest.mark.parametrize("error", [GuestHung("no answer"), ValueError("odd memory")])
async def test_a_step_that_cannot_be_taken_is_a_note(
    live: Any, tmp_path: Path, ram: GuestRam, error: Exception
) -> None:
    live.recorder.step_starts[1] = 0.0
    kept = Checkpoints("r1", tmp_path / "mine-r1", step=1)
    await kept.keep_step(live, Inspector(ram, error), unheard)  # type: ignore[arg-type]
    assert live.recorder.notes == [f"no checkpoint at the end of step 1: {error}"]
    assert await kept.conclude(live, None, unheard) == []


async def test_a_step_that_never_began_is_a_note(live: Any, tmp_path: Path, ram: GuestRam) -> None:
    live.link = Link(begins=False)
    kept = Checkpoints("r1", tmp_path / "mine-r1", step=2)
    await kept.keep_step(live, Inspector(ram), unheard)  # type: ignore[arg-type]
    assert await kept.conclude(live, "it failed", unheard) == []
    assert live.recorder.notes == ["no checkpoint at the end of step 2: it did not begin"]


@pytest.mark.parametrize("error", [QemuDied("QEMU was killed"), StateUnusable("QEMU was killed")])
async def test_without_devices_memory_is_kept(live: Any, tmp_path: Path, error: Exception) -> None:
    live.machine.gone = error
    kept = Checkpoints("r1", tmp_path / "mine-r1", on_fail=True)
    (target,) = await kept.conclude(live, "it failed", unheard)
    with Checkpoint(Path(target)) as found:
        assert found.manifest.stateless == "QEMU was killed"
        assert found.memory.read(8192, 4) == b"then"
    assert live.recorder.notes == ["mine-r1.checkpoint holds memory only: QEMU was killed"]


async def test_a_folder_that_refuses_is_a_note(live: Any, tmp_path: Path) -> None:
    written(tmp_path / "file")
    kept = Checkpoints("r1", tmp_path / "file" / "mine-r1", on_fail=True)
    assert await kept.conclude(live, "it failed", unheard) == []
    (note,) = live.recorder.notes
    assert note.startswith("no checkpoint at the end of the run: ") and "cannot be written" in note


async def test_an_interrupt_leaves_no_half_file(live: Any, tmp_path: Path, ram: GuestRam) -> None:
    ram.write(0, b"x" * MIB)
    kept = Checkpoints("r1", tmp_path / "out" / "mine-r1", on_fail=True)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await kept.conclude(live, "it failed", unheard)
    assert scope.cancelled_caught
    assert files(tmp_path / "out") == []


@pytest.mark.parametrize("reply", [None, {}, {"qemu": 7}, []])
def test_a_version_that_is_none(reply: object) -> None:
    with pytest.raises(Exception, match="does not tell its version"):
        qemu_version(reply)


def test_facts_of_the_host(tmp_path: Path) -> None:
    rom = tmp_path / "q.rom"
    rom.write_bytes(bytes(77))
    assert firmware_bytes(("qemu", "-bios", str(rom), "-S")) == 77
    assert firmware_bytes(("qemu", "-S")) is None
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: Xeon: 9\n")
    assert host_cpu(tmp_path / "cpuinfo") == "Xeon: 9"
    assert host_cpu(tmp_path / "none") == ""
