# SPDX-License-Identifier: GPL-2.0-only
"""Snapshots of one run: at the boundaries while it lives, and once more when it failed."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import anyio
import anyio.to_thread

from ktstr.capture.periodic import PeriodicCapture
from ktstr.capture.stats import META_CAP, StatsClient
from ktstr.errors import GuestLost, KtstrError
from ktstr.introspect import copy, decode, make_plan, read_kernel_log
from ktstr.series.dump.report import AnyDump
from ktstr.series.pending import Pending
from ktstr.series.sample import MissingStats, MissingStatsReason, Sample
from ktstr.series.snapshot import Snapshot
from ktstr.session.dump import read_registers
from ktstr.session.events import Emit, Froze, Note
from ktstr.session.inspector import Inspector, attach_to
from ktstr.session.live import Live
from ktstr.session.monitor import watch
from ktstr.session.programs import count_programs
from ktstr.session.requests import GuestRequests
from ktstr.session.scopes import task_scope
from ktstr.session.warm import READY

LAST_LOOK_S = 20.0


async def look_in(live: Live, emit: Emit, looking: anyio.Event, started: anyio.Event) -> None:
    """Attach to the guest's memory while the scheduler loads, then serve boundaries and requests.

    :param looking: is set once it is attached, or cannot be.
    :param started: set once the scenario has started.
    """
    recorder = live.recorder
    inspector = Inspector(live)
    stats = _asking(live)
    asks_meta = anyio.Event()

    def take(sample: Sample) -> None:
        live.bridge.store_sample(sample)
        if live.stats_meta is None and not isinstance(sample.stats, MissingStatsReason):
            asks_meta.set()
        emit(
            Froze(
                tag=sample.tag,
                offset_ms=sample.anchor_ms or 0.0,
                paused_ms=(sample.paused_ns or 0) / 1e6,
                maps=sample.snapshot.maps if isinstance(sample.snapshot, Pending) else 0,
                error=sample.error,
                trigger="" if sample.trigger is None else sample.trigger.in_words(),
            )
        )

    async with task_scope() as group:
        requests = GuestRequests(live, inspector, take, stats)
        group.start_soon(requests.serve)
        if isinstance(stats, StatsClient):
            group.start_soon(_describe_stats, live, stats, asks_meta)
        wanted = live.definition.boundaries_ms or live.definition.asks_host
        try:
            await inspector.attach()
        except Exception as error:
            # Guest memory may hold anything, so reading it may raise anything.
            what = "neither monitor nor snapshots" if wanted else "no monitor"
            recorder.note(f"{what}: {_words(error)}")
            emit(Note(f"{what}: {_words(error)}", warning=True))
        looking.set()
        if inspector.attached:
            group.start_soon(watch, live, inspector, started, None, emit)
        group.start_soon(live.checkpoints.keep_step, live, inspector, emit)
        await started.wait()
        if inspector.attached:
            group.start_soon(count_programs, live, inspector)
        if inspector.attached and live.dumps.exact:
            await live.dumps.watch_exit(live, inspector, requests.watches)
        if inspector.attached and wanted and live.warm.reached == READY:
            # While a scheduler loads there is time for it; a clone's first boundary comes soon, and
            # before ScenarioStart the guest needs the host's CPUs.
            with suppress(Exception):
                await inspector.prepare()
        if inspector.attached and live.definition.boundaries_ms:
            await _capture_periodically(live, inspector, emit, take, stats)
        await anyio.sleep_forever()


def _asking(live: Live) -> StatsClient | MissingStatsReason:
    if live.definition.scenario.scheduler.kind == "none":
        return MissingStatsReason(MissingStats.NO_SCHEDULER_BINARY)
    stats = StatsClient(live.link.request_stats)
    live.recorder.on_stats = stats.on_reply
    return stats


async def _describe_stats(live: Live, stats: StatsClient, due: anyio.Event) -> None:
    """Ask once what the statistics mean, after the first of them came: never in their way."""
    await due.wait()
    answer = await stats.describe()
    if isinstance(answer, MissingStatsReason):
        live.recorder.note(f"the scheduler does not describe its statistics: {answer}")
    elif len(repr(answer)) > META_CAP:
        live.recorder.note(f"the description of the statistics is larger than {META_CAP >> 10} KiB")
    else:
        live.stats_meta = dict(answer)


async def _capture_periodically(
    live: Live,
    inspector: Inspector,
    emit: Emit,
    take: Callable[[Sample], None],
    stats: StatsClient | MissingStatsReason,
) -> None:
    recorder = live.recorder
    periodic = PeriodicCapture(
        live.definition.boundaries_ms,
        inspector,
        stats,
        step_index=lambda: recorder.step_index,
        on_sample=take,
    )
    try:
        await periodic.run(recorder.clock)
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
    dump: AnyDump | None = None


async def last_look(live: Live, reason: str) -> LastLook:
    """Read the guest's memory once more, after a run that did not pass; failures become notes.

    :param reason: why the run did not pass, for the dump.
    """
    recorder = live.recorder
    if recorder.hello is None:
        why = "the guest said no Hello, so its memory cannot be found"
        recorder.note(why)
        return LastLook(dump=live.dumps.without_memory(live, reason, why))
    registers = await read_registers(live)

    def read() -> LastLook:
        kernel = attach_to(live)
        log: str | None = None
        try:
            log = read_kernel_log(kernel)
        except Exception as error:
            recorder.note(f"no kernel log from memory: {_words(error)}")
        taken = live.dumps.at_end(live, kernel, registers, reason)
        dump = live.dumps.best(live, taken)
        snapshot: Snapshot | None = None
        try:
            plan = make_plan(kernel)
            snapshot = decode(plan, copy(plan, live.machine.ram), kernel)
        except Exception as error:
            recorder.note(f"no last snapshot: {_words(error)}")
        return LastLook(snapshot, log, dump)

    why = f"reading took longer than {LAST_LOOK_S:.0f} s"
    try:
        with anyio.fail_after(LAST_LOOK_S):
            return await anyio.to_thread.run_sync(read, abandon_on_cancel=True)
    except TimeoutError:
        recorder.note(f"no last snapshot: {why}")
    except Exception as error:
        why = _words(error)
        recorder.note(f"no last snapshot: {why}")
    return LastLook(dump=live.dumps.without_memory(live, reason, why))


def _words(error: Exception) -> str:
    return str(error) if isinstance(error, KtstrError) else f"{type(error).__name__}: {error}"
