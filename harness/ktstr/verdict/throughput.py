# SPDX-License-Identifier: GPL-2.0-only
"""How much one cgroup's workers got done, and how evenly (reference-04, 2.2).

A worker that did work without a measured time has no rate; one that did none has the rate zero.
"""

import math
import statistics
from collections.abc import Callable

from ktstr.telemetry.report import WorkerReport
from ktstr.telemetry.vectors import saturating_sum
from ktstr.verdict.detail import DetailKind
from ktstr.verdict.subject import Found, Group

NS_PER_S = 1e9


def throughput_cv(group: Group, limit: float) -> Found:
    """The workers' work rates vary by at most ``limit``: population deviation over mean."""
    rates = [rate for report in group.reports if (rate := work_rate_of(report)) is not None]
    if len(rates) < 2:
        yield group.inconclusive(
            DetailKind.BENCHMARK,
            f"throughput cv not measured: {len(rates)} of {len(group.live)} workers have CPU time",
        )
        return
    mean = math.fsum(rates) / len(rates)
    if mean <= 0.0:
        yield group.inconclusive(
            DetailKind.BENCHMARK, "throughput cv not measured: no worker did any work"
        )
        return
    cv = statistics.pstdev(rates) / mean
    if cv > limit:
        yield group.fail(
            DetailKind.BENCHMARK,
            f"throughput cv {cv:.3f} above limit {limit:g} "
            f"({len(rates)} workers, {min(rates):.1f}-{max(rates):.1f} units/cpu-s)",
        )
    else:
        yield group.confirm("throughput_cv", "le", f"{cv:.3f}", f"{limit:g}")


def work_rate(group: Group, floor: float) -> Found:
    """Every worker did ``floor`` work units per second on a CPU."""
    return _floor(group, floor, work_rate_of, ("work rate", "work_rate", "/cpu-s", "CPU time"))


def iteration_rate(group: Group, floor: float) -> Found:
    """Every worker did ``floor`` iterations per second of wall time."""
    return _floor(
        group, floor, iteration_rate_of, ("iteration rate", "iteration_rate", "/s", "wall time")
    )


def migration_ratio(group: Group, limit: float) -> Found:
    """The cgroup migrated at most ``limit`` times per iteration, all workers together."""
    migrations = saturating_sum(report.migration_count for report in group.reports)
    iterations = saturating_sum(report.iterations for report in group.reports)
    if iterations == 0:
        yield group.inconclusive(
            DetailKind.MIGRATION,
            f"migration ratio not measured: {migrations} migrations in 0 iterations",
        )
    elif migrations / iterations > limit:
        yield group.fail(
            DetailKind.MIGRATION,
            f"migration ratio {migrations / iterations:.4f} above limit {limit:g} "
            f"({migrations} migrations in {iterations} iterations)",
        )
    else:
        ratio = f"{migrations / iterations:.4f}"
        yield group.confirm("migration_ratio", "le", ratio, f"{limit:g}")


def work_rate_of(report: WorkerReport) -> float | None:
    """Work units per second on a CPU; ``None`` for work without measured CPU time."""
    return _rate(report.work_units, report.cpu_time_ns, report.wall_time_ns)


def iteration_rate_of(report: WorkerReport) -> float | None:
    """Iterations per second of wall time; ``None`` without measured wall time."""
    return _rate(report.iterations, report.wall_time_ns, 0)


def _rate(count: int, time_ns: int, lived_ns: int) -> float | None:
    """:param lived_ns: time the worker had; with it, no work in no CPU time is a measured zero."""
    if time_ns > 0:
        return count / (time_ns / NS_PER_S)
    return 0.0 if count == 0 and lived_ns > 0 else None


def _floor(
    group: Group,
    floor: float,
    rate_of: Callable[[WorkerReport], float | None],
    names: tuple[str, str, str, str],
) -> Found:
    words, name, unit, time = names
    slowest = math.inf
    for tagged in group.live:
        rate = rate_of(tagged.report)
        who = group.name_of(tagged)
        if rate is None:
            slowest = -math.inf
            yield group.inconclusive(DetailKind.BENCHMARK, f"{who} {words} not measured: no {time}")
            continue
        slowest = min(slowest, rate)
        if rate < floor:
            yield group.fail(
                DetailKind.BENCHMARK,
                f"{who} {words} {rate:.1f}{unit} below floor {floor:.1f}{unit}",
            )
    if slowest >= floor:
        yield group.confirm(name, "ge", f"{slowest:.1f}", f"{floor:.1f}")
