# SPDX-License-Identifier: GPL-2.0-only
"""Metrics read from one frozen capture; what a kernel lacks reads as ``None``."""

from collections.abc import Callable, Mapping

from ktstr.series.sample import Sample
from ktstr.series.snapshot import Snapshot


def _local_depths(sample: Sample) -> list[int]:
    if not isinstance(sample.snapshot, Snapshot):
        return []
    return [c.local_dsq_depth for c in sample.snapshot.cpus if c.local_dsq_depth is not None]


def max_dsq_depth(sample: Sample) -> float | None:
    """Depth of the deepest local dispatch queue."""
    return float(max(depths)) if (depths := _local_depths(sample)) else None


def avg_dsq_depth(sample: Sample) -> float | None:
    """Mean depth of the local dispatch queues."""
    return sum(depths) / len(depths) if (depths := _local_depths(sample)) else None


def _event(sample: Sample, name: str) -> float | None:
    if not isinstance(sample.snapshot, Snapshot):
        return None
    events = sample.snapshot.sched_ext.events or {}
    counts = [n for key, n in events.items() if key.lower().removeprefix("scx_ev_") == name]
    return float(counts[0]) if counts else None


def total_fallback(sample: Sample) -> float | None:
    """``SCX_EV_SELECT_CPU_FALLBACK`` since the scheduler was enabled."""
    return _event(sample, "select_cpu_fallback")


def total_keep_last(sample: Sample) -> float | None:
    """``SCX_EV_DISPATCH_KEEP_LAST`` since the scheduler was enabled."""
    return _event(sample, "dispatch_keep_last")


READERS: Mapping[str, Callable[[Sample], float | None]] = {
    "max_dsq_depth": max_dsq_depth,
    "avg_dsq_depth": avg_dsq_depth,
    "total_fallback": total_fallback,
    "total_keep_last": total_keep_last,
}
"""``read_sample`` of the metrics that have one, by metric name."""
