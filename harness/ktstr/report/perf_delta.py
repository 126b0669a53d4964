# SPDX-License-Identifier: GPL-2.0-only
"""What two commits differ in, for a terminal."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ktstr.history.noise import ALPHA, Finding, Word
from ktstr.history.perf_delta import WALL_REPEAT, Delta, Ran, Turn
from ktstr.history.repeats import Judgement, Key
from ktstr.report.delta_words import (
    change_text,
    counts_text,
    doubt_text,
    interval_text,
    method_lines,
    p_text,
    side_text,
    unit_of,
)
from ktstr.report.printable import one_line
from ktstr.report.verdict import STYLES

MOST_DOUBTS: Final = 12
"""Undecided metrics that are listed; a JSON document has all."""

REASON_CHARS: Final = 160
WORD_STYLES: Final = {
    Word.REGRESSION: "bold red",
    Word.IMPROVEMENT: "bold green",
    Word.CHANGED: "bold yellow",
    Word.UNCHANGED: "",
    Word.INCONCLUSIVE: "yellow",
}


def headline(delta: Delta) -> Text:
    """Which two sides, and how often each runs."""
    line = Text("base ", style="dim")
    line.append(str(delta.base.commit), style="bold")
    line.append("  head ", style="dim")
    line.append(str(delta.head.commit), style="bold")
    return line


def cautions(delta: Delta) -> list[str]:
    """What to know before believing any of it."""
    found = []
    exact = {subject.exact for subject in delta.subjects if subject.missing is None}
    if delta.same:
        differs = "is chance" if False in exact else "is a defect of ktstr"
        found.append(f"both sides are the same commit without changes: what differs {differs}")
    elif delta.head.commit.dirty:
        found.append("head has changes that are not committed; nobody else can repeat this")
    for subject in delta.subjects:
        if subject.missing is not None:
            side = delta.side(subject.missing)
            found.append(f"{subject.name} is not in {side.name} {side.commit}: left out")
        elif subject.inside is None:
            found.append(
                f"{subject.name} is outside of the repository: the same file on both sides"
            )
    repeats = {turn.subject: turn.repetition + 1 for turn in delta.turns}
    if True in exact and 1 in repeats.values():
        found.append(
            "one seed is one interleaving out of many: the difference is real, and another seed "
            "may show another (--repeat)"
        )
    fewest = min((n for subject, n in repeats.items() if not subject.exact), default=WALL_REPEAT)
    if len(delta.ran) < len(delta.turns):
        found.append(f"{len(delta.ran)} of {len(delta.turns)} runs were made")
    if fewest == 1:
        found.append("one run a side says nothing of noise: nothing can be told by the wall clock")
    elif fewest < WALL_REPEAT:
        found.append(f"{fewest} runs a side show large changes only; five and more are advised")
    return found


def due_lines(delta: Delta) -> list[str]:
    """What would be done, without doing it."""
    lines = []
    for side in (delta.base, delta.head):
        lines.append(f"{side.name}: {side.commit}, records in {_near(side.out_dir)}")
        if delta.request.build is not None:
            lines.append(f"  build: {delta.request.build}")
    lines.append(f"runs: {len(delta.turns)}")
    lines += [f"  {number}. {turn_name(turn)}" for number, turn in enumerate(delta.turns, 1)]
    return lines


def _near(path: Path) -> str:
    """A path as short as it can be said from here."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def turn_name(turn: Turn) -> str:
    """One run for people."""
    seed = "" if turn.seed is None else f", seed {turn.seed}"
    return f"{turn.side} {turn.subject.name} #{turn.repetition + 1}{seed}"


def ran_line(ran: Ran, number: int, of: int) -> Text:
    """One run that is over, in one line."""
    line = Text(f"[{number:>{len(str(of))}}/{of}] ", style="dim")
    line.append(f"{ran.verdict.upper():<12} ", style=STYLES.get(ran.verdict, ""))
    line.append(f"{turn_name(ran.turn)} ")
    line.append(f"{ran.wall_s:.1f} s", style="dim")
    if ran.verdict != "pass" and ran.reason:
        line.append(f"  {one_line(ran.reason, REASON_CHARS)}", style="dim")
    return line


def summary(delta: Delta, judgement: Judgement) -> list[RenderableType]:
    """The changes, what passes no more, what was not decided, and how it was decided."""
    parts: list[RenderableType] = []
    told = judgement.of(Word.REGRESSION, Word.IMPROVEMENT, Word.CHANGED)
    if told:
        parts += [Text(), findings_table(told, many=len(delta.subjects) > 1)]
    # Where each side ran once, that is said once.
    doubts = [each for each in judgement.of(Word.INCONCLUSIVE) if each[1].means is not None]
    if doubts:
        parts += [Text(), Text("not decided:"), *_doubts(doubts, many=len(delta.subjects) > 1)]
    if judgement.coverage:
        parts += [Text(), *_coverage(judgement)]
    parts.append(Text())
    parts += [Text(text, style=STYLES["fail"]) for text in verdict_lines(judgement)]
    parts.append(Text(f"{counts_text(judgement)}", style="bold"))
    lines = [*cautions(delta), *method_lines(judgement, alpha=ALPHA)]
    parts += [Text(f"  {line}", style="dim") for line in lines]
    return parts


def verdict_lines(judgement: Judgement) -> list[str]:
    """Scenarios of which not every run passed, and metrics that were to be there and were not."""
    found = []
    for name, f in judgement.verdicts.items():
        base, head = (round((side.mean or 0) * side.n) for side in (f.a, f.b))
        text = f"{name}: {base} of {f.a.n} runs passed on base, {head} of {f.b.n} on head"
        if f.verdict is Word.REGRESSION:
            text += ": REGRESSION"
        elif f.verdict is Word.IMPROVEMENT:
            text += ": improvement"
        found.append(f"{text}; figures are of those that passed")
    found += [
        f"{name} must not regress, and was not measured often enough on both sides"
        for name in judgement.unmeasured
    ]
    return found


def findings_table(found: Sequence[tuple[Key, Finding]], *, many: bool) -> Table:
    """A row each: both sides, the change and where it lies, the p, the word."""
    phases = any(key.phase for key, _ in found)
    table = Table(box=None, padding=(0, 1), pad_edge=False)
    if many:
        table.add_column("scenario", no_wrap=True)
    if phases:
        table.add_column("phase", no_wrap=True)
    table.add_column("metric", no_wrap=True)
    table.add_column("unit", no_wrap=True)
    for name in ("base", "head", "change", "between", "p"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for key, finding in found:
        names = [key.scenario] if many else []
        names += [key.phase] if phases else []
        table.add_row(
            *(Text(one_line(name)) for name in (*names, key.metric)),
            unit_of(key),
            side_text(finding, "base"),
            side_text(finding, "head"),
            change_text(finding),
            interval_text(finding),
            p_text(finding),
            Text(finding.verdict.value.upper(), style=WORD_STYLES[finding.verdict]),
        )
    return table


def _doubts(found: Iterable[tuple[Key, Finding]], *, many: bool) -> list[Text]:
    whole = [(key, f) for key, f in found if not key.phase]
    lines = [
        Text(
            one_line(f"  {f'{key.scenario} ' if many else ''}{key.metric}: {doubt_text(f)}"),
            style="dim",
        )
        for key, f in whole[:MOST_DOUBTS]
    ]
    more = len(whole) - len(lines)
    return [*lines, Text(f"  ... and {more} more (--json)", style="dim")] if more > 0 else lines


def _coverage(judgement: Judgement) -> list[Text]:
    lines = [Text("on one side only, so not compared:")]
    for key, side, runs in judgement.coverage[:MOST_DOUBTS]:
        where = f"{key.scenario} {key.phase}".strip()
        line = one_line(f"  {where}: {key.metric}, {side}, {runs} runs")
        lines.append(Text(line, style="dim"))
    more = len(judgement.coverage) - MOST_DOUBTS
    return [*lines, Text(f"  ... and {more} more (--json)", style="dim")] if more > 0 else lines
