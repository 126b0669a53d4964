# SPDX-License-Identifier: GPL-2.0-only
"""The latency histogram of the schbench and taobench engines (reference-06 section 3.1).

19 groups of 256 buckets. Values up to 511 have a bucket each; beyond, every power of two is cut
into 256 equal buckets, so a value is known to within 1/256 of itself. Histograms merge by adding
buckets, and percentiles are read from the merged histogram, never averaged.
"""

import enum
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
import numpy.typing as npt

from ktstr.telemetry.codec import U32, U64, Coded, Kind
from ktstr.telemetry.decode import Fields
from ktstr.telemetry.vectors import ByValue, Samples, saturating_sum

PLAT_BITS = 8
PLAT_VAL = 1 << PLAT_BITS
"""Buckets per group."""

PLAT_NR = 19 * PLAT_VAL
"""Buckets."""

U32_MAX = (1 << 32) - 1

Counts = npt.NDArray[np.uint32]
"""Samples per bucket, length :data:`PLAT_NR`."""


class Pct(enum.Enum):
    """A percentile the engines report; the value is in thousandths."""

    P20 = 200
    P50 = 500
    P90 = 900
    P99 = 990
    P999 = 999


def bucket_of(values: Samples) -> npt.NDArray[np.intp]:
    """The bucket of each value below 2**32; what lies beyond the last bucket counts there."""
    _, bits = np.frexp(values.astype(np.float64))
    shift = np.maximum(bits - (PLAT_BITS + 1), 0).astype(np.uint64)
    within = (values >> shift) & np.uint64(PLAT_VAL - 1)
    beyond = ((shift + np.uint64(1)) << np.uint64(PLAT_BITS)) + within
    index = np.where(shift == 0, values, beyond)
    return np.minimum(index, np.uint64(PLAT_NR - 1)).astype(np.intp)


def value_of(bucket: int) -> int:
    """The value a bucket stands for: the middle of its range, exact for the first 512."""
    if bucket < 2 * PLAT_VAL:
        return bucket
    shift = (bucket >> PLAT_BITS) - 1
    return (1 << (shift + PLAT_BITS)) + (bucket % PLAT_VAL << shift) + (1 << shift >> 1)


def _counts(wide: npt.NDArray[np.uint64]) -> Counts:
    """Bucket counts as the read-only 32-bit array; what does not fit stays at the largest u32."""
    counts = np.minimum(wide, np.uint64(U32_MAX)).astype(np.uint32)
    counts.flags.writeable = False
    return counts


_EMPTY = _counts(np.zeros(PLAT_NR, dtype=np.uint64))


def _read(fields: Fields, name: str) -> Counts:
    """The pairs of bucket and count, as the wire's bytes or the record's vector."""
    value = fields.take(name)
    flat = np.empty(0, dtype=np.uint64)
    if type(value) is bytes and len(value) % 8 == 0:
        flat = np.frombuffer(value, dtype="<u4").astype(np.uint64)
    elif isinstance(value, np.ndarray) and value.dtype == np.uint64 and value.ndim == 1:
        flat = value
    else:
        fields.refuse(name, value, "pairs of bucket and count, as bytes or a vector")
    if len(flat) % 2 or len(flat) > 2 * PLAT_NR or (flat > U32_MAX).any():
        fields.refuse(name, value, f"at most {PLAT_NR} pairs of 32-bit bucket and count")
    bucket, count = flat.reshape(-1, 2).T.astype(np.int64)
    if len(bucket) and (bucket[-1] >= PLAT_NR or (np.diff(bucket) <= 0).any() or not count.all()):
        fields.refuse(name, value, f"ascending buckets below {PLAT_NR} with positive counts")
    dense = np.zeros(PLAT_NR, dtype=np.uint64)
    dense[bucket] = count
    return _counts(dense)


def _pairs(counts: Counts) -> Samples:
    """Bucket and count in turn, for the buckets that hold anything."""
    bucket = np.flatnonzero(counts)
    return np.column_stack((bucket, counts[bucket])).astype(np.uint64).ravel()


def _sparse(counts: Counts) -> bytes:
    """The pairs as little-endian 32-bit numbers."""
    return _pairs(counts).astype("<u4").tobytes()


@dataclass(frozen=True, slots=True, eq=False)
class PlatStats(Coded, ByValue):
    """A latency histogram, usually in microseconds.

    :param plat: samples per bucket, read-only; a full bucket stays at the largest u32.
    :param nr_samples: all samples, also those a full bucket could not count.
    :param max: largest value; 0 without samples.
    :param min: smallest positive value; 0 is unset, so a zero among the values does not show.
    """

    plat: Annotated[Counts, Kind(_read, wire=_sparse, record=_pairs)] = field(
        default_factory=lambda: _EMPTY
    )
    nr_samples: U64 = 0
    max: U32 = 0
    min: U32 = 0

    def __post_init__(self) -> None:
        if self.plat.dtype != np.uint32 or self.plat.shape != (PLAT_NR,):
            raise TypeError(f"PlatStats.plat must be a numpy.uint32 array of {PLAT_NR}")

    @staticmethod
    def from_values(values: Samples) -> "PlatStats":
        """The histogram of ``values``; what exceeds 32 bits counts as the largest u32."""
        if len(values) == 0:
            return PlatStats()
        fitting = np.minimum(values, np.uint64(U32_MAX))
        positive = fitting[fitting > 0]
        return PlatStats(
            plat=_counts(np.bincount(bucket_of(fitting), minlength=PLAT_NR).astype(np.uint64)),
            nr_samples=len(fitting),
            max=int(fitting.max()),
            min=int(positive.min()) if len(positive) else 0,
        )

    def combine(self, other: "PlatStats") -> "PlatStats":
        """The histogram of both populations; buckets saturate at the largest u32."""
        return PlatStats(
            plat=_counts(np.add(self.plat, other.plat, dtype=np.uint64)),
            nr_samples=saturating_sum((self.nr_samples, other.nr_samples)),
            max=max(self.max, other.max),
            min=min(self.min or other.min, other.min or self.min),
        )

    def percentile(self, pct: Pct) -> int:
        """The value of the first bucket that reaches ``pct`` of the counted samples.

        0 without samples: ask :attr:`nr_samples` first.
        """
        cumulative = np.cumsum(self.plat, dtype=np.uint64)
        total = int(cumulative[-1])
        if total == 0:
            return 0
        rank = -(-total * pct.value // 1000)
        return value_of(int(np.searchsorted(cumulative, np.uint64(rank))))

    def check(self, fields: Fields) -> None:
        """Refuse a histogram whose parts do not belong together."""
        counted = int(np.sum(self.plat, dtype=np.uint64))
        full = int(self.plat.max()) == U32_MAX
        if self.nr_samples < counted or (self.nr_samples > counted and not full):
            fields.refuse("nr_samples", self.nr_samples, f"the {counted} samples in the buckets")
        used = np.flatnonzero(self.plat)
        highest, lowest = (int(used[-1]), int(used[0])) if len(used) else (0, 0)
        top, bottom = bucket_of(np.array([self.max, self.min], dtype=np.uint64)).tolist()
        if top != highest:
            fields.refuse("max", self.max, f"a value of bucket {highest}, the highest one used")
        if self.min > self.max or (self.min and (bottom < lowest or not self.plat[bottom])):
            fields.refuse("min", self.min, "0 for unset, or the value of a bucket that is used")
