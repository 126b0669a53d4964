# SPDX-License-Identifier: GPL-2.0-only
"""Findings of two commits on a screen, whatever steps and metrics are called."""

import io

from rich.console import Console
from tests.unit.history.runs import row

from ktstr.history.noise import Word
from ktstr.history.repeats import Repeats, judge
from ktstr.report.perf_delta import findings_table

NAME = "payload.[/b]\x1b[31m rate"


def test_a_metrics_name_is_text() -> None:
    base, head = ([row({NAME: value}, seed=1)] for value in (1.0, 9.0))
    judgement = judge([Repeats("x", base, head)])
    out = io.StringIO()
    Console(file=out, width=200).print(findings_table(judgement.of(Word.CHANGED), many=True))
    assert "payload.[/b]?[31m rate" in out.getvalue()
