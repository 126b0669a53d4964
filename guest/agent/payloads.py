# SPDX-License-Identifier: GPL-2.0-only
"""Programs of the user's that run beside the workers: start, wait, kill, pass on what they said."""

from __future__ import annotations

import os
import time

from agent.cgroups import HOST, Cgroups
from agent.channel import Channel
from agent.loop import Loop, read_available
from agent.processes import REAP_S, SIGKILL, Child
from agent.workers import exit_info
from ktstr.wire import MsgType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OUTPUT_CAP = 1024 * 1024
# After its end a program's last words are in the pipe; a child it left behind may hold it open.
DRAIN_S = 0.2


class Output:
    """One end of a pipe that a program writes to: the first MiB is kept, all of it is read."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self.fd, self.write_fd = os.pipe()
        os.set_blocking(self.fd, False)
        self.data = bytearray()
        self.cut = False
        loop.add(self.fd, self._read)

    def _read(self) -> None:
        data = read_available(self.fd)
        if data == b"":
            self._loop.remove(self.fd)
        room = OUTPUT_CAP - len(self.data)
        self.data += (data or b"")[:room]
        self.cut = self.cut or len(data or b"") > room

    @property
    def ended(self) -> bool:
        """Whether nobody can write any more."""
        return self.fd not in self._loop

    def close(self) -> None:
        """Read no more."""
        self._loop.remove(self.fd)
        os.close(self.fd)


class Payload:
    """One running program."""

    def __init__(self, loop: Loop, cgroups: Cgroups, op: dict[str, Any], step: int) -> None:
        """Start it in its cgroup.

        :raise OSError: when there is no such cgroup.
        """
        self.op = op
        self.step = step
        self._started = time.monotonic()
        self._seconds = 0.0
        self._loop = loop
        procs = f"{cgroups.path(op['cgroup'] or HOST)}/cgroup.procs"
        procs_fd = os.open(procs, os.O_WRONLY)
        null = os.open("/dev/null", os.O_RDONLY)
        self.stdout, self.stderr = Output(loop), Output(loop)
        fds = {0: null, 1: self.stdout.write_fd, 2: self.stderr.write_fd}
        try:
            self.child = Child(list(op["argv"]), fds, procs_fd=procs_fd)
        except OSError:
            self.stdout.close()
            self.stderr.close()
            raise
        finally:
            for fd in (procs_fd, *fds.values()):
                os.close(fd)
        # So that whoever waits in the loop wakes up.
        loop.add(self.child.pidfd, self._ended)

    def _ended(self) -> None:
        if self.child.poll():
            self._seconds = time.monotonic() - self._started
            self._loop.remove(self.child.pidfd)

    def finish(self, killed: str) -> dict[str, object]:
        """Kill it if it still runs, and say how it ended; ``killed`` is then the reason."""
        ended = self.child.poll()
        seconds = self._seconds or time.monotonic() - self._started
        self.child.kill(SIGKILL)
        self.child.wait(REAP_S)
        self._loop.remove(self.child.pidfd)
        self.child.close()
        self._loop.run(time.monotonic() + DRAIN_S, lambda: self.stdout.ended and self.stderr.ended)
        self.stdout.close()
        self.stderr.close()
        return {
            "name": self.op["name"],
            "step": self.step,
            "killed": None if ended else killed,
            "exit": exit_info(self.child.status),
            "wall_ms": int(seconds * 1000),
            "stdout": bytes(self.stdout.data),
            "stderr": bytes(self.stderr.data),
            "cut": self.stdout.cut or self.stderr.cut,
        }


class Payloads:
    """The programs running now, by name."""

    def __init__(self, loop: Loop, channel: Channel, cgroups: Cgroups) -> None:
        self._loop = loop
        self._channel = channel
        self._cgroups = cgroups
        self._running: dict[str, Payload] = {}

    def run(self, op: dict[str, Any], step: int) -> None:
        """Start a RunPayload op's program.

        :raise OSError: when its cgroup is not there.
        :raise ValueError: when a program of that name runs.
        """
        name = op["name"]
        if name in self._running:
            raise ValueError(f"payload {name!r} runs already")
        self._channel.log(f"payload {name!r}: " + " ".join(op["argv"]))
        self._running[name] = Payload(self._loop, self._cgroups, op, step)

    def ended(self, name: str) -> bool:
        """Whether the program has ended by itself."""
        payload = self._running.get(name)
        return payload is None or payload.child.poll()

    def finish(self, name: str, killed: str) -> None:
        """End the program if it still runs, and tell the host how it went.

        :raise ValueError: when there is none of that name.
        """
        payload = self._running.pop(name, None)
        if payload is None:
            raise ValueError(f"no payload {name!r} runs")
        self._channel.send(MsgType.PAYLOAD_RESULT, payload.finish(killed))

    def end_step(self, step: int) -> None:
        """End all programs that a step started."""
        for name, payload in list(self._running.items()):
            if payload.step == step:
                self.finish(name, "its step ended")

    def end_all(self) -> None:
        """End everything."""
        for name in list(self._running):
            self.finish(name, "the scenario ended")
