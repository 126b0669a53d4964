# SPDX-License-Identifier: GPL-2.0-only
"""Freezes by job control: of a process whose threads write to memory, and of a scripted one."""

import mmap
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from ktstr.errors import GuestHung, QemuDied
from ktstr.vm import freeze as module
from ktstr.vm.freeze import Freezes
from ktstr.vm.process import Child, spawn

pytestmark = pytest.mark.anyio

COUNTERS = """
import mmap, sys, threading
shared = mmap.mmap(int(sys.argv[1]), 4096)
def count(at):
    while True:
        for value in range(256):
            shared[at] = value
for at in range(4):
    threading.Thread(target=count, args=(at,)).start()
"""


class Busy:
    """A process of four threads that never stop writing."""

    def __init__(self, child: Child, memory: mmap.mmap, exits: list[int]) -> None:
        self.child = child
        self.memory = memory
        self.exits = exits

    def changes(self, looks: int = 4000) -> int:
        """How many different values are seen."""
        return len({bytes(self.memory[:4]) for _ in range(looks)})

    async def runs(self) -> bool:
        with anyio.move_on_after(10):
            while self.changes() < 2:  # noqa: ASYNC110 - memory tells of no event
                await anyio.sleep(0.01)
            return True
        return False


@pytest.fixture
async def busy(tmp_path: Path) -> AsyncIterator[Busy]:
    fd = os.memfd_create("counters")
    os.truncate(fd, 4096)
    exits: list[int] = []
    command = (sys.executable, "-c", COUNTERS, str(fd))
    child = spawn(command, fds=[fd], output=tmp_path / "log", on_exit=exits.append)
    with mmap.mmap(fd, 4096) as memory:
        made = Busy(child, memory, exits)
        assert await made.runs()
        yield made
        await child.kill()
        child.close()
    os.close(fd)


async def test_no_thread_runs_inside_and_all_go_on_after(busy: Busy) -> None:
    freezes = Freezes(busy.child)
    for _ in range(50):
        seen: list[int] = []
        stood = await freezes.freeze(lambda seen=seen: seen.append(busy.changes(500)))
        assert seen == [1]
        assert 0 < stood.paused_ns <= stood.request_ns
    assert await busy.runs()
    assert busy.exits == []


async def test_whatever_the_copy_raises_the_process_goes_on(busy: Busy) -> None:
    def fail() -> None:
        raise RuntimeError("hostile")

    with pytest.raises(RuntimeError, match="hostile"):
        await Freezes(busy.child).freeze(fail)
    assert await busy.runs()


async def test_a_process_that_has_ended_is_told_of(busy: Busy) -> None:
    await busy.child.kill()
    with pytest.raises(QemuDied):
        await Freezes(busy.child).freeze(lambda: None)


async def test_killed_while_it_stands_it_is_gone(busy: Busy) -> None:
    await Freezes(busy.child).freeze(lambda: os.kill(busy.child.pid, 9))
    assert await busy.child.wait(5)
    assert busy.exits == [-9]


class Slow:
    """Stands after so many looks."""

    def __init__(self, looks: int) -> None:
        self.looks = looks
        self.log: list[str] = []

    def stop(self) -> None:
        self.log.append("stop")

    def stands(self) -> bool:
        self.looks -= 1
        return self.looks < 0

    def cont(self) -> None:
        self.log.append("cont")


async def test_a_slow_stop_is_waited_for_outside_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SPIN_S", 0.0)
    slow = Slow(20)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while slow.log[-1:] != ["cont"]:
            turns += 1
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as group:
        group.start_soon(others)
        await Freezes(slow).freeze(lambda: slow.log.append("act"))
    assert slow.log == ["stop", "act", "cont"]
    assert turns > 10


async def test_a_stop_that_never_comes_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DEADLINE_S", 0.05)
    never = Slow(1 << 30)
    with pytest.raises(GuestHung, match=r"did not stop within 0\.05 s"):
        await Freezes(never).freeze(lambda: never.log.append("act"))
    assert never.log == ["stop", "cont"]


async def test_cancelling_neither_skips_the_continue_nor_the_copy() -> None:
    slow = Slow(3)
    with anyio.move_on_after(0):
        await Freezes(slow).freeze(lambda: slow.log.append("act"))
    assert slow.log in ([], ["stop", "act", "cont"])


async def test_one_freeze_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SPIN_S", 0.0)
    slow = Slow(5)
    freezes = Freezes(slow)
    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(freezes.freeze, lambda: slow.log.append("act"))
    assert slow.log == ["stop", "act", "cont"] * 3
