# SPDX-License-Identifier: GPL-2.0-only
"""One of several runs, to whatever end it comes."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

import anyio.lowlevel

from ktstr.errors import CannotRun, KtstrError
from ktstr.session.ends import End
from ktstr.session.events import Emit, Note, RunEvent, StepStarted
from ktstr.session.lease import Lease
from ktstr.session.matrix import Turn
from ktstr.session.options import RunOptions
from ktstr.session.record import RunRecord

MAX_WARNINGS: Final = 20
"""Warnings of one run that are kept."""


class Heard:
    """Takes a run's events and keeps what its end is to tell.

    :ivar held_s: what the steps that began ask for, seconds.
    :ivar warnings: what it was warned of, each once.
    """

    def __init__(self) -> None:
        self.held_s = 0.0
        self.warnings: list[str] = []

    def __call__(self, event: RunEvent) -> None:
        """Take one event."""
        match event:
            case StepStarted(hold_s=hold_s):
                self.held_s += hold_s
            case Note(text=warning, warning=True):
                self.warned(warning)

    def warned(self, warning: str) -> bool:
        """Keep a warning; false when it is no news, or there are too many."""
        if warning in self.warnings or len(self.warnings) >= MAX_WARNINGS:
            return False
        self.warnings.append(warning)
        return True


class Run(Protocol):
    """Runs one scenario: :func:`ktstr.session.run.run_scenario`, or what stands in for it."""

    async def __call__(
        self, path: Path, options: RunOptions, emit: Emit, /, *, lease: Lease
    ) -> RunRecord: ...


async def ended_run(
    run: Run, turn: Turn, heard: Heard, lease: Lease, wrong: Callable[[], object]
) -> tuple[End, float]:
    """Run it; what goes wrong with it is its end, and the others are none the worse for it.

    :param heard: takes its events.
    :param wrong: called inside the handler of an exception that nobody foresaw.
    :return: its end, and what it took, seconds, without what it waited for CPUs.
    """
    began = time.monotonic()
    try:
        record = await run(turn.path, turn.options, heard, lease=lease)
    except (KtstrError, OSError) as error:
        # What a cancellation tore down on its way is no news.
        await anyio.lowlevel.checkpoint_if_cancelled()
        end = End.of_error(error, turn.kernel)
    except Exception as error:
        wrong()
        end = End.of_error(CannotRun(f"ktstr itself went wrong: {error!r}"))
    else:
        end = End.of(record, heard.held_s, heard.warnings)
    # While it waits for CPUs it is no run that takes long, but one of many.
    # A daemon tells of the wait by the time of day, which may be set meanwhile.
    return end, max(0.0, time.monotonic() - began - lease.waited_s)
