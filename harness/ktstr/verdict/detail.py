# SPDX-License-Identifier: GPL-2.0-only
"""What a verdict says to people: failure details, confirmations and notes (reference-06, 9)."""

from dataclasses import dataclass
from enum import Enum

NoteValue = int | float | bool | str
"""A measurement attached to a verdict; floats are finite."""


class DetailKind(Enum):
    """What a failure is about."""

    NO_PROGRESS = "NoProgress"
    STUCK = "Stuck"
    UNFAIR = "Unfair"
    ISOLATION = "Isolation"
    BENCHMARK = "Benchmark"
    MIGRATION = "Migration"
    PAGE_LOCALITY = "PageLocality"
    CROSS_NODE_MIGRATION = "CrossNodeMigration"
    SLOW_TIER = "SlowTier"
    MONITOR = "Monitor"
    SCHEDULER_CRASHED = "SchedulerCrashed"
    SCHEDULER_EXITED_CLEANLY = "SchedulerExitedCleanly"
    SCHEDULER_DIED_UNKNOWN_REASON = "SchedulerDiedUnknownReason"
    SCHEDULER_EVENT = "SchedulerEvent"
    TEMPORAL = "Temporal"
    WORKER_STUCK = "WorkerStuck"
    SKIP = "Skip"
    OTHER = "Other"


@dataclass(frozen=True, slots=True)
class AssertDetail:
    """Why something failed, was skipped or could not be judged.

    :param phase: label of the phase it happened in, if it belongs to one.
    """

    kind: DetailKind
    message: str
    phase: str | None = None

    def display_with_kind(self) -> str:
        """``[Kind] message``."""
        return f"[{self.kind.value}] {self.message}"


@dataclass(frozen=True, slots=True)
class PassDetail:
    """One confirmed claim.

    :param comparator: a token of the reference's vocabulary (``le``, ``ge``, ``subset_of``, ...).
    :param expected: the limit, for comparators that have one.
    """

    name: str
    comparator: str
    value: str
    expected: str | None = None
    phase: str | None = None


@dataclass(frozen=True, slots=True)
class InfoNote:
    """Context that is neither a failure nor a confirmation."""

    message: str
    phase: str | None = None
