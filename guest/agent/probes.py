# SPDX-License-Identifier: GPL-2.0-only
"""Probes on the scheduler's callbacks: a helper process that a repeated run has.

What it records stays in its BPF maps, for the host to read from memory: it lives as long as the
guest does.
"""

from __future__ import annotations

import os
import time

from agent.channel import Channel
from agent.loop import Loop, read_available
from agent.processes import REAP_S, Child, describe_status

PROBER = "/ktstr/bin/scx_probe"
OBJECT = "/ktstr/sched/probe.bpf.o"
READY = b"ready: "
# It loads the kernel's types and a program; under emulation that takes most of a second.
START_S = 15.0
LOG_CAP = 64 * 1024


class Probes:
    """Starts the helper and passes its words on to the log."""

    def __init__(self, loop: Loop, channel: Channel) -> None:
        self._loop = loop
        self._channel = channel
        self._child: Child | None = None
        self._said = b""

    @property
    def pid(self) -> int | None:
        """Process id of the helper while it works."""
        return None if self._child is None or self._child.poll() else self._child.pid

    def start(self) -> None:
        """Start the helper and wait until it stands at the exit path; a failure is only logged."""
        read_end, write_end = os.pipe()
        null = os.open("/dev/null", os.O_RDONLY)
        try:
            fds = {0: null, 1: write_end, 2: write_end}
            self._child = Child([PROBER, OBJECT], fds, realtime=True)
        except OSError as error:
            self._channel.log(f"no probes: {PROBER}: {error.strerror}")
            os.close(read_end)
            return
        finally:
            os.close(null)
            os.close(write_end)
        os.set_blocking(read_end, False)
        self._loop.add(read_end, lambda: self._read(read_end))
        child = self._child
        # The end of its output is the end of its life: what it said until then is read.
        self._loop.run(
            time.monotonic() + START_S, lambda: READY in self._said or read_end not in self._loop
        )
        if READY not in self._said:
            if read_end not in self._loop:
                child.wait(REAP_S)
            self._channel.log(
                f"no probes: not ready after {START_S:g} s at most: {describe_status(child.status)}"
            )

    def _read(self, fd: int) -> None:
        data = read_available(fd)
        if data == b"":
            self._loop.remove(fd)
            os.close(fd)
        elif data and len(self._said) < LOG_CAP:
            self._said += data
            for line in data.decode("utf-8", "replace").splitlines():
                self._channel.log(f"probes: {line}")
