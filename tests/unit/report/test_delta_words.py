# SPDX-License-Identifier: GPL-2.0-only
"""Findings in words: how large, how sure, what was not seen, and how a comparison exits."""

from collections.abc import Mapping, Sequence

import pytest
from tests.unit.history.runs import row

from ktstr.errors import ExitCode
from ktstr.history.noise import Finding, two_sample
from ktstr.history.policy import Policy
from ktstr.history.repeats import Judgement, Repeats, judge
from ktstr.metrics.kinds import LOWER_BETTER
from ktstr.report.delta_words import (
    change_text,
    counts_text,
    doubt_text,
    exit_code,
    interval_text,
    method_lines,
    p_text,
    percent,
    side_text,
)

P99, GAP = "worst_p99_wake_latency_us", "worst_gap_ms"
CALM = (1000.0, 1010.0, 990.0, 1005.0, 995.0)


def finding(a: Sequence[float], b: Sequence[float], *, exact: bool = False) -> Finding:
    return two_sample(a, b, polarity=LOWER_BETTER, abs_gate=1, rel_gate=0.1, exact=exact)


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0004, "0.04%"), (0.001, "0.1%"), (0.0526, "5.3%"), (0.25, "25%"), (12.345, "1,234%")],
)
def test_percent(share: float, text: str) -> None:
    assert percent(share) == text


@pytest.mark.parametrize(
    ("a", "b", "text"),
    [
        (100, 100, "0"),
        (100, 150, "+50%"),
        (100, 98, "-2.0%"),
        (100, 1600, "x16"),
        (0, 7, "+7 from 0"),
        (-100, -150, "-50%"),
    ],
)
def test_changes(a: float, b: float, text: str) -> None:
    assert change_text(finding([a], [b], exact=True)) == text


def test_means_and_ranks_show_what_they_decide_by() -> None:
    few = finding((100, 101, 99), (200, 202, 198))
    assert side_text(few, "base") == "100 ±1.0%"
    # Both scatter by 1 %: twice as much, times e to the power of -+ 2.78 x 0.01 sqrt(2/3).
    assert interval_text(few) == "[+96%, +105%]"
    wild = finding((100, 101, 99, 100.5, 99.5, 102), (120, 121, 119, 120.5, 119.5, 400))
    assert p_text(wild).endswith(" ranks")
    assert side_text(wild, "head").startswith("120 ")
    assert interval_text(wild).startswith("[+1")
    assert p_text(finding([1], [1])) == "–"
    assert p_text(finding([1], [1], exact=True)) == "exact"


def test_what_was_not_decided_says_what_it_would_take() -> None:
    assert doubt_text(finding((100, 160, 40), (130, 190, 70))) == (
        "could show 586%, matters from 10%; 650 runs a side would show that"
    )
    assert doubt_text(finding((1, 1000), (2, 1))).endswith("too noisy for any number of runs")
    assert doubt_text(finding((1,), (2,))).startswith("1 and 1 runs have it")
    # Ten runs a side would show 10 %, and it is 10 % that it may have changed by.
    near = finding([*CALM, *CALM], [v * 1.098 for v in (*CALM, *CALM)])
    assert doubt_text(near).endswith("a change of that size is not ruled out")


def judged(base: Mapping[str, Sequence[float]], head: Mapping[str, Sequence[float]]) -> Judgement:
    sides = []
    for side in (base, head):
        count = max(map(len, side.values()))
        sides.append([row({name: side[name][i] for name in side}) for i in range(count)])
    return judge([Repeats("s", *sides)], policy=Policy(must_not_regress=(GAP,)))


def test_the_exit_status() -> None:
    gap = (1.0, 2.0, 3.0, 2.0, 1.0)
    worse = [value * 1.5 for value in CALM]
    calm, slow = {P99: CALM, GAP: gap}, {P99: worse, GAP: gap}
    late = {P99: CALM, GAP: [value + 5000 for value in gap]}
    assert exit_code(judged(calm, calm), 1) is ExitCode.PASS
    assert exit_code(judged(calm, slow), 1) is ExitCode.FAIL
    assert exit_code(judged(calm, slow), 2) is ExitCode.PASS
    assert exit_code(judged(calm, late), 2) is ExitCode.FAIL
    assert exit_code(judged(slow, calm), 1) is ExitCode.PASS
    assert exit_code(judged({P99: CALM}, {P99: CALM}), 1) is ExitCode.INCONCLUSIVE
    assert exit_code(judged({P99: CALM}, {P99: worse}), 1) is ExitCode.FAIL


def test_counts_and_method() -> None:
    found = judged(
        {P99: CALM, GAP: (1, 2, 3, 4, 5)}, {P99: [v * 1.5 for v in CALM], GAP: (1, 2, 3, 4, 6)}
    )
    assert counts_text(found) == "1 regression, 0 improvements, 1 unchanged; 2 metrics compared"
    lines = method_lines(found, alpha=0.05)
    assert lines[0].startswith("p is adjusted for 2 metrics (Benjamini-Hochberg)")
    assert "Holm" in lines[1]
