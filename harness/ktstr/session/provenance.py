# SPDX-License-Identifier: GPL-2.0-only
"""Where a run comes from: commit of its scenario, who ran it, on how many host CPUs."""

import os
import subprocess
from pathlib import Path
from typing import Any, Final, Literal

from ktstr.session.options import run_source
from ktstr.session.room import host_room

GIT_TIMEOUT_S: Final = 10.0
SHORT: Final = 7
"""Hexadecimal digits of a commit."""

_OF_A_HOOK: Final = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_PREFIX")
"""Inside of a hook these name its repository, whatever folder is asked for."""


def provenance(scenario: Path, source: Literal["ci", "local"] | None = None) -> dict[str, Any]:
    """What later comparisons tell runs apart by and the guest does not know.

    ``project_commit`` is ``None`` outside of git and where git does not answer within ten seconds;
    ``cpu_budget`` counts host CPUs that this process may run on.

    :param source: who runs it, where that is known better than from this process's environment.
    """
    return {
        "project_commit": project_commit(scenario.absolute().parent),
        "run_source": source or run_source(),
        "cpu_budget": host_room().cpus,
    }


def project_commit(folder: Path) -> str | None:
    """The commit checked out where ``folder`` is, and ``-dirty`` when tracked files differ from it.

    Submodules and files that git does not track are left out.
    """
    head = _git(folder, "rev-parse", "--verify", "HEAD")
    if not head:
        return None
    changed = _git(folder, "status", "--porcelain", "-uno", "--ignore-submodules=all")
    return head[:SHORT] + ("-dirty" if changed else "")


def _git(folder: Path, *words: str) -> str | None:
    # A repository's own configuration must not start programs, and nothing is written to it.
    command = ["git", "-c", "core.fsmonitor=false", "--no-optional-locks", "-C", str(folder)]
    try:
        done = subprocess.run(
            [*command, *words],
            env={name: value for name, value in os.environ.items() if name not in _OF_A_HOOK},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=GIT_TIMEOUT_S,
            check=False,
            text=True,
            errors="replace",
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
