# SPDX-License-Identifier: GPL-2.0-only
"""Progress, fairness and isolation of one cgroup's workers (reference-04, 2.2)."""

from ktstr.telemetry.reductions import off_cpu_pct
from ktstr.verdict.detail import DetailKind
from ktstr.verdict.subject import Found, Group, cpu_list


def progress(group: Group, _asked: bool) -> Found:
    """Every worker did some work."""
    stuck = [report for report in group.reports if report.work_units == 0]
    for report in stuck:
        yield group.fail(
            DetailKind.NO_PROGRESS, f"tid {report.tid} made no progress (0 work units)"
        )
    if not stuck:
        least = min(report.work_units for report in group.reports)
        yield group.confirm("work_units", "gt", str(least), "0")


def gap(group: Group, limit_ms: int) -> Found:
    """No worker stood still longer than ``limit_ms``."""
    over = [report for report in group.reports if report.max_gap_ms > limit_ms]
    for report in over:
        yield group.fail(
            DetailKind.STUCK,
            f"tid {report.tid} stuck {report.max_gap_ms}ms on cpu{report.max_gap_cpu} "
            f"at +{report.max_gap_at_ms}ms (threshold {limit_ms}ms)",
        )
    if not over:
        worst = max(report.max_gap_ms for report in group.reports)
        yield group.confirm("max_gap_ms", "le", str(worst), str(limit_ms))


def spread(group: Group, limit_pct: float) -> Found:
    """The workers' shares of time off CPU differ by at most ``limit_pct``."""
    shares = [
        share
        for report in group.reports
        if (share := off_cpu_pct(report.off_cpu_ns, report.wall_time_ns)) is not None
    ]
    if len(shares) < 2:
        yield group.inconclusive(
            DetailKind.UNFAIR,
            f"spread not measured: {len(shares)} of {len(group.live)} workers have wall time",
        )
        return
    low, high = min(shares), max(shares)
    if high - low > limit_pct:
        cpus = frozenset[int]().union(*(report.cpus_used for report in group.reports))
        yield group.fail(
            DetailKind.UNFAIR,
            f"unfair cgroup: spread={high - low:.1f}% ({low:.1f}-{high:.1f}%) "
            f"{len(shares)} workers on {len(cpus)} cpus (threshold {limit_pct:g}%)",
        )
    else:
        yield group.confirm("spread", "le", f"{high - low:.1f}", f"{limit_pct:g}")


def isolation(group: Group, _asked: bool) -> Found:
    """The workers ran on CPUs of their cgroup's cpuset only."""
    allowed = group.around.cpusets[group.key]
    if allowed is None:
        yield group.inconclusive(
            DetailKind.ISOLATION, "isolation not judged: the cpuset changed during the step"
        )
        return
    clean = True
    for report in group.reports:
        if not report.cpus_used:
            clean = False
            yield group.inconclusive(
                DetailKind.ISOLATION, f"tid {report.tid} did not report the CPUs it ran on"
            )
        elif stray := report.cpus_used - allowed:
            clean = False
            yield group.fail(
                DetailKind.ISOLATION,
                f"tid {report.tid} ran on cpus {cpu_list(stray)} outside its cpuset "
                f"{cpu_list(allowed)}",
            )
    if clean:
        used = frozenset[int]().union(*(report.cpus_used for report in group.reports))
        yield group.confirm("cpus_used", "subset_of", cpu_list(used), cpu_list(allowed))
