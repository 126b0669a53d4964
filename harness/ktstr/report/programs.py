# SPDX-License-Identifier: GPL-2.0-only
"""BPF programs and what they took the verifier, as a table."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from rich.markup import escape
from rich.table import Table

from ktstr.report.printable import NOT_MEASURED, one_line
from ktstr.series.programs import VerifiedProgram, programs_of

NEAR: Final = 0.75
"""Share of the kernel's limit from which on a program is marked."""

Cell = Callable[[VerifiedProgram], str]


def program_table(programs: Sequence[VerifiedProgram]) -> Table | None:
    """All that is known of each program on one kernel; ``None`` without programs."""
    if not programs:
        return None
    columns: list[tuple[str, Cell]] = [
        ("insns", lambda each: count_text(each.insns)),
        ("verified", lambda each: count_text(each.verified)),
        ("of limit", share_text),
        ("stack B", lambda each: count_text(each.stack)),
    ]
    if any(each.peak_states is not None for each in programs):
        columns.append(("peak states", lambda each: count_text(each.peak_states)))
    table = new_table(["program", "attached to"], [title for title, _ in columns])
    for each in programs:
        attach = "not loaded" if each.refused else each.attach or each.kind or NOT_MEASURED
        cells = [one_line(each.name), one_line(attach), *(cell(each) for _, cell in columns)]
        table.add_row(*map(escape, cells), style=program_style(each))
    return table


def verified_table(record_facts: Mapping[str, Any]) -> Table | None:
    """The programs of a run's record; ``None`` when it has none."""
    facts = record_facts.get("verifier")
    return program_table(programs_of(facts.get("programs") if isinstance(facts, dict) else None))


def new_table(names: Sequence[str], figures: Sequence[str]) -> Table:
    """An empty table: columns of names, then columns of figures."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    for title in names:
        table.add_column(escape(title), no_wrap=True)
    for title in figures:
        table.add_column(escape(one_line(title)), justify="right", no_wrap=True)
    return table


def count_text(value: int | None) -> str:
    """A number, or the sign for what is not known."""
    return NOT_MEASURED if value is None else f"{value:,}"


def share_text(program: VerifiedProgram) -> str:
    """Part of the kernel's limit that a program used up."""
    share = program.share
    return NOT_MEASURED if share is None else f"{share:.1%}" if share >= 0.001 else "<0.1%"


def program_style(program: VerifiedProgram) -> str:
    """Refused programs stand out, and those near the limit."""
    if program.refused:
        return "red"
    return "yellow" if (program.share or 0.0) >= NEAR else ""
