# SPDX-License-Identifier: GPL-2.0-only
"""The bridge against a plain list that forgets its oldest entries."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ktstr.series.bridge import (
    BridgeEvent,
    CaptureUnavailable,
    EventLogTruncated,
    Eviction,
    Overwrite,
    SnapshotBridge,
)
from ktstr.series.sample import Sample
from ktstr.series.snapshot import SchedExtState, Snapshot

TAGS = st.sampled_from([f"t{n}" for n in range(7)])
SNAPSHOT = Snapshot("6.99", (), (), SchedExtState())


class BridgeMachine(RuleBasedStateMachine):
    """Every operation done twice: by the bridge, and by a list of samples and one of events."""

    @initialize(capacity=st.integers(1, 5), max_events=st.integers(1, 6), works=st.booleans())
    def start(self, capacity: int, max_events: int, works: bool) -> None:
        self.heard: list[BridgeEvent] = []
        self.works = works
        self.bridge = SnapshotBridge(
            lambda tag: SNAPSHOT if works else None,
            capacity=capacity,
            max_events=max_events,
            on_event=self.heard.append,
        )
        self.capacity, self.max_events = capacity, max_events
        self.samples: list[Sample] = []
        self.events: list[BridgeEvent] = []
        self.all_events: list[BridgeEvent] = []
        self.clock = 0

    def happened(self, event: BridgeEvent) -> None:
        self.events.append(event)
        self.all_events.append(event)

    def keep(self, sample: Sample) -> None:
        for old in [s for s in self.samples if s.tag == sample.tag]:
            self.samples.remove(old)
            self.happened(Overwrite(sample.tag, old.elapsed_ms))
        self.samples.append(sample)
        if len(self.samples) > self.capacity:
            self.happened(Eviction(self.samples.pop(0).tag, sample.tag, self.capacity))

    @rule(tag=TAGS, step=st.none() | st.integers(0, 9), good=st.booleans())
    def store(self, tag: str, step: int | None, good: bool) -> None:
        self.clock += 1
        stats = {"n": self.clock}
        taken = SNAPSHOT if good else None
        self.bridge.store_with_stats_and_step(tag, taken, stats, self.clock, None, step)
        self.keep(Sample(tag, self.clock, None, step, taken, stats))

    @rule(tag=TAGS)
    def store_without_stamps(self, tag: str) -> None:
        self.bridge.store(tag, SNAPSHOT)
        self.keep(Sample(tag, snapshot=SNAPSHOT))

    @rule(tag=TAGS, step=st.integers(0, 9))
    def capture(self, tag: str, step: int) -> None:
        assert self.bridge.capture_with_step(tag, step) is self.works
        if self.works:
            self.keep(Sample(tag, step_index=step, snapshot=SNAPSHOT))
        else:
            self.happened(CaptureUnavailable(tag))

    @rule()
    def drain(self) -> None:
        assert self.bridge.drain_ordered_with_stats() == self.samples
        self.samples = []

    @rule()
    def drain_by_tag(self) -> None:
        ordered = [(s.tag, s.snapshot) for s in self.samples]
        if len(ordered) % 2:
            assert self.bridge.drain_ordered() == ordered
        else:
            assert self.bridge.drain() == dict(ordered)
        self.samples = []

    @rule()
    def drain_events(self) -> None:
        kept, lost = self.events[: self.max_events], self.events[self.max_events :]
        wanted: list[BridgeEvent] = [*kept, *([EventLogTruncated(len(lost))] if lost else [])]
        assert self.bridge.drain_events() == wanted
        self.events = []

    @invariant()
    def they_agree(self) -> None:
        if hasattr(self, "bridge"):
            assert list(self.bridge.stored()) == self.samples
            assert len(self.bridge) == len(self.samples) <= self.capacity
            assert self.heard == self.all_events


BridgeMachine.TestCase.settings = settings(deadline=None, max_examples=60, stateful_step_count=40)
TestBridge = BridgeMachine.TestCase


def test_the_limits_are_those_of_the_contract() -> None:
    bridge = SnapshotBridge()
    for number in range(66):
        bridge.store(f"t{number}", SNAPSHOT)
    assert [s.tag for s in bridge.stored()] == [f"t{n}" for n in range(2, 66)]
    assert [str(event) for event in bridge.drain_events()] == [
        "warning: snapshot t0 was dropped for t64: at most 64 are kept",
        "warning: snapshot t1 was dropped for t65: at most 64 are kept",
    ]
    for _ in range(1030):
        bridge.unavailable("x", "why")
    events = bridge.drain_events()
    assert len(events) == 1025 and str(events[0]) == "snapshot x could not be taken: why"
    assert events[-1] == EventLogTruncated(6)
    assert bridge.drain_events() == []
