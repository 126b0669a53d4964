# SPDX-License-Identifier: GPL-2.0-only
"""What is submitted to the daemon, and what it knows about each run: plain data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from ktstr.session.options import RunOptions

MIN_PRIORITY: Final = -10
MAX_PRIORITY: Final = 10
DEFAULT_SHARE: Final = "default"
KERNEL_LACKS: Final = "kernel lacks"
"""Verdict of a run whose kernel has not what its scenario needs."""

OWN_FOLDER: Final = RunOptions().out_dir
"""An ``out_dir`` that stands for the daemon's own folder of the run."""


class RunState(StrEnum):
    """Where a run is.

    ``starting``: it has a process, and its guest does not run yet. ``running``: its guest runs, or
    ran and is judged. ``kept``: it is recorded, and its guest stands for people to look at. The
    other three are ends: ``finished`` with a verdict or with the reason why there is none,
    ``cancelled`` on demand, ``lost`` with the process that ran it.
    """

    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    KEPT = "kept"
    FINISHED = "finished"
    CANCELLED = "cancelled"
    LOST = "lost"

    @property
    def over(self) -> bool:
        """Whether nothing more comes."""
        return self in ENDS


ENDS: Final = frozenset({RunState.FINISHED, RunState.CANCELLED, RunState.LOST})
ACTIVE: Final = frozenset(RunState) - ENDS


@dataclass(frozen=True, slots=True)
class ScenarioFile:
    """A scenario in a file of this host; ``path`` is absolute."""

    path: Path


@dataclass(frozen=True, slots=True)
class ScenarioText:
    """A scenario that came along: its TOML, and the name it has without ``.toml``."""

    toml: str
    name: str


@dataclass(frozen=True, slots=True)
class Submission:
    """A run that somebody wants.

    :param options: as ``ktstr-run`` has them; ``out_dir`` absolute, or :data:`OWN_FOLDER`.
    :param priority: -10 to 10: among the runs of its share it goes before those with less, and the
        share weighs more against others the higher it is.
    :param share: whose run it is; what the host can do is divided fairly between shares.
    :param cwd: absolute folder that relative paths in ``options`` and the scenario are meant from.
    """

    scenario: ScenarioFile | ScenarioText
    options: RunOptions = field(default_factory=RunOptions)
    priority: int = 0
    share: str = DEFAULT_SHARE
    cwd: Path | None = None

    @property
    def name(self) -> str:
        """The scenario as people call it, before its file was read."""
        if isinstance(self.scenario, ScenarioText):
            return self.scenario.name
        return self.scenario.path.stem


@dataclass(frozen=True, slots=True)
class RunRow:
    """What the daemon knows about one run. Times are seconds since 1970, UTC.

    :param id: the run id, which the run's record and the names of its files have as well.
    :param name: the scenario's own name, its file's before that was read.
    :param started_at: when it got a process, and ``running_at`` when its guest began to run.
    :param verdict: pass, skip, fail, inconclusive, lost (the guest); ``cannot run``,
        :data:`KERNEL_LACKS`; None before.
    :param exit_code: as ``ktstr-run`` would exit; None before the end, and of cancelled runs.
    :param error: why there is no verdict, or why its record is not on disk; ``hint`` what to do.
    :param sidecar: the run's record; ``evidence`` and ``checkpoint`` where there are any.
    :param folder: the daemon's own folder of the run; None once it was tidied away.
    :param pid: the process of the run while it has one.
    :param cpus: vCPUs it takes while its guest runs, once known; ``memory_mib`` its memory.
    :param events_dropped: events beyond what is kept of one run.
    """

    id: str
    state: RunState
    submission: Submission
    name: str
    submitted_at: float
    started_at: float | None = None
    running_at: float | None = None
    ended_at: float | None = None
    verdict: str | None = None
    exit_code: int | None = None
    error: str | None = None
    hint: str | None = None
    sidecar: Path | None = None
    evidence: Path | None = None
    checkpoint: Path | None = None
    folder: Path | None = None
    pid: int | None = None
    cpus: int | None = None
    memory_mib: int | None = None
    events_dropped: int = 0


@dataclass(frozen=True, slots=True)
class EventRow:
    """One event of a run.

    :param seq: its place among the run's events, from 1; numbers may be missing.
    :param at: seconds since 1970, UTC.
    :param type: ``state`` (data: state, and the row's fields that changed), ``kept`` (see
        :mod:`ktstr.daemon.runner`), ``dropped`` (data: why), or a run event by its name on the wire
        (:mod:`ktstr.daemon.wire`).
    """

    run_id: str
    seq: int
    at: float
    type: str
    data: Mapping[str, Any]
