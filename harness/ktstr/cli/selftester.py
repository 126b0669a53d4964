# SPDX-License-Identifier: GPL-2.0-only
"""Runs a kernel's self-tests for a terminal or a pipe, and answers to signals."""

import json
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import ClassVar

from ktstr.cli.guarded import Guarded
from ktstr.cli.logs import configure_logging
from ktstr.cli.reports import Reports, check_reports, unwritable, write_whole
from ktstr.cli.screen import Screen, open_standard_streams
from ktstr.errors import ExitCode
from ktstr.report.printable import one_line
from ktstr.report.selftests import closing as closing_lines
from ktstr.report.selftests import details, document, headline, junit
from ktstr.session.events import Emit, StageProgress, StageStarted
from ktstr.session.selftests import (
    SelftestOptions,
    SelftestRun,
    list_selftests,
    run_selftests,
)
from ktstr.verdict.selftests import MAX_LINE, Began, Selftest

_STAGE = "tests"
_STYLES = {"pass": "green", "fail": "red", "skip": "yellow", "not run": "yellow"}


class Selftester(Guarded):
    """One run, or list, of a kernel's self-tests, and how it is told."""

    about: ClassVar[str] = "the kernel"

    def __init__(
        self,
        options: SelftestOptions,
        reports: Reports,
        *,
        verbose: bool = False,
        only_list: bool = False,
    ) -> None:
        open_standard_streams()
        configure_logging(verbose=False)
        # A list may be for a program; what goes on meanwhile is for people.
        super().__init__(Screen(sys.stderr if only_list else sys.stdout))
        self._options = options
        self._reports = reports
        self._verbose = verbose
        self._lively = self._console.is_terminal and not self._console.is_dumb_terminal
        self._line = b""

    def list(self) -> ExitCode:
        """Print names and descriptions of the tests."""
        found: list[tuple[Selftest, ...]] = []

        async def work(emit: Emit) -> None:
            found.append(await list_selftests(self._options, emit))

        code = self._to_end(work)
        out = Screen(sys.stdout).text
        for test in found[0] if found else ():
            print(f"{one_line(test.name):32}{one_line(test.description)}".rstrip(), file=out)
        return code

    def main(self) -> ExitCode:
        """Run the tests and tell how they ended."""
        runs: list[SelftestRun] = []

        async def work(emit: Emit) -> None:
            check_reports(self._reports)

            def news(event: Began | Selftest) -> None:
                self._tell(event, emit)

            if self._lively:
                emit(StageStarted(_STAGE, "preparing"))
            runs.append(await run_selftests(self._options, emit, news, self._output))

        began = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
        code = self._to_end(work)
        if not runs or self._interrupted:
            return code
        self._conclude(runs[0])
        return self._write(runs[0], began)

    def _to_end(self, work: Callable[[Emit], Awaitable[None]]) -> ExitCode:
        """Do it, whatever ends it."""
        code = self.attempt(lambda: self.watched(self.progress(), work))
        if code is ExitCode.INTERRUPTED:
            self.say_interrupted()
        return ExitCode.PASS if code is None else code

    def _tell(self, event: Began | Selftest, emit: Emit) -> None:
        if isinstance(event, Selftest):
            self._flush()
            self._say(headline(event), _STYLES[event.verdict])
        elif self._lively:
            emit(StageProgress(_STAGE, f"running {event.name}", None))

    def _output(self, data: bytes) -> None:
        """Show whole lines of what the runner prints."""
        if not self._verbose:
            return
        *lines, self._line = (self._line + data).split(b"\n")
        for line in lines:
            self._print_line(line)
        if len(self._line) > MAX_LINE:
            self._flush()

    def _flush(self) -> None:
        line, self._line = self._line, b""
        if line:
            self._print_line(line)

    def _print_line(self, line: bytes) -> None:
        self._say("  " + one_line(line.decode("utf-8", "replace").rstrip("\r")), "dim")

    def _conclude(self, run: SelftestRun) -> None:
        for test in run.report.results:
            if test.verdict == "not run":
                self._say(headline(test), _STYLES[test.verdict])
        for test in run.report.results:
            if test.verdict == "fail":
                for line in details(test):
                    self._say(line)
        for line in closing_lines(run):
            self._say(line)

    def _write(self, run: SelftestRun, began: str) -> ExitCode:
        text = json.dumps(document(run), indent=2, ensure_ascii=False) + "\n"
        files = {self._reports.json_file: text, self._reports.junit_file: junit(run, began)}
        code = run.report.exit_code
        for path, content in files.items():
            if path is not None:
                try:
                    write_whole(path, content)
                except OSError as error:
                    refused = unwritable(path, error)
                    self.say_error(refused)
                    code = refused.exit_code
        return code

    def _say(self, text: str, style: str | None = None) -> None:
        self._console.print(text, style=style, markup=False, highlight=False)
