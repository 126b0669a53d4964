# SPDX-License-Identifier: GPL-2.0-only
"""How a daemon is to be, and what it says of itself in figures."""

from collections.abc import Callable
from dataclasses import dataclass

from ktstr.daemon.reaper import GRACE_S
from ktstr.session.room import Room, host_room


@dataclass(frozen=True, slots=True)
class Settings:
    """How a daemon is to be.

    :param jobs: runs at a time; None: as many as leave the results alone.
    :param keep_runs: how many runs are remembered, and ``keep_days`` for how long.
    :param linger_s: how long what new runs start from is kept ready after the last.
    :param grace_s: how long the runners of a daemon that was killed may take to end by themselves.
    :param work: what runs in the processes of runs (:mod:`ktstr.daemon.forkserver`).
    :param room: what there is of the host.
    """

    jobs: int | None = None
    keep_runs: int = 1000
    keep_days: float = 30.0
    linger_s: float = 300.0
    grace_s: float = GRACE_S
    work: str = "ktstr.daemon.runner"
    room: Callable[[], Room] = host_room


@dataclass(frozen=True, slots=True)
class Status:
    """The daemon in figures.

    :param queued: runs that wait, by share.
    :param runs: runs in the store, by state.
    :param leased: guests that run, and ``cpus`` the vCPUs they have together.
    :param memory_mib: what those that have started take together.
    :param store_failure: why the store cannot be written now; None while all is well.
    """

    draining: bool
    queued: dict[str, int]
    runs: dict[str, int]
    running: int
    leased: int
    cpus: int
    cpus_budget: int | None
    memory_mib: int
    memory_budget_mib: int | None
    store_errors: int
    store_failure: str | None
    events_lost: int
    fork_server: int | None
