# SPDX-License-Identifier: GPL-2.0-only
"""What became of a gauntlet: one matrix in words, where it hurts, what was left out."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ktstr.errors import ExitCode
from ktstr.gauntlet.agenda import Agenda
from ktstr.gauntlet.board import AXES, BAD, Board, Place, Row, Tally
from ktstr.gauntlet.cells import Cell, CellResult
from ktstr.gauntlet.here import turn_of
from ktstr.report.many import VERDICT_STYLES, Outcome, exit_code
from ktstr.report.many_summary import outcome_table, pass_notes, totals
from ktstr.report.matrix import cells_of
from ktstr.report.printable import one_line

COLUMN_CHARS: Final = 28
"""Of a part of a place; the end of a file's path says more than its beginning."""

MAX_LEFT_OUT: Final = 12
"""Lines about what was left out; the document has all."""

MIN_BLOCK: Final = 2
"""Columns that stand side by side whatever the width."""

_STYLES: Final = {**VERDICT_STYLES, "-": "dim", "not chosen": "dim"}
_KINDS: Final = {
    "constraints": "by constraints",
    "host": "by this host's limits",
    "budget": "by the budget",
}


def outcome(cell: Cell, result: CellResult) -> Outcome:
    """A cell's result as that of any other of several runs."""
    return Outcome(
        cell.name,
        turn_of(cell),
        result.verdict,
        result.exit_code,
        result.wall_s,
        result.workload_s,
        result.reason,
        result.details,
        result.notes,
        result.facts,
        record=result.sidecar,
        evidence=result.evidence,
    )


def outcomes(board: Board) -> list[Outcome]:
    """The results of all cells that were due or settled."""
    return [outcome(cell, result) for cell, result in board.ends]


def gauntlet_exit_code(board: Board) -> ExitCode:
    """How the command is to exit: as one of several runs; without any, inconclusive."""
    ran = [each for each in outcomes(board) if each.verdict != "not run"]
    return exit_code(ran) if ran else ExitCode.INCONCLUSIVE


def announcement(agenda: Agenda, limit: str) -> Iterator[str]:
    """What is going to be done, line by line.

    :param limit: the host's limit of CPUs, in words.
    """
    total = len(agenda.items) + len(agenda.settled) + len(agenda.left_out)
    line = f"gauntlet {agenda.name}: {len(agenda.items)} of {total} cells"
    if agenda.budget_s is None:
        yield f"{line}, about {agenda.seconds:.0f} s; guests have {limit}"
    else:
        yield f"{line}, about {agenda.seconds:.0f} of {agenda.budget_s:g} s; guests have {limit}"
    if agenda.coverage is not None:
        found = agenda.coverage
        part = 100 * found.covered / found.possible if found.possible else 100.0
        yield f"they cover {found.covered} of {found.possible} properties ({part:.0f} %)"
    counts: dict[str, int] = {}
    for each in agenda.left_out:
        counts[_KINDS[each.kind]] = counts.get(_KINDS[each.kind], 0) + 1
    if agenda.settled:
        counts["without a place or a kernel"] = len(agenda.settled)
    if counts:
        yield "left out: " + ", ".join(f"{count} {why}" for why, count in counts.items())


def summary(board: Board, wall_s: float, width: int | None = None) -> list[RenderableType]:
    """The matrix, which values fail most, what did not pass and why, the totals.

    :param wall_s: from the first start to the last end, seconds.
    :param width: columns of the terminal; wider matrices are told in several parts.
    """
    found = outcomes(board)
    parts: list[RenderableType] = [Text(), *_fixed(board)]
    for places in _blocks(board, width):
        parts += [_matrix(board, places), Text()]
    if telling := telling_tallies(board):
        parts += [_tallies(telling), Text()]
    parts += [*_left_out(board)]
    rest = [cell for cell in cells_of(found) if cell.worst.verdict in BAD]
    if rest:
        parts += [outcome_table(rest), Text()]
    parts += [*pass_notes(found), totals(found, wall_s)]
    return parts


def _fixed(board: Board) -> Iterator[RenderableType]:
    """What all columns have in common."""
    if board.places:
        same = [
            f"{AXES[part]} {board.places[0][part]}"
            for part in range(len(AXES))
            if part not in board.varied
        ]
        if same:
            yield Text(one_line(", ".join(same)), style="dim")


def _blocks(board: Board, width: int | None) -> Iterator[Sequence[Place]]:
    """The columns, as many at a time as fit beside the names."""
    if width is None:
        yield board.places
        return
    names = max((len(row.name) for row in board.rows), default=0)
    block: list[Place] = []
    used = names
    for place in board.places:
        wide = 2 + _width(board, place)
        if len(block) >= MIN_BLOCK and used + wide > width:
            yield block
            block, used = [], names
        block.append(place)
        used += wide
    yield block


def _width(board: Board, place: Place) -> int:
    words = [row.squares[place].word for row in board.rows if place in row.squares]
    return max(len(word) for word in (*words, *head(board, place)))


def head(board: Board, place: Place) -> list[str]:
    """What tells a column from the others, part by part."""
    return [shortened(place[part]) for part in board.varied]


def shortened(name: str) -> str:
    text = one_line(name) or "-"
    return text if len(text) <= COLUMN_CHARS else "…" + text[1 - COLUMN_CHARS :]


def _matrix(board: Board, places: Sequence[Place]) -> Table:
    table = Table(box=None, padding=(0, 1), pad_edge=False)
    title = "\n".join([""] * (len(board.varied) - 1) + ["scenario"])
    table.add_column(title, no_wrap=True)
    for place in places:
        table.add_column(Text("\n".join(head(board, place))), no_wrap=True)
    for row in board.rows:
        table.add_row(Text(one_line(row.name)), *(_square(row, place) for place in places))
    return table


def _square(row: Row, place: Place) -> Text:
    square = row.squares.get(place)
    return Text("") if square is None else Text(square.word, style=_STYLES.get(square.word, ""))


def telling_tallies(board: Board) -> list[Tally]:
    """The values with runs that did not pass, of dimensions in which some value is worse."""
    shares: dict[str, set[float]] = {}
    found = [tally for tally in board.tallies() if tally.ran]
    for tally in found:
        shares.setdefault(tally.dimension, set()).add(tally.bad_share)
    return [tally for tally in found if tally.bad and len(shares[tally.dimension]) > 1]


def _tallies(tallies: Sequence[Tally]) -> Table:
    table = Table(box=None, padding=(0, 1), pad_edge=False)
    for name in ("by", "value"):
        table.add_column(name, no_wrap=True)
    for name in ("ran", "bad", "share"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdicts", no_wrap=True)
    for tally in tallies:
        verdicts = ", ".join(f"{count} {word}" for word, count in tally.verdicts.items())
        table.add_row(
            Text(tally.dimension),
            Text(shortened(tally.value)),
            *(str(tally.ran), str(tally.bad), f"{100 * tally.bad_share:.0f} %"),
            Text(verdicts, style="dim"),
        )
    return table


def _left_out(board: Board) -> Iterator[RenderableType]:
    lines = left_out_lines(board)
    for line in lines[:MAX_LEFT_OUT]:
        yield Text(one_line(line), style="dim")
    if len(lines) > MAX_LEFT_OUT:
        yield Text(f"... and {len(lines) - MAX_LEFT_OUT} more reasons (--json)", style="dim")
    if lines:
        yield Text()


def left_out_lines(board: Board) -> list[str]:
    """What was left out or not reached and why, the commonest reason first."""
    found = sorted(board.left_out(), key=lambda each: -each[2])
    lines = [f"left out {_KINDS[kind]}: {text} {_cells(count)}" for kind, text, count in found]
    not_run = Counter(result.reason for _, result in board.ends if result.verdict == "not run")
    return [
        *(f"not run: {reason} {_cells(count)}" for reason, count in not_run.most_common()),
        *lines,
    ]


def _cells(count: int) -> str:
    return f"({count} cell{'' if count == 1 else 's'})"
