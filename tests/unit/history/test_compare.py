# SPDX-License-Identifier: GPL-2.0-only
"""What becomes of each metric, and of verdicts, between two sets of runs."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from tests.unit.history.made import phase, row, runs

from ktstr.history.compare import Comparison, Levels, Outcome, compare
from ktstr.history.dimensions import Dimension
from ktstr.history.policy import Policy
from ktstr.history.rows import Row

GAP, RATE = "worst_gap_ms", "iteration_rate"


def one(name: str, a: float | None, b: float | None, **more: Any) -> Comparison:
    """One run a side that measured one metric."""
    return compare(runs(name, [a]), runs(name, [b]), **more)


def outcome(found: Comparison) -> Outcome:
    [change] = found.changes
    return change.outcome


@pytest.mark.parametrize(
    ("name", "a", "b", "expected"),
    [
        # Gates 500 ms and 50 %, each inclusive.
        (GAP, 1000.0, 1500.0, Outcome.REGRESSION),
        (GAP, 1000.0, 1499.0, Outcome.UNCHANGED),
        (GAP, 600.0, 1000.0, Outcome.UNCHANGED),  # 67 %, but 400 ms
        (GAP, 2000.0, 2900.0, Outcome.UNCHANGED),  # 900 ms, but 45 %
        (GAP, 2000.0, 1000.0, Outcome.IMPROVEMENT),
        # From zero the absolute gate decides alone.
        (GAP, 0.0, 500.0, Outcome.REGRESSION),
        (GAP, 0.0, 499.0, Outcome.UNCHANGED),
        (GAP, 0.0, 0.0, Outcome.UNCHANGED),
        (GAP, 1000.0, 0.0, Outcome.IMPROVEMENT),
        # Gates 1/s and 30 %; here more is better.
        (RATE, 100.0, 70.0, Outcome.REGRESSION),
        (RATE, 100.0, 71.0, Outcome.UNCHANGED),
        (RATE, 100.0, 130.0, Outcome.IMPROVEMENT),
        # No direction is worse.
        ("total_hardirqs", 1000.0, 5000.0, Outcome.CHANGED),
        ("total_hardirqs", 1000.0, 1400.0, Outcome.UNCHANGED),
        ("my_throughput", 100.0, 1.0, Outcome.CHANGED),
        # A part of a rate, which is compared itself.
        ("total_phase_iterations", 100.0, 1e9, Outcome.SUPPRESSED),
        # Missing is not zero.
        (GAP, None, 9000.0, Outcome.ONLY_B),
        (GAP, 9000.0, None, Outcome.ONLY_A),
    ],
)
def test_both_gates_decide_where_one_run_stands_against_one(
    name: str, a: float | None, b: float | None, expected: Outcome
) -> None:
    found = one(name, a, b)
    assert outcome(found) is expected
    assert found.exit_code == (1 if expected is Outcome.REGRESSION else 0)


def test_the_share_of_a_change_from_zero_is_none() -> None:
    [change] = one(GAP, 0.0, 700.0).changes
    assert (change.delta, change.relative) == (700.0, None)
    [change] = one(GAP, -4.0, -3.0).changes
    assert change.relative == 0.25
    [change] = one(GAP, None, 1.0).changes
    assert (change.delta, change.relative, change.a) == (None, None, None)


def test_a_policy_replaces_the_gates() -> None:
    assert outcome(one(GAP, 1000.0, 1500.0, policy=Policy(default_percent=60))) is (
        Outcome.UNCHANGED
    )
    strict = Policy(per_metric_percent={GAP: 1}, per_metric_absolute={GAP: 5})
    assert outcome(one(GAP, 100.0, 105.0, policy=strict)) is Outcome.REGRESSION
    judged = Policy(per_metric_percent={"my_throughput": 10})
    assert outcome(one("my_throughput", 100.0, 80.0, policy=judged)) is Outcome.REGRESSION


def test_noise_is_told_from_change() -> None:
    wild: list[float | None] = [900.0, 2600.0, 1100.0, 2900.0]
    noisy = compare(runs(GAP, wild), runs(GAP, [value and value * 1.6 for value in wild]))
    assert outcome(noisy) is Outcome.NOISE and noisy.exit_code == 0
    steady: list[float | None] = [1000.0, 1010.0, 990.0, 1005.0]
    worse = compare(runs(GAP, steady), runs(GAP, [value and value * 1.6 for value in steady]))
    assert outcome(worse) is Outcome.REGRESSION and worse.exit_code == 1
    [change] = worse.changes
    assert change.finding is not None and change.finding.p_adjusted is not None
    # The gates alone cannot tell them apart.
    blind = compare(
        runs(GAP, wild), runs(GAP, [value and value * 1.6 for value in wild]), test=False
    )
    assert outcome(blind) is Outcome.REGRESSION


def test_the_side_with_more_runs_has_no_larger_peak_for_that() -> None:
    some: list[float | None] = [1000.0, 1000.0]
    more: list[float | None] = [500.0, 500.0, 500.0, 2500.0]
    [change] = compare(runs(GAP, some), runs(GAP, more), test=False).changes
    assert (change.a, change.b, change.outcome) == (1000.0, 1000.0, Outcome.UNCHANGED)
    [change] = compare(runs(GAP, some), runs(GAP, more[2:]), test=False).changes
    assert (change.b, change.outcome) == (2500.0, Outcome.REGRESSION)


def test_the_more_metrics_the_more_each_has_to_convince() -> None:
    """Of a hundred metrics of noise some pass p < 0.05; none of them is to be reported."""
    names = [f"metric_{i}_gap" for i in range(100)]
    policy = Policy(per_metric_percent=dict.fromkeys(names, 0.0))

    rng = np.random.default_rng(5)
    a, b = (
        [
            row(run, metrics=dict(zip(names, map(float, rng.normal(100, 5, 100)), strict=True)))
            for run in range(6)
        ]
        for _ in "ab"
    )
    found = compare(a, b, policy=policy)
    raw = [c for c in found.changes if c.finding and c.finding.p is not None and c.finding.p < 0.05]
    assert raw and found.of(Outcome.REGRESSION, Outcome.IMPROVEMENT) == []


def test_a_run_that_failed_gives_no_figures() -> None:
    a = [row(1, metrics={GAP: 100.0}), row(2, "fail", metrics={GAP: 99_000.0})]
    b = [row(3, metrics={GAP: 100.0}), row(4, "inconclusive", metrics={GAP: 99_000.0})]
    found = compare(a, b)
    [change] = found.changes
    assert (change.a, change.b, change.n_a, change.n_b) == (100.0, 100.0, 1, 1)


@pytest.mark.parametrize(
    ("before", "now", "worse", "code"),
    [
        (["pass", "pass"], ["pass", "fail"], True, 1),
        (["pass"], ["lost"], True, 1),
        (["fail"], ["pass"], False, 2),
        (["pass", "lost"], ["pass"], False, 0),
        (["pass"], ["inconclusive"], None, 2),
        (["pass"], ["skip"], None, 2),
        (["inconclusive"], ["fail"], None, 2),
    ],
)
def test_verdicts_are_compared_as_such(
    before: list[str], now: list[str], worse: bool | None, code: int
) -> None:
    a = [row(i, verdict, metrics={GAP: 1.0}) for i, verdict in enumerate(before)]
    b = [row(i, verdict, metrics={GAP: 1.0}, reason="why") for i, verdict in enumerate(now)]
    found = compare(a, b)
    [change] = found.verdicts
    assert (change.worse, found.exit_code) == (worse, code)


def test_verdicts_can_be_left_out_of_the_exit_code() -> None:
    a = [row(1, metrics={GAP: 1.0})]
    b = [row(2, metrics={GAP: 1.0}), row(3, "fail")]
    assert compare(a, b).exit_code == 1
    found = compare(a, b, metrics_only=True)
    assert found.exit_code == 0 and len(found.verdicts) == 1


def test_verdicts_that_stay_are_no_change() -> None:
    assert compare([row(1, "fail")], [row(2, "fail")]).verdicts == ()
    assert compare([row(1)], [row(2)]).verdicts == ()
    twice = [row(3, "fail"), row(4), row(5, "fail"), row(6)]
    assert compare([row(1, "fail"), row(2)], twice).verdicts == ()


def test_a_flake_that_became_a_failure_is_told() -> None:
    a = [row(1, "fail"), *(row(i) for i in range(2, 6))]
    b = [row(i, "fail", reason="why") for i in range(6, 11)]
    [change] = compare(a, b).verdicts
    assert (change.a, change.b, change.worse) == ("fail 1/5", "fail 5/5", None)
    assert change.reason == "why"


def test_what_has_no_counterpart_is_listed() -> None:
    a = [row(1, kernel="6.12.1"), row(2, scenario="gone")]
    b = [row(3, kernel="7.2.1"), row(4, scenario="new")]
    found = compare(a, b, slicing=[Dimension.KERNEL])
    assert [pair.a.scenario for pair in found.pairs] == ["crowd"]
    assert [group.scenario for group in found.only_a] == ["gone"]
    assert [group.scenario for group in found.only_b] == ["new"]
    apart = compare(a, b)
    assert apart.pairs == () and apart.exit_code == 2
    assert len(compare(a, b, ignored=[Dimension.KERNEL]).pairs) == 1


def virtual(seed: int, value: float, number: int = 0) -> Row:
    return row(number, clock="virtual", seed=seed, metrics={GAP: value})


def test_by_the_virtual_clock_there_is_no_noise() -> None:
    a = [virtual(1, 1000.0), virtual(2, 1000.0, 1)]
    b = [virtual(1, 1600.0, 2), virtual(2, 1000.0, 3)]
    found = compare(a, b)
    assert [pair.exact for pair in found.pairs] == [True, True]
    assert [change.outcome for change in found.changes] == [Outcome.REGRESSION, Outcome.UNCHANGED]
    # Seeds taken together, the same on both sides, are exact as well; others are draws.
    together = compare(a, b, ignored=[Dimension.SEED])
    assert [pair.exact for pair in together.pairs] == [True]
    others = compare(a, [virtual(3, 1000.0), virtual(4, 1.0, 1)], ignored=[Dimension.SEED])
    assert [pair.exact for pair in others.pairs] == [False]


def phased(*phases: Any, number: int = 0) -> Row:
    return row(number, metrics={GAP: 1.0}, phases=phases)


def test_phases_are_compared_one_by_one() -> None:
    measured = {RATE: 100.0}
    a = [phased(phase(1, None, **measured), phase(2, None, **measured), phase(3, None, **measured))]
    b = [
        phased(
            phase(1, None, **measured), phase(2, iteration_rate=50.0), phase(4, None, **measured)
        )
    ]
    found = compare(a, b)
    [change] = found.of(Outcome.REGRESSION)
    assert (change.step_index, change.title, change.metric) == (2, "Step[1]", RATE)
    assert found.exit_code == 1 and {each.step_index for each in found.changes} == {None, 1, 2}
    assert [(title, side) for _, title, side in found.unpaired_phases] == [
        ("Step[2]", "a"),
        ("Step[3]", "b"),
    ]


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        (Levels(phases=False), [None]),
        (Levels(run=False), [1, 2]),
        (Levels(), [None, 1, 2]),
        (Levels(steps=frozenset({2})), [None, 2]),
    ],
)
def test_levels_can_be_chosen(levels: Levels, expected: Sequence[int | None]) -> None:
    side = [phased(phase(1, iteration_rate=1.0), phase(2, iteration_rate=1.0))]
    found = compare(side, side, levels=levels)
    assert [change.step_index for change in found.changes] == expected
    assert found.unpaired_phases == ()


def test_what_is_shown_of_several_runs_is_what_was_judged() -> None:
    """One wild run moves the mean of B above A's; every other run of it is far below."""
    a: list[float | None] = [1000.0, 1010.0, 990.0, 1005.0, 995.0, 1002.0]
    b: list[float | None] = [100.0, 110.0, 90.0, 105.0, 95.0, 9000.0]
    [change] = compare(runs(GAP, a), runs(GAP, b)).changes
    finding = change.finding
    assert finding is not None and finding.change is not None
    assert change.a == finding.baseline and change.delta == pytest.approx(finding.change)
    if change.outcome is Outcome.IMPROVEMENT:
        assert change.delta is not None and change.delta < 0


def test_a_metric_that_must_not_regress_has_to_be_compared() -> None:
    policy = Policy(must_not_regress=(RATE,))

    def found(a: dict[str, float], b: dict[str, float], **more: Any) -> tuple[int, tuple[str, ...]]:
        it = compare([row(1, metrics=a)], [row(2, metrics=b)], policy=policy, **more)
        return it.exit_code, it.unmeasured

    assert found({RATE: 9.0, GAP: 1.0}, {RATE: 9.0, GAP: 1.0}) == (0, ())
    assert found({RATE: 9.0, GAP: 1.0}, {GAP: 1.0}) == (2, (RATE,))
    assert found({GAP: 1.0}, {RATE: 9.0, GAP: 1.0}) == (2, (RATE,))
    assert found({GAP: 1.0}, {GAP: 1.0}) == (2, (RATE,))
    # A regression is one all the same.
    assert found({RATE: 9.0, GAP: 1.0}, {GAP: 9000.0}) == (1, (RATE,))
    # Missing in B of one pair is missing, though another pair has it.
    a = [row(1, metrics={RATE: 9.0}), row(2, scenario="s", metrics={RATE: 9.0})]
    b = [row(3, metrics={RATE: 9.0}), row(4, scenario="s", metrics={GAP: 9.0})]
    it = compare(a, b, policy=policy)
    assert (it.exit_code, it.unmeasured) == (2, (RATE,))
    assert compare(a, b).exit_code == 0
    # With phases alone they tell.
    a, b = ([row(n, phases=(phase(1, iteration_rate=9.0),))] for n in (1, 2))
    assert compare(a, b, policy=policy, levels=Levels(run=False)).exit_code == 0
