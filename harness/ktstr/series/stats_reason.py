# SPDX-License-Identifier: GPL-2.0-only
"""Why a sample has no scheduler statistics (reference-06 section 6.2)."""

from dataclasses import dataclass
from enum import Enum


class MissingStats(Enum):
    """The ways a statistics request ends without statistics.

    - NO_SCHEDULER_BINARY: the scenario has no scheduler that could be asked.
    - NO_SCHEDULER: nobody serves the statistics socket.
    - DURING_FREEZE: the guest stood still, so nobody could be asked.
    - CANCELLED: no answer in time, or the request was overtaken by a newer one.
    - SCHEDULER_ERROR: the scheduler answered with an error, or with what is no answer.
    - MISSING_RESP: the answer has no ``resp`` map.
    - REQUEST_TOO_LARGE, RESPONSE_TOO_LARGE: a line over its limit.

    The reference's MutexPoisoned has no counterpart: nothing here is shared between threads.
    """

    NO_SCHEDULER_BINARY = "no_scheduler_binary"
    NO_SCHEDULER = "no_scheduler"
    DURING_FREEZE = "during_freeze"
    CANCELLED = "cancelled"
    SCHEDULER_ERROR = "scheduler_error"
    MISSING_RESP = "missing_resp"
    REQUEST_TOO_LARGE = "request_too_large"
    RESPONSE_TOO_LARGE = "response_too_large"


@dataclass(frozen=True, slots=True)
class MissingStatsReason:
    """A failed statistics request.

    :param detail: what the relay or the scheduler said, if anything.
    """

    kind: MissingStats
    detail: str = ""

    def __str__(self) -> str:
        words = self.kind.value.replace("_", " ")
        return f"{words}: {self.detail}" if self.detail else words


DURING_FREEZE = MissingStatsReason(
    MissingStats.DURING_FREEZE, "the guest stood still already when the capture was taken"
)
"""Of captures that are taken where a write stopped the guest: nobody there can answer."""
