# SPDX-License-Identifier: GPL-2.0-only
"""Where text for people goes: an output that can vanish without ending the run."""

import io
import os
import select
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


def open_standard_streams() -> None:
    """Point closed standard descriptors at /dev/null.

    Otherwise the next file opened, say guest memory, would take the number that output goes to.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for name, number in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w", encoding="utf-8", closefd=False))  # noqa: SIM115


class _Unfailing(io.FileIO):
    """A descriptor whose first refusal is kept and whose later writes are dropped."""

    failure: OSError | None = None

    def write(self, data: "ReadableBuffer", /) -> int:
        if self.failure is None:
            try:
                while (written := super().write(data)) is None:
                    # Another program made the terminal non-blocking; it takes more in a moment.
                    select.select([], [self], [])
                return written
            except OSError as error:
                self.failure = error
        return memoryview(data).nbytes


class Screen:
    """Text for people on ``stream``'s descriptor.

    A verdict must not depend on who watches: a closed pipe, a terminal that hung up and a full
    disk silence the output and nothing else. What the encoding lacks is escaped.

    :ivar text: the stream to write to.
    """

    def __init__(self, stream: TextIO) -> None:
        self._raw: _Unfailing | None = None
        self.text: TextIO = stream
        try:
            descriptor = stream.fileno()
        except (OSError, ValueError):
            # Text in memory: it takes everything.
            return
        stream.flush()
        self._raw = _Unfailing(descriptor, "w", closefd=False)
        self.text = io.TextIOWrapper(
            io.BufferedWriter(self._raw),
            encoding=stream.encoding,
            errors="backslashreplace",
            line_buffering=True,
        )

    @property
    def failure(self) -> OSError | None:
        """What the descriptor refused with, ``None`` while it takes everything."""
        return None if self._raw is None else self._raw.failure
