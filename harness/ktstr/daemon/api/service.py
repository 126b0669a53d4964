# SPDX-License-Identifier: GPL-2.0-only
"""What all operations share."""

from dataclasses import dataclass, field
from pathlib import Path

import anyio

from ktstr.daemon.metrics import Metrics
from ktstr.daemon.problems import Problem
from ktstr.daemon.submission import RunRow
from ktstr.daemon.supervisor import Supervisor
from ktstr.daemon.wire import is_run_id


@dataclass(slots=True)
class Service:
    """A supervisor, seen through one door.

    :param token: what clients have to know; None behind a socket that only its owner opens.
    :param allow_paths: whether clients may name files of this host.
    :param closing: set when the daemon ends.
    :param rendering: held while a page is made: one at a time.
    """

    supervisor: Supervisor
    metrics: Metrics
    token: str | None = None
    allow_paths: bool = True
    closing: anyio.Event = field(default_factory=anyio.Event)
    rendering: anyio.Semaphore = field(default_factory=lambda: anyio.Semaphore(1))

    async def row(self, run_id: str) -> RunRow:
        """The run that a path names.

        :raise Problem: when it is no run id, or of no run.
        """
        if not is_run_id(run_id):
            raise Problem(
                404,
                f"{run_id!r:.80} is no run id",
                "YYYYMMDD-HHMMSS-xxxx, as GET /v1/runs lists them",
            )
        try:
            return await self.supervisor.row(run_id)
        except KeyError:
            raise no_run(run_id) from None


def no_run(run_id: str) -> Problem:
    """The problem of a run that is not there."""
    return Problem(404, f"there is no run {run_id}", "GET /v1/runs lists the latest")


def inside(path: Path, *folders: Path | None) -> bool:
    """Whether ``path``, with all links followed, lies in one of ``folders``."""
    real = path.resolve()
    return any(
        folder is not None and real != folder.resolve() and real.is_relative_to(folder.resolve())
        for folder in folders
    )
