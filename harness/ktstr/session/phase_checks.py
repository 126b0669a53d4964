# SPDX-License-Identifier: GPL-2.0-only
"""A scenario's comparisons between phases, as the verdict takes them."""

from collections.abc import Iterator

from ktstr.metrics import METRICS, metric_def
from ktstr.metrics.phase import Phase
from ktstr.model.scenario import Scenario
from ktstr.model.source import Mistake
from ktstr.model.words import did_you_mean
from ktstr.verdict.across import higher_is_better
from ktstr.verdict.phase_checks import PhaseCheck


def phase_checks(scenario: Scenario) -> tuple[PhaseCheck, ...]:
    """What ``[[checks.across]]`` asks for."""
    return tuple(
        PhaseCheck(
            metric=check.metric,
            phase=_phase(scenario, check.phase),
            against=_phase(scenario, check.against),
            cgroup=check.cgroup,
            at_least=check.at_least,
            at_most=check.at_most,
            better=bool(check.better),
            better_by=check.better_by,
        )
        for check in scenario.checks.across
    )


def metric_mistakes(scenario: Scenario) -> Iterator[Mistake]:
    """Metrics that nothing measures, and those without the direction that "better" needs.

    The model knows no metrics, so this is told after all that the model can tell.
    """
    names = [metric.name for metric in METRICS]
    for index, check in enumerate(scenario.checks.across):
        at = ("checks", "across", index, "metric")
        directed = check.better or check.better_by is not None
        if metric_def(check.metric) is None:
            allowed = "a metric that `ktstr metrics` lists"
            yield Mistake(at, allowed + did_you_mean(check.metric, names))
        elif directed and higher_is_better(check.metric) is None:
            allowed = "a metric with a direction (`ktstr metrics`), or at_least or at_most instead"
            yield Mistake(at, allowed)


def _phase(scenario: Scenario, word: str) -> Phase:
    index = scenario.phase_index(word)
    assert index is not None, "the model knows the phases of its comparisons"
    return Phase(index)
