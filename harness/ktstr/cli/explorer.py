# SPDX-License-Identifier: GPL-2.0-only
"""Explores a scenario for a terminal or a pipe, and answers to signals."""

import json
import signal
import sys
import time
import traceback
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import anyio
from rich.console import Console

from ktstr.cli.logs import configure_logging
from ktstr.cli.runner import SIGNALS, TICK_S
from ktstr.cli.screen import Screen, open_standard_streams
from ktstr.errors import ExitCode, KtstrError
from ktstr.model.catalogue import scenario_path
from ktstr.report.explore import ExploreProgress, document, exit_code, summary
from ktstr.report.many_live import ManyProgress
from ktstr.report.verdict import print_parts
from ktstr.session.explore import Exploration, explore
from ktstr.session.options import RunOptions
from ktstr.session.scopes import task_scope


class Explorer:
    """One exploration with its progress, its answer to signals and what it prints at the end."""

    def __init__(
        self,
        scenario: str,
        options: RunOptions,
        exploration: Exploration,
        json_file: Path | None,
        *,
        whole: bool,
    ) -> None:
        open_standard_streams()
        configure_logging(verbose=False)
        self._console = Console(file=Screen(sys.stdout).text, soft_wrap=True)
        self._scenario = scenario
        self._options = options
        self._exploration = exploration
        self._json_file = json_file
        self._whole = whole
        self._interrupted = False

    def main(self, jobs: int) -> ExitCode:
        """Explore ``jobs`` seeds at a time, and tell what was found, whatever ends it."""
        began = time.monotonic()
        code: ExitCode | None = None
        try:
            anyio.run(self._run, jobs)
        except (KtstrError, OSError) as error:
            # What a signal tore down on its way is no news.
            if not self._interrupted:
                self._say_error(error)
                code = getattr(error, "exit_code", ExitCode.CANNOT_RUN)
        except Exception:
            if not self._interrupted:
                self._console.print(traceback.format_exc(), markup=False, highlight=False)
                self._say_error("ktstr itself went wrong; this is no verdict on the scheduler")
                code = ExitCode.CANNOT_RUN
        if self._interrupted:
            code = ExitCode.INTERRUPTED
        elif code is None:
            code = exit_code(self._exploration)
        return self._tell(time.monotonic() - began, code)

    async def _run(self, jobs: int) -> None:
        due = self._exploration
        # The receiver outlasts the clean-up, so that a second signal cannot cut it short.
        with (
            anyio.open_signal_receiver(*SIGNALS) as received,
            closing(ManyProgress(self._console, len(due.seeds))) as shown,
        ):
            async with task_scope() as helpers:
                scope = anyio.CancelScope()
                helpers.start_soon(self._answer, received, scope)
                helpers.start_soon(_tick, shown)
                with scope:
                    watcher = ExploreProgress(shown, len(due.seeds))
                    path = scenario_path(self._scenario)
                    await explore(path, self._options, due, jobs, watcher)

    async def _answer(
        self, received: AsyncIterator[signal.Signals], scope: anyio.CancelScope
    ) -> None:
        async for _ in received:
            self._interrupted = True
            scope.cancel()

    def _tell(self, wall_s: float, code: ExitCode) -> ExitCode:
        due, words = self._exploration, (self._scenario, self._options)
        if due.tried or self._interrupted:
            print_parts(self._console, summary(due, *words, wall_s, whole=self._whole))
        if self._interrupted:
            self._console.print("interrupted; everything is cleaned up", style="yellow")
        if self._json_file is not None:
            text = json.dumps(document(due, *words, wall_s, code), indent=1, allow_nan=False)
            try:
                self._json_file.write_text(text + "\n", encoding="utf-8")
            except OSError as error:
                self._say_error(f"{self._json_file} cannot be written: {error.strerror}")
                return ExitCode.CANNOT_RUN
        return code

    def _say_error(self, error: object) -> None:
        self._console.print(f"error: {error}", style="red", markup=False, highlight=False)


async def _tick(shown: ManyProgress) -> None:
    while True:
        await anyio.sleep(TICK_S)
        shown.tick()
