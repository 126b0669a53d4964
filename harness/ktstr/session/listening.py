# SPDX-License-Identifier: GPL-2.0-only
"""Hearing a guest that must not be heard: its frames come out of a file that QEMU writes."""

from collections.abc import Callable
from typing import Final

import anyio
import anyio.lowlevel

from ktstr.session.link import READ_SIZE, Link
from ktstr.vm.machine import Machine
from ktstr.wire import Frame, WireError

POLL_S: Final = 0.02

MOST_BYTES: Final = 1 << 30
"""What a guest may send; the file takes room on the host, and nothing slows the guest down."""


class ListeningLink(Link):
    """Reads the file that takes a guest's frames; nothing can be sent.

    :param machine: its ``bulk_file`` exists from before QEMU writes to it.
    """

    def __init__(self, machine: Machine, on_frame: Callable[[Frame, float], None]) -> None:
        assert machine.bulk_file is not None, "only a guest with a virtual clock writes to a file"
        super().__init__(machine.bulk, machine.ctl, machine.bulk_file, on_frame)
        self._ended = machine.ended.is_set

    async def serve(self) -> None:
        """Read until the guest has ended and the file is read up."""
        with self._archive.open("rb", buffering=0) as stream:
            while not self.closed:
                # Asked before reading: what came before the end is in the file by now.
                over = self._ended()
                data = stream.read(READ_SIZE)
                if data:
                    self._dispatch(self.decoder.feed(data))
                    await anyio.lowlevel.checkpoint()
                if stream.tell() > MOST_BYTES:
                    self.archive_error = f"the guest sent more than {MOST_BYTES >> 20} MiB"
                    over, data = True, b""
                if over and not data:
                    self.closed = True
                    self._dispatch(self.decoder.resync())
                elif not data:
                    await anyio.sleep(POLL_S)
        self._wake()

    def _send(self, data: bytes) -> None:
        raise WireError("a guest with a virtual clock hears nothing from the host")
