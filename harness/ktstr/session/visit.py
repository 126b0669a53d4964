# SPDX-License-Identifier: GPL-2.0-only
"""Visits to instants of a recorded run: it is run again, and halted where they are.

What a guest with a virtual clock does is the same each time, and halting its thread disturbs
nothing (``vm.tripwire``). Where it stands is told by the kernel's own word for its last tick, which
is watched: an instant is the first tick at or after the time that was asked for.
"""

import hashlib
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread

from ktstr.capture.dump import read_dump
from ktstr.errors import KernelUnfit
from ktstr.introspect import Kernel
from ktstr.series.dump.report import AT_TIME, FailureDumpReport
from ktstr.session.boot import booted
from ktstr.session.definition import define
from ktstr.session.difference import Difference, first_frame_difference
from ktstr.session.dump import read_registers, scheduler_comm
from ktstr.session.events import Emit, Note
from ktstr.session.inspector import attach_to
from ktstr.session.journal import open_journal
from ktstr.session.live import Live
from ktstr.session.needs import conversation_with, planned_spec, time_limit_s
from ktstr.session.options import RunOptions
from ktstr.session.past import Instant, Moment, NotVisitable, Past
from ktstr.session.prepare import Prepared, prepared
from ktstr.session.run import scratch_folder
from ktstr.session.scopes import task_scope
from ktstr.session.stages import stage
from ktstr.session.wrap_up import JOURNAL
from ktstr.vm.tripwire import Tripwire
from ktstr.wire import FrameDecoder, MsgType, Stimulus

TICK: Final = "last_jiffies_update"
"""Variable of the kernel with the guest's clock at the last tick, ns (kernel/time/tick-sched.c)."""

NO_REGISTERS: Final = (
    "the guest goes on from here, and QEMU knows them of a machine that it has paused only: "
    "visit this instant alone, with --ms"
)

SOON_NS: Final = 10_000_000_000
"""How much later than asked for a tick may be; an idle guest has none for a while."""

FIRMWARE: Final = 1 << 20
"""Bytes at the beginning of RAM that the kernel leaves to the firmware: QEMU 7.2 hands qboot the
kernel's header by a pointer to its own stack, where something else is by then, addresses of the
host's among it (hw/i386/x86.c)."""

_CHUNK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Stand:
    """A guest that stands at an instant.

    :param asked: the instant that was asked for; :param at: the tick at which it stands.
    :param dump: what could be read.
    :param memory_sha256: digest of all of its RAM.
    :param proof: in what it is the recorded run so far, in words.
    """

    asked: Instant
    at: Instant
    dump: FailureDumpReport
    memory_sha256: str
    proof: str


Take = Callable[[Stand], None]
Keep = Callable[[Live], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Visit:
    """What to do at which instants.

    :param instants: in order of time.
    :param take: called at each.
    :param keep: called with the guest paused at the last one; None lets it run to its end, which is
        held against the record's.
    """

    past: Past
    instants: Sequence[Instant]
    take: Take
    keep: Keep | None = None


class _TooLate(Exception):
    """The guest had passed the first instant before it could be halted."""

    def __init__(self, address: int) -> None:
        super().__init__()
        self.address = address


async def make_visit(visit: Visit, options: RunOptions, emit: Emit) -> None:
    """Run again and halt at each instant.

    :param options: ``timeout_s`` and ``verbose`` count; what is run, the record says.
    :raises NotVisitable: when it is another run, or it ends before.
    :raises CannotRun: when nothing could be tried.
    :raises GuestLost: when the guest does not get there.
    """
    past = visit.past
    definition = define(past.scenario, past.options)
    options = replace(past.options, timeout_s=options.timeout_s, verbose=options.verbose)
    with scratch_folder() as run_dir:
        async with prepared(definition, options, run_dir, emit) as ready:
            past.check(ready)
            address: int | None = None
            while True:
                try:
                    return await _stay(visit, ready, options, run_dir, emit, address)
                except _TooLate as error:
                    if address is not None:
                        raise NotVisitable(
                            f"{visit.instants[0].elapsed_ms:g} ms: the guest's clock was ahead of "
                            "that before its kernel could be watched",
                            hint="choose a later time",
                        ) from None
                    # Where the clock is, is known from now on: it can be watched from the start.
                    address = error.address
                    emit(Note("the guest had passed that time already; once more from the start"))


async def _stay(
    visit: Visit,
    ready: Prepared,
    options: RunOptions,
    run_dir: Path,
    emit: Emit,
    address: int | None,
) -> None:
    keeps = visit.keep is not None
    spec = await planned_spec(ready, options, run_dir)
    async with AsyncExitStack() as stack:
        journal = stack.enter_context(open_journal(run_dir / JOURNAL, visit.past.label))
        live = await stack.enter_async_context(
            booted(ready, spec, replace(options, keep_vm=keeps), run_dir, emit, journal, None)
        )
        visit.past.check_qemu(live.machine.qemu_version)
        limit = time.monotonic() + time_limit_s(ready.definition, options)
        first = visit.instants[0].uptime_ns
        with stage(emit, "boot", "booting") as done:
            if address is None:
                await conversation_with(live, options).hello()
                wire = await stack.enter_async_context(Tripwire(live.machine))
            else:
                wire = await stack.enter_async_context(Tripwire(live.machine))
                await wire.watch(address)
                await _reach(live, wire, _Clock(live, address), first, limit)
                # The frame came long before; it may not have been read yet.
                await conversation_with(live, options).hello()
            done("booted")
        kernel = await anyio.to_thread.run_sync(attach_to, live)
        clock = _Clock(live, clock_address(kernel))
        if address is None and clock.now() >= first:
            raise _TooLate(clock.address)
        await wire.watch(clock.address)
        for instant in visit.instants:
            with stage(emit, "visit", f"running up to {instant.elapsed_ms:g} ms"):
                await _reach(live, wire, clock, instant.uptime_ns, limit)
            at = visit.past.at(clock.now(), instant.step)
            last = instant is visit.instants[-1]
            if last and keeps:
                await wire.pause()
            registers = await read_registers(live) if last and keeps else None
            visit.take(await _look(visit.past, live, kernel, instant, at, registers))
        if visit.keep is not None:
            return await visit.keep(live)
        with stage(emit, "rest", "running to the end"):
            await wire.let_go()
            await conversation_with(live, options).finished()
        same_to_the_end(visit.past, _sent(live))


class _Clock:
    """The guest's clock as its kernel last wrote it down."""

    def __init__(self, live: Live, address: int) -> None:
        self.address = address
        self._ram = live.machine.ram

    def now(self) -> int:
        """The time of the last tick, ns."""
        return int.from_bytes(self._ram.read(self.address, 8), "little")

    def reached(self, uptime_ns: int) -> bool:
        """Whether that was at a time, or soon after it."""
        # Before there is a kernel, anything may be written there.
        return uptime_ns <= self.now() < uptime_ns + SOON_NS


def clock_address(kernel: Kernel) -> int:
    """Guest-physical address of the time of the last tick.

    :raises KernelUnfit: when the kernel has no such thing.
    """
    symbol = kernel.symbol(TICK)
    if symbol is None:
        raise KernelUnfit(f"kernel {kernel.release} has no {TICK}: its clock cannot be watched")
    return kernel.space.page(symbol)[0]


async def _reach(live: Live, wire: Tripwire, clock: _Clock, uptime_ns: int, limit: float) -> None:
    """Run up to the first tick at or after a time; the guest stands when this returns."""
    if clock.reached(uptime_ns):
        return
    async with task_scope() as group:
        group.start_soon(_tell_end, live, limit)
        await wire.run(partial(clock.reached, uptime_ns), limit - time.monotonic())


async def _tell_end(live: Live, limit: float) -> None:
    machine, recorder = live.machine, live.recorder
    await live.link.until(lambda: machine.end is not None or recorder.goodbye is not None, limit)
    if machine.end is not None:
        raise machine.end.as_error()
    if recorder.goodbye is not None:
        raise NotVisitable(f"the run was over before that ({recorder.goodbye})")


async def _look(
    past: Past, live: Live, kernel: Kernel, asked: Instant, at: Instant, registers: str | None
) -> Stand:
    proof = same_so_far(past, _sent(live))
    dump = await anyio.to_thread.run_sync(
        partial(
            read_dump,
            kernel,
            live.machine.ram,
            registers,
            reason=f"{past.label} at {asked.elapsed_ms:g} ms",
            trigger=AT_TIME,
            elapsed_ms=at.elapsed_ms,
            scheduler_comm=scheduler_comm(live),
        )
    )
    if registers is None:
        dump = replace(dump, unavailable={**dump.unavailable, "vcpu_regs": NO_REGISTERS})
    memory = await anyio.to_thread.run_sync(memory_digest, live.machine.ram.fds)
    # How long reading took is no part of the instant.
    return Stand(asked, at, replace(dump, took_us=None), memory, proof)


def memory_digest(fds: Sequence[int]) -> str:
    """SHA-256 of all guest RAM but :data:`FIRMWARE`, in hexadecimal."""
    # Not through the mapping: reading it would fill the holes.
    found = hashlib.sha256()
    for node, fd in enumerate(fds):
        size = os.fstat(fd).st_size
        for offset in range(0 if node else FIRMWARE, size, _CHUNK):
            found.update(os.pread(fd, min(_CHUNK, size - offset), offset))
    return found.hexdigest()


def _sent(live: Live) -> bytes:
    file = live.machine.bulk_file
    assert file is not None, "only a run by the virtual clock is visited"
    return file.read_bytes()


def same_so_far(past: Past, sent: bytes) -> str:
    """In what a run is the recorded one so far, in words.

    :param sent: what the guest has sent.
    :raises NotVisitable: when it is another run.
    """
    if past.frames is not None:
        kept = past.frames.read_bytes()
        if not kept.startswith(sent):
            raise _another(past, first_frame_difference(kept[: len(sent)], sent))
        return f"{len(sent)} bytes, all as recorded"
    moments = list(_moments(sent))
    if moments != list(past.moments[: len(moments)]):
        raise _another(past, None)
    return f"{len(moments)} starts and ends of steps, as recorded"


def same_to_the_end(past: Past, sent: bytes) -> None:
    """See that a run that ended is the recorded one.

    :raises NotVisitable: when it is another.
    """
    if hashlib.sha256(sent).hexdigest() != past.frames_sha256:
        kept = None if past.frames is None else past.frames.read_bytes()
        raise _another(past, None if kept is None else first_frame_difference(kept, sent))


def _moments(sent: bytes) -> Iterator[Moment]:
    for frame in FrameDecoder().feed(sent):
        if frame.msg_type in (MsgType.STEP_START, MsgType.STEP_END):
            stimulus = Stimulus.from_payload(frame.payload)
            yield stimulus.step_index, stimulus.elapsed_ms, stimulus.total_iterations


def _another(past: Past, difference: Difference | None) -> NotVisitable:
    where = "" if difference is None else f": {difference.where} differs"
    return NotVisitable(
        f"this run is not the one that {past.label} records{where}",
        hint="does `ktstr verify-determinism` find the scenario repeatable here?",
    )
