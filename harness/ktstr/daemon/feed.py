# SPDX-License-Identifier: GPL-2.0-only
"""The events of one run while it lives: numbered, bounded, and there for any number of readers."""

import json
from bisect import bisect_right
from collections import deque
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import anyio

from ktstr.daemon.submission import EventRow

MAX_EVENTS: Final = 20_000
MAX_BYTES: Final = 4 << 20
TRANSIENT: Final = frozenset({"reading"})
"""Types that are not kept beyond the run: its record has them all."""

TRANSIENT_SHARE: Final = 0.75
"""What of the bounds they may take, so that a long run still has room for its steps. Beyond it
the oldest of them make room for the new: who watches wants to see the present."""


class Feed:
    """What a run has said, in order. Readers keep a place in it and never hold it up.

    :ivar dropped: events beyond the bounds.
    """

    def __init__(self, run_id: str, first: int = 1) -> None:
        self.dropped = 0
        self.first = first
        self._run_id = run_id
        self._events: list[EventRow] = []
        self._passing: deque[tuple[int, int]] = deque()
        self._next = first
        self._bytes = 0
        self._news = anyio.Event()
        self._closed = False

    @property
    def full(self) -> bool:
        """Whether more has been said than is kept."""
        return self.dropped > 0

    @property
    def last(self) -> EventRow | None:
        """The latest event that tells of the run itself, not of its row."""
        return next((event for event in reversed(self._events) if event.type != "state"), None)

    def add(
        self, kind: str, data: Mapping[str, Any], at: float, *, vital: bool = False
    ) -> EventRow | None:
        """Take an event; None when there is no room for it.

        :param vital: it is taken in any case.
        """
        size = len(json.dumps(data))
        share = TRANSIENT_SHARE if kind in TRANSIENT else 1.0
        if kind in TRANSIENT:
            while self._passing and not self._fits(size, share):
                self._forget_oldest()
        if not vital and not self._fits(size, share):
            self.dropped += 1
            return None
        event = EventRow(self._run_id, self._next, at, kind, data)
        self._next += 1
        self._bytes += size
        self._events.append(event)
        if kind in TRANSIENT:
            self._passing.append((event.seq, size))
        self._tell()
        return event

    def close(self) -> None:
        """Nothing more comes."""
        self._closed = True
        self._tell()

    async def after(self, seq: int) -> AsyncIterator[EventRow]:
        """The events after ``seq``, then those to come, until the feed is closed."""
        while True:
            # By number, not by place: what is forgotten meanwhile moves the others.
            while (place := bisect_right(self._events, seq, key=_seq)) < len(self._events):
                event = self._events[place]
                seq = event.seq
                yield event
            if self._closed:
                return
            await self._news.wait()

    def _fits(self, size: int, share: float) -> bool:
        events, size = len(self._events) + 1, self._bytes + size
        return events <= MAX_EVENTS * share and size <= MAX_BYTES * share

    def _forget_oldest(self) -> None:
        seq, size = self._passing.popleft()
        del self._events[bisect_right(self._events, seq, key=_seq) - 1]
        self._bytes -= size
        self.dropped += 1

    def _tell(self) -> None:
        self._news.set()
        self._news = anyio.Event()


def _seq(event: EventRow) -> int:
    return event.seq
