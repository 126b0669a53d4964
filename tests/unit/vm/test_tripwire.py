# SPDX-License-Identifier: GPL-2.0-only
"""Halting a thread at a write: of a real process that counts in shared memory."""

import mmap
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from ktstr.errors import GuestHung, GuestLost, HostUnfit, QemuDied
from ktstr.vm.process import Child, spawn
from ktstr.vm.ram import Segment
from ktstr.vm.tripwire import Tripwire, host_address

pytestmark = pytest.mark.anyio

WORD = 4096 + 64
LAST = 2_000_000

COUNTER = f"""
import ctypes, mmap, sys, threading
shared = mmap.mmap(int(sys.argv[1]), 8192)
word = ctypes.c_uint64.from_buffer(shared, {WORD})
beside = ctypes.c_uint64.from_buffer(shared, {WORD + 8})
def count():
    # The process's first thread is not the one, as it is not in QEMU.
    ctypes.c_uint64.from_buffer(shared, 0).value = threading.get_native_id()
    while not beside.value:
        pass
    for value in range(1, {LAST + 1}):
        word.value = value
        beside.value = value + 1
threading.Thread(target=count).start()
"""


class Counting:
    """A process that counts, in place of QEMU, with what a tripwire asks of a machine."""

    def __init__(self, child: Child, memory: mmap.mmap, fd: int, exits: list[int]) -> None:
        self.child, self.memory, self.exits = child, memory, exits
        self.pid = child.pid
        self.ram = SimpleNamespace(fds=(fd,), segments=(Segment(0x1000_0000, 8192, 0),))
        self.thread = 0
        self.threads: object = None
        self.stopped = 0

    async def qmp(self, command: str) -> object:
        assert command == "query-cpus-fast"
        return self.threads

    async def stop(self) -> None:
        self.stopped += 1

    def value(self, at: int = WORD) -> int:
        return int.from_bytes(self.memory[at : at + 8], "little")

    async def ready(self) -> None:
        for _ in range(2000):
            if self.value(0):
                return
            await anyio.sleep(0.01)
        pytest.fail("the process does not begin")

    def begin(self) -> None:
        self.memory[WORD + 8] = 1

    async def stands(self) -> bool:
        seen = set()
        for _ in range(5):
            seen.add((self.value(), self.value(WORD + 8)))
            await anyio.sleep(0.01)
        return len(seen) == 1


ADDRESS = 0x1000_0000 + WORD


@pytest.fixture
async def counting(tmp_path: Path) -> AsyncIterator[Any]:
    fd = os.memfd_create("ktstr-ram0")
    os.ftruncate(fd, 8192)
    memory = mmap.mmap(fd, 8192)
    exits: list[int] = []
    command = (sys.executable, "-c", COUNTER, str(fd))
    child = spawn(command, fds=(fd,), output=tmp_path / "log", on_exit=exits.append)
    machine = Counting(child, memory, fd, exits)
    with anyio.fail_after(20):
        await machine.ready()
    machine.thread = machine.value(0)
    machine.threads = [{"cpu-index": n, "thread-id": machine.thread} for n in range(2)]
    yield machine
    await child.kill()
    child.close()
    memory.close()
    os.close(fd)


async def test_it_halts_after_the_very_write_and_goes_on_as_if_nothing_had_been(
    counting: Any,
) -> None:
    async with Tripwire(counting) as wire:
        await wire.watch(ADDRESS)
        counting.begin()
        for wanted in (1, 2, 500, 501):
            await wire.run(lambda wanted=wanted: counting.value() >= wanted, 30)
            # The word beside it is written next, and was not.
            assert (counting.value(), counting.value(WORD + 8)) == (wanted, wanted)
            assert await counting.stands()
        await wire.let_go()
        with anyio.fail_after(30):
            await counting.child.wait(30)
    assert counting.exits == [0]
    assert counting.value() == LAST


async def test_it_stands_from_the_blocks_beginning_and_runs_on_after_it(counting: Any) -> None:
    counting.begin()
    async with Tripwire(counting):
        assert await counting.stands()
    await counting.child.wait(30)
    assert counting.exits == [0]


async def test_what_does_not_come_in_time_is_told_and_the_thread_stands(counting: Any) -> None:
    async with Tripwire(counting) as wire:
        await wire.watch(ADDRESS)
        with pytest.raises(GuestHung, match="did not come that far"):
            await wire.run(lambda: True, 0.05)
        counting.begin()
        assert await counting.stands()
        await wire.run(lambda: True, 30)
        assert counting.value() == 1


async def test_a_cancelled_run_leaves_nothing_behind(counting: Any) -> None:
    with anyio.move_on_after(0.1) as scope:
        async with Tripwire(counting) as wire:
            await wire.watch(ADDRESS)
            counting.begin()
            await wire.run(lambda: False, 3600)
    assert scope.cancelled_caught
    await counting.child.wait(30)
    assert counting.exits == [0]


async def test_a_process_that_dies_meanwhile_is_told_to_everybody(counting: Any) -> None:
    async with Tripwire(counting) as wire:
        os.kill(counting.pid, signal.SIGKILL)
        with pytest.raises(QemuDied):
            await wire.run(lambda: False, 30)
        # A thread that its tracer did not bury would keep the process from ending.
        assert await counting.child.wait(20)
    assert counting.exits == [-9]


async def test_a_pause_is_asked_for_before_the_thread_is_let_go(counting: Any) -> None:
    async with Tripwire(counting) as wire:
        await wire.watch(ADDRESS)
        counting.begin()
        await wire.run(lambda: counting.value() == 7, 30)
        await wire.pause()
        assert counting.stopped == 1
    await counting.child.wait(30)
    assert counting.exits == [0]


async def test_vcpus_on_several_threads_are_refused(counting: Any) -> None:
    counting.threads = [{"thread-id": counting.pid}, {"thread-id": counting.thread}]
    with pytest.raises(HostUnfit, match="one thread"):
        async with Tripwire(counting):
            pass


TRACER = """
import ctypes, sys
print(ctypes.CDLL(None).ptrace(0x4206, int(sys.argv[1]), 0, 0), flush=True)
sys.stdin.read()
"""


@contextmanager
def traced_by_another(thread: int) -> Iterator[None]:
    tracer = subprocess.Popen(
        [sys.executable, "-c", TRACER, str(thread)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert tracer.stdout is not None
    try:
        assert tracer.stdout.readline() == b"0\n"
        yield
    finally:
        tracer.communicate()


async def test_a_thread_that_may_not_be_traced_is_a_sentence(counting: Any) -> None:
    # One that somebody else traces is refused as one that a policy protects.
    with (
        traced_by_another(counting.thread),
        pytest.raises(HostUnfit, match=r"cannot be halted"),
    ):
        async with Tripwire(counting):
            pass


@pytest.mark.parametrize("address", [0x1000_0000 - 8, 0x1000_0000 + 8192, 0x1000_0000 + 3])
async def test_what_is_no_word_of_ram_cannot_be_watched(counting: Any, address: int) -> None:
    with pytest.raises(GuestLost, match=f"0x{address:x}"):
        host_address(counting, address)
