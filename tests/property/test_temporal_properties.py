# SPDX-License-Identifier: GPL-2.0-only
"""What has to be true of patterns over time whatever the values are."""

from fractions import Fraction
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from ktstr.series.field import Number, SeriesField
from ktstr.series.phase import Phase
from ktstr.series.values import SnapshotError
from ktstr.verdict import AssertResult, SeriesClaim

WHOLE = st.integers(0, (1 << 64) - 1)
SMALL = st.integers(-50, 50)
GAP = st.builds(SnapshotError, st.just("gone"))


def series(values: list[Number | SnapshotError], times: list[int] | None = None) -> SeriesClaim:
    count = len(values)
    field: SeriesField[Number] = SeriesField.from_parts_with_phases(
        "x",
        [f"p{i:03d}" for i in range(count)],
        list(range(count)) if times is None else times,
        values,
        [Phase(i % 3) for i in range(count)],
    )
    return SeriesClaim(AssertResult(), field)


def messages(claim: SeriesClaim) -> list[str]:
    return [detail.message for detail in claim._result.failure_details()]


def verdict(claim: SeriesClaim) -> tuple[str, int, int]:
    result = claim._result
    return result.outcome().name, len(result.outcomes), len(result.passes)


@given(st.lists(SMALL | st.floats(), min_size=2, max_size=20))
def test_nondecreasing_is_being_sorted(values: list[Number]) -> None:
    claim = series(list(values)).nondecreasing()
    in_order = all(before <= after for before, after in pairwise(values))
    assert (not messages(claim)) == in_order
    if all(value == value for value in values):
        assert in_order == (list(values) == sorted(values))


@given(st.lists(SMALL, min_size=2, max_size=20))
def test_strictly_increasing_is_being_sorted_without_twins(values: list[int]) -> None:
    claim = series(list(values)).strictly_increasing()
    assert (not messages(claim)) == (values == sorted(set(values)))


@given(st.lists(WHOLE, min_size=2, max_size=64), st.data())
def test_a_fall_anywhere_is_found_and_named(values: list[int], data: st.DataObject) -> None:
    counter = sorted(value + 1 for value in values)
    where = data.draw(st.integers(1, len(counter) - 1))
    counter[where] = counter[where - 1] - 1
    first = messages(series(list(counter)).nondecreasing())[0]
    assert f"regression at sample p{where:03d} (+{where}ms, {Phase(where % 3)})" in first
    assert f"value {counter[where]} after prior value {counter[where - 1]} " in first


@given(st.lists(SMALL | GAP, max_size=20))
def test_gaps_are_never_blamed(values: list[Number | SnapshotError]) -> None:
    judged = [
        (a, b)
        for a, b in pairwise(values)
        if not isinstance(a, SnapshotError) and not isinstance(b, SnapshotError)
    ]
    claim = series(values).nondecreasing()
    assert len(messages(claim)) == sum(1 for a, b in judged if b < a)
    assert claim._result.nothing_evaluated() == (not judged)
    missing = any(isinstance(value, SnapshotError) for value in values)
    if len(values) > 1:
        assert bool(claim._result.info_notes) == missing


@given(
    st.lists(st.tuples(SMALL | GAP, st.integers(0, 5)), max_size=20),
    st.integers(0, 10**9),
    SMALL,
)
def test_rates_do_not_depend_on_when_the_clock_began(
    steps: list[tuple[Number | SnapshotError, int]], shift: int, value_shift: int
) -> None:
    values = [value for value, _ in steps]
    times = [sum(dt for _, dt in steps[: i + 1]) for i in range(len(steps))]
    moved = [v if isinstance(v, SnapshotError) else v + value_shift for v in values]
    before = series(values, times).rate_within(-3, 4)
    after = series(moved, [time + shift for time in times]).rate_within(-3, 4)
    assert verdict(before) == verdict(after)


@given(st.lists(SMALL | st.floats(-1e300, 1e300), min_size=1, max_size=20), st.floats(0, 2))
def test_steady_is_no_further_from_the_mean(values: list[Number], tolerance: float) -> None:
    exact = [Fraction(value) for value in values]
    mean = sum(exact) / len(exact)
    outside = sum(1 for value in exact if abs(value - mean) > abs(mean) * Fraction(tolerance))
    assert len(messages(series(list(values)).steady_within(0, tolerance))) == outside


@given(st.lists(st.integers(-3, 3) | GAP, max_size=12), st.integers(0, 14))
def test_convergence_is_three_neighbours_in_the_band(
    values: list[Number | SnapshotError], deadline: int
) -> None:
    claim = series(values).converges_to(0, 1, deadline)
    in_time = values[: deadline + 1]
    near = [not isinstance(v, SnapshotError) and -1 <= v <= 1 for v in in_time]
    found = any(all(near[i : i + 3]) for i in range(len(near) - 2))
    known = sum(1 for value in in_time if not isinstance(value, SnapshotError))
    assert claim._result.nothing_evaluated() == (known < 3)
    assert bool(claim._result.passes) == found
    assert bool(messages(claim)) == (known >= 3 and not found)


@given(st.lists(SMALL | st.floats() | GAP, max_size=20), SMALL, st.integers(0, 40))
def test_each_is_about_every_sample(
    values: list[Number | SnapshotError], low: int, width: int
) -> None:
    claim = series(values)
    claim.each.between(low, low + width)
    good = [
        not isinstance(value, SnapshotError) and low <= value <= low + width for value in values
    ]
    assert len(messages(claim)) == good.count(False)
    assert bool(claim._result.passes) == (bool(values) and all(good))
