# SPDX-License-Identifier: GPL-2.0-only
"""Failure dumps of one run: at the very write of the scheduler's exit kind, and at the end."""

import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread

from ktstr.capture.dump import read_dump
from ktstr.errors import GuestLost, KtstrError
from ktstr.introspect import Kernel
from ktstr.introspect.registers import COMMAND
from ktstr.introspect.watch import Watched
from ktstr.series.dump.report import (
    AT_END,
    AT_EXIT,
    AnyDump,
    DegradedFailureDumpReport,
    EventCounterSample,
    FailureDumpReport,
)
from ktstr.vm.gdb import Stop

if TYPE_CHECKING:
    from ktstr.session.inspector import Inspector
    from ktstr.session.live import Live
    from ktstr.session.watches import Watches

READ_S: Final = 15.0
"""How long reading at the write of the exit kind may take; the guest stands still for it."""

FIRST_ERROR_KIND: Final = 1024
"""SCX_EXIT_ERROR: kinds below are of schedulers that left of their own will, or were asked to."""

MAX_TIMELINE: Final = 512


@dataclass(frozen=True, slots=True)
class Guard:
    """A write watch of ktstr's own, beside those of ops.

    :param look: called at each hit while the guest stands still; whether it has seen enough. It
        must not raise.
    """

    target: Watched
    look: Callable[[Kernel, Stop], Awaitable[bool]]


class Dumps:
    """What the dumps of one run need to know, and the one taken while it ran.

    :ivar exact: whether the write of the exit kind is watched.
    """

    def __init__(self) -> None:
        self.exact = False
        self._early: AnyDump | None = None

    async def watch_exit(self, live: "Live", inspector: "Inspector", watches: "Watches") -> None:
        """Have the guest stop where the attached scheduler's exit kind is written; never raises."""
        try:
            async with inspector.hold() as (kernel, _):
                target = await anyio.to_thread.run_sync(exit_kind, kernel)
            if target is None:
                return
            await watches.guard(Guard(target, partial(self._at_exit, live, target)))
        except GuestLost as error:
            live.recorder.note(f"no dump at the scheduler's error: {error.message}")
        except Exception as error:
            # Guest memory may hold anything, so reading it may raise anything.
            live.recorder.note(f"no dump at the scheduler's error: {error}")

    async def _at_exit(self, live: "Live", target: Watched, kernel: Kernel, stop: Stop) -> bool:
        """Called while the guest stands at a write of the exit kind."""
        elapsed_ms = live.recorder.clock.elapsed_ms(time.monotonic())
        kind: int | None = None
        why = f"reading took longer than {READ_S:.0f} s"
        try:
            kind = target.value(kernel)
            if kind < FIRST_ERROR_KIND:
                return kind != 0
            registers = await read_registers(live)
            read = partial(
                read_dump,
                kernel,
                live.machine.ram,
                registers,
                reason="the scheduler failed",
                trigger=AT_EXIT,
                elapsed_ms=elapsed_ms,
                scheduler_comm=scheduler_comm(live),
                timeline=tuple(timeline(live)),
            )
            with anyio.fail_after(READ_S):
                self._early = await anyio.to_thread.run_sync(read, abandon_on_cancel=True)
            return True
        except TimeoutError:
            pass
        except Exception as error:
            why = str(error)
        self._early = DegradedFailureDumpReport(why, elapsed_ms, kind, watchpoint_hit=True)
        return True

    def at_end(
        self, live: "Live", kernel: Kernel, registers: str | None, reason: str
    ) -> FailureDumpReport:
        """A dump of a guest that has been paused or has ended; blocks."""
        return read_dump(
            kernel,
            live.machine.ram,
            registers,
            reason=reason,
            trigger=AT_END,
            elapsed_ms=live.recorder.clock.elapsed_ms(time.monotonic()),
            scheduler_comm=scheduler_comm(live),
            timeline=timeline(live),
        )

    def best(self, live: "Live", taken: FailureDumpReport) -> AnyDump:
        """The dump to keep: the one taken at the error when there is one and it is whole."""
        early = self._early
        if not isinstance(early, FailureDumpReport):
            return taken
        ended, shot = live.recorder.scheduler_exit, early.snapshot
        if ended is not None and shot is not None:
            # The kernel words its message after the write that stopped the guest.
            text = ": ".join(part for part in (ended.reason, ended.message) if part)
            state = replace(shot.sched_ext, exit_message=shot.sched_ext.exit_message or text)
            shot = replace(shot, sched_ext=state)
        return replace(early, reason=taken.reason, snapshot=shot)

    def without_memory(self, live: "Live", reason: str, why: str) -> AnyDump:
        """What is left to say when the guest's memory cannot be read at the end."""
        if self._early is not None:
            return self._early
        elapsed_ms = live.recorder.clock.elapsed_ms(time.monotonic())
        if live.recorder.hello is None:
            return FailureDumpReport.placeholder(f"{reason}; {why}", elapsed_ms)
        ended = live.recorder.scheduler_exit
        kind = None if ended is None else ended.kind
        return DegradedFailureDumpReport(f"{reason}; {why}", elapsed_ms, kind)


async def read_registers(live: "Live") -> str | None:
    """What QEMU says about its vCPUs; ``None`` when it is gone or does not answer."""
    try:
        said = await live.machine.qmp("human-monitor-command", {"command-line": COMMAND})
    except KtstrError:
        return None
    return said if isinstance(said, str) else None


def exit_kind(kernel: Kernel) -> Watched | None:
    """Where the exit kind of the attached scheduler is; ``None`` where there is none.

    :raises UnreadableMemory: when the scheduler's structure is not there.
    """
    static = kernel.symbol("scx_exit_kind")
    if static is not None:
        return Watched("scx_exit_kind", "", static, 4)
    root, place = kernel.symbol("scx_root"), kernel.field("scx_sched", "exit_kind")
    scheduler = kernel.read_unsigned(root, 8) if root is not None else 0
    if not scheduler or place is None:
        return None
    return Watched("scx_root->exit_kind", "", scheduler + place.offset, 4)


def scheduler_comm(live: "Live") -> str | None:
    """What the kernel calls the process that loaded the scheduler; ``None`` without one."""
    scheduler = live.definition.scenario.scheduler
    if scheduler.kind == "none":
        return None
    name = "scx_load" if scheduler.bpf else PurePath(str(scheduler.binary)).name
    return name[:15]


def timeline(live: "Live") -> Iterator[EventCounterSample]:
    """Event counters as the monitor read them; evenly thinned when many."""
    report = live.report()
    readings = [] if report is None else list(report.samples)
    step = -(-len(readings) // MAX_TIMELINE) or 1
    for sample in readings[::-1][::step][::-1]:
        if sample.events:
            yield EventCounterSample(sample.elapsed_ms, dict(sample.events))
