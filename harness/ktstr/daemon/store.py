# SPDX-License-Identifier: GPL-2.0-only
"""What must outlive the daemon: its runs and their events, in one SQLite file.

Write-ahead log, ``synchronous = NORMAL``: what is committed survives the death of the daemon, by
whatever signal. When the power fails, what was committed in the last moments before (since the
log was last carried over into the database) may be gone, but the file is never damaged
(https://sqlite.org/pragma.html#pragma_synchronous). Losing a submission to a power cut costs one
repetition of it; a sync for each would cost every one of them several milliseconds.

Calls block; :mod:`ktstr.daemon.writer` makes them in a thread.
"""

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from ktstr.daemon.schema import upgrade
from ktstr.daemon.submission import ACTIVE, EventRow, RunRow, RunState
from ktstr.daemon.wire import row_from_json, row_to_json
from ktstr.errors import RequestInvalid, ServiceRefused

BUSY_S: Final = 10.0
PAGE: Final = 500
"""Events that are read at a time."""

LOG_BYTES: Final = 8 << 20


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be written: rows as they are now, events, and runs to forget."""

    rows: Sequence[RunRow] = ()
    events: Sequence[EventRow] = ()
    forgotten: Sequence[str] = ()


class Store:
    """The database; one at a time writes, from any thread.

    :raise ServiceRefused: when it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._database = sqlite3.connect(
                path, timeout=BUSY_S, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise self._refused(error) from error
        try:
            for pragma in (
                "journal_mode = WAL",
                "synchronous = NORMAL",
                f"journal_size_limit = {LOG_BYTES}",
            ):
                self._database.execute(f"PRAGMA {pragma}")
            upgrade(self._database)
        except sqlite3.Error as error:
            self.close()
            raise self._refused(error) from error
        except ServiceRefused:
            self.close()
            raise

    def close(self) -> None:
        """Close it; the write-ahead log is carried over where there is room."""
        with suppress(sqlite3.Error):
            self._database.close()

    def write(self, change: Change) -> None:
        """Write all of it, or nothing.

        :raise ServiceRefused: when it cannot be written; nothing of it is.
        """
        try:
            with self._transaction():
                self._database.executemany(
                    "INSERT INTO runs (id, state, ended_at, row) VALUES (?, ?, ?, ?)"
                    " ON CONFLICT (id) DO UPDATE"
                    " SET state = excluded.state, ended_at = excluded.ended_at, row = excluded.row",
                    (
                        (row.id, row.state.value, row.ended_at, json.dumps(row_to_json(row)))
                        for row in change.rows
                    ),
                )
                self._database.executemany(
                    "INSERT OR REPLACE INTO events VALUES (?, ?, ?, ?, ?)",
                    (
                        (event.run_id, event.seq, event.at, event.type, json.dumps(event.data))
                        for event in change.events
                    ),
                )
                for table, column in (("runs", "id"), ("events", "run")):
                    self._database.executemany(
                        f"DELETE FROM {table} WHERE {column} = ?",
                        ((run_id,) for run_id in change.forgotten),
                    )
        except sqlite3.Error as error:
            raise self._refused(error) from error

    def row(self, run_id: str) -> RunRow | None:
        """One run; None when there is none."""
        found = self._database.execute("SELECT row FROM runs WHERE id = ?", (run_id,)).fetchone()
        return None if found is None else _row(found[0])

    def rows(
        self, states: Collection[RunState] | None, limit: int, before: str | None
    ) -> list[RunRow]:
        """The latest runs of these states, newest first, older than ``before``."""
        where, values = ["1"], list[object]()
        if states is not None:
            where.append(f"state IN ({', '.join('?' * len(states))})")
            values += [state.value for state in states]
        if before is not None:
            where.append("number < (SELECT number FROM runs WHERE id = ?)")
            values.append(before)
        query = f"SELECT row FROM runs WHERE {' AND '.join(where)} ORDER BY number DESC LIMIT ?"
        return list(_rows(self._database.execute(query, (*values, limit))))

    def unfinished(self) -> list[RunRow]:
        """Runs that are not over, in the order in which they came."""
        marks = ", ".join("?" * len(ACTIVE))
        query = f"SELECT row FROM runs WHERE state IN ({marks}) ORDER BY number"
        return list(_rows(self._database.execute(query, [state.value for state in ACTIVE])))

    def events(self, run_id: str, after_seq: int, before_seq: int) -> list[EventRow]:
        """The next events of a run, a page of them."""
        found = self._database.execute(
            "SELECT seq, at, type, data FROM events"
            " WHERE run = ? AND seq > ? AND seq < ? ORDER BY seq LIMIT ?",
            (run_id, after_seq, before_seq, PAGE),
        )
        return [EventRow(run_id, seq, at, kind, json.loads(data)) for seq, at, kind, data in found]

    def last_event(self, run_id: str) -> EventRow | None:
        """The latest event that tells of the run itself, not of its row."""
        found = self._database.execute(
            "SELECT seq, at, type, data FROM events WHERE run = ? AND type != 'state'"
            " ORDER BY seq DESC LIMIT 1",
            (run_id,),
        ).fetchone()
        if found is None:
            return None
        seq, at, kind, data = found
        return EventRow(run_id, seq, at, kind, json.loads(data))

    def last_seq(self, run_id: str) -> int:
        """The place of a run's last event; 0 when it has none."""
        found = self._database.execute("SELECT max(seq) FROM events WHERE run = ?", (run_id,))
        return int(found.fetchone()[0] or 0)

    def outdated(self, keep_runs: int, ended_before: float) -> list[str]:
        """Runs that are over and beyond the newest ``keep_runs``, or older than that time."""
        marks = ", ".join("?" * len(ACTIVE))
        found = self._database.execute(
            f"SELECT id FROM runs WHERE state NOT IN ({marks}) AND (ended_at < ? OR number <="
            " (SELECT number FROM runs ORDER BY number DESC LIMIT 1 OFFSET ?)) LIMIT 1000",
            (*(state.value for state in ACTIVE), ended_before, keep_runs),
        )
        return [run_id for (run_id,) in found]

    def counts(self) -> dict[str, int]:
        """How many runs there are of each state."""
        return dict(self._database.execute("SELECT state, count(*) FROM runs GROUP BY state"))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._database.execute("COMMIT")
        except BaseException:
            # Of some errors, a full disk among them, SQLite has rolled back by itself.
            with suppress(sqlite3.Error):
                self._database.execute("ROLLBACK")
            raise

    def _refused(self, error: sqlite3.Error) -> ServiceRefused:
        return ServiceRefused(
            f"the daemon's database {self._path} cannot be written: {error}",
            hint="free space there; nothing that was accepted is lost",
        )


def _rows(found: Iterable[tuple[str]]) -> Iterator[RunRow]:
    for (text,) in found:
        yield _row(text)


def _row(text: str) -> RunRow:
    value = json.loads(text)
    try:
        return row_from_json(value)
    except RequestInvalid as error:
        # Another version wrote it, with options that this one has not.
        value["submission"]["options"] = {}
        row = row_from_json(value)
        if row.state.over:
            return row
        why = f"this version of ktstr does not know what it was to do: {error.message}"
        return replace(row, state=RunState.LOST, error=why)
