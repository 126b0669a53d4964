# SPDX-License-Identifier: GPL-2.0-only
"""A terminal with ``ktstr shell`` in it, at whose other end the caller types and reads."""

import fcntl
import os
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping

PROMPT = b"# "
ROWS, COLUMNS = 33, 101
PATIENCE_S = 300.0


class Terminal:
    """A terminal of 33 by 101 with ``ktstr shell`` in it."""

    def __init__(self, *args: str, env: Mapping[str, str] | None = None) -> None:
        self.master, slave = os.openpty()
        self.resize(ROWS, COLUMNS)
        self.before = termios.tcgetattr(slave)
        self.seen = b""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ktstr.cli.main", "shell", *args],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            # It is to hear of changes of size, which only a controlling terminal tells.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            env={**os.environ, "TERM": "vt100", **(env or {})},
            text=True,
        )
        self.slave = slave

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def until(self, words: bytes) -> bytes:
        """Read up to these words and give what came before them."""
        over = time.monotonic() + PATIENCE_S
        while words not in self.seen:
            gone = self.process.poll() is not None
            ready, _, _ = select.select([self.master], [], [], 0.5)
            if not ready and (gone or time.monotonic() > over):
                raise AssertionError(f"{words!r} did not come; there is {self.seen!r}")
            if ready:
                self.seen += os.read(self.master, 65536)
        before, _, self.seen = self.seen.partition(words)
        return before

    def prompt(self) -> bytes:
        return self.until(PROMPT)

    def does(self, command: bytes) -> bytes:
        """Type a command and give what it printed, without its echo, up to the next prompt."""
        self.type(command + b"\r")
        self.until(b"\r\n")
        return self.prompt().rpartition(b"\r\n")[0]

    def end(self) -> int:
        """Its exit status; the terminal has to be as it was before."""
        over = time.monotonic() + PATIENCE_S
        # What it still writes has to be read, or it would wait.
        while self.process.poll() is None and time.monotonic() < over:
            ready, _, _ = select.select([self.master], [], [], 0.05)
            if ready:
                self.seen += os.read(self.master, 65536)
        assert self.process.returncode is not None, "it did not end"
        while select.select([self.master], [], [], 0)[0]:
            self.seen += os.read(self.master, 65536)
        assert termios.tcgetattr(self.slave) == self.before
        return self.process.returncode

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)
