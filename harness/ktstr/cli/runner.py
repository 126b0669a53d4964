# SPDX-License-Identifier: GPL-2.0-only
"""Runs one scenario for a terminal, a pipe or a program, and answers to signals."""

import json
import signal
import sys
from pathlib import Path

import anyio
from anyio.abc import TaskStatus
from rich.console import Console

from ktstr.cli.keep import announce
from ktstr.cli.logs import configure_logging
from ktstr.errors import ExitCode, KtstrError
from ktstr.report.live import LiveProgress
from ktstr.report.plain import PlainProgress
from ktstr.report.verdict import print_record
from ktstr.session.live import Live
from ktstr.session.options import RunOptions
from ktstr.session.record import RunRecord, as_plain
from ktstr.session.run import run_scenario
from ktstr.session.scopes import task_scope

TICK_S = 0.1
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Runner:
    """One run with its progress display and its answer to signals."""

    def __init__(self, scenario: Path, options: RunOptions, *, as_json: bool) -> None:
        self._scenario = scenario
        self._options = options
        # With --json, stdout belongs to the record; people read stderr.
        stream = sys.stderr if as_json else sys.stdout
        self._console = Console(file=stream, soft_wrap=True)
        self._progress: LiveProgress | PlainProgress
        if self._console.is_terminal:
            self._progress = LiveProgress(self._console)
        else:
            self._progress = PlainProgress(stream)
        self._as_json = as_json
        self._kept_enough: anyio.Event | None = None
        self._record: RunRecord | None = None

    async def run(self) -> ExitCode:
        """Run to the end, also when that is an error or a signal."""
        try:
            async with task_scope() as group:
                await group.start(self._watch_signals, group.cancel_scope)
                group.start_soon(self._tick)
                self._record = await run_scenario(
                    self._scenario, self._options, self._progress, self._keep
                )
        except KtstrError as error:
            self._progress.close()
            self._console.print(f"error: {error}", style="red", markup=False, highlight=False)
            return error.exit_code
        finally:
            self._progress.close()
        return self._conclude(self._record)

    def _conclude(self, record: RunRecord | None) -> ExitCode:
        if record is None:
            self._console.print("interrupted; everything is cleaned up", style="yellow")
            return ExitCode.INTERRUPTED
        if self._as_json:
            sys.stdout.write(json.dumps(record.to_plain(), indent=1, default=as_plain) + "\n")
        else:
            print_record(self._console, record)
        return record.exit_code

    async def _watch_signals(
        self, scope: anyio.CancelScope, *, task_status: TaskStatus[None]
    ) -> None:
        with anyio.open_signal_receiver(*SIGNALS) as received:
            task_status.started()
            async for _ in received:
                if self._kept_enough is not None:
                    self._kept_enough.set()
                else:
                    scope.cancel()

    async def _tick(self) -> None:
        while True:
            await anyio.sleep(TICK_S)
            self._progress.tick()

    async def _keep(self, live: Live) -> None:
        self._kept_enough = anyio.Event()
        self._progress.close()
        announce(self._console, live)
        await self._kept_enough.wait()


def run_to_end(scenario: Path, options: RunOptions, *, as_json: bool) -> ExitCode:
    """Run ``scenario`` and return how the process is to exit."""
    configure_logging(verbose=options.verbose)
    runner = Runner(scenario, options, as_json=as_json)
    return anyio.run(runner.run)
