# SPDX-License-Identifier: GPL-2.0-only
"""What becomes of a metric: beyond chance and beyond its gates, ruled out, or not decided."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from ktstr.history.noise import Decider, Finding, Gates, Word, two_sample
from ktstr.metrics.kinds import HIGHER_BETTER, INFORMATIONAL, LOWER_BETTER, Polarity, target_value

CALM = (100.0, 101.0, 99.0, 100.5, 99.5)


def compare(
    a: Sequence[float | None],
    b: Sequence[float | None],
    polarity: Polarity = LOWER_BETTER,
    abs_gate: float = 1.0,
    rel_gate: float = 0.10,
    *,
    exact: bool = False,
) -> Finding:
    return two_sample(a, b, polarity=polarity, abs_gate=abs_gate, rel_gate=rel_gate, exact=exact)


def times(factor: float, values: Sequence[float] = CALM) -> list[float]:
    return [value * factor for value in values]


@pytest.mark.parametrize(
    ("polarity", "factor", "word"),
    [
        (LOWER_BETTER, 1.2, Word.REGRESSION),
        (LOWER_BETTER, 0.8, Word.IMPROVEMENT),
        (HIGHER_BETTER, 1.2, Word.IMPROVEMENT),
        (HIGHER_BETTER, 0.8, Word.REGRESSION),
        (INFORMATIONAL, 1.2, Word.CHANGED),
        (target_value(130), 1.2, Word.IMPROVEMENT),
        (target_value(95), 1.2, Word.REGRESSION),
        (target_value(95), 0.8, Word.REGRESSION),
    ],
)
def test_a_clear_change_has_a_direction(polarity: Polarity, factor: float, word: Word) -> None:
    found = compare(CALM, times(factor), polarity)
    assert found.verdict is word
    assert found.relative == pytest.approx(factor - 1)
    assert found.p is not None and found.p < 0.001


def test_sure_and_too_small_is_no_regression() -> None:
    # 5 % more is far beyond chance here, and within a gate of 10 %.
    found = compare(CALM, times(1.05))
    assert found.significant and not found.material
    assert found.verdict is Word.UNCHANGED
    # The absolute gate is one as well.
    assert compare(CALM, times(1.2), abs_gate=50).verdict is Word.UNCHANGED


def test_large_and_unsure_is_not_decided() -> None:
    a, b = (0, 60, -60), (30, 90, -30)
    found = compare(a, b, abs_gate=10)
    assert found.test is Decider.MEANS
    assert found.material and not found.significant
    assert found.verdict is Word.INCONCLUSIVE
    # Each side's variance is 3600: the error is 60 sqrt(2/3), with 4 degrees of freedom.
    assert found.detectable == pytest.approx(
        60 * math.sqrt(2 / 3) * (2.776445 + 0.940965), rel=1e-4
    )
    assert found.runs_needed == 570


def test_scatter_that_grows_with_the_value_is_no_doubt() -> None:
    # Ten times as much, and ten times the scatter, which drowns the difference of the means.
    a, b = (16.0, 24.0, 36.0), (160.0, 240.0, 360.0)
    found = compare(a, b)
    assert found.test is Decider.LOGS
    # Logarithms lie ln 1.5 apart: the error is ln 1.5 sqrt(2/3), with 4 degrees of freedom.
    step = math.log(1.5)
    error = step * math.sqrt(2 / 3)
    theirs = stats.ttest_ind(np.log(b), np.log(a), equal_var=False)
    assert found.p == pytest.approx(theirs.pvalue)
    assert found.p == pytest.approx(2 * stats.t.sf(math.log(10) / error, 4))
    assert stats.ttest_ind(b, a, equal_var=False).pvalue > 0.05
    assert found.verdict is Word.REGRESSION
    assert (found.baseline, found.change) == pytest.approx((24, 216))
    assert found.interval == pytest.approx(
        [240 * math.exp(sign * 2.776445 * error) - 24 for sign in (-1, 1)], rel=1e-4
    )
    assert found.detectable == pytest.approx(
        24 * math.expm1((2.776445 + 0.940965) * error), rel=1e-4
    )
    # One value that is not positive has no logarithm: the values themselves are compared.
    assert compare((16.0, 0.0, 36.0), b).test is Decider.MEANS


def test_unchanged_takes_proof() -> None:
    # The 90 % interval of the difference is 0 +- 1.86 * 0.5, far within the gate of 10.
    found = compare(CALM, CALM)
    assert found.verdict is Word.UNCHANGED
    # The same figures cannot rule out a change by 0.5.
    assert compare(CALM, CALM, abs_gate=0.5, rel_gate=0).verdict is Word.INCONCLUSIVE


def test_how_far_unchanged_reaches() -> None:
    # Error sqrt(2/3); with 4 degrees of freedom 90 % lie within 2.132 of it: 1.74.
    three = (0.0, 1.0, -1.0)
    assert compare(three, three, abs_gate=1.75).verdict is Word.UNCHANGED
    assert compare(three, three, abs_gate=1.73).verdict is Word.INCONCLUSIVE
    # Where ranks look too, each has half: 95 % lie within 2.306 of an error of 1, with 8.
    five = (0.0, 1.0, -1.0, 2.0, -2.0)
    assert compare(five, five, abs_gate=2.31).verdict is Word.UNCHANGED
    assert compare(five, five, abs_gate=2.29).verdict is Word.INCONCLUSIVE
    # A wild run makes the mean's interval wide. Of ten and ten, 23 is critical for ranks: the 24th
    # difference from each end bounds the shift.
    ten, wild = five * 2, (*five, *five[:4], -500.0)
    differences = sorted(y - x for x in ten for y in wild)
    bound = max(-differences[23], differences[-24])
    assert bound < 3
    assert compare(ten, wild, abs_gate=bound + 0.01).verdict is Word.UNCHANGED
    assert compare(ten, wild, abs_gate=bound - 0.01).verdict is Word.INCONCLUSIVE


def test_the_gates_are_inclusive_and_zero_has_no_share() -> None:
    gates = Gates(absolute=1.0, relative=0.1)
    assert gates.passed(1.1 - 1.0 + 0.9, 10.0)
    assert gates.passed(10 * 1.1 - 10, 10.0)
    assert not gates.passed(0.999, 0.0)
    assert gates.passed(1.0, 0.0)
    assert not Gates(0, 0).passed(0.0, 5.0)


def test_from_zero_a_metric_can_regress() -> None:
    found = compare((0, 0, 0, 0), (4, 5, 6, 5))
    assert found.verdict is Word.REGRESSION
    assert found.relative is None and found.change == 5


def test_sides_without_scatter() -> None:
    assert compare((3, 3, 3), (3, 3, 3)).verdict is Word.UNCHANGED
    # Three of one and three of the other come 2 times in 64 where either is as likely.
    found = compare((3, 3, 3), (6, 6, 6))
    assert found.p == pytest.approx(2 / 64)
    assert found.verdict is Word.REGRESSION
    # Two and two come 2 times in 16.
    assert compare((3, 3), (6, 6)).verdict is Word.INCONCLUSIVE


def test_one_side_without_scatter() -> None:
    # Difference 2, error 1/sqrt(3), 2 degrees of freedom: t = 3.46, p = 0.074.
    found = compare((0, 0, 0), (1, 2, 3))
    assert found.p == pytest.approx(0.0742, abs=1e-4)
    assert found.verdict is Word.INCONCLUSIVE


def test_one_run_says_nothing_of_noise() -> None:
    found = compare((100,), (300,))
    assert (found.verdict, found.test, found.p) == (Word.INCONCLUSIVE, Decider.NONE, None)
    assert found.change == 200
    assert compare(CALM, (300,)).verdict is Word.INCONCLUSIVE


def test_what_was_not_measured_is_no_zero() -> None:
    found = compare((100, None, 101, math.nan, 99), (150, 151, math.inf, 149))
    assert (found.a.n, found.a.dropped, found.b.n, found.b.dropped) == (3, 2, 3, 1)
    assert found.a.mean == 100
    assert found.verdict is Word.REGRESSION
    empty = compare((None, None), CALM)
    assert (empty.verdict, empty.change, empty.a.mean) == (Word.INCONCLUSIVE, None, None)


def test_a_wild_run_does_not_hide_a_change() -> None:
    a = (100, 101, 99, 100.5, 99.5, 102)
    b = (120, 121, 119, 120.5, 119.5, 400)
    found = compare(a, b)
    # By the means nothing is sure; every run of B is above every run of A: 2 ways in 924, twice.
    assert found.means is not None and found.means.p > 0.05
    assert found.test is Decider.RANKS
    assert found.p == pytest.approx(4 / 924)
    assert found.verdict is Word.REGRESSION
    assert found.change == pytest.approx(20, abs=1.5)


def test_two_tests_share_the_level() -> None:
    # Five a side are enough for ranks: each test has half of the level, which doubles p.
    found = compare(CALM, times(1.02))
    assert found.means is not None and found.order is not None
    assert found.p == pytest.approx(2 * min(found.means.p, found.order.p))
    assert found.confidence == pytest.approx(0.975)
    # Three are not, and Welch's test has it all.
    few = compare(CALM[:3], times(1.02)[:3])
    assert few.means is not None and few.p == few.means.p
    assert few.confidence == pytest.approx(0.95)


def test_by_the_virtual_clock_every_difference_is_real() -> None:
    assert compare((100,), (100,), exact=True).verdict is Word.UNCHANGED
    small = compare((100,), (100.001,), exact=True)
    assert (small.verdict, small.p) == (Word.UNCHANGED, 0.0)
    assert compare((100,), (111,), exact=True).verdict is Word.REGRESSION
    # However far seeds lie apart.
    assert compare((100, 500), (120, 600), exact=True).verdict is Word.REGRESSION
    assert compare((0,), (1,), exact=True).verdict is Word.REGRESSION


def test_a_rate_has_its_own_centre() -> None:
    found = two_sample(
        CALM,
        times(1.2),
        polarity=LOWER_BETTER,
        abs_gate=1,
        rel_gate=0.10,
        centres=(100.0, 105.0),
    )
    assert found.change == 5
    assert not found.material
