# SPDX-License-Identifier: GPL-2.0-only
"""Runs one scenario for a terminal, a pipe or a program, and answers to signals."""

import errno
import sys
from pathlib import Path

import anyio

from ktstr.cli.guarded import Guarded
from ktstr.cli.keep import announce, announce_kept
from ktstr.cli.logs import configure_logging
from ktstr.cli.screen import Screen, open_standard_streams
from ktstr.daemon.choose import ALONE, Choice, chosen
from ktstr.daemon.remote import Kept, run_remotely
from ktstr.errors import ExitCode, OutputUnwritable
from ktstr.report.live import LiveProgress
from ktstr.report.plain import PlainProgress
from ktstr.report.verdict import Sections, in_short, print_record
from ktstr.session.events import Note
from ktstr.session.live import Live
from ktstr.session.options import RunOptions
from ktstr.session.record import RunRecord
from ktstr.session.run import run_scenario
from ktstr.session.sidecar.write import sidecar_text


class Runner(Guarded):
    """One run with its progress display and its answer to signals."""

    def __init__(
        self,
        scenario: Path,
        options: RunOptions,
        *,
        as_json: bool,
        html_file: Path | None = None,
        perfetto_file: Path | None = None,
        choice: Choice = ALONE,
    ) -> None:
        # With --json, stdout belongs to the record; people read stderr.
        super().__init__(Screen(sys.stderr if as_json else sys.stdout))
        self._scenario = scenario
        self._options = options
        self._as_json = as_json
        self._html_file = html_file
        self._perfetto_file = perfetto_file
        self._choice = choice
        self._kept_enough: anyio.Event | None = None
        self._shown = False
        self._record: RunRecord | None = None

    def main(self) -> ExitCode:
        """Run to the end, also when that is an error or a signal, and say how it went."""
        code = self.attempt(lambda: self.watched(self.progress(), self._run))
        if code not in (None, ExitCode.INTERRUPTED):
            return code
        return self._conclude(self._record)

    async def _run(self, progress: LiveProgress | PlainProgress) -> None:
        async def keep(live: Live | Kept, record: RunRecord) -> None:
            progress.close()
            await self._keep(live, record)

        if self._choice.why_not:
            progress(Note(self._choice.why_not, warning=True))
        run = run_remotely if self._choice.daemon else run_scenario
        self._record = await run(self._scenario, self._options, progress, keep)

    def _signalled(self) -> bool:
        if self._kept_enough is None:
            return True
        self._kept_enough.set()
        return False

    async def _keep(self, live: Live | Kept, record: RunRecord) -> None:
        self._kept_enough = anyio.Event()
        self._show(record)
        console = self._console
        if announce_kept(console, live) if isinstance(live, Kept) else announce(console, live):
            await self._kept_enough.wait()

    def _conclude(self, record: RunRecord | None) -> ExitCode:
        if record is None:
            self.say_interrupted()
            return ExitCode.INTERRUPTED
        self._show(record)
        try:
            self._write(record)
        except OutputUnwritable as error:
            self.say_error(error)
            return ExitCode.CANNOT_RUN
        if self._as_json:
            out = Screen(sys.stdout)
            out.text.write(sidecar_text(record))
            out.text.flush()
            if out.failure is not None and out.failure.errno != errno.EPIPE:
                self.say_error(f"the record cannot be printed: {out.failure.strerror}")
                return ExitCode.CANNOT_RUN
        return record.exit_code

    def _write(self, record: RunRecord) -> None:
        # What draws takes a while to import.
        if self._html_file is not None:
            from ktstr.cli.pages import write_page

            write_page(self._html_file, record)
        if self._perfetto_file is not None:
            from ktstr.cli.traces import write_trace

            write_trace(self._perfetto_file, record)

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
            self.say_error(record.output_error)


def run_to_end(
    scenario: Path,
    options: RunOptions,
    *,
    as_json: bool,
    html_file: Path | None = None,
    perfetto_file: Path | None = None,
    daemon: bool = False,
) -> ExitCode:
    """Run ``scenario`` and return how the process is to exit.

    :param html_file: file for the run's page.
    :param perfetto_file: file for its trace.
    :param daemon: whether a daemon may run it, when there is one.
    """
    open_standard_streams()
    configure_logging(verbose=options.verbose)
    choice = chosen(daemon)
    runner = Runner(
        scenario,
        options,
        as_json=as_json,
        html_file=html_file,
        perfetto_file=perfetto_file,
        choice=choice,
    )
    if html_file is not None or perfetto_file is not None:
        from ktstr.cli.reports import Reports, check_reports

        try:
            reports = Reports(html_file=html_file, perfetto_file=perfetto_file)
            check_reports(reports, single=True)
        except OutputUnwritable as error:
            runner.say_error(error)
            return error.exit_code
    return runner.main()
