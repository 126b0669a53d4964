# SPDX-License-Identifier: GPL-2.0-only
"""Findings of repeated runs in words and numbers: how large, how sure, and what was not seen."""

import math
from typing import Final

from ktstr.errors import ExitCode
from ktstr.history.noise import Decider, Finding, Word
from ktstr.history.repeats import Judgement, Key
from ktstr.metrics.registry import metric_def
from ktstr.report.printable import NOT_MEASURED, figure

MOST_PERCENT: Final = 1000
"""Growth in percent from which on a factor says it better."""


def exit_code(judgement: Judgement, threshold: int) -> ExitCode:
    """How a comparison exits.

    A scenario that passes no more, or a metric that must not regress and did, is a failure
    whatever the threshold. What was not compared at all is never a silent pass.

    :param threshold: as many regressions are a failure.
    """
    regressed = judgement.of(Word.REGRESSION)
    if judgement.broken or any(key.metric in judgement.strict for key, _ in regressed):
        return ExitCode.FAIL
    if len(regressed) >= threshold:
        return ExitCode.FAIL
    if not judgement.compared or judgement.unmeasured:
        return ExitCode.INCONCLUSIVE
    return ExitCode.PASS


def unit_of(key: Key) -> str:
    """The metric's unit; empty for a bare number."""
    metric = metric_def(key.metric)
    return "" if metric is None else metric.display_unit


def side_text(finding: Finding, side: str) -> str:
    """A side's centre and scatter: ``48,750 ±3%``."""
    found = finding.a if side == "base" else finding.b
    centres = {Decider.RANKS: found.median, Decider.LOGS: found.geometric}
    centre = centres.get(finding.test, found.mean)
    if centre is None:
        return NOT_MEASURED
    if not found.deviation or not found.mean:
        return figure(centre)
    return f"{figure(centre)} ±{percent(found.deviation / abs(found.mean))}"


def percent(share: float) -> str:
    """A fraction as percent, with decimals where they count."""
    if abs(share) >= 0.1:
        return f"{share * 100:,.0f}%"
    return f"{share * 100:.1f}%" if abs(share) >= 0.001 else f"{share * 100:.1g}%"


def change_text(finding: Finding) -> str:
    """The change, relative where the baseline is not zero."""
    if finding.change is None:
        return NOT_MEASURED
    if finding.change == 0:
        return "0"
    sign = "+" if finding.change > 0 else "-"
    if finding.relative is None:
        return f"{sign}{figure(abs(finding.change))} from 0"
    if finding.relative * 100 >= MOST_PERCENT:
        return f"x{1 + finding.relative:,.0f}"
    return f"{sign}{percent(abs(finding.relative))}"


def interval_text(finding: Finding) -> str:
    """Where the change lies, as :func:`change_text` gives it; empty where nothing was tested."""
    ranked = finding.test is Decider.RANKS and finding.order is not None
    bounds = finding.order.interval if ranked and finding.order else finding.interval
    if bounds is None or finding.means is None or not all(map(math.isfinite, bounds)):
        return ""
    if finding.baseline:
        low, high = (f"{bound / abs(finding.baseline) * 100:+.0f}%" for bound in bounds)
    else:
        low, high = (f"{bound:+.3g}" for bound in bounds)
    return f"[{low}, {high}]"


def p_text(finding: Finding) -> str:
    """The p that decided, and by what."""
    if finding.test is Decider.EXACT:
        return "exact"
    if finding.decides is None:
        return NOT_MEASURED
    p = finding.decides
    shown = "<0.0001" if p < 0.0001 else f"{p:.4f}" if p < 0.01 else f"{p:.3f}"
    return f"{shown} ranks" if finding.test is Decider.RANKS else shown


def doubt_text(finding: Finding) -> str:
    """Why a metric is not decided, and what it would take."""
    if finding.a.n < 2 or finding.b.n < 2:
        return f"{finding.a.n} and {finding.b.n} runs have it; noise shows from two a side on"
    if finding.detectable is None or finding.baseline is None:
        return "nothing was tested"
    seen, gate = finding.detectable, finding.gates.size(finding.baseline)
    text = f"could show {_amount(seen, finding.baseline)}, matters from "
    text += _amount(gate, finding.baseline)
    needed = finding.runs_needed
    runs = max(finding.a.n, finding.b.n)
    if needed is None:
        return f"{text}; too noisy for any number of runs"
    if needed > runs:
        return f"{text}; {needed} runs a side would show that"
    if finding.material:
        return f"{text}; it changed by {change_text(finding)}, which chance may do"
    return f"{text}; a change of that size is not ruled out"


def _amount(value: float, baseline: float) -> str:
    return percent(value / abs(baseline)) if baseline else figure(value)


def method_lines(judgement: Judgement, *, alpha: float) -> list[str]:
    """How it was decided, so that everybody can say what the words are worth."""
    exact = sum(1 for f in judgement.findings.values() if f.test is Decider.EXACT)
    if exact and exact == len(judgement.findings):
        return [
            (
                "exact: by the virtual clock the same seeds give the same figures, so every "
                "difference is the change's; those beyond both gates are told"
            )
        ]
    if not judgement.tested:
        return []
    level = f"{alpha * 100:g} %"
    lines = [
        (
            f"p is adjusted for {_metrics(judgement.tested)} (Benjamini-Hochberg): among the "
            f"changes told here at most {level} are chance, on average"
        ),
        (
            "told is what is beyond chance and beyond both gates of its metric; unchanged, where a "
            "change as large as the gates is ruled out"
        ),
    ]
    if judgement.strict:
        lines.insert(
            1,
            f"for the {len(judgement.strict)} that must not regress, one false alarm in all is as "
            f"rare as {level} (Holm)",
        )
    return lines


def counts_text(judgement: Judgement) -> str:
    """One sentence: how many metrics became what."""
    words = {
        Word.REGRESSION: ("regression", "regressions"),
        Word.IMPROVEMENT: ("improvement", "improvements"),
        Word.CHANGED: ("other change", "other changes"),
        Word.UNCHANGED: ("unchanged", "unchanged"),
        Word.INCONCLUSIVE: ("not decided", "not decided"),
    }
    counted = {word: len(judgement.of(word)) for word in words}
    parts = [
        f"{n} {words[word][n != 1]}"
        for word, n in counted.items()
        if n or word is Word.REGRESSION or word is Word.IMPROVEMENT
    ]
    return f"{', '.join(parts)}; {_metrics(len(judgement.findings))} compared"


def _metrics(number: int) -> str:
    return "1 metric" if number == 1 else f"{number} metrics"
