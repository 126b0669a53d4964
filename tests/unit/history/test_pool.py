# SPDX-License-Identifier: GPL-2.0-only
"""Rows out of the heads of records; damaged files are told."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ktstr.errors import CannotRun, ExitCode
from ktstr.history import head as head_module
from ktstr.history.head import read_head
from ktstr.history.pool import Damaged, load, row_of
from ktstr.metrics import PhaseBucket, ScenarioStats
from ktstr.session.record import RunRecord
from ktstr.session.sidecar.read import SidecarUnreadable
from ktstr.session.sidecar.write import write_sidecar
from ktstr.verdict import AssertDetail, AssertResult, DetailKind


def record(run_id: str = "20261121-101112-abcd", **more: Any) -> RunRecord:
    bucket = PhaseBucket(1, "Step[0]", 0, 1000, 7, metrics={"iteration_rate": 5.0})
    stats = ScenarioStats(phases=(bucket,), ext_metrics={"iteration_rate": 5.0, "mine": 1.5})
    result = AssertResult(stats=stats)
    result.record_pass()
    values: dict[str, Any] = {
        "result": result,
        "facts": {
            "kernel": {"spec": "debian:7", "release": "7.2.13", "commit": "0123456789"},
            "topology": "1n2l4c2t",
            "scheduler": {"kind": "bpf", "path": "/a/b/scx_fine.bpf.o", "profile": "llc"},
            "steps": [{"index": 1, "name": "calm"}],
            "work_types": ["SpinWait", "PipeIo", "PipeIo"],
        },
        "host": {
            "wall_s": 3.25,
            "project_commit": "abcdef0-dirty",
            "run_source": "ci",
            "cpu_budget": 4,
        },
    }
    return RunRecord(run_id, "demo", ExitCode.PASS, **values | more)


def test_a_row_says_what_the_record_says(tmp_path: Path) -> None:
    path = write_sidecar(tmp_path, record())
    [row] = load(path)
    assert (row.path, row.run_id, row.scenario) == (path, "20261121-101112-abcd", "demo")
    assert (row.verdict, row.exit_code, row.reason) == ("pass", 0, None)
    assert row.started == "2026-11-21 10:11:12"
    assert (row.kernel, row.kernel_spec, row.kernel_commit) == ("7.2.13", "debian:7", "0123456789")
    assert (row.scheduler, row.flags) == ("scx_fine", "llc")
    assert row.steps == (("calm", None),)
    assert (row.topology, row.vcpus, row.cpu_budget) == ("1n2l4c2t", 16, 4)
    assert (row.work_type, row.clock, row.seed) == ("PipeIo+SpinWait", "wall", None)
    assert (row.project_commit, row.run_source, row.wall_s) == ("abcdef0-dirty", "ci", 3.25)
    assert row.metrics == {"iteration_rate": 5.0, "mine": 1.5}
    [phase] = row.phases
    assert (phase.step_index, phase.title, phase.samples) == (1, "Step[0] calm", 7)
    assert phase.metrics == {"iteration_rate": 5.0}


def test_what_is_not_recorded_is_none(tmp_path: Path) -> None:
    made = RunRecord("id", "demo", ExitCode.GUEST_LOST, error="it panicked\n  hint: read")
    [row] = load(write_sidecar(tmp_path, made))
    assert (row.verdict, row.reason, row.started) == ("lost", "it panicked", None)
    for name in ("kernel", "scheduler", "topology", "work_type", "project_commit", "clock"):
        assert getattr(row, name) is None, name
    assert (row.cpu_budget, row.vcpus, row.seed, row.run_sample_count) == (None,) * 4
    assert (row.metrics, row.phases) == ({}, ())


def test_the_reason_is_that_of_the_verdict(tmp_path: Path) -> None:
    made = record()
    assert made.result is not None
    made.result.record_inconclusive(AssertDetail(DetailKind.OTHER, "no data"))
    made.result.record_fail(AssertDetail(DetailKind.STUCK, "a gap"))
    [row] = load(write_sidecar(tmp_path, made))
    assert (row.verdict, row.reason) == ("fail", "a gap")


def test_the_virtual_clock_has_a_seed(tmp_path: Path) -> None:
    made = record()
    made.facts |= {"virtual": {"seed": 7}, "identity": "ab"}
    [row] = load(write_sidecar(tmp_path, made))
    assert (row.clock, row.seed, row.identity) == ("virtual", 7, "ab")


def test_no_finite_number_is_dropped_and_named() -> None:
    head = {"name": "n", "verdict": "pass", "exit_code": 0, "metrics": {"a": "nan", "b": 0.0}}
    row = row_of(head, Path("x"))
    assert (dict(row.metrics), row.not_finite) == ({"b": 0.0}, ("a",))
    # JSON has larger integers than floats go.
    assert row_of(head | {"metrics": {"a": 10**400}}, Path("x")).not_finite == ("a",)


def test_only_the_head_of_a_record_is_read(tmp_path: Path) -> None:
    path = write_sidecar(tmp_path, record())
    content = path.read_bytes()
    end = content.index(b',\n "log_tails"')
    path.write_bytes(content[: end + 20])
    assert read_head(path)["name"] == "demo"


@pytest.mark.parametrize("chunk", [1, 7, 100, 4096])
def test_a_key_of_the_name_of_the_end_does_not_end_the_head(
    tmp_path: Path, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(head_module, "CHUNK", chunk)
    made = record()
    assert made.result is not None
    stats = replace(made.result.stats, ext_metrics={"a": 1.0, "log_tails": 2.0, "z": 3.0})
    path = write_sidecar(tmp_path, replace(made, result=replace(made.result, stats=stats)))
    values = read_head(path)
    assert values["metrics"] == {"a": 1.0, "log_tails": 2.0, "z": 3.0}
    assert values["host"]["run_source"] == "ci" and "log_tails" not in values


def test_a_record_that_was_formatted_anew_is_read(tmp_path: Path) -> None:
    path = write_sidecar(tmp_path, record())
    path.write_text(json.dumps(json.loads(path.read_text())))
    assert load(path)[0].metrics["mine"] == 1.5


def test_folders_are_read_with_those_right_below(tmp_path: Path) -> None:
    write_sidecar(tmp_path, record("20261121-000003-0000"))
    write_sidecar(tmp_path / "ci", record("20261121-000001-0000"))
    write_sidecar(tmp_path / "ci" / "deeper", record("20261121-000002-0000"))
    write_sidecar(tmp_path, record("20261121-000004-0000.repro"))
    assert [row.run_id[9:15] for row in load(tmp_path)] == ["000001", "000003"]
    # That in ci is there once; from ci, deeper is right below.
    assert len(load(tmp_path, tmp_path / "ci")) == 3


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "damaged"),
        (b'{"schema": 3, "name": "x", "met', "damaged"),
        (b"\xff\xfe", "damaged"),
        (b"[]", "no record"),
        (b'{"name": 1}', "no schema number"),
        (b'{"schema": 2}', "schema 2"),
        (b'{"schema": 3, "name": "x", "verdict": "fine", "exit_code": 0}', "no name, verdict"),
        (b"[" * 100_000, "damaged"),
    ],
)
def test_damaged_files_are_told(tmp_path: Path, content: bytes, word: str) -> None:
    write_sidecar(tmp_path, record())
    path = tmp_path / "bad.ktstr.json"
    path.write_bytes(content)
    damaged: list[Damaged] = []
    assert len(load(tmp_path, damaged=damaged)) == 1
    assert [each.path for each in damaged] == [path]
    assert word in damaged[0].reason and str(path) in damaged[0].reason
    with pytest.raises(SidecarUnreadable):
        load(tmp_path)
    # A file that somebody named is no file among others.
    with pytest.raises(SidecarUnreadable):
        load(path, damaged=[])


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.ktstr.json")
    (tmp_path / "y.ktstr.json").mkdir()
    damaged: list[Damaged] = []
    assert load(tmp_path, damaged=damaged) == []
    assert [each.reason.rpartition(" ")[0][-5:] for each in damaged] == ["is no"] * 2


def test_a_folder_below_that_cannot_be_read_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_sidecar(tmp_path, record())
    (tmp_path / "lost+found").mkdir()
    there = Path.iterdir

    def refuse(folder: Path) -> Any:
        if folder.name == "lost+found":
            raise PermissionError(13, "Permission denied", str(folder))
        return there(folder)

    monkeypatch.setattr(Path, "iterdir", refuse)
    damaged: list[Damaged] = []
    assert len(load(tmp_path, damaged=damaged)) == 1
    assert damaged[0].reason.endswith("lost+found cannot be read: Permission denied")


def test_places_that_are_not_there_are_told(tmp_path: Path) -> None:
    with pytest.raises(CannotRun, match="cannot be read"):
        load(tmp_path / "missing")
