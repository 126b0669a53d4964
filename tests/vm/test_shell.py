# SPDX-License-Identifier: GPL-2.0-only
"""ktstr shell: a command's output and status, and a real terminal on a guest."""

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.vm.conftest import MARK, PATIENCE_S, Ktstr
from tests.vm.terminal import COLUMNS, ROWS, Terminal


@pytest.fixture
def terminal_with(ktstr: Ktstr) -> Iterator[Callable[..., Terminal]]:
    """Starts ``ktstr shell`` with these arguments on a terminal."""
    made: list[Terminal] = []

    def start(*args: str) -> Terminal:
        env = {MARK: ktstr.mark, "TMPDIR": str(ktstr.folder), **ktstr.env}
        made.append(Terminal(*args, env=env))
        ktstr.started.append(made[-1].process)
        return made[-1]

    yield start
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


def test_a_terminal(terminal_with: Callable[..., Terminal]) -> None:
    terminal = terminal_with()
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


def test_a_panic_is_told_and_the_terminal_restored(terminal_with: Callable[..., Terminal]) -> None:
    terminal = terminal_with()
    terminal.prompt()
    terminal.type(b"echo c > /proc/sysrq-trigger\r")
    assert terminal.end() == 3
    said = terminal.seen.decode()
    assert "error: the guest kernel panicked" in said and "sysrq" in said
    assert "console: " in said


@pytest.mark.parametrize("how", ["escape", "SIGTERM"])
def test_leaving_a_busy_guest(terminal_with: Callable[..., Terminal], how: str) -> None:
    terminal = terminal_with()
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
