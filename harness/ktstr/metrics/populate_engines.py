# SPDX-License-Identifier: GPL-2.0-only
"""Run-level metrics of the schbench and taobench engines: steps 4 to 7 of seed 000."""

from collections.abc import Iterable

from ktstr.metrics.aggregate import derive_rate_metrics
from ktstr.metrics.bucket import PhaseBucket
from ktstr.metrics.pool_engines import merged, schbench_histograms, taobench_histograms
from ktstr.telemetry import PhaseCgroupStats
from ktstr.telemetry.cgroup import CgroupStats

WHOLE_RUN = "_whole"
"""Ends the name of a percentile over the histograms of all phases."""


def populate_run_pooled_taobench(cgroups: Iterable[CgroupStats], target: dict[str, float]) -> None:
    """Operations of all cgroups over their common wall window.

    The window is the whole run's own: windows of phases do not add up, because threads share them.
    """
    whole = merged(cgroup.taobench_whole for cgroup in cgroups)
    if whole is None or whole.elapsed_ns == 0:
        return
    target["total_taobench_ops"] = float(whole.total_ops)
    target["total_taobench_fast_ops"] = float(whole.fast_ops)
    target["total_taobench_slow_ops"] = float(whole.slow_ops)
    target["total_taobench_wall_sec"] = whole.elapsed_ns / 1e9
    target["total_taobench_get_cmds"] = float(whole.get_cmds)
    target["total_taobench_get_hits"] = float(whole.get_hits)
    derive_rate_metrics(target)


def populate_run_pooled_taobench_distribution(
    phases: Iterable[PhaseBucket], target: dict[str, float]
) -> None:
    """Serve latencies over the histograms of all phases and cgroups."""
    pooled = merged(carrier.taobench for carrier in _carriers(phases))
    if pooled is not None:
        target.update(taobench_histograms(pooled, WHOLE_RUN))


def populate_run_pooled_schbench(phases: Iterable[PhaseBucket], target: dict[str, float]) -> None:
    """Loops and run delays over all phases; message threads and workers stay apart.

    A role that was never scheduled has no delay per schedule, and neither component of it.
    """
    pooled = merged(carrier.schbench for carrier in _carriers(phases))
    if pooled is None:
        return
    target["total_schbench_loops"] = float(pooled.loop_count)
    for role in ("msg", "worker"):
        schedules = getattr(pooled, f"{role}_pcount")
        if schedules > 0:
            delay_ns = getattr(pooled, f"{role}_run_delay_ns")
            target[f"total_schbench_{role}_run_delay_ns"] = float(delay_ns)
            target[f"total_schbench_{role}_pcount"] = float(schedules)
    derive_rate_metrics(target)


def populate_run_pooled_schbench_distribution(
    phases: Iterable[PhaseBucket], target: dict[str, float]
) -> None:
    """Latencies and request rates over the histograms of all phases and cgroups."""
    pooled = merged(carrier.schbench for carrier in _carriers(phases))
    if pooled is not None:
        target.update(schbench_histograms(pooled, WHOLE_RUN))


def _carriers(phases: Iterable[PhaseBucket]) -> Iterable[PhaseCgroupStats]:
    return (carrier for phase in phases for carrier in phase.per_cgroup.values())
