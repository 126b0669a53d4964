# SPDX-License-Identifier: GPL-2.0-only
"""Runs the cells of a gauntlet by whatever executes them, and keeps the journal."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Protocol

import anyio
import anyio.to_thread

from ktstr.gauntlet.agenda import Item
from ktstr.gauntlet.cells import Cell, CellResult
from ktstr.gauntlet.journal import Journal
from ktstr.session.scopes import task_scope

Execute = Callable[[Cell], Awaitable[CellResult]]
"""Runs one cell. What goes wrong with it is a result; an exception ends the gauntlet."""

Tell = Callable[[Cell, CellResult], object]
"""Told of each cell that has ended, after the journal."""

AGAIN: Final = frozenset({"not run", "cannot run"})
"""Verdicts of cells of which nothing was tried: a resumption runs them."""

TRUSTED_AFTER: Final = 2
"""Runs after which what they took corrects the estimates of the others."""

CORRECTION: Final = (0.5, 4.0)
"""Least and most by which estimates are corrected."""


class Drive(Protocol):
    """Decides which cells run at the same time: awaits ``one(place)`` once for each."""

    async def __call__(
        self, cells: Sequence[Cell], one: Callable[[int], Awaitable[None]], /
    ) -> None: ...


class Executor(Protocol):
    """Runs cells, and decides which of them at the same time."""

    async def __call__(self, cell: Cell, /) -> CellResult: ...

    async def drive(
        self, cells: Sequence[Cell], one: Callable[[int], Awaitable[None]], /
    ) -> None: ...


class TimeLimit:
    """A budget while it is spent.

    No cell is begun that is not likely to end in time: estimates are corrected by what the cells
    before took. One that has begun runs to its end.

    :param budget_s: from now on, seconds.
    :param items: with what each is thought to take.
    """

    def __init__(
        self,
        budget_s: float,
        items: Sequence[Item],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._end = clock() + budget_s
        self._wall_s = {item.cell.key: item.wall_s for item in items}
        self._thought_s = self._took_s = 0.0
        self._ran = 0

    def refuses(self, cell: Cell) -> str:
        """Why a cell is not to begin now; empty when it may."""
        left_s = self._end - self._clock()
        takes_s = self._wall_s[cell.key] * self._correction()
        if takes_s <= left_s:
            return ""
        return f"budget: takes about {takes_s:.0f} s, {max(0.0, left_s):.0f} s were left"

    def took(self, cell: Cell, wall_s: float) -> None:
        """A cell has ended."""
        self._ran += 1
        self._thought_s += self._wall_s[cell.key]
        self._took_s += wall_s

    def _correction(self) -> float:
        if self._ran < TRUSTED_AFTER or not self._thought_s:
            return 1.0
        low, high = CORRECTION
        return min(high, max(low, self._took_s / self._thought_s))


async def run_cells(
    cells: Sequence[Cell],
    execute: Execute,
    journal: Journal | None = None,
    *,
    drive: Drive | None = None,
    known: Mapping[str, CellResult] | None = None,
    limit: TimeLimit | None = None,
    tell: Tell = lambda cell, result: None,
) -> list[CellResult]:
    """Run ``cells``; each that ends is in the journal before anybody is told.

    A cancellation ends what runs; those cells are not in the journal as ended, so that a
    resumption repeats them.

    :param drive: which cells run at the same time; one after the other without it.
    :param known: results from before, by key; those cells are not run, nor told of.
    :param limit: the budget; what does not fit any more has the verdict ``not run``.
    :return: the results in the order of the cells.
    :raise OutputUnwritable: when the journal cannot be written.
    """
    known = known or {}
    results = {cell.key: known[cell.key] for cell in cells if cell.key in known}
    due = [cell for cell in cells if cell.key not in known]

    async def one(place: int) -> None:
        cell = due[place]
        why = "" if limit is None else limit.refuses(cell)
        if why:
            result = CellResult.not_run(why)
        else:
            if journal is not None:
                await anyio.to_thread.run_sync(journal.began, cell)
            result = await execute(cell)
            if limit is not None:
                limit.took(cell, result.wall_s)
        # What has ended is kept, also when a signal comes now.
        with anyio.CancelScope(shield=True):
            if journal is not None:
                await anyio.to_thread.run_sync(journal.ended, cell, result)
        results[cell.key] = result
        tell(cell, result)

    async with task_scope():  # an error of one leaves it by itself
        await (drive or at_once(1))(due, one)
    return [results[cell.key] for cell in cells]


def to_repeat(results: Mapping[str, CellResult]) -> dict[str, CellResult]:
    """Of results from before, those that stand; the others are run again."""
    return {key: result for key, result in results.items() if result.verdict not in AGAIN}


def at_once(most: int) -> Drive:
    """Cells in their order, so many at the same time."""

    async def drive(cells: Sequence[Cell], one: Callable[[int], Awaitable[None]], /) -> None:
        places = iter(range(len(cells)))

        async def work() -> None:
            for place in places:
                await one(place)

        async with anyio.create_task_group() as tasks:
            for _ in range(min(most, len(cells))):
                tasks.start_soon(work)

    return drive
