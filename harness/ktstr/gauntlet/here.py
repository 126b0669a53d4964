# SPDX-License-Identifier: GPL-2.0-only
"""Executes cells in this process: as many at a time as the host carries."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

from ktstr.gauntlet.cells import Cell, CellResult
from ktstr.session.lease import Lease
from ktstr.session.matrix import Turn
from ktstr.session.pool import Budget, Cost, Pool
from ktstr.session.room import free_memory_mib
from ktstr.session.run import run_scenario
from ktstr.session.several import Heard, Run, ended_run

Watch = Callable[[Cell], AbstractContextManager[Heard]]
"""Shows a cell while it runs."""


def turn_of(cell: Cell, out_dir: Path | None = None) -> Turn:
    """The run that a cell is.

    :param out_dir: folder for its record and evidence; None: as its options say.
    """
    options = cell.options if out_dir is None else replace(cell.options, out_dir=out_dir)
    return Turn(
        cell.path,
        options,
        profile=cell.profile,
        scheduler=cell.scheduler,
        kernel=cell.kernel,
        topology=cell.preset,
        name=cell.name,
    )


async def run_cell(
    cell: Cell,
    out_dir: Path,
    heard: Heard | None = None,
    lease: Lease | None = None,
    *,
    run: Run = run_scenario,
    wrong: Callable[[], object] = lambda: None,
) -> CellResult:
    """Run one cell; what goes wrong with it is its result.

    :param heard: takes the events of its run.
    :param wrong: called inside the handler of an exception that nobody foresaw.
    """
    turn = turn_of(cell, out_dir)
    end, wall_s = await ended_run(run, turn, heard or Heard(), lease or Lease(), wrong)
    return CellResult.of(end, wall_s)


class Here:
    """Runs cells in this process, within a budget of CPUs and memory.

    Calling it executes a cell; :meth:`drive` decides when.

    :param costs: what of the host each cell takes, by key.
    """

    def __init__(
        self,
        out_dir: Path,
        costs: Mapping[str, Cost],
        budget: Budget,
        *,
        run: Run = run_scenario,
        watch: Watch = lambda cell: nullcontext(Heard()),
        wrong: Callable[[], object] = lambda: None,
    ) -> None:
        self._out_dir = out_dir
        self._costs = costs
        self._budget = budget
        self._run = run
        self._watch = watch
        self._wrong = wrong
        self._leases: dict[str, Lease] = {}

    async def drive(self, cells: Sequence[Cell], one: Callable[[int], Awaitable[None]], /) -> None:
        """Start cells in their order as the host has room for them."""
        pool = Pool([self._costs[cell.key] for cell in cells], self._budget, free_memory_mib)

        async def leased(place: int, lease: Lease) -> None:
            key = cells[place].key
            self._leases[key] = lease
            try:
                await one(place)
            finally:
                del self._leases[key]

        await pool.run(leased)

    async def __call__(self, cell: Cell) -> CellResult:
        """Execute a cell that :meth:`drive` has begun."""
        lease = self._leases.get(cell.key)
        with self._watch(cell) as heard:
            return await run_cell(
                cell, self._out_dir, heard, lease, run=self._run, wrong=self._wrong
            )
