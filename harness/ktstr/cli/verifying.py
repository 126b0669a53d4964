# SPDX-License-Identifier: GPL-2.0-only
"""Loads a scheduler on kernels for a terminal or a pipe, and answers to signals."""

import json
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from ktstr.cli.guarded import Guarded
from ktstr.cli.logs import configure_logging
from ktstr.cli.reports import Reports, check_reports, unwritable, write_whole
from ktstr.cli.screen import Screen, open_standard_streams
from ktstr.errors import ExitCode, OutputUnwritable
from ktstr.report.junit import junit
from ktstr.report.live import LiveProgress
from ktstr.report.many import Outcome
from ktstr.report.plain import PlainProgress
from ktstr.report.verdict import print_parts
from ktstr.report.verifier import document, report
from ktstr.session.matrix import Turn
from ktstr.session.options import RunOptions
from ktstr.session.verifier import Loading, exit_code, load_on


class Verifying(Guarded):
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
        super().__init__(Screen(sys.stdout))
        self._scheduler = scheduler
        self._kernels = kernels
        self._options = options
        self._limit = limit
        self._raw = raw
        self._loadings: list[Loading] = []

    def main(self, *, json_file: Path | None, junit_file: Path | None) -> ExitCode:
        """Load it everywhere, and tell what was found, whatever ends it."""
        began, began_at = time.monotonic(), datetime.now(UTC)
        reports = Reports(json_file=json_file, junit_file=junit_file)

        async def work() -> None:
            check_reports(reports)
            await self.watched(self.progress(), self._run)

        code = self.attempt(work)
        if code is None:
            code = exit_code(self._loadings)
        print_parts(self._console, report(self._scheduler, self._loadings, raw=self._raw))
        if self._interrupted:
            self.say_interrupted()
        wall_s = time.monotonic() - began
        for unwritten in self._write(json_file, junit_file, wall_s, began_at, code):
            self.say_error(unwritten)
            code = ExitCode.CANNOT_RUN
        return code

    async def _run(self, progress: LiveProgress | PlainProgress) -> None:
        for kernel in self._kernels:
            found = await load_on(
                self._scheduler, kernel, self._options, progress, limit=self._limit
            )
            self._loadings.append(found)

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
