# SPDX-License-Identifier: GPL-2.0-only
"""What repeated runs of two sides say: per scenario each metric, and whether it still passes.

Only runs that passed have figures that count. A metric that one side alone has is a difference in
coverage, never a zero.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from ktstr.history.families import chancy, together
from ktstr.history.noise import ALPHA, Finding, Word, two_sample
from ktstr.history.rows import Row
from ktstr.metrics.kinds import HIGHER_BETTER
from ktstr.metrics.registry import RENDER_SUPPRESSED_COMPONENTS, MetricDef, metric_def

PASSES: Final = "passes"
"""Stands for a metric in what is said of verdicts."""


class Key(NamedTuple):
    """What one finding is about.

    :param phase: its label; empty for the whole run.
    """

    scenario: str
    metric: str
    phase: str = ""

    def __str__(self) -> str:
        return f"{self.scenario} {self.phase}: {self.metric}" if self.phase else self.metric


class Coverage(NamedTuple):
    """A metric that only one side has.

    :param side: ``base`` or ``head``.
    :param runs: of that side that have it.
    """

    key: Key
    side: str
    runs: int


@dataclass(frozen=True, slots=True)
class Repeats:
    """All runs of one scenario on both sides, whatever became of them.

    :param exact: by the virtual clock, with the same seeds.
    """

    scenario: str
    base: Sequence[Row]
    head: Sequence[Row]
    exact: bool = False


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is to be said of two sides.

    :param findings: of metrics that both sides have.
    :param verdicts: per scenario, whether it passes as it did; only where a run did not pass.
    :param coverage: metrics of one side only.
    :param tested: how many findings chance could have made.
    :param unmeasured: metrics that must not regress and were not compared in any scenario.
    """

    findings: Mapping[Key, Finding]
    verdicts: Mapping[str, Finding]
    coverage: Sequence[Coverage]
    strict: frozenset[str] = frozenset()
    tested: int = 0
    unmeasured: Sequence[str] = field(default_factory=tuple)

    def of(self, *words: Word) -> list[tuple[Key, Finding]]:
        """The findings with these words: first by the list of words, then the largest changes."""
        found = [(key, f) for key, f in self.findings.items() if f.verdict in words]
        return sorted(found, key=lambda each: (words.index(each[1].verdict), -_size(each[1])))

    @property
    def broken(self) -> list[str]:
        """Scenarios that passed and do so no more."""
        return [name for name, f in self.verdicts.items() if f.verdict is Word.REGRESSION]

    @property
    def compared(self) -> int:
        """Findings that could be decided one way or the other."""
        return sum(1 for f in self.findings.values() if f.p is not None)


def _size(finding: Finding) -> float:
    return abs(finding.relative) if finding.relative is not None else float("inf")


def judge(
    repeats: Iterable[Repeats],
    *,
    alpha: float = ALPHA,
    strict: Collection[str] = (),
    phases: bool = False,
) -> Judgement:
    """Compare the runs of each scenario, and decide all of them together.

    :param strict: names of metrics that must not regress.
    :param phases: also compare each phase; they are a family of their own.
    """
    whole: dict[Key, Finding] = {}
    parts: dict[Key, Finding] = {}
    verdicts: dict[str, Finding] = {}
    coverage: list[Coverage] = []
    for each in repeats:
        base = [row for row in each.base if row.passed]
        head = [row for row in each.head if row.passed]
        if len(base) < len(each.base) or len(head) < len(each.head):
            verdicts[each.scenario] = _passes(each, alpha)
        table = _pairs(each, [row.metrics for row in base], [row.metrics for row in head], "")
        coverage += _findings(whole, table, each.exact, alpha)
        if phases:
            labels = {p.label: None for row in (*base, *head) for p in row.phases}
            for label in labels:
                found = _pairs(each, _of_phase(base, label), _of_phase(head, label), label)
                coverage += _findings(parts, found, each.exact, alpha)
    keys = [key for key in whole if key.metric in strict]
    findings = together(whole, strict=keys) | together(parts)
    measured = {key.metric for key in keys if whole[key].p is not None}
    return Judgement(
        findings,
        verdicts,
        coverage,
        frozenset(strict),
        sum(1 for f in whole.values() if chancy(f)),
        tuple(name for name in strict if name not in measured),
    )


def _of_phase(rows: Iterable[Row], label: str) -> list[Mapping[str, float]]:
    return [next((p.metrics for p in row.phases if p.label == label), {}) for row in rows]


Pair = tuple[list[float | None], list[float | None]]


def _pairs(
    each: Repeats,
    base: Sequence[Mapping[str, float]],
    head: Sequence[Mapping[str, float]],
    phase: str,
) -> dict[Key, Pair]:
    names = dict.fromkeys(name for metrics in (*base, *head) for name in metrics)
    return {
        Key(each.scenario, name, phase): (
            [metrics.get(name) for metrics in base],
            [metrics.get(name) for metrics in head],
        )
        for name in names
        if name not in RENDER_SUPPRESSED_COMPONENTS
    }


def _findings(
    into: dict[Key, Finding], table: Mapping[Key, Pair], exact: bool, alpha: float
) -> list[Coverage]:
    alone = []
    for key, (base, head) in table.items():
        metric = metric_def(key.metric)
        if metric is None:
            continue
        finding = _compare(metric, base, head, exact, alpha)
        if finding.a.n and finding.b.n:
            into[key] = finding
        elif finding.a.n or finding.b.n:
            side = "base" if finding.a.n else "head"
            alone.append(Coverage(key, side, max(finding.a.n, finding.b.n)))
    return alone


def _compare(
    metric: MetricDef,
    base: Sequence[float | None],
    head: Sequence[float | None],
    exact: bool,
    alpha: float,
) -> Finding:
    return two_sample(
        base,
        head,
        polarity=metric.polarity,
        abs_gate=metric.default_abs,
        rel_gate=metric.default_rel,
        alpha=alpha,
        exact=exact,
    )


def _passes(each: Repeats, alpha: float) -> Finding:
    """Whether as many runs pass as before, by the same test as the metrics."""
    base, head = ([float(row.passed) for row in side] for side in (each.base, each.head))
    found = two_sample(
        base, head, polarity=HIGHER_BETTER, abs_gate=0, rel_gate=0, alpha=alpha, exact=each.exact
    )
    if found.verdict is Word.INCONCLUSIVE and base and head and min(base) == 1.0 > max(head):
        # One run of each says nothing of chance, but a pass that became a failure is no noise
        # that anybody could leave out.
        return replace(found, verdict=Word.REGRESSION)
    return found
