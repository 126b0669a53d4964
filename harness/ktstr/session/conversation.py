# SPDX-License-Identifier: GPL-2.0-only
"""The talk with one booted guest: Hello, mailbox, scheduler, steps, Goodbye.

Each wait has a deadline that follows from what is due next, and a sentence for its expiry.
"""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol

import anyio

from ktstr.errors import BootTimeout, ChannelLost, GuestHung, GuestLost
from ktstr.session.link import Link
from ktstr.session.options import Deadlines
from ktstr.session.record import phase_title
from ktstr.session.recorder import Recorder
from ktstr.vm.console import tail
from ktstr.vm.events import MachineEnd

AGENT_WORDS = "ktstr-init: agent"
DRAIN_S = 0.3
CLOSING_S = 1.0
"""How long a closed port may be ahead of the news that the machine ended."""


class Ending(Protocol):
    """The part of a machine that tells how it ended."""

    @property
    def end(self) -> MachineEnd | None: ...

    @property
    def ended(self) -> anyio.Event: ...

    @property
    def console_log(self) -> Path: ...


class Conversation:
    """Waits for the guest's milestones in order.

    :param holds_ms: hold of each step, in order.
    :param pauses_s: all Pause ops of the scenario together, which stretch a wait.
    :param limit: host monotonic time at which the whole run counts as hung.
    """

    def __init__(
        self,
        machine: Ending,
        link: Link,
        recorder: Recorder,
        deadlines: Deadlines,
        holds_ms: tuple[int, ...],
        pauses_s: float,
        limit: float,
    ) -> None:
        self._machine = machine
        self._link = link
        self._recorder = recorder
        self._deadlines = deadlines
        self._holds_ms = holds_ms
        self._limit = limit
        self._pauses_s = pauses_s

    def postpone(self, seconds: float) -> None:
        """Allow the whole run so much longer: the guest was not to run meanwhile."""
        self._limit += seconds

    async def hello(self) -> None:
        """Wait for Hello.

        :raise BootTimeout: when it does not come in time; :raise GuestLost: when the guest ends.
        """
        recorder = self._recorder
        deadline = time.monotonic() + self._deadlines.boot
        await self._until(lambda: recorder.hello is not None or recorder.bad_hello, deadline)
        if recorder.bad_hello is not None:
            raise recorder.bad_hello
        if recorder.hello is None:
            raise BootTimeout(
                f"the guest did not say Hello within {self._deadlines.boot:.0f} s of starting QEMU",
                hint="read the kernel log in the evidence folder: how far did the boot come?",
            )

    async def prepared(self) -> bool:
        """Wait until the scheduler is attached and has settled, before there is a scenario.

        :return: False when it did not attach; the recorder then holds why.
        :raise GuestLost: when neither happens in time.
        """
        recorder = self._recorder
        deadline = time.monotonic() + self._deadlines.attach
        if not await self._until(lambda: recorder.prepared or recorder.goodbye, deadline):
            raise self._undecided()
        return recorder.prepared

    def _undecided(self) -> GuestHung:
        return GuestHung(
            f"the scheduler was neither attached nor refused within {self._deadlines.attach:.0f} s"
        )

    async def attached(self) -> bool:
        """Wait until the scheduler is attached (or none is to be) and the scenario starts.

        :return: False when the scheduler did not attach; the recorder then holds why.
        :raise GuestLost: when neither happens in time.
        """
        recorder = self._recorder
        deadline = time.monotonic() + self._deadlines.attach
        settled = await self._until(
            lambda: recorder.started_at is not None or recorder.goodbye is not None, deadline
        )
        if not settled:
            raise self._undecided()
        return recorder.started_at is not None

    async def finished(self) -> None:
        """Wait for Goodbye, milestone by milestone.

        :raise GuestHung: naming the milestone that did not come.
        """
        recorder = self._recorder
        while recorder.goodbye is None:
            mark = self._progress()
            seconds, sentence = self._next_due()
            moved = await self._until(partial(self._moved_on, mark), time.monotonic() + seconds)
            if not moved:
                raise GuestHung(
                    f"the guest stopped answering: {sentence}",
                    hint="the kernel log and the last snapshot are in the evidence folder",
                )

    def _moved_on(self, mark: tuple[object, ...]) -> bool:
        return self._progress() != mark

    def _progress(self) -> tuple[object, ...]:
        recorder = self._recorder
        return (
            len(recorder.events),
            len(recorder.reports),
            recorder.scheduler_exit is not None,
            recorder.goodbye,
        )

    def _next_due(self) -> tuple[float, str]:
        recorder, due = self._recorder, self._deadlines
        last = recorder.events[-1] if recorder.events else None
        if recorder.scheduler_exit is not None or (last is not None and last.is_terminal):
            return due.reports, f"no Goodbye within {due.reports:.0f} s of the scenario's end"
        if last is None or last.is_step_end or last.step_index is None:
            following = 1 if last is None or last.step_index is None else last.step_index + 1
            seconds = due.set_up + self._pauses_s + (due.reports if last is not None else 0.0)
            return seconds, f"{phase_title(following)} did not begin within {seconds:.0f} s"
        step = last.step_index
        hold = self._holds_ms[step - 1] / 1000 if step <= len(self._holds_ms) else 0.0
        seconds = hold + self._pauses_s + due.step_grace
        return seconds, (
            f"{phase_title(step)} should have ended after {hold:.1f} s; "
            f"{due.step_grace:.0f} s later no StepEnd had come"
        )

    async def _until(self, predicate: Callable[[], object], deadline: float) -> bool:
        """Wait for ``predicate`` unless the machine, the port or the time ends first.

        :raise GuestLost: when the machine or the port ended.
        """
        over = min(deadline, self._limit)
        machine = self._machine
        await self._link.until(lambda: bool(predicate()) or machine.end is not None, over)
        if predicate():
            return True
        if self._link.closed:
            await self._end_soon()
        if machine.end is not None:
            # What the guest sent before it ended may still be in the socket.
            drained = time.monotonic() + DRAIN_S
            if await self._link.until(lambda: bool(predicate()), drained):
                return True
            raise lost(machine.end, tail(machine.console_log))
        if self._link.closed:
            raise ChannelLost("the bulk port closed although the guest still runs")
        if self._limit <= deadline and time.monotonic() >= self._limit:
            raise GuestHung("the run took longer than its time limit (--timeout)")
        return False

    async def _end_soon(self) -> None:
        # A QEMU that dies closes its ports before its end is known; the end is the better word.
        with anyio.move_on_after(CLOSING_S):
            await self._machine.ended.wait()


def lost(end: MachineEnd, console: str) -> GuestLost:
    """The error for a machine that ended before its time, from QEMU's word and the kernel's."""
    agent = next((line for line in console.splitlines() if AGENT_WORDS in line), None)
    if agent is not None and end.kind == "guest-shutdown":
        # "[    4.5] ktstr-init: …" without the time stamp.
        said = agent.rpartition("] ")[2].strip()
        return ChannelLost(
            f"the guest's agent ended before the scenario did: {said}",
            hint="the agent's log and the kernel log are in the evidence folder",
        )
    return end.as_error()
