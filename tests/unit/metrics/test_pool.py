# SPDX-License-Identifier: GPL-2.0-only
"""Pools of weighted vectors, against populations written out in plain Python."""

import math
from fractions import Fraction

import numpy as np
import pytest

from ktstr.metrics.kinds import SampleReduction
from ktstr.metrics.pool import SamplePool
from ktstr.telemetry.moments import Moments

U64_MAX = 2**64 - 1
MEDIAN, P99, P999 = SampleReduction.MEDIAN, SampleReduction.P99, SampleReduction.P999
MEAN, CV, WORST = SampleReduction.MEAN, SampleReduction.CV, SampleReduction.WORST


def pool(*strata: tuple[list[int], int]) -> SamplePool:
    return SamplePool((np.array(sorted(values), dtype=np.uint64), n) for values, n in strata)


def test_an_empty_pool_has_no_figures() -> None:
    empty = pool(([], 0), ([], 7))
    assert not empty
    assert {empty.reduce(reduction) for reduction in SampleReduction} == {None}
    with pytest.raises(ValueError, match="empty pool"):
        empty.percentile(0.5)


def test_samples_that_stand_for_themselves_are_the_plain_union() -> None:
    both = pool(([5, 1, 9], 3), ([7, 7], 2))  # 1 5 7 7 9
    assert [both.percentile(p) for p in (0.2, 0.21, 0.5, 0.8, 0.81)] == [1, 5, 7, 7, 9]
    assert (both.percentile(0.0), both.percentile(1.0)) == (1, 9)


def test_a_capped_vector_counts_by_its_population() -> None:
    # 98 samples of 1 µs, one of 5 µs, one of 9 µs.
    capped = pool(([1000, 1000], 98), ([5000, 9000], 2))
    assert (capped.reduce(MEDIAN), capped.reduce(P99), capped.reduce(P999)) == (1.0, 5.0, 9.0)
    assert capped.reduce(WORST) == 9.0
    assert capped.reduce(MEAN) == (98 * 1000 + 5000 + 9000) / 100 / 1000
    mean = Fraction(98 * 1000 + 5000 + 9000, 100)
    variance = (98 * (1000 - mean) ** 2 + (5000 - mean) ** 2 + (9000 - mean) ** 2) / 100
    assert capped.reduce(CV) == pytest.approx(math.sqrt(variance) / mean, rel=1e-15)


def test_a_population_below_the_length_is_the_length() -> None:
    assert pool(([1, 2, 3, 4], 0), ([9], 1)).percentile(0.5) == 3


def test_a_rank_that_a_fraction_ends_on_is_exact() -> None:
    # Each of 6 samples stands for 7/3. Rank 7 of 14 is where the third one ends; added up as
    # floats, three of them are a bit less than 7 and the fourth would be taken.
    assert pool(([10, 20, 30, 40, 50, 60], 14)).percentile(0.5) == 30
    # 4/3 each: two of them are 8/3, so rank 3 needs the third.
    thirds = pool(([10, 20, 30], 4))
    assert [thirds.percentile(p) for p in (0.25, 0.5, 0.75, 1.0)] == [10, 20, 30, 30]


def test_values_beyond_the_precision_of_a_float_stay_apart() -> None:
    near = pool(([2**63 + 1, 2**63 + 2, 2**63 + 3], 3))
    assert near.percentile(0.5) == 2**63 + 2
    assert pool(([U64_MAX, U64_MAX - 1], 2)).percentile(0.5) == U64_MAX - 1
    assert pool(([0, U64_MAX], 2)).percentile(0.5) == 0


@pytest.mark.parametrize(
    "values",
    [
        [0],
        [0, 0, 0],
        [1, 2, 3, 4],
        [2**25 - 1] * 3,
        [2**25],
        [2**32 - 1, 2**32, 2**32 + 1],
        [3, 2**40 + 5, 2**63 + 7],
        [U64_MAX] * 5,
    ],
)
def test_moments_are_whole_numbers(values: list[int]) -> None:
    found = Moments.of(np.array(values, dtype=np.uint64))
    assert (found.count, found.total) == (len(values), sum(values))
    assert found.squares == sum(value * value for value in values)


def test_moments_of_long_vectors_are_exact_at_the_edges_of_their_pieces() -> None:
    for values in (
        [2**25 - 1] * 16_384 + [2**25 - 1],  # a full piece of the largest narrow samples
        [2**25] * 16_384,  # the smallest ones whose squares add up to 64 bits and one
        list(range(40_000)) + [2**33] * 20_000,
    ):
        found = Moments.of(np.array(values, dtype=np.uint64))
        assert found == Moments(len(values), sum(values), sum(value * value for value in values))


def test_moments_add_up_and_take_weights() -> None:
    whole = Moments.of(np.array([1, 2, 3, 4], dtype=np.uint64))
    parts = Moments.of(np.array([1, 4], dtype=np.uint64)) + Moments.of(
        np.array([2, 3], dtype=np.uint64)
    )
    assert parts == whole == Moments(4, 10, 30)
    assert whole * 3 == Moments(12, 30, 90)
    assert (whole * 3).coefficient_of_variation() == whole.coefficient_of_variation()
    assert whole.coefficient_of_variation() == math.sqrt(0.2)  # variance 1.25 over mean 2.5²
    assert whole.mean() == 2.5
    assert (Moments().mean(), Moments().coefficient_of_variation()) == (0.0, 0.0)
    assert Moments.of(np.zeros(3, dtype=np.uint64)).coefficient_of_variation() == 0.0
