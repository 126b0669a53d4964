# SPDX-License-Identifier: GPL-2.0-only
"""False alarms and detections of each rule on each host, and of whole comparisons."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from tests.study.hosts import Host, normal, repeats
from tests.study.rules import GATE, Rule, band, ours, welch_or_bands

from ktstr.history.families import together
from ktstr.history.noise import Word, two_sample
from ktstr.history.two_samples import welch
from ktstr.metrics.kinds import LOWER_BETTER

Values = npt.NDArray[np.float64]
RUNS = (3, 5, 10)
CHANGES = (0.05, 0.10, 0.20, 0.50)


def sides(values: Values, *, alternating: bool = True) -> tuple[Values, Values]:
    """2n values in the order of their runs, as two sides: A B, B A, A B…, or all of A first."""
    n = values.size // 2
    if not alternating:
        return values[:n], values[n:]
    pairs = values[: 2 * n].reshape(n, 2).copy()
    pairs[1::2] = pairs[1::2, ::-1]
    return pairs[:, 0].copy(), pairs[:, 1].copy()


def rates(
    host: Host,
    rules: Mapping[str, Rule],
    n: int,
    change: float,
    trials: int,
    seed: int,
    *,
    alternating: bool = True,
) -> dict[str, float]:
    """How often each rule tells a change, where B is ``1 + change`` times what it would be."""
    rng = np.random.default_rng(seed)
    found = dict.fromkeys(rules, 0)
    for _ in range(trials):
        a, b = sides(host(rng, 2 * n), alternating=alternating)
        b = b * (1 + change)
        for name, rule in rules.items():
            found[name] += rule(a, b)
    return {name: count / trials for name, count in found.items()}


def claims_unchanged(host: Host, n: int, change: float, trials: int, seed: int) -> float:
    """How often our rule calls unchanged what is changed."""
    rng = np.random.default_rng(seed)
    wrong = 0
    for _ in range(trials):
        a, b = sides(host(rng, 2 * n))
        found = two_sample(a, b * (1 + change), polarity=LOWER_BETTER, abs_gate=0, rel_gate=GATE)
        wrong += found.verdict is Word.UNCHANGED
    return wrong / trials


def sure(host: Host, n: int, change: float, level: float, trials: int, seed: int) -> list[float]:
    """How often Welch's test is as sure as ``level``: of values, and of their logarithms."""
    rng = np.random.default_rng(seed)
    found = [0, 0]
    for _ in range(trials):
        a, b = sides(host(rng, 2 * n))
        b = b * (1 + change)
        found[0] += welch(a, b).p <= level
        found[1] += welch(np.log(a), np.log(b)).p <= level
    return [count / trials for count in found]


class Whole:
    """Whole comparisons of many metrics.

    :ivar alarms: share of comparisons that tell anything that is not.
    :ivar false: of what is told, the share that is not, on average.
    :ivar seen: of what changed, the share that is told.
    """

    def __init__(self, trials: int) -> None:
        self.trials = trials
        self.alarms = self.false = self.seen = 0.0

    def add(self, told: Sequence[bool], changed: Sequence[bool]) -> None:
        """Count one comparison."""
        wrong = sum(t and not c for t, c in zip(told, changed, strict=True))
        right = sum(t and c for t, c in zip(told, changed, strict=True))
        self.alarms += bool(wrong) / self.trials
        self.false += wrong / max(1, wrong + right) / self.trials
        self.seen += right / max(1, sum(changed)) / self.trials


Columns = list[tuple[Values, Values]]


def _together(columns: Columns) -> list[bool]:
    findings = together(
        {
            index: two_sample(a, b, polarity=LOWER_BETTER, abs_gate=0, rel_gate=GATE)
            for index, (a, b) in enumerate(columns)
        }
    )
    return [f.verdict in (Word.REGRESSION, Word.IMPROVEMENT) for f in findings.values()]


def _each(rule: Rule) -> Callable[[Columns], list[bool]]:
    return lambda columns: [rule(a, b) for a, b in columns]


WHOLE_RULES: Mapping[str, Callable[[Columns], list[bool]]] = {
    "ours": _together,
    "ours, not adjusted": _each(ours),
    "band 1 %": _each(band(0.01)),
    "band 5 %": _each(band(0.05)),
    "Welch or bands": _each(welch_or_bands),
}


def whole_synthetic(n: int, trials: int, seed: int, change: float = 0.5) -> dict[str, Whole]:
    """100 metrics with 5 % and more scatter, of which 5 grow by ``change``."""
    rng = np.random.default_rng(seed)
    found = {name: Whole(trials) for name in WHOLE_RULES}
    changed = [index < 5 for index in range(100)]
    for _ in range(trials):
        columns = []
        for each in changed:
            a, b = sides(normal(rng, 2 * n))
            columns.append((a, b * (1 + change) if each else b))
        for name, rule in WHOLE_RULES.items():
            found[name].add(rule(columns), changed)
    return found


def whole_real(n: int, trials: int, seed: int, *, alternating: bool = True) -> dict[str, Whole]:
    """All metrics of real runs in a row, without a change: one comparison each."""
    rng = np.random.default_rng(seed)
    table = [values for values in repeats().values() if np.isfinite(values).all()]
    found = {name: Whole(trials) for name in WHOLE_RULES}
    for _ in range(trials):
        start = rng.integers(table[0].size - 2 * n + 1)
        columns = [sides(v[start : start + 2 * n], alternating=alternating) for v in table]
        for name, rule in WHOLE_RULES.items():
            found[name].add(rule(columns), [False] * len(columns))
    return found
