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
from ktstr.metrics.direction import infer_higher_is_worse
from ktstr.metrics.fold import fold_run
from ktstr.metrics.ids import BuiltinMetric, MetricId, MetricLike
from ktstr.metrics.kinds import GaugeAgg, MergeKind, MetricKind, Polarity, SampleReduction
from ktstr.metrics.phase import Phase
from ktstr.metrics.populate import (
    populate_run_ext_all,
    populate_run_ext_metrics,
    populate_run_ext_metrics_from_phases,
    populate_run_pooled_iterations_per_cpu_sec,
)
from ktstr.metrics.populate_engines import (
    populate_run_pooled_schbench,
    populate_run_pooled_schbench_distribution,
    populate_run_pooled_taobench,
    populate_run_pooled_taobench_distribution,
)
from ktstr.metrics.populate_pools import populate_run_distribution_metrics
from ktstr.metrics.registry import METRICS, RENDER_SUPPRESSED_COMPONENTS, MetricDef, metric_def
from ktstr.metrics.scenario import ScenarioStats
from ktstr.metrics.stimulus import StimulusEvent, step_throughput, throughput_ratio
from ktstr.metrics.timeline import Timeline, TimelineContext
from ktstr.telemetry.cgroup import SampleSource

__all__ = [
    "METRICS",
    "RENDER_SUPPRESSED_COMPONENTS",
    "BuiltinMetric",
    "GaugeAgg",
    "MergeKind",
    "MetricDef",
    "MetricId",
    "MetricKind",
    "MetricLike",
    "Phase",
    "PhaseBucket",
    "Polarity",
    "SampleReduction",
    "SampleSource",
    "ScenarioStats",
    "StimulusEvent",
    "Timeline",
    "TimelineContext",
    "aggregate_samples",
    "aggregate_samples_weighted",
    "build_phase_buckets",
    "build_phase_buckets_with_stimulus",
    "derive_phase_metrics",
    "derive_rate_metrics",
    "fold_guest_per_cgroup_into_host_buckets",
    "fold_run",
    "infer_higher_is_worse",
    "merge_matched_phase_buckets",
    "metric_def",
    "populate_run_distribution_metrics",
    "populate_run_ext_all",
    "populate_run_ext_metrics",
    "populate_run_ext_metrics_from_phases",
    "populate_run_pooled_iterations_per_cpu_sec",
    "populate_run_pooled_schbench",
    "populate_run_pooled_schbench_distribution",
    "populate_run_pooled_taobench",
    "populate_run_pooled_taobench_distribution",
    "step_throughput",
    "throughput_ratio",
    "weighted_percentile",
]
