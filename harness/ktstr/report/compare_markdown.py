# SPDX-License-Identifier: GPL-2.0-only
"""A comparison as Markdown for a pull request, within what a comment takes."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Final

from ktstr.history.compare import Outcome
from ktstr.history.group import PairKey
from ktstr.report.compare import (
    COLUMNS,
    Report,
    counted,
    coverage_lines,
    row_of,
)
from ktstr.report.markdown_text import as_code, escaped

MAX_BYTES: Final = 60_000
"""A comment on GitHub takes 65 536 characters; what a bot puts around this has to fit as well."""

_RESERVE: Final = 400
"""Bytes kept for the closing of what is open and for the sentence of what was left out."""

_COLUMNS: Final = COLUMNS[:-1]


class _Page:
    """Lines up to a limit; what has no room is counted."""

    def __init__(self, limit: int) -> None:
        self._lines: list[str] = []
        self._left = limit - _RESERVE
        self.left_out = 0

    def add(self, *lines: str) -> bool:
        """Add lines together, or none of them when they do not fit."""
        size = sum(len(line.encode()) + 1 for line in lines)
        if size > self._left:
            self.left_out += 1
            return False
        self._left -= size
        self._lines += lines
        return True

    def close(self, *lines: str) -> None:
        """Add what has to be there."""
        self._lines += lines

    def text(self) -> str:
        return "\n".join(self._lines) + "\n"


def markdown(report: Report, limit: int = MAX_BYTES) -> str:
    """The comparison: regressions open, everything else folded; at most ``limit`` bytes."""
    comparison, names = report.comparison, report.names()
    page = _Page(limit)
    mark = {0: "✅", 1: "❌"}.get(comparison.exit_code, "⚪")
    page.add(f"### {mark} ktstr: {escaped(report.summary)}", "")
    page.add(*(escaped(line) + "  " for line in report.heading), "")
    worse = [each for each in comparison.verdicts if each.worse]
    if worse:
        page.add("**No longer passing**", "")
        for each in worse:
            reason = f": {escaped(each.reason, 200)}" if each.reason else ""
            page.add(f"- {as_code(names[each.pair])} {escaped(each.a)} → {escaped(each.b)}{reason}")
        page.close("")
    regressions = comparison.of(Outcome.REGRESSION)
    if regressions:
        _rows(page, (row_of(change, names) for change in regressions))
    for outcome, noun in (
        (Outcome.IMPROVEMENT, "improvement"),
        (Outcome.CHANGED, "change that is neither better nor worse"),
    ):
        changes = comparison.of(outcome)
        if changes:
            title = (
                counted(len(changes), noun)
                if outcome is Outcome.IMPROVEMENT
                else (f"{len(changes)} changed, neither better nor worse")
            )
            rows = [row_of(change, names) for change in changes]
            _folded(page, title, partial(_rows, page, rows))
    _folded_list(page, "Measured on one side only", coverage_lines(report, names))
    _folded_list(page, "Verdicts that changed otherwise", _other_verdicts(report, names))
    _folded_list(page, "Run on one side only, or without a passing run", _unpaired(report, names))
    notes = [*report.damaged, *report.remarks, *report.method]
    if report.quiet:
        notes.append(f"not listed: {report.quiet}")
    _folded_list(page, "Notes", notes)
    if page.left_out:
        page.close(
            "", f"*{counted(page.left_out, 'line')} left out: `ktstr compare --format text --all`*"
        )
    return page.text()


def _rows(page: _Page, rows: Iterable[Sequence[str]]) -> None:
    heads = " | ".join(name for name, _ in _COLUMNS)
    rule = "|".join("--:" if right else "---" for _, right in _COLUMNS)
    if not page.add(f"| {heads} |", f"|{rule}|"):
        return
    for row in rows:
        test, where, metric, *rest = row[: len(_COLUMNS)]
        cells = [as_code(test), escaped(where), as_code(metric), *map(escaped, rest)]
        page.add(f"| {' | '.join(cells)} |")
    page.close("")


def _folded(page: _Page, title: str, body: Callable[[], None]) -> None:
    if page.add(f"<details><summary>{escaped(title)}</summary>", ""):
        body()
        page.close("</details>", "")


def _folded_list(page: _Page, title: str, lines: Iterable[str]) -> None:
    found = list(lines)
    if found:
        _folded(page, f"{title} ({len(found)})", partial(_bullets, page, found))


def _bullets(page: _Page, lines: Sequence[str]) -> None:
    for line in lines:
        page.add(f"- {escaped(line, 1000)}")
    page.close("")


def _other_verdicts(report: Report, names: dict[PairKey, str]) -> Iterator[str]:
    for each in report.comparison.verdicts:
        if not each.worse:
            yield f"{names[each.pair]}: {each.a} → {each.b}"


def _unpaired(report: Report, names: dict[PairKey, str]) -> Iterator[str]:
    comparison = report.comparison
    for letter, groups in (("A", comparison.only_a), ("B", comparison.only_b)):
        yield from (f"{names[group.key]}: only in {letter}" for group in groups)
    for pair in comparison.pairs:
        if not pair.compared:
            yield f"{names[pair.key]}: {pair.a.verdict_text}, {pair.b.verdict_text}"
