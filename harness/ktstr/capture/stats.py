# SPDX-License-Identifier: GPL-2.0-only
"""Asking the running scheduler for its own statistics, just before a freeze.

Protocol: one JSON line each way (scx_stats); the agent passes them on. Every way it can
fail has a :class:`MissingStatsReason`, so that a missing figure is never a zero.
"""

import json
import math
import time
from collections.abc import Callable, Mapping

import anyio

from ktstr.series.stats_reason import MissingStats, MissingStatsReason
from ktstr.wire import WireError, unpack_map
from ktstr.wire.messages import take_int

TIMEOUT_S = 2.0
LINE_CAP = 1024 * 1024
ANSWER_DEPTH = 32
INTEGER_DIGITS = 40
"""Letters of an integer: 128 bits and a sign. What is larger no reader could make a float of."""
REQUEST_CAP = 16 * 1024
"""Bytes of one request, as the agent's relay takes them."""
META_CAP = 256 * 1024
"""Letters of a description of the statistics that is kept."""

_SAID_BY_RELAY = {
    kind.value: kind
    for kind in (
        MissingStats.NO_SCHEDULER,
        MissingStats.CANCELLED,
        MissingStats.REQUEST_TOO_LARGE,
        MissingStats.RESPONSE_TOO_LARGE,
    )
}

Answer = Mapping[str, object] | MissingStatsReason


class StatsClient:
    """One request at a time; replies are matched by number.

    :param send: sends a request, its number and its line, to the guest; raises WireError when it
        cannot.
    """

    def __init__(self, send: Callable[[int, bytes], None]) -> None:
        self._send = send
        self._turn = anyio.Lock()
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
        self._reply = answer_in(fields)
        self._arrived.set()

    async def request(self, args: Mapping[str, str] | None = None) -> tuple[Answer, float]:
        """The statistics, or why there are none, and when that was known (host monotonic s).

        :param args: what a scheduler's own targets may want beside ``target``, by default ``top``.
        """
        answer = await self._ask({"req": "stats", "args": {"target": "top", **(args or {})}})
        return answer, time.monotonic()

    async def describe(self) -> Answer:
        """What the scheduler says about its statistics, or why it does not."""
        return await self._ask({"req": "stats_meta"})

    async def _ask(self, request: Mapping[str, object]) -> Answer:
        line = json.dumps(request, separators=(",", ":")).encode() + b"\n"
        if len(line) > REQUEST_CAP:
            detail = f"{len(line)} bytes, at most {REQUEST_CAP} are taken"
            return MissingStatsReason(MissingStats.REQUEST_TOO_LARGE, detail)
        async with self._turn:
            return await self._exchange(line)

    async def _exchange(self, line: bytes) -> Answer:
        self._number += 1
        self._reply = None
        self._arrived = anyio.Event()
        try:
            self._send(self._number, line)
        except WireError as error:
            return MissingStatsReason(MissingStats.CANCELLED, str(error))
        with anyio.move_on_after(TIMEOUT_S):
            await self._arrived.wait()
        return self._answer()

    def _answer(self) -> Answer:
        reply = self._reply
        if reply is None:
            detail = f"the scheduler did not answer within {TIMEOUT_S:.0f} s"
            return MissingStatsReason(MissingStats.CANCELLED, detail)
        return reply if isinstance(reply, MissingStatsReason) else parse_answer(reply)


def answer_in(fields: Mapping[str, object]) -> bytes | MissingStatsReason:
    """The scheduler's line as the agent passes it on, or why there is none."""
    line, error = fields.get("line"), fields.get("error")
    if type(line) is bytes:
        return line
    kind = _SAID_BY_RELAY.get(str(fields.get("kind")), MissingStats.NO_SCHEDULER)
    return MissingStatsReason(kind, str(error)[:400])


def parse_answer(line: bytes) -> Answer:
    """The ``resp`` of an scx_stats answer line."""
    if len(line) > LINE_CAP:
        detail = f"{len(line)} bytes, at most {LINE_CAP} are taken"
        return MissingStatsReason(MissingStats.RESPONSE_TOO_LARGE, detail)
    try:
        answer = json.loads(
            line, parse_constant=_no_constant, parse_int=_integer, parse_float=_finite
        )
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


def _integer(digits: str) -> int:
    if len(digits) > INTEGER_DIGITS:
        raise ValueError(f"an integer of {len(digits)} digits")
    return int(digits)


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text[:40]} is beyond what a number holds")
    return value


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
