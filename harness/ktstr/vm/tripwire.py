# SPDX-License-Identifier: GPL-2.0-only
"""Halts a guest at a chosen write of its own, without guest or QEMU noticing.

A guest with a virtual clock runs on one thread of QEMU, and what that thread does follows from the
instructions executed. So the thread may be halted from outside for as long as one likes: neither
guest nor QEMU can tell (docs/decisions/0024). The rest of QEMU lives on meanwhile.
"""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

import anyio

from ktstr.errors import GuestHung, GuestLost, HostUnfit, KtstrError, QemuDied
from ktstr.vm.machine import Machine
from ktstr.vm.ptrace import WORD, Traced

_T = TypeVar("_T")

HALT_S: Final = 10.0
"""How long the thread may take to halt when it is told to."""

_NAP_S: Final = 0.0001
"""Between two looks whether the thread halted."""

_FUTEX: Final = "202 "
"""How proc_pid_syscall(5) shows a thread in futex(2)."""

_STOPPING_S: Final = 5.0
_STOPPING_LOOKS: Final = 5
_LOOK_S: Final = 0.01


class Tripwire:
    """The halted thread that runs all vCPUs of a machine; inside its ``async with`` block.

    It stands from the block's beginning on, and whenever :meth:`run` returns.

    :raises HostUnfit: when this host cannot do that.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._tracer = ThreadPoolExecutor(1, "tripwire")
        self._traced: Traced | None = None
        self._leave = False
        self._halted = False

    async def __aenter__(self) -> Self:
        thread = await _vcpu_thread(self._machine)
        try:
            await self._do(lambda: self._seize(thread))
        except BaseException:
            self._tracer.shutdown(wait=False)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leave = True
        with anyio.CancelScope(shield=True):
            try:
                await self._do(self._release)
            except KtstrError:
                pass  # QEMU is gone
            finally:
                self._tracer.shutdown(wait=False)

    async def watch(self, address: int) -> None:
        """Halt at writes to the 8 bytes at this guest-physical address from now on.

        :raises HostUnfit: when the CPU has no debug register for it.
        """
        place = host_address(self._machine, address)
        await self._do(lambda: self._need().watch(place))

    async def run(self, enough: Callable[[], bool], timeout_s: float) -> None:
        """Let the guest run up to the write after which ``enough()`` holds.

        :param enough: called in another thread after each write, while the guest stands.
        :raises GuestHung: there is none in time; the guest stands.
        :raises QemuDied: QEMU is gone.
        """
        self._leave = False
        try:
            await self._do(lambda: self._run(enough, time.monotonic() + timeout_s))
        except asyncio.CancelledError:
            self._leave = True
            raise

    async def let_go(self) -> None:
        """Watch no more: the guest runs on by itself.

        :raises QemuDied: QEMU is gone.
        """
        await self._do(self._release)

    async def pause(self) -> None:
        """Have QEMU pause the machine where its guest stands, and let go of it.

        The vCPU goes on to the end of the block of instructions it stands in, always the same one.

        :raises GuestLost: QEMU does not.
        """
        async with anyio.create_task_group() as group:
            group.start_soon(self._machine.stop)
            await self._stopping()
            await self.let_go()

    async def _stopping(self) -> None:
        """Wait until QEMU's main thread waits for the vCPUs to stop."""
        seen = 0
        with anyio.move_on_after(_STOPPING_S):
            for _ in range(int(_STOPPING_S / _LOOK_S)):
                seen = seen + 1 if _waits(self._machine.pid) else 0
                if seen == _STOPPING_LOOKS:
                    return
                await anyio.sleep(_LOOK_S)

    async def _do(self, act: Callable[[], _T]) -> _T:
        return await asyncio.wrap_future(self._tracer.submit(self._or_bury, act))

    # -- in the tracer's thread ----------------------------------------------------------------

    def _or_bury(self, act: Callable[[], _T]) -> _T:
        try:
            return act()
        except QemuDied:
            traced, self._traced = self._traced, None
            # Until its tracer has seen a thread end, its process has not ended for anybody.
            until = time.monotonic() + HALT_S
            while traced is not None and time.monotonic() < until and not traced.ended():
                time.sleep(_NAP_S)
            raise

    def _need(self) -> Traced:
        if self._traced is None or not self._halted:
            raise GuestLost("the guest does not stand")
        return self._traced

    def _seize(self, thread: int) -> None:
        self._traced = Traced(thread)
        self._traced.interrupt()
        self._wait(time.monotonic() + HALT_S, lambda signal: signal == 0)

    def _run(self, enough: Callable[[], bool], until: float) -> None:
        traced = self._need()

        def is_it(number: int) -> bool:
            return number == signal.SIGTRAP and traced.hit() and enough()

        self._halted = False
        traced.go_on()
        if self._wait(until, is_it):
            return
        self._halt(traced)
        raise GuestHung("the guest's clock did not come that far in time")

    def _halt(self, traced: Traced) -> None:
        traced.interrupt()
        if not self._wait(time.monotonic() + HALT_S, lambda number: number == 0, always=True):
            raise GuestHung(f"QEMU's thread did not halt within {HALT_S:g} s")

    def _wait(self, until: float, is_it: Callable[[int], bool], *, always: bool = False) -> bool:
        """Whether the thread halted for the reason waited for."""
        traced = self._traced
        assert traced is not None
        while time.monotonic() < until and (always or not self._leave):
            number = traced.halted()
            if number is None:
                time.sleep(_NAP_S)
            elif is_it(number):
                self._halted = True
                return True
            else:
                # A trap is ours alone; any other signal was meant for the thread.
                traced.go_on(0 if number == signal.SIGTRAP else number)
        return False

    def _release(self) -> None:
        traced = self._traced
        if traced is None:
            return
        if not self._halted:
            self._halt(traced)
        traced.release()
        self._traced = None


def _waits(pid: int) -> bool:
    """Whether a process's main thread waits for another thread."""
    try:
        return Path(f"/proc/{pid}/task/{pid}/syscall").read_text().startswith(_FUTEX)
    except OSError:
        return False


async def _vcpu_thread(machine: Machine) -> int:
    """The thread that runs all vCPUs."""
    found = await machine.qmp("query-cpus-fast")
    threads = {cpu.get("thread-id") for cpu in found} if isinstance(found, list) else set()
    (thread,) = threads if len(threads) == 1 else (None,)
    if not isinstance(thread, int):
        raise HostUnfit("QEMU does not run all vCPUs on one thread")
    return thread


def host_address(machine: Machine, address: int) -> int:
    """Where guest-physical ``address`` is in QEMU's own memory.

    :raises GuestLost: when it is not, or not for a whole word.
    """
    ram = machine.ram
    for part in ram.segments:
        if part.address <= address and address + WORD <= part.address + part.size:
            offset = part.offset + address - part.address
            inode = os.fstat(ram.fds[part.backing]).st_ino
            break
    else:
        raise GuestLost(f"guest-physical 0x{address:x} is no RAM")
    if address % WORD:
        raise GuestLost(f"guest-physical 0x{address:x} is no multiple of {WORD}")
    try:
        maps = Path(f"/proc/{machine.pid}/maps").read_text()
    except OSError as error:
        raise QemuDied("QEMU is gone") from error
    for line in maps.splitlines():
        # start-end rights offset device inode name
        fields = line.split(None, 5)
        if int(fields[4]) == inode and "memfd:" in line:
            start, end = (int(text, 16) for text in fields[0].split("-"))
            at = start + offset - int(fields[2], 16)
            if start <= at < end:
                return at
    raise GuestLost("QEMU has not mapped the guest's RAM")
