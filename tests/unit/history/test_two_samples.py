# SPDX-License-Identifier: GPL-2.0-only
"""The tests themselves, against SciPy's, against counting by hand, and at their edges."""

import math
from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from ktstr.history.two_samples import (
    constant_p,
    hedges_g,
    ranks,
    smallest_rank_p,
    welch,
)

Values = np.ndarray[tuple[int], np.dtype[np.float64]]


def array(*values: float) -> Values:
    return np.array(values, np.float64)


def draw(n: int, seed: int, *, rounded: bool = False) -> Values:
    found = np.random.default_rng(seed).normal(100, 5, n)
    return found.round() if rounded else found


@pytest.mark.parametrize(("n", "m"), [(2, 2), (3, 3), (3, 7), (10, 10), (40, 25)])
def test_welch_is_scipys(n: int, m: int) -> None:
    a, b = draw(n, 1), draw(m, 2) + 3
    ours, theirs = welch(a, b), stats.ttest_ind(b, a, equal_var=False)
    assert ours.p == pytest.approx(theirs.pvalue)
    assert ours.freedom == pytest.approx(theirs.df)
    low, high = theirs.confidence_interval(0.95)
    assert ours.interval(0.95) == pytest.approx((low, high))


@pytest.mark.parametrize(("n", "m"), [(2, 2), (3, 5), (5, 5), (10, 10), (25, 25)])
def test_ranks_without_ties_are_scipys_exact_ones(n: int, m: int) -> None:
    a, b = draw(n, 3), draw(m, 4) + 3
    ours, theirs = ranks(a, b, 0.95), stats.mannwhitneyu(b, a, method="exact")
    assert ours.p == pytest.approx(theirs.pvalue)
    assert ours.superiority == pytest.approx(theirs.statistic / (n * m))


def test_many_runs_take_the_normal_limit() -> None:
    a, b = draw(40, 5, rounded=True), draw(30, 6, rounded=True) + 2
    theirs = stats.mannwhitneyu(b, a, method="asymptotic")
    assert ranks(a, b, 0.95).p == pytest.approx(theirs.pvalue)


@pytest.mark.parametrize("seed", range(8))
def test_ties_are_counted_out(seed: int) -> None:
    # Few different values, so that there are many ties; every way to divide them is tried.
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 4, 9).astype(np.float64)
    n, m = 4, 5

    def wins(chosen: tuple[int, ...]) -> float:
        b = values[list(chosen)]
        a = np.delete(values, list(chosen))
        return float((b[:, None] > a).sum() + 0.5 * (b[:, None] == a).sum())

    every = [abs(wins(chosen) - n * m / 2) for chosen in combinations(range(9), m)]
    seen = abs(wins((4, 5, 6, 7, 8)) - n * m / 2)
    expected = sum(1 for each in every if each >= seen - 1e-9) / len(every)
    assert ranks(values[:4], values[4:], 0.95).p == pytest.approx(expected)


def test_three_a_side_say_nothing_by_order() -> None:
    # 2 of the 20 ways to divide six runs are as extreme as this.
    assert ranks(array(1, 2, 3), array(4, 5, 6), 0.95).p == pytest.approx(0.1)
    assert smallest_rank_p(3, 3) == pytest.approx(0.1)
    assert smallest_rank_p(5, 5) == pytest.approx(2 / 252)


def test_the_shift_is_the_median_difference() -> None:
    a, b = array(1, 2, 100), array(11, 12, 13)
    # Differences: 10 11 12, 9 10 11, -89 -88 -87; of nine, the fifth is 10.
    assert ranks(a, b, 0.95).shift == 10


def test_the_shifts_interval_is_the_textbooks() -> None:
    # For 5 and 5 the two-sided 95 % critical value of U is 2: the third difference from each end.
    a, b = array(1, 2, 3, 4, 5), array(10, 20, 30, 40, 50)
    differences = sorted(y - x for x in a for y in b)
    assert ranks(a, b, 0.95).interval == (differences[2], differences[-3])


def test_too_few_runs_bound_no_shift() -> None:
    assert ranks(array(1, 2, 3), array(4, 5, 6), 0.95).interval == (-math.inf, math.inf)


@pytest.mark.parametrize("n", [60, 100])
def test_the_shifts_interval_holds_with_many_runs(n: int) -> None:
    a, b = draw(n, 7), draw(n, 8) + 3
    low, high = ranks(a, b, 0.95).interval
    mean = welch(a, b).interval(0.95)
    assert (low, high) == pytest.approx(mean, abs=1.0)


def test_sides_that_do_not_vary_are_as_unlikely_as_they_can_be() -> None:
    # Half zeros and half ones: three of one and three of the other come 2 times in 64.
    assert constant_p(3, 3) == pytest.approx(2 / 64)
    assert constant_p(5, 5) == pytest.approx(2 / 1024)
    # One against ten is likeliest where the one is rare: 1/11 (10/11)^10 and next to nothing.
    assert constant_p(1, 10) == pytest.approx((1 / 11) * (10 / 11) ** 10, rel=1e-3)
    found = welch(array(7, 7, 7), array(9, 9, 9))
    assert (found.difference, found.error, found.freedom) == (2, 0, None)
    assert found.p == pytest.approx(2 / 64)
    assert found.interval(0.95) == (2, 2)


def test_the_last_bits_of_equal_sums_are_no_scatter() -> None:
    found = welch(array(0.1, 0.1, 0.1), array(0.1, 0.1, 0.1))
    assert (found.difference, found.p, found.freedom) == (0.0, 1.0, None)


def test_tiny_and_huge_values_keep_their_freedom() -> None:
    a, b = draw(5, 9), draw(5, 10)
    expected = welch(a, b).p
    assert welch(a * 1e-120, b * 1e-120).p == pytest.approx(expected)
    assert welch(a * 1e120, b * 1e120).p == pytest.approx(expected)


def test_hedges_g() -> None:
    # Means 2 and 5, variance 1 each; of 4 degrees of freedom 1 - 3/15 is left.
    assert hedges_g(array(1, 2, 3), array(4, 5, 6)) == pytest.approx(3 * (1 - 3 / 15))
    assert hedges_g(array(1, 1), array(2, 2)) is None
