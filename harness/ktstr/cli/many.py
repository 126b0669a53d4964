# SPDX-License-Identifier: GPL-2.0-only
"""Runs several scenarios, as many at a time as the host carries, and exits by the worst."""

import gc
import signal
import sys
import time
import traceback
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
from rich.console import Console

from ktstr.cli.guarded import SIGNALS, TICK_S
from ktstr.cli.logs import configure_logging
from ktstr.cli.reports import Reports, check_reports, write_reports
from ktstr.cli.scratch import end_at_once, one_scratch_folder
from ktstr.cli.screen import Screen, open_standard_streams
from ktstr.errors import CannotRun, ExitCode, KtstrError
from ktstr.report.many import Outcome, exit_code, outcome_line
from ktstr.report.many_live import ManyProgress
from ktstr.report.many_summary import summary
from ktstr.report.verdict import print_parts
from ktstr.session.ends import End
from ktstr.session.lease import Lease
from ktstr.session.lineup import surveyed
from ktstr.session.matrix import Axes, Turn, expand
from ktstr.session.options import RunOptions
from ktstr.session.pool import Pool
from ktstr.session.profiles import turns
from ktstr.session.room import budget, free_memory_mib, host_room
from ktstr.session.run import run_scenario
from ktstr.session.scopes import task_scope

THREADS = 40
"""Threads for blocking work, as many as anyio has by default."""

THREADS_PER_RUN = 4
"""A run may wait in as many at once: image, memory, decoding, judging."""


class ManyRunner:
    """Several runs with their progress and their answer to signals.

    A scenario that cannot run is an outcome like any other: the rest still runs. The first signal
    ends what runs, cleans up and reports; a second one does not wait for the cleaning.

    :param jobs: how many at a time; None: as many as leave the results alone.
    """

    def __init__(self, due: Sequence[Turn], *, jobs: int | None, reports: Reports) -> None:
        # With --json, stdout belongs to the document; people read stderr.
        self._screen = Screen(sys.stderr if reports.on_stdout else sys.stdout)
        self._console = Console(file=self._screen.text, soft_wrap=True)
        self._jobs = jobs
        self._reports = reports
        self._interrupted = False
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
        self._finished = 0
        self._began = time.monotonic()
        self._began_at = datetime.now(UTC)

    def main(self) -> ExitCode:
        """Run them all, and tell how it went also when a signal ends it early."""
        went_wrong = False
        try:
            with one_scratch_folder():
                anyio.run(self._run)
        except KtstrError as error:
            self._say_error(error)
            return error.exit_code
        except Exception:
            # What a signal tore down on its way is no news.
            if not self._interrupted:
                went_wrong = True
                self._console.print(traceback.format_exc(), markup=False, highlight=False)
                self._say_error("ktstr itself went wrong; this is no verdict on the scheduler")
        return self._conclude("everything is cleaned up", went_wrong)

    def _conclude(self, how_ended: str, went_wrong: bool = False) -> ExitCode:
        wall_s = time.monotonic() - self._began
        print_parts(self._console, summary(self._outcomes, wall_s))
        code = exit_code(self._outcomes)
        if self._interrupted:
            code = ExitCode.INTERRUPTED
            self._console.print(f"interrupted; {how_ended}", style="yellow")
        elif went_wrong:
            code = ExitCode.CANNOT_RUN
        began_at = self._began_at
        for error in write_reports(self._reports, self._outcomes, wall_s, began_at, code):
            self._say_error(error)
            code = ExitCode.CANNOT_RUN
        return code

    async def _run(self) -> None:
        # The receiver outlasts the clean-up, so that a second signal is taken during it.
        with anyio.open_signal_receiver(*SIGNALS) as received:
            async with task_scope() as helpers:
                scope = anyio.CancelScope()
                helpers.start_soon(self._answer, received, scope)
                with scope:
                    await self._run_all(helpers)

    async def _answer(
        self, received: AsyncIterator[signal.Signals], scope: anyio.CancelScope
    ) -> None:
        async for _ in received:
            if self._interrupted:
                end_at_once(partial(self._conclude, "ended at once, at the second signal"))
            self._interrupted = True
            scope.cancel()

    async def _run_all(self, helpers: anyio.abc.TaskGroup) -> None:
        self._turns = await anyio.to_thread.run_sync(surveyed, self._turns)
        for index, turn in enumerate(self._turns):
            name = turn.name or turn.path.stem
            self._outcomes[index] = replace(self._outcomes[index], turn=turn, name=name)
        room = host_room()
        limits = budget(room, self._jobs)
        with closing(ManyProgress(self._console, len(self._turns))) as progress:
            helpers.start_soon(_tick, progress)
            for index, turn in enumerate(self._turns):
                if turn.skipped or turn.refused is not None:
                    self._finish(index, _never_ran(self._outcomes[index]), progress)
            due = [i for i, turn in enumerate(self._turns) if not turn.skipped and not turn.refused]
            pool = Pool([self._turns[index].cost for index in due], limits, free_memory_mib)
            limiter = anyio.to_thread.current_default_thread_limiter()
            limiter.total_tokens = THREADS + THREADS_PER_RUN * len(due)
            _spare_the_collector()
            await pool.run(lambda place, lease: self._run_one(due[place], lease, progress))

    async def _run_one(self, index: int, lease: Lease, progress: ManyProgress) -> None:
        began = time.monotonic()
        due = replace(self._outcomes[index], reason="interrupted while it ran")
        self._outcomes[index] = due
        with progress.running(due.title) as watch:
            try:
                record = await run_scenario(due.turn.path, due.turn.options, watch, lease=lease)
            except (KtstrError, OSError) as error:
                if self._interrupted:
                    # What a signal tore down on its way is no news.
                    return
                outcome = due.ended(End.of_error(error, due.turn.kernel))
            except Exception as error:
                # Python's traceback says where; the other scenarios are none the worse for it.
                self._console.print(traceback.format_exc(), markup=False, highlight=False)
                wrong = CannotRun(f"ktstr itself went wrong: {error!r}")
                outcome = due.ended(End.of_error(wrong))
            else:
                outcome = Outcome.of(record, due.turn, watch.held_s, watch.warnings)
        # While it waits for CPUs it is no run that takes long, but one of many.
        wall_s = time.monotonic() - began - lease.waited_s
        self._finish(index, replace(outcome, wall_s=wall_s), progress)

    def _finish(self, index: int, outcome: Outcome, progress: ManyProgress) -> None:
        self._outcomes[index] = outcome
        self._finished += 1
        if self._finished == 1:
            # The first run has imported the rest.
            _spare_the_collector()
        progress.finished(outcome.verdict)
        progress.print(outcome_line(outcome, self._finished, len(self._outcomes)))

    def _say_error(self, error: object) -> None:
        self._console.print(f"error: {error}", style="red", markup=False, highlight=False)


def _spare_the_collector() -> None:
    """Take what is there now out of the garbage collector's view.

    Modules and models stay to the end. To look through them takes 50 ms, in which every run's
    deadlines wait, and comes round once in eight short runs.
    """
    gc.collect()
    gc.freeze()


def _never_ran(due: Outcome) -> Outcome:
    if due.turn.refused is not None:
        return due.ended(End.of_error(due.turn.refused))
    return replace(due, verdict="skip", exit_code=ExitCode.PASS, reason=due.turn.skipped)


async def _tick(progress: ManyProgress) -> None:
    while True:
        await anyio.sleep(TICK_S)
        progress.tick()


def run_many(
    paths: Sequence[Path],
    options: RunOptions,
    *,
    jobs: int | None = None,
    axes: Axes | None = None,
    all_flags: bool = False,
    reports: Reports | None = None,
) -> ExitCode:
    """Run ``paths`` and return how the process is to exit.

    :param jobs: how many at a time; None: as many as leave the results alone.
    :param axes: what each scenario is multiplied by.
    :param all_flags: run each once for every profile of its scheduler's flags.
    :param reports: what is written beside what people see.
    :raise CannotRun: when a report cannot be written where it is wanted.
    :raise ValueError: when there are too many runs.
    """
    open_standard_streams()
    configure_logging(verbose=options.verbose)
    reports = reports or Reports()
    check_reports(reports)
    due = expand(turns(paths, options, all_flags=all_flags), axes or Axes())
    return ManyRunner(due, jobs=jobs, reports=reports).main()
