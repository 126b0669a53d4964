# SPDX-License-Identifier: GPL-2.0-only
"""What commands of several runs have in common: a console, signals, a report in the end."""

import gc
import signal
import sys
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import UTC, datetime
from functools import partial

import anyio
import anyio.to_thread
from rich.console import Console, RenderableType

from ktstr.cli.guarded import SIGNALS, TICK_S
from ktstr.cli.reports import Reports
from ktstr.cli.scratch import end_at_once, one_scratch_folder
from ktstr.cli.screen import Screen
from ktstr.errors import ExitCode, KtstrError
from ktstr.report.many import Outcome, exit_code, outcome_line
from ktstr.report.many_live import ManyProgress
from ktstr.report.verdict import print_parts
from ktstr.session.scopes import task_scope

THREADS = 40
"""Threads for blocking work, as many as anyio has by default."""

THREADS_PER_RUN = 4
"""A run may wait in as many at once: image, memory, decoding, judging."""


class Several(ABC):
    """Several runs with their progress and their answer to signals.

    The first signal ends what runs, cleans up and reports; a second one does not wait for the
    cleaning.
    """

    def __init__(self, reports: Reports) -> None:
        # With --json, stdout belongs to the document; people read stderr.
        self._screen = Screen(sys.stderr if reports.on_stdout else sys.stdout)
        self._console = Console(file=self._screen.text, soft_wrap=True)
        self._reports = reports
        self._interrupted = False
        self._finished = 0
        self._began = time.monotonic()
        self._began_at = datetime.now(UTC)

    @abstractmethod
    def outcomes(self) -> Sequence[Outcome]:
        """How each of the runs went so far."""

    @abstractmethod
    def summary(self, wall_s: float) -> Iterable[RenderableType]:
        """What people read in the end."""

    @abstractmethod
    def written(self, wall_s: float, code: ExitCode) -> Iterable[KtstrError]:
        """Write the reports; yields what went wrong."""

    @abstractmethod
    async def run_all(self, helpers: anyio.abc.TaskGroup) -> None:
        """Run them."""

    def main(self) -> ExitCode:
        """Run them all, and tell how it went also when a signal ends it early."""
        went_wrong = False
        try:
            with one_scratch_folder():
                anyio.run(self._run)
        except KtstrError as error:
            self.say_error(error)
            if not self._finished:
                return error.exit_code
            went_wrong = True
        except Exception:
            # What a signal tore down on its way is no news.
            if not self._interrupted:
                went_wrong = True
                self.say_traceback()
                self.say_error("ktstr itself went wrong; this is no verdict on the scheduler")
        return self._conclude("everything is cleaned up", went_wrong)

    def _conclude(self, how_ended: str, went_wrong: bool = False) -> ExitCode:
        wall_s = time.monotonic() - self._began
        print_parts(self._console, self.summary(wall_s))
        code = self.exit_code()
        if self._interrupted:
            code = ExitCode.INTERRUPTED
            self._console.print(f"interrupted; {how_ended}", style="yellow")
        elif went_wrong:
            code = ExitCode.CANNOT_RUN
        for error in self.written(wall_s, code):
            self.say_error(error)
            code = ExitCode.CANNOT_RUN
        return code

    def exit_code(self) -> ExitCode:
        """How the command is to exit, unless something else went wrong."""
        return exit_code(self.outcomes())

    async def _run(self) -> None:
        # The receiver outlasts the clean-up, so that a second signal is taken during it.
        with anyio.open_signal_receiver(*SIGNALS) as received:
            async with task_scope() as helpers:
                scope = anyio.CancelScope()
                helpers.start_soon(self._answer, received, scope)
                with scope:
                    await self.run_all(helpers)

    async def _answer(
        self, received: AsyncIterator[signal.Signals], scope: anyio.CancelScope
    ) -> None:
        async for _ in received:
            if self._interrupted:
                end_at_once(partial(self._conclude, "ended at once, at the second signal"))
            self._interrupted = True
            scope.cancel()

    def say_outcome(self, outcome: Outcome, progress: ManyProgress, of: int) -> None:
        """Print one that has finished, of so many."""
        self._finished += 1
        if self._finished == 1:
            # The first run has imported the rest.
            spare_the_collector()
        progress.finished(outcome.verdict)
        progress.print(outcome_line(outcome, self._finished, of))

    def say_error(self, error: object) -> None:
        """Print an error as every command does."""
        self._console.print(f"error: {error}", style="red", markup=False, highlight=False)

    def say_traceback(self) -> None:
        """Print where an exception that nobody foresaw came from."""
        self._console.print(traceback.format_exc(), markup=False, highlight=False)


def allow_threads(runs: int) -> None:
    """Let so many runs wait in threads."""
    limiter = anyio.to_thread.current_default_thread_limiter()
    limiter.total_tokens = THREADS + THREADS_PER_RUN * runs


def spare_the_collector() -> None:
    """Take what is there now out of the garbage collector's view.

    Modules and models stay to the end. To look through them takes 50 ms, in which every run's
    deadlines wait, and comes round once in eight short runs.
    """
    gc.collect()
    gc.freeze()


async def tick(progress: ManyProgress) -> None:
    """Keep what is shown moving."""
    while True:
        await anyio.sleep(TICK_S)
        progress.tick()
