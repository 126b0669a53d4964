# SPDX-License-Identifier: GPL-2.0-only
"""Checks that hold one phase of a run against another."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from ktstr.metrics.phase import Phase
from ktstr.metrics.scenario import ScenarioStats
from ktstr.verdict.across import (
    BetterThanPhase,
    better_across_phases,
    better_across_phases_cgroup,
)
from ktstr.verdict.detail import AssertDetail, DetailKind
from ktstr.verdict.phase_label import phase_label
from ktstr.verdict.result import AssertResult


@dataclass(frozen=True, slots=True)
class PhaseCheck:
    """One comparison, with one of the last four set.

    :param cgroup: whose metric; ``None`` for that of the whole phase.
    :param at_least: smallest ratio of ``phase`` over ``against``.
    :param at_most: largest such ratio.
    :param better: ``phase`` is strictly better, in the metric's own direction.
    :param better_by: it is better by this fraction of ``against`` or more.
    """

    metric: str
    phase: Phase
    against: Phase
    cgroup: str | None = None
    at_least: float | None = None
    at_most: float | None = None
    better: bool = False
    better_by: float | None = None

    @property
    def name(self) -> str:
        """The metric, and before it the cgroup."""
        return self.metric if self.cgroup is None else f"{self.cgroup}.{self.metric}"

    def claim(self, result: AssertResult, stats: ScenarioStats) -> BetterThanPhase:
        """The claim whose outcome goes into ``result``."""
        phases = (self.against, self.phase)
        if self.cgroup is None:
            return better_across_phases(result, stats, *phases, self.metric)
        return better_across_phases_cgroup(result, stats, *phases, self.cgroup, self.metric)


def judge_phases(
    result: AssertResult,
    stats: ScenarioStats,
    checks: Iterable[PhaseCheck],
    cut_short: Collection[Phase] = (),
) -> None:
    """Judge comparisons; their ratios become measurements, however they turn out.

    :param cut_short: phases that did not run to their end: what they measured is no match for a
        whole one.
    """
    for check in checks:
        with phase_label(check.phase):
            short = [phase for phase in (check.phase, check.against) if phase in cut_short]
            if short:
                message = f"{check.name}: {short[0]} was cut short"
                result.record_inconclusive(AssertDetail(DetailKind.BENCHMARK, message))
                continue
            claim = check.claim(result, stats)
            if (ratio := claim.ratio()) is not None:
                result.note_value(f"{check.name} {check.phase}/{check.against}", ratio)
            _ask(check, claim)


def _ask(check: PhaseCheck, claim: BetterThanPhase) -> None:
    if check.at_least is not None:
        claim.ratio_at_least(check.at_least)
    if check.at_most is not None:
        claim.ratio_at_most(check.at_most)
    if check.better:
        claim.better_than()
    if check.better_by is not None:
        claim.by_at_least(check.better_by)
