# SPDX-License-Identifier: GPL-2.0-only
"""The latency histogram: hand-worked buckets, percentiles, merging, and the two forms."""

import struct

import numpy as np
import pytest

from ktstr.telemetry import Pct, PlatStats, RecordError, TelemetryError
from ktstr.telemetry.decode import Fields
from ktstr.telemetry.plat import PLAT_NR, bucket_of, value_of

U32_MAX = 2**32 - 1


def u64(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.uint64)


def counts(**buckets: int) -> np.ndarray:
    """``counts(b5=2)``: two samples in bucket 5."""
    dense = np.zeros(PLAT_NR, dtype=np.uint32)
    for name, count in buckets.items():
        dense[int(name[1:])] = count
    return dense


@pytest.mark.parametrize(
    ("value", "bucket", "middle"),
    [
        (0, 0, 0),
        (1, 1, 1),
        (255, 255, 255),
        (256, 256, 256),
        (511, 511, 511),
        (512, 512, 513),
        (513, 512, 513),
        (514, 513, 515),
        (1000, 756, 1001),
        (1023, 767, 1023),
        (1024, 768, 1026),
        (1027, 768, 1026),
        (1028, 769, 1030),
        (2**25, 4608, 2**25 + 2**16),
        (2**26 - 1, 4863, 67_043_328),
        (2**26, 4863, 67_043_328),
        (U32_MAX, 4863, 67_043_328),
    ],
)
def test_buckets_by_hand(value: int, bucket: int, middle: int) -> None:
    assert bucket_of(u64(value)).tolist() == [bucket]
    assert value_of(bucket) == middle


def test_there_are_4864_buckets_of_32_bits() -> None:
    empty = PlatStats()
    assert (empty.plat.dtype, empty.plat.shape) == (np.uint32, (4864,))
    with pytest.raises(ValueError, match="read-only"):
        empty.plat[0] = 1


def test_an_empty_histogram_has_samples_nowhere() -> None:
    empty = PlatStats.from_values(u64())
    assert empty == PlatStats()
    assert (empty.nr_samples, empty.min, empty.max) == (0, 0, 0)
    assert [empty.percentile(pct) for pct in Pct] == [0, 0, 0, 0, 0]


def test_percentiles_of_one_to_a_hundred() -> None:
    stats = PlatStats.from_values(np.arange(1, 101, dtype=np.uint64))
    assert (stats.nr_samples, stats.min, stats.max) == (100, 1, 100)
    assert {pct.name: stats.percentile(pct) for pct in Pct} == {
        "P20": 20,
        "P50": 50,
        "P90": 90,
        "P99": 99,
        "P999": 100,
    }


def test_percentiles_share_a_bucket_and_round_its_value() -> None:
    stats = PlatStats.from_values(u64(1, 1024, 1025, 1026, 1027))
    assert [stats.percentile(pct) for pct in Pct] == [1, 1026, 1026, 1026, 1026]


def test_the_rank_is_reached_not_rounded() -> None:
    # 999 of 1000 samples are exactly 99.9 %; of 1001 samples that takes the 1000th.
    ones = [1] * 999
    assert PlatStats.from_values(u64(*ones, 9)).percentile(Pct.P999) == 1
    assert PlatStats.from_values(u64(*ones, 9, 9)).percentile(Pct.P999) == 9


def test_zero_is_the_unset_minimum() -> None:
    stats = PlatStats.from_values(u64(0, 7, 0, 3))
    assert (stats.nr_samples, stats.min, stats.max) == (4, 3, 7)
    assert stats.plat[0] == 2
    assert PlatStats.from_values(u64(0)).min == 0


def test_values_beyond_32_bits_count_as_the_largest() -> None:
    stats = PlatStats.from_values(u64(2**64 - 1))
    assert (stats.max, stats.min, stats.plat[4863]) == (U32_MAX, U32_MAX, 1)


def test_combining_adds_buckets() -> None:
    a, b = PlatStats.from_values(u64(5, 5, 900)), PlatStats.from_values(u64(5, 2))
    both = a.combine(b)
    assert (both.nr_samples, both.min, both.max) == (5, 2, 900)
    assert (both.plat[5], both.plat[2], int(both.plat.sum())) == (3, 1, 5)
    assert a.combine(PlatStats()) == a == PlatStats().combine(a)


def test_full_buckets_and_counters_stay_full() -> None:
    a = PlatStats(counts(b5=U32_MAX - 1), 2**64 - 2, 5, 5)
    b = PlatStats.from_values(u64(5, 5, 5, 7))
    both = a.combine(b)
    assert (both.plat[5], both.plat[7], both.nr_samples) == (U32_MAX, 1, 2**64 - 1)
    assert both.percentile(Pct.P999) == 5


def test_wire_and_record_hold_the_buckets_that_are_used() -> None:
    stats = PlatStats.from_values(u64(3, 3, 600))
    wire = stats.to_wire()
    assert wire == {
        "plat": struct.pack("<4I", 3, 2, 556, 1),
        "nr_samples": 3,
        "max": 600,
        "min": 3,
    }
    assert PlatStats.read(Fields(wire, "w", error=TelemetryError)) == stats
    record = stats.to_record()
    pairs = record["plat"]
    assert isinstance(pairs, np.ndarray)
    assert (pairs.dtype, pairs.tolist()) == (np.uint64, [3, 2, 556, 1])
    assert PlatStats.from_record(record, "r") == stats


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"plat": b"1234567"}, "plat"),
        ({"plat": struct.pack("<2I", 4864, 1)}, "plat"),
        ({"plat": struct.pack("<2I", 3, 0)}, "plat"),
        ({"plat": struct.pack("<4I", 600, 1, 3, 2)}, "plat"),
        ({"plat": struct.pack("<4I", 3, 1, 3, 2)}, "plat"),
        ({"plat": bytes(8 * 4865)}, "plat"),
        ({"plat": [3, 2]}, "plat"),
        ({"plat": np.zeros(4864, dtype=np.uint32)}, "plat"),
        ({"plat": np.zeros(4864, dtype=np.uint64)}, "plat"),
        ({"plat": u64(3, 2, 556)}, "plat"),
        ({"plat": u64(3, 2**32)}, "plat"),
        ({"plat": u64(4864, 1)}, "plat"),
        ({"nr_samples": 2}, "nr_samples"),
        ({"nr_samples": 4}, "nr_samples"),
        ({"nr_samples": 2**64}, "nr_samples"),
        ({"max": 602}, "max"),
        ({"max": 2**32}, "max"),
        ({"min": 4}, "min"),
        ({"min": 601}, "min"),
        ({"extra": 1}, "extra"),
    ],
)
def test_a_hostile_histogram_is_refused(changes: dict[str, object], field: str) -> None:
    good = PlatStats.from_values(u64(3, 3, 600)).to_wire()
    with pytest.raises(TelemetryError, match="worker 9") as caught:
        PlatStats.read(Fields(good | changes, "worker 9", error=TelemetryError))
    assert caught.value.field == field
    with pytest.raises(RecordError, match="cg 4") as stored:
        PlatStats.from_record(good | changes, "cg 4")
    assert stored.value.field == field


def test_only_a_full_bucket_explains_uncounted_samples() -> None:
    full = PlatStats(counts(b5=U32_MAX), U32_MAX + 10, 5, 5)
    assert PlatStats.from_record(full.to_record(), "r") == full


def test_other_arrays_are_refused() -> None:
    with pytest.raises(TypeError, match="uint32"):
        PlatStats(np.zeros(PLAT_NR, dtype=np.uint64))
