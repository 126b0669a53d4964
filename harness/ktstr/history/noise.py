# SPDX-License-Identifier: GPL-2.0-only
"""Did a metric change between two sets of runs, or is it noise?

A change counts when it is both *beyond chance* (a test at level ``alpha``) and *large enough to
matter* (both gates of the metric, absolute and relative). A metric is unchanged only when a change
as large as the gates can be ruled out; otherwise the runs do not say, and the finding says how
large a change they could have shown.

Of two tests (:mod:`ktstr.history.two_samples`) Welch's decides alone where there are too few runs
for ranks to show anything; where all values are positive it looks at their logarithms. From there
on both look, each at half of ``alpha``, and the one with the smaller p decides and gives the size
of the change: of the means, of the geometric means, or the shift of the typical run. By the
virtual clock there is no noise and no test.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

import numpy as np

from ktstr.history.two_samples import (
    Means,
    Order,
    hedges_g,
    ranks,
    smallest_rank_p,
    t_at,
    welch,
)
from ktstr.metrics.kinds import Polarity

ALPHA: Final = 0.05
"""How often, at most, a test may take noise for a change."""

POWER: Final = 0.8
"""How often a change is found that is called one these runs could have shown."""

LARGEST: Final = 1e150
"""No metric has such values; what has is as good as infinite."""

MAX_RUNS: Final = 1000
"""Runs a side beyond which no advice is given."""


class Word(StrEnum):
    """What became of one metric; :attr:`CHANGED` where no direction is worse."""

    REGRESSION = "regression"
    IMPROVEMENT = "improvement"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    INCONCLUSIVE = "inconclusive"


class Decider(StrEnum):
    """What decided."""

    MEANS = "means"
    LOGS = "logs"
    RANKS = "ranks"
    EXACT = "exact"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Side:
    """One side's values, in the metric's unit; None where there is none.

    :param dropped: values that were missing or no usable number.
    :param geometric: their geometric mean, where all are positive.
    """

    n: int
    dropped: int
    mean: float | None = None
    median: float | None = None
    deviation: float | None = None
    low: float | None = None
    high: float | None = None
    geometric: float | None = None

    @classmethod
    def of(cls, values: Sequence[float | None]) -> "Side":
        """Summarise what of ``values`` was measured."""
        kept = finite(values)
        dropped = len(values) - kept.size
        if not kept.size:
            return cls(0, dropped)
        # Of a handful of values, as sides have, numpy would take ten times as long.
        ordered = sorted(kept.tolist())
        n, low, high = len(ordered), ordered[0], ordered[-1]
        median = ordered[(n - 1) // 2] / 2 + ordered[n // 2] / 2
        # Of equal values the mean is that value, to the last bit.
        mean, deviation = low, 0.0 if n > 1 else None
        if low != high:
            mean = _mean(ordered)
            deviation = math.sqrt(_mean([(value - mean) * (value - mean) for value in ordered]))
            deviation *= math.sqrt(n / (n - 1))
        geometric = None
        if low > 0:
            geometric = low if low == high else math.exp(_mean([math.log(v) for v in ordered]))
        return cls(n, dropped, mean, median, deviation, low, high, geometric)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


@dataclass(frozen=True, slots=True)
class Gates:
    """How large a change has to be to matter: both, each inclusive.

    :param absolute: in the metric's unit.
    :param relative: a fraction of the baseline; nothing is a fraction of zero, so from there the
        absolute gate decides alone.
    """

    absolute: float
    relative: float

    def size(self, baseline: float) -> float:
        """The smallest change from ``baseline`` that matters."""
        return max(self.absolute, self.relative * abs(baseline))

    def passed(self, change: float, baseline: float) -> bool:
        """Whether a change matters; none at all never does."""
        # 1.1 - 1.0 is a little less than a tenth.
        return change != 0.0 and abs(change) >= self.size(baseline) * (1 - 1e-12)


@dataclass(frozen=True, slots=True)
class Finding:
    """What two sets of runs say of one metric; B less A throughout.

    :param baseline: what the relative gate is a fraction of: A's mean; its geometric mean where
        logarithms decided, its median where ranks did.
    :param change: the size of the change by the test that decided.
    :param relative: the change as a fraction of the baseline; None from zero.
    :param means: the difference of the means with its standard error; None below two runs a side.
    :param logs: whether ``means`` is of logarithms.
    :param interval: where the change lies by ``means``, with ``confidence``, in the metric's unit.
    :param order: the same by order.
    :param effect: the difference in standard deviations (Hedges' g); None where nothing varies.
    :param p: probability of so large a difference without a change; None where nothing was tested.
    :param p_adjusted: the same after adjustment for the number of metrics looked at.
    """

    a: Side
    b: Side
    polarity: Polarity
    gates: Gates
    alpha: float
    verdict: Word = Word.INCONCLUSIVE
    test: Decider = Decider.NONE
    baseline: float | None = None
    change: float | None = None
    relative: float | None = None
    means: Means | None = None
    logs: bool = False
    interval: tuple[float, float] | None = None
    confidence: float = 1 - ALPHA
    order: Order | None = None
    effect: float | None = None
    p: float | None = None
    p_adjusted: float | None = None
    ruled_out: bool = False

    @property
    def constant(self) -> bool:
        """Whether every run of both sides has one and the same value: chance had no say."""
        return self.a.low is not None and self.a.low == self.a.high == self.b.low == self.b.high

    @property
    def decides(self) -> float | None:
        """The p that is held against ``alpha``."""
        return self.p if self.p_adjusted is None else self.p_adjusted

    @property
    def significant(self) -> bool:
        """Whether the difference is beyond chance."""
        return self.decides is not None and self.decides <= self.alpha

    @property
    def material(self) -> bool:
        """Whether the change passes both gates."""
        if self.change is None or self.baseline is None:
            return False
        return self.gates.passed(self.change, self.baseline)

    @property
    def worse(self) -> bool | None:
        """Whether the change is for the worse; None where no direction is, or there is none."""
        if not self.change or self.baseline is None:
            return None
        if self.polarity.target is not None:
            target, now = self.polarity.target, self.baseline + self.change
            return abs(now - target) > abs(self.baseline - target)
        rising = self.polarity.classify_direction()
        return None if rising is None else rising == (self.change > 0)

    @property
    def detectable(self) -> float | None:
        """The smallest change that as many runs, as noisy as these, show four times in five.

        In the metric's unit, by Welch's test. None where nothing was tested.
        """
        if self.means is None or self.baseline is None:
            return None
        if self.means.freedom is None:
            return 0.0
        return self._from_scale(self.means.error * self._reach(self.means.freedom))

    @property
    def runs_needed(self) -> int | None:
        """Runs a side, as noisy as these, that would show a change as large as the gates.

        None where that is not known, or beyond :data:`MAX_RUNS`.
        """
        if self.means is None or self.baseline is None:
            return None
        wanted = self.gates.size(self.baseline)
        if wanted <= 0.0:
            return None
        for n in (*range(2, 30), *range(30, MAX_RUNS + 1, 10)):
            error = self.means.scatter * math.sqrt(2 / n)
            if self._from_scale(error * self._reach(2 * (n - 1))) <= wanted:
                return int(n)
        return None

    def _reach(self, freedom: float) -> float:
        """Standard errors between no change and one that is seen with :data:`POWER`."""
        return t_at(freedom, (1 + self.confidence) / 2) + t_at(freedom, POWER)

    def _from_scale(self, difference: float) -> float:
        """A difference on the scale that was tested, in the metric's unit."""
        return unscaled(difference, self.a.geometric if self.logs else None)


def unscaled(difference: float, base: float | None) -> float:
    """A difference of logarithms as a change from ``base``; without one it is none of them."""
    if base is None:
        return difference
    try:
        return base * math.expm1(difference)
    except OverflowError:
        return math.inf


def finite(values: Sequence[float | None]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """What of ``values`` is a number whose square is one, too."""
    kept = [float(v) for v in values if v is not None and abs(v) <= LARGEST]
    return np.array(kept, dtype=np.float64)


def two_sample(
    a: Sequence[float | None],
    b: Sequence[float | None],
    *,
    polarity: Polarity,
    abs_gate: float,
    rel_gate: float,
    alpha: float = ALPHA,
    exact: bool = False,
    centres: tuple[float, float] | None = None,
) -> Finding:
    """Compare one metric of the runs ``a`` with the same of the runs ``b``.

    :param a: one value per run, the baseline; None where it was not measured.
    :param abs_gate: smallest change that matters, in the metric's unit.
    :param rel_gate: the same as a fraction of the baseline.
    :param alpha: how often, at most, noise may be taken for a change.
    :param exact: runs by the virtual clock, with the same seeds on both sides: no noise, no test.
    :param centres: each side's whole, where that is no mean of its runs: a rate's sum over sum.
        It takes the place of the means at the gates; the scatter stays that of the runs.

    No value is made up: a side without any, or with one alone, leaves the finding inconclusive.
    """
    kept_a, kept_b = finite(a), finite(b)
    bare = Finding(Side.of(a), Side.of(b), polarity, Gates(abs_gate, rel_gate), alpha)
    mean_a, mean_b = bare.a.mean, bare.b.mean
    if mean_a is None or mean_b is None:
        return bare
    if centres is not None and all(map(math.isfinite, centres)):
        mean_a, mean_b = centres
    sized = _sized(bare, mean_b - mean_a, mean_a)
    if exact:
        order = ranks(kept_a, kept_b, 1 - alpha)
        same = np.array_equal(np.sort(kept_a), np.sort(kept_b))
        p = 1.0 if same else 0.0
        return decide(replace(sized, test=Decider.EXACT, order=order, p=p, ruled_out=True))
    if min(kept_a.size, kept_b.size) < 2:
        return sized
    base, other = bare.a.geometric, bare.b.geometric
    logs = base is not None and other is not None
    if base is not None and other is not None:
        means = welch(np.log(kept_a), np.log(kept_b))
        if centres is None:
            sized = _sized(bare, other - base, base)
    else:
        means = welch(kept_a, kept_b)
    both = smallest_rank_p(kept_a.size, kept_b.size) <= alpha / 2 and means.freedom is not None
    order = ranks(kept_a, kept_b, 1 - alpha if both else 1 - 2 * alpha)
    level = alpha / 2 if both else alpha
    low, high = means.interval(1 - level)
    ordered = both and order.p < means.p
    if ordered:
        assert bare.a.median is not None
        sized = _sized(sized, order.shift, bare.a.median)
    tested = replace(
        sized,
        test=Decider.RANKS if ordered else Decider.LOGS if logs else Decider.MEANS,
        means=means,
        logs=logs,
        interval=(unscaled(low, base if logs else None), unscaled(high, base if logs else None)),
        confidence=1 - level,
        order=order,
        effect=hedges_g(np.log(kept_a), np.log(kept_b)) if logs else hedges_g(kept_a, kept_b),
        p=min(1.0, 2 * min(means.p, order.p)) if both else means.p,
        ruled_out=_ruled_out(bare.a, bare.gates, alpha, means, logs, order if both else None),
    )
    return decide(tested)


def _sized(finding: Finding, change: float, baseline: float) -> Finding:
    relative = change / abs(baseline) if baseline else None
    return replace(finding, change=change, baseline=baseline, relative=relative)


def _ruled_out(
    a: Side, gates: Gates, alpha: float, means: Means, logs: bool, order: Order | None
) -> bool:
    """Whether a change as large as the gates is as unlikely as ``alpha``, on either side.

    Two one-sided tests (Schuirmann 1987): the interval with confidence 1 - 2 alpha lies within
    the gates. Where ranks look too, each interval has half of the level.
    """
    base = a.geometric if logs else None
    assert a.mean is not None and a.median is not None
    low, high = means.interval(1 - 2 * alpha if order is None else 1 - alpha)
    looked = [(unscaled(low, base), unscaled(high, base), base or a.mean)]
    if order is not None:
        looked.append((*order.interval, a.median))
    for low, high, baseline in looked:
        gate = gates.size(baseline)
        if -gate < low <= high < gate or low == high == 0.0:
            return True
    return False


def decide(finding: Finding) -> Finding:
    """The finding with the word that its figures make."""
    return replace(finding, verdict=_word(finding))


def _word(finding: Finding) -> Word:
    if finding.significant and finding.material:
        match finding.worse:
            case None:
                return Word.CHANGED
            case True:
                return Word.REGRESSION
            case False:
                return Word.IMPROVEMENT
    return Word.UNCHANGED if finding.ruled_out else Word.INCONCLUSIVE
