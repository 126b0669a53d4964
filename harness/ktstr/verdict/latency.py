# SPDX-License-Identifier: GPL-2.0-only
"""Wake latencies of one cgroup, pooled over its workers (reference-04, 2.2).

Above a reservoir's cap a worker's samples stand for all its wake-ups, so each counts as many times
as it stands for.
"""

import numpy as np

from ktstr.metrics.pool import SamplePool
from ktstr.model.works.registry import WORK_TYPES
from ktstr.verdict.detail import DetailKind
from ktstr.verdict.subject import Found, Group


def records_wakes(group: Group) -> bool:
    """Whether wake latencies are due from any of the workers, or arrived anyway."""
    return any(
        tagged.report.wake_sample_total > 0
        or ((work := WORK_TYPES.get(tagged.work_type)) is not None and "wake" in work.fills)
        for tagged in group.live
    )


def p99_wake_latency(group: Group, limit_ns: int) -> Found:
    """99 of 100 wake-ups took at most ``limit_ns``."""
    pool = _pool(group)
    if not pool:
        yield group.inconclusive(DetailKind.BENCHMARK, _missing(group, "p99 wake latency", 0, 1))
        return
    p99 = pool.percentile(0.99)
    if p99 > limit_ns:
        yield group.fail(
            DetailKind.BENCHMARK,
            f"p99 wake latency {p99}ns above limit {limit_ns}ns ({pool.population} wakeups)",
        )
    else:
        yield group.confirm("p99_wake_latency_ns", "le", str(p99), str(limit_ns))


def wake_latency_cv(group: Group, limit: float) -> Found:
    """Wake latencies vary by at most ``limit``: population deviation over mean."""
    pool = _pool(group)
    samples = sum(len(report.wake_latencies_ns) for report in group.reports)
    if samples < 2:
        yield group.inconclusive(
            DetailKind.BENCHMARK, _missing(group, "wake latency cv", samples, 2)
        )
        return
    if pool.moments().mean() == 0.0:
        yield group.inconclusive(
            DetailKind.BENCHMARK, "wake latency cv not measured: every latency is 0 ns"
        )
        return
    cv = pool.moments().coefficient_of_variation()
    if cv > limit:
        yield group.fail(
            DetailKind.BENCHMARK,
            f"wake latency cv {cv:.3f} above limit {limit:g} ({pool.population} wakeups)",
        )
    else:
        yield group.confirm("wake_latency_cv", "le", f"{cv:.3f}", f"{limit:g}")


def _pool(group: Group) -> SamplePool:
    return SamplePool(
        (np.sort(report.wake_latencies_ns), report.wake_sample_total) for report in group.reports
    )


def _missing(group: Group, what: str, samples: int, needed: int) -> str:
    if any(tagged.stripped for tagged in group.live):
        return f"{what} not measured: the samples were left out to fit the frame"
    return f"{what} not measured: {samples} samples, at least {needed} needed"
