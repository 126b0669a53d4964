# SPDX-License-Identifier: GPL-2.0-only
"""Patterns over time: what holds, what fails and where, what is passed over, what is in doubt."""

import math
from collections.abc import Callable, Sequence

import pytest

from ktstr.series.field import Number, SeriesField
from ktstr.series.phase import Phase
from ktstr.series.values import SnapshotError
from ktstr.verdict import (
    AssertResult,
    DetailKind,
    SeriesClaim,
    Verdict,
    frac_pair,
    phase_label,
    ratio_across_phases,
    zip_per_phase,
)
from ktstr.verdict.detail import TEMPORAL_VOCABULARY, PassDetail

NAN, INF = math.nan, math.inf
GONE = SnapshotError("no map\n'x'")
S0, S1 = Phase.step(0), Phase.step(1)
U64 = 1 << 64

Values = Sequence[Number | SnapshotError]
Ask = Callable[[SeriesClaim], object]


def series(values: Values, times: Sequence[int | None] | None = None) -> SeriesField[Number]:
    """Samples p0, p1 ... at 100, 200 ... ms, the first two of Step[0], all others of Step[1]."""
    count = len(values)
    return SeriesField.from_parts_with_phases(
        "nr",
        [f"p{i}" for i in range(count)],
        [100 * (i + 1) for i in range(count)] if times is None else times,
        values,
        [S0 if i < 2 else S1 for i in range(count)],
    )


def judged(ask: Ask, values: Values, times: Sequence[int | None] | None = None) -> AssertResult:
    result = AssertResult()
    ask(SeriesClaim(result, series(values, times)))
    for detail in (*result.failure_details(), *result.inconclusive_details()):
        assert detail.kind is DetailKind.TEMPORAL
    return result


def failures(result: AssertResult) -> list[str]:
    return [detail.message for detail in result.failure_details()]


def doubts(result: AssertResult) -> list[str]:
    return [detail.message for detail in result.inconclusive_details()]


def notes(result: AssertResult) -> list[str]:
    return [note.message for note in result.info_notes]


def held(result: AssertResult) -> list[tuple[str, str, str, str | None]]:
    """Confirmations; there must be nothing but them, and notes."""
    assert result.outcomes == []
    return [(p.name, p.comparator, p.value, p.expected) for p in result.passes]


def nothing(result: AssertResult) -> str:
    """The only note of a pattern that judged nothing."""
    assert result.nothing_evaluated()
    (note,) = notes(result)
    return note


def nondecreasing(claim: SeriesClaim) -> object:
    return claim.nondecreasing()


def increasing(claim: SeriesClaim) -> object:
    return claim.strictly_increasing()


# Order.


@pytest.mark.parametrize(
    ("ask", "name", "values"),
    [
        (nondecreasing, "nondecreasing", [1, 1, 2]),
        (nondecreasing, "nondecreasing", [-INF, 0.5, INF]),
        (increasing, "strictly_increasing", [1, 2, 3]),
        (increasing, "strictly_increasing", [U64 - 3, U64 - 2, U64 - 1]),
    ],
)
def test_order_holds(ask: Ask, name: str, values: Values) -> None:
    assert held(judged(ask, values)) == [("nr", name, "2 pairs", None)]
    assert name in TEMPORAL_VOCABULARY


def test_a_fall_names_both_samples() -> None:
    result = judged(nondecreasing, [3, 5, 4, 4])
    assert failures(result) == [
        (
            "nr (nondecreasing): regression at sample p2 (+300ms, Step[1]): value 4 "
            "after prior value 5 at sample p1 (+200ms, Step[0])"
        )
    ]
    assert result.failure_details()[0].phase == "Step[1]"
    assert result.passes == []


def test_every_fall_is_told() -> None:
    found = failures(judged(nondecreasing, [9, 8, 8, 7]))
    assert ["p1" in found[0], "p3" in found[1], len(found)] == [True, True, 2]


def test_standing_still_is_no_increase() -> None:
    (message,) = failures(judged(increasing, [1, 2, 2]))
    assert message.startswith("nr (strictly_increasing): no increase at sample p2")
    (message,) = failures(judged(increasing, [1, 2, 1]))
    assert message.startswith("nr (strictly_increasing): regression at sample p2")


@pytest.mark.parametrize("values", [[1.0, NAN], [NAN, 1.0]])
@pytest.mark.parametrize("ask", [nondecreasing, increasing])
def test_nan_has_no_order(ask: Ask, values: Values) -> None:
    (message,) = failures(judged(ask, values))
    assert "incomparable at sample p1" in message


def test_a_gap_is_not_bridged() -> None:
    result = judged(nondecreasing, [5, GONE, 3, 4])
    assert held(result) == [("nr", "nondecreasing", "1 pair", None)]
    assert notes(result) == [
        "nr (nondecreasing): skipped 2 of 3 pairs: p1 (+200ms, Step[0]): no map 'x'"
    ]


def test_a_gap_hides_no_fall_beside_it() -> None:
    result = judged(nondecreasing, [5, GONE, 3, 2])
    assert len(failures(result)) == 1 and len(notes(result)) == 1


@pytest.mark.parametrize("ask", [nondecreasing, increasing, lambda c: c.rate_within(0, 1)])
def test_nothing_but_gaps(ask: Ask) -> None:
    assert "skipped 2 of 2 pairs: p0 (+100ms, Step[0]), p1" in nothing(judged(ask, [GONE] * 3))


@pytest.mark.parametrize("ask", [nondecreasing, increasing, lambda c: c.rate_within(0, 1)])
@pytest.mark.parametrize(("values", "words"), [([], "no sample"), ([1], "only one sample")])
def test_order_and_rate_need_two(ask: Ask, values: Values, words: str) -> None:
    note = nothing(judged(ask, values))
    assert words in note and "num_snapshots of 2 or more" in note


def test_reasons_are_grouped_and_bounded() -> None:
    errors: Values = [SnapshotError(f"reason {i // 5}") for i in range(25)]
    (note,) = notes(judged(nondecreasing, errors))
    assert "p3 (+400ms, Step[1]) and 1 more: reason 0;" in note
    assert "reason 3" in note and "reason 4" not in note
    assert note.endswith("; and 1 more reasons")
    (note,) = notes(judged(nondecreasing, [SnapshotError(f"reason {i // 4}") for i in range(16)]))
    assert "reason 3" in note and "more" not in note


@pytest.mark.parametrize("ask", [nondecreasing, increasing, lambda c: c.rate_within(0, 1)])
def test_two_samples_are_enough_and_one_gap_is_not(ask: Ask) -> None:
    assert notes(judged(ask, [1, 2])) == []
    assert "only one sample" in nothing(judged(ask, [GONE]))


# Rate.


def test_rates_within_their_limits() -> None:
    result = judged(lambda c: c.rate_within(0.5, 2), [0, 50, 250], [0, 100, 200])
    assert held(result) == [("nr", "rate_within", "2 pairs", "[0.5, 2] per ms")]


def test_limits_of_one_value() -> None:
    assert held(judged(lambda c: c.rate_within(1, 1), [0, 100]))
    assert held(judged(over([2], 2, 2), [4]))
    assert held(judged(lambda c: c.each.between(1, 1), [1]))


def test_what_is_hardly_outside_is_not_rounded_into_the_limits() -> None:
    (message,) = failures(judged(over([10_000_000], 0, 1), [10_000_001]))
    assert "ratio 1.0000001 at sample" in message
    (message,) = failures(judged(over([10_000_000], 1, 2), [9_999_999]))
    assert "ratio 0.9999999 at sample" in message
    (message,) = failures(judged(over([3], 0, 1), [10]))
    assert "ratio 3.33333 at sample" in message


@pytest.mark.parametrize(("value", "rate"), [(151, "1.01"), (49, "-0.01")])
def test_a_rate_outside(value: int, rate: str) -> None:
    result = judged(lambda c: c.rate_within(0, 1), [50, 50, value, value], [0, 100, 200, 300])
    assert failures(result) == [
        (
            f"nr (rate_within): rate {rate} per ms is outside [0, 1] between sample "
            f"p1 (+100ms, Step[0]), value 50, and sample p2 (+200ms, Step[1]), value {value}"
        )
    ]
    assert result.failure_details()[0].phase == "Step[1]"


@pytest.mark.parametrize("times", [[100, 100], [100, 99]])
def test_no_time_no_rate(times: Sequence[int]) -> None:
    result = judged(lambda c: c.rate_within(0, 1), [1, 2], times)
    assert failures(result) == [] and result.passes == []
    (message,) = doubts(result)
    assert f"{times[1] - times[0]} ms passed between sample p0" in message


def test_unknown_time_no_rate() -> None:
    (message,) = doubts(judged(lambda c: c.rate_within(0, 1), [1, 2], [100, None]))
    assert "unknown time passed" in message and "p1 (time unknown, Step[0])" in message


@pytest.mark.parametrize("values", [[1.0, INF], [1.0, NAN], [-1.7e308, 1.7e308]])
def test_a_rate_that_is_not_finite(values: Values) -> None:
    (message,) = failures(judged(lambda c: c.rate_within(-INF, INF), values))
    assert "the rate is not finite" in message


def test_a_rate_over_a_gap_is_not_taken() -> None:
    result = judged(lambda c: c.rate_within(0, 1), [0, GONE, 900, 950], [0, 100, 200, 300])
    assert held(result) == [("nr", "rate_within", "1 pair", "[0, 1] per ms")]
    assert "skipped 2 of 3 pairs" in notes(result)[0]


# Steady.


def steady(warmup: int, tolerance: float) -> Ask:
    return lambda claim: claim.steady_within(warmup, tolerance)


def test_steady_after_the_warm_up() -> None:
    # From 200 ms on: 90, 110, 100 with mean 100; the 0 before is of the warm-up.
    result = judged(steady(200, 0.1), [0, 90, 110, 100])
    assert held(result) == [("nr", "steady_within", "3 samples", "mean ± 0.1 of it")]


def test_a_limit_is_inside() -> None:
    # Mean 8, band 6 to 10: both ends are there.
    assert held(judged(steady(0, 0.25), [6, 10]))
    assert len(failures(judged(steady(0, 0.2499), [6, 10]))) == 2


def test_what_leaves_the_band() -> None:
    # Mean (10 + 10 + 16) / 3 = 12, band 9.6 to 14.4.
    result = judged(steady(100, 0.2), [10, 10, 16])
    assert failures(result) == [
        (
            "nr (steady_within): value 16 at sample p2 (+300ms, Step[1]) is outside "
            "[9.6, 14.4], the mean 12 ± 0.2 of it"
        )
    ]


def test_a_negative_mean_has_an_upright_band() -> None:
    assert held(judged(steady(0, 0.1), [-9.5, -10.5]))
    (low, high) = failures(judged(steady(0, 0.1), [-8, -12]))
    assert "[-11, -9]" in low and "[-11, -9]" in high


@pytest.mark.parametrize("value", [0.1, 1e308, -0.7, 0])
def test_a_constant_is_steady_without_tolerance(value: Number) -> None:
    assert held(judged(steady(0, 0), [value] * 7))


@pytest.mark.parametrize("tolerance", [-0.1, NAN, INF])
def test_a_tolerance_that_is_none(tolerance: float) -> None:
    (message,) = failures(judged(steady(0, tolerance), [1, 1]))
    assert "caller error" in message


def test_steady_passes_over_what_has_no_value() -> None:
    result = judged(steady(0, 0.5), [GONE, NAN, INF, 4, 4], [0, 100, 200, None, 400])
    assert held(result) == [("nr", "steady_within", "1 sample", "mean ± 0.5 of it")]
    (note,) = notes(result)
    for words in ("skipped 4 of 5 samples", "no map 'x'", "its value is nan", "of the warm-up"):
        assert words in note


@pytest.mark.parametrize(("values", "count"), [([], 1), ([1, 2], 1), ([1, GONE], 1)])
def test_nothing_after_the_warm_up(values: Values, count: int) -> None:
    result = judged(steady(201, 0.5), values)
    assert nothing(result).endswith("for want of anything to judge")
    assert len(notes(result)) == count


def test_only_gaps_after_the_warm_up() -> None:
    result = judged(steady(200, 0.5), [1, GONE])
    assert result.nothing_evaluated()
    assert "skipped 1 of 1 samples" in notes(result)[0]
    assert "no sample after the warm-up has a value" in notes(result)[1]


# Convergence.


def converges(deadline: int = 500, target: float = 10, tolerance: float = 1) -> Ask:
    return lambda claim: claim.converges_to(target, tolerance, deadline)


def test_three_in_a_row_by_the_deadline() -> None:
    result = judged(converges(500), [0, 5, 9, 11, 10, 99])
    assert held(result) == [("nr", "converges_to", "5 samples", "10 ± 1 by 500 ms")]


@pytest.mark.parametrize(
    ("values", "row"),
    [
        ([0, 0, 10, 10, 0, 10], 2),
        ([10, 10, 8.999, 10, 10], 2),
        ([10, 10, 11.001, 10, 10], 2),
        ([10, 10, NAN, 10, 10], 2),
        ([0, 0, 0, 10, 10, 10], 2),  # the third comes after the deadline
    ],
)
def test_no_three_in_a_row(values: Values, row: int) -> None:
    (message,) = failures(judged(converges(), values))
    assert f"no 3 samples in a row within 10 ± 1 by 500 ms: of 5 the longest row was {row}" in (
        message
    )
    assert message.endswith(f"the last value {values[4]} at sample p4 (+500ms, Step[1])")


def test_a_gap_breaks_the_row_and_is_named() -> None:
    (message,) = failures(judged(converges(), [10, 10, GONE, 10, 10]))
    assert message.endswith("; without a value: p2 (+300ms, Step[1]): no map 'x'")


def test_an_unknown_time_breaks_the_row() -> None:
    (message,) = failures(judged(converges(), [10, 10, 10, 10], [1, 2, None, 4]))
    assert "p2 (time unknown, Step[1]): it may be after the deadline" in message


def test_too_few_to_converge() -> None:
    for values in ([], [10, 10], [10, 10, GONE], [10, 10, 10]):
        result = judged(converges(250), values)
        assert result.nothing_evaluated()
        assert "insufficient samples" in notes(result)[0]


def test_exactly_at_the_deadline_is_in_time() -> None:
    assert held(judged(converges(300), [10, 10, 10]))


@pytest.mark.parametrize(("target", "tolerance"), [(10, -1), (NAN, 1), (INF, 1), (10, NAN)])
def test_no_band(target: float, tolerance: float) -> None:
    (message,) = failures(judged(converges(500, target, tolerance), [10, 10, 10]))
    assert "caller error" in message


# Ratio.


def over(other: Values, low: float = 0.5, high: float = 2) -> Ask:
    field = SeriesField("other", series(other).points)
    return lambda claim: claim.ratio_within(field, low, high)


def test_ratios_within_their_limits() -> None:
    assert held(judged(over([2, 1]), [1, 2])) == [
        ("nr", "ratio_within", "2 pairs", "[0.5, 2] of other")
    ]


@pytest.mark.parametrize(("value", "ratio"), [(9, "2.25"), (1, "0.25")])
def test_a_ratio_outside(value: int, ratio: str) -> None:
    assert failures(judged(over([4, 4, 4]), [4, 4, value])) == [
        (
            f"nr (ratio_within): ratio {ratio} at sample p2 (+300ms, Step[1]) is outside [0.5, 2]: "
            f"nr {value} over other 4"
        )
    ]


def test_over_zero_there_is_no_ratio() -> None:
    result = judged(over([1, 0]), [1, 1])
    (message,) = doubts(result)
    assert "no ratio at sample p1" in message and result.passes == []


@pytest.mark.parametrize("value", [NAN, INF])
def test_a_ratio_that_is_not_finite(value: float) -> None:
    (message,) = failures(judged(over([1.0], -INF, INF), [value]))
    assert "not finite" in message


@pytest.mark.parametrize(("these", "those"), [([1, GONE], [1, 1]), ([1, 1], [1, GONE])])
def test_a_gap_on_either_side(these: Values, those: Values) -> None:
    result = judged(over(those), these)
    assert held(result) == [("nr", "ratio_within", "1 pair", "[0.5, 2] of other")]
    assert "skipped 1 of 2 pairs: p1 (+200ms, Step[0]): no map 'x'" in notes(result)[0]


def test_series_that_do_not_belong_together() -> None:
    (message,) = failures(judged(over([1]), [1, 2]))
    assert "caller error: 2 samples over 1 of other" in message


def test_ratios_of_nothing() -> None:
    assert "no sample" in nothing(judged(over([]), []))
    assert "skipped 1 of 1 pairs" in nothing(judged(over([GONE]), [1]))


@pytest.mark.parametrize(
    "ask", [over([1, 1], 2, 1), over([1, 1], NAN, 1), lambda c: c.rate_within(2, 1)]
)
def test_inverted_intervals(ask: Ask) -> None:
    (message,) = failures(judged(ask, [1, 1]))
    assert "caller error: interval inverted" in message


# Every single sample.


def test_always_true() -> None:
    def ask(claim: SeriesClaim) -> object:
        return claim.always_true()

    assert held(judged(ask, [True, True])) == [("nr", "always_true", "2 samples", None)]
    result = judged(ask, [True, False, GONE])
    assert failures(result) == [
        "nr (always_true): false at sample p1 (+200ms, Step[0])",
        "nr (always_true): no value at sample p2 (+300ms, Step[1]): no map 'x'",
    ]
    assert "no sample" in nothing(judged(ask, []))


@pytest.mark.parametrize(
    ("ask", "comparator", "words"),
    [
        (lambda c: c.each.at_least(2), "ge", "at least 2"),
        (lambda c: c.each.at_most(4), "le", "at most 4"),
        (lambda c: c.each.between(2, 4), "in_range", "between 2 and 4"),
    ],
)
def test_each(ask: Ask, comparator: str, words: str) -> None:
    assert held(judged(ask, [2, 3, 4])) == [("nr", comparator, "3 samples", words)]
    outside = 1 if comparator == "ge" else 5
    assert failures(judged(ask, [3, outside, 3])) == [
        f"nr (each): expected {words}, was {outside} at sample p1 (+200ms, Step[0])"
    ]
    (gone, nan) = failures(judged(ask, [GONE, 3, NAN]))
    assert "no value at sample p0 (+100ms, Step[0]): no map 'x'" in gone
    assert "nan at sample p2 (+300ms, Step[1]) is incomparable" in nan
    assert "no sample" in nothing(judged(ask, []))


def test_between_fails_on_both_sides() -> None:
    assert len(failures(judged(lambda c: c.each.between(2, 4), [1, 5]))) == 2


@pytest.mark.parametrize(("low", "high"), [(4, 2), (NAN, 2)])
def test_each_between_inverted(low: float, high: float) -> None:
    (message,) = failures(judged(lambda c: c.each.between(low, high), [3, GONE]))
    assert "caller error: interval inverted" in message


def test_limits_beyond_a_float_are_exact() -> None:
    assert failures(judged(lambda c: c.each.at_most(U64 - 2), [U64 - 1]))
    assert held(judged(lambda c: c.each.at_most(U64 - 1), [U64 - 1]))


# Phases.


def across(values: dict[Phase, Number], ceiling: float = 1.5) -> AssertResult:
    result = AssertResult()
    ratio_across_phases(result, values, "nr", S0, S1).at_most(ceiling)
    return result


def test_a_ratio_at_its_ceiling_holds_and_is_noted() -> None:
    result = across({S0: 2, S1: 3})
    assert result.passes == [PassDetail("nr", "le", "1.5", "1.5", "Step[1]")]
    assert notes(result) == [
        "nr (ratio_across_phases): Step[1] over Step[0] is 1.5 (3 over 2), at most 1.5 is allowed"
    ]
    assert result.info_notes[0].phase == "Step[1]"


def test_a_ratio_above_its_ceiling() -> None:
    assert failures(across({S0: 2, S1: 4})) == [
        "nr (ratio_across_phases): expected Step[1] over Step[0] at most 1.5, was 2 (4 over 2)"
    ]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({S0: 1}, "no value in Step[1]"),
        ({S1: 1}, "no value in Step[0]"),
        ({S0: 0, S1: 0}, "Step[0] is 0"),
    ],
)
def test_phases_without_a_ratio(values: dict[Phase, Number], words: str) -> None:
    result = across(values)
    (message,) = doubts(result)
    assert words in message
    assert failures(result) == [] and result.passes == []


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_phases_without_a_finite_ratio(value: float) -> None:
    (message,) = failures(across({S0: 1.0, S1: value}))
    assert "not finite" in message


def test_a_series_last_values_are_compared() -> None:
    def ask(ceiling: float) -> Ask:
        return lambda claim: claim.ratio_across_phases(S0, S1).at_most(ceiling)

    values: Values = [9, 2, 9, 5, GONE]  # last good ones: 2 and 5
    assert judged(ask(2.5), values).passes
    assert "was 2.5 (5 over 2)" in failures(judged(ask(2.4), values))[0]


def test_figures_per_phase_put_together() -> None:
    these, those = {S1: 5, S0: 1}, {Phase.BASELINE: 7, S1: 2, S0: 3}
    assert zip_per_phase(these, those, lambda a, b: a - b) == {S0: -2, S1: 3}
    assert list(zip_per_phase(these, those, max)) == [S0, S1]
    assert frac_pair(these, those) == {S0: 0.25, S1: 5 / 7}
    assert frac_pair({S0: 0, S1: 1}, {S0: 0}) == {}


# Claims.


def test_a_claim_goes_on_and_gives_its_reason() -> None:
    logged: list[PassDetail] = []
    verdict = Verdict(log_passes=logged.append)
    claim = verdict.claim_series(series([1, 2, 1])).nondecreasing().strictly_increasing()
    claim.because("it counts").rate_within(-1, 1)
    result = verdict.into_result()
    assert [message.endswith(" (it counts)") for message in failures(result)] == [True, True]
    assert (
        [passed.comparator for passed in logged]
        == ["rate_within"]
        == [passed.comparator for passed in result.passes]
    )


def test_samples_without_a_phase_take_the_block_they_are_judged_in() -> None:
    result = AssertResult()
    with phase_label("here"):
        SeriesClaim(
            result, SeriesField.from_parts("nr", ["a", "b"], [1, 2], [2, 1])
        ).nondecreasing()
    (detail,) = result.failure_details()
    assert detail.phase == "here"
    assert "sample b (+2ms): value 1" in detail.message
