# SPDX-License-Identifier: GPL-2.0-only
"""Where a run comes from: commits out of real repositories."""

import subprocess
from pathlib import Path

import pytest

from ktstr.model.scenario import load_scenario
from ktstr.session.definition import define, work_types
from ktstr.session.options import RunOptions, run_source
from ktstr.session.provenance import project_commit, provenance


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", *identity, "-C", str(folder), *words], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "scenarios").mkdir(parents=True)
    git(folder, "init", "-q")
    (folder / "scenarios" / "one.toml").write_text("1")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "first")
    return folder


def test_the_commit_is_that_of_the_repository_around_the_scenario(repository: Path) -> None:
    head = git(repository, "rev-parse", "HEAD")
    assert project_commit(repository / "scenarios") == head[:7]
    found = provenance(repository / "scenarios" / "one.toml", "local")
    assert (found["project_commit"], found["run_source"]) == (head[:7], "local")
    assert found["cpu_budget"] >= 1


def test_changed_files_are_dirty_and_new_ones_are_not(repository: Path) -> None:
    (repository / "untracked").write_text("")
    assert not str(project_commit(repository)).endswith("-dirty")
    (repository / "scenarios" / "one.toml").write_text("2")
    assert str(project_commit(repository)).endswith("-dirty")


def test_inside_of_a_hook_the_folder_still_counts(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = git(repository, "rev-parse", "HEAD")
    git(tmp_path, "init", "-q", "other")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other" / ".git"))
    assert project_commit(repository) == head[:7]


def test_outside_of_git_and_without_a_commit_there_is_none(tmp_path: Path) -> None:
    assert project_commit(tmp_path) is None
    git(tmp_path, "init", "-q")
    assert project_commit(tmp_path) is None
    assert project_commit(tmp_path / "missing") is None


def test_ci_says_that_it_is_one(tmp_path: Path) -> None:
    assert run_source({"KTSTR_CI": "1"}) == "ci"
    assert run_source({"KTSTR_CI": ""}) == run_source({}) == "local"
    assert provenance(tmp_path / "s.toml", "ci")["run_source"] == "ci"


def test_a_repository_cannot_start_programs(repository: Path, tmp_path: Path) -> None:
    told = tmp_path / "told"
    hook = tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\ntouch {told}\n")
    hook.chmod(0o755)
    git(repository, "config", "core.fsmonitor", str(hook))
    assert project_commit(repository) is not None
    assert not told.exists()


def test_the_types_of_all_works_are_told(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text(
        """
name = "works"
scheduler = { bpf = "scx_ktstr" }
[vm]
topology = "1n1l2c1t"
[[backdrop.cgroups]]
name = "always"
works = [{ type = "SpinWait", workers = 1 }]
[[steps]]
hold = "1s"
ops = [{ op = "Spawn", cgroup = "always", work = { type = "Bursty", workers = 1 } }]
[[steps.cgroups]]
name = "a"
works = [{ type = "PipeIo", workers = 2 }, { type = "SpinWait", workers = 1 }]
"""
    )
    assert load_scenario(path).name == "works"
    assert work_types(define(path, RunOptions()).plan) == ["Bursty", "PipeIo", "SpinWait"]
