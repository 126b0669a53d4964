# SPDX-License-Identifier: GPL-2.0-only
"""All samples of one source over many carriers, reduced without sorting their union.

A carrier is a stratum: an ascending vector that stands for a population of at least its length.
The weight of a sample is population over length, a fraction; ranks are compared as whole numbers
over the common denominator, so that a percentile is exact and, where every sample stands for
itself, the same as that of the written-out union.
"""

import math
from collections.abc import Iterable

import numpy as np

from ktstr.metrics.kinds import SampleReduction
from ktstr.telemetry.moments import Moments
from ktstr.telemetry.reductions import NS_PER_US
from ktstr.telemetry.vectors import Samples

_FRACTIONS = {
    SampleReduction.P99: 0.99,
    SampleReduction.P999: 0.999,
    SampleReduction.MEDIAN: 0.5,
}


class SamplePool:
    """The union of strata, given as ``(ascending samples, population)``; empty ones are dropped."""

    __slots__ = ("_denominator", "_moments", "_vectors", "_weights", "population")

    def __init__(self, strata: Iterable[tuple[Samples, int]]) -> None:
        kept = [
            (ordered, max(population, len(ordered)))
            for ordered, population in strata
            if len(ordered)
        ]
        self._vectors = [ordered for ordered, _ in kept]
        self.population = sum(population for _, population in kept)
        common = math.lcm(*(len(ordered) for ordered in self._vectors))
        weights = [population * (common // len(ordered)) for ordered, population in kept]
        shared = math.gcd(common, *weights)
        self._denominator = common // shared
        self._weights = [weight // shared for weight in weights]
        self._moments: Moments | None = None

    def __bool__(self) -> bool:
        return bool(self._vectors)

    def reduce(self, reduction: SampleReduction) -> float | None:
        """The reduction in microseconds (CV has no unit); ``None`` of an empty pool."""
        if not self:
            return None
        match reduction:
            case SampleReduction.WORST:
                return max(int(ordered[-1]) for ordered in self._vectors) / NS_PER_US
            case SampleReduction.MEAN:
                return self.moments().mean() / NS_PER_US
            case SampleReduction.CV:
                return self.moments().coefficient_of_variation()
        return self.percentile(_FRACTIONS[reduction]) / NS_PER_US

    def percentile(self, p: float) -> int:
        """The smallest sample at which the weight reaches ``max(1, ceil(population * p))``.

        :raise ValueError: on an empty pool.
        """
        if not self:
            raise ValueError("percentile of an empty pool")
        target = max(1, math.ceil(self.population * p)) * self._denominator
        low = min(int(ordered[0]) for ordered in self._vectors)
        high = max(int(ordered[-1]) for ordered in self._vectors)
        while low < high:
            middle = (low + high) // 2
            if self._weight_up_to(middle) >= target:
                high = middle
            else:
                low = middle + 1
        return low

    def _weight_up_to(self, value: int) -> int:
        key = np.uint64(value)  # a plain integer would make numpy compare floats
        return sum(
            int(ordered.searchsorted(key, side="right")) * weight
            for ordered, weight in zip(self._vectors, self._weights, strict=True)
        )

    def moments(self) -> Moments:
        """Weighted moments, in units of the common denominator."""
        if self._moments is None:
            found = Moments()
            for ordered, weight in zip(self._vectors, self._weights, strict=True):
                found += Moments.of(ordered) * weight
            self._moments = found
        return self._moments
