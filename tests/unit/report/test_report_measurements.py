# SPDX-License-Identifier: GPL-2.0-only
"""The list of measurements: what is in it, how long it is, and what it does not obey."""

import io
from typing import Any

from rich.console import Console

from ktstr.errors import ExitCode
from ktstr.report.measurements import MOST_LINES
from ktstr.report.verdict import IN_BRIEF, Sections, print_record
from ktstr.session.record import RunRecord
from ktstr.verdict import AssertResult

ALL = Sections(metrics=True)


def listed(values: dict[str, Any], sections: Sections = IN_BRIEF) -> list[str]:
    """The lines below the heading ``measurement``; none without it."""
    result = AssertResult()
    for name, value in values.items():
        result.note_value(name, value)
    out = io.StringIO()
    console = Console(file=out, width=40, soft_wrap=True, force_terminal=False)
    print_record(console, RunRecord("id", "demo", ExitCode.PASS, result), sections)
    text = out.getvalue()
    if "measurement" not in text:
        return []
    block = text[text.index("measurement") :].split("\n\n")[0]
    return [" ".join(line.split()) for line in block.splitlines()[1:]]


def test_every_kind_of_value() -> None:
    values = {"b": True, "rate": 1234.5, "small": 0.01234, "n": 7, "text": "one\ntwo"}
    expected = ["b true", "rate 1,234", "small 0.0123", "n 7", "text one two"]
    assert listed(values) == expected


def test_the_harness_own_are_shown_on_request() -> None:
    own = {"snapshots_asked": 2, "snapshots_taken": 1}
    assert listed(own) == []
    assert listed(own | {"x": 1}) == ["x 1"]
    assert listed(own, ALL) == ["snapshots_asked 2", "snapshots_taken 1"]


def test_at_most_twelve_lines() -> None:
    values = {f"m{index:02}": index for index in range(13)}
    twelve = dict(list(values.items())[:12])
    assert listed(twelve) == [f"m{index:02} {index}" for index in range(12)]
    lines = listed(values)
    assert len(lines) == MOST_LINES == 12
    assert lines[10:] == ["m10 10", "... and 2 more (ktstr show --metrics)"]
    assert listed(values, ALL) == [f"m{index:02} {index}" for index in range(13)]


def test_a_guests_text_is_only_text() -> None:
    assert listed({"[bold]a\x1b[2J": "[red]\x1b[31m"}) == ["[bold]a?[2J [red]?[31m"]


def test_without_a_verdict_there_is_no_list() -> None:
    out = io.StringIO()
    console = Console(file=out, width=80, force_terminal=False)
    print_record(console, RunRecord("id", "demo", ExitCode.GUEST_LOST, error="gone"), ALL)
    assert "measurement" not in out.getvalue()
