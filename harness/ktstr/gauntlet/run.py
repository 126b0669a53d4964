# SPDX-License-Identifier: GPL-2.0-only
"""Runs the cells of a gauntlet by whatever executes them, and keeps the journal."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from ktstr.gauntlet.cells import Cell, CellResult
from ktstr.gauntlet.journal import Journal

Execute = Callable[[Cell], Awaitable[CellResult]]
"""Runs one cell. What goes wrong with it is a result; an exception ends the gauntlet."""

Tell = Callable[[int, CellResult], None]
"""Told of each cell that has ended: its place in the list, and how it went."""


class Drive(Protocol):
    """Decides which cells run at the same time: calls ``one(place)`` once for each."""

    async def __call__(
        self, cells: Sequence[Cell], one: Callable[[int], Awaitable[None]]
    ) -> None: ...


async def run_cells(
    cells: Sequence[Cell],
    execute: Execute,
    journal: Journal | None = None,
    *,
    drive: Drive,
    tell: Tell = lambda place, result: None,
) -> list[CellResult]:
    """Run ``cells`` and return their results in the same order."""
    raise NotImplementedError
