# SPDX-License-Identifier: GPL-2.0-only
"""Run long host programs line by line: two deadlines, no orphans."""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import anyio
from anyio.abc import Process

from ktstr.errors import HostUnfit

_LINE_LIMIT = 4096
_TAIL_LINES = 40
_GRACE_SECONDS = 10.0
_KEPT = ("HOME", "PATH", "TMPDIR", "USER", "LOGNAME", "TERM", "XDG_CACHE_HOME")
_KEPT_PREFIXES = (
    "CCACHE_",
    "GIT_SSH",
    "GIT_CONFIG",
    "SSH_",
    "http_",
    "https_",
    "HTTP_",
    "HTTPS_",
    "NO_",
    "no_",
)


def clean_environment() -> dict[str, str]:
    """What programs inherit: nothing that could change what is built (``CC``, ``MAKEFLAGS``…)."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in _KEPT or name.startswith(_KEPT_PREFIXES)
    }
    return {**kept, "LC_ALL": "C"}


async def stream(
    argv: Sequence[str],
    *,
    seconds: float,
    silence: float | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    sink: Callable[[bytes], object] | None = None,
    on_line: Callable[[str], None] | None = None,
    stdin: int = subprocess.DEVNULL,
) -> tuple[int, list[str]]:
    """Run *argv* and return its status and the last lines of its output, errors included.

    :param seconds: the longest it may take; *silence*: the longest it may print nothing.
    :param env: variables beside :func:`clean_environment`.
    :param sink: takes every byte of the output.
    :param on_line: called with each line; a carriage return ends one as well.
    :param stdin: a file descriptor for the program to read, by default none.
    :raise HostUnfit: it is not installed, or did not end in time.
    """
    program = shutil.which(argv[0])
    if program is None:
        raise HostUnfit(
            f"`{argv[0]}` is not on this machine", hint=f"apt-get install {argv[0].split('/')[-1]}"
        )
    tail: list[str] = []
    lines = _Lines(tail, on_line)
    # A session of its own: make's children go with it when the wait is given up.
    process = await anyio.open_process(
        list(argv),
        cwd=cwd,
        env={**clean_environment(), **(env or {})},
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    async with process:
        try:
            assert process.stdout is not None
            with anyio.fail_after(seconds):
                while True:
                    with anyio.fail_after(silence):
                        try:
                            chunk = await process.stdout.receive()
                        except anyio.EndOfStream:
                            break
                    if sink is not None:
                        sink(chunk)
                    lines.feed(chunk)
                lines.end()
                status = await process.wait()
        except BaseException as error:
            with anyio.CancelScope(shield=True):
                await _end(process)
            if isinstance(error, TimeoutError):
                raise HostUnfit(
                    f"`{' '.join(argv)[:200]}` did not end within {seconds:.0f} s"
                    + (f", or printed nothing for {silence:.0f} s" if silence else ""),
                    hint="try again when the machine has less to do",
                ) from error
            raise
    return status, tail


async def _end(process: Process) -> None:
    """End a program and its children: first so that make removes what is half made."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with anyio.move_on_after(_GRACE_SECONDS):
            await process.wait()
            # make ends after its children, but a killed one leaves them behind
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            return


class _Lines:
    """Cuts chunks into lines of bounded length and keeps the last ones."""

    def __init__(self, tail: list[str], on_line: Callable[[str], None] | None) -> None:
        self._tail = tail
        self._on_line = on_line
        self._rest = b""

    def feed(self, chunk: bytes) -> None:
        *whole, self._rest = (self._rest + chunk.replace(b"\r", b"\n")).split(b"\n")
        for line in whole:
            self._take(line)
        if len(self._rest) > _LINE_LIMIT:
            self._take(self._rest)
            self._rest = b""

    def end(self) -> None:
        if self._rest:
            self._take(self._rest)

    def _take(self, raw: bytes) -> None:
        line = raw[:_LINE_LIMIT].decode("utf-8", "replace")
        if line.strip():
            self._tail.append(line)
            del self._tail[:-_TAIL_LINES]
        if self._on_line is not None:
            self._on_line(line)
