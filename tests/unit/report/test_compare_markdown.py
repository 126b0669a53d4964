# SPDX-License-Identifier: GPL-2.0-only
"""A comparison as a comment: bounded, and nothing in it can become markup."""

from typing import Any

import pytest
from tests.unit.history.made import phase, row

from ktstr.history.compare import compare
from ktstr.history.dimensions import RowFilter
from ktstr.history.policy import Policy
from ktstr.history.rows import Row
from ktstr.history.sides import two_sets
from ktstr.report.compare import Report
from ktstr.report.compare_markdown import markdown

NONE = RowFilter({})


def report(a: list[Row], b: list[Row], **more: Any) -> Report:
    sides = two_sets(a, b, (NONE, NONE), ("a", "b"))
    return Report(compare(sides.a, sides.b, slicing=sides.slicing), sides, **more)


def test_regressions_are_open_and_the_rest_is_folded() -> None:
    a = [row(1, metrics={"worst_gap_ms": 1000.0, "iteration_rate": 10.0, "x": 1.0})]
    b = [row(2, metrics={"worst_gap_ms": 2000.0, "iteration_rate": 90.0, "total_migrations": 1.0})]
    lines = markdown(report(a, b)).splitlines()
    assert lines[0] == "### ❌ ktstr: 1 regression, 1 improvement; 1 pair compared"
    regression = lines.index(
        "| `crowd` | run | `worst_gap_ms` | ms | 1,000 | 2,000 | +100.0% | 1/1 |  |"
    )
    folded = lines.index("<details><summary>1 improvement</summary>")
    better = next(i for i, line in enumerate(lines) if "`iteration_rate`" in line)
    assert regression < folded < better
    assert "- crowd, only A: x" in lines and "- crowd, only B: total\\_migrations" in lines
    assert lines.count("</details>") == sum("<details>" in line for line in lines)


def test_a_comparison_without_regressions_says_so() -> None:
    side = [row(1, metrics={"worst_gap_ms": 1.0})]
    assert markdown(report(side, side)).startswith("### ✅ ktstr: 0 regressions")
    assert markdown(report([], [])).startswith("### ⚪ ktstr: nothing could be compared")


def test_what_must_not_regress_and_was_not_compared_is_told() -> None:
    a, b = (row(1, metrics={"iteration_rate": 1.0, "x": 1.0}), row(2, metrics={"x": 1.0}))
    sides = two_sets([a], [b], (NONE, NONE), ("a", "b"))
    policy = Policy(must_not_regress=("iteration_rate",))
    found = Report(compare(sides.a, sides.b, slicing=sides.slicing, policy=policy), sides)
    sentence = "not everywhere compared, though it must not regress: iteration_rate"
    assert found.summary.endswith(sentence)
    first = markdown(found).splitlines()[0]
    assert first.startswith("### ⚪") and "must not regress: iteration\\_rate" in first


@pytest.mark.parametrize("limit", [2_000, 10_000, 60_000])
def test_it_fits_into_a_comment(limit: int) -> None:
    def side(value: float) -> list[Row]:
        return [
            row(
                number,
                scenario=f"scenario {number} " + "ü" * 60,
                metrics={"worst_gap_ms": value, "my_latency": value},
                phases=tuple(phase(step, worst_gap_ms=value) for step in range(1, 9)),
            )
            for number in range(60)
        ]

    text = markdown(report(side(1000.0), side(9000.0)), limit)
    assert len(text.encode()) <= limit
    assert "left out: `ktstr compare --format text --all`" in text
    assert text.count("<details>") == text.count("</details>")


def test_nothing_becomes_markup() -> None:
    name = "a|b`c\n# d <img src=x> @someone [x](http://y)"
    a = [row(1, scenario=name, metrics={"worst_gap_ms": 1000.0}), row(3, scenario="f")]
    b = [
        row(2, scenario=name, metrics={"worst_gap_ms": 9000.0, "<b>_|`": 1.0}),
        row(4, "fail", scenario="f", reason="<script> | @all #1 *x*\n# y"),
    ]
    text = markdown(report(a, b, remarks=("@bob `x` <i>",)))
    outside = "".join(text.split("`")[::2])
    for wrong in ("<img", "<script", "<i>", "<b>", "@someone", "@all", "@bob", "#1"):
        assert wrong not in outside, wrong
    assert "\n# d" not in text and "\n# y" not in text
    # The cell goes on behind the pipe.
    assert "`a\\|b'c # d <img src=x> @someone [x](http://y)`" in text


def test_pairs_are_named_by_what_tells_them_apart() -> None:
    a = [row(1, clock="virtual", seed=1), row(2, clock="virtual", seed=2), row(3, scenario="own")]
    found = report(a, a)
    assert sorted(found.names().values()) == ["crowd [seed 1]", "crowd [seed 2]", "own"]
    # What all have in common is said once.
    assert "scheduler scx_ktstr" in found.shared and "seed" not in found.shared


def test_exact_differences_are_counted() -> None:
    a = row(1, clock="virtual", seed=1, metrics={"worst_gap_ms": 100.0, "total_migrations": 5.0})
    b = row(2, clock="virtual", seed=1, metrics={"worst_gap_ms": 101.0, "total_migrations": 5.0})
    [sentence] = report([a], [b]).method
    assert "1 of 2 metrics do" in sentence
