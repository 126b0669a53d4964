# SPDX-License-Identifier: GPL-2.0-only
"""The freeze: plan outside, copy inside, decode when the snapshot is asked for.

Between stop and continue nothing is decoded, resolved or logged; the guest stands still for one
copy of bytes whose addresses were known before.
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import anyio
import anyio.to_thread

from ktstr.introspect import Captured, Kernel, SnapshotPlan, copy, decode, make_plan
from ktstr.introspect.decode import change
from ktstr.introspect.memory import PhysicalMemory
from ktstr.series.collector import uncollected
from ktstr.series.pending import Pending
from ktstr.vm.events import MachineEvent
from ktstr.vm.freeze import Stood


class Stoppable(Protocol):
    """A machine that can be stopped and continued, and tells when it did."""

    async def stop(self) -> None: ...

    async def cont(self) -> None: ...

    async def freeze(self, inside: Callable[[], object]) -> Stood: ...

    def on_event(self, receive: Callable[[MachineEvent], None]) -> None: ...


@dataclass(frozen=True, slots=True)
class Capture:
    """One frozen instant, or why there is none.

    :param paused_ns: how long the guest stood still (:class:`ktstr.vm.freeze.Stood`), or of a stop
        through QEMU: from its STOP event, when all vCPUs had stopped, to its RESUME event.
    :param request_ns: from the request until the guest was told to go on or, through QEMU, until
        that was acknowledged.
    :param copied: bytes copied while frozen.
    """

    snapshot: Pending | None
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
        """Stop, copy, continue.

        The guest is continued whatever happens in between, also under cancellation.

        :raise GuestLost: when QEMU does not answer.
        """
        plan = await self._planned()
        copied: list[Captured] = []
        # A full collection takes tens of milliseconds once a run holds a few snapshots.
        with uncollected():
            stood = await self._machine.freeze(lambda: copied.append(copy(plan, self._memory)))
        return self._capture(plan, copied[0], stood.paused_ns, stood.request_ns)

    async def capture_now(
        self, began_ns: int, look: Callable[[], Awaitable[bool]] | None = None
    ) -> Capture | None:
        """Copy an instant that does not come again, or that keeps changing.

        A plan that is out of date is made anew while the guest stands still, which may do so
        already.

        :param began_ns: when it was asked for, on the clock of :func:`time.perf_counter_ns`.
        :param look: called while the guest stands; whether there is something to capture.
        :return: ``None`` when there was nothing.
        :raise GuestLost: when QEMU does not answer.
        """
        with anyio.CancelScope(shield=True):
            await self._machine.stop()
            try:
                if look is not None and not await look():
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
        # The guest stood before anybody noticed, so here the events may tell of longer.
        return self._capture(plan, captured, self._stood_ns(request_ns), request_ns)

    def _capture(
        self, plan: SnapshotPlan, captured: Captured, paused_ns: int, request_ns: int
    ) -> Capture:
        plan.settle()
        stale = plan.stale_reason or change(plan, captured)
        if stale is not None:
            self._plan = None
        snapshot = Pending(partial(decode, plan, captured, self._kernel), len(plan.readers))
        return Capture(snapshot, paused_ns, request_ns, plan.total_bytes, stale)

    def _stood_ns(self, request_ns: int) -> int:
        """From QEMU's STOP to its RESUME event, or else the time the request took."""
        stopped, resumed = self._at_us.get("STOP"), self._at_us.get("RESUME")
        if stopped is None or resumed is None or resumed < stopped:
            # An event went missing or the wall clock was set back.
            return request_ns
        return (resumed - stopped) * 1000
