# SPDX-License-Identifier: GPL-2.0-only
"""Findings of two commits on a screen, whatever steps and metrics are called."""

import io
from pathlib import Path

from rich.console import Console
from tests.unit.history.runs import row

from ktstr.errors import ExitCode
from ktstr.history.noise import Word
from ktstr.history.perf_delta import Delta, Request, Side
from ktstr.history.repeats import Repeats, judge
from ktstr.history.worktrees import Commit
from ktstr.report.perf_delta import findings_table
from ktstr.report.perf_delta_files import markdown

NAME = "payload.[/b]\x1b[31m rate"


def test_a_metrics_name_is_text() -> None:
    base, head = ([row({NAME: value}, seed=1)] for value in (1.0, 9.0))
    judgement = judge([Repeats("x", base, head)])
    out = io.StringIO()
    Console(file=out, width=200).print(findings_table(judgement.of(Word.CHANGED), many=True))
    assert "payload.[/b]?[31m rate" in out.getvalue()


def test_nothing_in_markdown_becomes_markup() -> None:
    hostile = "`a` @all #1 [x](http://y) a|b <b>\r# c"
    base, head = ([row({hostile: value}, seed=1)] for value in (1.0, 9.0))
    failed = [row({}, "fail", seed=1)]
    judgement = judge([Repeats(hostile, base, head), Repeats(f"{hostile} 2", base, failed)])
    commit, out = Commit("a" * 40, hostile), Path("/o")
    before, after = Side("base", commit, Path("/b"), out), Side("head", commit, Path("/h"), out)
    delta = Delta(Request((), out), Path("/r"), before, after)
    found = markdown(delta, judgement, ExitCode.FAIL)
    # What is in code stays there: it has no backtick of its own.
    plain = "".join(found.replace("\\`", "").split("`")[::2])
    assert "a @\u200ball &#35;1" in plain
    for wrong in ("@all", "#1", "[x](", "<b>", "a|b"):
        assert wrong not in plain.replace("\\[x\\](", ""), wrong
    assert "\r" not in found and "'a' @all" in found
