# SPDX-License-Identifier: GPL-2.0-only
"""Runs several scenarios, as many at a time as the host carries, and exits by the worst."""

from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import anyio
import anyio.to_thread
from rich.console import RenderableType
from rich.text import Text

from ktstr.cli.logs import configure_logging
from ktstr.cli.reports import Reports, check_reports, write_reports
from ktstr.cli.screen import open_standard_streams
from ktstr.cli.several import Several, allow_threads, spare_the_collector, tick
from ktstr.daemon.choose import ALONE, Choice, chosen
from ktstr.daemon.remote import run_remotely
from ktstr.errors import ExitCode, KtstrError
from ktstr.report.many import Outcome
from ktstr.report.many_live import ManyProgress
from ktstr.report.many_summary import document, summary
from ktstr.session.ends import End
from ktstr.session.lease import Lease
from ktstr.session.lineup import surveyed
from ktstr.session.matrix import Axes, Turn, expand
from ktstr.session.options import RunOptions
from ktstr.session.pool import Budget, Pool
from ktstr.session.profiles import turns
from ktstr.session.room import budget, free_memory_mib, host_room
from ktstr.session.run import run_scenario
from ktstr.session.several import ended_run

IN_FLIGHT = 4
"""Runs left to a daemon at a time, for each host CPU: enough for its queue never to be empty."""

MAX_IN_FLIGHT = 64
"""Each follows its run over a connection, of which the daemon has a limit."""


class ManyRunner(Several):
    """Several runs with their progress and their answer to signals.

    A scenario that cannot run is an outcome like any other: the rest still runs.

    :param jobs: how many at a time; None: as many as leave the results alone.
    """

    def __init__(
        self,
        due: Sequence[Turn],
        *,
        jobs: int | None,
        reports: Reports,
        choice: Choice = ALONE,
    ) -> None:
        super().__init__(reports)
        self._jobs = jobs
        self._choice = choice
        self._turns = list(due)
        self._outcomes = [
            Outcome(
                turn.path.stem,
                turn,
                "not run",
                ExitCode.INTERRUPTED,
                reason="interrupted before it began",
            )
            for turn in due
        ]

    def outcomes(self) -> Sequence[Outcome]:
        """How each of the runs went so far."""
        return self._outcomes

    def summary(self, wall_s: float) -> Iterable[RenderableType]:
        """What people read in the end."""
        return summary(self._outcomes, wall_s)

    def written(self, wall_s: float, code: ExitCode) -> Iterable[KtstrError]:
        """Write the reports; yields what went wrong."""
        found = document(self._outcomes, wall_s, code)
        return write_reports(self._reports, self._outcomes, found, self._began_at)

    async def run_all(self, helpers: anyio.abc.TaskGroup) -> None:
        """Run them."""
        self._turns = await anyio.to_thread.run_sync(surveyed, self._turns)
        for index, turn in enumerate(self._turns):
            name = turn.name or turn.path.stem
            self._outcomes[index] = replace(self._outcomes[index], turn=turn, name=name)
        room = host_room()
        limits = budget(room, self._jobs)
        if self._choice.daemon:
            # It keeps to the host's limits itself, and knows what others run.
            jobs = self._jobs or IN_FLIGHT * room.cpus
            limits = Budget(jobs=min(jobs, MAX_IN_FLIGHT))
        with closing(ManyProgress(self._console, len(self._turns))) as progress:
            helpers.start_soon(tick, progress)
            if self._choice.why_not:
                progress.print(Text(f"warning: {self._choice.why_not}", style="yellow"))
            for index, turn in enumerate(self._turns):
                if turn.skipped or turn.refused is not None:
                    self._finish(index, _never_ran(self._outcomes[index]), progress)
            due = [i for i, turn in enumerate(self._turns) if not turn.skipped and not turn.refused]
            pool = Pool([self._turns[index].cost for index in due], limits, free_memory_mib)
            allow_threads(len(due))
            spare_the_collector()
            await pool.run(lambda place, lease: self._run_one(due[place], lease, progress))

    async def _run_one(self, index: int, lease: Lease, progress: ManyProgress) -> None:
        due = replace(self._outcomes[index], reason="interrupted while it ran")
        self._outcomes[index] = due
        with progress.running(due.title) as watch:
            run = run_remotely if self._choice.daemon else run_scenario
            end, wall_s = await ended_run(run, due.turn, watch, lease, self.say_traceback)
        self._finish(index, replace(due.ended(end), wall_s=wall_s), progress)

    def _finish(self, index: int, outcome: Outcome, progress: ManyProgress) -> None:
        self._outcomes[index] = outcome
        self.say_outcome(outcome, progress, len(self._outcomes))


def _never_ran(due: Outcome) -> Outcome:
    if due.turn.refused is not None:
        return due.ended(End.of_error(due.turn.refused))
    return replace(due, verdict="skip", exit_code=ExitCode.PASS, reason=due.turn.skipped)


def run_many(
    paths: Sequence[Path],
    options: RunOptions,
    *,
    jobs: int | None = None,
    axes: Axes | None = None,
    all_flags: bool = False,
    reports: Reports | None = None,
    daemon: bool = False,
) -> ExitCode:
    """Run ``paths`` and return how the process is to exit.

    :param jobs: how many at a time; None: as many as leave the results alone.
    :param axes: what each scenario is multiplied by.
    :param all_flags: run each once for every profile of its scheduler's flags.
    :param reports: what is written beside what people see.
    :param daemon: whether a daemon may run them, when there is one.
    :raise CannotRun: when a report cannot be written where it is wanted.
    :raise ValueError: when there are too many runs.
    """
    open_standard_streams()
    configure_logging(verbose=options.verbose)
    reports = reports or Reports()
    check_reports(reports)
    due = expand(turns(paths, options, all_flags=all_flags), axes or Axes())
    return ManyRunner(due, jobs=jobs, reports=reports, choice=chosen(daemon)).main()
