# SPDX-License-Identifier: GPL-2.0-only
"""One run, from the scenario file to the record on disk."""

import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread

from ktstr.errors import ChannelLost, GuestLost, HostUnfit, OutputUnwritable
from ktstr.session.boot import begin, booted, keep_booted, remember_boot
from ktstr.session.checkpoint import Checkpoints
from ktstr.session.definition import Definition, define
from ktstr.session.events import Emit, Note, StepEnded, StepStarted
from ktstr.session.guest_snapshots import listen
from ktstr.session.hello import check_topology
from ktstr.session.host_lease import on_this_host
from ktstr.session.journal import open_journal
from ktstr.session.judge import Expectations, judge
from ktstr.session.lease import Lease
from ktstr.session.live import Live
from ktstr.session.needs import conversation_with, planned_spec, time_limit_s, vm_spec
from ktstr.session.options import RunOptions
from ktstr.session.prepare import Prepared, prepared
from ktstr.session.record import RunRecord
from ktstr.session.repro import SUFFIX, has_probes, repeat, why_not, with_probes
from ktstr.session.room import cost_of
from ktstr.session.run_id import new_run_id
from ktstr.session.scopes import task_scope
from ktstr.session.sidecar.write import check_writable
from ktstr.session.snapshots import LastLook, last_look, look_in
from ktstr.session.stages import stage
from ktstr.session.tries import Tries
from ktstr.session.virtual import NO_LOOK, is_virtual
from ktstr.session.wrap_up import JOURNAL, conclude
from ktstr.verdict import AssertResult, exit_code
from ktstr.verdict.outcome import Fail, Inconclusive

AGENT_ERROR = "agent-error"
"""Goodbye's reason when the agent met an exception that it does not know."""

EXACT_DUMPS = True
"""Whether a failing scheduler's dump is taken at the very write of its exit kind."""

T = TypeVar("T")
KeepVm = Callable[[Live, RunRecord], Awaitable[None]]


async def run_scenario(
    path: Path,
    options: RunOptions,
    emit: Emit,
    keep: KeepVm | None = None,
    lease: Lease | None = None,
    run_id: str | None = None,
) -> RunRecord:
    """Run the scenario in ``path`` and leave its record in ``options.out_dir``.

    :param keep: called with the paused machine and the written record, when
        ``options.keep_vm`` is set.
    :param lease: of the host's CPUs, where others run beside it; left when a guest has ended.
    :param run_id: what the run is called; None: a name of its own.
    :raise CannotRun: when nothing could be tried.

    A record that cannot be written is no exception: see ``RunRecord.output_error``.
    """
    definition = define(path, options)
    check_writable(options.out_dir)
    with scratch_folder() as run_dir:
        async with (
            on_this_host(
                lease or Lease(),
                cost_of(definition),
                definition.scenario.name,
                emit,
                exclusive_llc=options.exclusive_llc,
            ) as lease,
            prepared(definition, options, run_dir, emit) as ready,
        ):
            own = run_id or new_run_id()
            record = await _stays(ready, own, options, run_dir, emit, keep, lease)
            reason = why_not(record, definition, options)
            if reason:
                emit(Note(reason))
            elif reason is None:
                probed = replace(ready, definition=with_probes(definition))
                again = partial(
                    _stays, probed, record.run_id + SUFFIX, options, run_dir, emit, None, lease
                )
                await repeat(record, again, time_limit_s(definition, options), options, emit)
            return record


async def _stays(
    ready: Prepared,
    run_id: str,
    options: RunOptions,
    run_dir: Path,
    emit: Emit,
    keep: KeepVm | None,
    lease: Lease,
) -> RunRecord:
    """One run: a stay in a VM, and another when the first says nothing about the scheduler."""
    tries = Tries()
    while True:
        record = await _stay(ready, run_id, options, run_dir, emit, keep, lease, tries)
        if record is not None:
            return record
        emit(Note(tries.why[-1], warning=True))


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder for what lives as long as the machine does.

    :raise HostUnfit: when there is no place for it.
    """
    try:
        folder = tempfile.TemporaryDirectory(prefix="ktstr-", ignore_cleanup_errors=True)
    except OSError as error:
        raise HostUnfit(
            f"no scratch folder can be made: {error.strerror} ({tempfile.tempdir or 'TMPDIR'})",
            hint="free space there, or point TMPDIR elsewhere",
        ) from error
    with folder as name:
        yield Path(name)


async def _stay(
    ready: Prepared,
    run_id: str,
    options: RunOptions,
    run_dir: Path,
    emit: Emit,
    keep: KeepVm | None,
    lease: Lease,
    tries: Tries,
) -> RunRecord | None:
    """One stay in a VM; None, with a sentence added to ``tries``, when it is to be repeated."""
    name = ready.definition.scenario.name
    record = RunRecord(run_id, name, exit_code=GuestLost.exit_code)
    began, had_waited_s = time.monotonic(), lease.waited_s
    async with AsyncExitStack() as stack:
        stack.callback(lease.leave)
        journal = stack.enter_context(open_journal(run_dir / JOURNAL, record.run_id))
        emit = journal.observing(emit)
        plain = await planned_spec(ready, options, run_dir)
        exact = EXACT_DUMPS and wants_exact_dump(ready, options) and plain.virtual is None
        spec = replace(plain, one_thread=bool(tries.slips), watch=plain.watch or exact)
        live = await stack.enter_async_context(
            booted(ready, spec, options, run_dir, emit, journal, tries.why_cold, lease)
        )
        live.dumps.exact = exact
        if not has_probes(ready.definition):
            live.checkpoints = Checkpoints.of(ready.definition, options, run_id)
            stack.callback(live.checkpoints.close)
        for sentence in tries.why:
            live.recorder.note(sentence)
        try:
            await _talk(live, options, emit, record)
        except GuestLost as error:
            journal.log("lost", error=str(error))
            if tries.learn(live, error):
                return None
            _note_damage(live)
            record.error = str(error)
            record.exit_code = error.exit_code
        record.host |= live.warm.facts()
        waited_s = lease.waited_s - had_waited_s
        record.host["wall_s"] = round(time.monotonic() - began - waited_s, 3)
        live.said = len(live.recorder.notes)
        await _pause(live)
        lease.leave()
        # What the probes of a repetition recorded is there, whatever became of it.
        look = LastLook()
        if record.exit_code or has_probes(ready.definition):
            look = await last_look(live, why_dumped(record))
        record.last = look.snapshot
        reason = why_dumped(record) if record.exit_code else None
        if kept := await live.checkpoints.conclude(live, reason, emit):
            record.host["checkpoints"] = kept
        try:
            await _aside(live, partial(conclude, record, live, options, look))
        except OutputUnwritable as error:
            # The verdict is known and must reach the screen, but nobody may act on it.
            record.output_error = str(error)
            record.exit_code = error.exit_code
        if options.keep_vm and keep is not None:
            await keep(live, record)
    return record


def wants_exact_dump(ready: Prepared, options: RunOptions) -> bool:
    """Whether the write of the scheduler's exit kind is to be watched.

    QEMU has one gdb stub, which a VM that is kept offers to people.
    """
    scheduler = ready.definition.scenario.scheduler
    return scheduler.kind != "none" and not options.keep_vm


def why_dumped(record: RunRecord) -> str:
    """The first failure or doubt of a run that did not pass, or how the guest was lost."""
    if record.error is not None:
        return record.error
    for outcome in [] if record.result is None else record.result.outcomes:
        if isinstance(outcome, Fail | Inconclusive):
            return outcome.detail.message
    return f"the run ended with {record.verdict}"


async def _talk(live: Live, options: RunOptions, emit: Emit, record: RunRecord) -> None:
    definition, recorder = live.definition, live.recorder
    conversation = conversation_with(live, options)
    recorder.on_step = _step_reporter(definition, emit)
    listen(live, emit)
    warm = live.warm
    with stage(emit, "boot", "continuing a template" if warm.reached else "booting") as done:
        await conversation.hello()
        took = None if live.launched is None else time.monotonic() - live.launched
        await keep_booted(live)
        if took is not None:
            await remember_boot(live, took)
        done("continued a template" if warm.reached else "booted")
    hello = recorder.hello
    assert hello is not None
    check_topology(hello, vm_spec(live.prepared))
    async with task_scope() as group:
        looking, ready = anyio.Event(), anyio.Event()
        if not is_virtual(definition.plan):
            group.start_soon(look_in, live, emit, looking, ready)
        else:
            recorder.note(NO_LOOK)
        with stage(emit, "scheduler", "attaching the scheduler") as done:
            started = await begin(live, conversation, hello, looking, emit)
            done(_scheduler_text(live, started))
        if started:
            ready.set()
        await conversation.finished()
    if recorder.goodbye == AGENT_ERROR:
        raise ChannelLost(
            "the guest's agent failed: " + "; ".join(recorder.agent_errors or ["it said not why"]),
            hint="this is a defect of ktstr or of the guest kernel, not of the scheduler",
        )
    _note_damage(live)
    record.result = await _aside(live, partial(_judged, live))
    record.exit_code = exit_code(record.result)


def _judged(live: Live) -> AssertResult:
    return judge(live.recorder, live.series(), Expectations.of(live.definition), live.report())


async def _aside(live: Live, work: Callable[[], T]) -> T:
    """Do in a thread what takes a while: other runs of this process have deadlines meanwhile."""
    with live.link.held():
        return await anyio.to_thread.run_sync(work)


def _note_damage(live: Live) -> None:
    stats, recorder = live.link.decoder.stats, live.recorder
    if not stats.clean:
        recorder.note(
            f"the bulk port carried damage: {stats.dropped_bytes} bytes dropped, "
            f"{stats.missing} frames missing, {stats.reordered} out of order"
        )
    if recorder.unknown_frames:
        recorder.note(f"{recorder.unknown_frames} frames of unknown types were ignored")
    if live.link.archive_error is not None:
        recorder.note(f"frames.bin is incomplete: {live.link.archive_error}")


def _scheduler_text(live: Live, started: bool) -> str:
    scheduler = live.definition.scenario.scheduler
    if scheduler.kind == "none":
        return "scheduler: the kernel's own"
    attached = [status for status in live.recorder.statuses if status.get("event") == "attached"]
    name = str(attached[-1].get("ops") or "") if attached else ""
    if started:
        return f"scheduler {name or scheduler.kind} attached"
    return "the scheduler did not attach"


def _step_reporter(definition: Definition, emit: Emit) -> Callable[[int, bool], None]:
    def report(index: int, begins: bool) -> None:
        if not 1 <= index <= len(definition.holds_ms):
            return
        if begins:
            hold_s = definition.holds_ms[index - 1] / 1000
            name = definition.scenario.steps[index - 1].name or ""
            emit(StepStarted(index, len(definition.holds_ms), name, hold_s))
        else:
            emit(StepEnded(index))

    return report


async def _pause(live: Live) -> None:
    """Leave the guest standing, so that what is read from now on is one instant."""
    if live.machine.end is None:
        try:
            await live.machine.stop()
        except GuestLost as error:
            live.recorder.note(f"the guest could not be paused at the end: {error.message}")
