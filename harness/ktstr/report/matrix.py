# SPDX-License-Identifier: GPL-2.0-only
"""Many runs as rows and columns: repetitions in one cell, kernels side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ktstr.report.many import Outcome, rank


@dataclass(frozen=True, slots=True)
class Cell:
    """All repetitions of one run."""

    outcomes: tuple[Outcome, ...]

    @property
    def worst(self) -> Outcome:
        """The first of the worst."""
        return max(self.outcomes, key=rank)

    @property
    def count(self) -> int:
        """How often the worst verdict came."""
        verdict = self.worst.verdict
        return sum(1 for outcome in self.outcomes if outcome.verdict == verdict)

    @property
    def verdict(self) -> str:
        """The worst verdict, and how often it came where there are repetitions."""
        of = len(self.outcomes)
        return self.worst.verdict if of == 1 else f"{self.worst.verdict} {self.count}/{of}"

    @property
    def seconds(self) -> str:
        """How long a run took: one figure, or from the shortest to the longest."""
        took = [outcome.wall_s for outcome in self.outcomes if outcome.verdict != "not run"]
        low, high = f"{min(took, default=0.0):.1f}", f"{max(took, default=0.0):.1f}"
        return high if low == high else f"{low}-{high}"

    def document(self) -> dict[str, Any]:
        """The cell for programs."""
        worst = self.worst
        return {
            "verdict": worst.verdict,
            "exit_code": int(worst.exit_code),
            "count": self.count,
            "of": len(self.outcomes),
            "reason": worst.reason,
        }


@dataclass(frozen=True, slots=True)
class Line:
    """A row of the grid: one scenario, in one variant where the columns are kernels.

    :param variant: topology and flags that the command names; empty where columns are variants.
    """

    name: str
    variant: str
    topology: str | None
    profile: str | None
    cells: dict[str, Cell]

    @property
    def label(self) -> str:
        """Scenario and variant."""
        return f"{self.name} [{self.variant}]" if self.variant else self.name


@dataclass(frozen=True, slots=True)
class Grid:
    """What happened where.

    :param columns: in the order of the command.
    :param kernels: whether they are kernels; else they are whatever the command varies.
    """

    columns: tuple[str, ...]
    kernels: bool
    lines: tuple[Line, ...]

    def releases(self) -> dict[str, str]:
        """The release that each kernel of the columns turned out to be, where one was booted."""
        found: dict[str, str] = {}
        for line in self.lines if self.kernels else ():
            for column, cell in line.cells.items():
                for outcome in cell.outcomes:
                    if "kernel" in outcome.facts:
                        found.setdefault(column, outcome.facts["kernel"])
        return {column: found[column] for column in self.columns if column in found}

    def document(self) -> dict[str, Any]:
        """The grid for programs: a column for each kernel, ``null`` where nothing was due."""
        releases = self.releases()
        return {
            "kernels": [{"kernel": c, "release": releases.get(c)} for c in self.columns],
            "rows": [
                {
                    "name": line.name,
                    "topology": line.topology,
                    "profile": line.profile,
                    "cells": [
                        None if (cell := line.cells.get(column)) is None else cell.document()
                        for column in self.columns
                    ],
                }
                for line in self.lines
            ],
        }


def cells_of(outcomes: Sequence[Outcome]) -> list[Cell]:
    """A cell for each label, the best first, else in the order of their first runs."""
    found: dict[tuple[Path, str], list[Outcome]] = {}
    for outcome in outcomes:
        found.setdefault((outcome.turn.path, outcome.label), []).append(outcome)
    return sorted((Cell(tuple(each)) for each in found.values()), key=lambda cell: rank(cell.worst))


def kernels_of(outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    """The kernels that the command names, in its order; none where scenarios boot their own."""
    return tuple(dict.fromkeys(o.turn.kernel for o in outcomes if o.turn.kernel is not None))


def grid_of(outcomes: Sequence[Outcome]) -> Grid | None:
    """Scenarios downwards; across, the kernels where there are several, else what else varies.

    :return: None where nothing varies.
    """
    kernels = kernels_of(outcomes)
    by_kernel = len(kernels) > 1
    columns = kernels if by_kernel else tuple(dict.fromkeys(o.turn.variant for o in outcomes))
    if len(columns) < 2:
        return None
    # What could not be read on one kernel has no name of its own there, only its file's.
    names = {o.turn.path: o.turn.name for o in outcomes if o.turn.name}
    lines: dict[tuple[Path, str], Line] = {}
    for outcome in outcomes:
        turn = outcome.turn
        words = (turn.topology, turn.profile) if by_kernel else ()
        variant = ", ".join(word for word in words if word)
        line = lines.setdefault(
            (turn.path, variant),
            Line(names.get(turn.path, outcome.name), variant, turn.topology, turn.profile, {}),
        )
        column = turn.kernel or "" if by_kernel else turn.variant
        before = line.cells.get(column)
        line.cells[column] = Cell((*(before.outcomes if before else ()), outcome))
    return Grid(columns, by_kernel, tuple(sorted(lines.values(), key=lambda line: line.name)))
