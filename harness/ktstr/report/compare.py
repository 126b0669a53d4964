# SPDX-License-Identifier: GPL-2.0-only
"""A comparison for people: what got worse first, then the rest, and what has no counterpart."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from ktstr.history.compare import Change, Comparison, Outcome
from ktstr.history.dimensions import Dimension
from ktstr.history.group import Group, PairKey
from ktstr.history.noise import Decider, Finding
from ktstr.history.sides import Sides
from ktstr.report.printable import figure, one_line

MAX_ROWS: Final = 200
"""Rows of one table, where not all are asked for."""

FACTOR: Final = 10
"""Times A from which a change is told as a factor."""

SHOWN: Final = (Outcome.REGRESSION, Outcome.IMPROVEMENT, Outcome.CHANGED)
QUIET: Final = (Outcome.NOISE, Outcome.UNDECIDED, Outcome.UNCHANGED)
ONE_SIDED: Final = (Outcome.ONLY_A, Outcome.ONLY_B)

GATED: Final = (*SHOWN, Outcome.UNCHANGED)
"""What the gates alone can make of a metric."""

_STYLES: Final = {Outcome.REGRESSION: "red", Outcome.IMPROVEMENT: "green"}

ONE_RUN: Final = (
    "one run a side says nothing of noise: these are the changes beyond the gates, whatever "
    "caused them; two runs and more a side are tested"
)
NO_TEST: Final = (
    "noise was left out of account: these are the changes beyond the gates, whatever caused them"
)
EXACT: Final = (
    "pairs by the virtual clock with the same seed have no noise, whatever differs there is a real "
    "change: {differ} of {all} metrics do, and those beyond the gates are listed"
)


@dataclass(frozen=True, slots=True)
class Report:
    """A comparison with what it was made of.

    :param remarks: what has to be known before the figures are believed.
    :param damaged: files that could not be read.
    """

    comparison: Comparison
    sides: Sides
    remarks: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()

    @property
    def heading(self) -> list[str]:
        """What was compared with what, in a few lines."""
        sides = self.sides
        lines = [
            f"A {_side(sides.label_a, len(sides.a))}, B {_side(sides.label_b, len(sides.b))}",
        ]
        for each in sides.slicing:
            a, b = _values(each, self.sides.a), _values(each, self.sides.b)
            lines.append(f"they differ in {each.value}: {a} → {b}")
        if shared := self.shared:
            lines.append(f"in all of them {shared}")
        return lines

    @property
    def pairing(self) -> tuple[Dimension, ...]:
        """The dimensions in which runs have to be equal to be one pair."""
        out = {*self.comparison.slicing, *self.comparison.ignored}
        return tuple(each for each in Dimension if each not in out)

    def _groups(self) -> Iterator[Group]:
        for pair in self.comparison.pairs:
            yield from (pair.a, pair.b)
        yield from (*self.comparison.only_a, *self.comparison.only_b)

    def _telling(self, keys: Iterable[PairKey]) -> list[int]:
        """The places that are not the same in all of these keys."""
        found = list(keys)
        places = range(1, 1 + len(self.pairing))
        return [place for place in places if len({key[place] for key in found}) > 1]

    @property
    def shared(self) -> str:
        """The dimensions that all runs have in common, with their values."""
        keys = [group.key for group in self._groups()]
        telling = set(self._telling(keys))
        return ", ".join(
            f"{dimension.value} {one_line(keys[0][place])}"
            for place, dimension in enumerate(self.pairing, 1)
            if keys and place not in telling and keys[0][place]
        )

    def names(self) -> dict[PairKey, str]:
        """What to call each pair: the scenario, and what tells it from others of that name."""
        keys: dict[str, list[PairKey]] = {}
        for group in self._groups():
            keys.setdefault(group.scenario, []).append(group.key)
        found = {}
        for scenario, members in keys.items():
            telling = self._telling(members)
            for key in members:
                values = [_value(self.pairing[place - 1], key[place]) for place in telling]
                found[key] = _name(scenario, values)
        return found

    @property
    def summary(self) -> str:
        """The result in one line."""
        comparison = self.comparison
        if not comparison.compared and not comparison.regressions:
            return "nothing could be compared"
        counts = [
            counted(len(comparison.of(Outcome.REGRESSION)), "regression"),
            counted(len(comparison.of(Outcome.IMPROVEMENT)), "improvement"),
        ]
        for worse, word in ((True, "no longer passes"), (False, "passes now")):
            number = sum(1 for each in comparison.verdicts if each.worse is worse)
            if number:
                counts.append(f"{counted(number, 'pair')} {word}")
        tested = sum(1 for pair in comparison.pairs if pair.compared)
        text = f"{', '.join(counts)}; {counted(tested, 'pair')} compared"
        if not comparison.unmeasured:
            return text
        names = ", ".join(comparison.unmeasured)
        return f"{text}; not everywhere compared, though it must not regress: {names}"

    @property
    def quiet(self) -> str:
        """How many metrics are in no table, by what became of them."""
        words = {
            Outcome.UNCHANGED: "unchanged",
            Outcome.NOISE: "beyond the gates but within noise",
            Outcome.UNDECIDED: "too noisy to tell with so few runs",
            Outcome.SUPPRESSED: "parts of rates",
        }
        found = {each: len(self.comparison.of(each)) for each in words}
        return ", ".join(f"{found[each]} {word}" for each, word in words.items() if found[each])

    @property
    def method(self) -> list[str]:
        """How a change came to count, in sentences."""
        comparison, found = self.comparison, []
        findings = [change.finding for change in comparison.changes if change.finding is not None]
        tested = [each for each in findings if each.p is not None and each.test != Decider.EXACT]
        if tested:
            runs = sorted({min(each.a.n, each.b.n) for each in tested})
            spread = str(runs[0]) if len(runs) == 1 else f"{runs[0]} to {runs[-1]}"
            found.append(
                f"{len(tested)} metrics tested with {spread} runs a side: a change counts when it "
                f"passes both gates and chance explains it in fewer than {comparison.alpha:.0%} "
                "of cases, adjusted for their number"
            )
        if any(each.outcome in GATED and each.finding is None for each in comparison.changes):
            found.append(ONE_RUN if comparison.test else NO_TEST)
        if exact := [each for each in findings if each.test == Decider.EXACT]:
            differ = sum(1 for each in exact if each.significant)
            found.append(EXACT.format(differ=differ, all=len(exact)))
        return found


def counted(number: int, noun: str) -> str:
    """``1 pair``, ``2 pairs``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def print_report(console: Console, report: Report, *, everything: bool = False) -> None:
    """Print a comparison.

    :param everything: also what did not change, and every row.
    """
    for line in report.heading:
        console.print(escape(line), highlight=False)
    for sentence in (*report.damaged, *report.remarks):
        console.print(f"[yellow]note:[/] {escape(one_line(sentence))}", highlight=False)
    names, comparison = report.names(), report.comparison
    for outcomes in [(each,) for each in SHOWN] + ([QUIET] if everything else []):
        changes = comparison.of(*outcomes)
        if changes:
            console.print()
            for row in _lines(changes if everything else changes[:MAX_ROWS], names):
                console.print(row)
            if len(changes) > MAX_ROWS and not everything:
                console.print(f"… and {len(changes) - MAX_ROWS} more (--all)", highlight=False)
    for text in _ends(report, names):
        console.print(escape(text), highlight=False)
    console.print()
    for sentence in report.method:
        console.print(escape(sentence), highlight=False)
    if report.quiet:
        console.print(escape(f"not listed: {report.quiet}"), highlight=False)
    style = "bold red" if comparison.regressions else "bold"
    console.print(f"[{style}]{escape(report.summary)}[/]", highlight=False)


def _lines(changes: Sequence[Change], names: dict[PairKey, str]) -> Iterator[Text]:
    """A table whose cells are never cut: names are what people search for."""
    rows = [row_of(change, names) for change in changes]
    cells = [tuple(name for name, _ in COLUMNS), *rows]
    widths = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
    styles = ["bold", *(_STYLES.get(change.outcome, "") for change in changes)]
    for row, style in zip(cells, styles, strict=True):
        padded = (
            " " * (width - cell_len(cell)) + cell if right else set_cell_size(cell, width)
            for cell, width, (_, right) in zip(row, widths, COLUMNS, strict=True)
        )
        yield Text(" ".join(padded).rstrip(), style=style)


COLUMNS: Final = (
    ("test", False),
    ("where", False),
    ("metric", False),
    ("unit", False),
    ("A", True),
    ("B", True),
    ("change", True),
    ("runs", True),
    ("p", True),
    ("", False),
)


def row_of(change: Change, names: dict[PairKey, str]) -> tuple[str, ...]:
    """The cells of a change, by :data:`COLUMNS`."""
    return (
        names[change.pair],
        one_line(change.title, 40) if change.title else "run",
        one_line(change.metric, 80),
        change.rule.unit,
        figure(change.a),
        figure(change.b),
        percent(change),
        f"{change.n_a}/{change.n_b}",
        probability(change.finding),
        change.outcome.value,
    )


def percent(change: Change) -> str:
    """The change as a share of A, many times A as a factor; from zero there is neither."""
    if change.delta is None:
        return "–"
    if change.relative is None:
        return "from 0" if change.delta else "0"
    if change.relative >= FACTOR:
        return f"x{1 + change.relative:,.0f}"
    return f"{change.relative:+.1%}"


def probability(finding: Finding | None) -> str:
    """How easily chance does this, adjusted; ``exact`` without noise, empty where not tested."""
    if finding is None or finding.decides is None:
        return ""
    if finding.test == Decider.EXACT:
        return "exact"
    return "<0.001" if finding.decides < 0.001 else f"{finding.decides:.3f}"


def _ends(report: Report, names: dict[PairKey, str]) -> Iterator[str]:
    """What is no change of a metric: verdicts, and what only one side has."""
    comparison = report.comparison
    if comparison.verdicts:
        yield "\nverdicts"
        for each in comparison.verdicts:
            reason = f"  {one_line(each.reason, 160)}" if each.reason else ""
            mark = {True: "regression", False: "improvement", None: ""}[each.worse]
            yield f"  {names[each.pair]}: {each.a} → {each.b}  {mark}{reason}".rstrip()
    uncompared = [pair for pair in comparison.pairs if not pair.compared]
    if uncompared:
        yield "\nwithout a passing run on both sides, so not compared"
        for pair in uncompared:
            yield f"  {names[pair.key]}: {pair.a.verdict_text}, {pair.b.verdict_text}"
    for letter, groups in (("A", comparison.only_a), ("B", comparison.only_b)):
        if groups:
            yield f"\nonly in {letter}"
            yield from (f"  {names[g.key]}: {counted(len(g.rows), 'run')}" for g in groups)
    coverage = list(coverage_lines(report, names))
    if coverage:
        yield "\nmeasured on one side only"
        yield from (f"  {line}" for line in coverage)


def coverage_lines(report: Report, names: dict[PairKey, str]) -> Iterator[str]:
    """Metrics and phases that only one side has, a line for each pair, place and side."""
    found: dict[tuple[PairKey, str, str], list[str]] = {}
    for change in report.comparison.of(*ONE_SIDED):
        letter = "A" if change.outcome is Outcome.ONLY_A else "B"
        found.setdefault((change.pair, change.title, letter), []).append(change.metric)
    for (pair, title, letter), metrics in found.items():
        where = f" {one_line(title, 40)}" if title else ""
        yield f"{names[pair]}{where}, only {letter}: {', '.join(map(one_line, metrics))}"
    for pair, title, side in report.comparison.unpaired_phases:
        yield f"{names[pair]}: phase {one_line(title, 40)} only {side.upper()}"


def document(report: Report) -> dict[str, Any]:
    """The comparison for programs: every change, whatever became of it."""
    comparison, names = report.comparison, report.names()
    return {
        "schema": 1,
        "exit_code": comparison.exit_code,
        "summary": report.summary,
        "a": {"label": report.sides.label_a, "runs": len(report.sides.a)},
        "b": {"label": report.sides.label_b, "runs": len(report.sides.b)},
        "slicing": [each.value for each in comparison.slicing],
        "pairing": [each.value for each in report.pairing],
        "alpha": comparison.alpha,
        "unmeasured": list(comparison.unmeasured),
        "notes": [*report.damaged, *report.remarks, *report.method],
        "pairs": [
            {
                "name": names[pair.key],
                "key": dict(zip(("scenario", *_words(report.pairing)), pair.key, strict=True)),
                "runs": [len(pair.a.rows), len(pair.b.rows)],
                "passing": [len(pair.a.passing), len(pair.b.passing)],
                "exact": pair.exact,
            }
            for pair in comparison.pairs
        ],
        "only_a": [names[group.key] for group in comparison.only_a],
        "only_b": [names[group.key] for group in comparison.only_b],
        "verdicts": [
            {"pair": names[v.pair], "a": v.a, "b": v.b, "worse": v.worse, "reason": v.reason}
            for v in comparison.verdicts
        ],
        "phases_on_one_side": [
            {"pair": names[pair], "phase": title, "side": side}
            for pair, title, side in comparison.unpaired_phases
        ],
        "changes": [_entry(change, names) for change in comparison.changes],
    }


def _entry(change: Change, names: dict[PairKey, str]) -> dict[str, Any]:
    finding = change.finding
    return {
        "pair": names[change.pair],
        "phase": change.title or None,
        "metric": change.metric,
        "unit": change.rule.unit,
        "outcome": change.outcome.value,
        "a": _plain(change.a),
        "b": _plain(change.b),
        "delta": _plain(change.delta),
        "relative": _plain(change.relative),
        "runs": [change.n_a, change.n_b],
        "gates": {"absolute": change.rule.absolute, "relative": change.rule.relative},
        "test": None if finding is None else finding.test.value,
        "p": None if finding is None else finding.p,
        "p_adjusted": None if finding is None else finding.p_adjusted,
        "effect": None if finding is None else _plain(finding.effect),
        "interval": None
        if finding is None or finding.interval is None
        else [*map(_plain, finding.interval)],
    }


def _plain(value: float | None) -> float | None:
    """A number as JSON has it: a bound that lies nowhere is none."""
    return value if value is None or abs(value) < float("inf") else None


def _words(dimensions: Sequence[Dimension]) -> list[str]:
    return [each.value for each in dimensions]


def _value(dimension: Dimension, value: str) -> str:
    """A value by itself; a bare number with what it counts."""
    if dimension in (Dimension.SEED, Dimension.CPU_BUDGET):
        return f"{dimension.value} {value or '–'}"
    return value or "–"


def _name(scenario: str, values: Sequence[str]) -> str:
    name = one_line(scenario, 80)
    return f"{name} [{', '.join(one_line(value, 60) for value in values)}]" if values else name


def _side(label: str, runs: int) -> str:
    return f"{one_line(label)} ({counted(runs, 'run')})".strip()


def _values(dimension: Dimension, rows: Sequence[Any]) -> str:
    found = sorted({dimension.of(row) or "not recorded" for row in rows}) or ["no run"]
    return ", ".join(map(one_line, found[:3])) + (", …" if len(found) > 3 else "")
