# SPDX-License-Identifier: GPL-2.0-only
"""Visits instants of a past run for a terminal or a pipe, and answers to signals."""

import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

import anyio
from rich.console import Console

from ktstr.cli.guarded import SIGNALS, TICK_S
from ktstr.cli.keep import announce
from ktstr.cli.screen import Screen
from ktstr.report.live import LiveProgress
from ktstr.report.plain import PlainProgress
from ktstr.session.evidence import as_json, write_evidence
from ktstr.session.live import Live
from ktstr.session.options import RunOptions
from ktstr.session.past import Instant, Past, where
from ktstr.session.scopes import task_scope
from ktstr.session.sidecar.write import check_writable
from ktstr.session.visit import Stand, Visit, make_visit

FOLDER_SUFFIX: Final = ".at"
"""How the folder with a run's visited instants ends, beside its record."""


class Visitor:
    """One visit with its progress display.

    :param json_file: where the snapshot goes; None: into a folder beside the record.
    :param wait: whether the VM is kept at the last instant, until a signal comes.
    """

    def __init__(
        self, past: Past, instants: Sequence[Instant], json_file: Path | None, *, wait: bool
    ) -> None:
        self._past = past
        self._instants = instants
        self._json_file = json_file
        self._wait = wait
        self._screen = Screen(sys.stdout)
        self._console = Console(file=self._screen.text, soft_wrap=True)
        self._progress = self._new_progress()
        self._waiting: anyio.Event | None = None
        self._done = False

    def main(self, options: RunOptions) -> bool:
        """Make the visit; whether it was made, and not interrupted.

        :raises KtstrError: as :func:`make_visit`.
        """
        check_writable(self._file(self._instants[0]).parent)
        anyio.run(self._run, options)
        if not self._done:
            self._say("interrupted; everything is cleaned up")
        return self._done

    async def _run(self, options: RunOptions) -> None:
        last = self._instants[-1]
        what = f"{last.elapsed_ms:g} ms, {where(self._past, last)}"
        if len(self._instants) > 1:
            what = f"{len(self._instants)} instants of it"
        self._say(f"{self._past.label}, seed {self._past.seed}, once more: {what}")
        keep = None if len(self._instants) > 1 else self._keep
        visit = Visit(self._past, self._instants, self._take, keep)
        with anyio.open_signal_receiver(*SIGNALS) as received, closing(self._progress):
            scope = anyio.CancelScope()
            async with task_scope() as helpers:
                helpers.start_soon(self._answer, received, scope)
                helpers.start_soon(self._tick)
                with scope:
                    await make_visit(visit, options, self._progress)
                    self._done = True
        if self._done and keep is None:
            self._say("every byte that the guest sent to its end is as recorded")

    def _new_progress(self) -> LiveProgress | PlainProgress:
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            return LiveProgress(self._console)
        return PlainProgress(self._screen.text)

    async def _tick(self) -> None:
        while True:
            await anyio.sleep(TICK_S)
            self._progress.tick()

    async def _answer(
        self, received: AsyncIterator[signal.Signals], scope: anyio.CancelScope
    ) -> None:
        async for _ in received:
            if self._waiting is not None:
                self._waiting.set()
            else:
                scope.cancel()

    def _file(self, instant: Instant) -> Path:
        if self._json_file is not None:
            return self._json_file
        folder = self._past.sidecar.with_name(self._past.label + FOLDER_SUFFIX)
        return folder / f"{instant.elapsed_ms:09.3f}ms.json"

    def _take(self, stand: Stand) -> None:
        file = self._file(stand.asked)
        write_evidence(file.parent, {file.name: as_json(stand.dump.to_json())}, {})
        lines = [
            f"stands at {stand.at.elapsed_ms:.3f} ms, {where(self._past, stand.at)}",
            f"  guest's clock   {stand.at.uptime_ns / 1e9:.6f} s",
            f"  sent so far     {stand.proof}",
            f"  memory          sha256 {stand.memory_sha256}",
            f"  snapshot        {file}",
        ]
        for line in lines:
            self._say(line)

    async def _keep(self, live: Live) -> None:
        if not self._wait:
            return
        self._waiting = anyio.Event()
        self._progress.close()
        if announce(self._console, live):
            await self._waiting.wait()

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False)
