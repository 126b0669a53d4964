# SPDX-License-Identifier: GPL-2.0-only
"""Exact moments of sample vectors.

Sums of squares are whole numbers and are kept as such, so moments of parts add up to the moments
of the whole in any order, and a figure taken from them does not depend on how the samples were cut
into carriers.
"""

import math
from dataclasses import dataclass

import numpy as np

from ktstr.telemetry.vectors import Samples, exact_sum

_CHUNK = 1 << 14
"""Samples looked at together: 128 KiB, so that what is computed from them stays in the cache."""

_NARROW = 1 << 25
"""Squares of a chunk of samples below this (33 ms) add up within 64 bits."""

_HALF = np.uint64(32)
_LOW_HALF = np.uint64(0xFFFF_FFFF)


@dataclass(frozen=True, slots=True)
class Moments:
    """How many samples, their sum and the sum of their squares; each may carry a weight."""

    count: int = 0
    total: int = 0
    squares: int = 0

    @classmethod
    def of(cls, ordered: Samples) -> "Moments":
        """The moments of ascending samples."""
        total = squares = 0
        for start in range(0, len(ordered), _CHUNK):
            chunk = ordered[start : start + _CHUNK]
            if int(chunk[-1]) < _NARROW:  # all but the tail of a latency distribution
                total += int(chunk.sum())
                squares += int((chunk * chunk).sum())
            else:
                total += exact_sum(chunk)
                squares += _square_sum(chunk)
        return cls(len(ordered), total, squares)

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(
            self.count + other.count, self.total + other.total, self.squares + other.squares
        )

    def __mul__(self, weight: int) -> "Moments":
        return Moments(self.count * weight, self.total * weight, self.squares * weight)

    def mean(self) -> float:
        """Sum over count, rounded once; 0.0 of nothing."""
        return self.total / self.count if self.count else 0.0

    def coefficient_of_variation(self) -> float:
        """Population standard deviation over mean; 0.0 when the mean is zero."""
        if self.total == 0:
            return 0.0
        # n·Σx² − (Σx)² is n² times the variance, so over (Σx)² it is the squared ratio.
        spread = self.count * self.squares - self.total * self.total
        return math.sqrt(spread / (self.total * self.total))


def _square_sum(chunk: Samples) -> int:
    """Σx², whole: a sample is split into 32-bit halves, whose products fit 64 bits."""
    high, low = chunk >> _HALF, chunk & _LOW_HALF
    squares = exact_sum(low * low)
    if high.any():
        squares += (exact_sum(low * high) << 33) + (exact_sum(high * high) << 64)
    return squares
