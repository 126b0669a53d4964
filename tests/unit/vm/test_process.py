# SPDX-License-Identifier: GPL-2.0-only
import gc
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from ktstr.errors import HostUnfit
from ktstr.vm import process
from ktstr.vm.process import Child, spawn

pytestmark = pytest.mark.anyio

PATIENCE_S = 20.0


def start(tmp_path: Path, script: str, seen: list[int], fds: tuple[int, ...] = ()) -> Child:
    return spawn(["/bin/sh", "-c", script], fds=fds, output=tmp_path / "out", on_exit=seen.append)


async def test_output_and_status_are_kept(tmp_path: Path) -> None:
    seen: list[int] = []
    child = start(tmp_path, "echo out; echo err >&2; exit 3", seen)
    try:
        assert await child.wait(PATIENCE_S)
    finally:
        child.close()
    assert (child.status, seen) == (3, [3])
    assert (tmp_path / "out").read_text() == "out\nerr\n"


async def test_pid_is_that_of_the_program_in_a_session_of_its_own(tmp_path: Path) -> None:
    child = start(tmp_path, 'echo "$$"; exit 0', [])
    try:
        session = os.getsid(child.pid)
        assert await child.wait(PATIENCE_S)
    finally:
        child.close()
    assert int((tmp_path / "out").read_text()) == child.pid == session


async def test_descriptors_are_inherited(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    try:
        child = start(tmp_path, f"echo hello >/proc/self/fd/{writing}", [], (writing,))
        try:
            assert await child.wait(PATIENCE_S)
        finally:
            child.close()
        assert os.read(reading, 10) == b"hello\n"
    finally:
        os.close(reading)
        os.close(writing)


async def test_kill_reaches_a_program_that_ignores_sigterm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "TERM_DEADLINE_S", 0.1)
    seen: list[int] = []
    child = start(tmp_path, "trap '' TERM; echo ready; while :; do sleep 0.1; done", seen)
    try:
        with anyio.fail_after(PATIENCE_S):
            # Only the program knows when its trap is set, and it tells through the file.
            while not (tmp_path / "out").read_text():  # noqa: ASYNC110
                await anyio.sleep(0.01)
        await child.kill()
    finally:
        child.close()
    assert (child.status, seen) == (-signal.SIGKILL, [-signal.SIGKILL])


async def test_wait_gives_up_and_close_ends_the_program(tmp_path: Path) -> None:
    gc.collect()  # what an earlier test's garbage holds must not end in this one
    before = set(os.listdir("/proc/self/fd"))
    child = start(tmp_path, "exec sleep 60", [])
    assert not await child.wait(0.01)
    child.close()
    child.close()
    assert child.status == -signal.SIGKILL
    assert set(os.listdir("/proc/self/fd")) == before


async def test_output_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(HostUnfit, match="cannot be started"):
        spawn(["/bin/true"], fds=[], output=tmp_path / "no" / "out", on_exit=lambda _: None)


ORPHAN = """
import os, sys, anyio
from pathlib import Path
from ktstr.vm.process import spawn

async def main():
    child = spawn(["sleep", "60"], fds=[], output=Path(sys.argv[1]), on_exit=lambda _: None)
    # The guards exec the program; only then is the death signal surely set.
    while Path(f"/proc/{child.pid}/comm").read_text() != "sleep\\n":
        await anyio.sleep(0.01)
    print(child.pid, flush=True)
    await anyio.sleep(60)

anyio.run(main)
"""


def test_program_dies_with_its_owner(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", ORPHAN, str(tmp_path / "out")],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        watch = os.pidfd_open(pid)
        try:
            owner.kill()
            readable, _, _ = select.select([watch], [], [], PATIENCE_S)
            assert readable == [watch]
        finally:
            os.close(watch)
