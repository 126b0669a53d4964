# SPDX-License-Identifier: GPL-2.0-only
"""The one writer of the store: many changes in one transaction, in a thread, again until it works.

What has happened is written some day: while the disk is full it waits in memory, the latest row of
each run and a bounded number of bytes of events. What is only to happen, a submission, is refused
instead.
"""

import json
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import anyio
import anyio.to_thread

from ktstr.daemon.store import Change, Store
from ktstr.daemon.submission import EventRow, RunRow
from ktstr.errors import ServiceRefused

GATHER_S: Final = 0.2
"""How long events alone wait for others to be written with."""

RETRY_S: Final = 1.0
MAX_WAITING_BYTES: Final = 32 << 20

T = TypeVar("T")


@dataclass(slots=True)
class _Wanted:
    """A row that somebody waits for."""

    row: RunRow
    events: tuple[EventRow, ...]
    done: anyio.Event = field(default_factory=anyio.Event)
    error: ServiceRefused | None = None


class Writer:
    """Writes what it is given while :meth:`run` runs.

    :ivar failure: why nothing can be written now; None while all is well.
    :ivar errors: how often writing failed.
    :ivar on_recovered: called when writing works again.
    :ivar lost_events: events that were given up because too many waited.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.failure: str | None = None
        self.errors = 0
        self.lost_events = 0
        self.on_recovered: Callable[[], None] = _nothing
        self._rows: dict[str, RunRow] = {}
        self._events: list[EventRow] = []
        self._forgotten: list[str] = []
        self._bytes = 0
        self._wanted: list[_Wanted] = []
        self._work = anyio.Event()
        self._urgent = anyio.Event()
        self._idle = anyio.Event()
        self._idle.set()
        # SQLite's connection is one, and so is who uses it.
        self._one = anyio.CapacityLimiter(1)

    def put(self, row: RunRow | None = None, event: EventRow | None = None) -> None:
        """Write this soon, and before anything that is put later."""
        if event is not None:
            self._put_event(event)
        if row is not None:
            self._rows[row.id] = row
            self._urgent.set()
        self._wake()

    def forget(self, run_ids: list[str]) -> None:
        """Remove runs and their events."""
        self._forgotten += run_ids
        self._urgent.set()
        self._wake()

    async def commit(self, row: RunRow, *events: EventRow) -> None:
        """Write this; it is in the store when this returns.

        :raise ServiceRefused: when it is not, and will not be.
        """
        wanted = _Wanted(row, events)
        self._wanted.append(wanted)
        self._urgent.set()
        self._wake()
        with anyio.CancelScope(shield=True):
            await wanted.done.wait()
        if wanted.error is not None:
            raise wanted.error

    async def written(self) -> None:
        """Wait until all that was put is in the store."""
        self._urgent.set()
        while not self._idle.is_set():
            await self._idle.wait()

    async def read(self, work: Callable[..., T], *args: Any) -> T:
        """Call a method of the store that reads.

        :raise ServiceRefused: when the database cannot be read.
        """
        try:
            return await anyio.to_thread.run_sync(work, *args, limiter=self._one)
        except sqlite3.Error as error:
            raise ServiceRefused(f"the daemon's database cannot be read: {error}") from error

    async def run(self) -> None:
        """Write until cancelled; then, once more, what there is."""
        try:
            while True:
                await self._work.wait()
                with anyio.move_on_after(GATHER_S):
                    await self._urgent.wait()
                await self._write()
                if self.failure is not None:
                    with anyio.move_on_after(RETRY_S):
                        await self._urgent.wait()
        finally:
            with anyio.CancelScope(shield=True):
                await self._write()

    async def _write(self) -> None:
        self._work, self._urgent = anyio.Event(), anyio.Event()
        rows, events, forgotten = self._rows, self._events, self._forgotten
        size, wanted = self._bytes, self._wanted
        self._rows, self._events, self._forgotten, self._bytes = {}, [], [], 0
        self._wanted = []
        both = Change(
            [*rows.values(), *(each.row for each in wanted)],
            [*events, *(event for each in wanted for event in each.events)],
            forgotten,
        )
        error = await self._try(both)
        if error is not None and wanted:
            for each in wanted:
                each.error = error
            # What has happened may fit without them.
            error = await self._try(Change([*rows.values()], events, forgotten))
        for each in wanted:
            each.done.set()
        if error is not None:
            self._rows = {**rows, **self._rows}
            self._events = events + self._events
            self._forgotten = forgotten + self._forgotten
            self._bytes += size
        if self._rows or self._events or self._forgotten or self._wanted:
            self._work.set()
            if self._wanted:
                self._urgent.set()
        else:
            self._idle.set()

    async def _try(self, change: Change) -> ServiceRefused | None:
        if not (change.rows or change.events or change.forgotten):
            return None
        try:
            await anyio.to_thread.run_sync(self.store.write, change, limiter=self._one)
        except ServiceRefused as error:
            self.failure = error.message
            self.errors += 1
            return error
        recovered, self.failure = self.failure is not None, None
        if recovered:
            self.on_recovered()
        return None

    def _put_event(self, event: EventRow) -> None:
        size = len(json.dumps(event.data)) + 64 if self.failure is not None else 0
        if self._bytes + size > MAX_WAITING_BYTES:
            self.lost_events += 1
            return
        self._bytes += size
        self._events.append(event)

    def _wake(self) -> None:
        if self._idle.is_set():
            self._idle = anyio.Event()
        self._work.set()


def _nothing() -> None:
    """Nobody needs to know."""
