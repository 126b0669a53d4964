# SPDX-License-Identifier: GPL-2.0-only
"""One run's eyes and hands in guest memory: who looks or writes does so one at a time.

Captures at boundaries and requests of the guest meet here, since both stop the machine.
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.to_thread
from platformdirs import user_cache_path

from ktstr.capture.freezer import Capture, Freezer
from ktstr.introspect import Kernel, attach
from ktstr.introspect.globals import find_global
from ktstr.introspect.monitor import MonitorPlan, make_monitor_plan
from ktstr.session.live import Live


def attach_to(live: Live) -> Kernel:
    """Introspection of the run's guest; blocks.

    :raise KernelUnfit: when this kernel cannot be read from outside.
    """
    hello = live.recorder.hello
    assert hello is not None, "Hello carries the address everything else is found from"
    return attach(live.machine.ram, hello.vmcoreinfo, cache_dir=user_cache_path("ktstr"))


class Inspector:
    """Attaches to the guest's memory once, then captures and writes."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._lock = anyio.Lock()
        self._kernel: Kernel | None = None
        self._freezer: Freezer | None = None

    @property
    def attached(self) -> bool:
        """Whether the kernel was found."""
        return self._freezer is not None

    async def attach(self) -> None:
        """Find the kernel in memory; a moment of work, and only once.

        :raise Exception: anything: guest memory may hold whatever it likes.
        """
        async with self.hold():
            pass

    async def _attached(self) -> tuple[Kernel, Freezer]:
        if self._kernel is None or self._freezer is None:
            machine = self._live.machine
            early = self._live.warm.early
            self._kernel = None if early is None else early.kernel
            if self._kernel is None:
                self._kernel = await anyio.to_thread.run_sync(attach_to, self._live)
            self._freezer = Freezer(machine, machine.ram, self._kernel)
        return self._kernel, self._freezer

    @asynccontextmanager
    async def hold(self) -> AsyncIterator[tuple[Kernel, Freezer]]:
        """Nobody else looks, writes or stops the guest inside the block.

        :raise Exception: as :meth:`attach`.
        """
        async with self._lock:
            yield await self._attached()

    @asynccontextmanager
    async def standing(self) -> AsyncIterator[Kernel]:
        """The guest stands still inside the block, which cannot be cancelled, and goes on after it.

        :raise GuestLost: when QEMU does not answer.
        :raise Exception: as :meth:`attach`.
        """
        machine: Any = self._live.machine
        async with self.hold() as (kernel, _):
            with anyio.CancelScope(shield=True):
                await machine.stop()
                try:
                    yield kernel
                finally:
                    await machine.cont()

    async def prepare(self) -> None:
        """Resolve what the next capture copies.

        :raise Exception: as :meth:`attach`.
        """
        async with self.hold() as (_, freezer):
            await freezer.prepare()

    async def capture(self) -> Capture:
        """Stop, copy, continue, decode; again when maps came or went since the plan was made.

        A scheduler that is being loaded just now keeps changing them: the second time, whatever is
        out of date is planned anew while the guest stands still.

        :raise GuestLost: when QEMU does not answer.
        :raise Exception: as :meth:`attach`.
        """
        async with self.hold() as (_, freezer):
            taken = await freezer.capture()
            if taken.error is None:
                return taken
            await freezer.prepare()
            return await freezer.capture_now(time.perf_counter_ns()) or taken

    async def monitor_plan(self) -> MonitorPlan:
        """Resolve what the monitor reads.

        :raise Exception: as :meth:`attach`.
        """
        async with self._lock:
            kernel, _ = await self._attached()
            return await anyio.to_thread.run_sync(make_monitor_plan, kernel)

    async def write_global(self, name: str, value: int, section: str | None) -> str:
        """Write a variable of the loaded scheduler while the guest stands still.

        :return: name of the map that holds it.
        :raise NoSuchGlobal: when there is none, or it does not take the value.
        :raise GuestLost: when QEMU does not answer.
        :raise Exception: as :meth:`attach`.
        """
        async with self.standing() as kernel:
            variable = find_global(kernel, name, section)
            data = variable.encode(value)
            for address, length in variable.ranges:
                self._live.machine.ram.write(address, data[:length])
                data = data[length:]
        return variable.map_name
