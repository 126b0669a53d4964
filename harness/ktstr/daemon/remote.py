# SPDX-License-Identifier: GPL-2.0-only
"""A run through the daemon, with the signature of :func:`ktstr.session.run.run_scenario`."""

import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio
import anyio.abc
import anyio.from_thread
import anyio.to_thread

from ktstr.daemon.address import socket_path
from ktstr.daemon.client import Daemon, DaemonLost, DaemonRefused, Message, Stream
from ktstr.daemon.submission import (
    DEFAULT_SHARE,
    KERNEL_LACKS,
    RunRow,
    RunState,
    ScenarioFile,
    Submission,
)
from ktstr.daemon.wire import EVENTS, event_from_json, row_from_json, submission_to_json
from ktstr.errors import (
    CannotRun,
    ExitCode,
    GuestLost,
    KernelLacks,
    KtstrError,
    RequestInvalid,
)
from ktstr.session.events import Emit, Reading, StageDone, StageStarted
from ktstr.session.lease import Lease
from ktstr.session.options import RunOptions, run_source
from ktstr.session.scopes import task_scope

if TYPE_CHECKING:
    from ktstr.session.record import RunRecord

SHARE_VARIABLE: Final = "KTSTR_SHARE"
"""Whose runs these are, for the daemon's fair shares."""

BACK_TRIES: Final = 20
BACK_PAUSE_S: Final = 0.25
"""A daemon that has gone is looked for again for five seconds: it may be restarting."""

PATIENCE_S: Final = 1.0
"""A wait for one's turn that is over sooner is not worth a line."""

CANCEL_DEADLINE_S: Final = 60.0
"""How long the end of a cancelled run is waited for."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A VM that stands in the daemon's hands.

    :param qemu: its process; None when there is no VM to keep.
    :param state: how it stands.
    :param commands: what each command does, and the command.
    :param problem: what is missing, or why there is none.
    """

    qemu: int | None
    state: str = "paused"
    commands: tuple[tuple[str, str], ...] = ()
    problem: str | None = None

    @classmethod
    def read(cls, data: Any) -> "Kept":
        """What a ``kept`` event says."""
        qemu, problem = data.get("qemu"), data.get("problem")
        return cls(
            qemu=qemu if type(qemu) is int else None,
            state=str(data.get("state", "paused")),
            commands=tuple((str(what), str(how)) for what, how in data.get("commands", ())),
            problem=None if problem is None else str(problem),
        )


KeepKept = Callable[[Kept, "RunRecord"], Awaitable[None]]


async def run_remotely(
    path: Path,
    options: RunOptions,
    emit: Emit,
    keep: KeepKept | None = None,
    lease: Lease | None = None,
) -> "RunRecord":
    """Have the daemon run the scenario in ``path``; its record is in ``options.out_dir``.

    :param keep: called with the VM that stands and the record, when ``options.keep_vm`` is set;
        when it returns, the VM goes.
    :param lease: told how long the run has waited for its turn.
    :raise DaemonRefused: when the daemon does not take it.
    :raise DaemonLost: when the daemon goes away.
    :raise CannotRun: when nothing could be tried.
    :raise GuestLost: when the process of the run is gone.
    """
    run = _RemoteRun(Daemon(socket_path()), options, emit, keep)
    await run.submit(path)
    try:
        row = await run.followed()
    except BaseException:
        with anyio.move_on_after(CANCEL_DEADLINE_S, shield=True):
            await run.cancel()
        raise
    if lease is not None and row.started_at is not None:
        lease.waited_s += max(0.0, row.started_at - row.submitted_at)
    return await run.record(row)


class _RemoteRun:
    """One run in the daemon's hands."""

    def __init__(
        self, daemon: Daemon, options: RunOptions, emit: Emit, keep: KeepKept | None
    ) -> None:
        self._daemon = daemon
        self._options = options
        self._emit = emit
        self._keep = keep
        self._seen = 0
        self._end: RunRow | None = None
        self._id = ""
        self._group: anyio.abc.TaskGroup
        self._closing = False
        self._cancelled = False
        self._began = anyio.Event()

    async def submit(self, path: Path) -> None:
        """Have it queued: from here on the daemon answers for it."""
        body = submission_to_json(_submission(path, self._options))
        answer = await anyio.to_thread.run_sync(self._daemon.post, "/v1/runs", body)
        self._id = _row(answer).id

    async def followed(self) -> RunRow:
        """The run once it is over; what happens meanwhile is told.

        :raise DaemonLost: when the daemon goes away and does not come back.
        """
        async with task_scope() as group:
            self._group = group
            group.start_soon(self._say_that_it_waits)
            group.start_soon(anyio.to_thread.run_sync, _import_reader)
            silent = 0
            while self._end is None:
                before = self._seen
                try:
                    await self._follow_once()
                except DaemonLost:
                    if silent >= BACK_TRIES:
                        raise self._lost() from None
                silent = 0 if self._seen > before else silent + 1
                if self._end is None:
                    await anyio.sleep(BACK_PAUSE_S)
            return self._end

    async def cancel(self) -> None:
        """End it, and wait until the daemon has cleaned up behind it."""
        with suppress(DaemonLost, DaemonRefused):
            self._cancelled = True
            await self._post("cancel")
            while self._end is None:
                await self._follow_once()
                await anyio.sleep(BACK_PAUSE_S)

    async def record(self, row: RunRow) -> "RunRecord":
        """What the run that is over has left.

        :raise CannotRun: or another error of the tree, when that is no record.
        """
        if row.state is RunState.CANCELLED:
            raise CannotRun(
                f"the run {row.id} was cancelled", hint="`ktstr runs` lists what became of others"
            )
        if row.state is RunState.LOST:
            raise GuestLost(
                f"the run {row.id} was lost: {row.error or 'its process is gone'}",
                hint=row.hint
                or (None if row.folder is None else f"its traces are in {row.folder}"),
            )
        if row.sidecar is None:
            raise _failure(row)
        return await anyio.to_thread.run_sync(self._read, row.sidecar)

    def _read(self, sidecar: Path) -> "RunRecord":
        from ktstr.session.sidecar.read import read_sidecar

        record = read_sidecar(sidecar)
        # As people named the folder, and as a run of their own would say it.
        record.sidecar = self._as_named(sidecar)
        if record.evidence is not None:
            record.evidence = self._as_named(record.evidence)
        kept = record.host.get("checkpoints")
        if isinstance(kept, list):
            record.host["checkpoints"] = [str(self._as_named(Path(str(each)))) for each in kept]
        return record

    def _as_named(self, path: Path) -> Path:
        folder = self._options.out_dir
        whole = folder.absolute()
        return folder / path.relative_to(whole) if path.is_relative_to(whole) else path

    async def _follow_once(self) -> None:
        """Take events until the stream ends, for whatever reason."""
        path = f"/v1/runs/{self._id}/events"
        stream = await anyio.to_thread.run_sync(self._daemon.follow, path, self._seen)
        with stream:
            async with task_scope() as group:
                group.start_soon(_close_when_cancelled, stream)
                await anyio.to_thread.run_sync(self._pump, stream)

    def _pump(self, stream: Stream) -> None:
        for message in stream:
            anyio.from_thread.run_sync(self._take, message)

    def _take(self, message: Message) -> None:
        if message.seq is not None:
            self._seen = message.seq
        match message.kind:
            case "end":
                self._end = _row(message.data)
            case "closing":
                self._closing = True
            case _ if self._cancelled:
                # Whoever watched has gone.
                return
            case "kept":
                self._group.start_soon(self._keep_vm, Kept.read(message.data))
            case "state":
                if message.data.get("state") != RunState.QUEUED.value:
                    self._began.set()
            case kind if kind in EVENTS:
                self._began.set()
                self._tell(kind, message.data)

    def _tell(self, kind: str, data: Any) -> None:
        try:
            event = event_from_json({**{k: v for k, v in data.items() if k != "at"}, "type": kind})
        except (RequestInvalid, AttributeError):
            return
        if not isinstance(event, Reading):
            self._emit(event)

    async def _keep_vm(self, kept: Kept) -> None:
        row = _row(await self._get())
        if self._keep is not None and row.sidecar is not None:
            record = await anyio.to_thread.run_sync(self._read, row.sidecar)
            await self._keep(kept, record)
        with suppress(DaemonLost, DaemonRefused):
            await self._post("release")

    async def _say_that_it_waits(self) -> None:
        with anyio.move_on_after(PATIENCE_S):
            await self._began.wait()
            return
        began = anyio.current_time()
        self._emit(StageStarted("queue", "waiting for other runs of the daemon"))
        await self._began.wait()
        took_s = anyio.current_time() - began
        self._emit(StageDone("queue", "waited for other runs of the daemon", took_s))

    async def _get(self) -> Any:
        return await anyio.to_thread.run_sync(self._daemon.get, f"/v1/runs/{self._id}")

    async def _post(self, what: str) -> Any:
        return await anyio.to_thread.run_sync(self._daemon.post, f"/v1/runs/{self._id}/{what}")

    def _lost(self) -> KtstrError:
        where = f"the daemon at {self._daemon.path}"
        if self._closing:
            return CannotRun(
                f"{where} has ended; the run {self._id} is in its store",
                hint="it goes on when the daemon is started again: "
                f"`ktstr serve`, then `ktstr runs follow {self._id}`; --no-daemon runs without",
            )
        return DaemonLost(
            f"{where} went away while it ran {self._id}",
            hint="start it again with `ktstr serve`: it tells what became of the run "
            f"(`ktstr runs follow {self._id}`); --no-daemon runs without it",
        )


def _submission(path: Path, options: RunOptions) -> Submission:
    """As another process has to be told, which stands in another folder."""
    return Submission(
        ScenarioFile(path.absolute()),
        replace(options, out_dir=options.out_dir.absolute(), run_source=run_source()),
        share=os.environ.get(SHARE_VARIABLE) or DEFAULT_SHARE,
        cwd=Path.cwd(),
    )


async def _close_when_cancelled(stream: Stream) -> None:
    try:
        await anyio.sleep_forever()
    finally:
        stream.close()


def _row(value: Any) -> RunRow:
    try:
        return row_from_json(value)
    except RequestInvalid as error:
        raise DaemonRefused(
            f"the daemon's answer is not understood: {error.message}",
            hint="it may be of another version: restart it",
        ) from None


def _failure(row: RunRow) -> KtstrError:
    """The error that ended a run without a record."""
    message = row.error or f"the run {row.id} left no record"
    if row.verdict == KERNEL_LACKS:
        return KernelLacks(message, hint=row.hint)
    if row.exit_code == ExitCode.GUEST_LOST:
        return GuestLost(message, hint=row.hint)
    return CannotRun(message, hint=row.hint)


def _import_reader() -> None:
    """What the end of the run needs takes a second to import; the run has that second."""
    import ktstr.session.sidecar.read  # noqa: F401
