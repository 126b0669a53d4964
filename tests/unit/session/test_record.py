# SPDX-License-Identifier: GPL-2.0-only
"""The sidecar and the evidence: whole or not at all, and readable whatever is in them."""

import errno
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ktstr.errors import ExitCode, OutputUnwritable
from ktstr.session import evidence as evidence_module
from ktstr.session.evidence import as_json, write_evidence
from ktstr.session.record import RunRecord
from ktstr.session.sidecar import write as sidecar_module
from ktstr.session.sidecar.json_safe import MAX_DEPTH, json_safe
from ktstr.session.sidecar.write import check_writable, sidecar_text, write_sidecar


def record(**facts: Any) -> RunRecord:
    return RunRecord("20260101-000000-abcd", "demo", ExitCode.PASS, facts=facts)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (math.nan, "nan"),
        (-math.inf, "-inf"),
        (np.float64("nan"), "nan"),
        (np.uint64(2**64 - 1), 2**64 - 1),
        (np.float32(0.5), 0.5),
        (True, True),
        (None, None),
        (b"\x00\xff", "00ff"),
        (frozenset({10, 9}), [9, 10]),
        ({"x", 3}, [3, "x"]),
        ({1: {b"k": (1, 2)}}, {"1": {"b'k'": [1, 2]}}),
        (Path("/a/b"), "/a/b"),
    ],
)
def test_any_value_has_a_place_in_json(value: object, plain: object) -> None:
    assert json_safe(value) == plain
    assert type(json_safe(value)) is type(plain)


def test_nesting_has_an_end() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    text = json.dumps(json_safe(deep), indent=1)
    assert text.count("[") == MAX_DEPTH
    assert '"..."' in text


def test_a_sidecar_is_json_with_whatever_the_guest_put_in(tmp_path: Path) -> None:
    made = record(statuses=[{"event": "x", "load": math.nan, "raw": b"\xff", "n": {7: 1}}])
    path = write_sidecar(tmp_path / "new" / "folder", made)
    assert path.name == "demo-20260101-000000-abcd.ktstr.json"

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    plain = json.loads(path.read_text(), parse_constant=refuse)
    assert plain["statuses"] == [{"event": "x", "load": "nan", "raw": "ff", "n": {"7": 1}}]
    assert path.read_text() == sidecar_text(made)
    assert (plain["verdict"], plain["exit_code"], plain["error"]) == ("lost", 0, None)
    assert os.listdir(path.parent) == [path.name]
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_disk_that_fills_up_leaves_no_half_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(sidecar_module.os, "fsync", full)
    with pytest.raises(OutputUnwritable, match="No space left on device") as caught:
        write_sidecar(tmp_path, record())
    assert "--out" in str(caught.value)
    assert os.listdir(tmp_path) == []


def test_an_output_folder_that_is_a_file_is_told_before_the_run(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    for folder in (blocker, blocker / "below"):
        with pytest.raises(OutputUnwritable):
            check_writable(folder)
        with pytest.raises(OutputUnwritable):
            write_sidecar(folder, record())
        with pytest.raises(OutputUnwritable):
            write_evidence(folder, {}, {})
    check_writable(tmp_path / "not" / "there" / "yet")
    assert os.listdir(tmp_path) == ["file"], "looking makes nothing"


def test_an_output_folder_without_permission_is_told_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sidecar_module.os, "access", lambda path, mode: path != tmp_path)
    with pytest.raises(OutputUnwritable, match="cannot be written"):
        check_writable(tmp_path / "new")


def test_evidence_holds_texts_and_copies_and_skips_what_is_not_there(tmp_path: Path) -> None:
    source = tmp_path / "frames"
    source.write_bytes(b"\x00\x01")
    texts = {"a.log": "odd \udcff byte\n", "empty.log": ""}
    files = {"frames.bin": source, "none.log": tmp_path / "missing"}
    folder = write_evidence(tmp_path / "e", texts, files)
    assert sorted(os.listdir(folder)) == ["a.log", "frames.bin"]
    assert (folder / "a.log").read_text() == "odd \\udcff byte\n"
    assert (folder / "frames.bin").read_bytes() == b"\x00\x01"


def test_evidence_that_does_not_fit_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: object, target: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(evidence_module.shutil, "copyfile", full)
    (tmp_path / "source").write_text("x")
    with pytest.raises(OutputUnwritable, match="evidence cannot be written"):
        write_evidence(tmp_path / "e", {}, {"x": tmp_path / "source"})


def test_evidence_json_is_json() -> None:
    assert json.loads(as_json({"a": math.inf, "b": {1: b"\x01"}})) == {"a": "inf", "b": {"1": "01"}}
