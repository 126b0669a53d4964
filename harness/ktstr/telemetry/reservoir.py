# SPDX-License-Identifier: GPL-2.0-only
"""Merging capped uniform reservoirs (seed 001, ``weighted_merge_reservoirs``).

The draw stream is xorshift64 with the shifts 13, 7, 17. Each step is linear over GF(2), so the
whole stream is produced by doubling: the map that jumps ``n`` states ahead is applied to the first
``n`` states to get the next ``n``. The result is the sequential stream, state by state.
"""

import numpy as np

from ktstr.telemetry.vectors import U64_MAX, Samples, no_samples

MAX_WAKE_SAMPLES = 100_000
"""Most samples one reservoir keeps; the true population travels beside it."""

GOLDEN = 0x9E37_79B9_7F4A_7C15


def xorshift64(state: int) -> int:
    """The state after ``state``."""
    state ^= (state << 13) & U64_MAX
    state ^= state >> 7
    return state ^ (state << 17) & U64_MAX


def xorshift64_stream(seed: int, count: int) -> Samples:
    """The ``count`` states that follow ``seed``."""
    out = np.empty(count, dtype=np.uint64)
    if count == 0:
        return out
    out[0] = xorshift64(seed)
    # jump[i] is where a state with only bit i set lands `done` steps later.
    jump = np.array([xorshift64(1 << bit) for bit in range(64)], dtype=np.uint64)
    done = 1
    while done < count:
        more = min(done, count - done)
        out[done : done + more] = _apply(jump, out[:more])
        jump = _apply(jump, jump)
        done += more
    return out


def _apply(jump: Samples, states: Samples) -> Samples:
    """Multiply each state, seen as 64 bits, by the matrix with the columns ``jump``."""
    result = np.zeros(len(states), dtype=np.uint64)
    for byte in range(8):
        table = np.zeros(256, dtype=np.uint64)
        for bit in range(8):
            half = 1 << bit
            table[half : 2 * half] = table[:half] ^ jump[8 * byte + bit]
        result ^= table[(states >> np.uint64(8 * byte)) & np.uint64(0xFF)]
    return result


def _rotate_left(value: int, by: int) -> int:
    return (value << by | value >> (64 - by)) & U64_MAX


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
    stream = xorshift64_stream(seed * GOLDEN & U64_MAX or GOLDEN, 2 * cap)
    source, index = stream[0::2], stream[1::2]
    if len(a) == 0 or len(b) == 0:
        only = b if len(a) == 0 else a
        drawn: Samples = only[index % np.uint64(len(only))]
        return drawn
    weight_a, total = (len(a), len(a) + len(b)) if w_a == w_b == 0 else (w_a, w_a + w_b)
    while total > U64_MAX:  # a 64-bit draw cannot reach such a total: keep the ratio, halve both
        weight_a, total = weight_a >> 1, total >> 1
    from_a = source % np.uint64(total) < np.uint64(weight_a)
    merged: Samples = np.where(from_a, a[index % np.uint64(len(a))], b[index % np.uint64(len(b))])
    return merged
