# SPDX-License-Identifier: GPL-2.0-only
"""The table of writes that watches answered."""

import io
from typing import Any

from rich.console import Console

from ktstr.errors import ExitCode
from ktstr.report.verdict import IN_BRIEF, Sections, print_record
from ktstr.report.watches import MOST_LINES
from ktstr.series.sample import Sample, SampleSeries, Trigger
from ktstr.session.record import RunRecord
from ktstr.verdict import AssertResult


def listed(samples: list[Sample], sections: Sections = IN_BRIEF) -> list[str]:
    """The lines of the table, blanks joined; none without it."""
    record = RunRecord("id", "demo", ExitCode.PASS, AssertResult())
    record.samples = SampleSeries(samples)
    out = io.StringIO()
    print_record(
        Console(file=out, width=40, soft_wrap=True, force_terminal=False), record, sections
    )
    text = out.getvalue()
    if "written" not in text:
        return []
    block = text[text.index("watch") :].split("\n\n")[0]
    return [" ".join(line.split()) for line in block.splitlines()]


def hit(tag: str, at: int | None, **more: Any) -> Sample:
    trigger = Trigger("v", "s.bss", 4096, 8, 1, **more)
    return Sample(tag, at, trigger=trigger)


def test_who_wrote_what() -> None:
    known = hit("w", 12, cpu=1, instruction=0x1234, code="f+0x4 (BPF)", old=0, new=2**64 - 1)
    lines = listed([Sample("periodic_000", 5), known, hit("x", None, instruction=0x1234)])
    assert lines == [
        "watch at ms written old new by CPU",
        "w 12 v 0 18446744073709551615 f+0x4 (BPF) 1",
        "x – v – – 0x1234 –",
    ]


def test_without_hits_there_is_no_table() -> None:
    assert listed([Sample("periodic_000", 5)]) == []


def test_a_guests_names_are_only_text() -> None:
    (_, line) = listed([hit("w", 1, code="[red]f\x1b[2J")])
    assert line == "w 1 v – – [red]f?[2J –"


def test_at_most_twelve_lines_unless_asked() -> None:
    hits = [hit(f"w#{number}", number) for number in range(13)]
    assert len(listed(hits[:12])) == 1 + MOST_LINES == 13
    assert listed(hits)[-1] == "... and 2 more (ktstr show --metrics)"
    assert len(listed(hits)) == 1 + MOST_LINES
    assert len(listed(hits, Sections(metrics=True))) == 14
