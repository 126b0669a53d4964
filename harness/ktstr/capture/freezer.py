# SPDX-License-Identifier: GPL-2.0-only
"""The freeze: plan outside, copy inside, decode after.

Between ``stop`` and ``cont`` nothing is decoded, resolved or logged; the guest stands
still for two QMP round trips and one copy of bytes whose addresses were known before.
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

import anyio
import anyio.to_thread

from ktstr.introspect import Captured, Kernel, SnapshotPlan, copy, decode, make_plan
from ktstr.introspect.decode import change
from ktstr.introspect.memory import PhysicalMemory
from ktstr.series.collector import uncollected
from ktstr.series.snapshot import Snapshot
from ktstr.vm.events import MachineEvent

FREEZE_TIMEOUT_S = 30.0
"""How long stop or cont may take before the capture counts as failed (seed: rendezvous)."""


class Stoppable(Protocol):
    """A machine that can be stopped and continued, and tells when it did."""

    async def stop(self) -> None: ...

    async def cont(self) -> None: ...

    def on_event(self, receive: Callable[[MachineEvent], None]) -> None: ...


@dataclass(frozen=True, slots=True)
class Capture:
    """One frozen instant, or why there is none.

    :param paused_ns: how long the guest stood still: from QEMU's STOP event, when all vCPUs had
        stopped, to its RESUME event.
    :param request_ns: from the request to stop until cont was acknowledged; on a loaded host most
        of it is spent waiting for a host CPU while the guest still, or again, runs.
    :param copied: bytes copied while frozen.
    """

    snapshot: Snapshot | None
    paused_ns: int
    request_ns: int
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
        self._at_us: dict[str, int] = {}
        machine.on_event(self._note_time)

    def _note_time(self, event: MachineEvent) -> None:
        self._at_us[event.name] = event.at_us

    async def prepare(self) -> None:
        """Resolve what the next capture copies; cheap when the plan still holds."""
        await self._planned()

    async def _planned(self) -> SnapshotPlan:
        if self._plan is None:
            self._plan = await anyio.to_thread.run_sync(make_plan, self._kernel)
        return self._plan

    async def capture(self) -> Capture:
        """Stop, copy, continue, then decode in a thread.

        The guest is continued whatever happens in between, also under cancellation.

        :raise GuestLost: when QEMU does not answer.
        """
        plan = await self._planned()
        self._at_us.clear()
        began = time.perf_counter_ns()
        # A full collection takes tens of milliseconds once a run holds a few snapshots.
        with anyio.CancelScope(shield=True), uncollected():
            await self._machine.stop()
            try:
                captured = copy(plan, self._memory)
            finally:
                await self._machine.cont()
        request_ns = time.perf_counter_ns() - began
        snapshot = await self._decoded(plan, captured)
        # The request is an upper bound: whatever else stopped the guest came before or after it.
        paused_ns = min(request_ns, self._stood_ns(request_ns))
        return Capture(snapshot, paused_ns, request_ns, plan.total_bytes, snapshot.stale)

    async def capture_standing(
        self, began_ns: int, look: Callable[[], Awaitable[bool]]
    ) -> Capture | None:
        """Copy while the guest stands still already, continue, then decode.

        The instant does not come again, so a plan that is out of date is made anew inside it.

        :param began_ns: when that was noticed, on the clock of :func:`time.perf_counter_ns`.
        :param look: called while the guest stands; whether there is something to capture.
        :return: ``None`` when there was nothing.
        :raise GuestLost: when QEMU does not answer.
        """
        with anyio.CancelScope(shield=True):
            await self._machine.stop()
            try:
                if not await look():
                    return None
                plan = await self._planned()
                captured = copy(plan, self._memory)
                if change(plan, captured) is not None:
                    self._plan = None
                    plan = await self._planned()
                    captured = copy(plan, self._memory)
            finally:
                await self._machine.cont()
        request_ns = time.perf_counter_ns() - began_ns
        snapshot = await self._decoded(plan, captured)
        # The guest stood before anybody noticed, so here the events may tell of longer.
        paused_ns = self._stood_ns(request_ns)
        return Capture(snapshot, paused_ns, request_ns, plan.total_bytes, snapshot.stale)

    async def _decoded(self, plan: SnapshotPlan, captured: Captured) -> Snapshot:
        snapshot = await anyio.to_thread.run_sync(decode, plan, captured, self._kernel)
        if snapshot.stale is not None:
            self._plan = None
        return snapshot

    def _stood_ns(self, request_ns: int) -> int:
        """From QEMU's STOP to its RESUME event, or else the time the request took."""
        stopped, resumed = self._at_us.get("STOP"), self._at_us.get("RESUME")
        if stopped is None or resumed is None or resumed < stopped:
            # An event went missing or the wall clock was set back.
            return request_ns
        return (resumed - stopped) * 1000
