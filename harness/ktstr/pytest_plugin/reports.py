# SPDX-License-Identifier: GPL-2.0-only
"""Between a test and its reports: begins its runs, and tells what became of them."""

from typing import Any, Final

import pytest

from ktstr.pytest_plugin.asked import Asked, Variant
from ktstr.pytest_plugin.bundle import sections
from ktstr.pytest_plugin.fixture import Ktstr, Surroundings
from ktstr.pytest_plugin.outcome import NotPassed
from ktstr.pytest_plugin.run import Run
from ktstr.pytest_plugin.settings import settings_of
from ktstr.pytest_plugin.state import KTSTR, SLOTS

MAX_RUNS_TOLD: Final = 4
"""Runs of one test whose sections are shown, those that did not pass first."""


def begin(node: pytest.Item, asked: Asked, variant: Variant, *, body_judges: bool) -> Ktstr:
    """The runs of a test, of which none has been made yet."""
    around = Surroundings(
        settings_of(node.config),
        node.path.parent,
        lambda request: node.ihook.pytest_ktstr_run(request=request),
        node.config.stash.get(SLOTS, None),
        body_judges,
        aloud=node.config.getoption("capture") == "no",
    )
    if (earlier := node.stash.get(KTSTR, None)) is not None:
        earlier.forget()
    found = node.stash[KTSTR] = Ktstr(node, asked, variant, around)
    return found


def tell(found: Ktstr, call: pytest.CallInfo[None], report: pytest.TestReport) -> None:
    """Put into a test's report what ktstr has to say.

    The word and the figures travel from the workers of pytest-xdist, so they are plain values.
    """
    told: dict[str, Any] = {}
    if call.excinfo is not None and isinstance(call.excinfo.value, NotPassed):
        told["word"] = call.excinfo.value.word
        # Else pytest's lists of failures begin with the name of a class.
        if (crash := getattr(report.longrepr, "reprcrash", None)) is not None:
            crash.message = str(call.excinfo.value.msg)
    if report.when == "teardown":
        told["runs"] = [
            {"start": str(run.record.host.get("start", "")), "wall_s": _wall_s(run)}
            for run in found.runs
        ]
    if told:
        report.__dict__["ktstr"] = told
    if report.failed and report.when != "teardown":
        report.sections += _sections(found.runs)


def _wall_s(run: Run) -> float:
    value = run.record.host.get("wall_s")
    return float(value) if isinstance(value, int | float) else 0.0


def _sections(runs: tuple[Run, ...]) -> list[tuple[str, str]]:
    chosen = sorted(runs, key=lambda run: run.passed)[:MAX_RUNS_TOLD]
    several = len(runs) > 1
    found = []
    for run in chosen:
        which = f", {run.record.name} {run.record.run_id}" if several else ""
        found += [(f"{title}{which}", text) for title, text in sections(run)]
    return found
