# SPDX-License-Identifier: GPL-2.0-only
"""Many metrics together: the adjustments, and who shares them with whom."""

import pytest

from ktstr.history.families import benjamini_hochberg, holm, together
from ktstr.history.noise import Finding, Word, two_sample
from ktstr.metrics.kinds import INFORMATIONAL, LOWER_BETTER, Polarity

P = [0.01, 0.04, 0.03, 0.005]


def test_the_adjustments_by_hand() -> None:
    # In order 0.005 0.01 0.03 0.04: times 4/1 4/2 4/3 4/4, and no larger than the next.
    assert benjamini_hochberg(P) == pytest.approx([0.02, 0.04, 0.04, 0.02])
    # Times 4 3 2 1, and no smaller than the one before.
    assert holm(P) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert benjamini_hochberg([]) == holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def finding(p_of: float, polarity: Polarity = LOWER_BETTER) -> Finding:
    """Three runs a side, 20 % apart, whose p is about what is asked for."""
    # t with 4 degrees of freedom: 2.776 for 0.05, 4.604 for 0.01, 8.610 for 0.001.
    t = {0.05: 2.776445, 0.01: 4.604095, 0.001: 8.610302}[p_of]
    step = 20 / t * 3**0.5 / 2**0.5
    # Around zero, so that the test is of the values and not of their logarithms.
    a = (-step, 0.0, step)
    found = two_sample(a, [v + 20 for v in a], polarity=polarity, abs_gate=1, rel_gate=0.1)
    assert found.p == pytest.approx(p_of, rel=1e-4)
    return found


def flat() -> Finding:
    return two_sample((1, 1, 1), (1, 1, 1), polarity=LOWER_BETTER, abs_gate=1, rel_gate=0.1)


def test_more_metrics_make_each_convince_more() -> None:
    alone = together({"a": finding(0.01)})
    assert alone["a"].verdict is Word.REGRESSION
    noise = two_sample((-10, 0, 10), (-9, 0, 10), polarity=LOWER_BETTER, abs_gate=1, rel_gate=0.1)
    many = together({"a": finding(0.01), **{f"n{i}": noise for i in range(9)}})
    assert many["a"].p_adjusted == pytest.approx(0.1, rel=1e-3)
    assert many["a"].verdict is Word.INCONCLUSIVE


def test_what_must_not_regress_stands_apart() -> None:
    noise = two_sample((-10, 0, 10), (-9, 0, 10), polarity=LOWER_BETTER, abs_gate=1, rel_gate=0.1)
    findings = {"a": finding(0.01), **{f"n{i}": noise for i in range(9)}}
    found = together(findings, strict=["a", "n0"])
    assert found["a"].p_adjusted == pytest.approx(0.02, rel=1e-3)
    assert found["a"].verdict is Word.REGRESSION


def test_what_gates_nothing_and_what_cannot_differ_cost_nothing() -> None:
    findings = {
        "a": finding(0.05),
        "told": finding(0.001, INFORMATIONAL),
        **{f"flat{i}": flat() for i in range(50)},
        **{
            f"noise{i}": two_sample(
                (-10, 0, 10), (-9, 0, 10), polarity=INFORMATIONAL, abs_gate=1, rel_gate=0.1
            )
            for i in range(5)
        },
        "one run": two_sample((1,), (2,), polarity=LOWER_BETTER, abs_gate=1, rel_gate=0.1),
        "exact": two_sample(
            (1,), (9,), polarity=LOWER_BETTER, abs_gate=1, rel_gate=0.1, exact=True
        ),
    }
    found = together(findings)
    assert found["a"].p_adjusted == pytest.approx(0.05, rel=1e-4)
    assert found["told"].verdict is Word.CHANGED
    assert found["flat0"].verdict is Word.UNCHANGED
    assert found["flat0"].p_adjusted is None
    assert found["exact"].verdict is Word.REGRESSION
