# SPDX-License-Identifier: GPL-2.0-only
"""Run-level metrics, in the order of seed 000, and the three steps that need no pool.

Each step writes into the map it is handed; only :func:`populate_run_ext_all` knows the order.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

from ktstr.metrics.aggregate import aggregate_samples_weighted, derive_rate_metrics
from ktstr.metrics.bucket import PhaseBucket
from ktstr.metrics.build import reduce_readings
from ktstr.metrics.kinds import PerPhaseDeltaSum
from ktstr.metrics.populate_engines import (
    populate_run_pooled_schbench,
    populate_run_pooled_schbench_distribution,
    populate_run_pooled_taobench,
    populate_run_pooled_taobench_distribution,
)
from ktstr.metrics.populate_pools import populate_run_distribution_metrics
from ktstr.metrics.readers import per_cpu_times
from ktstr.metrics.registry import TYPED_FIELD_NAMES, metric_def
from ktstr.metrics.scenario import ScenarioStats
from ktstr.series.sample import SampleSeries
from ktstr.telemetry.cgroup import CgroupStats
from ktstr.telemetry.vectors import saturating_sum


def populate_run_ext_all(stats: ScenarioStats, samples: SampleSeries) -> ScenarioStats:
    """``stats`` with its run-level metrics.

    The first step comes before the second, which keeps what it finds: figures over the whole run
    beat those folded from phases. The first two keep what ``stats`` brings; the others know better.

    ``stats.phases`` should be the buckets before :func:`derive_phase_metrics`; those after it give
    the same map, because all that is added there is derived and never folded.
    """
    target = dict(stats.ext_metrics)
    populate_run_ext_metrics(samples, target)
    populate_run_ext_metrics_from_phases(stats.phases, target)
    populate_run_pooled_iterations_per_cpu_sec(stats.cgroups, target)
    populate_run_pooled_taobench(stats.cgroups, target)
    populate_run_pooled_taobench_distribution(stats.phases, target)
    populate_run_pooled_schbench(stats.phases, target)
    populate_run_pooled_schbench_distribution(stats.phases, target)
    populate_run_distribution_metrics(stats, target)
    return replace(stats, ext_metrics=target)


def populate_run_ext_metrics(samples: SampleSeries, target: dict[str, float]) -> None:
    """Metrics read from captures, over every capture of the run, and the time they span."""
    for name, value in reduce_readings(samples.iter_samples()).items():
        if name not in TYPED_FIELD_NAMES:
            target.setdefault(name, value)
    if "total_hardirqs" in target:
        _add_wall_time(samples, target)
    derive_rate_metrics(target)


def _add_wall_time(samples: SampleSeries, target: dict[str, float]) -> None:
    """The window that interrupt counts are rated over: first to last capture with per-CPU times."""
    times = [
        sample.elapsed_ms
        for sample in samples.iter_samples()
        if sample.elapsed_ms is not None and per_cpu_times(sample)
    ]
    if times and (wall_ms := max(times) - min(times)) > 0:
        target.setdefault("total_phase_wall_ns", wall_ms * 1e6)
        target.setdefault("total_phase_wall_sec", wall_ms / 1000.0)


def populate_run_ext_metrics_from_phases(
    phases: Sequence[PhaseBucket], target: dict[str, float]
) -> None:
    """Metrics that only phases have, folded by kind; a phase weighs its captures, at least 1."""
    for name in sorted({name for phase in phases for name in phase.metrics}):
        definition = metric_def(name)
        if name in target or name in TYPED_FIELD_NAMES or definition is None:
            continue
        if definition.kind.is_derived:
            continue
        values = [
            (phase.metrics[name], float(max(phase.sample_count, 1)))
            for phase in phases
            if name in phase.metrics
        ]
        if isinstance(definition.kind, PerPhaseDeltaSum):
            folded: float | None = math.fsum(value for value, _ in values)
        else:
            folded = aggregate_samples_weighted(values, definition.kind)
        if folded is not None and math.isfinite(folded):
            target[name] = folded
    derive_rate_metrics(target)


def populate_run_pooled_iterations_per_cpu_sec(
    cgroups: Sequence[CgroupStats], target: dict[str, float]
) -> None:
    """Iterations per CPU second over all cgroups that measured CPU time."""
    measured = [cgroup for cgroup in cgroups if cgroup.total_cpu_time_ns > 0]
    if not measured:
        return
    target["total_iterations_pooled"] = float(saturating_sum(c.total_iterations for c in measured))
    target["total_cpu_time_sec"] = saturating_sum(c.total_cpu_time_ns for c in measured) / 1e9
    derive_rate_metrics(target)
