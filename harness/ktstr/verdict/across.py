# SPDX-License-Identifier: GPL-2.0-only
"""Comparing a metric between two phases of one run (reference-06 section 24)."""

from collections.abc import Callable

from ktstr.metrics.ids import MetricId, MetricLike
from ktstr.metrics.phase import Phase
from ktstr.metrics.registry import metric_def
from ktstr.metrics.scenario import ScenarioStats
from ktstr.verdict.claims import show
from ktstr.verdict.detail import AssertDetail, DetailKind, PassDetail
from ktstr.verdict.result import AssertResult

_HIGHER_IS_BETTER = {"HigherBetter": True, "LowerBetter": False}


def higher_is_better(metric: str) -> bool | None:
    """The direction of a metric; ``None`` when the registry gives it none, or does not know it."""
    definition = metric_def(metric)
    return None if definition is None else _HIGHER_IS_BETTER.get(definition.polarity.name)


class BetterThanPhase:
    """A claim about a metric in one phase, the candidate, against another, the baseline.

    What better means is the metric's polarity in the registry. A metric without a direction, or
    one that either phase did not measure, leaves the claim inconclusive. Ratios need no direction.
    """

    __slots__ = ("_baseline", "_candidate", "_metric", "_read", "_result", "_where")

    def __init__(
        self,
        result: AssertResult,
        read: Callable[[Phase], float | None],
        phases: tuple[Phase, Phase],
        metric: str,
        where: str = "",
    ) -> None:
        self._result = result
        self._read = read
        self._baseline, self._candidate = phases
        self._metric = metric
        self._where = where

    def better_than(self) -> None:
        """The candidate is strictly better than the baseline."""
        if (found := self._values()) is not None:
            higher, before, after = found
            holds = after > before if higher else after < before
            self._settle(holds, ("gt", "lt"), found, before, "better than")

    def by_at_least(self, margin: float) -> None:
        """The candidate is better by ``margin`` or more, as a fraction of the baseline.

        Of a baseline of zero there is no fraction: inconclusive. A negative margin fails.
        """
        if not margin >= 0:
            self._fail(f"caller error: margin negative {show(margin)}")
            return
        found = self._values()
        if found is None:
            return
        higher, before, after = found
        if before == 0 and margin > 0:
            self._doubt(f"{self._baseline} is 0, of which {margin:.1%} is nothing")
            return
        step = abs(before) * margin
        limit = before + step if higher else before - step
        holds = after >= limit if higher else after <= limit
        self._settle(holds, ("ge", "le"), found, limit, f"better by {margin:.1%} than")

    def ratio_at_least(self, factor: float) -> None:
        """Candidate over baseline is ``factor`` or more; over zero or less there is no ratio."""
        self._settle_ratio("ge", "at least", factor)

    def ratio_at_most(self, factor: float) -> None:
        """Candidate over baseline is ``factor`` or less; otherwise as :meth:`ratio_at_least`."""
        self._settle_ratio("le", "at most", factor)

    def ratio(self) -> float | None:
        """Candidate over baseline; ``None`` where either was not measured or there is no ratio."""
        before, after = map(self._read, (self._baseline, self._candidate))
        return None if before is None or after is None or before <= 0 else after / before

    def _settle_ratio(self, comparator: str, words: str, factor: float) -> None:
        found = self._measured()
        if found is None:
            return
        before, after = found
        if before <= 0:
            self._doubt(f"{self._baseline} is {show(before)}, over which there is no ratio")
            return
        ratio = after / before
        if ratio >= factor if comparator == "ge" else ratio <= factor:
            self._result.confirm(PassDetail(self._name, comparator, show(ratio), show(factor)))
            return
        self._fail(
            f"expected {self._candidate} over {self._baseline} {words} {show(factor)}, "
            f"was {ratio:.4g} ({show(after)} over {show(before)})"
        )

    def _values(self) -> tuple[bool, float, float] | None:
        """Whether higher is better, the baseline and the candidate; ``None`` with a doubt."""
        higher = higher_is_better(self._metric)
        if higher is None:
            self._doubt("the metric has no direction in the registry")
            return None
        found = self._measured()
        return None if found is None else (higher, *found)

    def _measured(self) -> tuple[float, float] | None:
        """The baseline and the candidate; ``None`` with a doubt."""
        values = [self._read(phase) for phase in (self._baseline, self._candidate)]
        before, after = values
        if before is None or after is None:
            missing = self._baseline if before is None else self._candidate
            self._doubt(f"not measured in {missing}")
            return None
        return before, after

    def _settle(
        self,
        holds: bool,
        comparators: tuple[str, str],
        found: tuple[bool, float, float],
        limit: float,
        words: str,
    ) -> None:
        higher, before, after = found
        if holds:
            comparator = comparators[0] if higher else comparators[1]
            confirmation = PassDetail(self._name, comparator, show(after), show(limit))
            self._result.confirm(confirmation)
            return
        way = "higher" if higher else "lower"
        self._fail(
            f"expected {self._candidate} {words} {self._baseline} ({way} is better), "
            f"was {show(after)} against {show(before)}"
        )

    @property
    def _name(self) -> str:
        return f"{self._where}{self._metric}"

    def _fail(self, message: str) -> None:
        self._result.record_fail(AssertDetail(DetailKind.BENCHMARK, f"{self._name}: {message}"))

    def _doubt(self, message: str) -> None:
        self._result.record_inconclusive(
            AssertDetail(DetailKind.BENCHMARK, f"{self._name}: {message}")
        )


def better_across_phases(
    result: AssertResult,
    stats: ScenarioStats,
    baseline: Phase,
    candidate: Phase,
    metric: MetricLike,
) -> BetterThanPhase:
    """Claim that ``metric`` is better in ``candidate`` than in ``baseline``."""

    def read(phase: Phase) -> float | None:
        return stats.phase_metric(phase, metric)

    return BetterThanPhase(result, read, (baseline, candidate), MetricId.of(metric).as_str())


def better_across_phases_cgroup(
    result: AssertResult,
    stats: ScenarioStats,
    baseline: Phase,
    candidate: Phase,
    cgroup: str,
    metric: MetricLike,
) -> BetterThanPhase:
    """As :func:`better_across_phases`, for one cgroup."""

    def read(phase: Phase) -> float | None:
        return stats.phase_cgroup_metric(phase, cgroup, metric)

    return BetterThanPhase(
        result, read, (baseline, candidate), MetricId.of(metric).as_str(), f"{cgroup}."
    )
