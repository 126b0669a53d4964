# SPDX-License-Identifier: GPL-2.0-only
"""A figure over samples: what each accessor gives, and what a sample without a value becomes."""

import math

import numpy as np
import pytest

from ktstr.metrics.aggregate import aggregate_samples
from ktstr.metrics.kinds import DeltaSum
from ktstr.metrics.phase import Phase as PhaseOfMetrics
from ktstr.metrics.registry import metric_def
from ktstr.metrics.series_field import aggregate_by_phase
from ktstr.series.field import SeriesField
from ktstr.series.phase import Phase
from ktstr.series.values import SnapshotError

GONE = SnapshotError("no map 'x'")
B, S0, S1 = Phase.BASELINE, Phase.step(0), Phase.step(1)

FIELD: SeriesField[int] = SeriesField.from_parts_with_phases(
    "nr",
    ["p0", "p1", "p2", "p3", "p4", "p5"],
    [0, 10, 20, 30, None, 50],
    [GONE, 5, 9, GONE, 4, 7],
    [B, S1, S1, S0, None, S0],
)


def test_one_phase_class_for_all() -> None:
    assert PhaseOfMetrics is Phase


def test_columns() -> None:
    assert (FIELD.label, len(FIELD), FIELD.is_empty) == ("nr", 6, False)
    assert list(FIELD.values_iter()) == [GONE, 5, 9, GONE, 4, 7]
    assert list(FIELD.phases_iter()) == [B, S1, S1, S0, None, S0]
    assert list(FIELD.iter_full())[1:3] == [("p1", 10, 5), ("p2", 20, 9)]
    assert SeriesField[int]("x", []).is_empty
    assert repr(FIELD) == "SeriesField('nr', 6 samples)"


def test_columns_are_of_one_length() -> None:
    with pytest.raises(ValueError, match=r"'nr'.*2 tags, 1 elapsed_ms, 2 values, 2 phases"):
        SeriesField.from_parts_with_phases("nr", ["a", "b"], [1], [1, 2], [None, None])


def test_without_phases() -> None:
    field = SeriesField.from_parts("nr", ["a"], [1], [2])
    assert list(field.phases_iter()) == [None]


def test_samples_in_words() -> None:
    words = [point.where for point in FIELD]
    assert words[1] == "p1 (+10ms, Step[1])"
    assert words[4] == "p4 (time unknown)"
    assert words[0] == "p0 (+0ms, BASELINE)"
    assert [point.good for point in FIELD] == [False, True, True, False, True, True]


def test_partition_by_phase() -> None:
    parts, unstamped = FIELD.by_phase()
    assert list(parts) == [B, S0, S1]
    assert [list(part.values_iter()) for part in parts.values()] == [[GONE], [GONE, 7], [5, 9]]
    assert list(unstamped.iter_full()) == [("p4", None, 4)]
    assert {part.label for part in parts.values()} == {"nr"}
    seen: list[tuple[Phase, int]] = []
    FIELD.for_each_phase(lambda phase, part: seen.append((phase, len(part))))
    assert seen == [(B, 1), (S0, 2), (S1, 2)]
    assert [point.tag for point in FIELD.phase(S0)] == ["p3", "p5"]
    assert FIELD.phase(Phase.step(5)).is_empty


def test_one_value_per_phase() -> None:
    assert FIELD.last_per_phase() == {S0: 7, S1: 9}
    assert list(FIELD.last_per_phase()) == [S0, S1]
    assert FIELD.first_per_phase() == {S0: 7, S1: 5}
    assert FIELD.value_at_phase(S1) == 9
    assert FIELD.value_at_phase(B) is None


def test_a_value_of_zero_is_one() -> None:
    field = SeriesField.from_parts_with_phases("z", ["a", "b"], [1, 2], [3, 0], [S0, S0])
    assert field.value_at_phase(S0) == 0


def test_counter_deltas() -> None:
    notes: list[str] = []
    assert FIELD.counter_delta_per_phase(notes) == {S0: 0, S1: 4}
    assert notes == []


def test_a_counter_that_went_backward_made_no_progress() -> None:
    field = SeriesField.from_parts_with_phases("nr", ["a", "b"], [1, 2], [9.5, 2.5], [S1, S1])
    notes: list[str] = []
    assert field.counter_delta_per_phase(notes) == {S1: 0.0}
    (note,) = notes
    assert note.startswith("nr went backward in Step[1], from 9.5 to 2.5")
    assert field.counter_delta_per_phase() == {S1: 0.0}


def test_a_metric_of_every_phase() -> None:
    values: list[float | SnapshotError] = [GONE, 2.0, 3.0, math.nan, 5.0, 7.0]
    field = SeriesField.from_parts_with_phases(
        "d", ["a"] * 6, [0] * 6, values, [B, S0, S0, S1, None, S0]
    )
    depth, total = metric_def("max_dsq_depth"), metric_def("total_fallback")
    assert depth is not None and total is not None
    assert aggregate_by_phase(field, depth) == {S0: 7.0}
    assert aggregate_by_phase(field, total) == {S0: 5.0}  # a counter: last minus first
    assert aggregate_samples([2.0, 3.0, 7.0], DeltaSum()) == 12.0


def test_arrays_hold_nan_for_what_is_missing() -> None:
    times, values = FIELD.to_numpy()
    assert times.dtype == values.dtype == np.float64
    np.testing.assert_array_equal(times, [0, 10, 20, 30, np.nan, 50])
    np.testing.assert_array_equal(values, [np.nan, 5, 9, np.nan, 4, 7])
    assert [len(part) for part in SeriesField[int]("x", []).to_numpy()] == [0, 0]


def test_records_keep_every_bit() -> None:
    big = (1 << 64) - 1
    field = SeriesField.from_parts_with_phases("b", ["a", "b"], [1, None], [big, GONE], [S1, None])
    assert field.to_records() == [
        {"tag": "a", "elapsed_ms": 1, "phase": "Step[1]", "value": big, "error": None},
        {"tag": "b", "elapsed_ms": None, "phase": None, "value": None, "error": "no map 'x'"},
    ]
