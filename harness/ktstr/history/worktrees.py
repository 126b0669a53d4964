# SPDX-License-Identifier: GPL-2.0-only
"""Two states of one git repository side by side: which commits, and a tree of files for each.

A tree of an older commit is a detached worktree in a temporary folder. It goes away with the
block that made it; one that a killed command left is removed by the next.
"""

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ktstr.errors import CannotRun, HostUnfit
from ktstr.kernels.process import Finished, run

PREFIX: Final = "ktstr-perf-delta-"
"""Of the temporary folders that hold worktrees."""

LOCK: Final = "owner.lock"
SHORT: Final = 7
"""Digits of a commit that people see."""

_OF_A_HOOK: Final = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_PREFIX")
_QUICK_S: Final = 60.0
_CHECKOUT_S: Final = 600.0
_CLEAN_UP_S: Final = 60.0


class NoSuchCommit(CannotRun):
    """What was named is no commit of the repository, or there is none to compare with."""


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit, and how it was found.

    :param named: as people named it, or what it is (``merge-base with main``).
    :param dirty: files differ from it in the working tree that is looked at.
    """

    sha: str
    named: str
    dirty: bool = False

    @property
    def short(self) -> str:
        """Seven digits, ``-dirty`` where files differ."""
        return self.sha[:SHORT] + ("-dirty" if self.dirty else "")

    def __str__(self) -> str:
        return f"{self.short} ({self.named})"


async def repository_of(place: Path) -> Path:
    """The top folder of the working tree that ``place`` is in.

    :raise CannotRun: when it is in none.
    """
    folder = _folder_of(place)
    found = await _git(folder, "rev-parse", "--show-toplevel")
    if found.status:
        raise CannotRun(
            f"{folder} is not in a git repository, so there is no earlier state of it",
            hint="name a scenario in the scheduler's repository, or the repository with --repo",
        )
    return Path(found.output.rstrip("\n"))


def _folder_of(place: Path) -> Path:
    folder = place if place.is_dir() else place.parent
    if not folder.is_dir():
        raise CannotRun(f"{place} does not exist")
    return folder


async def commit_of(repository: Path, ref: str) -> str:
    """The full hash of the commit that ``ref`` names.

    :raise NoSuchCommit: when it names none.
    """
    found = await _git(
        repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}"
    )
    if found.status or not found.output.strip():
        raise NoSuchCommit(
            f"{ref!r} names no commit of {repository}",
            hint="fetch it, or name another; a shallow clone has only its newest commits",
        )
    return found.output.strip()


async def head_of(repository: Path) -> Commit:
    """The working tree as it is.

    :raise NoSuchCommit: when nothing was committed yet.
    """
    sha = await commit_of(repository, "HEAD")
    status = await _git(repository, "status", "--porcelain", "--untracked-files=no")
    if status.status:
        raise CannotRun(f"git cannot tell what changed in {repository}: {_why(status)}")
    return Commit(sha, "working tree", bool(status.output.strip()))


async def baseline_of(
    repository: Path,
    head: Commit,
    *,
    base: str | None = None,
    base_ref: str | None = None,
    env: Mapping[str, str] = os.environ,
) -> Commit:
    """What ``head`` is compared with.

    ``base`` as it is; else where ``head`` left ``base_ref``; else where it left the branch that a
    pull request is for (``GITHUB_BASE_REF``); else where it left the default branch.

    :raise NoSuchCommit: when the first of these that is given names no commit, or none is given
        and there is no default branch.
    """
    if base is not None:
        return Commit(await commit_of(repository, base), base)
    if base_ref is None and env.get("GITHUB_BASE_REF"):
        base_ref = f"origin/{env['GITHUB_BASE_REF']}"
    if base_ref is None:
        base_ref = await _default_branch(repository)
    tip = await commit_of(repository, base_ref)
    found = await _git(repository, "merge-base", head.sha, tip)
    if found.status or not found.output.strip():
        raise NoSuchCommit(
            f"{head.short} and {base_ref} have no common commit in {repository}",
            hint="name the baseline with --base; a shallow clone lacks older commits",
        )
    return Commit(found.output.strip(), f"merge-base with {base_ref}")


async def _default_branch(repository: Path) -> str:
    found = await _git(repository, "symbolic-ref", "--quiet", "refs/remotes/origin/HEAD")
    if not found.status:
        return found.output.strip().removeprefix("refs/remotes/")
    for name in ("main", "master"):
        known = await _git(repository, "rev-parse", "--verify", "--quiet", f"refs/heads/{name}")
        if not known.status:
            return name
    raise NoSuchCommit(
        f"{repository} has no default branch that could be the baseline",
        hint="name the baseline with --base REF",
    )


@asynccontextmanager
async def worktree(repository: Path, commit: Commit) -> AsyncIterator[Path]:
    """The files of a commit, in a folder of their own while the block lasts.

    :raise CannotRun: when git cannot make it.
    """
    await remove_abandoned(repository)
    holder = Path(tempfile.mkdtemp(prefix=PREFIX))
    tree = holder / f"tree-{commit.sha[:SHORT]}"
    with _locked(holder / LOCK):
        try:
            made = await _git(
                repository,
                *("-c", "core.hooksPath=/dev/null", "worktree", "add"),
                *("--quiet", "--detach", str(tree), commit.sha),
                seconds=_CHECKOUT_S,
            )
            if made.status:
                raise CannotRun(f"git cannot check out {commit}: {_why(made)}")
            yield tree
        finally:
            # Without a wait in it, so that nothing can cut it short.
            _remove(repository, holder, tree)


async def remove_abandoned(repository: Path) -> None:
    """Remove the worktrees that commands left which were killed."""
    listed = await _git(repository, "worktree", "list", "--porcelain")
    for line in listed.output.splitlines():
        tree = Path(line.removeprefix("worktree "))
        holder = tree.parent
        if not line.startswith("worktree ") or not holder.name.startswith(PREFIX):
            continue
        # Its owner lives, or the folder is gone and git forgets it by itself.
        with suppress(OSError), _locked(holder / LOCK, "r+"):
            _remove(repository, holder, tree)


@contextmanager
def _locked(path: Path, mode: str = "w") -> Iterator[None]:
    """The lock of a temporary folder; an OSError where another process has it."""
    with path.open(mode) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def _remove(repository: Path, holder: Path, tree: Path) -> None:
    shutil.rmtree(holder, ignore_errors=True)
    with suppress(OSError, subprocess.SubprocessError):
        subprocess.run(
            ["git", "-C", str(repository), "worktree", "prune"],
            env={name: value for name, value in os.environ.items() if name not in _OF_A_HOOK},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_CLEAN_UP_S,
            check=False,
        )


async def _git(folder: Path, *args: str, seconds: float = _QUICK_S) -> Finished:
    if shutil.which("git") is None:
        raise HostUnfit("`git` is not on this machine", hint="install the package git")
    env = {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}
    # Inside of a hook these would name another repository.
    foreign = [word for name in _OF_A_HOOK for word in ("-u", name)]
    return await run(["env", *foreign, "git", "-C", str(folder), *args], seconds, env=env)


def _why(found: Finished) -> str:
    told = [line.strip() for line in found.messages.splitlines() if line.strip()]
    return told[-1][:400] if told else f"status {found.status}"
