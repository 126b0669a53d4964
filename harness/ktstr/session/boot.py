# SPDX-License-Identifier: GPL-2.0-only
"""From a machine's start to ScenarioStart: booted, or continued from a template."""

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from os import urandom
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread
import msgpack

from ktstr.kernels import Kernel
from ktstr.kernels.boot_times import BootTimes
from ktstr.session.conversation import Conversation
from ktstr.session.events import Emit, Note
from ktstr.session.hello import Hello
from ktstr.session.journal import Journal
from ktstr.session.lease import Lease
from ktstr.session.link import Link
from ktstr.session.listening import ListeningLink
from ktstr.session.live import Live
from ktstr.session.mailbox import ring
from ktstr.session.options import RunOptions
from ktstr.session.prepare import Prepared
from ktstr.session.recorder import Recorder
from ktstr.session.scopes import task_scope
from ktstr.session.stages import stage
from ktstr.session.virtual import is_virtual
from ktstr.session.warm import BOOTED, READY, Warm
from ktstr.vm.machine import Machine
from ktstr.vm.spec import VmSpec, spec_warnings
from ktstr.wire import Frame

ENTROPY_BYTES: Final = 64
"""Random bytes that a guest gets at its mailbox: twice the key of the kernel's generator."""


@asynccontextmanager
async def booted(
    ready: Prepared,
    spec: VmSpec,
    options: RunOptions,
    run_dir: Path,
    emit: Emit,
    journal: Journal,
    retry: str | None,
    lease: Lease | None = None,
) -> AsyncIterator[Live]:
    """A machine whose guest boots, or stands where its template was saved, and the link to it.

    :param retry: why the guest has to boot this time.
    :param lease: entered before a guest boots; one that stands is let go on under it.
    :raise KtstrError: when it does not start.
    """
    definition = ready.definition
    for warning in spec_warnings(spec):
        emit(Note(warning, warning=True))
    recorder = Recorder(dict(definition.workers))

    def remark(sentence: str) -> None:
        recorder.note(sentence)
        emit(Note(sentence, warning=True))

    if ready.doubt is not None:
        remark(ready.doubt)
    if ready.kernel.features.sched_ext is False:
        # Only who brings no scheduler gets this far with it.
        recorder.note(own_scheduler_note(ready.kernel))
        emit(Note(own_scheduler_note(ready.kernel)))
    lease = lease or Lease()
    warm = Warm(ready, spec, options, remark, retry, before_boot=partial(_turn, lease, emit))
    async with AsyncExitStack() as stack:
        launched = time.monotonic() - lease.waited_s
        machine, past = await stack.enter_async_context(
            warm.machine(run_dir, attach=options.keep_vm)
        )
        launched += lease.waited_s
        if options.verbose:
            emit(Note(f"qemu: {machine.command}"))
            if warm.why_cold is not None:
                emit(Note(f"the guest boots: {warm.why_cold}"))
        journal.log("launched", pid=machine.pid, argv=machine.argv, level=warm.reached)
        machine.on_event(journal.machine)

        def on_frame(frame: Frame, now: float) -> None:
            journal.frame(frame)
            recorder.on_frame(frame, now)

        if machine.bulk_file is None:
            link = Link(machine.bulk, machine.ctl, run_dir / "frames.bin", on_frame, past)
        else:
            link = ListeningLink(machine, on_frame)
        group = await stack.enter_async_context(task_scope())
        group.start_soon(link.serve)
        group.start_soon(_nudge_at_end, machine, link)
        recorder.on_over = lease.leave
        yield Live(definition, ready, machine, link, recorder, warm, launched, lease=lease)


async def _nudge_at_end(machine: Machine, link: Link) -> None:
    await machine.ended.wait()
    link.nudge()


async def _turn(lease: Lease, emit: Emit) -> float:
    """Wait for CPUs, and say so where others may have them; the seconds it took."""
    if lease.enter_now():
        return 0.0
    with stage(emit, "turn", "waiting for CPUs"):
        return await lease.enter()


async def begin(
    live: Live, conversation: Conversation, hello: Hello, looking: anyio.Event, emit: Emit
) -> bool:
    """Bring a guest that waits at its mailbox to ScenarioStart.

    :param looking: set once its memory can be read, or never will be.
    :return: False when the scheduler did not attach; the recorder then holds why.
    :raise GuestLost: when neither happens in time.
    """
    warm, plan = live.warm, live.definition.plan
    if is_virtual(plan):
        # It came with the image, and the guest has gone on by itself.
        return await conversation.attached()

    async def tell(payload: bytes) -> None:
        if warm.standing:
            # Who boots is looked into while the scheduler loads; a clone must not get ahead.
            await looking.wait()
            conversation.postpone(await _turn(live.lease, emit))
        ring(live.machine.ram, hello.mailbox, payload, time.time_ns(), urandom(ENTROPY_BYTES))
        if warm.standing:
            await warm.go_on(live.machine)

    if warm.preparation is not None and warm.reached < READY:
        await tell(warm.preparation)
        if not await conversation.prepared():
            return False
        await warm.keep(READY, live.machine, live.link)
    live.link.forget()
    await tell(msgpack.packb(plan))
    return await conversation.attached()


def own_scheduler_note(kernel: Kernel) -> str:
    """What to say of a run on a kernel that can run no sched_ext scheduler."""
    return (
        f"kernel {kernel.release} has no sched_ext: this run is about its own scheduler,"
        f" {kernel.own_scheduler}"
    )


async def remember_boot(live: Live, seconds: float) -> None:
    """Note how long the guest took to boot, where that says something about its kernel.

    :param seconds: from the start of its QEMU to Hello.
    """
    spec = live.machine.spec
    if live.warm.reached or spec.virtual is not None or spec.one_thread or spec.debug:
        return
    kernel, cpus = live.prepared.kernel, live.definition.topology.cpus
    await anyio.to_thread.run_sync(BootTimes().add, kernel.digest, cpus, spec.accel.name, seconds)


async def keep_booted(live: Live) -> None:
    """Keep a guest that has said Hello for later runs.

    :raise GuestLost: when QEMU does not answer.
    """
    await live.warm.keep(BOOTED, live.machine, live.link)
