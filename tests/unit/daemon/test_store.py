# SPDX-License-Identifier: GPL-2.0-only
"""The database: what it keeps, and how it comes to a new version."""

import sqlite3
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from ktstr.daemon import schema
from ktstr.daemon.store import PAGE, Change, Store
from ktstr.daemon.submission import EventRow, RunRow, RunState, ScenarioText, Submission
from ktstr.errors import ServiceRefused


def a_row(number: int, state: RunState = RunState.FINISHED, ended_at: float = 5.0) -> RunRow:
    submission = Submission(ScenarioText("name = 'x'", "x"))
    run_id = f"20260101-000000-{number:04x}"
    return RunRow(run_id, state, submission, "x", 1.0, ended_at=ended_at)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.sqlite"


def test_rows_and_events_come_back_as_they_were_written(path: Path) -> None:
    store = Store(path)
    row = a_row(1, RunState.RUNNING)
    events = [EventRow(row.id, seq, 0.5 * seq, "note", {"text": "ü\n"}) for seq in (1, 2, 4)]
    store.write(Change([row], events))
    store.write(Change([replace(row, state=RunState.LOST, error="why")]))
    store.close()
    store = Store(path)
    assert store.row(row.id) == replace(row, state=RunState.LOST, error="why")
    assert store.events(row.id, 0, 1 << 40) == events
    assert store.events(row.id, 1, 4) == events[1:2]
    assert store.last_seq(row.id) == 4 and store.last_seq("none") == 0
    assert store.last_event(row.id) == events[-1]
    assert store.unfinished() == []
    store.close()


def test_a_change_is_written_as_a_whole_or_not_at_all(path: Path) -> None:
    store = Store(path)
    wrong = EventRow("x", 1, 0.5, "note", {"text": {1, 2}})
    with pytest.raises(TypeError):
        store.write(Change([a_row(1)], [wrong]))
    assert store.row(a_row(1).id) is None
    store.write(Change([a_row(1)]))
    assert store.counts() == {"finished": 1}
    store.close()


def test_events_come_in_pages(path: Path) -> None:
    store = Store(path)
    store.write(Change((), [EventRow("r", seq, 0.0, "note", {}) for seq in range(1, PAGE + 3)]))
    first = store.events("r", 0, 1 << 40)
    assert [event.seq for event in first] == list(range(1, PAGE + 1))
    assert [event.seq for event in store.events("r", PAGE, 1 << 40)] == [PAGE + 1, PAGE + 2]
    store.close()


def test_what_is_outdated_is_beyond_the_newest_or_too_old_and_never_under_way(path: Path) -> None:
    store = Store(path)
    rows = [a_row(n, ended_at=float(n)) for n in range(1, 7)]
    rows[0] = a_row(1, RunState.KEPT)
    store.write(Change(rows))
    ids = [row.id for row in rows]
    assert store.outdated(100, 0.0) == []
    assert store.outdated(4, 0.0) == [ids[1]]
    assert sorted(store.outdated(100, 4.0)) == ids[1:3]
    assert sorted(store.outdated(2, 4.0)) == ids[1:4]
    store.close()


def test_a_database_of_an_earlier_version_is_brought_up_to_date_with_all_it_has(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(path)
    store.write(Change([a_row(1)]))
    store.close()
    later = (*schema.UPGRADES, "ALTER TABLE runs ADD COLUMN more TEXT DEFAULT 'new';")
    monkeypatch.setattr(schema, "UPGRADES", later)
    monkeypatch.setattr(schema, "VERSION", len(later))
    store = Store(path)
    assert store.row(a_row(1).id) == a_row(1)
    store.close()
    with sqlite3.connect(path) as database:
        assert database.execute("SELECT more FROM runs").fetchall() == [("new",)]
        assert database.execute("PRAGMA user_version").fetchone() == (len(later),)
    database.close()


def test_a_step_that_fails_leaves_the_version_before(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Store(path).close()
    broken = (*schema.UPGRADES, "CREATE TABLE half (x); CREATE TABLE runs (x);")
    monkeypatch.setattr(schema, "UPGRADES", broken)
    monkeypatch.setattr(schema, "VERSION", len(broken))
    with pytest.raises(ServiceRefused, match="already exists"):
        Store(path)
    with sqlite3.connect(path) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (schema.VERSION - 1,)
        assert database.execute("SELECT * FROM sqlite_master WHERE name = 'half'").fetchall() == []
    database.close()


def test_what_is_no_database_is_refused_and_left_alone(path: Path) -> None:
    path.write_text("something else" * 1000)
    with pytest.raises(ServiceRefused, match=str(path)):
        Store(path)
    assert path.read_text() == "something else" * 1000


def test_any_thread_may_ask(path: Path) -> None:
    store = Store(path)
    thread = threading.Thread(target=store.write, args=(Change([a_row(1)]),))
    thread.start()
    thread.join()
    assert store.counts() == {"finished": 1}
    store.close()
