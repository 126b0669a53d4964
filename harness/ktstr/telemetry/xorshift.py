# SPDX-License-Identifier: GPL-2.0-only
"""The xorshift64 stream (shifts 13, 7, 17), produced many states at a time.

A step of xorshift64 is linear over GF(2), and so is a jump of many steps. The stream is therefore
cut into lanes of :data:`STEPS` states: jumps give the state every lane starts from, then all lanes
step side by side. Every state is the one a sequential loop arrives at.
"""

from functools import cache

import numpy as np
import numpy.typing as npt

from ktstr.telemetry.vectors import Samples

STEPS = 64
"""States per lane; even, so that pairs of draws never straddle two lanes."""

_SHIFTS = tuple(np.array(shift, dtype=np.uint64) for shift in (13, 7, 17))

_BASIS = np.uint64(1) << np.arange(64, dtype=np.uint64)

Lanes = npt.NDArray[np.uint64]
"""States by step and lane: the stream is the first lane from top to bottom, then the next."""


def xorshift64_lanes(seed: int, count: int) -> Lanes:
    """The states that follow ``seed``, ``count`` or up to ``STEPS - 1`` more."""
    lanes = -(-count // STEPS)
    if lanes == 0:
        return np.empty((STEPS, 0), dtype=np.uint64)
    from_bit = _lane_starts_by_bit(max(lanes - 1, 0).bit_length())[:, :lanes]
    bits = [bit for bit in range(64) if seed >> bit & 1]
    return _walk(np.bitwise_xor.reduce(from_bit[bits], axis=0), STEPS)


def xorshift64_stream(seed: int, count: int) -> Samples:
    """The ``count`` states that follow ``seed``, in order."""
    return xorshift64_lanes(seed, count).T.ravel()[:count]


def _walk(states: Samples, steps: int) -> Lanes:
    """The next ``steps`` states of every lane, one row per step."""
    rows = np.empty((steps, len(states)), dtype=np.uint64)
    shifted = np.empty_like(states)
    left, right, last = _SHIFTS
    for row in rows:
        np.left_shift(states, left, out=shifted)
        np.bitwise_xor(states, shifted, out=row)
        np.right_shift(row, right, out=shifted)
        np.bitwise_xor(row, shifted, out=row)
        np.left_shift(row, last, out=shifted)
        np.bitwise_xor(row, shifted, out=row)
        states = row
    return rows


@cache
def _lane_starts_by_bit(doublings: int) -> npt.NDArray[np.uint64]:
    """Where ``2**doublings`` lanes start when the seed is one bit: a row per bit.

    Any other seed starts every lane at the XOR of its bits' rows.
    """
    starts = _BASIS[:, np.newaxis]
    jump = _walk(_BASIS, STEPS)[-1]
    for _ in range(doublings):
        starts = np.hstack((starts, _jumped(starts, jump)))
        jump = _jumped(jump, jump)
    starts.flags.writeable = False
    return starts


def _jumped(states: npt.NDArray[np.uint64], jump: Samples) -> npt.NDArray[np.uint64]:
    """Each state where ``jump`` takes it; ``jump[bit]`` is where that bit alone lands."""
    landed = np.zeros_like(states)
    for bit, target in enumerate(jump):
        landed ^= (states >> np.uint64(bit) & np.uint64(1)) * target
    return landed
