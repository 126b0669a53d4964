# SPDX-License-Identifier: GPL-2.0-only
"""Comparisons that a scenario asks for: ratios, directions, and what cannot be compared."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktstr.metrics import Phase, PhaseBucket, ScenarioStats
from ktstr.telemetry import PhaseCgroupStats
from ktstr.verdict import AssertResult
from ktstr.verdict.phase_checks import PhaseCheck, judge_phases

FIRST, SECOND = Phase.step(0), Phase.step(1)


def stats(before: float | None, after: float | None, cgroup: float | None = None) -> ScenarioStats:
    """``iteration_rate`` of Step[0] and Step[1], and in both that of the cgroup ``c``."""

    def metrics(value: float | None) -> dict[str, float]:
        return {} if value is None else {"iteration_rate": value}

    return ScenarioStats(
        phases=tuple(
            PhaseBucket(
                step_index=index,
                label=str(Phase(index)),
                metrics=metrics(value),
                per_cgroup={"c": PhaseCgroupStats(metrics=metrics(cgroup))},
            )
            for index, value in ((1, before), (2, after))
        )
    )


def judged(check: PhaseCheck, found: ScenarioStats, *cut_short: Phase) -> AssertResult:
    result = AssertResult()
    judge_phases(result, found, [check], cut_short)
    assert len(result.outcomes) + len(result.passes) == 1
    return result


def check(metric: str = "iteration_rate", cgroup: str | None = None, **how: float) -> PhaseCheck:
    return PhaseCheck(metric, SECOND, FIRST, cgroup, **how)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("how", "after", "comparator", "expected"),
    [
        ({"at_least": 1.25}, 125.0, "ge", "1.25"),
        ({"at_most": 0.5}, 50.0, "le", "0.5"),
        ({"better": True}, 100.5, "gt", "100.0"),
        ({"better_by": 0.1}, 111.0, "ge", "110.0"),
    ],
)
def test_what_holds(how: dict[str, float], after: float, comparator: str, expected: str) -> None:
    result = judged(check(**how), stats(100.0, after))
    (held,) = result.passes
    assert (held.name, held.comparator, held.expected) == ("iteration_rate", comparator, expected)
    assert held.phase == "Step[1]"
    assert result.measurements == {"iteration_rate Step[1]/Step[0]": after / 100}


@pytest.mark.parametrize(
    ("how", "after", "says"),
    [
        ({"at_least": 1.25}, 124.0, "Step[1] over Step[0] at least 1.25, was 1.24 (124.0 over 100"),
        ({"at_most": 0.5}, 51.0, "Step[1] over Step[0] at most 0.5, was 0.51 (51.0 over 100.0)"),
        ({"better": True}, 100.0, "Step[1] better than Step[0] (higher is better), was 100.0"),
        ({"better_by": 0.1}, 109.0, "Step[1] better by 10.0% than Step[0] (higher is better)"),
    ],
)
def test_what_fails(how: dict[str, float], after: float, says: str) -> None:
    result = judged(check(**how), stats(100.0, after))
    (detail,) = result.failure_details()
    assert detail.message.startswith(f"iteration_rate: expected {says}")
    assert detail.phase == "Step[1]"
    assert result.measurements == {"iteration_rate Step[1]/Step[0]": after / 100}


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        (None, 1.0, "not measured in Step[0]"),
        (1.0, None, "not measured in Step[1]"),
        (0.0, 1.0, "Step[0] is 0.0, over which there is no ratio"),
        (-1.0, 1.0, "Step[0] is -1.0, over which there is no ratio"),
    ],
)
@pytest.mark.parametrize("how", ["at_least", "at_most"])
def test_what_cannot_be_told(
    before: float | None, after: float | None, says: str, how: str
) -> None:
    result = judged(check(**{how: 1.5}), stats(before, after))
    (detail,) = result.inconclusive_details()
    assert detail.message == f"iteration_rate: {says}"
    assert result.measurements == {}


def test_a_cgroups_metric_is_its_own() -> None:
    result = judged(check(cgroup="c", at_least=1.0), stats(100.0, 50.0, cgroup=7.0))
    assert result.passes[0].name == "c.iteration_rate"
    assert result.measurements == {"c.iteration_rate Step[1]/Step[0]": 1.0}
    (detail,) = judged(check(cgroup="nobody", at_most=1.0), stats(1.0, 1.0)).inconclusive_details()
    assert detail.message == "nobody.iteration_rate: not measured in Step[0]"


@pytest.mark.parametrize("short", [FIRST, SECOND])
def test_half_a_phase_is_no_match_for_a_whole_one(short: Phase) -> None:
    result = judged(check(at_least=0.1), stats(100.0, 100.0), short)
    assert [d.message for d in result.inconclusive_details()] == [
        f"iteration_rate: {short} was cut short"
    ]
    assert judged(check(at_least=0.1), stats(100.0, 100.0), Phase.step(2)).passes


positive = st.floats(1e-3, 1e9)


@given(positive, positive, positive)
def test_of_one_factor_at_least_one_side_holds(before: float, after: float, factor: float) -> None:
    """``at_least`` and ``at_most`` split at the ratio, and both hold on it only."""
    found = stats(before, after)
    above = bool(judged(check(at_least=factor), found).passes)
    below = bool(judged(check(at_most=factor), found).passes)
    assert (above, below) == (after / before >= factor, after / before <= factor)
    assert above or below
