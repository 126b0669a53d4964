# SPDX-License-Identifier: GPL-2.0-only
"""Runs left to a daemon: what a client tells, and what becomes of it when something goes away."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import pytest
from tests.unit.daemon.conftest import FAKE, eventually, script, until

from ktstr.daemon import remote
from ktstr.daemon.address import SOCKET_VARIABLE
from ktstr.daemon.app import create_app
from ktstr.daemon.client import Daemon, DaemonLost, DaemonRefused
from ktstr.daemon.listen import Listener, unix_listener
from ktstr.daemon.remote import Kept, run_remotely
from ktstr.daemon.server import serve_all
from ktstr.daemon.submission import KERNEL_LACKS, RunRow, RunState
from ktstr.daemon.supervisor import Supervisor, supervising
from ktstr.errors import CannotRun, ExitCode, GuestLost, KernelLacks, KtstrError
from ktstr.session.events import Note, StageDone, StageStarted
from ktstr.session.lease import Lease
from ktstr.session.options import RunOptions

OUT = Path("ktstr-runs").absolute()

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine is: no word of waiting, and time to come back."""
    monkeypatch.setattr(remote, "PATIENCE_S", 60.0)
    monkeypatch.setattr(remote, "BACK_TRIES", 240)


class Site:
    """A daemon of scripted runs in this process: its two halves come and go apart."""

    def __init__(self, folder: Path, supervisor: Supervisor, group: anyio.abc.TaskGroup) -> None:
        self.folder = folder
        self.supervisor = supervisor
        self.group = group
        self.door: Listener | None = None
        self.closing = anyio.Event()

    def open(self) -> None:
        """Listen."""
        self.door = unix_listener(self.folder / "d.sock")
        self.closing = anyio.Event()
        self.group.start_soon(self._serve, self.door)

    async def _serve(self, door: Listener) -> None:
        app = create_app(self.supervisor, token=None, closing=self.closing)
        with closing(door):
            await serve_all([(door, app)], self.closing)

    def shut(self) -> None:
        """Close, as a daemon that ends does."""
        self.closing.set()

    def script(self, *lines: str) -> Path:
        path = self.folder / "script.toml"
        path.write_text("\n".join(lines))
        return path

    async def newest(self) -> RunRow:
        return (await self.supervisor.rows())[0]


@asynccontextmanager
async def site(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    monkeypatch.setenv(SOCKET_VARIABLE, str(folder / "d.sock"))
    async with (
        supervising(folder / "state", FAKE) as supervisor,
        anyio.create_task_group() as group,
    ):
        made = Site(folder, supervisor, group)
        made.open()
        try:
            yield made
        finally:
            made.shut()


async def test_events_come_as_if_the_run_were_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []
    async with site(tmp_path, monkeypatch) as found:
        path = found.script(
            'event note {"text": "hello", "warning": true}',
            'event stage_done {"key": "boot", "text": "booted", "seconds": 1.5}',
            'event reading {"elapsed_ms": 5, "cpus": [[1, null, 2]]}',
            'event unheard_of {"x": 1}',
            "refuse-later",
            "verdict cannot_run 4",
        )
        lease = Lease()
        with pytest.raises(CannotRun):
            await run_remotely(path, RunOptions(), told.append, lease=lease)
        assert told == [Note("hello", warning=True), StageDone("boot", "booted", 1.5)]
        row = await found.newest()
        assert row.submission.cwd == Path.cwd()
        assert row.submission.options.out_dir == OUT


@pytest.mark.parametrize(
    ("line", "kind", "code", "words"),
    [
        ("refuse no kernel of that name", CannotRun, ExitCode.CANNOT_RUN, "no kernel of that name"),
        ("verdict lost 3", GuestLost, ExitCode.GUEST_LOST, "left no record"),
        ("crash 11", GuestLost, ExitCode.GUEST_LOST, "was lost"),
    ],
)
async def test_what_leaves_no_record_is_the_error_that_it_was(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    line: str,
    kind: type[KtstrError],
    code: ExitCode,
    words: str,
) -> None:
    async with site(tmp_path, monkeypatch) as found:
        with pytest.raises(kind) as caught:
            await run_remotely(found.script(line), RunOptions(), lambda event: None)
        assert caught.value.exit_code == code
        assert words in str(caught.value)


async def test_a_kernel_that_lacks_something_is_told_from_other_refusals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with site(tmp_path, monkeypatch) as found:
        row = RunRow(
            "20261121-120000-0000",
            RunState.FINISHED,
            (await found.supervisor.submit(script("verdict pass 0"))).submission,
            "a",
            0.0,
            verdict=KERNEL_LACKS,
            exit_code=4,
            error="no sched_ext",
            hint="choose another",
        )
        error = remote._failure(row)
        assert isinstance(error, KernelLacks)
        assert (error.message, error.hint) == ("no sched_ext", "choose another")


async def test_a_client_that_is_interrupted_cancels_its_run_and_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with site(tmp_path, monkeypatch) as found:
        path = found.script("lease", 'event note {"text": "on", "warning": false}', "sleep 60")
        on = anyio.Event()
        async with anyio.create_task_group() as group:

            async def run() -> None:
                await run_remotely(path, RunOptions(), lambda event: on.set())

            group.start_soon(run)
            await on.wait()
            assert (await found.newest()).state is RunState.RUNNING
            group.cancel_scope.cancel()
        assert (await found.newest()).state is RunState.CANCELLED


async def test_a_run_that_somebody_else_cancels_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with site(tmp_path, monkeypatch) as found:
        path = found.script('event note {"text": "on", "warning": false}', "sleep 60")
        with pytest.raises(CannotRun, match="was cancelled"):
            async with anyio.create_task_group() as group:

                def cancel(event: object) -> None:
                    group.start_soon(_cancel_newest, found)

                with pytest.raises(CannotRun) as caught:
                    await run_remotely(path, RunOptions(), cancel)
            raise caught.value


async def _cancel_newest(found: Site) -> None:
    await found.supervisor.cancel((await found.newest()).id)


async def test_a_daemon_that_returns_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []
    async with site(tmp_path, monkeypatch) as found:
        path = found.script(
            'event note {"text": "before", "warning": false}',
            "kept",
            'event note {"text": "after", "warning": false}',
            "verdict cannot 4",
        )

        async def again() -> None:
            await eventually(lambda: bool(told))
            door = found.door
            assert door is not None
            found.shut()
            await eventually(lambda: door.socket.fileno() == -1)
            found.open()
            row = await found.newest()
            await found.supervisor.release(row.id)

        async with anyio.create_task_group() as group:
            group.start_soon(again)
            with pytest.raises(CannotRun):
                await run_remotely(path, RunOptions(), told.append)
        assert [event.text for event in told] == ["before", "after"]


async def test_a_daemon_that_ends_is_told_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "BACK_TRIES", 1)
    monkeypatch.setattr(remote, "BACK_PAUSE_S", 0.01)
    async with site(tmp_path, monkeypatch) as found:
        path = found.script('event note {"text": "on", "warning": false}', "sleep 60")
        with pytest.raises(CannotRun) as caught:
            await run_remotely(path, RunOptions(), lambda event: found.shut())
        row = await found.newest()
        assert row.id in str(caught.value)
        assert f"ktstr runs follow {row.id}" in str(caught.value)


async def test_a_daemon_that_takes_nothing_is_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with site(tmp_path, monkeypatch) as found:
        await found.supervisor.drain(0)
        with pytest.raises(DaemonRefused) as caught:
            await run_remotely(found.script("sleep 1"), RunOptions(), lambda event: None)
        assert caught.value.exit_code == ExitCode.CANNOT_RUN
        assert caught.value.hint
    with pytest.raises(DaemonLost):
        await run_remotely(tmp_path / "script.toml", RunOptions(), lambda event: None)


async def test_a_long_wait_for_ones_turn_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "PATIENCE_S", 0.05)
    told: list[Any] = []
    async with site(tmp_path, monkeypatch) as found:
        # More memory than there is, so that nothing starts beside it.
        blocker = await found.supervisor.submit(script("memory 4000\nlease\nsleep 60"))
        await until(found.supervisor, blocker, "running")
        path = found.script("memory 4000", "verdict cannot 4")

        def tell(event: Any) -> None:
            told.append(event)
            if isinstance(event, StageStarted):
                found.group.start_soon(found.supervisor.cancel, blocker.id)

        lease = Lease()
        with pytest.raises(CannotRun):
            await run_remotely(path, RunOptions(), tell, lease=lease)
        assert [type(event) for event in told] == [StageStarted, StageDone]
        assert {event.key for event in told} == {"queue"}


def test_what_a_kept_vm_says_is_checked() -> None:
    kept = Kept.read({"qemu": 5, "state": "paused", "commands": [["QMP", "x"]], "problem": None})
    assert kept == Kept(5, "paused", (("QMP", "x"),))
    assert Kept.read({"qemu": "5", "problem": "gone"}) == Kept(None, problem="gone")


async def test_an_answer_of_something_else_is_no_crash(tmp_path: Path) -> None:
    door = unix_listener(tmp_path / "d.sock")

    async def other(scope: Any, receive: Any, send: Any) -> None:
        head = {"type": "http.response.start", "status": 200, "headers": []}
        await send(head)
        await send({"type": "http.response.body", "body": b"<html>"})

    closing = anyio.Event()
    async with anyio.create_task_group() as group:
        group.start_soon(serve_all, [(door, other)], closing)
        daemon = Daemon(tmp_path / "d.sock")
        assert await anyio.to_thread.run_sync(daemon.health) is None
        with pytest.raises(DaemonLost):
            await anyio.to_thread.run_sync(daemon.get, "/v1/runs")
        closing.set()
    door.close()
