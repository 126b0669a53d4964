# SPDX-License-Identifier: GPL-2.0-only
"""Sample vectors: read-only ``numpy.uint64`` arrays, from the wire to the percentile."""

from collections.abc import Iterable
from dataclasses import fields
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

U64_MAX = (1 << 64) - 1

MAX_WAKE_SAMPLES = 100_000
"""Most samples one reservoir keeps; the true population travels beside it."""

WIRE_U64 = np.dtype("<u8")

Samples = npt.NDArray[np.uint64]
"""Latency samples in nanoseconds."""

Percents = npt.NDArray[np.float64]
"""Per-worker percentages."""


def no_samples() -> Samples:
    """An empty sample vector."""
    return np.empty(0, dtype=np.uint64)


def no_percents() -> Percents:
    """An empty vector of percentages."""
    return np.empty(0, dtype=np.float64)


def require_samples(owner: str, name: str, value: object) -> None:
    """Refuse anything but a one-dimensional uint64 array.

    numpy turns a mixture of uint64 and Python integers into float64, which loses the low bits of
    large values without a word; so lists never get in.

    :raise TypeError: naming the field.
    """
    if not isinstance(value, np.ndarray) or value.dtype != np.uint64 or value.ndim != 1:
        raise TypeError(f"{owner}.{name} must be a one-dimensional numpy.uint64 array")


def require_percents(owner: str, name: str, value: object) -> None:
    """Refuse anything but a one-dimensional float64 array.

    :raise TypeError: naming the field.
    """
    if not isinstance(value, np.ndarray) or value.dtype != np.float64 or value.ndim != 1:
        raise TypeError(f"{owner}.{name} must be a one-dimensional numpy.float64 array")


_V = TypeVar("_V", Samples, Percents)


def joined(a: _V, b: _V) -> _V:
    """``a`` and then ``b``; without a copy when one of them is empty."""
    if len(a) == 0 or len(b) == 0:
        return b if len(a) == 0 else a
    return np.concatenate((a, b))


def saturating_sum(values: Iterable[int]) -> int:
    """Sum of u64 counters, clamped to the largest u64."""
    return min(sum(values), U64_MAX)


def exact_sum(values: Samples) -> int:
    """The true sum, also where a 64-bit accumulator would wrap."""
    high = int(np.sum(values >> np.uint64(32), dtype=np.uint64))
    low = int(np.sum(values & np.uint64(0xFFFF_FFFF), dtype=np.uint64))
    return (high << 32) + low


class ByValue:
    """Field-wise equality for dataclasses that hold arrays (``==`` on arrays is element-wise).

    They have no hash, as arrays have none.
    """

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        for field in fields(cast("Any", self)):  # every subclass is a dataclass
            mine, theirs = getattr(self, field.name), getattr(other, field.name)
            if isinstance(mine, np.ndarray) or isinstance(theirs, np.ndarray):
                if not np.array_equal(mine, theirs):
                    return False
            elif mine != theirs:
                return False
        return True
