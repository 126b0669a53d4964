# SPDX-License-Identifier: GPL-2.0-only
"""What a daemon that was killed left behind: its processes are ended, its runs get their ends.

Runners end by themselves when their daemon is gone, so there is a moment for that first. A run
whose end is on disk is what that says: a record is whole or not there. Anything else is lost.
"""

import json
import os
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from ktstr.daemon.paths import END, RUNNER, STATE_MARK, Paths, read_note
from ktstr.daemon.plain import readable
from ktstr.daemon.salvage import clean, salvage
from ktstr.daemon.submission import OWN_FOLDER, EventRow, RunRow, RunState
from ktstr.errors import ExitCode

GRACE_S: Final = 15.0
"""How long runners may take to end by themselves."""

KILL_DEADLINE_S: Final = 5.0
POLL_S: Final = 0.05
HEAD_LINES: Final = 16
HEAD_BYTES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Leftover:
    """A process of a daemon that is gone."""

    pid: int
    command: str


def reap(
    paths: Paths, rows: Iterable[tuple[RunRow, EventRow | None]], grace_s: float = GRACE_S
) -> list[RunRow]:
    """End what is left of the daemon before, and say what became of its runs.

    :param rows: those that had not ended, the queued ones left out, with the last that each said.
    :return: the same, each at its end, or queued again where nothing had been begun.
    """
    killed = end_leftovers(paths.state, grace_s)
    return [_settled(paths, row, last, killed) for row, last in rows]


def end_leftovers(state: Path, grace_s: float) -> list[Leftover]:
    """Wait for the processes of a state folder to end, then end them.

    :return: those that had to be killed.
    """
    deadline = time.monotonic() + grace_s
    while (found := list(leftovers(state))) and time.monotonic() < deadline:
        time.sleep(POLL_S)
    killed = found
    deadline = time.monotonic() + KILL_DEADLINE_S
    while found and time.monotonic() < deadline:
        for process in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(process.pid, signal.SIGKILL)
        time.sleep(POLL_S)
        found = list(leftovers(state))
    return killed


def leftovers(state: Path) -> Iterator[Leftover]:
    """The processes that carry the mark of a state folder, this one and the dead left out."""
    mark = f"{STATE_MARK}={state}".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        # Other people's processes cannot be read, and are none of ours.
        with suppress(OSError):
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                command = b" ".join(words).decode("utf-8", "replace").strip()
                yield Leftover(int(entry.name), command)


def start_ticks(pid: int) -> int | None:
    """When a process started, clock ticks since the host did (proc(5), field 22 of stat)."""
    try:
        # The name, in parentheses, may hold anything.
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


def _settled(paths: Paths, row: RunRow, last: EventRow | None, killed: list[Leftover]) -> RunRow:
    folder = paths.run(row.id)
    note = read_note(folder / END)
    if note is not None and note.get("end") != "lost":
        clean(folder)
        return ended(row, note)
    if row.state is RunState.KEPT:
        return recorded(row, folder)
    if sidecar := find_sidecar(row, folder):
        clean(folder)
        return ended(row, {"end": "finished", "sidecar": str(sidecar), **_head(sidecar)})
    if row.state is RunState.STARTING and not (folder / RUNNER).exists():
        return replace(row, state=RunState.QUEUED, started_at=None, pid=None)
    return lost(row, folder, f"the daemon ended while this run was {row.state}", last, killed)


def ended(row: RunRow, note: dict[str, Any]) -> RunRow:
    """The row with the end that a runner told, or left in its folder."""
    at = note.get("at")
    found = replace(
        row,
        state=RunState.CANCELLED if note.get("end") == "cancelled" else RunState.FINISHED,
        ended_at=at if isinstance(at, float) else time.time(),
        pid=None,
    )
    if found.state is RunState.CANCELLED:
        return replace(found, error=_text(note, "error") or row.error)
    code = note.get("exit_code")
    return replace(
        found,
        name=_text(note, "name") or row.name,
        verdict=_text(note, "verdict"),
        exit_code=code if type(code) is int and 0 <= code <= 255 else None,
        error=_text(note, "error"),
        hint=_text(note, "hint"),
        sidecar=_path(note, "sidecar"),
        evidence=_path(note, "evidence"),
        checkpoint=_path(note, "checkpoint"),
    )


def recorded(row: RunRow, folder: Path) -> RunRow:
    """The row of a run that was recorded already, and whose guest stood for people since."""
    clean(folder)
    return replace(row, state=RunState.FINISHED, ended_at=time.time(), pid=None)


def lost(
    row: RunRow,
    folder: Path,
    why: str,
    last: EventRow | None,
    killed: Iterable[Leftover] = (),
) -> RunRow:
    """The row of a run that ended without a word; what is left of it becomes its evidence."""
    lines = [why, f"run {row.id}, {row.name}"]
    if last is not None:
        at = datetime.fromtimestamp(last.at, UTC).isoformat(timespec="milliseconds")
        lines.append(f"the last it said, at {at}: {last.type} {json.dumps(last.data)[:500]}")
    lines += [f"process {each.pid} had to be killed: {each.command[:500]}" for each in killed]
    evidence = salvage(folder, "\n".join(lines))
    clean(folder)
    # A record that was not whole yet has a name of its own.
    with suppress(OSError):
        for unfinished in _results(row, folder).glob(f".*-{row.id}.ktstr.json.*"):
            unfinished.unlink()
    return replace(
        row,
        state=RunState.LOST,
        ended_at=time.time(),
        pid=None,
        verdict="lost",
        exit_code=int(ExitCode.GUEST_LOST),
        error=why,
        evidence=evidence,
    )


def find_sidecar(row: RunRow, folder: Path) -> Path | None:
    """The record of a run, where it was to be written; None when there is none."""
    with suppress(OSError):
        return next(iter(_results(row, folder).glob(f"*-{row.id}.ktstr.json")), None)
    return None


def _results(row: RunRow, folder: Path) -> Path:
    """The folder that a run's results were to go to."""
    out_dir = row.submission.options.out_dir
    return folder if out_dir == OWN_FOLDER else out_dir


def _head(sidecar: Path) -> dict[str, Any]:
    """What stands first in a record, one key a line: name, verdict, exit_code, error."""
    found: dict[str, Any] = {}
    with suppress(OSError, ValueError), sidecar.open("rb") as file:
        for line in file.read(HEAD_BYTES).splitlines()[1:HEAD_LINES]:
            found |= json.loads(b"{" + line.strip().removesuffix(b",") + b"}")
            if "error" in found:
                break
    return found


def _text(note: dict[str, Any], key: str) -> str | None:
    value = note.get(key)
    # A row with anything else in it could not be read again.
    return readable(value[:8192]) if isinstance(value, str) else None


def _path(note: dict[str, Any], key: str) -> Path | None:
    value = note.get(key)
    if not isinstance(value, str) or not value.startswith("/"):
        return None
    return Path(value) if value == readable(value[:8192]) else None
