# SPDX-License-Identifier: GPL-2.0-only
"""Loads a scheduler on kernels for a terminal or a pipe, and answers to signals."""

import json
import signal
import sys
import time
import traceback
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import anyio
from rich.console import Console

from ktstr.cli.logs import configure_logging
from ktstr.cli.reports import Reports, check_reports, unwritable, write_whole
from ktstr.cli.runner import SIGNALS, TICK_S
from ktstr.cli.screen import Screen, open_standard_streams
from ktstr.errors import ExitCode, KtstrError, OutputUnwritable
from ktstr.report.junit import junit
from ktstr.report.live import LiveProgress
from ktstr.report.many import Outcome
from ktstr.report.plain import PlainProgress
from ktstr.report.verdict import print_parts
from ktstr.report.verifier import document, report
from ktstr.session.matrix import Turn
from ktstr.session.options import RunOptions
from ktstr.session.scopes import task_scope
from ktstr.session.verifier import Loading, exit_code, load_on


class Verifying:
    """One scheduler on its kernels, one after the other, and what is said about it."""

    def __init__(
        self,
        scheduler: str,
        kernels: Sequence[str],
        options: RunOptions,
        *,
        limit: int | None,
        raw: bool,
    ) -> None:
        open_standard_streams()
        configure_logging(verbose=options.verbose)
        self._screen = Screen(sys.stdout)
        self._console = Console(file=self._screen.text, soft_wrap=True)
        self._scheduler = scheduler
        self._kernels = kernels
        self._options = options
        self._limit = limit
        self._raw = raw
        self._loadings: list[Loading] = []
        self._interrupted = False

    def main(self, *, json_file: Path | None, junit_file: Path | None) -> ExitCode:
        """Load it everywhere, and tell what was found, whatever ends it."""
        began, began_at = time.monotonic(), datetime.now(UTC)
        code: ExitCode | None = None
        try:
            check_reports(Reports(json_file=json_file, junit_file=junit_file))
            anyio.run(self._run)
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
            code = exit_code(self._loadings)
        print_parts(self._console, report(self._scheduler, self._loadings, raw=self._raw))
        if self._interrupted:
            self._console.print("interrupted; everything is cleaned up", style="yellow")
        wall_s = time.monotonic() - began
        for unwritten in self._write(json_file, junit_file, wall_s, began_at, code):
            self._say_error(unwritten)
            code = ExitCode.CANNOT_RUN
        return code

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
                with scope:
                    for kernel in self._kernels:
                        self._loadings.append(
                            await load_on(
                                self._scheduler,
                                kernel,
                                self._options,
                                progress,
                                limit=self._limit,
                            )
                        )

    def _new_progress(self) -> LiveProgress | PlainProgress:
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            return LiveProgress(self._console)
        return PlainProgress(self._screen.text)

    async def _answer(
        self, received: AsyncIterator[signal.Signals], scope: anyio.CancelScope
    ) -> None:
        async for _ in received:
            self._interrupted = True
            scope.cancel()

    def _write(
        self,
        json_file: Path | None,
        junit_file: Path | None,
        wall_s: float,
        began_at: datetime,
        code: ExitCode,
    ) -> Iterator[OutputUnwritable]:
        values = document(self._scheduler, self._loadings, self._limit, code)
        text = json.dumps(values, indent=1, ensure_ascii=False) + "\n"
        began = began_at.strftime("%Y-%m-%dT%H:%M:%S")
        xml = junit([self._outcome(each) for each in self._loadings], wall_s, began)
        for path, content in ((json_file, text), (junit_file, xml)):
            if path is None:
                continue
            try:
                write_whole(path, content)
            except OSError as error:
                yield unwritable(path, error)

    def _outcome(self, loading: Loading) -> Outcome:
        verified = {
            f"verified.{each.name}": str(each.verified)
            for each in loading.programs
            if each.verified is not None
        }
        return Outcome(
            f"verifier.{Path(self._scheduler).name}",
            Turn(Path(self._scheduler), self._options, kernel=loading.kernel),
            loading.verdict,
            loading.exit_code,
            wall_s=loading.wall_s,
            reason=loading.reason,
            facts={"kernel": loading.release, **verified},
            tails={"scheduler log": tuple(loading.log.split("\n")[-200:])} if loading.log else {},
            record=loading.record,
            evidence=loading.evidence,
        )

    def _say_error(self, error: object) -> None:
        self._console.print(f"error: {error}", style="red", markup=False, highlight=False)


async def _tick(progress: LiveProgress | PlainProgress) -> None:
    while True:
        await anyio.sleep(TICK_S)
        progress.tick()
