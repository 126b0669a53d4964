# SPDX-License-Identifier: GPL-2.0-only
"""Scalars of the schbench and taobench engines' carriers (reference-06 section 2.3)."""

from collections.abc import Iterable
from functools import reduce
from typing import Protocol, Self, TypeVar

from ktstr.telemetry import Pct, PlatStats, SchbenchPhaseStats, TaobenchPhaseStats
from ktstr.telemetry.reductions import NS_PER_US


class _Mergeable(Protocol):
    def merge(self, other: Self, /) -> Self: ...


M = TypeVar("M", bound=_Mergeable)


def merged(carriers: Iterable[M | None]) -> M | None:
    """The union of those that are there; ``None`` of nothing."""
    found = [carrier for carrier in carriers if carrier is not None]
    return reduce(lambda a, b: a.merge(b), found) if found else None


_PERCENTILES = {
    "p20": Pct.P20,
    "p50": Pct.P50,
    "p90": Pct.P90,
    "p99": Pct.P99,
    "p999": Pct.P999,
}
_LATENCY = ("p50", "p90", "p99", "p999", "min", "max")
_RATE = ("p20", "p50", "p90", "min", "max")


def histogram_scalars(
    histogram: PlatStats, pattern: str, figures: Iterable[str]
) -> dict[str, float]:
    """The figures of one histogram under ``pattern.format(figure)``; none without samples."""
    if histogram.nr_samples == 0:
        return {}
    return {
        pattern.format(figure): float(
            histogram.percentile(_PERCENTILES[figure])
            if figure in _PERCENTILES
            else getattr(histogram, figure)
        )
        for figure in figures
    }


def schbench_histograms(stats: SchbenchPhaseStats, suffix: str = "") -> dict[str, float]:
    """Wakeup and request latencies in microseconds, requests per second."""
    return {
        **histogram_scalars(stats.wakeup, f"wakeup_{{}}_latency_us{suffix}", _LATENCY),
        **histogram_scalars(stats.request, f"request_{{}}_latency_us{suffix}", _LATENCY),
        **histogram_scalars(stats.rps, f"rps_{{}}{suffix}", _RATE),
    }


def taobench_histograms(stats: TaobenchPhaseStats, suffix: str = "") -> dict[str, float]:
    """Open-loop serve latency in microseconds; a closed loop has none."""
    return histogram_scalars(stats.serve_lat, f"taobench_serve_{{}}_us{suffix}", _LATENCY)


def schbench_scalars(stats: SchbenchPhaseStats) -> dict[str, float]:
    """What one phase shows of schbench: of one cgroup, or of all of them merged."""
    values = schbench_histograms(stats)
    if stats.msg_pcount > 0:
        values["sched_delay_msg_us"] = stats.msg_run_delay_ns / stats.msg_pcount / NS_PER_US
    if stats.worker_pcount > 0:
        values["sched_delay_worker_us"] = (
            stats.worker_run_delay_ns / stats.worker_pcount / NS_PER_US
        )
    values["schbench_loop_count"] = float(stats.loop_count)
    return values


def taobench_scalars(stats: TaobenchPhaseStats) -> dict[str, float]:
    """What one phase shows of taobench: of one cgroup, or of all of them merged."""
    counters = stats.counters
    values = taobench_histograms(stats)
    if counters.elapsed_ns > 0:
        seconds = counters.elapsed_ns / 1e9
        values["taobench_total_qps"] = counters.total_ops / seconds
        values["taobench_fast_qps"] = counters.fast_ops / seconds
        values["taobench_slow_qps"] = counters.slow_ops / seconds
    if counters.total_ops > 0:
        values["taobench_hit_ratio"] = counters.fast_ops / counters.total_ops
    if counters.get_cmds > 0:
        values["taobench_hit_rate"] = max(1.0 - counters.get_misses / counters.get_cmds, 0.0)
    return values
