# SPDX-License-Identifier: GPL-2.0-only
"""Judging worker reports, one step's cgroup at a time (reference-04, 2.2; reference-06, 14)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ktstr.metrics.fold import group_reports
from ktstr.metrics.phase import Phase
from ktstr.metrics.scenario import ScenarioStats
from ktstr.telemetry.decode import printable
from ktstr.telemetry.reductions import off_cpu_pct
from ktstr.telemetry.report import TaggedReport, WorkerReport
from ktstr.verdict.checks import Assert, CheckRefused
from ktstr.verdict.detail import AssertDetail, DetailKind, PassDetail
from ktstr.verdict.outcome import Fail, Inconclusive, Outcome
from ktstr.verdict.result import AssertResult

CpuSets = Mapping[tuple[int, str], frozenset[int] | None]
"""CPUs a cgroup is confined to, by step index and name. No entry: it is not confined. ``None``:
it was, but not to one set that could be judged."""


@dataclass(frozen=True, slots=True)
class _Group:
    """The living workers of one cgroup in one step."""

    phase: str
    cgroup: str
    live: list[TaggedReport]

    @property
    def where(self) -> str:
        return f"{self.phase} {self.cgroup}"

    def fail(self, kind: DetailKind, message: str) -> Fail:
        return Fail(AssertDetail(kind, f"{self.where}: {message}", self.phase))

    def inconclusive(self, kind: DetailKind, message: str) -> Inconclusive:
        return Inconclusive(AssertDetail(kind, f"{self.where}: {message}", self.phase))


_Found = Iterator[Fail | Inconclusive | PassDetail]


def evaluate(
    checks: Assert,
    reports: Sequence[TaggedReport],
    cpusets: CpuSets,
    stats: ScenarioStats | None = None,
) -> AssertResult:
    """Judge ``reports`` by ``checks``.

    A worker that died is a failure whatever is asked for. What is asked for and cannot be judged
    is inconclusive, with the reason.

    :param stats: the run's statistics, to travel with the verdict.
    :raise CheckRefused: when a threshold is set that this version does not evaluate.
    """
    if problems := checks.unsupported():
        raise CheckRefused(problems)
    result = AssertResult(stats=stats or ScenarioStats())
    if not reports and checks.asks_for_anything():
        result.record_inconclusive(
            AssertDetail(DetailKind.OTHER, "no worker report arrived: nothing can be judged")
        )
    confined = spread_judged = False
    for (step, cgroup), tagged in group_reports(reports).items():
        group = _Group(str(Phase(step)), cgroup, [t for t in tagged if not t.report.is_sentinel])
        for dead in tagged:
            if dead.report.is_sentinel:
                result.record_outcome(_dead_worker(group, dead))
        for note in _setup_errors(group):
            result.note(note, group.phase)
        if not group.live:
            continue
        spread_judged |= len(group.live) > 1
        confined |= (step, cgroup) in cpusets
        for found in _judge(checks, group, (step, cgroup), cpusets):
            if isinstance(found, PassDetail):
                result.record_pass(found)
            else:
                result.record_outcome(found)
    if reports and checks.isolation and not confined:
        result.record_inconclusive(
            AssertDetail(DetailKind.ISOLATION, "isolation: no cgroup with workers has a cpuset")
        )
    if reports and checks.max_spread_pct is not None and not spread_judged:
        result.record_inconclusive(
            AssertDetail(DetailKind.UNFAIR, "max_spread_pct: no cgroup has two living workers")
        )
    return result


def _judge(checks: Assert, group: _Group, key: tuple[int, str], cpusets: CpuSets) -> _Found:
    if checks.not_starved:
        yield from _progress(group)
    if (gap := checks.gap_limit_ms()) is not None:
        yield from _gap(group, gap)
    if (spread := checks.spread_limit_pct()) is not None and len(group.live) > 1:
        yield from _spread(group, spread)
    if checks.isolation and key in cpusets:
        yield from _isolation(group, cpusets[key])
    if checks.min_iteration_rate is not None:
        yield from _iteration_rate(group, checks.min_iteration_rate)


def _dead_worker(group: _Group, dead: TaggedReport) -> Outcome:
    info = dead.report.exit_info
    ended = info.in_words() if info else "ended without a report, and nobody saw how"
    name = f"worker {dead.worker} ({dead.work_type}, tid {dead.report.tid})"
    return group.fail(DetailKind.WORKER_STUCK, f"{name} {ended}")


def _setup_errors(group: _Group) -> Iterator[str]:
    for tagged in group.live:
        report = tagged.report
        for what, error in (
            ("affinity", report.affinity_error),
            ("scheduling policy", report.sched_policy_error),
        ):
            if error is not None:
                yield f"{group.where}: tid {report.tid} ran without its {what}: {printable(error)}"


def _confirm(group: _Group, name: str, comparator: str, value: str, limit: str) -> PassDetail:
    return PassDetail(f"{group.cgroup}.{name}", comparator, value, limit, group.phase)


def _progress(group: _Group) -> _Found:
    stuck = [t.report for t in group.live if t.report.work_units == 0]
    for report in stuck:
        yield group.fail(
            DetailKind.NO_PROGRESS, f"tid {report.tid} made no progress (0 work units)"
        )
    if not stuck:
        least = min(t.report.work_units for t in group.live)
        yield _confirm(group, "work_units", "gt", str(least), "0")


def _gap(group: _Group, limit_ms: int) -> _Found:
    over = [t.report for t in group.live if t.report.max_gap_ms > limit_ms]
    for report in over:
        yield group.fail(
            DetailKind.STUCK,
            f"tid {report.tid} stuck {report.max_gap_ms}ms on cpu{report.max_gap_cpu} "
            f"at +{report.max_gap_at_ms}ms (threshold {limit_ms}ms)",
        )
    if not over:
        worst = max(t.report.max_gap_ms for t in group.live)
        yield _confirm(group, "max_gap_ms", "le", str(worst), str(limit_ms))


def _spread(group: _Group, limit_pct: float) -> _Found:
    shares = [
        share
        for t in group.live
        if (share := off_cpu_pct(t.report.off_cpu_ns, t.report.wall_time_ns)) is not None
    ]
    if len(shares) < 2:
        yield group.inconclusive(
            DetailKind.UNFAIR,
            f"spread not measured: {len(shares)} of {len(group.live)} workers have wall time",
        )
        return
    low, high = min(shares), max(shares)
    if high - low > limit_pct:
        cpus = frozenset[int]().union(*(t.report.cpus_used for t in group.live))
        yield group.fail(
            DetailKind.UNFAIR,
            f"unfair cgroup: spread={high - low:.1f}% ({low:.1f}-{high:.1f}%) "
            f"{len(shares)} workers on {len(cpus)} cpus (threshold {limit_pct:g}%)",
        )
    else:
        yield _confirm(group, "spread", "le", f"{high - low:.1f}", f"{limit_pct:g}")


def _isolation(group: _Group, allowed: frozenset[int] | None) -> _Found:
    if allowed is None:
        yield group.inconclusive(
            DetailKind.ISOLATION, "isolation not judged: the cpuset changed during the step"
        )
        return
    violated = False
    for report in (t.report for t in group.live):
        if not report.cpus_used:
            violated = True
            yield group.inconclusive(
                DetailKind.ISOLATION, f"tid {report.tid} did not report the CPUs it ran on"
            )
        elif stray := report.cpus_used - allowed:
            violated = True
            yield group.fail(
                DetailKind.ISOLATION,
                f"tid {report.tid} ran on cpus {cpu_list(stray)} outside its cpuset "
                f"{cpu_list(allowed)}",
            )
    if not violated:
        used = frozenset[int]().union(*(t.report.cpus_used for t in group.live))
        yield _confirm(group, "cpus_used", "subset_of", cpu_list(used), cpu_list(allowed))


def _iteration_rate(group: _Group, floor: float) -> _Found:
    slowest: float | None = None
    complete = True
    for tagged in group.live:
        rate = _rate(tagged.report)
        if rate is None:
            complete = False
            yield group.inconclusive(
                DetailKind.BENCHMARK,
                f"worker {tagged.worker} iteration rate not measured: no wall time",
            )
        elif rate < floor:
            complete = False
            yield group.fail(
                DetailKind.BENCHMARK,
                f"worker {tagged.worker} iteration rate {rate:.1f}/s below floor {floor:.1f}/s",
            )
        else:
            slowest = rate if slowest is None else min(slowest, rate)
    if complete and slowest is not None:
        yield _confirm(group, "iteration_rate", "ge", f"{slowest:.1f}", f"{floor:.1f}")


def _rate(report: WorkerReport) -> float | None:
    if report.wall_time_ns == 0:
        return None
    return report.iterations / (report.wall_time_ns / 1e9)


def cpu_list(cpus: frozenset[int]) -> str:
    """CPUs in the kernel's list form, ``0-3,6``; ``none`` for no CPU."""
    spans: list[list[int]] = []
    for cpu in sorted(cpus):
        if spans and cpu == spans[-1][1] + 1:
            spans[-1][1] = cpu
        else:
            spans.append([cpu, cpu])
    return ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in spans) or "none"
