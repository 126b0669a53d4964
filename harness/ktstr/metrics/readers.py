# SPDX-License-Identifier: GPL-2.0-only
"""Metrics read from one frozen capture (reference-06 section 1.1).

What the capture does not hold reads as ``None``.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from ktstr.series.host import PerCpuTime
from ktstr.series.monitor.samples import canonical_events
from ktstr.series.monitor.window import FALLBACK, KEEP_LAST
from ktstr.series.sample import Sample
from ktstr.series.snapshot import Snapshot
from ktstr.telemetry.vectors import saturating_sum

Reader: TypeAlias = Callable[[Sample], float | None]


def per_cpu_times(sample: Sample) -> Sequence[PerCpuTime]:
    """The accounting of each CPU; empty when the capture failed or does not hold it."""
    snapshot = sample.snapshot
    return snapshot.host.per_cpu_time if isinstance(snapshot, Snapshot) else ()


def _local_depths(sample: Sample) -> list[int]:
    if not isinstance(sample.snapshot, Snapshot):
        return []
    return [c.local_dsq_depth for c in sample.snapshot.cpus if c.local_dsq_depth is not None]


def _max_depth(sample: Sample) -> float | None:
    return float(max(depths)) if (depths := _local_depths(sample)) else None


def _avg_depth(sample: Sample) -> float | None:
    return sum(depths) / len(depths) if (depths := _local_depths(sample)) else None


def _event(name: str) -> Reader:
    """Growth of an event counter since the scheduler was enabled, over all CPUs."""

    def read(sample: Sample) -> float | None:
        if not isinstance(sample.snapshot, Snapshot):
            return None
        count = canonical_events(sample.snapshot.sched_ext.events or {}).get(name)
        return None if count is None else float(count)

    return read


def _over_cpus(take: Callable[[PerCpuTime], int | None]) -> Reader:
    """The sum over CPUs of a cumulative value; ``None`` when no CPU has it."""

    def read(sample: Sample) -> float | None:
        values = [value for cpu in per_cpu_times(sample) if (value := take(cpu)) is not None]
        return float(saturating_sum(values)) if values else None

    return read


def _softirqs(name: str) -> Reader:
    return _over_cpus(lambda cpu: cpu.softirqs.get(name))


READERS: Mapping[str, Reader] = {
    # Local queues only: a scheduler's own queues say nothing about a CPU falling behind.
    "max_dsq_depth": _max_depth,
    "avg_dsq_depth": _avg_depth,
    "total_fallback": _event(FALLBACK),
    "total_keep_last": _event(KEEP_LAST),
    "total_hardirqs": _over_cpus(lambda cpu: cpu.hardirqs),
    "total_softirq_net_rx": _softirqs("net_rx"),
    "total_softirq_net_tx": _softirqs("net_tx"),
    "total_softirq_timer": _softirqs("timer"),
    "total_softirq_sched": _softirqs("sched"),
    "total_irq_time_ns": _over_cpus(lambda cpu: cpu.irq_ns),
    "total_softirq_time_ns": _over_cpus(lambda cpu: cpu.softirq_ns),
    "total_steal_time_ns": _over_cpus(lambda cpu: cpu.steal_ns),
}
"""``read_sample`` of the metrics that have one, by metric name."""
