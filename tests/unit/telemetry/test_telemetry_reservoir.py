# SPDX-License-Identifier: GPL-2.0-only
"""The weighted merge against a sequential list version written from the seed's description."""

import numpy as np
import pytest

from ktstr.telemetry import MAX_WAKE_SAMPLES, weighted_merge_reservoirs
from ktstr.telemetry.reservoir import merge_reservoirs
from ktstr.telemetry.xorshift import xorshift64_stream

MASK = 2**64 - 1


def slow_step(x: int) -> int:
    x ^= (x << 13) & MASK
    x ^= x >> 7
    x ^= (x << 17) & MASK
    return x


def slow_merge(a: list[int], w_a: int, b: list[int], w_b: int, cap: int) -> list[int]:
    def rotl(x: int, n: int) -> int:
        return ((x << n) | (x >> (64 - n))) & MASK

    state = ((w_a ^ rotl(w_b, 32) ^ rotl(len(a), 16) ^ len(b)) * 0x9E3779B97F4A7C15) & MASK
    if state == 0:
        state = 0x9E3779B97F4A7C15
    share, whole = (len(a), len(a) + len(b)) if w_a == 0 and w_b == 0 else (w_a, w_a + w_b)
    out = []
    for _ in range(cap):
        state = slow_step(state)
        first = bool(a) and (not b or state % whole < share)
        state = slow_step(state)
        source = a if first else b
        out.append(source[state % len(source)])
    return out


def u64(values: list[int]) -> np.ndarray:
    return np.array(values, dtype=np.uint64)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 63, 64, 65, 127, 128, 129, 1000, 8193])
def test_the_stream_is_the_sequential_one(count: int) -> None:
    state, expected = 0x1234_5678_9ABC_DEF0, []
    for _ in range(count):
        state = slow_step(state)
        expected.append(state)
    assert xorshift64_stream(0x1234_5678_9ABC_DEF0, count).tolist() == expected


def test_a_capped_merge_draw_by_draw() -> None:
    a, b = list(range(MAX_WAKE_SAMPLES)), list(range(10**6, 10**6 + 70_000))
    merged = merge_reservoirs(u64(a), 123_457, u64(b), 7_654_321)
    assert merged.tolist() == slow_merge(a, 123_457, b, 7_654_321, MAX_WAKE_SAMPLES)


def test_a_merge_below_the_cap_copies_nothing_it_need_not() -> None:
    some = u64([3, 1])
    assert merge_reservoirs(some, 2, u64([]), 0) is some
    assert merge_reservoirs(u64([]), 0, some, 2) is some
    assert merge_reservoirs(some, 2, u64([9]), 1).tolist() == [3, 1, 9]


@pytest.mark.parametrize(
    ("a", "w_a", "b", "w_b"),
    [
        ([1, 2, 3], 3, [10, 20], 2),
        ([1, 2, 3], 300_000, [10, 20], 5),
        (list(range(500)), 2**40, list(range(1000, 1400)), 2**41 + 7),
        ([1, 2, 3], 0, [10, 20], 0),
        ([1, 2, 3], 0, [10, 20], 9),
        ([1, 2, 3], 9, [10, 20], 0),
        ([], 0, [10, 20], 9),
        ([1, 2], 5, [], 0),
        ([1, 2], 2**63, [9], 2**63 - 1),
    ],
)
def test_draw_by_draw(a: list[int], w_a: int, b: list[int], w_b: int) -> None:
    merged = weighted_merge_reservoirs(u64(a), w_a, u64(b), w_b, 301)
    assert merged.tolist() == slow_merge(a, w_a, b, w_b, 301)


def test_a_zero_seed_falls_back_to_the_constant() -> None:
    # w_a chosen so that all terms cancel: w_a ^ 0 ^ (3 << 16) ^ 2 == 0; a stream of zeros would
    # draw nothing but the first sample.
    w_a = (3 << 16) ^ 2
    merged = weighted_merge_reservoirs(u64([5, 6, 7]), w_a, u64([8, 9]), 0, 50)
    assert merged.tolist() == slow_merge([5, 6, 7], w_a, [8, 9], 0, 50)
    assert set(merged.tolist()) == {5, 6, 7}


def test_two_empty_sources_give_nothing() -> None:
    assert len(weighted_merge_reservoirs(u64([]), 4, u64([]), 4, 10)) == 0


def test_the_split_follows_the_populations_not_the_lengths() -> None:
    small = weighted_merge_reservoirs(u64([1] * 1000), 1_000, u64([2] * 1000), 9_000, 20_000)
    assert 0.08 < float(np.mean(small == 1)) < 0.12


def test_weights_beyond_64_bits_keep_their_ratio() -> None:
    merged = weighted_merge_reservoirs(u64([1]), MASK, u64([2]), MASK, 20_000)
    assert 0.47 < float(np.mean(merged == 1)) < 0.53
