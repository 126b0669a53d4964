# SPDX-License-Identifier: GPL-2.0-only
"""Where captures wait for the end of the run (reference-06 section 6.3).

Bounded: the oldest capture makes room for the newest, and everything that was lost is told by an
event. A capture under a tag that is taken replaces the older one and comes last: the bridge keeps
the order in which its captures were taken.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from ktstr.series.entry import NOBODY_ASKED, Sample
from ktstr.series.snapshot import Snapshot
from ktstr.series.stats_reason import MissingStatsReason

MAX_STORED_SNAPSHOTS: Final = 64
MAX_STORED_EVENTS: Final = 1024

DrainedSnapshotEntry = Sample
"""What the bridge gives back: a capture with all its stamps."""


@dataclass(frozen=True, slots=True)
class CaptureUnavailable:
    """A capture was asked for and none could be taken."""

    tag: str
    reason: str = ""

    def __str__(self) -> str:
        return f"snapshot {self.tag} could not be taken{f': {self.reason}' if self.reason else ''}"


@dataclass(frozen=True, slots=True)
class Overwrite:
    """A capture replaced an older one of the same tag.

    :param prior_elapsed_ms: when the older one was taken; ``None`` when that was not recorded.
    """

    tag: str
    prior_elapsed_ms: int | None = None

    def __str__(self) -> str:
        at = "" if self.prior_elapsed_ms is None else f" of +{self.prior_elapsed_ms}ms"
        return f"warning: snapshot {self.tag} replaced the one{at} that had the same name"


@dataclass(frozen=True, slots=True)
class Eviction:
    """The oldest capture made room for a new one."""

    evicted_tag: str
    new_tag: str
    cap: int

    def __str__(self) -> str:
        return (
            f"warning: snapshot {self.evicted_tag} was dropped for {self.new_tag}: "
            f"at most {self.cap} are kept"
        )


@dataclass(frozen=True, slots=True)
class EventLogTruncated:
    """More happened than the log keeps."""

    dropped_count: int

    def __str__(self) -> str:
        return f"{self.dropped_count} more events of snapshots were dropped"


BridgeEvent = CaptureUnavailable | Overwrite | Eviction | EventLogTruncated


class SnapshotBridge:
    """Takes captures in, hands all of them out in order.

    :param capture: takes a capture when :meth:`capture` asks for one; ``None`` when it cannot.
    :param on_event: told of each event as it happens, besides the log.
    """

    def __init__(
        self,
        capture: Callable[[str], Snapshot | None] | None = None,
        *,
        capacity: int = MAX_STORED_SNAPSHOTS,
        max_events: int = MAX_STORED_EVENTS,
        on_event: Callable[[BridgeEvent], None] | None = None,
    ) -> None:
        if capacity < 1 or max_events < 1:
            raise ValueError("a bridge keeps at least one capture and one event")
        self.capacity = capacity
        self._capture = capture
        self._max_events = max_events
        self._on_event = on_event
        self._stored: OrderedDict[str, Sample] = OrderedDict()
        self._events: deque[BridgeEvent] = deque()
        self._dropped = 0

    def __len__(self) -> int:
        return len(self._stored)

    # In

    def capture(self, tag: str) -> bool:
        """Take a capture and keep it under ``tag``; whether there was one."""
        return self.capture_with_step(tag, None)

    def capture_with_step(self, tag: str, step_index: int | None) -> bool:
        """As :meth:`capture`, stamped with the step."""
        taken = None if self._capture is None else self._capture(tag)
        if taken is None:
            self.unavailable(tag)
            return False
        self.store_sample(Sample(tag, step_index=step_index, snapshot=taken))
        return True

    def unavailable(self, tag: str, reason: str = "") -> None:
        """Note a capture that was asked for and could not be taken."""
        self._note(CaptureUnavailable(tag, reason))

    def store(self, tag: str, snapshot: Snapshot) -> None:
        """Keep a capture without stamps."""
        self.store_sample(Sample(tag, snapshot=snapshot))

    def store_with_stats(
        self,
        tag: str,
        snapshot: Snapshot | None,
        stats: Mapping[str, object] | MissingStatsReason | None,
        elapsed_ms: int | None = None,
        boundary_offset_ms: int | None = None,
    ) -> None:
        """Keep a capture with the statistics that were read just before it."""
        self.store_with_stats_and_step(tag, snapshot, stats, elapsed_ms, boundary_offset_ms, None)

    def store_with_stats_and_step(
        self,
        tag: str,
        snapshot: Snapshot | None,
        stats: Mapping[str, object] | MissingStatsReason | None,
        elapsed_ms: int | None,
        boundary_offset_ms: int | None,
        step_index: int | None,
    ) -> None:
        """As :meth:`store_with_stats`, stamped with the step."""
        kept = NOBODY_ASKED if stats is None else stats
        self.store_sample(
            Sample(tag, elapsed_ms, boundary_offset_ms, step_index, snapshot, stats=kept)
        )

    def store_sample(self, sample: Sample) -> None:
        """Keep a capture with all its stamps."""
        prior = self._stored.pop(sample.tag, None)
        if prior is not None:
            self._note(Overwrite(sample.tag, prior.elapsed_ms))
        while len(self._stored) >= self.capacity:
            evicted, _ = self._stored.popitem(last=False)
            self._note(Eviction(evicted, sample.tag, self.capacity))
        self._stored[sample.tag] = sample

    def _note(self, event: BridgeEvent) -> None:
        if self._on_event is not None:
            self._on_event(event)
        if len(self._events) >= self._max_events:
            self._dropped += 1
        else:
            self._events.append(event)

    # Out

    def settle(self) -> None:
        """Decode what is still to be decoded; any thread may do it, and takes a while."""
        for tag, sample in list(self._stored.items()):
            settled = sample.settled()
            if self._stored.get(tag) is sample:
                self._stored[tag] = settled

    def stored(self) -> tuple[Sample, ...]:
        """Every capture in order; the bridge keeps them."""
        self.settle()
        return tuple(self._stored.values())

    def drain(self) -> dict[str, object]:
        """Every snapshot by tag; the bridge is empty afterwards."""
        return {sample.tag: sample.snapshot for sample in self.drain_ordered_with_stats()}

    def drain_ordered(self) -> list[tuple[str, object]]:
        """Every tag and snapshot in order; the bridge is empty afterwards."""
        return [(sample.tag, sample.snapshot) for sample in self.drain_ordered_with_stats()]

    def drain_ordered_with_stats(self) -> list[DrainedSnapshotEntry]:
        """Every capture with its stamps, in order; the bridge is empty afterwards."""
        self.settle()
        drained = list(self._stored.values())
        self._stored.clear()
        return drained

    def drain_events(self) -> list[BridgeEvent]:
        """What happened, in order; when some was dropped, how much comes last."""
        events: list[BridgeEvent] = list(self._events)
        if self._dropped:
            events.append(EventLogTruncated(self._dropped))
        self._events.clear()
        self._dropped = 0
        return events
