# SPDX-License-Identifier: GPL-2.0-only
"""Runs a gauntlet for a terminal or a pipe, from its plan to its matrix."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
from rich.console import RenderableType

from ktstr.cli.logs import configure_logging
from ktstr.cli.many import IN_FLIGHT
from ktstr.cli.reports import Reports, check_reports, write_reports, write_text
from ktstr.cli.screen import open_standard_streams
from ktstr.cli.several import Several, allow_threads, spare_the_collector, tick
from ktstr.daemon.choose import ALONE, Choice, chosen
from ktstr.daemon.remote import run_remotely
from ktstr.errors import CannotRun, ExitCode, KtstrError
from ktstr.gauntlet.agenda import Agenda, agenda, rekeyed
from ktstr.gauntlet.board import board
from ktstr.gauntlet.cells import Cell, CellResult
from ktstr.gauntlet.cost import Estimator
from ktstr.gauntlet.here import Here
from ktstr.gauntlet.host import HostLimits, host_limits
from ktstr.gauntlet.journal import (
    JOURNAL,
    Contents,
    Journal,
    measured_beside,
    open_journal,
    read_journal,
    taken,
)
from ktstr.gauntlet.plan import Entry, Progress, Wanted, completed, plan
from ktstr.gauntlet.run import Executor, TimeLimit, run_cells, to_repeat
from ktstr.kernels.boot_times import BootTimes
from ktstr.report.gauntlet import announcement, gauntlet_exit_code, outcome, outcomes, summary
from ktstr.report.gauntlet_files import document, markdown
from ktstr.report.many import Outcome
from ktstr.report.many_live import ManyProgress, Watch
from ktstr.session.pool import Budget, Cost
from ktstr.session.room import budget, host_room
from ktstr.session.run import run_scenario


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line asks for.

    :param folder: of the journal, records and evidence.
    :param wanted: what is multiplied by what; None: what the journal of the folder says.
    :param auto_repro: of a resumption, where it was said: what the journal has to say, too.
    """

    folder: Path
    name: str = ""
    wanted: Wanted | None = None
    max_cpus: int | None = None
    budget_s: float | None = None
    jobs: int | None = None
    verbose: bool = False
    auto_repro: bool | None = None


class GauntletRunner(Several):
    """A gauntlet, its journal, and what is said about it.

    :param only_plan: nothing is run.
    :param choice: whether a daemon runs the cells.
    """

    def __init__(
        self, asked: Asked, reports: Reports, *, only_plan: bool, choice: Choice = ALONE
    ) -> None:
        super().__init__(reports)
        self._choice = choice
        self._asked = asked
        self._only_plan = only_plan
        self._agenda = Agenda(asked.name, ())
        self._results: dict[str, CellResult] = {}
        self._costs: dict[str, Cost] = {}
        self._before_s = 0.0

    def outcomes(self) -> Sequence[Outcome]:
        """How each of the cells went so far."""
        return outcomes(board(self._agenda, self._results))

    def summary(self, wall_s: float) -> Iterable[RenderableType]:
        """What people read in the end."""
        if self._only_plan or not (self._agenda.items or self._agenda.settled):
            return []
        width = self._console.width if self._console.is_terminal else None
        return summary(board(self._agenda, self._results), wall_s + self._before_s, width)

    def exit_code(self) -> ExitCode:
        """How the command is to exit, unless something else went wrong."""
        if self._only_plan:
            return ExitCode.PASS
        return gauntlet_exit_code(board(self._agenda, self._results))

    def written(self, wall_s: float, code: ExitCode) -> Iterator[KtstrError]:
        """Write the reports; yields what went wrong."""
        found = board(self._agenda, self._results)
        wall_s += self._before_s
        text = document(found, wall_s, code)
        yield from write_reports(self._reports, self.outcomes(), text, self._began_at)
        if self._reports.markdown_file is not None:
            yield from write_text(self._reports.markdown_file, markdown(found, wall_s))
        if self._interrupted and self._asked.folder.joinpath(JOURNAL).exists():
            self.say(f"go on with: ktstr gauntlet --resume {self._asked.folder}")

    def say(self, text: str) -> None:
        """Print a line as it is."""
        self._console.print(text, markup=False, highlight=False)

    async def run_all(self, helpers: anyio.abc.TaskGroup) -> None:
        """Plan, or read what was planned; then run what is due."""
        asked = self._asked
        with ExitStack() as stack:
            journal: Journal | None = None
            there = asked.folder.joinpath(JOURNAL)
            if asked.wanted is None:
                if not self._only_plan and there.exists():
                    # Before it is read: what another process still writes would be run twice.
                    journal = stack.enter_context(open_journal(asked.folder))
                contents = await anyio.to_thread.run_sync(read_journal, asked.folder)
                limit_s = await self._resumed(contents)
            else:
                if there.exists() and there.stat().st_size:
                    raise taken(asked.folder)
                limit_s = await self._planned(asked.wanted)
            if self._only_plan:
                self._say_plan()
                return
            if journal is None:
                # A plan takes a while: another may have begun here meanwhile.
                journal = stack.enter_context(open_journal(asked.folder, new=True))
            await anyio.to_thread.run_sync(journal.planned, self._agenda)
            self.say(f"journal: {journal.path}")
            if self._choice.why_not:
                self.say(f"warning: {self._choice.why_not}")
            await self._run_cells(helpers, journal, limit_s)

    async def _planned(self, wanted: Wanted) -> float | None:
        """Make the agenda; gives what there is to spend, seconds."""
        asked = self._asked
        host = await self.limits(wanted)
        with self._showing("planning") as progress:
            found = await plan(wanted, host, progress)
        estimator = await self._estimator(host)
        make = partial(agenda, budget_s=asked.budget_s, jobs=asked.jobs)
        self._agenda = await anyio.to_thread.run_sync(make, asked.name, found, estimator)
        self._costs = {entry.cell.key: entry.cost for entry in found.entries}
        for line in announcement(self._agenda, host.limit):
            self.say(line)
        return asked.budget_s

    async def _resumed(self, contents: Contents) -> float | None:
        """Take the agenda from the journal; gives what is left to spend, seconds."""
        before = contents.agenda
        if before is None:
            raise CannotRun(
                f"the gauntlet in {self._asked.folder} was interrupted before it had a plan",
                hint="start it again",
            )
        self._check_repro(before)
        with self._showing("reading what has changed") as progress:
            entries = await completed([item.cell for item in before.items], progress)
        self._agenda, _ = rekeyed(before, entries)
        self._costs = {entry.cell.key: entry.cost for entry in entries}
        stand = to_repeat(contents.results)
        due = [item.cell for item in self._agenda.items if item.cell.key not in stand]
        for line in resumption(before, entries, contents, len(due)):
            self.say(line)
        self._results = {
            item.cell.key: stand[item.cell.key]
            for item in self._agenda.items
            if item.cell.key in stand
        }
        # What ran side by side counts once.
        self._before_s = sum(
            stand[item.cell.key].wall_s * item.cost_s / item.wall_s
            for item in self._agenda.items
            if item.cell.key in stand and item.wall_s
        )
        asked = self._asked
        self._asked = replace(asked, jobs=asked.jobs or before.jobs)
        if asked.budget_s is not None or before.budget_s is None:
            return asked.budget_s
        return max(0.0, before.budget_s - self._before_s)

    def _check_repro(self, before: Agenda) -> None:
        """Refuse another --repro than the cells began with: it shapes each run.

        :raise CannotRun: when it is another.
        """
        asked = self._asked.auto_repro
        if asked is None:
            return
        words = {True: "--repro", False: "--no-repro", None: "neither --repro nor --no-repro"}
        for item in before.items:
            if item.cell.options.auto_repro is not asked:
                raise CannotRun(
                    f"{words[asked]} (or KTSTR_AUTO_REPRO) contradicts the gauntlet in "
                    f"{self._asked.folder}, which began with {words[item.cell.options.auto_repro]}",
                    hint="leave it away, or start another gauntlet",
                )

    async def _estimator(self, host: HostLimits) -> Estimator:
        measured = await anyio.to_thread.run_sync(measured_beside, self._asked.folder)
        return Estimator(host, measured, BootTimes().of, self._asked.jobs)

    async def _run_cells(
        self, helpers: anyio.abc.TaskGroup, journal: Journal, limit_s: float | None
    ) -> None:
        items = self._agenda.items
        due = [item for item in items if item.cell.key not in self._results]
        with closing(ManyProgress(self._console, len(due))) as progress:
            helpers.start_soon(tick, progress)
            executor = self.executor(progress, limited=limit_s is not None)
            allow_threads(len(due))
            spare_the_collector()
            await run_cells(
                [item.cell for item in due],
                executor,
                journal,
                drive=executor.drive,
                limit=None if limit_s is None else TimeLimit(limit_s, due),
                tell=lambda cell, result: self._ended(cell, result, progress, len(due)),
            )

    async def limits(self, wanted: Wanted) -> HostLimits:
        """How large a guest may be."""
        return await host_limits(wanted.options.accel, self._asked.max_cpus)

    def watching(self, progress: ManyProgress) -> Callable[[Cell], AbstractContextManager[Watch]]:
        """What shows a cell while it runs."""
        return lambda cell: progress.running(outcome(cell, CellResult.not_run("")).title)

    def executor(self, progress: ManyProgress, *, limited: bool) -> Executor:
        """What runs the cells, and decides which of them at the same time.

        :param limited: whether there is a budget to hold, for which a cell must begin when it is
            thought to, and not wait in a queue.
        """
        room, jobs = host_room(), self._asked.jobs
        limits = budget(room, jobs)
        if self._choice.daemon and not limited:
            # It keeps to the host's limits itself, and knows what others run.
            limits = Budget(jobs=jobs or IN_FLIGHT * room.cpus)
        return Here(
            # A later resumption may start elsewhere.
            self._asked.folder.absolute(),
            self._costs,
            limits,
            run=run_remotely if self._choice.daemon else run_scenario,
            watch=self.watching(progress),
            wrong=self.say_traceback,
        )

    def _ended(self, cell: Cell, result: CellResult, progress: ManyProgress, of: int) -> None:
        self._results[cell.key] = result
        self.say_outcome(outcome(cell, result), progress, of)

    @contextmanager
    def _showing(self, what: str) -> Iterator[Progress]:
        """Show on a terminal what is being prepared."""
        if not self._console.is_terminal:
            yield lambda text, fraction: None
            return
        with self._console.status(what) as status:
            yield lambda text, fraction: status.update(f"{what}: {text}")

    def _say_plan(self) -> None:
        """What would be run, a line each."""
        for item in self._agenda.items:
            if item.cell.key in self._results:
                continue
            self.say(f"{item.wall_s:7.1f} s  {item.cell.label}")
        for cell, result in self._agenda.settled:
            self.say(f"{result.verdict:>9}  {cell.label}: {result.reason}")
        for each in self._agenda.left_out:
            self.say(f" left out  {each.cell.label}: {each.reason}")


def resumption(
    before: Agenda, entries: Sequence[Entry], contents: Contents, due: int
) -> Iterator[str]:
    """What has happened since the interruption, line by line."""
    total = len(before.items)
    yield f"gauntlet {before.name}: {total - due} of {total} cells are done, {due} to be run"
    cut = [item.cell for item in before.items if item.cell.key in contents.cut]
    if cut:
        yield f"{len(cut)} cut, repeated: {_labels(cut)}"
    changed = [
        entry.cell
        for item, entry in zip(before.items, entries, strict=True)
        if item.cell.key != entry.cell.key and item.cell.key in contents.results
    ]
    if changed:
        what = "changed (scenario, scheduler or kernel)"
        yield f"{len(changed)} {what}, repeated: {_labels(changed)}"


def _labels(cells: Sequence[Cell], most: int = 4) -> str:
    named = ", ".join(cell.label for cell in cells[:most])
    return named if len(cells) <= most else f"{named} and {len(cells) - most} more"


def run_gauntlet(
    asked: Asked, reports: Reports, *, only_plan: bool = False, daemon: bool = False
) -> ExitCode:
    """Run a gauntlet and return how the process is to exit.

    :param daemon: whether a daemon may run the cells, when there is one.
    :raise CannotRun: when a report cannot be written where it is wanted.
    """
    open_standard_streams()
    configure_logging(verbose=asked.verbose)
    check_reports(reports)
    choice = chosen(daemon and not only_plan)
    return GauntletRunner(asked, reports, only_plan=only_plan, choice=choice).main()
