# SPDX-License-Identifier: GPL-2.0-only
"""What became of a gauntlet: a row for each scenario, a column for each place."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ktstr.gauntlet.agenda import Agenda
from ktstr.gauntlet.cells import Cell, CellResult
from ktstr.gauntlet.plan import LeftOut
from ktstr.model.topology import Topology

Place = tuple[str, str, str]
"""Preset, kernel, and scheduler with its flags."""

AXES: Final = ("topology", "kernel", "scheduler")
"""What the three parts of a place are."""

BAD: Final = ("inconclusive", "fail", "guest lost", "cannot run")
"""Verdicts that somebody has to look at."""

DUE: Final = CellResult.not_run("interrupted before it began")


@dataclass(frozen=True, slots=True)
class Square:
    """One square of the matrix.

    :param word: the verdict; ``not chosen`` where a budget left it out, ``-`` where it has no
        place by constraints or host.
    """

    word: str
    cell: Cell
    reason: str = ""
    result: CellResult | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one scenario, by place; a place that was never thought of is missing."""

    name: str
    path: Path
    squares: Mapping[Place, Square]


@dataclass(frozen=True, slots=True)
class Tally:
    """How the runs with one value of a dimension went.

    :param verdicts: how often each came.
    """

    dimension: str
    value: str
    verdicts: Mapping[str, int]

    @property
    def ran(self) -> int:
        """Runs that were judged or lost."""
        return sum(self.verdicts.values()) - sum(
            self.verdicts.get(verdict, 0) for verdict in ("skip", "not run")
        )

    @property
    def bad(self) -> int:
        """Runs that did not pass."""
        return sum(self.verdicts.get(verdict, 0) for verdict in BAD)

    @property
    def bad_share(self) -> float:
        """The part of them that did not pass."""
        return self.bad / self.ran if self.ran else 0.0


@dataclass(frozen=True, slots=True)
class Board:
    """The whole result.

    :param ends: every cell that was due or settled, with how it went, in order.
    """

    agenda: Agenda
    ends: tuple[tuple[Cell, CellResult], ...]
    places: tuple[Place, ...]
    rows: tuple[Row, ...]

    @property
    def varied(self) -> tuple[int, ...]:
        """Which parts of a place differ between columns; the first when none does."""
        found = tuple(
            part for part in range(len(AXES)) if len({place[part] for place in self.places}) > 1
        )
        return found or (0,)

    def tallies(self) -> list[Tally]:
        """Scenario, topology, kernel and scheduler, as far as they vary; the worst value first."""
        found: list[Tally] = []
        for dimension, values in _dimensions(self.ends).items():
            tallies = [Tally(dimension, value, counts) for value, counts in values.items()]
            if len(tallies) > 1:
                found += sorted(tallies, key=lambda tally: (-tally.bad_share, -tally.bad))
        return found

    def left_out(self) -> list[tuple[str, str, int]]:
        """Kind, place and reason, and how many cells that was, of what is not run."""
        counts: Counter[tuple[str, str]] = Counter()
        for each in self.agenda.left_out:
            what = each.cell.place[0] if each.kind in ("constraints", "host") else ""
            text = f"{what}: {each.reason}" if what else each.reason
            counts[each.kind, text] += 1
        return [(kind, text, count) for (kind, text), count in counts.items()]


def board(agenda: Agenda, results: Mapping[str, CellResult]) -> Board:
    """The result of a gauntlet.

    :param results: how cells ended, by key; what is missing has not been run.
    """
    ends = (
        *((item.cell, results.get(item.cell.key, DUE)) for item in agenda.items),
        *agenda.settled,
    )
    squares = [Square(result.verdict, cell, result.reason, result) for cell, result in ends]
    squares += [_left_out(each) for each in agenda.left_out]
    rows: dict[Path, dict[Place, Square]] = {}
    for square in squares:
        rows.setdefault(square.cell.path, {})[square.cell.place] = square
    names = {square.cell.path: square.cell.name for square in squares}
    return Board(
        agenda,
        ends,
        _places(squares),
        tuple(
            Row(names[path], path, rows[path])
            for path in sorted(rows, key=lambda path: (names[path], path))
        ),
    )


def _left_out(each: LeftOut) -> Square:
    word = "-" if each.kind in ("constraints", "host") else "not chosen"
    return Square(word, each.cell, each.reason)


def _places(squares: Sequence[Square]) -> tuple[Place, ...]:
    """The columns in which something was due, small guests first."""
    found = {square.cell.place: square.cell for square in squares if square.word != "-"}
    return tuple(sorted(found, key=lambda place: (place[1:], _size(found[place]), place)))


def _size(cell: Cell) -> tuple[int, int]:
    topology = Topology.parse(cell.topology)
    return topology.cpus, topology.llcs


def _dimensions(ends: Iterable[tuple[Cell, CellResult]]) -> dict[str, dict[str, Counter[str]]]:
    found: dict[str, dict[str, Counter[str]]] = {name: {} for name in (*AXES, "scenario")}
    for cell, result in ends:
        for dimension, value in zip(found, (*cell.place, cell.name), strict=True):
            found[dimension].setdefault(value, Counter())[result.verdict] += 1
    return found
