# SPDX-License-Identifier: GPL-2.0-only
"""The freeze: plan outside, copy inside, decode after.

Between ``stop`` and ``cont`` nothing is decoded, resolved or logged; the guest stands
still for two QMP round trips and one copy of bytes whose addresses were known before.
"""

import time
from dataclasses import dataclass
from typing import Protocol

import anyio
import anyio.to_thread

from ktstr.introspect import Kernel, SnapshotPlan, copy, decode, make_plan
from ktstr.introspect.memory import PhysicalMemory
from ktstr.series.snapshot import Snapshot

FREEZE_TIMEOUT_S = 30.0
"""How long stop or cont may take before the capture counts as failed (seed: rendezvous)."""


class Stoppable(Protocol):
    """A machine that can be stopped and continued."""

    async def stop(self) -> None: ...

    async def cont(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Capture:
    """One frozen instant, or why there is none.

    :param paused_ns: from the request to stop until cont was acknowledged.
    :param copied: bytes copied while frozen.
    """

    snapshot: Snapshot | None
    paused_ns: int
    copied: int
    error: str | None


class Freezer:
    """Takes captures of one machine.

    A plan serves many captures. It is made anew, outside the freeze, when a decode finds
    that the guest's set of maps changed under it.
    """

    def __init__(self, machine: Stoppable, memory: PhysicalMemory, kernel: Kernel) -> None:
        self._machine = machine
        self._memory = memory
        self._kernel = kernel
        self._plan: SnapshotPlan | None = None

    async def prepare(self) -> None:
        """Resolve what the next capture copies; cheap when the plan still holds."""
        if self._plan is None:
            self._plan = await anyio.to_thread.run_sync(make_plan, self._kernel)

    def invalidate(self) -> None:
        """Have the next capture plan anew: maps are about to come or go."""
        self._plan = None

    async def capture(self) -> Capture:
        """Stop, copy, continue, then decode in a thread.

        The guest is continued whatever happens in between, also under cancellation.

        :raise GuestLost: when QEMU does not answer.
        """
        await self.prepare()
        plan = self._plan
        assert plan is not None
        began = time.perf_counter_ns()
        with anyio.CancelScope(shield=True):
            await self._machine.stop()
            try:
                captured = copy(plan, self._memory)
            finally:
                await self._machine.cont()
        paused_ns = time.perf_counter_ns() - began
        snapshot = await anyio.to_thread.run_sync(decode, plan, captured, self._kernel)
        if snapshot.stale is not None:
            self._plan = None
        return Capture(snapshot, paused_ns, plan.total_bytes, snapshot.stale)
