# SPDX-License-Identifier: GPL-2.0-only
"""Running cells: journal before telling, what is known is not run, the budget while it is spent."""

from collections.abc import Sequence
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from ktstr.errors import CannotRun, ExitCode, HostUnfit, QemuDied
from ktstr.gauntlet.agenda import Item
from ktstr.gauntlet.cells import Cell, CellResult
from ktstr.gauntlet.here import Here, run_cell
from ktstr.gauntlet.journal import open_journal, read_journal
from ktstr.gauntlet.run import TimeLimit, at_once, run_cells, to_repeat
from ktstr.session.events import Emit, StepStarted
from ktstr.session.lease import Lease
from ktstr.session.options import RunOptions
from ktstr.session.pool import Budget, Cost
from ktstr.session.record import RunRecord
from ktstr.verdict import AssertResult


def cells(count: int) -> list[Cell]:
    return [Cell(Path(f"/{n}.toml"), f"c{n}", "1n1l1c1t", key=f"k{n}") for n in range(count)]


PASS = CellResult("pass", ExitCode.PASS, wall_s=1.0)


async def passes(cell: Cell) -> CellResult:
    await anyio.lowlevel.checkpoint()
    return PASS


async def test_results_in_the_order_of_the_cells_whatever_ends_first(tmp_path: Path) -> None:
    order: list[str] = []
    gates = {f"k{n}": anyio.Event() for n in range(3)}

    async def execute(cell: Cell) -> CellResult:
        if cell.key != "k2":
            await gates[cell.key].wait()
        return CellResult("pass", ExitCode.PASS, reason=cell.name)

    def tell(cell: Cell, result: CellResult) -> None:
        order.append(cell.key)
        for gate in gates.values():
            gate.set()
        assert cell.key in read_journal(tmp_path).results, "told before it was on the disk"

    with open_journal(tmp_path) as journal:
        found = await run_cells(cells(3), execute, journal, drive=at_once(3), tell=tell)
    assert [result.reason for result in found] == ["c0", "c1", "c2"]
    assert order[0] == "k2" and sorted(order) == ["k0", "k1", "k2"]
    assert read_journal(tmp_path).cut == set()


async def test_no_more_at_once_than_asked_for() -> None:
    running, most = 0, 0

    async def execute(cell: Cell) -> CellResult:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(5):
            await anyio.lowlevel.checkpoint()
        running -= 1
        return PASS

    assert await run_cells(cells(7), execute, drive=at_once(2)) == [PASS] * 7
    assert most == 2
    most = 0
    await run_cells(cells(3), execute)
    assert most == 1
    assert await run_cells([], execute, drive=at_once(4)) == []


async def test_what_is_known_is_not_run_and_what_was_not_tried_is() -> None:
    ran: list[str] = []

    async def execute(cell: Cell) -> CellResult:
        ran.append(cell.key)
        return PASS

    before = {
        "k0": CellResult("fail", ExitCode.FAIL),
        "k1": CellResult("cannot run", ExitCode.CANNOT_RUN),
        "k2": CellResult.not_run("budget"),
        "k3": CellResult("guest lost", ExitCode.GUEST_LOST),
    }
    found = await run_cells(cells(5), execute, known=to_repeat(before))
    assert ran == ["k1", "k2", "k4"]
    assert [each.verdict for each in found] == ["fail", "pass", "pass", "guest lost", "pass"]


async def test_a_cancellation_leaves_what_it_cut_to_be_repeated(tmp_path: Path) -> None:
    began = anyio.Event()

    async def execute(cell: Cell) -> CellResult:
        if cell.key == "k1":
            began.set()
            await anyio.sleep_forever()
        return PASS

    with open_journal(tmp_path) as journal:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:

                async def stop() -> None:
                    await began.wait()
                    scope.cancel()

                tasks.start_soon(stop)
                await run_cells(cells(3), execute, journal)
        assert scope.cancelled_caught
    found = read_journal(tmp_path)
    assert set(found.results) == {"k0"} and found.cut == {"k1"}


async def test_what_has_ended_is_kept_though_the_signal_comes_then(tmp_path: Path) -> None:
    with anyio.CancelScope() as scope:

        async def execute(cell: Cell) -> CellResult:
            scope.cancel()
            return PASS

        with open_journal(tmp_path) as journal:
            await run_cells(cells(2), execute, journal)
    assert set(read_journal(tmp_path).results) == {"k0"}


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def spent(budget_s: float, thought_s: Sequence[float], took_s: float) -> list[str]:
    """Verdicts of cells that take ``took_s`` each, within a budget."""
    due = cells(len(thought_s))
    items = [Item(cell, wall_s, wall_s) for cell, wall_s in zip(due, thought_s, strict=True)]
    clock = Clock()

    async def execute(cell: Cell) -> CellResult:
        clock.now += took_s
        return CellResult("pass", ExitCode.PASS, wall_s=took_s)

    found = await run_cells(due, execute, limit=TimeLimit(budget_s, items, clock))
    assert all(each.reason.startswith("budget: ") for each in found if each.verdict == "not run")
    return [each.verdict for each in found]


async def test_a_budget_is_held_while_it_is_spent() -> None:
    assert await spent(40.0, [10.0] * 4, 10.0) == ["pass"] * 4
    # Twice as slow as thought: after two it is known, and 0 s are left of 40.
    assert await spent(40.0, [10.0] * 4, 20.0) == ["pass", "pass", "not run", "not run"]
    # After two, the third is thought to take 15 s of the 20 that are left.
    assert await spent(50.0, [10.0] * 4, 15.0) == ["pass", "pass", "pass", "not run"]
    # So they are corrected: of 50 s 16 are left, where a third would take 17.
    assert await spent(50.0, [10.0] * 4, 17.0) == ["pass", "pass", "not run", "not run"]
    # And the other way: 6 s are left for the fourth, which takes half of what was thought.
    assert await spent(18.0, [10.0] * 5, 4.0) == [*["pass"] * 4, "not run"]
    # What is too long leaves room for what is not.
    assert await spent(30.0, [10.0, 10.0, 99.0, 5.0], 10.0) == [
        *("pass", "pass", "not run", "pass")
    ]


def test_estimates_are_not_corrected_without_end() -> None:
    items = [Item(cell, 10.0, 10.0) for cell in cells(3)]
    limit = TimeLimit(50.0, items, Clock())
    for item in items[:2]:
        limit.took(item.cell, 10_000.0)
    assert limit.refuses(items[2].cell) == ""
    limit.took(items[2].cell, 0.0)
    assert TimeLimit(3.9, items, Clock()).refuses(items[0].cell) == (
        "budget: takes about 10 s, 4 s were left"
    )


class Runs:
    """Stands in for run_scenario."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.seen: list[tuple[Path, RunOptions]] = []

    async def __call__(
        self, path: Path, options: RunOptions, emit: Emit, *, lease: Lease
    ) -> RunRecord:
        self.seen.append((path, options))
        emit(StepStarted(1, 1, "", 2.5))
        if self.error is not None:
            raise self.error
        async with _leased(lease):
            result = AssertResult()
            result.record_pass()
            return RunRecord("id", path.stem, ExitCode.PASS, result)


class _leased:
    def __init__(self, lease: Lease) -> None:
        self.lease = lease

    async def __aenter__(self) -> None:
        await self.lease.enter()

    async def __aexit__(self, *error: object) -> None:
        self.lease.leave()


async def test_a_cell_is_run_into_the_gauntlets_folder(tmp_path: Path) -> None:
    runs = Runs()
    found = await run_cell(cells(1)[0], tmp_path, run=runs)
    assert found.verdict == "pass" and found.workload_s == 2.5
    ((path, options),) = runs.seen
    assert path == Path("/0.toml") and options == RunOptions(out_dir=tmp_path)


async def test_a_wait_that_a_changed_clock_made_long_is_no_time_before_the_start(
    tmp_path: Path,
) -> None:
    lease = Lease()
    lease.waited_s = 3600.0
    found = await run_cell(cells(1)[0], tmp_path, lease=lease, run=Runs())
    assert found.wall_s == 0.0
    assert CellResult.from_json(found.to_json()).verdict == "pass"


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (HostUnfit("no QEMU"), "cannot run"),
        (QemuDied("gone"), "guest lost"),
        (ZeroDivisionError("oops"), "cannot run"),
        (OSError(5, "broken"), "cannot run"),
    ],
)
async def test_what_goes_wrong_with_a_cell_is_its_result(
    tmp_path: Path, error: Exception, verdict: str
) -> None:
    wrong: list[int] = []
    found = await run_cell(cells(1)[0], tmp_path, run=Runs(error), wrong=lambda: wrong.append(1))
    assert found.verdict == verdict and str(error.args[-1]) in found.reason
    assert bool(wrong) == isinstance(error, ZeroDivisionError)


async def test_here_cells_run_as_the_host_has_room(tmp_path: Path) -> None:
    due = cells(4)
    runs = Runs()
    here = Here(
        tmp_path,
        {cell.key: Cost(2 if cell.key == "k0" else 1, 64) for cell in due},
        Budget(cpus=2),
        run=runs,
    )
    found = await run_cells(due, here, drive=here.drive)
    assert [each.verdict for each in found] == ["pass"] * 4
    assert sorted(path.stem for path, _ in runs.seen) == ["0", "1", "2", "3"]


async def test_a_journal_that_cannot_be_written_ends_it(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        pass  # closed
    with pytest.raises(CannotRun, match="cannot be written"):
        await run_cells(cells(1), passes, journal, drive=None)
