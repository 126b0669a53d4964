# SPDX-License-Identifier: GPL-2.0-only
"""Worker telemetry: reports from the wire, per-cgroup statistics, per-phase carriers."""

from ktstr.telemetry.carrier import (
    PhaseCgroupStats,
    phase_cgroup_stats,
    phase_slice_carriers,
    strip_phase_cgroup_samples,
)
from ktstr.telemetry.cgroup import CgroupStats, SampleSource, cgroup_stats
from ktstr.telemetry.decode import RecordError, TelemetryError
from ktstr.telemetry.engines import SchbenchPhaseStats, TaobenchPhaseStats, TaobenchStats
from ktstr.telemetry.exit_info import (
    Exited,
    Panicked,
    Signaled,
    TimedOut,
    WaitFailed,
    WorkerExitInfo,
)
from ktstr.telemetry.plat import Pct, PlatStats
from ktstr.telemetry.reductions import percentile
from ktstr.telemetry.report import TaggedReport, WorkerReport
from ktstr.telemetry.reservoir import weighted_merge_reservoirs
from ktstr.telemetry.slices import Migration, PhaseSlice
from ktstr.telemetry.vectors import MAX_WAKE_SAMPLES

__all__ = [
    "MAX_WAKE_SAMPLES",
    "CgroupStats",
    "Exited",
    "Migration",
    "Panicked",
    "Pct",
    "PhaseCgroupStats",
    "PhaseSlice",
    "PlatStats",
    "RecordError",
    "SampleSource",
    "SchbenchPhaseStats",
    "Signaled",
    "TaggedReport",
    "TaobenchPhaseStats",
    "TaobenchStats",
    "TelemetryError",
    "TimedOut",
    "WaitFailed",
    "WorkerExitInfo",
    "WorkerReport",
    "cgroup_stats",
    "percentile",
    "phase_cgroup_stats",
    "phase_slice_carriers",
    "strip_phase_cgroup_samples",
    "weighted_merge_reservoirs",
]
