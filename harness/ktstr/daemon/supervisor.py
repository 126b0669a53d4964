# SPDX-License-Identifier: GPL-2.0-only
"""The daemon's heart: takes runs, starts them in turn in processes of their own, tells of them."""

import shutil
import time
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.abc
import anyio.to_thread
import structlog

from ktstr.daemon.attempts import Attempts, differences
from ktstr.daemon.feed import TRANSIENT, Feed
from ktstr.daemon.line import Line
from ktstr.daemon.nursery import Nursery
from ktstr.daemon.paths import SUBMISSION, Paths, write_note
from ktstr.daemon.plain import to_plain
from ktstr.daemon.reaper import reap
from ktstr.daemon.settings import Settings, Status
from ktstr.daemon.state_lock import locked
from ktstr.daemon.store import PAGE, Store
from ktstr.daemon.submission import EventRow, RunRow, RunState, Submission
from ktstr.daemon.tracked import Tracked
from ktstr.daemon.wire import submission_from_json, submission_to_json
from ktstr.daemon.writer import Writer
from ktstr.errors import ServiceRefused
from ktstr.session.room import budget, free_memory_mib
from ktstr.session.run_id import new_run_id
from ktstr.session.scopes import task_scope

DRAIN_DEADLINE_S: Final = 600.0
STOP_DEADLINE_S: Final = 30.0
MAX_QUEUED: Final = 20_000
PRUNE_EVERY: Final = 50
"""Ends after which what is too old is looked for again."""

_LOG = structlog.get_logger()


class Supervisor:
    """Owns the runs of one state folder; made by :func:`supervising`."""

    def __init__(
        self,
        paths: Paths,
        settings: Settings,
        writer: Writer,
        nursery: Nursery,
        group: anyio.abc.TaskGroup,
    ) -> None:
        self._paths = paths
        self._settings = settings
        self._writer = writer
        self._nursery = nursery
        self._group = group
        self._runs: dict[str, Tracked] = {}
        self._count = 0
        self._ends = 0
        self._draining = False
        self._watchers: set[_Watcher] = set()
        limits = budget(settings.room(), settings.jobs)
        self._attempts = Attempts(
            paths,
            Line(limits, free_memory_mib),
            nursery,
            group,
            change=self._change,
            tell=self._tell,
            over=self._over,
            linger_s=settings.linger_s,
            may_start=lambda: writer.failure is None,
            written=writer.written,
        )
        writer.on_recovered = self._attempts.consider

    @property
    def draining(self) -> bool:
        """Whether nothing more is taken."""
        return self._draining

    async def submit(self, submission: Submission) -> RunRow:
        """Take a run; it is in the store when this returns.

        :raise RequestInvalid: when it is not what :mod:`ktstr.daemon.wire` takes.
        :raise ServiceRefused: when nothing is taken now.
        """
        submission = submission_from_json(submission_to_json(submission))
        if self._draining:
            raise ServiceRefused("the daemon is about to end", hint="try again once it is back")
        if len(self._runs) >= MAX_QUEUED:
            raise ServiceRefused(f"{MAX_QUEUED} runs wait already", hint="wait for some to end")
        with suppress(OSError):
            # Its turn will show whether this went wrong.
            self._nursery.start()
        run_id = self._new_folder(submission)
        folder = self._paths.run(run_id)
        row = RunRow(
            run_id, RunState.QUEUED, submission, submission.name, time.time(), folder=folder
        )
        tracked = self._track(row)
        event = tracked.feed.add("state", {"state": row.state.value}, row.submitted_at, vital=True)
        assert event is not None
        try:
            await self._writer.commit(row, event)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self._runs[run_id] = tracked
        self._announce(row)
        self._attempts.add(tracked)
        return tracked.row

    async def cancel(self, run_id: str, why: str = "on demand") -> RunRow:
        """End a run, or take it out of the queue; nothing happens to one that is over.

        :raise KeyError: when there is no such run.
        """
        tracked = self._runs.get(run_id)
        if tracked is None or tracked.over.is_set():
            return await self.row(run_id)
        self._attempts.cancel(tracked, why)
        return tracked.row

    async def release(self, run_id: str) -> RunRow:
        """Let the kept VM of a run go; nothing happens where none is kept.

        :raise KeyError: when there is no such run.
        """
        tracked = self._runs.get(run_id)
        if tracked is None:
            return await self.row(run_id)
        self._attempts.release(tracked)
        return tracked.row

    async def rows(
        self,
        states: Collection[RunState] | None = None,
        limit: int = 100,
        before: str | None = None,
    ) -> list[RunRow]:
        """The latest runs, newest first: of these states, and older than ``before``."""
        with anyio.move_on_after(1.0):
            await self._writer.written()
        found = await self._writer.read(self._writer.store.rows, states, limit, before)
        now = [self._runs[row.id].row if row.id in self._runs else row for row in found]
        return [row for row in now if states is None or row.state in states]

    async def row(self, run_id: str) -> RunRow:
        """One run.

        :raise KeyError: when there is no such run.
        """
        if run_id in self._runs:
            return self._runs[run_id].row
        row = await self._writer.read(self._writer.store.row, run_id)
        if row is None:
            raise KeyError(run_id)
        return row

    async def waiting(self) -> list[RunRow]:
        """Those that wait, in the order in which they would have their turns."""
        return [tracked.row for tracked in self._attempts.waiting()]

    async def follow(self, run_id: str, after_seq: int = 0) -> AsyncIterator[EventRow]:
        """The events of a run after ``after_seq``, then those to come; ends when the run is over.

        However slow the follower is, nothing is lost and nothing waits for it.
        Readings are kept in memory while a run lives, not in the store.

        :raise KeyError: when there is no such run.
        """
        tracked = self._runs.get(run_id)
        await self.row(run_id)
        last = None if tracked is None else tracked.feed.first
        seq = after_seq
        while last is None or seq + 1 < last:
            before = 1 << 62 if last is None else last
            page = await self._writer.read(self._writer.store.events, run_id, seq, before)
            for event in page:
                seq = event.seq
                yield event
            if len(page) < PAGE:
                break
        if tracked is not None:
            async for event in tracked.feed.after(seq):
                yield event

    async def changes(self) -> AsyncIterator[RunRow]:
        """Each run that changes, from now on without an end; a slow follower sees the latest."""
        watcher = _Watcher()
        self._watchers.add(watcher)
        try:
            while True:
                for row in await watcher.next():
                    yield row
        finally:
            self._watchers.discard(watcher)

    async def drain(self, deadline_s: float = DRAIN_DEADLINE_S) -> None:
        """Take nothing more, start nothing more, let what runs come to its end.

        What has not ended after ``deadline_s`` is cancelled, and VMs that are kept are let go;
        what is queued stays so.
        """
        self._draining = self._attempts.closed = True
        running = self._attempts.running
        for tracked in running:
            self._attempts.release(tracked)
        with anyio.move_on_after(deadline_s):
            for tracked in running:
                await tracked.over.wait()
            return
        for tracked in running:
            if not tracked.over.is_set():
                self._attempts.cancel(tracked, "the daemon ended before the run had")
        with anyio.move_on_after(STOP_DEADLINE_S):
            for tracked in running:
                await tracked.over.wait()

    async def status(self) -> Status:
        """The daemon in figures."""
        line, writer = self._attempts.line, self._writer
        return Status(
            draining=self._draining,
            queued=line.depths(),
            runs=await writer.read(writer.store.counts),
            running=line.running,
            leased=line.leased,
            cpus=line.taken.cpus,
            cpus_budget=line.budget.cpus,
            memory_mib=line.taken.memory_mib,
            memory_budget_mib=line.budget.memory_mib,
            store_errors=writer.errors,
            store_failure=writer.failure,
            events_lost=writer.lost_events,
            fork_server=self._nursery.pid,
        )

    async def resume(self) -> None:
        """Take up what the daemon before left: see :mod:`ktstr.daemon.reaper`."""
        store = self._writer.store
        rows = await self._writer.read(store.unfinished)
        begun = [
            (row, await self._writer.read(store.last_event, row.id))
            for row in rows
            if row.state is not RunState.QUEUED and not row.state.over
        ]
        reaped = await anyio.to_thread.run_sync(reap, self._paths, begun, self._settings.grace_s)
        settled = {row.id: row for row in reaped}
        # What another version left, and this one cannot read.
        settled |= {row.id: replace(row, ended_at=time.time()) for row in rows if row.state.over}
        for row in rows:
            first = await self._writer.read(store.last_seq, row.id) + 1
            now = settled.get(row.id, row)
            tracked = self._track(row, first)
            self._runs[row.id] = tracked
            if now != row:
                self._change(tracked, differences(row, now))
            if now.state.over:
                _LOG.warning("taken up", run=row.id, was=row.state.value, now=now.state.value)
                self._over(tracked)
            else:
                self._attempts.add(tracked)
        self._group.start_soon(self._prune)

    def _new_folder(self, submission: Submission) -> str:
        """The id of a new run, with its folder and what it is to do in there."""
        try:
            while True:
                run_id = new_run_id()
                folder = self._paths.run(run_id)
                with suppress(FileExistsError):
                    folder.mkdir(mode=0o700)
                    break
            try:
                write_note(folder / SUBMISSION, submission_to_json(submission))
            except OSError:
                shutil.rmtree(folder, ignore_errors=True)
                raise
        except OSError as error:
            raise ServiceRefused(
                f"the state folder {self._paths.state} cannot be written: {error.strerror}",
                hint="free space there; nothing that was accepted is lost",
            ) from error
        return run_id

    def _track(self, row: RunRow, first: int = 1) -> Tracked:
        self._count += 1
        return Tracked(row, self._count, Feed(row.id, first))

    def _change(self, tracked: Tracked, changed: dict[str, Any]) -> None:
        before = tracked.row
        tracked.row = replace(before, **changed, events_dropped=tracked.feed.dropped)
        told = {"state": tracked.row.state.value, **_plain(changed)}
        event = tracked.feed.add("state", told, time.time(), vital=True)
        self._writer.put(tracked.row, event)
        if before.state is not tracked.row.state:
            _LOG.info("state", run=before.id, state=tracked.row.state.value)
        self._announce(tracked.row)

    def _tell(self, tracked: Tracked, kind: str, data: Any) -> None:
        vital = kind in ("kept", "dropped")
        event = tracked.feed.add(kind, data, time.time(), vital=vital)
        if event is not None and kind not in TRANSIENT:
            self._writer.put(event=event)

    def _over(self, tracked: Tracked) -> None:
        tracked.feed.close()
        tracked.over.set()
        self._ends += 1
        self._group.start_soon(self._forget, tracked)
        if self._ends % PRUNE_EVERY == 0:
            self._group.start_soon(self._prune)

    async def _forget(self, tracked: Tracked) -> None:
        """Leave a run that is over to the store, once that has all of it."""
        await self._writer.written()
        self._runs.pop(tracked.row.id, None)

    async def _prune(self) -> None:
        """Forget what is too old, and its folders; results in other folders stay."""
        settings, store = self._settings, self._writer.store
        oldest = time.time() - settings.keep_days * 86_400
        try:
            gone = await self._writer.read(store.outdated, settings.keep_runs, oldest)
        except ServiceRefused as error:
            _LOG.warning("nothing is tidied away", why=error.message)
            return
        if not gone:
            return
        self._writer.forget(gone)
        await self._writer.written()
        for run_id in gone:
            folder = self._paths.run(run_id)
            await anyio.to_thread.run_sync(partial(shutil.rmtree, folder, ignore_errors=True))

    def _announce(self, row: RunRow) -> None:
        for watcher in self._watchers:
            watcher.tell(row)


class _Watcher:
    """The latest of each run that has changed since it was last looked at."""

    def __init__(self) -> None:
        self._rows: dict[str, RunRow] = {}
        self._news = anyio.Event()

    def tell(self, row: RunRow) -> None:
        self._rows[row.id] = row
        self._news.set()

    async def next(self) -> list[RunRow]:
        await self._news.wait()
        rows, self._rows, self._news = list(self._rows.values()), {}, anyio.Event()
        return rows


@asynccontextmanager
async def supervising(state: Path, settings: Settings | None = None) -> AsyncIterator[Supervisor]:
    """A supervisor for the runs of a state folder; what still runs at the end is cancelled.

    :raise ServiceRefused: when the folder is another daemon's, or cannot be used.
    """
    settings = settings or Settings()
    paths = Paths(state)
    paths.make()
    async with AsyncExitStack() as stack:
        stack.enter_context(locked(paths.lock))
        store = Store(paths.database)
        stack.callback(store.close)
        writer = Writer(store)
        writing = await stack.enter_async_context(task_scope())
        writing.start_soon(writer.run)
        nursery = Nursery(settings.work, paths.log, paths.state)
        stack.callback(nursery.stop)
        group = await stack.enter_async_context(task_scope())
        supervisor = Supervisor(paths, settings, writer, nursery, group)
        await supervisor.resume()
        try:
            yield supervisor
        finally:
            with anyio.CancelScope(shield=True):
                await supervisor.drain(0)


def _plain(changed: dict[str, Any]) -> dict[str, Any]:
    return {name: to_plain(value) for name, value in changed.items()}
