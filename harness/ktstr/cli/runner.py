# SPDX-License-Identifier: GPL-2.0-only
"""Runs one scenario for a terminal, a pipe or a program, and answers to signals."""

import errno
import signal
import sys
import traceback
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import anyio
from rich.console import Console

from ktstr.cli.keep import announce
from ktstr.cli.logs import configure_logging
from ktstr.cli.screen import Screen, open_standard_streams
from ktstr.errors import ExitCode, KtstrError
from ktstr.report.live import LiveProgress
from ktstr.report.plain import PlainProgress
from ktstr.report.verdict import Sections, in_short, print_record
from ktstr.session.live import Live
from ktstr.session.options import RunOptions
from ktstr.session.record import RunRecord
from ktstr.session.run import run_scenario
from ktstr.session.scopes import task_scope
from ktstr.session.sidecar.write import sidecar_text

TICK_S = 0.1
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Runner:
    """One run with its progress display and its answer to signals."""

    def __init__(self, scenario: Path, options: RunOptions, *, as_json: bool) -> None:
        self._scenario = scenario
        self._options = options
        # With --json, stdout belongs to the record; people read stderr.
        self._screen = Screen(sys.stderr if as_json else sys.stdout)
        self._console = Console(file=self._screen.text, soft_wrap=True)
        self._as_json = as_json
        self._kept_enough: anyio.Event | None = None
        self._interrupted = False
        self._shown = False
        self._record: RunRecord | None = None

    def main(self) -> ExitCode:
        """Run to the end, also when that is an error or a signal, and say how it went."""
        try:
            anyio.run(self._run)
        except (KtstrError, OSError) as error:
            # What a signal tore down on its way is no news.
            if not self._interrupted:
                self._say_error(error)
                return getattr(error, "exit_code", ExitCode.CANNOT_RUN)
        except Exception:
            # Python's own exit status would be 1, which is a scheduler that failed.
            self._console.print(traceback.format_exc(), markup=False, highlight=False)
            self._say_error("ktstr itself went wrong; this is no verdict on the scheduler")
            return ExitCode.INTERRUPTED if self._interrupted else ExitCode.CANNOT_RUN
        return self._conclude(self._record)

    async def _run(self) -> None:
        # The receiver outlasts the clean-up, so that a second signal cannot cut it short.
        with (
            anyio.open_signal_receiver(*SIGNALS) as received,
            closing(self._new_progress()) as progress,
        ):
            scope = anyio.CancelScope()
            async with task_scope() as helpers:
                helpers.start_soon(self._answer, received, scope)
                helpers.start_soon(_tick, progress)

                async def keep(live: Live, record: RunRecord) -> None:
                    progress.close()
                    await self._keep(live, record)

                with scope:
                    self._record = await run_scenario(self._scenario, self._options, progress, keep)

    def _new_progress(self) -> LiveProgress | PlainProgress:
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            return LiveProgress(self._console)
        return PlainProgress(self._screen.text)

    async def _answer(
        self, received: AsyncIterator[signal.Signals], scope: anyio.CancelScope
    ) -> None:
        async for _ in received:
            if self._kept_enough is not None:
                self._kept_enough.set()
            else:
                self._interrupted = True
                scope.cancel()

    async def _keep(self, live: Live, record: RunRecord) -> None:
        self._kept_enough = anyio.Event()
        self._show(record)
        if announce(self._console, live):
            await self._kept_enough.wait()

    def _conclude(self, record: RunRecord | None) -> ExitCode:
        if record is None:
            self._console.print("interrupted; everything is cleaned up", style="yellow")
            return ExitCode.INTERRUPTED
        self._show(record)
        if self._as_json:
            out = Screen(sys.stdout)
            out.text.write(sidecar_text(record))
            out.text.flush()
            if out.failure is not None and out.failure.errno != errno.EPIPE:
                self._say_error(f"the record cannot be printed: {out.failure.strerror}")
                return ExitCode.CANNOT_RUN
        return record.exit_code

    def _show(self, record: RunRecord) -> None:
        if self._shown:
            return
        self._shown = True
        if not self._as_json:
            sections = Sections(metrics=self._options.verbose)
            print_record(self._console, record, sections)
            return
        self._console.print(in_short(record), markup=False, highlight=False)
        if record.output_error is not None:
            self._say_error(record.output_error)

    def _say_error(self, error: object) -> None:
        self._console.print(f"error: {error}", style="red", markup=False, highlight=False)


async def _tick(progress: LiveProgress | PlainProgress) -> None:
    while True:
        await anyio.sleep(TICK_S)
        progress.tick()


def run_to_end(scenario: Path, options: RunOptions, *, as_json: bool) -> ExitCode:
    """Run ``scenario`` and return how the process is to exit."""
    open_standard_streams()
    configure_logging(verbose=options.verbose)
    return Runner(scenario, options, as_json=as_json).main()
