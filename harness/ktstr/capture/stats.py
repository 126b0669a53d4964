# SPDX-License-Identifier: GPL-2.0-only
"""Asking the running scheduler for its own statistics, just before a freeze.

Protocol: one JSON line each way (scx_stats); the agent passes them on. Every way it can
fail has a :class:`MissingStatsReason`, so that a missing figure is never a zero.
"""

import json
import time
from collections.abc import Callable, Mapping

import anyio

from ktstr.series.sample import MissingStats, MissingStatsReason
from ktstr.wire import WireError, unpack_map
from ktstr.wire.messages import take_int

TIMEOUT_S = 2.0
LINE_CAP = 1024 * 1024
ANSWER_DEPTH = 32

Answer = Mapping[str, object] | MissingStatsReason


class StatsClient:
    """One request at a time; replies are matched by number.

    :param send: sends request ``number`` to the guest; raises WireError when it cannot.
    """

    def __init__(self, send: Callable[[int], None]) -> None:
        self._send = send
        self._number = 0
        self._reply: bytes | MissingStatsReason | None = None
        self._arrived = anyio.Event()

    def on_reply(self, payload: bytes) -> None:
        """Take a StatsReply frame; one that answers no open request is ignored."""
        try:
            fields = unpack_map(payload)
            if take_int(fields, "id") != self._number:
                return
        except WireError:
            return
        line, error = fields.get("line"), fields.get("error")
        if type(line) is bytes:
            self._reply = line
        else:
            self._reply = MissingStatsReason(MissingStats.NO_SCHEDULER, str(error)[:400])
        self._arrived.set()

    async def request(self) -> tuple[Answer, float]:
        """The statistics, or why there are none, and when that was known (host monotonic s)."""
        self._number += 1
        self._reply = None
        self._arrived = anyio.Event()
        try:
            self._send(self._number)
        except WireError as error:
            return MissingStatsReason(MissingStats.CANCELLED, str(error)), time.monotonic()
        with anyio.move_on_after(TIMEOUT_S):
            await self._arrived.wait()
        return self._answer(), time.monotonic()

    def _answer(self) -> Answer:
        reply = self._reply
        if reply is None:
            detail = f"the scheduler did not answer within {TIMEOUT_S:.0f} s"
            return MissingStatsReason(MissingStats.CANCELLED, detail)
        return reply if isinstance(reply, MissingStatsReason) else parse_answer(reply)


def parse_answer(line: bytes) -> Answer:
    """The ``resp`` of an scx_stats answer line."""
    if len(line) > LINE_CAP:
        return MissingStatsReason(MissingStats.RESPONSE_TOO_LARGE, f"{len(line)} bytes")
    try:
        answer = json.loads(line, parse_constant=_no_constant)
        if _deeper(answer, ANSWER_DEPTH):
            raise ValueError(f"nested deeper than {ANSWER_DEPTH}")
    except (ValueError, RecursionError) as error:
        return MissingStatsReason(MissingStats.SCHEDULER_ERROR, f"not JSON: {error}")
    if not isinstance(answer, dict):
        return MissingStatsReason(MissingStats.SCHEDULER_ERROR, "the answer is no JSON object")
    args = answer.get("args")
    response = args.get("resp") if isinstance(args, dict) else None
    if answer.get("errno") != 0:
        detail = f"errno {answer.get('errno')}: {response}"[:400]
        return MissingStatsReason(MissingStats.SCHEDULER_ERROR, detail)
    if not isinstance(response, dict):
        return MissingStatsReason(MissingStats.MISSING_RESP, str(args)[:400])
    return response


def _no_constant(word: str) -> float:
    raise ValueError(f"{word} is no JSON number")


def _deeper(value: object, limit: int) -> bool:
    """Whether containers are nested deeper than ``limit``."""
    level = [value]
    for _ in range(limit + 1):
        inner: list[object] = []
        for item in level:
            if isinstance(item, dict):
                inner += item.values()
            elif isinstance(item, list):
                inner += item
        if not inner:
            return False
        level = inner
    return True
