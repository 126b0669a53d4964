# SPDX-License-Identifier: GPL-2.0-only
"""Rules that say whether two sets of runs differ: ours, and those of reference-06 10.1 and 25."""

import math
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from ktstr.history.noise import Word, two_sample
from ktstr.history.two_samples import ranks, t_below, welch
from ktstr.metrics.kinds import LOWER_BETTER

Values = npt.NDArray[np.float64]
Rule = Callable[[Values, Values], bool]

ALPHA = 0.05
GATE = 0.10


def ours(a: Values, b: Values, gate: float = GATE) -> bool:
    """As perf-delta decides for one metric."""
    found = two_sample(a, b, polarity=LOWER_BETTER, abs_gate=0, rel_gate=gate, alpha=ALPHA)
    return found.verdict in (Word.REGRESSION, Word.IMPROVEMENT)


def ours_without_gates(a: Values, b: Values) -> bool:
    """The same, where any change matters."""
    return ours(a, b, 0.0)


def welch_alone(a: Values, b: Values) -> bool:
    """Welch's test."""
    return welch(a, b).p <= ALPHA


def welch_of_logarithms(a: Values, b: Values) -> bool:
    """Welch's test on the logarithms, of what is positive."""
    if min(a.min(), b.min()) <= 0:
        return False
    return welch(np.log(a), np.log(b)).p <= ALPHA


def paired(a: Values, b: Values) -> bool:
    """Student's test on the differences between neighbours; sides have to be in order."""
    differences = b - a
    error = float(differences.std(ddof=1)) / math.sqrt(a.size)
    if error == 0.0:
        return bool(differences[0] != 0)
    return 2 * t_below(a.size - 1, -abs(float(differences.mean())) / error) <= ALPHA


def ranks_alone(a: Values, b: Values) -> bool:
    """Mann and Whitney's exact test."""
    return ranks(a, b, 0.95).p <= ALPHA


def band(spread: float) -> Rule:
    """B's mean outside of A's lowest and highest, where neither side spreads by more than this."""

    def rule(a: Values, b: Values) -> bool:
        if max(_spread(a), _spread(b)) > spread:
            return False
        return bool(b.mean() > a.max() or b.mean() < a.min())

    return rule


def _spread(values: Values) -> float:
    if values.max() == values.min():
        return 0.0
    mean = abs(values.mean())
    return float("inf") if mean < 1e-9 else float((values.max() - values.min()) / mean)


def band_alone(a: Values, b: Values) -> bool:
    """The band without its limit on spread."""
    return bool(b.mean() > a.max() or b.mean() < a.min())


def welch_or_bands(a: Values, b: Values) -> bool:
    """Welch's test, or bands that do not touch; and the relative gate."""
    apart = a.max() < b.min() or b.max() < a.min()
    material = abs(b.mean() - a.mean()) >= GATE * abs(a.mean())
    return bool(material and (apart or welch_alone(a, b)))


def welch_or_bands_without_gate(a: Values, b: Values) -> bool:
    """The same, where any change matters."""
    return bool(a.max() < b.min() or b.max() < a.min() or welch_alone(a, b))


RULES: Mapping[str, Rule] = {
    "ours": ours,
    "band 1 %": band(0.01),
    "band 5 %": band(0.05),
    "Welch or bands": welch_or_bands,
    "ours, no gate": ours_without_gates,
    "Welch": welch_alone,
    "Welch, logs": welch_of_logarithms,
    "paired": paired,
    "ranks": ranks_alone,
    "band, no limit": band_alone,
    "W. or b., no gate": welch_or_bands_without_gate,
}
"""Those that decide, then their tests alone."""
