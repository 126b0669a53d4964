# SPDX-License-Identifier: GPL-2.0-only
"""What repeated runs of two sides say: per scenario each metric, and whether it still passes.

Only runs that passed have figures that count. A metric that one side alone has is a difference in
coverage, never a zero.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from ktstr.history.compare import Change, Levels, Outcome, compare
from ktstr.history.dimensions import Dimension
from ktstr.history.families import chancy, together
from ktstr.history.noise import ALPHA, Finding, Word, two_sample
from ktstr.history.policy import Policy
from ktstr.history.rows import Row
from ktstr.metrics.kinds import HIGHER_BETTER


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
    """All runs of one scenario on both sides, whatever became of them."""

    scenario: str
    base: Sequence[Row]
    head: Sequence[Row]

    @property
    def exact(self) -> bool:
        """Whether they are by the virtual clock, with the same seeds on both sides."""
        rows = (*self.base, *self.head)
        seeds = [sorted(str(row.seed) for row in side) for side in (self.base, self.head)]
        return all(row.clock == "virtual" for row in rows) and seeds[0] == seeds[1]


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
    policy: Policy | None = None,
    phases: bool = False,
    alpha: float = ALPHA,
) -> Judgement:
    """Compare the runs of each scenario, and decide all of them together.

    :param policy: gates in place of the registry's, and the metrics that must not regress.
    :param phases: also compare each phase; they are a family of their own.
    """
    rules = policy or Policy()
    strict = frozenset(rules.must_not_regress)
    whole: dict[Key, Finding] = {}
    parts: dict[Key, Finding] = {}
    verdicts: dict[str, Finding] = {}
    coverage: list[Coverage] = []
    for each in repeats:
        if not all(row.passed for row in (*each.base, *each.head)):
            verdicts[each.scenario] = _passes(each, alpha)
        for change in _changes(each, rules, phases, alpha):
            key = Key(each.scenario, change.metric, change.title)
            if change.outcome in (Outcome.ONLY_A, Outcome.ONLY_B):
                side = "base" if change.outcome is Outcome.ONLY_A else "head"
                coverage.append(Coverage(key, side, max(change.n_a, change.n_b)))
            elif change.outcome is not Outcome.SUPPRESSED:
                finding = change.finding or _undecided(change, alpha)
                (whole if change.step_index is None else parts)[key] = finding
    keys = [key for key in whole if key.metric in strict]
    findings = together(whole, strict=keys) | together(parts)
    measured = {key.metric for key in keys if whole[key].p is not None}
    return Judgement(
        findings,
        verdicts,
        coverage,
        strict,
        sum(1 for f in whole.values() if chancy(f)),
        tuple(name for name in rules.must_not_regress if name not in measured),
    )


def _changes(each: Repeats, policy: Policy, phases: bool, alpha: float) -> Iterator[Change]:
    """Every metric of either side; what the runs are of is known, so nothing else pairs them."""
    base, head = ([replace(row, scenario="") for row in side] for side in (each.base, each.head))
    levels = Levels(phases=phases)
    found = compare(base, head, ignored=tuple(Dimension), policy=policy, levels=levels, alpha=alpha)
    yield from found.changes


def _undecided(change: Change, alpha: float) -> Finding:
    """One run on a side: a difference that says nothing of noise."""
    return two_sample(
        [change.a],
        [change.b],
        polarity=change.rule.polarity,
        abs_gate=change.rule.absolute,
        rel_gate=change.rule.relative,
        alpha=alpha,
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
