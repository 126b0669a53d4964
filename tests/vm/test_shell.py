# SPDX-License-Identifier: GPL-2.0-only
"""ktstr shell: a command's output and status, and a real terminal on a guest."""

import fcntl
import hashlib
import os
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.vm.conftest import MARK, PATIENCE_S, Ktstr

PROMPT = b"# "
ROWS, COLUMNS = 33, 101


class Terminal:
    """A terminal of 33 by 101 with ``ktstr shell`` in it."""

    def __init__(self, ktstr: Ktstr, *args: str) -> None:
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
            env={
                **os.environ,
                MARK: ktstr.mark,
                "TMPDIR": str(ktstr.folder),
                "TERM": "vt100",
                **ktstr.env,
            },
            text=True,
        )
        self.slave = slave
        ktstr.started.append(self.process)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def until(self, words: bytes) -> bytes:
        """Read up to these words and give what came before them."""
        over = time.monotonic() + PATIENCE_S
        while words not in self.seen:
            ready, _, _ = select.select([self.master], [], [], max(0.0, over - time.monotonic()))
            if not ready:
                pytest.fail(f"{words!r} did not come; there is {self.seen!r}")
            data = os.read(self.master, 65536)
            self.seen += data
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


@pytest.fixture
def terminals(ktstr: Ktstr) -> Iterator[list[Terminal]]:
    made: list[Terminal] = []
    yield made
    for terminal in made:
        terminal.close()


def test_a_command_with_a_scheduler_and_files_of_the_hosts(ktstr: Ktstr, tmp_path: Path) -> None:
    (tmp_path / "data.txt").write_text("of the host's\n")
    folder = tmp_path / "set"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "one").write_text("1\n")
    script = (
        "cat /sys/kernel/sched_ext/root/ops /include/data.txt /etc/set/inner/one; "
        # A program with libraries that is not in the base image, and not busybox's.
        "taskset --version; nproc; grep -c ktstr_word /proc/cmdline; echo oops >&2; exit 5"
    )
    done = ktstr.finish(
        ktstr.command(
            *("shell", "--scheduler", "scx_ktstr", "--include", str(tmp_path / "data.txt")),
            *("--include", f"{folder}:/etc/set", "--include", "taskset"),
            *("--topology", "1n1l3c1t", "--kernel-arg", "ktstr_word", "--exec", script),
        )
    )
    assert done.code == 5, done.output
    lines = [line for line in done.output.splitlines() if not line.endswith(" ...")]
    assert lines[0] == "ktstr"
    assert lines[1:3] == ["of the host's", "1"]
    assert "util-linux" in lines[3]
    assert lines[4:6] == ["3", "1"]
    assert "oops" in lines


def test_a_terminal(ktstr: Ktstr, terminals: list[Terminal]) -> None:
    terminal = Terminal(ktstr)
    terminals.append(terminal)
    assert b"Ctrl-] q leaves" in terminal.prompt()
    assert terminal.does(b"stty size").strip() == f"{ROWS} {COLUMNS}".encode()
    assert terminal.does(b"echo $TERM; tty").split() == [b"vt100", b"/dev/pts/0"]
    # The size follows the host's terminal.
    terminal.resize(20, 70)
    size = b""
    while size != b"20 70":
        size = terminal.does(b"stty size").strip()
    # Ctrl-C ends the foreground process only, also in the middle of endless output.
    terminal.type(b"yes; echo status=$?\r")
    terminal.until(b"y\r\ny\r\ny\r\n")
    terminal.type(b"\x03")
    terminal.until(b"^C")
    terminal.prompt()
    assert terminal.does(b"echo $?").strip() == b"130"
    # Ctrl-Z stops it, and the shell has it as a job.
    # Until it prints, the shell's line editor may have the terminal yet, without signals.
    terminal.type(b"echo go''es; sleep 1000\r")
    terminal.until(b"goes\r\n")
    terminal.type(b"\x1a")
    terminal.prompt()
    assert b"Stopped" in terminal.does(b"jobs")
    terminal.type(b"\x1d?")
    terminal.until(b"[ktstr] Ctrl-] q leaves and ends the guest")
    terminal.type(b"exit 9\r")
    # Ash warns of stopped jobs once.
    terminal.until(b"stopped jobs")
    terminal.type(b"exit 9\r")
    assert terminal.end() == 9


def test_a_panic_is_told_and_the_terminal_restored(ktstr: Ktstr, terminals: list[Terminal]) -> None:
    terminal = Terminal(ktstr)
    terminals.append(terminal)
    terminal.prompt()
    terminal.type(b"echo c > /proc/sysrq-trigger\r")
    assert terminal.end() == 3
    said = terminal.seen.decode()
    assert "error: the guest kernel panicked" in said and "sysrq" in said
    assert "console: " in said


@pytest.mark.parametrize("how", ["escape", "SIGTERM"])
def test_leaving_a_busy_guest(ktstr: Ktstr, terminals: list[Terminal], how: str) -> None:
    terminal = Terminal(ktstr)
    terminals.append(terminal)
    terminal.prompt()
    terminal.type(b"sleep 1000\r")
    terminal.until(b"sleep 1000\r\n")
    if how == "escape":
        terminal.type(b"\x1dq")
    else:
        terminal.process.send_signal(signal.SIGTERM)
    assert terminal.end() == 130


def test_input_and_output_without_a_terminal(ktstr: Ktstr) -> None:
    data = os.urandom(300_000)
    script = "md5sum; head -c 700000 /dev/zero; echo late >&2; exit 3"
    done = subprocess.run(
        [sys.executable, "-m", "ktstr.cli.main", "shell", "--exec", script],
        input=data,
        capture_output=True,
        timeout=PATIENCE_S,
        env={**os.environ, MARK: ktstr.mark, "TMPDIR": str(ktstr.folder), **ktstr.env},
        check=False,
    )
    digest, _, rest = done.stdout.partition(b"\n")
    assert digest.split() == [hashlib.md5(data).hexdigest().encode(), b"-"], done.stderr
    # More than the windows of either way.
    assert rest == bytes(700_000)
    assert (done.stderr, done.returncode) == (b"late\n", 3)
