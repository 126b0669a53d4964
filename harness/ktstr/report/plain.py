# SPDX-License-Identifier: GPL-2.0-only
"""Progress as plain lines, for pipes, files and CI logs."""

import re
from typing import TextIO

from ktstr.report.printable import one_line
from ktstr.session.events import (
    Froze,
    Note,
    Reading,
    RunEvent,
    StageDone,
    StageProgress,
    StageStarted,
    StepEnded,
    StepStarted,
)
from ktstr.session.record import phase_title

_COUNT = re.compile(r"\d+ of ")


class PlainProgress:
    """One line per event, written as it happens; no control characters."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._last_progress = ""

    def __call__(self, event: RunEvent) -> None:
        """Take one event."""
        line = self._line(event)
        if line:
            print(line, file=self._out, flush=True)

    def _line(self, event: RunEvent) -> str | None:
        match event:
            case StageProgress(_, text, _):
                # A download reports each block; the words change only now and then.
                words = _COUNT.sub("", text)
                if words == self._last_progress:
                    return None
                self._last_progress = words
                return f"  ... {one_line(text)}"
            case StepEnded() | Reading():
                return None
            case _:
                return describe(event)

    def tick(self) -> None:
        """Nothing moves between the lines."""

    def close(self) -> None:
        """Nothing to restore."""


def describe(event: RunEvent) -> str:
    """One event in one line, safe for a terminal whatever the guest put into it."""
    return one_line(_describe(event))


def _describe(event: RunEvent) -> str:
    match event:
        case StageStarted(_, text) | StageProgress(_, text, _):
            return f"{text} ..."
        case StageDone(_, text, seconds):
            return f"{text} ({seconds:.1f} s)"
        case StepStarted(index, of, name, hold_s):
            return f"{phase_title(index, name)}, {index} of {of} ({hold_s:.1f} s)"
        case StepEnded(index):
            return f"{phase_title(index)} done"
        case Froze(tag, offset_ms, paused_ms, maps, error, trigger):
            why = f", {trigger}" if trigger else ""
            if error is not None:
                return f"  {tag} at {offset_ms / 1000:.1f} s failed: {error}{why}"
            frozen = "" if paused_ms is None else f"{paused_ms:.1f} ms frozen, "
            return f"  {tag} at {offset_ms / 1000:.1f} s: {frozen}{maps} maps{why}"
        case Note(text, warning):
            return f"warning: {text}" if warning else text
        case Reading(elapsed_ms):
            return f"  {elapsed_ms / 1000:.1f} s"
