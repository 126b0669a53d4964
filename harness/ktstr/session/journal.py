# SPDX-License-Identifier: GPL-2.0-only
"""The harness's own log of one run: JSON lines for the evidence, key=value lines with ``-v``."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import structlog

from ktstr.session.events import Emit, Reading, RunEvent, wants_readings
from ktstr.vm.events import MachineEvent
from ktstr.wire import Frame
from ktstr.wire.frame import type_name

MAX_LINES = 20_000


class _Observed:
    """An observer, with what passes to it written down; readings are the monitor's own to keep."""

    def __init__(self, journal: "Journal", emit: Emit) -> None:
        self._journal = journal
        self._emit = emit
        self.wants_readings = wants_readings(emit)

    def __call__(self, event: RunEvent) -> None:
        if not isinstance(event, Reading):
            self._journal.log(type(event).__name__, **asdict(event))
        self._emit(event)


class Journal:
    """Writes what happens, with times; bounded, since guests cause most of it."""

    def __init__(self, file: Any, run_id: str) -> None:
        self._left = MAX_LINES
        self._file = structlog.wrap_logger(
            structlog.WriteLogger(file),
            processors=[
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.JSONRenderer(),
            ],
            # The command line's own filter is for the console.
            wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
            run=run_id,
        )
        self._console = structlog.get_logger().bind(run=run_id)

    def log(self, event: str, **fields: object) -> None:
        """One line."""
        if self._left > 0:
            self._left -= 1
            self._file.info(event, **fields)
            self._console.debug(event, **fields)

    def machine(self, event: MachineEvent) -> None:
        """An event of QEMU."""
        self.log("qmp", name=event.name, at_us=event.at_us)

    def frame(self, frame: Frame) -> None:
        """A frame from the guest."""
        kind = type_name(frame.msg_type)
        self.log("frame", type=kind, sequence=frame.sequence, size=len(frame.payload))

    def observing(self, emit: Emit) -> Emit:
        """``emit``, with everything that passes through it written down as well."""

        return _Observed(self, emit)


@contextmanager
def open_journal(path: Path, run_id: str) -> Iterator[Journal]:
    """A journal in a file that is flushed line by line."""
    with path.open("a", buffering=1, encoding="utf-8", errors="replace") as file:
        yield Journal(file, run_id)
