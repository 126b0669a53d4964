# SPDX-License-Identifier: GPL-2.0-only
"""What was read out of a guest, as pure data: snapshots, series of them, dumps, monitor reports."""

from ktstr.series.axes.bpf import BpfMapProjector
from ktstr.series.axes.host import HostView
from ktstr.series.axes.monitor import ERROR_CLASS_NAMES, MonitorView, ScxEventsView
from ktstr.series.axes.stats import StatsPathProjector, StatsValue
from ktstr.series.bridge import MAX_STORED_SNAPSHOTS, SnapshotBridge
from ktstr.series.dump.report import DegradedFailureDumpReport, FailureDumpReport, dump_from_json
from ktstr.series.entry import Sample, Trigger
from ktstr.series.errors import (
    ActiveFilterExcludedMaps,
    AmbiguousVar,
    CpuNotFound,
    EmptyPathComponent,
    FieldNotFound,
    HostFieldUnavailable,
    IndexOutOfRange,
    MapNotFound,
    MapRenderIncomplete,
    MissingStatsError,
    NoActiveScheduler,
    NoMatch,
    NoRendered,
    NotAStruct,
    PerCpuNotNarrowed,
    PerCpuSlot,
    PlaceholderSample,
    PlaceholderSnapshot,
    ProjectionFailed,
    SnapshotError,
    TypeMismatch,
    VarNotFound,
    WalkerDriftedWithinPhase,
)
from ktstr.series.field import Point, SeriesField
from ktstr.series.host import CgroupPsi, HostReading, PerCpuTime, TgidTime
from ktstr.series.maps import Entry, MapSnapshot, PerCpuEntry
from ktstr.series.monitor.report import MonitorReport
from ktstr.series.monitor.samples import CpuReading, MonitorSample
from ktstr.series.monitor.window import MonitorSummary
from ktstr.series.phase import Phase
from ktstr.series.series import SampleSeries
from ktstr.series.snapshot import CpuSnapshot, SchedExtState, Snapshot
from ktstr.series.stats_meta import StatsMeta
from ktstr.series.stats_reason import MissingStats, MissingStatsReason
from ktstr.series.values import (
    Array,
    Bool,
    Bytes,
    Char,
    CpuList,
    Enum,
    Float,
    Int,
    Ptr,
    RenderedValue,
    Struct,
    Truncated,
    Uint,
    Unsupported,
)

__all__ = [
    "ERROR_CLASS_NAMES",
    "MAX_STORED_SNAPSHOTS",
    "ActiveFilterExcludedMaps",
    "AmbiguousVar",
    "Array",
    "Bool",
    "BpfMapProjector",
    "Bytes",
    "CgroupPsi",
    "Char",
    "CpuList",
    "CpuNotFound",
    "CpuReading",
    "CpuSnapshot",
    "DegradedFailureDumpReport",
    "EmptyPathComponent",
    "Entry",
    "Enum",
    "FailureDumpReport",
    "FieldNotFound",
    "Float",
    "HostFieldUnavailable",
    "HostReading",
    "HostView",
    "IndexOutOfRange",
    "Int",
    "MapNotFound",
    "MapRenderIncomplete",
    "MapSnapshot",
    "MissingStats",
    "MissingStatsError",
    "MissingStatsReason",
    "MonitorReport",
    "MonitorSample",
    "MonitorSummary",
    "MonitorView",
    "NoActiveScheduler",
    "NoMatch",
    "NoRendered",
    "NotAStruct",
    "PerCpuEntry",
    "PerCpuNotNarrowed",
    "PerCpuSlot",
    "PerCpuTime",
    "Phase",
    "PlaceholderSample",
    "PlaceholderSnapshot",
    "Point",
    "ProjectionFailed",
    "Ptr",
    "RenderedValue",
    "Sample",
    "SampleSeries",
    "SchedExtState",
    "ScxEventsView",
    "SeriesField",
    "Snapshot",
    "SnapshotBridge",
    "SnapshotError",
    "StatsMeta",
    "StatsPathProjector",
    "StatsValue",
    "Struct",
    "TgidTime",
    "Trigger",
    "Truncated",
    "TypeMismatch",
    "Uint",
    "Unsupported",
    "VarNotFound",
    "WalkerDriftedWithinPhase",
    "dump_from_json",
]
