# SPDX-License-Identifier: GPL-2.0-only
"""Merging capped uniform reservoirs (seed 001, ``weighted_merge_reservoirs``)."""

import numpy as np
import numpy.typing as npt

from ktstr.telemetry.vectors import MAX_WAKE_SAMPLES, U64_MAX, Samples, joined, no_samples
from ktstr.telemetry.xorshift import Lanes, xorshift64_lanes

GOLDEN = 0x9E37_79B9_7F4A_7C15


def merge_reservoirs(a: Samples, w_a: int, b: Samples, w_b: int) -> Samples:
    """Both reservoirs in one of at most :data:`MAX_WAKE_SAMPLES`.

    Every sample, in order, while they fit; beyond that draws from both populations.

    :param w_a: true population of ``a`` (``wake_sample_total``); ``w_b`` likewise.
    """
    if len(a) + len(b) > MAX_WAKE_SAMPLES:
        return weighted_merge_reservoirs(a, w_a, b, w_b, MAX_WAKE_SAMPLES)
    return joined(a, b)


def weighted_merge_reservoirs(a: Samples, w_a: int, b: Samples, w_b: int, cap: int) -> Samples:
    """``cap`` draws with replacement from the populations that ``a`` and ``b`` were sampled from.

    A slot takes ``a`` with probability ``w_a / (w_a + w_b)``, then a uniform index. The stream is
    seeded from the weights and lengths, so the merge is a function of its arguments. Two zero
    weights fall back to the lengths.

    :param w_a: true population of ``a`` (``wake_sample_total``); ``w_b`` likewise.
    """
    if len(a) == 0 and len(b) == 0:
        return no_samples()
    seed = w_a ^ _rotate_left(w_b, 32) ^ _rotate_left(len(a), 16) ^ len(b)
    lanes = xorshift64_lanes(seed * GOLDEN & U64_MAX or GOLDEN, 2 * cap)
    source, index = lanes[0::2], lanes[1::2]
    if len(a) == 0 or len(b) == 0:
        only = b if len(a) == 0 else a
        return _in_order(only.take(_position(index, len(only))), cap)
    weight_a, total = (len(a), len(a) + len(b)) if w_a == w_b == 0 else (w_a, w_a + w_b)
    while total > U64_MAX:  # a 64-bit draw cannot reach such a total: keep the ratio, halve both
        weight_a, total = weight_a >> 1, total >> 1
    from_b = _remainder(source, total) >= np.uint64(weight_a)
    position = _position(index, len(a))
    if len(a) != len(b):
        np.copyto(position, _position(index, len(b)), where=from_b)
    position += from_b * np.int64(len(a))
    return _in_order(np.concatenate((a, b)).take(position), cap)


def _in_order(drawn: Lanes, cap: int) -> Samples:
    """The first ``cap`` draws in the order of the stream."""
    return drawn.T.ravel()[:cap]


def _position(draws: Lanes, length: int) -> npt.NDArray[np.int64]:
    """Uniform positions in a vector, in the type that indexing wants."""
    return _remainder(draws, length).view(np.int64)


def _remainder(draws: Lanes, divisor: int) -> Lanes:
    """``draws % divisor``: numpy divides by one number several times faster than it takes rests."""
    rest: Lanes = draws // np.uint64(divisor)
    rest *= np.uint64(divisor)
    np.subtract(draws, rest, out=rest)
    return rest


def _rotate_left(value: int, by: int) -> int:
    return (value << by | value >> (64 - by)) & U64_MAX
