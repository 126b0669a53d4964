# SPDX-License-Identifier: GPL-2.0-only
"""Per-phase scalars from the merged carriers (reference-06 section 2.3)."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

from ktstr.metrics.bucket import PhaseBucket
from ktstr.metrics.pool_engines import merged, schbench_scalars, taobench_scalars
from ktstr.telemetry.carrier import PhaseCgroupStats
from ktstr.telemetry.reductions import (
    iterations_per_cpu_sec_of,
    iterations_per_worker_of,
    migration_ratio_of,
    page_ratio_of,
)


def derive_phase_metrics(phases: Iterable[PhaseBucket]) -> list[PhaseBucket]:
    """The phases with every cgroup's scalars filled in; applying it twice changes nothing.

    The engines' scalars are also taken over all cgroups of a phase, into the phase's own metrics.
    """
    return [_derived(phase) for phase in phases]


def _derived(phase: PhaseBucket) -> PhaseBucket:
    carriers = phase.per_cgroup.values()
    pooled = PhaseCgroupStats(
        schbench=merged(carrier.schbench for carrier in carriers),
        taobench=merged(carrier.taobench for carrier in carriers),
    )
    return replace(
        phase,
        metrics={**phase.metrics, **write_engine_scalars(pooled)},
        per_cgroup={
            name: carrier.with_metrics(
                {**write_carrier_scalars(carrier), **write_engine_scalars(carrier)}
            )
            for name, carrier in phase.per_cgroup.items()
        },
    )


def write_carrier_scalars(carrier: PhaseCgroupStats) -> dict[str, float]:
    """The scalars of one cgroup in one phase; what was not measured is absent."""
    values: dict[str, float | None] = {}
    if (wake := carrier.wake_summary()) is not None:
        values["p99_wake_latency_us"], values["median_wake_latency_us"] = wake
        values["wake_latency_cv"] = carrier.wake_cv()
    if (timer := carrier.timer_summary()) is not None:
        (
            values["median_timer_latency_us"],
            values["p99_timer_latency_us"],
            values["p999_timer_latency_us"],
        ) = timer
    if (delay := carrier.run_delay_summary()) is not None:
        values["mean_run_delay_us"], values["max_run_delay_us"] = delay
    if (off_cpu := carrier.off_cpu_summary()) is not None:
        (
            values["avg_off_cpu_pct"],
            values["min_off_cpu_pct"],
            values["max_off_cpu_pct"],
            values["off_cpu_spread_pct"],
        ) = off_cpu
    iterations = carrier.total_iterations
    values["migration_ratio"] = migration_ratio_of(carrier.total_migrations, iterations)
    values["iterations_per_worker"] = iterations_per_worker_of(carrier.num_workers, iterations)
    values["iterations_per_cpu_sec"] = iterations_per_cpu_sec_of(
        carrier.num_workers, carrier.total_cpu_time_ns, iterations
    )
    pages = carrier.numa_pages_total
    if carrier.numa_pages_local is not None:
        values["page_locality"] = page_ratio_of(carrier.numa_pages_local, pages)
    values["cross_node_migration_ratio"] = page_ratio_of(carrier.cross_node_migrated, pages)
    return _measured(values)


def write_engine_scalars(carrier: PhaseCgroupStats) -> dict[str, float]:
    """What the benchmark engines of one carrier, or of a phase's carriers merged, measured."""
    return _measured(
        {
            **(schbench_scalars(carrier.schbench) if carrier.schbench is not None else {}),
            **(taobench_scalars(carrier.taobench) if carrier.taobench is not None else {}),
        }
    )


def _measured(values: Mapping[str, float | None]) -> dict[str, float]:
    return {
        name: value for name, value in values.items() if value is not None and math.isfinite(value)
    }
