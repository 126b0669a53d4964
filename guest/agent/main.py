# SPDX-License-Identifier: GPL-2.0-only
"""From the first instruction to the last frame: Hello, mailbox, scenario, Goodbye."""

from __future__ import annotations

import sys
import time

import msgpack

from agent.channel import Channel
from agent.loop import Loop
from agent.mailbox import POLL_S, Mailbox, delivered
from agent.probes import Probes
from agent.processes import become_realtime, outlive_others, reserve_low_fds
from agent.relay import StatsRelay
from agent.scheduler import Scheduler, SchedulerDied
from agent.shared import Shared
from agent.steps import BASELINE, Engine, Shutdown, StepFailed, make_cgroup_parent
from agent.system import facts, refresh_entropy, write_text
from ktstr.wire import MsgType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from agent.programs import Programs

PROTOCOL = 1
# After Goodbye the host ends the VM; without a host the guest powers off by itself.
LINGER_S = 60.0
# From the scheduler's start to the moment at which a guest counts as prepared.
SETTLE_S = 0.1
# What follows it in the kernel log comes while the host ends the VM.
LAST_LINE = "ktstr-agent: goodbye"


def main() -> None:
    """Run as the guest's only service; returns once the guest may power off."""
    reserve_low_fds()
    become_realtime()
    outlive_others()
    loop = Loop()
    channel = Channel(loop)
    asked_to_end: list[bool] = []
    channel.on(MsgType.SHUTDOWN, lambda payload: asked_to_end.append(True))
    try:
        reason = _serve(loop, channel, lambda: bool(asked_to_end))
    except Exception:
        reason = "agent-error"
        channel.send(MsgType.AGENT_ERROR, {"text": _traceback()})
    if delivered() is not None:
        write_text("/dev/kmsg", f"<3>{LAST_LINE}\n")
    uptime_ms = int(time.monotonic() * 1000)
    channel.send(MsgType.GOODBYE, {"reason": reason, "uptime_ms": uptime_ms})
    if delivered() is not None:
        _stay_busy()
    loop.run(time.monotonic() + LINGER_S, lambda: bool(asked_to_end))


def _stay_busy() -> None:
    # The virtual clock of an idle guest jumps from timer to timer: a minute is over at once.
    over = time.monotonic() + LINGER_S
    while time.monotonic() < over:
        pass


def _serve(loop: Loop, channel: Channel, shutdown: Callable[[], bool]) -> str:
    mailbox = Mailbox()
    shared = Shared()
    hello: dict[str, object] = {"protocol": PROTOCOL, "mailbox": mailbox.pages(), **facts()}
    channel.send(MsgType.HELLO, hello)
    if delivered() is None:
        shared.prepare()
    plan = _taken(mailbox, loop, channel)
    scheduler = Scheduler(plan["scheduler"], loop, channel)
    StatsRelay(loop, channel)
    reason, step = "done", BASELINE
    try:
        try:
            make_cgroup_parent(plan, loop)
            if plan.get("probes"):
                probes = Probes(loop, channel)
                probes.start()
                scheduler.probe_pid = probes.pid
            engine = _engine(plan, loop, channel, scheduler, shutdown, shared)
            if engine is not None:
                engine.prepare()
            scheduler.start()
            if engine is None:
                # What attaching set off in the kernel and in the scheduler's process is over then.
                loop.run(time.monotonic() + SETTLE_S)
                # A guest whose scheduler is dead already is not to be kept.
                scheduler.check("settling")
                mailbox.empty()
                channel.send(MsgType.PREPARED)
                plan = _taken(mailbox, loop, channel)
                engine = _engine(plan, loop, channel, scheduler, shutdown, shared)
                if engine is None:
                    raise ValueError("the plan has neither steps nor programs")
            try:
                engine.run()
            finally:
                step = engine.step
        except StepFailed as error:
            channel.send(MsgType.AGENT_ERROR, {"text": str(error), "step": step})
            reason = "step-failed"
        except Shutdown:
            reason = "shutdown"
        finally:
            scheduler.stop()
    except SchedulerDied:
        reason = "scheduler-died" if scheduler.was_attached else "scheduler-not-attached"
    channel.log(f"ends: {reason}")
    return reason


def _engine(
    plan: dict[str, Any],
    loop: Loop,
    channel: Channel,
    scheduler: Scheduler,
    shutdown: Callable[[], bool],
    shared: Shared,
) -> Engine | Programs | None:
    """What does the plan; None for what is to be ready before one."""
    if "steps" in plan:
        return Engine(plan, loop, channel, scheduler, shutdown, shared)
    if "programs" in plan:
        # Here, because no scenario needs it.
        from agent.programs import Programs

        return Programs(loop, channel, scheduler, shutdown)
    return None


def _taken(mailbox: Mailbox, loop: Loop, channel: Channel) -> dict[str, Any]:
    """The next plan, or the part of one that is to be got ready before the rest is known.

    Wall clock and random numbers may be those of a guest that was cloned: they are refreshed.
    """
    payload, wall_ns = delivered(), 0
    if payload is None:
        # A scheduler may be attached already, and what it says is to be read meanwhile.
        payload, wall_ns = mailbox.wait(lambda: loop.run(time.monotonic() + POLL_S))
    if wall_ns:
        time.clock_settime_ns(time.CLOCK_REALTIME, wall_ns)
    if mailbox.entropy:
        refresh_entropy(mailbox.entropy)
    plan: dict[str, Any] = msgpack.unpackb(payload)
    if "steps" in plan:
        channel.log(f"plan {plan['name']!r} of {len(payload)} bytes, {len(plan['steps'])} steps")
    return plan


def _traceback() -> str:
    # The traceback module is not in the image's closure: frames by hand are enough.
    kind, error, trace = sys.exc_info()
    lines = []
    while trace is not None:
        code = trace.tb_frame.f_code
        lines.append(f"  {code.co_filename}:{trace.tb_lineno} in {code.co_name}")
        trace = trace.tb_next
    lines.append(f"{kind.__name__ if kind else 'error'}: {error}")
    lines += [f"during {note}" for note in getattr(error, "__notes__", ())]
    return "\n".join(lines)
