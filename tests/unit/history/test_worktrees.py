# SPDX-License-Identifier: GPL-2.0-only
"""Commits and trees of real git repositories: which is meant, and that nothing is left behind."""

import os
import subprocess
import tempfile
from pathlib import Path

import anyio
import pytest

from ktstr.errors import CannotRun
from ktstr.history.worktrees import (
    LOCK,
    PREFIX,
    Commit,
    NoSuchCommit,
    baseline_of,
    commit_of,
    head_of,
    remove_abandoned,
    repository_of,
    worktree,
)


class Repository:
    """A git repository with a file whose text is the number of the commit."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.git("init", "-q", "-b", "main", ".")
        self.commit("1")

    def git(self, *words: str) -> str:
        identity = ("-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false")
        done = subprocess.run(
            ["git", *identity, *words],
            cwd=self.folder,
            check=True,
            capture_output=True,
            text=True,
            # Neither the person's settings nor those of a hook that runs the tests.
            env={k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
            | {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"},
        )
        return done.stdout.strip()

    def commit(self, text: str) -> str:
        (self.folder / "file").write_text(text)
        self.git("add", ".")
        self.git("commit", "-qm", text)
        return self.git("rev-parse", "HEAD")

    def trees(self) -> list[str]:
        return self.git("worktree", "list", "--porcelain").split("\n\n")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    return Repository(tmp_path / "repository")


def left_behind() -> list[Path]:
    return list(Path(tempfile.gettempdir()).iterdir())


async def test_inside_of_a_hook_the_folder_still_counts(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Repository(tmp_path / "other")
    other.commit("2")
    monkeypatch.setenv("GIT_DIR", str(other.folder / ".git"))
    head = await head_of(repository.folder)
    assert head.sha == repository.git("rev-parse", "HEAD")
    async with worktree(repository.folder, head):
        pass
    assert len(repository.trees()) == len(other.trees()) == 1


async def test_a_file_belongs_to_the_repository_around_it(
    repository: Repository, tmp_path: Path
) -> None:
    inner = repository.folder / "a" / "b"
    inner.mkdir(parents=True)
    assert await repository_of(inner / "x.toml") == repository.folder
    with pytest.raises(CannotRun, match="not in a git repository"):
        await repository_of(tmp_path)
    with pytest.raises(CannotRun, match="does not exist"):
        await repository_of(tmp_path / "no" / "x.toml")


async def test_what_is_no_commit_is_told(repository: Repository) -> None:
    with pytest.raises(NoSuchCommit, match="'nowhere' names no commit"):
        await commit_of(repository.folder, "nowhere")
    # A name that git would take for an option.
    with pytest.raises(NoSuchCommit):
        await commit_of(repository.folder, "--all")


async def test_a_changed_tree_is_dirty_and_new_files_are_not(repository: Repository) -> None:
    (repository.folder / "new").write_text("untracked")
    clean = await head_of(repository.folder)
    assert clean.short == clean.sha[:7]
    (repository.folder / "file").write_text("changed")
    assert (await head_of(repository.folder)).short == f"{clean.sha[:7]}-dirty"


async def test_which_baseline_comes_first(repository: Repository) -> None:
    one = repository.git("rev-parse", "HEAD")
    two = repository.commit("2")
    repository.git("checkout", "-qb", "topic")
    three = repository.commit("3")
    repository.git("checkout", "-qb", "release", one)
    repository.commit("4")
    repository.git("update-ref", "refs/remotes/origin/release", "HEAD")
    repository.git("checkout", "-q", "topic")
    folder, head = repository.folder, Commit(three, "topic")

    async def base(env: dict[str, str] | None = None, **asked: str) -> str:
        return (await baseline_of(folder, head, env=env or {}, **asked)).sha

    # Topic left main at 2, and release at 1.
    assert await base() == two
    assert await base(env={"GITHUB_BASE_REF": ""}) == two
    assert await base(env={"GITHUB_BASE_REF": "release"}) == one
    assert await base(env={"GITHUB_BASE_REF": "release"}, base_ref="main") == two
    release = repository.git("rev-parse", "release")
    assert await base(env={"GITHUB_BASE_REF": "gone"}, base="release") == release
    with pytest.raises(NoSuchCommit, match="origin/gone"):
        await base(env={"GITHUB_BASE_REF": "gone"})


async def test_without_a_default_branch_one_has_to_be_named(repository: Repository) -> None:
    repository.git("branch", "-m", "trunk")
    head = await head_of(repository.folder)
    with pytest.raises(NoSuchCommit, match="no default branch"):
        await baseline_of(repository.folder, head, env={})
    repository.git("update-ref", "refs/remotes/origin/trunk", "HEAD")
    repository.git("symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/trunk")
    found = await baseline_of(repository.folder, head, env={})
    assert (found.sha, found.named) == (head.sha, "merge-base with origin/trunk")


async def test_histories_without_a_common_commit(repository: Repository) -> None:
    head = await head_of(repository.folder)
    repository.git("checkout", "-q", "--orphan", "other")
    repository.commit("alone")
    with pytest.raises(NoSuchCommit, match="no common commit"):
        await baseline_of(repository.folder, head, base_ref="other", env={})


async def test_a_tree_lasts_as_long_as_its_block(repository: Repository) -> None:
    one = await head_of(repository.folder)
    repository.commit("2")
    hook = repository.folder / ".git" / "hooks" / "post-checkout"
    hook.write_text("#!/bin/sh\ntouch hooked\n")
    hook.chmod(0o755)
    with pytest.raises(ZeroDivisionError):
        async with worktree(repository.folder, one) as tree:
            assert (tree / "file").read_text() == "1"
            assert not (tree / "hooked").exists()
            assert len(repository.trees()) == 2
            (tree / "built").write_text("untracked")
            raise ZeroDivisionError
    assert len(repository.trees()) == 1
    assert left_behind() == []


async def test_a_cancelled_block_leaves_no_tree(repository: Repository) -> None:
    head = await head_of(repository.folder)
    with anyio.CancelScope() as scope:
        async with worktree(repository.folder, head):
            scope.cancel()
            await anyio.sleep_forever()
    assert len(repository.trees()) == 1
    assert left_behind() == []


async def test_what_a_killed_command_left_is_removed_by_the_next(repository: Repository) -> None:
    head = await head_of(repository.folder)
    left = Path(tempfile.mkdtemp(prefix=PREFIX))
    (left / LOCK).touch()
    repository.git("worktree", "add", "-q", "--detach", str(left / "tree-x"), head.sha)
    foreign = Path(tempfile.mkdtemp(prefix="mine-"))
    repository.git("worktree", "add", "-q", "--detach", str(foreign / "tree"), head.sha)
    async with worktree(repository.folder, head) as mine:
        await remove_abandoned(repository.folder)
        # The one that is in use, and somebody else's.
        assert set(left_behind()) == {mine.parent, foreign}
        assert len(repository.trees()) == 3
