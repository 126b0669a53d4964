# SPDX-License-Identifier: GPL-2.0-only
"""Runs several scenarios, tells how each went, and exits by the worst."""

import errno
import json
import signal
import sys
import time
import traceback
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import anyio
from rich.console import Console

from ktstr.cli.logs import configure_logging
from ktstr.cli.profiles import Turn, turns
from ktstr.cli.runner import SIGNALS, TICK_S
from ktstr.cli.screen import Screen, open_standard_streams
from ktstr.errors import CannotRun, DefinitionInvalid, ExitCode, KtstrError
from ktstr.report.many import Outcome, document, outcome_line, summary, worst
from ktstr.report.many_live import ManyProgress
from ktstr.report.verdict import print_parts
from ktstr.session.options import RunOptions
from ktstr.session.run import run_scenario
from ktstr.session.scopes import task_scope

SCHEDULER_OPS = frozenset(
    {"DetachScheduler", "ReplaceScheduler", "RestartScheduler", "WriteBpfGlobal"}
)
"""Ops that a run without a scheduler cannot do."""


class ManyRunner:
    """Several runs with their progress and their answer to signals.

    A scenario that cannot run is an outcome like any other: the rest still runs.
    """

    def __init__(
        self, turns: Sequence[Turn], options: RunOptions, *, jobs: int, as_json: bool
    ) -> None:
        # With --json, stdout belongs to the document; people read stderr.
        self._screen = Screen(sys.stderr if as_json else sys.stdout)
        self._console = Console(file=self._screen.text, soft_wrap=True)
        self._options = options
        self._jobs = jobs
        self._as_json = as_json
        self._interrupted = False
        self._turns = turns
        self._outcomes = [
            Outcome(due.path.stem, due.path, "not run", ExitCode.INTERRUPTED, profile=due.profile)
            for due in turns
        ]
        self._finished = 0

    def main(self) -> ExitCode:
        """Run them all, and tell how it went also when a signal ends it early."""
        began = time.monotonic()
        went_wrong = False
        try:
            anyio.run(self._run)
        except Exception:
            # What a signal tore down on its way is no news.
            if not self._interrupted:
                went_wrong = True
                self._console.print(traceback.format_exc(), markup=False, highlight=False)
                self._say_error("ktstr itself went wrong; this is no verdict on the scheduler")
        wall_s = time.monotonic() - began
        print_parts(self._console, summary(self._outcomes, wall_s))
        code = worst([outcome.exit_code for outcome in self._outcomes])
        if self._interrupted:
            self._console.print("interrupted; everything is cleaned up", style="yellow")
        elif went_wrong:
            code = ExitCode.CANNOT_RUN
        return self._print_document(wall_s, code) if self._as_json else code

    async def _run(self) -> None:
        # The receiver outlasts the clean-up, so that a second signal cannot cut it short.
        with (
            anyio.open_signal_receiver(*SIGNALS) as received,
            closing(ManyProgress(self._console, len(self._outcomes))) as progress,
        ):
            async with task_scope() as helpers:
                scope = anyio.CancelScope()
                helpers.start_soon(self._answer, received, scope)
                helpers.start_soon(_tick, progress)
                with scope:
                    await self._run_all(progress)

    async def _answer(
        self, received: AsyncIterator[signal.Signals], scope: anyio.CancelScope
    ) -> None:
        async for _ in received:
            self._interrupted = True
            scope.cancel()

    async def _run_all(self, progress: ManyProgress) -> None:
        waiting = iter(range(len(self._outcomes)))

        async def take_turns() -> None:
            for index in waiting:
                if not self._interrupted:
                    await self._run_one(index, progress)

        async with anyio.create_task_group() as workers:
            for _ in range(min(self._jobs, len(self._outcomes))):
                workers.start_soon(take_turns)

    async def _run_one(self, index: int, progress: ManyProgress) -> None:
        due, turn = self._outcomes[index], self._turns[index]
        began = time.monotonic()
        with progress.running(due.title) as watch:
            try:
                if turn.refused is not None:
                    raise turn.refused
                record = await run_scenario(due.path, turn.options, watch)
            except (KtstrError, OSError) as error:
                if self._interrupted:
                    # What a signal tore down on its way is no news.
                    return
                outcome = self._skipped(due, error) or _refused(due, error)
            except Exception as error:
                # Python's traceback says where; the other scenarios are none the worse for it.
                self._console.print(traceback.format_exc(), markup=False, highlight=False)
                outcome = _refused(due, CannotRun(f"ktstr itself went wrong: {error!r}"))
            else:
                outcome = Outcome.of(record, due.path, watch.held_s, due.profile)
        outcome = replace(outcome, wall_s=time.monotonic() - began)
        self._outcomes[index] = outcome
        self._finished += 1
        progress.print(outcome_line(outcome, self._finished, len(self._outcomes)))

    def _skipped(self, due: Outcome, error: Exception) -> Outcome | None:
        """A skip, when nothing stands in the way but ops on a scheduler that nobody wants."""
        if self._options.scheduler != "none" or not isinstance(error, DefinitionInvalid):
            return None
        ops = {problem.found.strip('"') for problem in error.problems}
        if not ops <= SCHEDULER_OPS:
            return None
        reason = f"{', '.join(sorted(ops))}: there is no scheduler to do that to"
        return replace(due, verdict="skip", exit_code=ExitCode.PASS, reason=reason)

    def _print_document(self, wall_s: float, code: ExitCode) -> ExitCode:
        out = Screen(sys.stdout)
        json.dump(document(self._outcomes, wall_s, code), out.text, indent=2, ensure_ascii=False)
        out.text.write("\n")
        out.text.flush()
        if out.failure is not None and out.failure.errno != errno.EPIPE:
            self._say_error(f"the outcomes cannot be printed: {out.failure.strerror}")
            return ExitCode.CANNOT_RUN
        return code

    def _say_error(self, error: object) -> None:
        self._console.print(f"error: {error}", style="red", markup=False, highlight=False)


def _refused(due: Outcome, error: Exception) -> Outcome:
    """What became of a scenario that could not run, or whose guest was lost without a record."""
    code = getattr(error, "exit_code", ExitCode.CANNOT_RUN)
    # The first line of a list of mistakes only counts them.
    head, *rest = str(error).splitlines() or [""]
    reason = ": ".join([head, *(line.strip() for line in rest[:1])])
    verdict = "guest lost" if code == ExitCode.GUEST_LOST else "cannot run"
    return replace(due, verdict=verdict, exit_code=code, reason=reason)


async def _tick(progress: ManyProgress) -> None:
    while True:
        await anyio.sleep(TICK_S)
        progress.tick()


def run_many(
    paths: Sequence[Path],
    options: RunOptions,
    *,
    jobs: int,
    as_json: bool,
    all_flags: bool = False,
) -> ExitCode:
    """Run ``paths``, ``jobs`` of them at a time, and return how the process is to exit.

    :param all_flags: run each once for every profile of its scheduler's flags.
    """
    open_standard_streams()
    configure_logging(verbose=options.verbose)
    due = turns(paths, options, all_flags=all_flags)
    return ManyRunner(due, options, jobs=jobs, as_json=as_json).main()
