# SPDX-License-Identifier: GPL-2.0-only
"""The two virtio-serial ports: frames out on ``ktstr.bulk``, requests in on ``ktstr.ctl``."""

from __future__ import annotations

import os
import time

from agent.loop import Loop, read_available
from agent.system import find_port
from ktstr.wire import FrameDecoder, FrameWriter, MsgType, Stimulus, WireError, pack_payload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Channel:
    """Frames to the host and, through the loop, requests from it."""

    def __init__(self, loop: Loop) -> None:
        self.bulk_fd = os.open(find_port("ktstr.bulk"), os.O_WRONLY)
        self._ctl = os.open(find_port("ktstr.ctl"), os.O_RDONLY | os.O_NONBLOCK)
        self._writer = FrameWriter(self._write_all)
        self._decoder = FrameDecoder()
        self._handlers: dict[int, Callable[[bytes], None]] = {}
        self._loop = loop
        self._started = time.monotonic()
        loop.add(self._ctl, self._receive)

    def _write_all(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self.bulk_fd, view) :]

    def send(self, msg_type: int, fields: dict[str, object] | None = None) -> None:
        """Send one frame with a map as payload."""
        self._writer.send(msg_type, pack_payload(fields or {}))

    def send_raw(self, msg_type: int, payload: bytes) -> None:
        """Send one frame whose payload is packed already."""
        self._writer.send(msg_type, payload)

    def send_stimulus(self, msg_type: int, stimulus: Stimulus) -> None:
        """Send StepStart, StepEnd or ScenarioEnd."""
        self._writer.send(msg_type, stimulus.to_payload())

    def log(self, text: str) -> None:
        """A line of the agent's own log, with milliseconds since the agent started."""
        ms = int((time.monotonic() - self._started) * 1000)
        self.send(MsgType.AGENT_LOG, {"ms": ms, "text": text[:8192]})

    def on(self, msg_type: int, handler: Callable[[bytes], None]) -> None:
        """Call ``handler(payload)`` for each frame of that type from the host."""
        self._handlers[msg_type] = handler

    def _receive(self) -> None:
        data = read_available(self._ctl, 4096)
        if data == b"":
            # The host end is gone; epoll would report this for ever.
            self._loop.remove(self._ctl)
        for frame in self._decoder.feed(data or b""):
            handler = self._handlers.get(frame.msg_type)
            if handler is None:
                continue
            try:
                handler(frame.payload)
            except WireError as error:
                self.log(f"ignored a request from the host: {error}")
