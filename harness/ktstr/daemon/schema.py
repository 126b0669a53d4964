# SPDX-License-Identifier: GPL-2.0-only
"""The tables of the daemon's database, and the way from each version to the next."""

import sqlite3
from typing import Final

from ktstr.errors import ServiceRefused

UPGRADES: Final = (
    # 1: runs in the order in which they came, each as JSON; what is searched for beside it.
    """
    CREATE TABLE runs (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        state TEXT NOT NULL,
        ended_at REAL,
        row TEXT NOT NULL
    );
    CREATE INDEX runs_by_state ON runs (state, number);
    CREATE TABLE events (
        run TEXT NOT NULL,
        seq INTEGER NOT NULL,
        at REAL NOT NULL,
        type TEXT NOT NULL,
        data TEXT NOT NULL,
        PRIMARY KEY (run, seq)
    ) WITHOUT ROWID;
    """,
)
"""Statements that bring a database from version N to N + 1; never changed, only added to."""

VERSION: Final = len(UPGRADES)


def upgrade(database: sqlite3.Connection) -> None:
    """Bring the tables up to date, each step whole or not at all.

    :raise ServiceRefused: when a later version of ktstr made them.
    """
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise ServiceRefused(
            f"the daemon's database has version {version}, this ktstr knows {VERSION}",
            hint="run the ktstr that made it, or choose another folder with --state",
        )
    for number in range(version, VERSION):
        database.executescript(
            f"BEGIN IMMEDIATE; {UPGRADES[number]} PRAGMA user_version = {number + 1}; COMMIT;"
        )
