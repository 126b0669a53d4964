# SPDX-License-Identifier: GPL-2.0-only
"""What a gauntlet was to do and has done: JSON lines that survive a SIGKILL.

::

    {"type": "agenda", "schema": 1, "at": TIME, "agenda": {…}}
    {"type": "began", "key": KEY, "at": TIME}
    {"type": "ended", "key": KEY, "result": {…}}

A line counts once it is on the disk. Of several agendas the last one counts: each resumption
writes its own, and what has ended is found again by the cell's key, which changes with all that
shapes its run.
"""

import errno
import fcntl
import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NoReturn

from ktstr.errors import CannotRun, OutputUnwritable
from ktstr.gauntlet.agenda import Agenda
from ktstr.gauntlet.cells import Cell, CellResult
from ktstr.gauntlet.cost import Measured
from ktstr.telemetry.decode import Fields, RecordError

JOURNAL: Final = "gauntlet.jsonl"
SCHEMA: Final = 1
MAX_FILE: Final = 1 << 28
"""Largest journal that is read, bytes."""

MAX_NEIGHBOURS: Final = 20
"""Journals of earlier gauntlets that estimates are taken from, the newest ones."""

_KEY: Final = 64


@dataclass(slots=True)
class Contents:
    """What a journal tells.

    :ivar results: how cells ended, by key.
    :ivar cut: keys of those that began and have not ended.
    :ivar cells: every cell of any agenda, by key.
    """

    agenda: Agenda | None = None
    results: dict[str, CellResult] = field(default_factory=dict)
    cut: set[str] = field(default_factory=set)
    cells: dict[str, Cell] = field(default_factory=dict)


class Journal:
    """The journal of a gauntlet that goes on; made by :func:`open_journal`."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        # Runs that end together are written by threads of their own.
        self._lock = threading.Lock()

    def planned(self, agenda: Agenda) -> None:
        """From here on this is to be done.

        :raise OutputUnwritable: when it cannot be written; so with the others.
        """
        self._write({"type": "agenda", "schema": SCHEMA, "at": _now(), "agenda": agenda.to_json()})

    def began(self, cell: Cell) -> None:
        """The run of a cell begins."""
        self._write({"type": "began", "key": cell.key, "at": _now()})

    def ended(self, cell: Cell, result: CellResult) -> None:
        """It has ended, so."""
        self._write({"type": "ended", "key": cell.key, "result": result.to_json()})

    def _write(self, line: Mapping[str, Any]) -> None:
        data = (json.dumps(line, separators=(",", ":")) + "\n").encode("ascii")
        try:
            with self._lock:
                before = os.lseek(self._descriptor, 0, os.SEEK_END)
                try:
                    while data:
                        data = data[os.write(self._descriptor, data) :]
                    os.fdatasync(self._descriptor)
                except OSError:
                    # Half a line would hide what is written after it.
                    os.ftruncate(self._descriptor, before)
                    raise
        except OSError as error:
            _unwritable(self.path, error)


@contextmanager
def open_journal(folder: Path, *, new: bool = False) -> Iterator[Journal]:
    """The journal of a folder, for this process alone; what a SIGKILL tore is cut off.

    :param new: for a gauntlet that begins, which no other may have begun there.
    :raise OutputUnwritable: when it cannot be written.
    :raise CannotRun: when another process writes it, or there is one where it has to be new.
    """
    path = folder / JOURNAL
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    except OSError as error:
        _unwritable(path, error)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                _unwritable(path, error)
            raise CannotRun(
                f"another gauntlet runs in {folder}", hint="wait for it, or choose another --out"
            ) from None
        _cut_torn(path, descriptor)
        if new and os.fstat(descriptor).st_size:
            raise taken(folder)
        yield Journal(path, descriptor)
    finally:
        os.close(descriptor)


def taken(folder: Path) -> CannotRun:
    """The error for a new gauntlet in a folder that has one."""
    return CannotRun(
        f"there is a gauntlet in {folder} already",
        hint=f"ktstr gauntlet --resume {folder}, or another --out",
    )


def _cut_torn(path: Path, descriptor: int) -> None:
    """Drop what follows the last line break."""
    try:
        size = os.fstat(descriptor).st_size
        data = os.pread(descriptor, min(size, MAX_FILE), max(0, size - MAX_FILE))
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            os.ftruncate(descriptor, size - len(data) + whole)
    except OSError as error:
        _unwritable(path, error)


def read_journal(folder: Path) -> Contents:
    """What the journal of a folder tells; a torn last line is passed over.

    :raise CannotRun: when there is none, or it cannot be read.
    :raise RecordError: naming the line and the field that is wrong.
    """
    path = folder / JOURNAL
    try:
        if path.stat().st_size > MAX_FILE:
            raise CannotRun(f"{path} is larger than {MAX_FILE >> 20} MiB")
        data = path.read_bytes()
    except OSError as error:
        raise CannotRun(
            f"{path} cannot be read: {error.strerror}",
            hint="name the folder that `ktstr gauntlet` made",
        ) from error
    contents = Contents()
    lines = data.split(b"\n")[:-1]
    for number, line in enumerate(lines, start=1):
        _take(contents, line, f"{path}, line {number}")
    return contents


def _take(contents: Contents, line: bytes, subject: str) -> None:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise RecordError(
            subject, "(the whole line)", f"no JSON ({error})", "a line of the journal"
        ) from None
    found = Fields(values, subject)
    match found.one_of("type", ("agenda", "began", "ended")):
        case "agenda":
            found.integer("schema", SCHEMA, SCHEMA)
            found.name("at", 64)
            contents.agenda = Agenda.from_json(found.nested("agenda"))
            contents.cells |= {item.cell.key: item.cell for item in contents.agenda.items}
        case "began":
            found.name("at", 64)
            contents.cut.add(found.name("key", _KEY))
        case _:
            key = found.name("key", _KEY)
            contents.results[key] = CellResult.from_json(found.nested("result"))
            contents.cut.discard(key)
    found.done()


def measured_beside(folder: Path) -> list[Measured]:
    """The runs of earlier gauntlets whose folders lie beside this one, and its own.

    Journals that cannot be read are as good as none: only estimates depend on them.
    """
    found: list[tuple[float, Path]] = []
    for path in folder.absolute().parent.glob(f"*/{JOURNAL}"):
        try:
            found.append((path.stat().st_mtime, path.parent))
        except OSError:
            continue
    measured: list[Measured] = []
    for _, each in sorted(found, reverse=True)[:MAX_NEIGHBOURS]:
        try:
            contents = read_journal(each)
        except CannotRun:
            continue
        measured += [
            Measured(contents.cells[key], result)
            for key, result in contents.results.items()
            if key in contents.cells
        ]
    return measured


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _unwritable(path: Path, error: OSError) -> NoReturn:
    raise OutputUnwritable(
        f"the journal {path} cannot be written: {error.strerror}",
        hint="free space there, or choose another place with --out",
    ) from error
