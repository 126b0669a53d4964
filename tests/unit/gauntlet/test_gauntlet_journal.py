# SPDX-License-Identifier: GPL-2.0-only
"""The journal: whole lines or none, one writer, strict reading, the last agenda counts."""

import errno
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from ktstr.errors import CannotRun, ExitCode, OutputUnwritable
from ktstr.gauntlet import journal as journal_module
from ktstr.gauntlet.agenda import Agenda, Coverage, Item
from ktstr.gauntlet.cells import Cell, CellResult
from ktstr.gauntlet.journal import JOURNAL, measured_beside, open_journal, read_journal
from ktstr.gauntlet.plan import LeftOut
from ktstr.telemetry.decode import RecordError


def cell(name: str) -> Cell:
    return Cell(Path(f"/{name}.toml"), name, "1n1l1c1t", key=f"key-{name}")


A, B, C = cell("a"), cell("b"), cell("c")
PASS = CellResult("pass", ExitCode.PASS, wall_s=2.0)
AGENDA = Agenda(
    "mine",
    (Item(A, 3.0, 1.5), Item(B, 4.0, 2.0)),
    ((C, CellResult("skip", ExitCode.PASS, reason="no place")),),
    (LeftOut(C, "host", "too large"),),
    600.0,
    Coverage(3, 4, 5),
    2,
)


def written(folder: Path) -> Path:
    with open_journal(folder) as journal:
        journal.planned(AGENDA)
        journal.began(A)
        journal.began(B)
        journal.ended(A, PASS)
    return folder / JOURNAL


def test_what_was_written_is_read(tmp_path: Path) -> None:
    written(tmp_path / "made" / "here")
    found = read_journal(tmp_path / "made" / "here")
    assert found.agenda == AGENDA
    assert found.results == {A.key: PASS} and found.cut == {B.key}
    assert found.cells == {A.key: A, B.key: B}


@pytest.mark.parametrize("torn", [b"{", b'{"type":"ended","key":"key-b"', b"\x00\xff"])
def test_a_torn_last_line_is_passed_over_and_cut_off(tmp_path: Path, torn: bytes) -> None:
    path = written(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole + torn)
    assert read_journal(tmp_path).cut == {B.key}
    with open_journal(tmp_path) as journal:
        assert path.read_bytes() == whole
        journal.ended(B, PASS)
    assert read_journal(tmp_path).results == {A.key: PASS, B.key: PASS}


def test_cut_anywhere_it_tells_what_was_whole(tmp_path: Path) -> None:
    path = written(tmp_path)
    data = path.read_bytes()
    ends = [at + 1 for at, byte in enumerate(data) if byte == ord("\n")]
    for length in range(0, len(data) + 1, 7):
        path.write_bytes(data[:length])
        lines = sum(1 for end in ends if end <= length)
        found = read_journal(tmp_path)
        assert (found.agenda is not None) == (lines >= 1)
        assert (A.key in found.results) == (lines >= 4)


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ("nonsense", "(the whole line)"),
        ('{"type":"other"}', "type"),
        ('{"type":"began","key":7,"at":"x"}', "key"),
        ('{"type":"agenda","schema":9,"at":"x","agenda":{}}', "schema"),
        ('{"type":"ended","key":"k","result":{"verdict":"pass"}}', "result.exit_code"),
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, line: str, field: str) -> None:
    path = written(tmp_path)
    with path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(RecordError) as error:
        read_journal(tmp_path)
    assert error.value.subject == f"{path}, line 5"
    assert error.value.field == field


def test_of_several_agendas_the_last_counts(tmp_path: Path) -> None:
    written(tmp_path)
    later = Agenda("mine", (Item(C, 1.0, 1.0),))
    with open_journal(tmp_path) as journal:
        journal.planned(later)
    found = read_journal(tmp_path)
    assert found.agenda == later and found.results == {A.key: PASS}
    assert set(found.cells) == {A.key, B.key, C.key}


def test_one_process_writes_it(tmp_path: Path) -> None:
    with open_journal(tmp_path):
        with pytest.raises(CannotRun, match="another gauntlet runs in"), open_journal(tmp_path):
            pass
        read_journal(tmp_path)  # looking is free
    with open_journal(tmp_path):
        pass


def test_there_has_to_be_one(tmp_path: Path) -> None:
    with pytest.raises(CannotRun, match="cannot be read"):
        read_journal(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputUnwritable), open_journal(tmp_path / "file"):
        pass


def test_a_line_that_fails_takes_no_other_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runs end together; the first cannot be written, and is cut off while the second is."""
    path = written(tmp_path)
    cut, cutting, go_on = os.ftruncate, threading.Event(), threading.Event()

    def fails(descriptor: int, data: bytes) -> int:
        monkeypatch.undo()
        monkeypatch.setattr(journal_module.os, "ftruncate", slowly)
        raise OSError(errno.ENOSPC, "No space left on device")

    def slowly(descriptor: int, length: int) -> None:
        cutting.set()
        # Long enough for the other to be written where nothing keeps it from that.
        go_on.wait(0.5)
        cut(descriptor, length)

    def second() -> None:
        cutting.wait(30)
        journal.ended(B, PASS)
        go_on.set()

    with open_journal(tmp_path) as journal:
        monkeypatch.setattr(journal_module.os, "write", fails)
        other = threading.Thread(target=second)
        other.start()
        with pytest.raises(OutputUnwritable):
            journal.ended(C, PASS)
        other.join(30)
    assert read_journal(tmp_path).results == {A.key: PASS, B.key: PASS}
    assert path.read_bytes().endswith(b"\n")


def test_a_full_disk_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path)
    whole = path.read_bytes()
    write = os.write

    def fills_up(descriptor: int, data: bytes) -> int:
        if len(data) > 10:
            return write(descriptor, data[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    with open_journal(tmp_path) as journal:
        with monkeypatch.context() as patch:
            patch.setattr(journal_module.os, "write", fills_up)
            with pytest.raises(OutputUnwritable, match="No space left"):
                journal.ended(B, PASS)
        assert path.read_bytes() == whole
        journal.ended(B, PASS)
    assert B.key in read_journal(tmp_path).results


def test_every_line_is_on_the_disk_before_it_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []

    def sync(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_size)

    monkeypatch.setattr(journal_module.os, "fdatasync", sync)
    path = written(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    assert synced == [sum(map(len, lines[:count])) for count in (1, 2, 3, 4)]


def test_measurements_come_from_the_folders_beside(tmp_path: Path) -> None:
    written(tmp_path / "one")
    written(tmp_path / "two")
    (tmp_path / "three").mkdir()
    (tmp_path / "three" / JOURNAL).write_text("damaged\n")
    found = measured_beside(tmp_path / "new")
    assert [(each.cell, each.result) for each in found] == [(A, PASS), (A, PASS)]
    # Without an agenda nobody knows what a key stands for.
    line: dict[str, Any] = {"type": "ended", "key": "k", "result": PASS.to_json()}
    (tmp_path / "three" / JOURNAL).write_text(json.dumps(line) + "\n")
    assert len(measured_beside(tmp_path / "new")) == 2
