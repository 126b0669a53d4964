# SPDX-License-Identifier: GPL-2.0-only
"""The death of the scheduler as a failure of the run (reference-06 section 9)."""

from dataclasses import dataclass
from enum import Enum

from ktstr.telemetry.decode import printable
from ktstr.verdict.detail import AssertDetail, DetailKind

SCHED_DIED_PREFIX = "scheduler process died"
"""Every message starts with it: people and scripts search for it."""


class DeathCause(Enum):
    """What is known about the end of the scheduler."""

    CRASHED = DetailKind.SCHEDULER_CRASHED
    EXITED_CLEANLY = DetailKind.SCHEDULER_EXITED_CLEANLY
    UNKNOWN = DetailKind.SCHEDULER_DIED_UNKNOWN_REASON


@dataclass(frozen=True, slots=True)
class SchedulerDeath:
    """A scheduler that was gone before the scenario was over.

    :param elapsed_s: seconds since the scenario started, when the death was seen.
    :param completed_steps: steps whose hold had ended; 0 is during the first one.
    :param reason: what the kernel or the loader said about it, if anything.
    """

    cause: DeathCause
    elapsed_s: float
    completed_steps: int
    total_steps: int
    reason: str = ""

    def message(self) -> str:
        """One sentence: between steps, after all of them, or during the workload."""
        if self.completed_steps >= self.total_steps > 0:
            when = (
                f"(detected after all {self.total_steps} steps completed, "
                f"{self.elapsed_s:.1f}s elapsed)"
            )
        elif self.completed_steps > 0:
            when = (
                f"after completing step {self.completed_steps} of {self.total_steps} "
                f"({self.elapsed_s:.1f}s into test)"
            )
        else:
            when = f"during workload ({self.elapsed_s:.1f}s into test)"
        ending = f": {printable(self.reason)}" if self.reason else ""
        return f"{SCHED_DIED_PREFIX} unexpectedly {when}{ending}"

    def detail(self) -> AssertDetail:
        """The failure to record."""
        return AssertDetail(self.cause.value, self.message())
