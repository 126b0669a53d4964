# SPDX-License-Identifier: GPL-2.0-only
"""Two samples of one figure: how far apart they are, and how easily chance would do that.

Two tests, which err in different places (decision 0047):

- :func:`welch` compares the means by Student's t with variances of their own (Welch 1947). It
  assumes that means of so many runs are about normal. Where runs are skewed, have two humps or
  heavy tails it finds less and errs no oftener; it works from two runs a side. Given logarithms it
  compares ratios: scatter that grows with the value is then the same on both sides.
- :func:`ranks` compares the order only (Mann and Whitney 1947), by the exact distribution over all
  ways to divide the runs, ties included. It assumes nothing but that runs are independent and,
  without a change, exchangeable. A single wild run does it no harm. It needs four or five runs a
  side before any outcome is rare enough.
"""

import math
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

EXACT_RUNS: Final = 50
"""Runs of both sides together up to which ranks are counted out; beyond, the normal limit serves.

At 25 a side the limit is off by less than 0.001 wherever it matters."""

Values = npt.NDArray[np.float64]


def t_below(freedom: float, t: float) -> float:
    """Probability that Student's t with ``freedom`` degrees of freedom is at most ``t``."""
    return float(_special().stdtr(freedom, t))


def t_at(freedom: float, probability: float) -> float:
    """The t that Student's t stays below with ``probability``."""
    return float(_special().stdtrit(freedom, probability))


def _special() -> Any:
    # Takes 0.1 s to import, which only a comparison of repeated runs has to wait for.
    from scipy import special

    return special


@dataclass(frozen=True, slots=True)
class Means:
    """The difference of two means, B less A.

    :param error: its standard error; 0 where no side varies.
    :param freedom: degrees of freedom, by Welch and Satterthwaite; None where no side varies.
    :param p: two-sided.
    :param scatter: the standard deviation of a run, of both sides together.
    """

    difference: float
    error: float
    freedom: float | None
    p: float
    scatter: float = 0.0

    def interval(self, confidence: float) -> tuple[float, float]:
        """Where the difference lies, with this confidence."""
        if self.freedom is None:
            return self.difference, self.difference
        reach = self.error * t_at(self.freedom, (1 + confidence) / 2)
        return self.difference - reach, self.difference + reach


def welch(a: Values, b: Values) -> Means:
    """Compare the means of two samples of at least two values each."""
    variances = [float(side.var(ddof=1)) for side in (a, b)]
    shares = [variance / side.size for variance, side in zip(variances, (a, b), strict=True)]
    difference = float(b.mean() - a.mean())
    error = math.sqrt(sum(shares))
    # Sums of equal floats differ in their last bits: that is no scatter.
    scale = max(abs(float(a[0])), abs(float(b[0])))
    if error <= 1e-12 * scale or error == 0.0:
        alike = abs(difference) <= 1e-12 * scale
        return Means(
            0.0 if alike else difference, 0.0, None, 1.0 if alike else constant_p(a.size, b.size)
        )
    # By shares of the whole, so that squares of tiny variances do not vanish.
    weights = [share / sum(shares) for share in shares]
    freedom = 1 / (weights[0] ** 2 / (a.size - 1) + weights[1] ** 2 / (b.size - 1))
    p = 2 * t_below(freedom, -abs(difference) / error)
    return Means(difference, error, freedom, p, math.sqrt(sum(variances) / 2))


@lru_cache
def constant_p(n: int, m: int) -> float:
    """How often, at most, two sides that do not differ show one constant each, and not the same.

    Whatever values there are, it is most often seen with two of them: with probability q of the
    one, q^n (1-q)^m + (1-q)^n q^m; the largest over q.
    """
    q = np.linspace(0.0, 0.5, 2049)
    return float(np.max(q**n * (1 - q) ** m + (1 - q) ** n * q**m))


@dataclass(frozen=True, slots=True)
class Order:
    """How two samples lie in order.

    :param superiority: probability that a run of B has the larger value, ties counted half.
    :param shift: median of all differences between a run of B and one of A (Hodges and Lehmann).
    :param interval: where the shift lies, with at least the confidence asked for; without bounds
        where so few runs cannot give it.
    :param p: two-sided, exact up to :data:`EXACT_RUNS` runs.
    """

    superiority: float
    shift: float
    interval: tuple[float, float]
    p: float


def ranks(a: Values, b: Values, confidence: float) -> Order:
    """Compare the order of two samples of at least one value each."""
    differences = np.sort(np.subtract.outer(b, a), axis=None)
    count = differences.size
    # Sorted as they are, those that B loses come first, then ties.
    lost, not_won = (int(np.searchsorted(differences, 0.0, side)) for side in ("left", "right"))
    wins = count - not_won + 0.5 * (not_won - lost)
    drop = _dropped(a.size, b.size, (1 - confidence) / 2)
    return Order(
        wins / count,
        float(differences[(count - 1) // 2] / 2 + differences[count // 2] / 2),
        (float(differences[drop - 1]), float(differences[-drop]))
        if drop
        else (-math.inf, math.inf),
        _rank_p([*a.tolist(), *b.tolist()], a.size, wins),
    )


@lru_cache(maxsize=256)
def _dropped(n: int, m: int, tail: float) -> int:
    """How many differences at each end lie beyond the shift's interval, its bound among them."""
    if n + m > EXACT_RUNS:
        spread = math.sqrt(n * m * (n + m + 1) / 12)
        return max(0, math.floor(n * m / 2 + float(_special().ndtri(tail)) * spread))
    below = np.cumsum(_wins(n, m)) / math.comb(n + m, n)
    return int(np.searchsorted(below, tail, side="right"))


def smallest_rank_p(n: int, m: int) -> float:
    """The p of :func:`ranks` where every run of one side is above every run of the other."""
    return min(1.0, 2 / math.comb(n + m, n))


def _rank_p(values: list[float], n: int, wins: float) -> float:
    total, m = len(values), len(values) - n
    middle = n * m / 2
    counts = Counter(values)
    if total > EXACT_RUNS:
        ties = sum(count**3 - count for count in counts.values())
        spread = math.sqrt(n * m / 12 * (total + 1 - ties / (total * (total - 1))))
        if spread == 0.0:
            return 1.0
        apart = max(0.0, abs(wins - middle) - 0.5) / spread
        return min(1.0, 2 * float(_special().ndtr(-apart)))
    if len(counts) == total:
        return _untied_p(n, m, wins)
    sums = _subset_sums(_doubled_ranks(counts), m)
    return _share(sums[m * (m + 1) :], 0.5, n, m, wins)


@lru_cache(maxsize=4096)
def _untied_p(n: int, m: int, wins: float) -> float:
    """The p where no value is there twice: so many wins, so many runs, nothing else matters."""
    return _share(_wins(n, m), 1.0, n, m, wins)


def _share(found: Values, step: float, n: int, m: int, wins: float) -> float:
    """How many of all divisions lie at least as far from the middle."""
    middle = n * m / 2
    extreme = np.abs(np.arange(found.size) * step - middle) >= abs(wins - middle) - 1e-9
    return min(1.0, float(found[extreme].sum()) / math.comb(n + m, n))


def _doubled_ranks(counts: Counter[float]) -> tuple[int, ...]:
    """Twice the rank of each value, in order: whole numbers also where ties share one."""
    found: list[int] = []
    for value in sorted(counts):
        count = counts[value]
        found += [2 * len(found) + count + 1] * count
    return tuple(found)


@lru_cache(maxsize=64)
def _wins(n: int, m: int) -> Values:
    """In how many ways to divide ``n + m`` distinct values B wins 0, 1, 2, … of the pairs."""
    return _subset_sums(tuple(range(1, n + m + 1)), m)[m * (m + 1) // 2 :][: n * m + 1]


@lru_cache(maxsize=256)
def _subset_sums(items: tuple[int, ...], size: int) -> Values:
    """How many subsets of ``size`` items have the sum 0, 1, 2, …"""
    ways = np.zeros((size + 1, sum(items) + 1))
    ways[0, 0] = 1
    for item in items:
        ways[1:, item:] += ways[:-1, :-item].copy()
    counted: Values = ways[size]
    return counted


def hedges_g(a: Values, b: Values) -> float | None:
    """The difference of means in pooled standard deviations, without its bias at few runs.

    None where no side varies (Hedges 1981).
    """
    freedom = a.size + b.size - 2
    pooled = math.sqrt((float(((a - a.mean()) ** 2).sum() + ((b - b.mean()) ** 2).sum())) / freedom)
    if pooled <= 1e-12 * max(abs(float(a[0])), abs(float(b[0]))) or pooled == 0.0:
        return None
    return float(b.mean() - a.mean()) / pooled * (1 - 3 / (4 * freedom - 1))
