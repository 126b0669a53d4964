# SPDX-License-Identifier: GPL-2.0-only
"""Reductions shared by every level: a figure has one formula, wherever it is computed.

Sums of floats are exact (``math.fsum``), so the order in which reports arrive never changes a bit
of the result.
"""

import math
from collections.abc import Iterable

from ktstr.telemetry.vectors import Samples

NS_PER_US = 1000.0


def percentile(ordered: Samples, p: float) -> int:
    """Nearest-rank percentile: the element at ``ceil(n * p) - 1``, never interpolated.

    :param ordered: samples in ascending order.
    :param p: fraction, 0.99 for the 99th percentile.
    :raise ValueError: on an empty vector; a percentile of nothing is not zero.
    """
    count = len(ordered)
    if count == 0:
        raise ValueError("percentile of an empty vector")
    return int(ordered[min(max(math.ceil(count * p) - 1, 0), count - 1)])


def mean_of(values: Iterable[float]) -> float | None:
    """Arithmetic mean, ``None`` of nothing or when the sum leaves the range of a float."""
    items = list(values)
    if not items:
        return None
    try:
        return math.fsum(items) / len(items)
    except OverflowError:
        return None


def off_cpu_pct(off_cpu_ns: int, wall_ns: int) -> float | None:
    """Share of wall time off CPU, in percent; ``None`` without measurable wall time."""
    return off_cpu_ns / wall_ns * 100.0 if wall_ns > 0 else None


def migration_ratio_of(total_migrations: int, total_iterations: int) -> float:
    """Migrations per iteration; 0.0 when nothing was iterated."""
    return total_migrations / total_iterations if total_iterations > 0 else 0.0


def iterations_per_worker_of(num_workers: int, total_iterations: int) -> float | None:
    """Iterations per worker; ``None`` without workers, 0.0 for workers that got nowhere."""
    return total_iterations / num_workers if num_workers > 0 else None


def iterations_per_cpu_sec_of(
    num_workers: int, total_cpu_time_ns: int, total_iterations: int
) -> float | None:
    """Iterations per second on a CPU; ``None`` without workers or without measured CPU time."""
    if num_workers == 0 or total_cpu_time_ns == 0:
        return None
    return total_iterations / (total_cpu_time_ns / 1e9)


def page_ratio_of(part: int, total: int) -> float | None:
    """Pages over pages; ``None`` when no page was seen. Migrations may exceed 1."""
    return part / total if total > 0 else None
