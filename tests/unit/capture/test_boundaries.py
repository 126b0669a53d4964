# SPDX-License-Identifier: GPL-2.0-only
"""Boundaries and the workload's clock, against figures worked out on paper."""

import pytest

from ktstr.capture.boundaries import (
    WorkloadClock,
    boundary_offsets_ms,
    periodic_tag,
    spacing_ms,
)


def test_three_boundaries_of_ten_seconds_are_at_three_five_and_seven() -> None:
    assert boundary_offsets_ms(10_000, 3) == pytest.approx((3000, 5000, 7000))


def test_no_snapshots_no_boundaries() -> None:
    assert boundary_offsets_ms(10_000, 0) == ()


def test_boundaries_lie_in_the_middle_eighty_per_cent_and_are_even() -> None:
    offsets = boundary_offsets_ms(13_000, 64)
    assert len(offsets) == 64
    assert offsets[0] == pytest.approx(1300 + 160)
    assert offsets[-1] == pytest.approx(0.9 * 13_000 - 160)


@pytest.mark.parametrize(
    ("duration_ms", "count", "words"),
    [(1000, 8, "89 ms apart"), (60_000, 65, "0 to 64"), (60_000, -1, "0 to 64")],
)
def test_what_is_refused_says_why(duration_ms: float, count: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        boundary_offsets_ms(duration_ms, count)


def test_exactly_one_hundred_milliseconds_apart_is_allowed() -> None:
    assert spacing_ms(1000, 7) == pytest.approx(100)
    assert len(boundary_offsets_ms(1000, 7)) == 7


def test_tags_are_zero_padded() -> None:
    assert (periodic_tag(0), periodic_tag(12)) == ("periodic_000", "periodic_012")


def test_the_clock_runs_while_a_step_is_held_and_only_then() -> None:
    clock = WorkloadClock()
    assert (clock.running, clock.elapsed_ms(99.0)) == (False, 0)
    clock.start(100.0)
    clock.start(101.0)
    assert clock.running
    assert clock.elapsed_ms(101.5) == pytest.approx(1500)
    clock.stop(102.0)
    clock.stop(105.0)
    assert not clock.running
    assert clock.elapsed_ms(109.0) == pytest.approx(2000)
    clock.start(110.0)
    assert clock.elapsed_ms(110.5) == pytest.approx(2500)
    assert clock.elapsed_ms(109.0) == pytest.approx(2000)
