# SPDX-License-Identifier: GPL-2.0-only
"""Metrics: the registry, reductions, phase buckets and run-level population."""

from ktstr.metrics.aggregate import (
    aggregate_samples,
    aggregate_samples_weighted,
    derive_rate_metrics,
    weighted_percentile,
)
from ktstr.metrics.bucket import (
    PhaseBucket,
    fold_guest_per_cgroup_into_host_buckets,
    merge_matched_phase_buckets,
)
from ktstr.metrics.build import build_phase_buckets, build_phase_buckets_with_stimulus
from ktstr.metrics.derive import derive_phase_metrics
from ktstr.metrics.fold import fold_run
from ktstr.metrics.kinds import GaugeAgg, MergeKind, MetricKind, Polarity, SampleReduction
from ktstr.metrics.phase import Phase
from ktstr.metrics.populate import populate_run_ext_all
from ktstr.metrics.registry import METRICS, MetricDef, metric_def
from ktstr.metrics.scenario import ScenarioStats
from ktstr.metrics.stimulus import StimulusEvent
from ktstr.telemetry.cgroup import SampleSource

__all__ = [
    "METRICS",
    "GaugeAgg",
    "MergeKind",
    "MetricDef",
    "MetricKind",
    "Phase",
    "PhaseBucket",
    "Polarity",
    "SampleReduction",
    "SampleSource",
    "ScenarioStats",
    "StimulusEvent",
    "aggregate_samples",
    "aggregate_samples_weighted",
    "build_phase_buckets",
    "build_phase_buckets_with_stimulus",
    "derive_phase_metrics",
    "derive_rate_metrics",
    "fold_guest_per_cgroup_into_host_buckets",
    "fold_run",
    "merge_matched_phase_buckets",
    "metric_def",
    "populate_run_ext_all",
    "weighted_percentile",
]
