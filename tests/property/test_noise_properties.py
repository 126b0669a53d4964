# SPDX-License-Identifier: GPL-2.0-only
"""What holds of every two sets of runs."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktstr.history.families import benjamini_hochberg, holm, together
from ktstr.history.noise import Decider, Finding, Word, two_sample
from ktstr.metrics.kinds import HIGHER_BETTER, LOWER_BETTER, Polarity

# Whole tenths: ties are frequent, and no two values differ in their last bits only.
TENTHS = st.integers(-10_000, 10_000).map(lambda n: n / 10)
SIDES = st.lists(TENTHS, min_size=2, max_size=8)
POSITIVE = st.lists(st.integers(1, 10_000).map(float), min_size=2, max_size=8)
ANYTHING = st.lists(st.none() | st.floats() | st.integers(-3, 3).map(float), max_size=8)
SHARES = st.lists(st.floats(0, 1), max_size=20)


def compare(
    a: list[float],
    b: list[float],
    gate: float = 1.0,
    share: float = 0.1,
    polarity: Polarity = LOWER_BETTER,
) -> Finding:
    return two_sample(a, b, polarity=polarity, abs_gate=gate, rel_gate=share)


@given(ANYTHING, ANYTHING, st.booleans())
def test_whatever_was_measured_there_is_an_answer(
    a: list[float | None], b: list[float | None], exact: bool
) -> None:
    found = two_sample(a, b, polarity=LOWER_BETTER, abs_gate=1, rel_gate=0.1, exact=exact)
    assert found.p is None or 0 <= found.p <= 1
    assert found.a.n + found.a.dropped == len(a)
    if found.verdict in (Word.REGRESSION, Word.IMPROVEMENT):
        assert found.material and found.significant
        assert found.change is not None
        assert (found.change > 0) == (found.verdict is Word.REGRESSION)
    # What people are told of it, too.
    assert found.detectable is None or found.detectable >= 0
    assert found.runs_needed is None or found.runs_needed >= 2


@given(SIDES, SIDES)
def test_sides_that_swap_differ_as_surely(a: list[float], b: list[float]) -> None:
    # Which of two tests decides may change where both give one p.
    there, back = compare(a, b), compare(b, a)
    assert there.p == pytest.approx(back.p)
    assert there.a == back.b
    assert there.order is not None and back.order is not None
    assert there.order.superiority == pytest.approx(1 - back.order.superiority)
    assert there.order.shift == pytest.approx(-back.order.shift)


@given(SIDES, SIDES)
def test_the_order_of_runs_counts_for_nothing(a: list[float], b: list[float]) -> None:
    expected = compare(a, b)
    found = compare(sorted(a), sorted(b, reverse=True))
    assert found.verdict is expected.verdict
    assert found.p == pytest.approx(expected.p)


@given(POSITIVE, POSITIVE, st.sampled_from([1e-9, 0.5, 1024.0, 1e12]))
def test_units_count_for_nothing(a: list[float], b: list[float], unit: float) -> None:
    expected = compare(a, b)
    found = compare([v * unit for v in a], [v * unit for v in b], unit)
    assert found.p == pytest.approx(expected.p, rel=1e-6, abs=1e-12)
    if expected.change and abs(expected.change) > 1e-6 and expected.test is found.test:
        assert found.relative == pytest.approx(expected.relative, rel=1e-6)


@given(SIDES, SIDES)
def test_what_is_better_for_one_is_worse_for_the_other(a: list[float], b: list[float]) -> None:
    lower, higher = compare(a, b), compare(a, b, polarity=HIGHER_BETTER)
    opposite = {Word.REGRESSION: Word.IMPROVEMENT, Word.IMPROVEMENT: Word.REGRESSION}
    assert higher.verdict is opposite.get(lower.verdict, lower.verdict)


@given(SIDES)
def test_a_side_is_no_different_from_itself(a: list[float]) -> None:
    found = compare(a, a)
    assert found.p == pytest.approx(1.0)
    assert found.verdict in (Word.UNCHANGED, Word.INCONCLUSIVE)


@given(SIDES, SIDES, st.floats(0.1, 100), st.floats(0.1, 100))
def test_wider_gates_tell_less_and_rule_out_more(
    a: list[float], b: list[float], narrow: float, more: float
) -> None:
    near, far = compare(a, b, narrow), compare(a, b, narrow + more)
    if far.verdict in (Word.REGRESSION, Word.IMPROVEMENT):
        assert near.verdict is far.verdict
    assert far.ruled_out >= near.ruled_out


@given(SHARES)
def test_adjusting_never_makes_surer(values: list[float]) -> None:
    for adjust in (holm, benjamini_hochberg):
        found = adjust(values)
        assert all(p <= q + 1e-12 for p, q in zip(values, found, strict=True))
        assert all(0 <= q <= 1 for q in found)
        order = sorted(range(len(values)), key=values.__getitem__)
        adjusted = [found[i] for i in order]
        assert adjusted == sorted(adjusted)
    pairs = zip(benjamini_hochberg(values), holm(values), strict=True)
    assert all(q <= h + 1e-12 for q, h in pairs)


@given(st.lists(st.tuples(SIDES, SIDES), max_size=6), st.sets(st.integers(0, 5)))
def test_together_no_metric_becomes_surer(
    sides: list[tuple[list[float], list[float]]], strict: set[int]
) -> None:
    alone = {index: compare(a, b) for index, (a, b) in enumerate(sides)}
    found = together(alone, strict=strict)
    assert list(found) == list(alone)
    for index, finding in found.items():
        before = alone[index]
        if finding.verdict is not before.verdict:
            assert before.verdict in (Word.REGRESSION, Word.IMPROVEMENT)
            assert finding.verdict in (Word.UNCHANGED, Word.INCONCLUSIVE)
        assert finding.p == before.p


@given(st.lists(TENTHS, min_size=1, max_size=5), st.lists(TENTHS, min_size=1, max_size=5))
def test_without_noise_there_is_no_doubt(a: list[float], b: list[float]) -> None:
    found = two_sample(a, b, polarity=LOWER_BETTER, abs_gate=1, rel_gate=0.1, exact=True)
    assert found.test is Decider.EXACT
    assert found.verdict is not Word.INCONCLUSIVE
    assert math.isfinite(found.change or 0.0)
