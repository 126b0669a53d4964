# SPDX-License-Identifier: GPL-2.0-only
"""A state folder on a full disk: nothing more is taken, nothing that was is lost."""

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from tests.unit.daemon.conftest import FAKE, PATIENCE_S, over, script, until

from ktstr.daemon.submission import RunState
from ktstr.daemon.supervisor import supervising
from ktstr.errors import ServiceRefused


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB, which root may mount; tests run as root."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "ktstr-test", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Use up what is left."""
    ballast = folder / "ballast"
    with ballast.open("ab", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue
    return ballast


def enlarge(folder: Path) -> None:
    """Make room."""
    subprocess.run(["mount", "-o", "remount,size=64m", str(folder)], check=True)


async def test_a_full_disk_refuses_what_comes_and_loses_nothing_that_was_taken(
    small_disk: Path,
) -> None:
    state = small_disk / "state"
    async with supervising(state, FAKE) as supervisor:
        lines = ("cpus 4", "lease", "kept", "verdict fail 1")
        running = await supervisor.submit(script(*lines))
        waiting = await supervisor.submit(script("cpus 4", "lease", "verdict skip 0"))
        await until(supervisor, running, "kept")
        await over(supervisor, waiting)
        shutil.rmtree(state / "runs" / waiting.id)
        ballast = fill(small_disk)
        with pytest.raises(ServiceRefused, match=r"cannot be written.*\n.*free space there"):
            # Large, so that no page that happens to be free takes it.
            await supervisor.submit(script("# " + "x" * 200_000))
        # What runs goes on to its end; its end is known, though nowhere on disk.
        await supervisor.release(running.id)
        ended = await over(supervisor, running)
        assert (ended.state, ended.verdict, ended.exit_code) == (RunState.FINISHED, "fail", 1)
        ballast.unlink()
        with anyio.fail_after(PATIENCE_S):
            after = await over(supervisor, await supervisor.submit(script("verdict pass 0")))
        assert after.verdict == "pass"
    async with supervising(state, FAKE) as supervisor:
        stored = {row.id: row.verdict for row in await supervisor.rows()}
        assert stored == {running.id: "fail", waiting.id: "skip", after.id: "pass"}


async def test_a_run_that_ends_while_nothing_can_be_written_is_written_later(
    small_disk: Path,
) -> None:
    from ktstr.daemon.store import Change, Store
    from ktstr.daemon.submission import RunRow
    from ktstr.daemon.writer import Writer

    store = Store(small_disk / "runs.sqlite")
    row = RunRow("20260101-000000-0000", RunState.QUEUED, script("# " + "y" * 4000), "one", 1.0)
    store.write(Change([row]))
    ballast = fill(small_disk)
    async with anyio.create_task_group() as group:
        writer = Writer(store)
        group.start_soon(writer.run)
        many = [
            RunRow(f"20260101-000000-{n:04x}", RunState.FINISHED, row.submission, "one", 1.0)
            for n in range(600)
        ]
        for each in many:
            writer.put(each)
        refused = replace(row, id="20260101-000001-0000")
        with pytest.raises(ServiceRefused, match="full"):
            await writer.commit(refused)
        assert writer.failure is not None and "full" in writer.failure
        ballast.unlink()
        enlarge(small_disk)
        with anyio.fail_after(PATIENCE_S):
            await writer.written()
        assert writer.failure is None
        group.cancel_scope.cancel()
    assert store.counts() == {"finished": 600}
    store.close()
