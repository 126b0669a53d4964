# SPDX-License-Identifier: GPL-2.0-only
"""Compares two commits for a terminal or a pipe, and answers to signals."""

import json
import sys
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.text import Text

from ktstr.cli.guarded import Guarded
from ktstr.cli.logs import configure_logging
from ktstr.cli.screen import Screen, open_standard_streams
from ktstr.errors import CannotRun, ExitCode
from ktstr.history.perf_delta import (
    Delta,
    Execute,
    Ran,
    Request,
    Turn,
    both_sides,
    build,
    plan,
    run_all,
)
from ktstr.history.policy import Policy
from ktstr.history.repeats import Judgement, judge
from ktstr.report.delta_words import exit_code
from ktstr.report.many_live import ManyProgress
from ktstr.report.perf_delta import due_lines, headline, ran_line, summary, turn_name
from ktstr.report.perf_delta_files import document, markdown
from ktstr.report.printable import one_line
from ktstr.report.verdict import print_parts
from ktstr.session.events import Emit
from ktstr.session.run import run_scenario


@dataclass(frozen=True, slots=True)
class Reports:
    """Files that are written beside what people see."""

    json_file: Path | None = None
    markdown_file: Path | None = None

    def check(self) -> None:
        """See before hours of runs whether they can be written.

        :raise CannotRun: when one cannot.
        """
        for path in filter(None, (self.json_file, self.markdown_file)):
            if not path.absolute().parent.is_dir():
                raise CannotRun(f"{path} cannot be written: there is no folder {path.parent}")


class DeltaProgress:
    """Shows the run that goes on, and prints a line for each that ended."""

    def __init__(self, shown: ManyProgress) -> None:
        self._shown = shown

    def say(self, text: str) -> None:
        """Something worth a line."""
        self._shown.print(Text(one_line(text), style="dim"))

    def running(self, turn: Turn) -> AbstractContextManager[Emit]:
        """Around one run; what it gives takes the run's events."""
        return self._shown.running(turn_name(turn))

    def ran(self, ran: Ran, number: int, of: int) -> None:
        """A run has ended."""
        self._shown.finished(ran.verdict)
        self._shown.print(ran_line(ran, number, of))


class DeltaRunner(Guarded):
    """One comparison with its progress, its answer to signals and what it prints at the end.

    :param policy: gates, and the metrics that must not regress.
    :param threshold: as many regressions are a failure.
    :param execute: makes one run; None: as `ktstr-run` does.
    """

    def __init__(
        self,
        request: Request,
        policy: Policy,
        threshold: int,
        reports: Reports,
        *,
        phases: bool,
        dry_run: bool,
        execute: Execute | None = None,
    ) -> None:
        open_standard_streams()
        configure_logging(verbose=False)
        super().__init__(Screen(sys.stdout))
        self._request = request
        self._policy = policy
        self._threshold = threshold
        self._reports = reports
        self._phases = phases
        self._dry_run = dry_run
        self._execute = execute or run_scenario
        self._delta: Delta | None = None

    def main(self) -> ExitCode:
        """Compare, and tell what was found, whatever ends it."""
        code = self.attempt(self._whole)
        delta = self._delta
        if self._interrupted:
            self.say_interrupted()
        if delta is None or self._dry_run:
            return ExitCode.PASS if code is None else code
        if code not in (None, ExitCode.INTERRUPTED) and not delta.ran:
            return code
        return self._conclude(delta, code)

    async def _whole(self) -> None:
        self._reports.check()
        # The display knows how many runs there are only after both sides were looked at.
        await self.watched(ManyProgress(self._console, 0), self._run)

    async def _run(self, shown: ManyProgress) -> None:
        watcher = DeltaProgress(shown)
        async with both_sides(self._request) as delta:
            shown.print(headline(delta))
            if not self._dry_run:
                await build(delta, watcher)
            plan(delta)
            shown.expect(len(delta.turns))
            self._delta = delta
            if self._dry_run:
                for line in due_lines(delta):
                    shown.print(Text(line))
                return
            await run_all(delta, self._execute, watcher)

    def _conclude(self, delta: Delta, ended: ExitCode | None) -> ExitCode:
        judgement = judge(delta.repeats(), policy=self._policy, phases=self._phases)
        code = exit_code(judgement, self._threshold) if ended is None else ended
        if delta.ran:
            print_parts(self._console, summary(delta, judgement))
        for error in self._write(delta, judgement, code):
            self.say_error(error)
            code = ExitCode.CANNOT_RUN
        return code

    def _write(self, delta: Delta, judgement: Judgement, code: ExitCode) -> list[str]:
        wanted = (
            (self._reports.json_file, partial(_json, delta, judgement, code)),
            (self._reports.markdown_file, partial(markdown, delta, judgement, code)),
        )
        errors = []
        for path, text in wanted:
            try:
                if path is not None:
                    path.write_text(text(), encoding="utf-8")
            except OSError as error:
                errors.append(f"{path} cannot be written: {error.strerror}")
        return errors


def _json(delta: Delta, judgement: Judgement, code: ExitCode) -> str:
    return json.dumps(document(delta, judgement, code), indent=1, allow_nan=False) + "\n"
