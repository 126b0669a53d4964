# SPDX-License-Identifier: GPL-2.0-only
"""The repetition of a failed run with probes, for people: after the verdict."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.text import Text

from ktstr.report.printable import one_line
from ktstr.series.repro.report import NOT_LOAD_BEARING, ReproReport

MAX_CHARS = 240


def repro_report(facts: Mapping[str, Any]) -> ReproReport | None:
    """The report in a record; ``None`` when it has none that can be read."""
    try:
        return ReproReport.from_json(facts["repro"]) if "repro" in facts else None
    except ValueError:
        return None


def repro_parts(facts: Mapping[str, Any]) -> Iterator[Text]:
    """The lines on the repetition; none for a run that was not repeated."""
    if "repro" not in facts:
        return
    report = repro_report(facts)
    yield Text()
    if report is None:
        yield Text("  the record's part on a repetition cannot be read", style="yellow")
        return
    for line in report.lines():
        style = "dim" if line.startswith("---") else ""
        if line == report.headline or line == NOT_LOAD_BEARING:
            style = "bold"
        yield Text(one_line(line, MAX_CHARS), style=style)


def in_brief(facts: Mapping[str, Any]) -> str:
    """The repetition's outcome in one sentence; empty without one."""
    report = repro_report(facts)
    return "" if report is None else report.headline
