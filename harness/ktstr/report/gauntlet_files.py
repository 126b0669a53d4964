# SPDX-License-Identifier: GPL-2.0-only
"""What became of a gauntlet, as a document for programs and as Markdown for a pull request."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from ktstr.errors import ExitCode
from ktstr.gauntlet.board import AXES, BAD, Board, Place, Row
from ktstr.report.gauntlet import head, left_out_lines, outcomes, telling_tallies
from ktstr.report.many import counted, workload_s
from ktstr.report.many_summary import totals
from ktstr.report.markdown_text import escaped

SCHEMA: Final = 1
"""Version of :func:`document`."""

_BOLD: Final = ("fail", "guest lost", "cannot run")


def document(board: Board, wall_s: float, code: ExitCode) -> dict[str, Any]:
    """The whole result for programs.

    :param wall_s: from the first start to the last end, seconds.
    """
    found = outcomes(board)
    agenda = board.agenda
    coverage = agenda.coverage
    return {
        "schema": SCHEMA,
        "gauntlet": agenda.name,
        "exit_code": int(code),
        "wall_s": round(wall_s, 3),
        "workload_s": workload_s(found),
        "budget_s": agenda.budget_s,
        "estimated_s": round(agenda.seconds, 3),
        "coverage": None
        if coverage is None
        else {"covered": coverage.covered, "possible": coverage.possible},
        "verdicts": dict(counted(found)),
        "columns": [dict(zip(AXES, place, strict=True)) for place in board.places],
        "rows": [
            {
                "name": row.name,
                "path": str(row.path),
                "cells": [_square_document(row, place) for place in board.places],
            }
            for row in board.rows
        ],
        "by": [
            {
                "dimension": tally.dimension,
                "value": tally.value,
                "ran": tally.ran,
                "bad": tally.bad,
                "verdicts": dict(tally.verdicts),
            }
            for tally in board.tallies()
        ],
        "left_out": [
            {
                "name": each.cell.name,
                **dict(zip(AXES, each.cell.place, strict=True)),
                "kind": each.kind,
                "reason": each.reason,
            }
            for each in agenda.left_out
        ],
        "runs": [
            {**each.document(), "scheduler": cell.scheduler, "key": cell.key}
            for each, (cell, _) in zip(found, board.ends, strict=True)
        ],
    }


def _square_document(row: Row, place: Place) -> dict[str, Any] | None:
    square = row.squares.get(place)
    if square is None:
        return None
    result = square.result
    record = None if result is None or result.sidecar is None else str(result.sidecar)
    return {"verdict": square.word, "reason": square.reason, "record": record}


def markdown(board: Board, wall_s: float) -> str:
    """The result for a pull request: the matrix, where it hurts, the reasons."""
    return "\n".join(_markdown(board, wall_s)) + "\n"


def _markdown(board: Board, wall_s: float) -> Iterator[str]:
    found = outcomes(board)
    yield f"### Gauntlet {escaped(board.agenda.name)}"
    yield ""
    yield totals(found, wall_s).plain
    yield ""
    heads = ["<br>".join(map(escaped, head(board, place))) for place in board.places]
    yield from _table(["scenario", *heads], (_line(board, row) for row in board.rows))
    hurting = telling_tallies(board)
    if hurting:
        yield ""
        yield from _table(
            ["by", "value", "ran", "bad"],
            (
                [tally.dimension, escaped(tally.value), str(tally.ran), str(tally.bad)]
                for tally in hurting
            ),
        )
    bad = [each for each in found if each.verdict in BAD]
    if bad:
        yield ""
        for each in bad:
            reason = f": {escaped(each.reason)}" if each.reason else ""
            yield f"- **{each.verdict}** {escaped(each.label)}{reason}"
    if lines := left_out_lines(board):
        yield ""
        not_run = sum(1 for each in found if each.verdict == "not run")
        count = len(board.agenda.left_out) + not_run
        yield f"<details><summary>{count} cells left out or not run</summary>"
        yield ""
        for line in lines:
            yield f"- {escaped(line)}"
        yield ""
        yield "</details>"


def _line(board: Board, row: Row) -> list[str]:
    words = [
        "" if (square := row.squares.get(place)) is None else square.word for place in board.places
    ]
    bold = [
        f"**{word}**" if word in ("fail", "guest lost", "cannot run") else word for word in words
    ]
    return [escaped(row.name), *bold]


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for line in lines:
        yield "| " + " | ".join(line) + " |"
