# SPDX-License-Identifier: GPL-2.0-only
"""Judging a run: worker reports by step and cgroup, and the monitor's readings over all of it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ktstr.metrics.fold import group_reports
from ktstr.metrics.phase import Phase
from ktstr.metrics.scenario import ScenarioStats
from ktstr.telemetry.decode import printable
from ktstr.telemetry.report import TaggedReport
from ktstr.verdict import latency, numa, progress, throughput
from ktstr.verdict.checks import Assert
from ktstr.verdict.detail import AssertDetail, DetailKind, PassDetail
from ktstr.verdict.monitor import judge_monitor
from ktstr.verdict.outcome import Fail
from ktstr.verdict.result import AssertResult
from ktstr.verdict.subject import Found, Group, Surroundings


def several_live(group: Group) -> bool:
    """Whether there are workers to compare with each other."""
    return len(group.live) > 1


def confined(group: Group) -> bool:
    """Whether the cgroup has a cpuset."""
    return group.key in group.around.cpusets


@dataclass(frozen=True, slots=True)
class WorkerCheck:
    """A check of one cgroup's living workers in one step.

    :param name: the threshold's name in :class:`Assert`.
    :param judge: takes a group and the threshold in force.
    :param applies: which groups it can be asked of; by default all.
    :param otherwise: why there is a doubt when it was asked for by name and applies to no group.
    :param threshold: gives the threshold in force, where that is not just the one set.
    """

    name: str
    kind: DetailKind
    judge: Callable[[Group, Any], Found]
    applies: Callable[[Group], bool] | None = None
    otherwise: str = ""
    threshold: Callable[[Assert], Any] | None = None

    def in_force(self, checks: Assert) -> Any:
        """The threshold; ``None`` when the check is not asked for, or a switch is off."""
        value = getattr(checks, self.name) if self.threshold is None else self.threshold(checks)
        return None if value is False else value


_TWO = "no cgroup has two living workers"
_CPUSET = "no cgroup with workers has a cpuset"
_WAKES = "no cgroup has workers that record wake latencies"

WORKER_CHECKS: Final = (
    WorkerCheck("not_starved", DetailKind.NO_PROGRESS, progress.progress),
    WorkerCheck("max_gap_ms", DetailKind.STUCK, progress.gap, threshold=Assert.gap_limit_ms),
    WorkerCheck(
        "max_spread_pct",
        DetailKind.UNFAIR,
        progress.spread,
        several_live,
        _TWO,
        threshold=Assert.spread_limit_pct,
    ),
    WorkerCheck("isolation", DetailKind.ISOLATION, progress.isolation, confined, _CPUSET),
    WorkerCheck(
        "max_throughput_cv", DetailKind.BENCHMARK, throughput.throughput_cv, several_live, _TWO
    ),
    WorkerCheck("min_work_rate", DetailKind.BENCHMARK, throughput.work_rate),
    WorkerCheck("min_iteration_rate", DetailKind.BENCHMARK, throughput.iteration_rate),
    WorkerCheck("max_migration_ratio", DetailKind.MIGRATION, throughput.migration_ratio),
    WorkerCheck(
        "max_p99_wake_latency_ns",
        DetailKind.BENCHMARK,
        latency.p99_wake_latency,
        latency.records_wakes,
        _WAKES,
    ),
    WorkerCheck(
        "max_wake_latency_cv",
        DetailKind.BENCHMARK,
        latency.wake_latency_cv,
        latency.records_wakes,
        _WAKES,
    ),
    WorkerCheck(
        "min_page_locality",
        DetailKind.PAGE_LOCALITY,
        numa.page_locality,
        numa.knows_its_nodes,
        _CPUSET,
    ),
    WorkerCheck(
        "max_cross_node_migration_ratio",
        DetailKind.CROSS_NODE_MIGRATION,
        numa.cross_node_migration,
    ),
    WorkerCheck("max_slow_tier_ratio", DetailKind.SLOW_TIER, numa.slow_tier),
)
"""Every check of worker reports, in the order they are judged in."""


def evaluate(
    checks: Assert,
    reports: Sequence[TaggedReport],
    around: Surroundings | None = None,
    stats: ScenarioStats | None = None,
) -> AssertResult:
    """Judge a run by ``checks``.

    A worker that died is a failure whatever is asked for. What is asked for and cannot be judged
    is inconclusive, with the reason.

    :param stats: the run's statistics, to travel with the verdict.
    """
    around = Surroundings() if around is None else around
    result = AssertResult(stats=stats or ScenarioStats())
    asked = [(c, limit) for c in WORKER_CHECKS if (limit := c.in_force(checks)) is not None]
    if asked and not reports:
        result.record_inconclusive(
            AssertDetail(DetailKind.OTHER, "no worker report arrived: nothing can be judged", None)
        )
    judged: set[str] = set()
    living = False
    for (step, cgroup), tagged in group_reports(reports).items():
        live = [one for one in tagged if not one.report.is_sentinel]
        group = Group(step, str(Phase(step)), cgroup, live, around)
        _record(result, (_death(group, one) for one in tagged if one.report.is_sentinel))
        for note in _setup_errors(group):
            result.note(note, group.phase)
        if not live:
            continue
        living = True
        for check, limit in asked:
            if check.applies is None or check.applies(group):
                judged.add(check.name)
                _record(result, check.judge(group, limit))
    for check, _ in asked:
        if living and check.name not in judged and getattr(checks, check.name) is not None:
            message = f"{check.name}: {check.otherwise}"
            result.record_inconclusive(AssertDetail(check.kind, message, None))
    _monitor(result, checks, around)
    return result


def _record(result: AssertResult, found: Iterable[Any]) -> None:
    for one in found:
        if isinstance(one, PassDetail):
            result.record_pass(one)
        else:
            result.record_outcome(one)


def _death(group: Group, dead: TaggedReport) -> Fail:
    info = dead.report.exit_info
    ended = info.in_words() if info else "ended without a report, and nobody saw how"
    return group.fail(DetailKind.WORKER_STUCK, f"{group.name_of(dead)} {ended}")


def _setup_errors(group: Group) -> Iterator[str]:
    for report in group.reports:
        for what, error in (
            ("affinity", report.affinity_error),
            ("scheduling policy", report.sched_policy_error),
        ):
            if error is not None:
                yield f"{group.where}: tid {report.tid} ran without its {what}: {printable(error)}"


def _monitor(result: AssertResult, checks: Assert, around: Surroundings) -> None:
    """Enforced, the limits are judged; otherwise what lies beyond them is worth a note."""
    if not checks.watches_monitor():
        return
    if not around.scheduler_active:
        if checks.enforce_monitor_thresholds:
            reason = "monitor: the kernel's own scheduler runs, its limits are for sched_ext"
            result.record_skip(AssertDetail(DetailKind.SKIP, reason, None))
        return
    found = judge_monitor(checks, around.monitor)
    if checks.enforce_monitor_thresholds:
        _record(result, found)
        return
    for one in found:
        if isinstance(one, Fail):
            result.note(f"{one.detail.message}; not enforced")
