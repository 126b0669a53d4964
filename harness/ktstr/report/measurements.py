# SPDX-License-Identifier: GPL-2.0-only
"""Named values of one run: what payloads printed, ratios between phases."""

from collections.abc import Mapping
from typing import Final

from rich.markup import escape
from rich.table import Table

from ktstr.report.printable import figure, one_line
from ktstr.session.record import RunRecord
from ktstr.verdict import NoteValue

MOST_LINES: Final = 12
"""Lines of the list unless everything is asked for."""

OWN: Final = frozenset({"snapshots_asked", "snapshots_taken"})
"""What the harness counts in every run: a note tells of it when something is wrong."""


def measurement_table(record: RunRecord, *, everything: bool = False) -> Table | None:
    """The measurements in the order they were made; ``None`` when there is none to show.

    :param everything: more than :data:`MOST_LINES`, and the harness's own too.
    """
    found: Mapping[str, NoteValue] = {} if record.result is None else record.result.measurements
    shown = [(name, value) for name, value in found.items() if everything or name not in OWN]
    if not shown:
        return None
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    table.add_column("measurement", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    # A list that is one line too long says so in its last line: it is never longer than allowed.
    fits = everything or len(shown) <= MOST_LINES
    for name, value in shown if fits else shown[: MOST_LINES - 1]:
        table.add_row(escape(one_line(name)), escape(_in_words(value)))
    if not fits:
        left = len(shown) - (MOST_LINES - 1)
        table.add_row(escape(f"... and {left} more (ktstr show --metrics)"), "")
    return table


def _in_words(value: NoteValue) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return figure(value)
        case str():
            return one_line(value)
