# SPDX-License-Identifier: GPL-2.0-only
"""Faults on purpose, to show what the harness does when the guest misbehaves."""

from __future__ import annotations

import os
import time

from agent.channel import Channel
from agent.processes import SIGKILL
from agent.scheduler import Scheduler
from agent.system import write_text
from agent.workers import Workers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def inject(op: dict[str, Any], workers: Workers, scheduler: Scheduler, channel: Channel) -> None:
    """Do the harm an InjectFault op names.

    :raise ValueError: on a name that is none, or when its victim does not exist.
    """
    fault = op["fault"]
    channel.log(f"injecting fault {fault!r}")
    if fault == "kernel-panic":
        write_text("/proc/sysrq-trigger", "c")
    elif fault == "guest-hang":
        _hang()
    elif fault == "kill-worker":
        wanted = op.get("cgroup")
        groups = workers.of_cgroup(wanted) if wanted else workers.groups
        pids = [pid for group in groups for pid in group.pids]
        if not any(_killed(pid) for pid in pids):
            raise ValueError("kill-worker: no worker is alive")
    elif fault == "kill-agent":
        os.kill(os.getpid(), SIGKILL)
    elif fault == "kill-scheduler":
        if scheduler.pid is None:
            raise ValueError("kill-scheduler: no scheduler runs")
        os.kill(scheduler.pid, SIGKILL)
    elif fault == "garbage-on-port":
        _garbage(channel.bulk_fd, int(op["size"]))
    else:
        raise ValueError(f"unknown fault {fault!r}")


def _killed(pid: int) -> bool:
    try:
        os.kill(pid, SIGKILL)
    except ProcessLookupError:
        return False  # an earlier fault's victim
    return True


def _hang() -> None:
    # One spinner per CPU above every priority the agent has, with the real-time throttle
    # off: nothing in the guest runs again, as in a kernel that loops with preemption off.
    write_text("/proc/sys/kernel/sched_rt_runtime_us", "-1")
    top = os.sched_param(os.sched_get_priority_max(os.SCHED_FIFO))
    for cpu in sorted(os.sched_getaffinity(0), reverse=True):
        if os.fork() == 0:
            try:
                os.sched_setaffinity(0, {cpu})
                os.sched_setscheduler(0, os.SCHED_FIFO, top)
                while True:
                    pass
            finally:
                os._exit(1)  # never back into the agent's code
    time.sleep(3600)


def _garbage(fd: int, size: int) -> None:
    state = 0x9E3779B97F4A7C15
    words = bytearray()
    while len(words) < 65536:
        state ^= state << 13 & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 7
        state ^= state << 17 & 0xFFFFFFFFFFFFFFFF
        words += state.to_bytes(8, "little")
    sent = 0
    while sent < size:
        sent += os.write(fd, words[: size - sent])
