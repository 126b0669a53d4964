# SPDX-License-Identifier: GPL-2.0-only
"""Run the host's package programs: bounded in time, killed on cancellation, messages in English."""

import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import anyio
from anyio.abc import Process

from ktstr.errors import HostUnfit

_MAX_MESSAGES = 1 << 16
_MARKS = ("E: ", "W: ")


@dataclass(frozen=True, slots=True)
class Finished:
    """A program that ended: its status, what it printed, what it complained about."""

    status: int
    output: str
    messages: str

    @property
    def complaints(self) -> str:
        """The first of apt's warnings and errors, and how many more there are."""
        lines = [line[3:].strip() for line in self.messages.splitlines() if line[:3] in _MARKS]
        told = list(dict.fromkeys(line for line in lines if "Some index files" not in line))
        if not told:
            return f"status {self.status}"
        more = f" (and {len(told) - 1} more)" if told[1:] else ""
        return told[0][:400] + more


async def run(
    argv: Sequence[str],
    seconds: float,
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    sink: Callable[[bytes], None] | None = None,
    hint: str | None = None,
) -> Finished:
    """Run *argv* to its end.

    :param env: variables beside the inherited ones.
    :param sink: takes the output piece by piece instead of :attr:`Finished.output`.
    :param hint: for the error when the time is up.
    :raise HostUnfit: the program is not installed or did not end within *seconds*.
    """
    if shutil.which(argv[0]) is None:
        raise HostUnfit(
            f"`{argv[0]}` is not on this machine, and prebuilt kernels come through apt",
            hint="use a kernel file (path:FILE) or this machine's own (host)",
        )
    environ = {k: v for k, v in os.environ.items() if k not in ("LANGUAGE", "APT_CONFIG")}
    output, messages = bytearray(), bytearray()
    try:
        with anyio.fail_after(seconds):
            async with started(argv, {**environ, "LC_ALL": "C", **(env or {})}, cwd) as process:
                stdout, stderr = process.stdout, process.stderr
                assert stdout is not None and stderr is not None

                async def collect_messages() -> None:
                    async for chunk in stderr:
                        messages.extend(chunk[: _MAX_MESSAGES - len(messages)])

                async with anyio.create_task_group() as group:
                    group.start_soon(collect_messages)
                    async for chunk in stdout:
                        (sink or output.extend)(chunk)
                status = await process.wait()
    except TimeoutError as error:
        raise HostUnfit(
            f"`{' '.join(argv)}` did not end within {seconds:.0f} s", hint=hint
        ) from error
    return Finished(
        status, output.decode("utf-8", "replace"), bytes(messages).decode("utf-8", "replace")
    )


@asynccontextmanager
async def started(
    argv: Sequence[str],
    env: Mapping[str, str],
    cwd: Path | None = None,
    *,
    stdout: int | IO[bytes] = subprocess.PIPE,
    stderr: int = subprocess.PIPE,
) -> AsyncIterator[Process]:
    """A child in a session of its own; left early, it is killed with all its children.

    apt's helpers, and make's compilers, would otherwise work on after apt or make itself is gone.

    :raise OSError: it cannot be started.
    """
    async with await anyio.open_process(
        list(argv),
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
    ) as process:
        try:
            yield process
        except BaseException:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
            raise
