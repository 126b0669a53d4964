# SPDX-License-Identifier: GPL-2.0-only
"""Worker telemetry: reports from the wire, per-cgroup statistics, per-phase carriers."""

from ktstr.telemetry.carrier import (
    PhaseCgroupStats,
    phase_cgroup_stats,
    phase_slice_carriers,
)
from ktstr.telemetry.cgroup import CgroupStats, SampleSource, cgroup_stats
from ktstr.telemetry.decode import TelemetryError
from ktstr.telemetry.exit_info import Exited, Signaled, TimedOut, WaitFailed, WorkerExitInfo
from ktstr.telemetry.plain import to_plain
from ktstr.telemetry.reductions import percentile
from ktstr.telemetry.report import TaggedReport, WorkerReport
from ktstr.telemetry.reservoir import MAX_WAKE_SAMPLES, weighted_merge_reservoirs
from ktstr.telemetry.slices import Migration, PhaseSlice

__all__ = [
    "MAX_WAKE_SAMPLES",
    "CgroupStats",
    "Exited",
    "Migration",
    "PhaseCgroupStats",
    "PhaseSlice",
    "SampleSource",
    "Signaled",
    "TaggedReport",
    "TelemetryError",
    "TimedOut",
    "WaitFailed",
    "WorkerExitInfo",
    "WorkerReport",
    "cgroup_stats",
    "percentile",
    "phase_cgroup_stats",
    "phase_slice_carriers",
    "to_plain",
    "weighted_merge_reservoirs",
]
