# SPDX-License-Identifier: GPL-2.0-only
"""From the first instruction to the last frame: Hello, mailbox, scenario, Goodbye."""

from __future__ import annotations

import sys
import time

import msgpack

from agent.channel import Channel
from agent.loop import Loop
from agent.mailbox import Mailbox
from agent.processes import become_realtime, reserve_low_fds
from agent.relay import StatsRelay
from agent.scheduler import Scheduler, SchedulerDied
from agent.steps import Engine, Shutdown, StepFailed
from agent.system import facts, write_text
from agent.workers import WorkerFailure
from ktstr.wire import MsgType

PROTOCOL = 1
# After Goodbye the host ends the VM; without a host the guest powers off by itself.
LINGER_S = 60.0


def main() -> None:
    """Run as the guest's only service; returns once the guest may power off."""
    reserve_low_fds()
    become_realtime()
    loop = Loop()
    channel = Channel(loop)
    asked_to_end: list[bool] = []
    channel.on(MsgType.SHUTDOWN, lambda payload: asked_to_end.append(True))
    try:
        reason = _serve(loop, channel)
    except Exception:
        reason = "agent-error"
        channel.send(MsgType.AGENT_ERROR, {"text": _traceback()})
    channel.send(MsgType.GOODBYE, {"reason": reason})
    loop.run(time.monotonic() + LINGER_S, lambda: bool(asked_to_end))


def _serve(loop: Loop, channel: Channel) -> str:
    mailbox = Mailbox()
    hello: dict[str, object] = {"protocol": PROTOCOL, "mailbox": mailbox.pages(), **facts()}
    channel.send(MsgType.HELLO, hello)
    payload, wall_ns = mailbox.wait()
    if wall_ns:
        time.clock_settime(time.CLOCK_REALTIME, wall_ns / 1e9)
    plan = msgpack.unpackb(payload)
    channel.log(f"plan {plan['name']!r} of {len(payload)} bytes, {len(plan['steps'])} steps")
    for name, value in plan.get("sysctls") or []:
        write_text("/proc/sys/" + name.replace(".", "/"), value)
    scheduler = Scheduler(plan["scheduler"], loop, channel)
    StatsRelay(loop, channel)
    engine = Engine(plan, loop, channel, scheduler)
    channel.on(MsgType.SHUTDOWN, lambda payload: setattr(engine, "shutdown", True))
    try:
        scheduler.start()
        engine.run()
        reason = "done"
    except SchedulerDied:
        reason = "scheduler-died" if engine.started else "scheduler-not-attached"
    except (StepFailed, WorkerFailure) as error:
        channel.send(MsgType.AGENT_ERROR, {"text": str(error), "step": engine.step})
        reason = "step-failed"
    except Shutdown:
        reason = "shutdown"
    scheduler.stop()
    channel.log(f"ends: {reason}")
    return reason


def _traceback() -> str:
    # The traceback module is not in the image's closure: frames by hand are enough.
    kind, error, trace = sys.exc_info()
    lines = []
    while trace is not None:
        code = trace.tb_frame.f_code
        lines.append(f"  {code.co_filename}:{trace.tb_lineno} in {code.co_name}")
        trace = trace.tb_next
    lines.append(f"{kind.__name__ if kind else 'error'}: {error}")
    return "\n".join(lines)
