# SPDX-License-Identifier: GPL-2.0-only
"""The host's end of the two ports: frames in, requests out, everything bounded."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from io import RawIOBase
from pathlib import Path

import anyio

from ktstr.wire import Frame, FrameDecoder, FrameWriter, MsgType, WireError, pack_payload

READ_SIZE = 1 << 20
ARCHIVE_CAP = 256 * 1024 * 1024
# A frame whose rest has not come after this long was never one.
RESYNC_S = 3.0
STATS_LINE_CAP = 1024 * 1024
HISTORY_CAP = 8 * 1024 * 1024
"""What a guest may have said before its scenario, bytes, when it is to become a template."""


class Link:
    """Reads the bulk port until it closes and hands each frame to ``on_frame``.

    :param archive: file that takes every byte received, for the evidence bundle.
    :param past: what the guest said before it was cloned: it is served first, as if said now.
    :ivar heard: whether anything has come through the port.
    :ivar archive_error: why the archive stopped early; the conversation goes on without it.
    """

    def __init__(
        self,
        bulk: socket.socket,
        ctl: socket.socket,
        archive: Path,
        on_frame: Callable[[Frame, float], None],
        past: bytes = b"",
    ) -> None:
        self.decoder = FrameDecoder()
        self.closed = False
        self.heard = False
        self.archive_error: str | None = None
        self._bulk = bulk
        self._ctl = ctl
        self._archive = archive
        self._on_frame = on_frame
        self._writer = FrameWriter(self._send)
        self._changed = anyio.Event()
        self._archived = 0
        self._past = past
        self._history: bytearray | None = bytearray()
        self._archive_file: RawIOBase | None = None
        self._released: anyio.Event | None = None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Read nothing while the block lasts: what the guest sends meanwhile waits in the socket.

        So that a thread can work on what came so far.
        """
        self._released = anyio.Event()
        try:
            yield
        finally:
            self._released.set()
            self._released = None

    async def serve(self) -> None:
        """Read until the guest's end is gone; run as a task of the session."""
        with ExitStack() as stack:
            try:
                # Unbuffered: evidence is copied while this task still runs.
                self._archive_file = stack.enter_context(self._archive.open("wb", buffering=0))
            except OSError as error:
                self.archive_error = str(error.strerror)
            past, self._past = self._past, b""
            self._take(past)
            while not self.closed:
                with anyio.move_on_after(RESYNC_S) as patience:
                    await anyio.wait_readable(self._bulk)
                if self._released is not None:
                    await self._released.wait()
                    continue
                if patience.cancelled_caught:
                    if self.decoder.pending:
                        self._dispatch(self.decoder.resync())
                    continue
                self._read()
        self._archive_file = None
        self._wake()

    def _read(self) -> bool:
        """Take what has come; whether there was anything."""
        try:
            data = self._bulk.recv(READ_SIZE)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self.closed = True
            self._dispatch(self.decoder.resync())
            return False
        self.heard = True
        self._take(data)
        return True

    def _take(self, data: bytes) -> None:
        if self._archive_file is not None and self.archive_error is None:
            self._keep(self._archive_file, data)
        if self._history is not None:
            self._history += data
            if len(self._history) > HISTORY_CAP:
                self._history = None
        self._dispatch(self.decoder.feed(data))

    def said_so_far(self) -> bytes | None:
        """Every byte of a guest that stands still now; None when it said too much to keep."""
        while not self.closed and self._read():
            pass
        return None if self._history is None else bytes(self._history)

    def forget(self) -> None:
        """Keep no more of what the guest says: it will not become a template."""
        self._history = None

    def _keep(self, archive: RawIOBase, data: bytes) -> None:
        try:
            archive.write(data)
        except OSError as error:
            self.archive_error = str(error.strerror)
        self._archived += len(data)
        if self._archived >= ARCHIVE_CAP:
            self.archive_error = f"it stops at {ARCHIVE_CAP >> 20} MiB"

    def _dispatch(self, frames: list[Frame]) -> None:
        now = time.monotonic()
        for frame in frames:
            self._on_frame(frame, now)
        if frames:
            self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    def nudge(self) -> None:
        """Let waiters look again: something other than a frame happened."""
        self._wake()

    async def until(self, predicate: Callable[[], bool], deadline: float) -> bool:
        """Wait until ``predicate()`` holds, looked at after each frame.

        :param deadline: host monotonic seconds.
        :return: whether it held in time; False also when the port closed.
        """
        while not predicate():
            if self.closed:
                return False
            changed = self._changed
            with anyio.move_on_after(deadline - time.monotonic()) as scope:
                await changed.wait()
            if scope.cancelled_caught:
                return predicate()
        return True

    def _send(self, data: bytes) -> None:
        # Requests are a few hundred bytes and rare; the socket's buffer always has room
        # unless the guest stopped reading, and then a lost request is a lost sample.
        try:
            sent = self._ctl.send(data)
        except OSError as error:
            raise WireError(f"the control port does not take a request: {error}") from error
        if sent != len(data):
            raise WireError("the control port is full: the guest does not read it")

    def request_stats(self, number: int, line: bytes) -> None:
        """Pass one line to the scheduler's statistics socket; the answer is a StatsReply frame.

        :raise WireError: when the guest does not read its control port.
        """
        self._writer.send(MsgType.STATS_REQUEST, pack_payload({"id": number, "line": line}))

    def reply(self, msg_type: int, fields: dict[str, object]) -> None:
        """Answer a request of the guest, or tell it something else.

        :raise WireError: when the guest does not read its control port.
        """
        self._writer.send(msg_type, pack_payload(fields))

    def request_shutdown(self) -> None:
        """Ask the agent to end; a guest that no longer listens is not an error here."""
        try:
            self._writer.send(MsgType.SHUTDOWN)
        except WireError:
            return
