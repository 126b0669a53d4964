# SPDX-License-Identifier: GPL-2.0-only
"""One phase of a timeline as data (reference-06 section 8)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from ktstr.metrics.stimulus import StimulusEvent
from ktstr.telemetry.carrier import PhaseCgroupStats


class Direction(Enum):
    """What a change means; the value is how it is printed."""

    IMPROVED = "IMPROVEMENT"
    DEGRADED = "DEGRADATION"


@dataclass(frozen=True, slots=True)
class TimelineContext:
    """What ran, for the heading; empty parts are left out."""

    kernel: str = ""
    topology: str = ""
    scheduler: str = ""
    scenario: str = ""
    duration_s: float | None = None


@dataclass(frozen=True, slots=True)
class PhaseMetrics:
    """The figures of one phase; ``None`` was not measured.

    :param sample_count: captures or readings in the phase.
    :param stall_count: how often a CPU was found stuck.
    :param fallback_rate: per second, as ``keep_last_rate``.
    :param iteration_rate: the workers' iterations per second.
    """

    sample_count: int = 0
    avg_imbalance: float | None = None
    max_imbalance: float | None = None
    avg_dsq_depth: float | None = None
    max_dsq_depth: int | None = None
    stall_count: int | None = None
    fallback_rate: float | None = None
    keep_last_rate: float | None = None
    iteration_rate: float | None = None


@dataclass(frozen=True, slots=True)
class PhaseChange:
    """A figure that differs from the phase before by more than its threshold."""

    direction: Direction
    metric: str
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class TimelinePhase:
    """One phase of the timeline.

    :param index: 0 for BASELINE, 1-based for steps.
    :param stimulus: what opened it; ``None`` for BASELINE.
    :param changes: against the phase before, in the order of the thresholds.
    :param not_measured_window: the host saw no bounds of the phase; ``start_ms`` and ``end_ms``
        mean nothing.
    """

    index: int
    start_ms: int
    end_ms: int
    metrics: PhaseMetrics
    stimulus: StimulusEvent | None = None
    changes: tuple[PhaseChange, ...] = ()
    per_cgroup: Mapping[str, PhaseCgroupStats] = field(default_factory=dict)
    not_measured_window: bool = False
