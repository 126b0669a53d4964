# SPDX-License-Identifier: GPL-2.0-only
"""ktstr perf-delta on a repository of its own, in real VMs: a knob that makes it worse is found."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.vm, pytest.mark.timeout(600)]

MEDIAN = "worst_median_wake_latency_us"

# A slice of 100 ms makes whoever wakes up wait for three that spin; one of 1 ms hardly does.
SCENARIO = """
name = "wakes"
[vm]
topology = "1n1l1c1t"
memory = "256M"
[scheduler]
bpf = "scx_ktstr"
globals = {{ slice_us = {slice_us} }}
[[steps]]
hold = "500ms"
[[steps.cgroups]]
name = "all"
works = [{{ type = "SpinWait", workers = 3 }}, {{ type = "PipeIo", workers = 2 }}]
[checks]
min_iteration_rate = 0
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Two commits: good, then bad."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main", ".")
    for slice_us in (1_000, 100_000):
        text = SCENARIO.format(slice_us=slice_us)
        (folder / "wakes.toml").write_text(text)
        git(folder, "add", ".")
        git(folder, "commit", "-qm", f"a slice of {slice_us} µs")
    return folder


def git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)
    return done.stdout.decode()


def delta(ktstr: Any, repository: Path, *args: str) -> tuple[int, str, dict[str, Any]]:
    report = repository.parent / "delta.json"
    report.unlink(missing_ok=True)
    files = ("-o", str(repository.parent / "out"), "--json", str(report))
    process = ktstr.command("perf-delta", str(repository / "wakes.toml"), *files, *args)
    done = ktstr.finish(process)
    assert report.is_file(), done.output
    assert len(git(repository, "worktree", "list").splitlines()) == 1
    return done.code, done.output, json.loads(report.read_text())


def words(document: dict[str, Any]) -> dict[str, str]:
    return {each["metric"]: each["verdict"] for each in document["findings"]}


def test_a_longer_slice_is_found_and_the_same_commit_is_not(ktstr: Any, repository: Path) -> None:
    # On a busy host most of its other figures say little; this one grows to eight times.
    known = ("--repeat", "3", "--must-not-regress", MEDIAN)
    code, output, found = delta(ktstr, repository, "--base", "HEAD~1", *known)
    assert code == 1, output
    assert words(found)[MEDIAN] == "regression", output
    assert "REGRESSION" in output
    assert [run["verdict"] for run in found["runs"]] == ["pass"] * 6

    code, output, found = delta(ktstr, repository, "--base", "HEAD", "--repeat", "3")
    assert code == 0, output
    assert {"regression", "improvement"}.isdisjoint(words(found).values()), output
    assert len(found["findings"]) > 10


def test_by_the_virtual_clock_one_run_a_side_is_enough(ktstr: Any, repository: Path) -> None:
    virtual = ("--clock", "virtual", "--seed", "3")
    code, output, found = delta(ktstr, repository, "--base", "HEAD~1", *virtual)
    assert code == 1, output
    assert words(found)[MEDIAN] == "regression", output
    assert [(run["side"], run["seed"]) for run in found["runs"]] == [("base", 3), ("head", 3)]
    assert {each["test"] for each in found["findings"]} == {"exact"}
