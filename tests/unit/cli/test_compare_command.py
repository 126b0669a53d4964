# SPDX-License-Identifier: GPL-2.0-only
"""``ktstr compare`` over records that were written as runs write them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ktstr.cli.compare import DIMENSIONS, compare
from ktstr.errors import ExitCode
from ktstr.history.dimensions import Dimension
from ktstr.metrics import PhaseBucket, ScenarioStats
from ktstr.session.record import RunRecord
from ktstr.session.sidecar.write import write_sidecar
from ktstr.verdict import AssertDetail, AssertResult, DetailKind

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    count = 0

    def make(folder: str, rate: float = 100.0, *, fails: str = "", **more: Any) -> Path:
        nonlocal count
        count += 1
        bucket = PhaseBucket(1, "Step[0]", 0, 1000, 7, metrics={"iteration_rate": rate})
        metrics = {"iteration_rate": rate, **more.pop("metrics", {})}
        result = AssertResult(stats=ScenarioStats(phases=(bucket,), ext_metrics=metrics))
        result.record_pass()
        if fails:
            result.record_fail(AssertDetail(DetailKind.STUCK, fails))
        facts = {
            "kernel": {"spec": "debian:7", "release": more.pop("kernel", "7.2.13")},
            "topology": "1n1l2c1t",
            "scheduler": {"kind": "bpf", "path": more.pop("scheduler", "scx_fine")},
        }
        made = RunRecord(
            f"20261121-0000{count:02d}-{count:04x}",
            more.pop("name", "crowd"),
            ExitCode.FAIL if fails else ExitCode.PASS,
            result,
            facts=facts,
            host={"project_commit": more.pop("commit", "aaaaaaa"), "cpu_budget": 2},
        )
        assert not more
        return write_sidecar(tmp_path / folder, made)

    return make


def run(*words: str | Path, code: int) -> Result:
    done = CliRunner().invoke(compare, [str(word) for word in words])
    assert done.exit_code == code, done.output
    return done


def test_two_folders_tell_what_got_worse(write: Write, tmp_path: Path) -> None:
    write("before", 100.0)
    write("after", 50.0, commit="bbbbbbb")
    said = run(tmp_path / "before", tmp_path / "after", code=1).stdout
    assert "A before (1 run), B after (1 run)" in said
    assert "they differ in project-commit: aaaaaaa → bbbbbbb" in said
    rows = [line.split() for line in said.splitlines() if "iteration_rate" in line]
    cells = ["iteration_rate", "iter/s", "100", "50", "-50.0%", "1/1", "regression"]
    assert rows == [["crowd", "run", *cells], ["crowd", "Step[0]", *cells]]
    assert "one run a side says nothing of noise" in said
    assert said.splitlines()[-1] == "2 regressions, 0 improvements; 1 pair compared"
    assert "0 regressions, 2 improvements" in (
        run(tmp_path / "after", tmp_path / "before", code=0).stdout
    )


def test_records_are_places_as_well(write: Write) -> None:
    run(write("x", 100.0), write("x", 50.0), code=1)


def test_a_pool_is_divided_by_filters(write: Write, tmp_path: Path) -> None:
    for kernel, rate in (("6.12.4", 100.0), ("7.2.1", 50.0), ("7.3.1", 100.0)):
        write("pool", rate, kernel=kernel)
        write("pool", rate, kernel=kernel, scheduler="other")
    pool = tmp_path / "pool"
    said = run(pool, "--a-kernel", "6.12", "--b-kernel", "7.2", code=1).stdout
    assert "A 6.12 (2 runs), B 7.2 (2 runs)" in said and "2 pairs compared" in said
    said = run(
        *(pool, "--a-kernel", "6.12", "--kernel", "7.3", "--scheduler", "other"), code=0
    ).stdout
    assert "1 pair compared" in said and "they differ in kernel: 6.12.4 → 7.3.1" in said
    run(pool, "--a-kernel", "6.12", "--b-kernel", "7.2", "-E", "scx_fine", "--no-phases", code=1)
    said = run(pool, "--a-kernel", "6.12", "--b-kernel", "9.9", code=2).stdout
    assert "B is empty: kernel 9.9: there are 6.12.4, 7.2.1, 7.3.1" in said


def test_noise_is_told_with_several_runs(write: Write, tmp_path: Path) -> None:
    for rate in (100.0, 101.0, 99.0):
        write("a", rate)
        write("b", rate / 2)
    said = run(tmp_path / "a", tmp_path / "b", "--no-phases", code=1).stdout
    assert "1 metrics tested with 3 runs a side" in said and "<0.001" in said
    said = run(tmp_path / "a", tmp_path / "b", "--no-phases", "--no-test", code=1).stdout
    assert "noise was left out of account" in said and "metrics tested" not in said


def test_a_pass_that_became_a_fail_is_a_regression(write: Write, tmp_path: Path) -> None:
    write("a")
    write("b", fails="a gap of 9 s")
    said = run(tmp_path / "a", tmp_path / "b", code=1).stdout
    assert "crowd: pass → fail  regression  a gap of 9 s" in said
    assert "1 pair no longer passes" in said
    write("b")
    run(tmp_path / "a", tmp_path / "b", "--metrics-only", code=0)


def test_what_one_side_lacks_is_no_regression(write: Write, tmp_path: Path) -> None:
    write("a", metrics={"worst_gap_ms": 9000.0})
    write("a", name="gone")
    write("b")
    said = run(tmp_path / "a", tmp_path / "b", code=0).stdout
    assert "crowd, only A: worst_gap_ms" in said
    assert "only in A\n  gone: 1 run" in said


def test_policies_and_thresholds(write: Write, tmp_path: Path) -> None:
    a, b = write("a", 100.0), write("b", 90.0)
    run(a, b, code=0)
    run(a, b, "--threshold", "10", code=1)
    policy = tmp_path / "policy.toml"
    policy.write_text("[per_metric_percent]\niteration_rate = 10\n")
    run(a, b, "--policy", policy, code=1)
    policy.write_text("[per_metric_percent]\niteration_rat = 10\n")
    said = run(a, b, "--policy", policy, code=4).stderr
    assert "there is no metric 'iteration_rat' (did you mean iteration_rate" in said


def test_damaged_files_are_counted(write: Write, tmp_path: Path) -> None:
    a, b = write("a"), write("b")
    broken = tmp_path / "b" / "x.ktstr.json"
    broken.write_text("{")
    said = run(tmp_path / "a", tmp_path / "b", code=0).stdout
    assert "1 file that is no readable record" in said and str(broken) in said
    run(a, broken, code=4)
    run(b, tmp_path / "missing", code=4)


@pytest.mark.parametrize(
    "words",
    [
        ["a", "b", "c"],
        ["a", "b", "--policy", "x", "--threshold", "3"],
        ["a", "b", "--no-phases", "--phases-only"],
        ["a", "b", "--no-phases", "--phase", "1"],
        ["a", "b", "--threshold", "-1"],
        ["a", "b", "--unknown"],
        ["a"],
    ],
)
def test_bad_input_is_no_verdict(words: list[str], write: Write, tmp_path: Path) -> None:
    for place in "abc":
        write(place)
    run(*(tmp_path / word if word in "abc" else word for word in words), code=4)


def test_levels(write: Write, tmp_path: Path) -> None:
    a, b = write("a", 100.0), write("b", 50.0)
    for words, places in (
        (["--no-phases"], ["run"]),
        (["--phases-only"], ["Step[0]"]),
        (["--phases-only", "--phase", "1"], []),
        (["--phase", "0"], ["run", "Step[0]"]),
    ):
        done = run(a, b, "--format", "json", *words, code=1 if places else 0)
        found = [each["phase"] or "run" for each in json.loads(done.stdout)["changes"]]
        assert found == places


def test_json_says_everything(write: Write, tmp_path: Path) -> None:
    a, b = write("a", 100.0), write("b", 50.0, commit="bbbbbbb")
    found = json.loads(run(a, b, "--format", "json", "--no-phases", code=1).stdout)
    assert (found["schema"], found["exit_code"]) == (1, 1)
    assert found["slicing"] == ["project-commit"]
    [pair] = found["pairs"]
    assert pair["key"]["scenario"] == "crowd" and pair["key"]["kernel"] == "7.2.13"
    [change] = found["changes"]
    assert (change["metric"], change["outcome"]) == ("iteration_rate", "regression")
    assert (change["delta"], change["relative"], change["test"]) == (-50.0, -0.5, None)


def test_the_options_are_the_dimensions() -> None:
    assert tuple(each.value for each in Dimension) == DIMENSIONS
