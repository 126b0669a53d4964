# SPDX-License-Identifier: GPL-2.0-only
"""The stages of a run, as they are told while they last."""

import time
from collections.abc import Callable

from ktstr.session.events import Emit, StageDone, StageProgress, StageStarted

REASON_CHARS = 80
"""Longest reason that stands in a line with other words."""


def shortened(reason: str) -> str:
    """A reason that fits a line: QEMU's own words may follow it for a paragraph."""
    head = reason.partition(";")[0]
    return head if len(head) <= REASON_CHARS else head[: REASON_CHARS - 1] + "…"


def relay(emit: Emit, key: str, text: str, fraction: float | None) -> None:
    """Tell how far a stage is; ``fraction`` is of 1, None where that is not known."""
    emit(StageProgress(key, text, fraction))


class stage:
    """Times a stage; the block may replace the closing text by calling what it is given."""

    def __init__(self, emit: Emit, key: str, text: str) -> None:
        self._emit = emit
        self._key = key
        self._text = text
        self._began = 0.0
        self._reported = False

    def __enter__(self) -> Callable[[str], None]:
        self._began = time.monotonic()
        self._emit(StageStarted(self._key, self._text))
        return self._done

    def _done(self, text: str) -> None:
        if not self._reported:
            self._reported = True
            self._emit(StageDone(self._key, text, time.monotonic() - self._began))

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            self._done(self._text)
