# SPDX-License-Identifier: GPL-2.0-only
"""Frozen captures in the order they were taken (seed 004): where their parts are found."""

from ktstr.series.axes.bpf import BpfMapProjector
from ktstr.series.axes.host import HostView
from ktstr.series.axes.monitor import (
    ERROR_CLASS_NAMES,
    EVENT_TOTALS,
    MonitorView,
    ScxEventsView,
)
from ktstr.series.axes.stats import StatsPathProjector, StatsValue
from ktstr.series.entry import PERIODIC_PREFIX, Sample, Trigger
from ktstr.series.series import SampleSeries
from ktstr.series.stats_meta import StatsMeta
from ktstr.series.stats_reason import MissingStats, MissingStatsReason

__all__ = [
    "ERROR_CLASS_NAMES",
    "EVENT_TOTALS",
    "PERIODIC_PREFIX",
    "BpfMapProjector",
    "HostView",
    "MissingStats",
    "MissingStatsReason",
    "MonitorView",
    "Sample",
    "SampleSeries",
    "ScxEventsView",
    "StatsMeta",
    "StatsPathProjector",
    "StatsValue",
    "Trigger",
]
