# SPDX-License-Identifier: GPL-2.0-only
"""Snapshots of one run: at the boundaries while it lives, and once more when it failed."""

import time
from dataclasses import dataclass
from typing import Any

import anyio
import anyio.to_thread
from platformdirs import user_cache_path

from ktstr.capture.boundaries import WorkloadClock
from ktstr.capture.freezer import Freezer
from ktstr.capture.periodic import PeriodicCapture
from ktstr.capture.stats import StatsClient
from ktstr.errors import GuestLost, KtstrError
from ktstr.introspect import Kernel, attach, copy, decode, make_plan, read_kernel_log
from ktstr.series.sample import MissingStats, MissingStatsReason, Sample
from ktstr.series.snapshot import Snapshot
from ktstr.session.events import Emit, Froze, Note
from ktstr.session.live import Live

LAST_LOOK_S = 20.0


def attach_to(live: Live) -> Kernel:
    """Introspection of the run's guest; blocks.

    :raise KernelUnfit: when this kernel cannot be read from outside.
    """
    hello = live.recorder.hello
    assert hello is not None, "Hello carries the address everything else is found from"
    return attach(live.machine.ram, hello.vmcoreinfo, cache_dir=user_cache_path("ktstr"))


async def capture_periodically(live: Live, emit: Emit, started: anyio.Event) -> None:
    """Attach to the guest's memory while the scheduler loads, then serve the boundaries."""
    recorder, machine = live.recorder, live.machine
    try:
        kernel = await anyio.to_thread.run_sync(attach_to, live)
    except Exception as error:
        # Guest memory may hold anything, so reading it may raise anything.
        recorder.note(f"no snapshots: {_words(error)}")
        emit(Note(f"no snapshots: {_words(error)}", warning=True))
        return
    freezer = Freezer(machine, machine.ram, kernel)
    await started.wait()
    clock = WorkloadClock(recorder.started_at or time.monotonic())
    recorder.on_pause, recorder.on_resume = clock.pause, clock.resume
    stats: StatsClient | MissingStatsReason
    if live.definition.scenario.scheduler.kind == "none":
        stats = MissingStatsReason(MissingStats.NO_SCHEDULER_BINARY)
    else:
        stats = StatsClient(live.link.request_stats)
        recorder.on_stats = stats.on_reply

    def take(sample: Sample) -> None:
        live.samples.append(sample)
        snapshot: Any = sample.snapshot
        emit(
            Froze(
                tag=sample.tag,
                offset_ms=sample.boundary_offset_ms or 0.0,
                paused_ms=(sample.paused_ns or 0) / 1e6,
                maps=0 if snapshot is None else len(snapshot.maps),
                error=sample.error,
            )
        )

    periodic = PeriodicCapture(
        live.definition.boundaries_ms,
        freezer,
        stats,
        step_index=lambda: recorder.step_index,
        on_sample=take,
    )
    try:
        await periodic.run(clock)
    except GuestLost as error:
        # The conversation notices the same loss and speaks for the run.
        recorder.note(f"snapshots ended early: {error.message}")
    if periodic.abandoned is not None:
        recorder.note(periodic.abandoned)
        emit(Note(periodic.abandoned, warning=True))


@dataclass(frozen=True, slots=True)
class LastLook:
    """What the memory of a paused or dead guest still shows; None for what could not be read."""

    snapshot: Snapshot | None = None
    kernel_log: str | None = None


async def last_look(live: Live) -> LastLook:
    """Read the guest's memory once more, after a run that did not pass; failures become notes."""
    recorder = live.recorder
    if recorder.hello is None:
        recorder.note("the guest said no Hello, so its memory cannot be found")
        return LastLook()

    def read() -> LastLook:
        kernel = attach_to(live)
        log: str | None = None
        try:
            log = read_kernel_log(kernel)
        except Exception as error:
            recorder.note(f"no kernel log from memory: {_words(error)}")
        plan = make_plan(kernel)
        return LastLook(decode(plan, copy(plan, live.machine.ram), kernel), log)

    try:
        with anyio.fail_after(LAST_LOOK_S):
            return await anyio.to_thread.run_sync(read, abandon_on_cancel=True)
    except TimeoutError:
        recorder.note(f"no last snapshot: reading took longer than {LAST_LOOK_S:.0f} s")
    except Exception as error:
        recorder.note(f"no last snapshot: {_words(error)}")
    return LastLook()


def _words(error: Exception) -> str:
    return str(error) if isinstance(error, KtstrError) else f"{type(error).__name__}: {error}"
