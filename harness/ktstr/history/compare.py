# SPDX-License-Identifier: GPL-2.0-only
"""Two sets of runs held against each other: what got worse, what got better, what is missing.

Every metric that either side measured is accounted for exactly once, as one :class:`Change`. One
that only one side measured is a difference in coverage; nothing is ever taken for zero.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from ktstr.history.dimensions import Dimension
from ktstr.history.families import together
from ktstr.history.group import Group, PairKey, Reading, fold, grouped, is_pooled
from ktstr.history.noise import ALPHA, Decider, Finding, Gates, Word, two_sample
from ktstr.history.policy import Policy, Rule
from ktstr.history.rows import VERDICTS, Row
from ktstr.metrics.registry import METRICS, RENDER_SUPPRESSED_COMPONENTS

_PLACE: Final = {metric.name: place for place, metric in enumerate(METRICS)}
_WORSE: Final = ("fail", "lost")
"""Verdicts that a run which passed before must not have."""


class Outcome(StrEnum):
    """What became of one metric of one pair."""

    REGRESSION = "regression"
    IMPROVEMENT = "improvement"
    CHANGED = "changed"
    """It changed, and no direction is worse."""
    UNCHANGED = "unchanged"
    NOISE = "noise"
    """It passed the gates, and chance may have done that."""
    UNDECIDED = "undecided"
    """It stayed below the gates, but these runs could not have shown a change as large."""
    ONLY_A = "only a"
    ONLY_B = "only b"
    SUPPRESSED = "suppressed"
    """Part of a rate, which is compared."""


@dataclass(frozen=True, slots=True)
class Change:
    """One metric of one pair, in all or in one phase.

    :param step_index: of the phase; ``None`` for the run as a whole.
    :param title: the phase's; empty for the run as a whole.
    :param a: the figure of the baseline; ``None`` when it was not measured there. Of several runs
        that were tested it is what the test that decided looks at.
    :param n_a: passing runs of the baseline that measured it.
    :param finding: what a test says of it; ``None`` where nothing was tested.
    """

    pair: PairKey
    step_index: int | None
    title: str
    metric: str
    rule: Rule
    outcome: Outcome
    a: float | None
    b: float | None
    n_a: int
    n_b: int
    finding: Finding | None = None

    @property
    def delta(self) -> float | None:
        """B less A, in the metric's unit."""
        return None if self.a is None or self.b is None else self.b - self.a

    @property
    def relative(self) -> float | None:
        """The change as a fraction of A; ``None`` from zero, and where one side has nothing."""
        delta = self.delta
        return None if delta is None or not self.a else delta / abs(self.a)


@dataclass(frozen=True, slots=True)
class VerdictChange:
    """A pair whose worst verdict is another one, or comes more or less often.

    :param worse: whether the baseline passed and the other side failed; ``False`` for the
        opposite, ``None`` for anything between.
    """

    pair: PairKey
    a: str
    b: str
    worse: bool | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Pair:
    """The same thing run on both sides.

    :param exact: whether both ran by the virtual clock with the same seeds: without noise.
    """

    a: Group
    b: Group
    exact: bool

    @property
    def key(self) -> PairKey:
        """Scenario and pairing dimensions."""
        return self.a.key

    @property
    def tested(self) -> bool:
        """Whether there are runs enough to tell a change from noise."""
        return not self.exact and min(len(self.a.passing), len(self.b.passing)) >= 2

    @property
    def compared(self) -> bool:
        """Whether both sides have figures that count."""
        return bool(self.a.passing and self.b.passing)


@dataclass(frozen=True, slots=True)
class Levels:
    """What of each run is compared.

    :param run: the run as a whole.
    :param phases: its phases; of them only ``steps`` where that is given.
    """

    run: bool = True
    phases: bool = True
    steps: frozenset[int] | None = None

    def wants(self, step_index: int) -> bool:
        """Whether a phase is compared."""
        return self.phases and (self.steps is None or step_index in self.steps)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What came out.

    :param slicing: what the sides differ in on purpose; everything else pairs, but what is ignored.
    :param unpaired_phases: phases that one side's runs did not get to, as (pair, title, side).
    :param verdicts_count: whether a verdict that got worse is a regression.
    :param test: whether noise was taken into account where there were runs enough.
    :param unmeasured: metrics that must not regress and were compared in no pair, or that a pair
        has in A only.
    """

    slicing: tuple[Dimension, ...]
    ignored: tuple[Dimension, ...]
    pairs: tuple[Pair, ...]
    only_a: tuple[Group, ...]
    only_b: tuple[Group, ...]
    changes: tuple[Change, ...]
    verdicts: tuple[VerdictChange, ...]
    unpaired_phases: tuple[tuple[PairKey, str, str], ...] = ()
    alpha: float = ALPHA
    verdicts_count: bool = True
    test: bool = True
    unmeasured: tuple[str, ...] = ()

    def of(self, *outcomes: Outcome, phases: bool | None = None) -> list[Change]:
        """The changes of these outcomes, of runs as a whole or of phases where that is asked."""
        return [
            each
            for each in self.changes
            if each.outcome in outcomes
            and (phases is None or phases == (each.step_index is not None))
        ]

    @property
    def compared(self) -> bool:
        """Whether there was anything to compare."""
        return any(pair.compared for pair in self.pairs)

    @property
    def regressions(self) -> int:
        """Metrics that got worse, and pairs that no longer pass."""
        failed = sum(1 for each in self.verdicts if each.worse) if self.verdicts_count else 0
        return len(self.of(Outcome.REGRESSION)) + failed

    @property
    def exit_code(self) -> int:
        """0 without a regression, 1 with one, 2 when nothing, or not what has to be, could be
        compared."""
        if self.regressions:
            return 1
        return 0 if self.compared and not self.unmeasured else 2


def compare(
    a: Sequence[Row],
    b: Sequence[Row],
    *,
    slicing: Collection[Dimension] = (),
    ignored: Collection[Dimension] = (),
    policy: Policy | None = None,
    levels: Levels | None = None,
    alpha: float = ALPHA,
    test: bool = True,
    metrics_only: bool = False,
) -> Comparison:
    """Compare the runs ``b`` with the baseline ``a``.

    Runs pair by scenario and by every dimension that is neither in ``slicing`` nor ``ignored``.
    Only runs that passed give figures; the verdicts of the others are compared as such. With two
    runs and more on both sides a change also has to be beyond chance, with the number of metrics
    in mind.

    :param alpha: how often, at most, noise may be taken for a change.
    :param test: ``False`` leaves noise out of account: gates on the figures of all runs together.
    :param metrics_only: whether a verdict that got worse is merely listed.
    """
    mine, theirs = grouped(a, slicing, ignored), grouped(b, slicing, ignored)
    pairs = [_pair(mine[key], theirs[key]) for key in sorted(mine.keys() & theirs.keys())]
    wanted, rules = levels or Levels(), policy or Policy()
    changes = [c for pair in pairs for c in _changes(pair, wanted, rules, alpha, test)]
    findings = {index: c.finding for index, c in enumerate(changes) if c.finding is not None}
    strict = [i for i in findings if changes[i].metric in rules.must_not_regress]
    for index, finding in together(findings, strict=strict).items():
        if finding is not findings[index]:
            changes[index] = replace(changes[index], finding=finding, outcome=_outcome(finding))
    return Comparison(
        slicing=tuple(each for each in Dimension if each in slicing),
        ignored=tuple(each for each in Dimension if each in ignored),
        pairs=tuple(pairs),
        only_a=tuple(mine[key] for key in sorted(mine.keys() - theirs.keys())),
        only_b=tuple(theirs[key] for key in sorted(theirs.keys() - mine.keys())),
        changes=tuple(changes),
        verdicts=tuple(change for pair in pairs for change in _verdicts(pair)),
        unpaired_phases=tuple(each for pair in pairs for each in _unpaired(pair, wanted)),
        alpha=alpha,
        verdicts_count=not metrics_only,
        test=test,
        unmeasured=tuple(_unmeasured(rules.must_not_regress, changes, wanted.run)),
    )


def _unmeasured(names: Sequence[str], changes: Sequence[Change], run: bool) -> Iterator[str]:
    """Those of the metrics that a regression could have hidden from.

    :param run: whether runs as a whole are compared; their phases tell otherwise.
    """
    found: dict[str, set[Outcome]] = {}
    for change in changes:
        if run == (change.step_index is None):
            found.setdefault(change.metric, set()).add(change.outcome)
    nothing = {Outcome.ONLY_A, Outcome.ONLY_B, Outcome.SUPPRESSED}
    for name in names:
        outcomes = found.get(name, set())
        if Outcome.ONLY_A in outcomes or outcomes <= nothing:
            yield name


def _pair(a: Group, b: Group) -> Pair:
    rows = (*a.rows, *b.rows)
    seeds = [sorted(row.seed for row in g.passing if row.seed is not None) for g in (a, b)]
    virtual = all(row.clock == "virtual" and row.seed is not None for row in rows)
    return Pair(a, b, virtual and set(seeds[0]) == set(seeds[1]))


def _verdicts(pair: Pair) -> Iterator[VerdictChange]:
    before, now = pair.a.verdict, pair.b.verdict
    if before == now and pair.a.worst_share == pair.b.worst_share:
        return
    worse = None
    if before == "pass" and now in _WORSE:
        worse = True
    elif before in _WORSE and now == "pass":
        worse = False
    reason = pair.b.reason if VERDICTS.index(now) >= VERDICTS.index(before) else pair.a.reason
    yield VerdictChange(pair.key, pair.a.verdict_text, pair.b.verdict_text, worse, reason)


def _unpaired(pair: Pair, levels: Levels) -> Iterator[tuple[PairKey, str, str]]:
    if not pair.compared:
        return
    mine, theirs = pair.a.steps(), pair.b.steps()
    for step in sorted(mine.keys() ^ theirs.keys()):
        if levels.wants(step):
            side = "a" if step in mine else "b"
            yield pair.key, (mine | theirs)[step], side


def _changes(
    pair: Pair, levels: Levels, policy: Policy, alpha: float, test: bool
) -> Iterator[Change]:
    if not pair.compared:
        return
    if levels.run:
        yield from _level(pair, None, "", policy, alpha, test)
    mine, theirs = pair.a.steps(), pair.b.steps()
    for step in sorted(mine.keys() & theirs.keys()):
        if levels.wants(step):
            yield from _level(pair, step, mine[step], policy, alpha, test)


def _level(
    pair: Pair, step: int | None, title: str, policy: Policy, alpha: float, test: bool
) -> Iterator[Change]:
    """Every metric that any passing run of either side measured at one level, each once."""
    mine, theirs = pair.a.readings(step), pair.b.readings(step)
    names = dict.fromkeys(name for metrics, _ in (*mine, *theirs) for name in metrics)
    for name in sorted(names, key=_place):
        rule = policy.rule(name)
        ours, others = _values(name, mine), _values(name, theirs)
        n_a, n_b = len(ours) - ours.count(None), len(others) - others.count(None)
        tested = test and not pair.exact and n_a >= 2 and n_b >= 2
        peaks = not tested and n_a == n_b
        a, b = fold(name, rule.kind, mine, peaks=peaks), fold(name, rule.kind, theirs, peaks=peaks)
        finding = None
        if name in RENDER_SUPPRESSED_COMPONENTS:
            outcome = Outcome.SUPPRESSED
        elif a is None or b is None:
            outcome = Outcome.ONLY_A if b is None else Outcome.ONLY_B
        elif tested or pair.exact:
            finding = two_sample(
                ours,
                others,
                polarity=rule.polarity,
                abs_gate=rule.absolute,
                rel_gate=rule.relative,
                alpha=alpha,
                exact=pair.exact,
                centres=(a, b) if is_pooled(rule.kind) else None,
            )
            outcome = _outcome(finding)
            if finding.test is not Decider.EXACT and finding.baseline is not None:
                # What is shown is what was judged: means, or the typical run.
                a, b = finding.baseline, finding.baseline + (finding.change or 0.0)
        else:
            outcome = _by_gates(rule, a, b)
        yield Change(pair.key, step, title, name, rule, outcome, a, b, n_a, n_b, finding)


def _place(name: str) -> tuple[int, str]:
    return _PLACE.get(name, len(_PLACE)), name


def _values(name: str, readings: Sequence[Reading]) -> list[float | None]:
    return [metrics.get(name) for metrics, _ in readings]


def _by_gates(rule: Rule, a: float, b: float) -> Outcome:
    """What becomes of a change where noise is left out of account: the gates alone."""
    if not Gates(rule.absolute, rule.relative).passed(b - a, a):
        return Outcome.UNCHANGED
    if (target := rule.polarity.target) is not None:
        return Outcome.REGRESSION if abs(b - target) > abs(a - target) else Outcome.IMPROVEMENT
    rising = rule.polarity.classify_direction()
    if rising is None:
        return Outcome.CHANGED
    return Outcome.REGRESSION if rising == (b > a) else Outcome.IMPROVEMENT


def _outcome(finding: Finding) -> Outcome:
    match finding.verdict:
        case Word.REGRESSION:
            return Outcome.REGRESSION
        case Word.IMPROVEMENT:
            return Outcome.IMPROVEMENT
        case Word.CHANGED:
            return Outcome.CHANGED
        case Word.UNCHANGED:
            return Outcome.UNCHANGED
    return Outcome.NOISE if finding.material else Outcome.UNDECIDED
