# SPDX-License-Identifier: GPL-2.0-only
"""Where the daemon keeps what it knows, and what the files of one run are called."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import platformdirs

from ktstr.errors import ServiceRefused

STATE_MARK: Final = "KTSTR_DAEMON_STATE"
"""In the environment of every process that a daemon starts: its state folder. What a killed daemon
left behind is found by it."""

SUBMISSION: Final = "submission.json"
RUNNER: Final = "runner.json"
END: Final = "end.json"
LOG: Final = "runner.log"
SCRATCH: Final = "scratch"
EVIDENCE: Final = "evidence"

MAX_NOTE: Final = 4 << 20


def default_state() -> Path:
    """``~/.local/state/ktstr``, or where XDG_STATE_HOME says."""
    return platformdirs.user_state_path("ktstr")


class Paths:
    """The files of one state folder."""

    def __init__(self, state: Path) -> None:
        self.state = state.absolute()
        self.database = self.state / "runs.sqlite"
        self.lock = self.state / "daemon.lock"
        self.runs = self.state / "runs"
        self.log = self.state / "runners.log"

    def make(self) -> None:
        """Make the folders, for nobody else to look into.

        :raise ServiceRefused: when they cannot be.
        """
        try:
            self.state.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.runs.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise ServiceRefused(
                f"the state folder {self.state} cannot be used: {error.strerror}",
                hint="free space there, or choose another folder with --state",
            ) from error

    def run(self, run_id: str) -> Path:
        """The folder of one run."""
        return self.runs / run_id


def write_note(path: Path, note: Mapping[str, Any]) -> None:
    """Write JSON that a reader finds whole or not at all.

    :raise OSError: when the folder refuses.
    """
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(json.dumps(note), "utf-8")
    fresh.replace(path)


def read_note(path: Path) -> dict[str, Any] | None:
    """What :func:`write_note` wrote; None when there is nothing of the kind."""
    try:
        if path.stat().st_size > MAX_NOTE:
            return None
        note = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return note if isinstance(note, dict) else None
