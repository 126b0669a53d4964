# SPDX-License-Identifier: GPL-2.0-only
"""What all worker groups of a guest share, and how their leaders are started.

Most of it is made before there is a plan, so that a guest which continues a saved one has it
already: under emulation the first use of each piece of code costs a hundred times what the next
does, and a clone uses everything for the first time.
"""

from __future__ import annotations

import os
import struct

from agent.counters import Counters
from agent.processes import REAP_S, SIGKILL, Child

WORKER = "/ktstr/bin/worker"
# What the pipe takes at once: a leader that waits has read nothing of its commands then.
SPARE_BYTES = 4096


class Leader:
    """The process that starts, stops and collects the workers of one group.

    :ivar command_fd: takes its commands, single bytes.
    :ivar output_fd: gives its messages.
    """

    def __init__(self, argv: list[str], shared: Shared, cgroup: str | None = None) -> None:
        """Start it; ``cgroup`` is the folder that it is to know as descriptor 4.

        :raise OSError: when it cannot be started; nothing is left open then.
        """
        fds = {2: shared.log_write, 3: shared.counters.fd}
        theirs: dict[int, int] = {}
        self.command_fd = self.output_fd = -1
        try:
            theirs[0], self.command_fd = os.pipe()
            self.output_fd, theirs[1] = os.pipe()
            if cgroup is not None:
                theirs[4] = os.open(cgroup, os.O_RDONLY)
            self.child = Child(argv, {**fds, **theirs}, realtime=True)
        except OSError:
            for fd in (self.command_fd, self.output_fd):
                if fd >= 0:
                    os.close(fd)
            raise
        finally:
            for fd in theirs.values():
                os.close(fd)

    def end(self) -> None:
        """End it, whatever it does, and give back what it has."""
        os.close(self.command_fd)
        os.close(self.output_fd)
        self.child.kill(SIGKILL)
        self.child.wait(REAP_S)
        self.child.close()


class Shared:
    """Counters, the pipe for what leaders have to say, and a leader that has no work yet."""

    def __init__(self) -> None:
        self.counters = Counters()
        self.log_read, self.log_write = os.pipe()
        os.set_blocking(self.log_read, False)
        self._spare: Leader | None = None

    def prepare(self, program: str = WORKER) -> None:
        """Start a leader that waits for its work, which the first group to come will have."""
        try:
            self._spare = Leader([program, "wait"], self)
        except OSError:
            pass  # whoever needs one will hear why there is none

    def leader(self, program: str, words: list[str], cgroup: str) -> Leader:
        """A leader for that work, whose workers begin in the cgroup of that folder.

        :raise OSError: when it cannot be started.
        """
        spare, self._spare = self._spare, None
        if spare is not None:
            text = b"".join(os.fsencode(word) + b"\0" for word in (*words, f"cgroup_at={cgroup}"))
            if len(text) + 2 <= SPARE_BYTES:
                try:
                    os.write(spare.command_fd, struct.pack("<H", len(text)) + text)
                except BrokenPipeError:
                    pass  # something killed it while it waited
                else:
                    return spare
            spare.end()
        return Leader([program, "lead", *words, "cgroup_fd=4"], self, cgroup)

    def close(self) -> None:
        """Give it all back; no group may be left."""
        if self._spare is not None:
            self._spare.end()
            self._spare = None
        os.close(self.log_read)
        os.close(self.log_write)
        self.counters.close()
