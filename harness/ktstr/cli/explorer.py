# SPDX-License-Identifier: GPL-2.0-only
"""Explores a scenario for a terminal or a pipe, and answers to signals."""

import json
import sys
import time
from functools import partial
from pathlib import Path

from ktstr.cli.guarded import Guarded
from ktstr.cli.logs import configure_logging
from ktstr.cli.screen import Screen, open_standard_streams
from ktstr.errors import ExitCode
from ktstr.model.catalogue import scenario_path
from ktstr.report.explore import ExploreProgress, document, exit_code, summary
from ktstr.report.many_live import ManyProgress
from ktstr.report.verdict import print_parts
from ktstr.session.explore import Exploration, explore
from ktstr.session.options import RunOptions


class Explorer(Guarded):
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
        super().__init__(Screen(sys.stdout))
        self._scenario = scenario
        self._options = options
        self._exploration = exploration
        self._json_file = json_file
        self._whole = whole

    def main(self, jobs: int) -> ExitCode:
        """Explore ``jobs`` seeds at a time, and tell what was found, whatever ends it."""
        began = time.monotonic()
        code = self.attempt(lambda: self.watched(self._shown(), partial(self._run, jobs)))
        if code is None:
            code = exit_code(self._exploration)
        return self._tell(time.monotonic() - began, code)

    def _shown(self) -> ManyProgress:
        return ManyProgress(self._console, len(self._exploration.seeds))

    async def _run(self, jobs: int, shown: ManyProgress) -> None:
        due = self._exploration
        watcher = ExploreProgress(shown, len(due.seeds))
        await explore(scenario_path(self._scenario), self._options, due, jobs, watcher)

    def _tell(self, wall_s: float, code: ExitCode) -> ExitCode:
        due, words = self._exploration, (self._scenario, self._options)
        if due.tried or self._interrupted:
            print_parts(self._console, summary(due, *words, wall_s, whole=self._whole))
        if self._interrupted:
            self.say_interrupted()
        if self._json_file is not None:
            text = json.dumps(document(due, *words, wall_s, code), indent=1, allow_nan=False)
            try:
                self._json_file.write_text(text + "\n", encoding="utf-8")
            except OSError as error:
                self.say_error(f"{self._json_file} cannot be written: {error.strerror}")
                return ExitCode.CANNOT_RUN
        return code
