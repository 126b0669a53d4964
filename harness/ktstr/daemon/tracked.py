# SPDX-License-Identifier: GPL-2.0-only
"""A run that is not over, as the supervisor holds it in memory."""

from dataclasses import dataclass, field
from typing import Any

import anyio

from ktstr.daemon.feed import Feed
from ktstr.daemon.nursery import Runner
from ktstr.daemon.submission import RunRow


@dataclass(slots=True)
class Tracked:
    """One run.

    :ivar number: its place among those that came to this daemon.
    :ivar runner: its process, while it has one.
    :ivar cancelled: why it is to end, once it is.
    :ivar end: its runner's last word.
    :ivar leased_at: since when its guest has CPUs, seconds of the monotonic clock.
    :ivar cpu_s: CPU time its guest could have used in earlier leases, seconds.
    :ivar over: set when nothing more comes.
    """

    row: RunRow
    number: int
    feed: Feed
    runner: Runner | None = None
    cancelled: str | None = None
    end: dict[str, Any] | None = None
    leased_at: float | None = None
    cpu_s: float = 0.0
    over: anyio.Event = field(default_factory=anyio.Event)
