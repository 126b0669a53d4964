# SPDX-License-Identifier: GPL-2.0-only
"""Requests to the host, which freezes this guest and reads or writes its memory."""

from __future__ import annotations

from agent.channel import Channel
from ktstr.wire import MsgType, unpack_map
from ktstr.wire.messages import take_int, take_str

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Longer than the host takes for anything it does; then it is gone.
ANSWER_S = 60.0


class Requests:
    """One request at a time, each with its number."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._number = 0
        self._answered = 0
        self._error: str | None = None
        channel.on(MsgType.SNAPSHOT_REPLY, self._reply)
        channel.on(MsgType.KERNEL_OP_REPLY, self._reply)

    def send(self, msg_type: int, fields: dict[str, Any]) -> None:
        """Ask; the loop has to run until :meth:`answered`."""
        self._number += 1
        self._channel.send(msg_type, {"id": self._number, **fields})

    def _reply(self, payload: bytes) -> None:
        fields = unpack_map(payload)
        if take_int(fields, "id") == self._number:
            self._answered = self._number
            self._error = take_str(fields, "error") or None

    def answered(self) -> bool:
        """Whether the answer to the last request is there."""
        return self._answered == self._number

    def check(self) -> None:
        """See what the answer was.

        :raise ValueError: when there is none, or the host could not do it.
        """
        if not self.answered():
            raise ValueError(f"the host did not answer within {ANSWER_S:.0f} s")
        if self._error is not None:
            raise ValueError(f"the host could not do it: {self._error}")
