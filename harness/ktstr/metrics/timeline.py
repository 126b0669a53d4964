# SPDX-License-Identifier: GPL-2.0-only
"""How a run went, phase by phase, and where it got better or worse (reference-06 section 8)."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from ktstr.metrics.bucket import PhaseBucket
from ktstr.metrics.stimulus import StimulusEvent, step_throughput
from ktstr.metrics.timeline_phase import (
    Direction,
    PhaseChange,
    PhaseMetrics,
    TimelineContext,
    TimelinePhase,
)
from ktstr.metrics.timeline_text import timeline_text
from ktstr.series.monitor.samples import MonitorSample
from ktstr.series.monitor.window import FALLBACK, KEEP_LAST, MonitorWindow
from ktstr.telemetry.vectors import U64_MAX

__all__ = [
    "Direction",
    "PhaseChange",
    "PhaseMetrics",
    "Timeline",
    "TimelineContext",
    "TimelinePhase",
]

MONITOR_START_DELAY_MS = 500
"""Readings up to here may be older than the guest's first action."""


@dataclass(frozen=True, slots=True)
class _Threshold:
    """When two values of a figure differ: by more than ``limit``, never by just as much.

    :param relative: ``limit`` is a share of the value before.
    :param sampled: comparable only between phases that have samples.
    """

    metric: str
    value: Callable[[PhaseMetrics], float | None]
    limit: float
    higher_is_worse: bool = True
    relative: bool = False
    sampled: bool = True

    def change(self, before: PhaseMetrics, after: PhaseMetrics) -> PhaseChange | None:
        """The change between two phases; ``None`` when there is none or it was not measured."""
        old, new = self.value(before), self.value(after)
        if old is None or new is None:
            return None
        if self.sampled and not (before.sample_count and after.sample_count):
            return None
        if self.relative and old <= 0.0:
            return None
        delta = (new - old) / old if self.relative else new - old
        if abs(delta) <= self.limit:
            return None
        worse = (delta > 0.0) == self.higher_is_worse
        direction = Direction.DEGRADED if worse else Direction.IMPROVED
        return PhaseChange(direction, self.metric, old, new)


_THRESHOLDS = (
    _Threshold("imbalance", lambda m: m.avg_imbalance, 0.5),
    _Threshold("dsq_depth", lambda m: m.avg_dsq_depth, 3.0),
    _Threshold("fallback", lambda m: m.fallback_rate, 10.0),
    _Threshold("keep_last", lambda m: m.keep_last_rate, 10.0),
    _Threshold(
        "throughput",
        lambda m: m.iteration_rate,
        0.30,
        higher_is_worse=False,
        relative=True,
        # The guest counts iterations itself: no capture is needed to compare them.
        sampled=False,
    ),
)


@dataclass(frozen=True, slots=True)
class Timeline:
    """The phases of a run in order."""

    phases: tuple[TimelinePhase, ...] = ()

    @classmethod
    def build(
        cls,
        stimulus: Sequence[StimulusEvent],
        monitor_samples: Sequence[MonitorSample],
        preemption_threshold_ns: int | None = None,
        *,
        clock_offset_ms: int | None = None,
    ) -> "Timeline":
        """The timeline of a run without captures, from its monitor alone.

        The monitor's clock starts before the scenario's. The first reading after the monitor's
        start delay is taken for the moment of the first event. Readings before the first step are
        BASELINE; the last phase lasts to the end of the readings.

        :param monitor_samples: readings on the monitor's own clock, in order.
        :param preemption_threshold_ns: in place of the readings' own.
        :param clock_offset_ms: how far the monitor's clock is ahead, where that is known.
        """
        starts = sorted(
            (event for event in stimulus if event.is_step_start), key=lambda e: e.elapsed_ms
        )
        if not starts or not monitor_samples:
            return cls()
        offset = clock_offset_ms
        if offset is None:
            offset = _clock_offset(stimulus, monitor_samples)
        opened: list[tuple[int, StimulusEvent | None]] = [
            (event.elapsed_ms + offset, event) for event in starts
        ]
        first, last = monitor_samples[0].elapsed_ms, monitor_samples[-1].elapsed_ms
        if first < opened[0][0]:
            opened.insert(0, (first, None))
        ends = [begin for begin, _ in opened[1:]] + [max(last + 1, opened[-1][0])]
        phases = []
        for (start, event), end in zip(opened, ends, strict=True):
            inside = (s for s in monitor_samples if start <= s.elapsed_ms < end)
            phase = None if event is None else event.phase()
            rate = None if phase is None else step_throughput(stimulus, phase)
            phases.append(
                TimelinePhase(
                    index=0 if phase is None else phase.as_u16(),
                    start_ms=start,
                    end_ms=end,
                    stimulus=event,
                    metrics=_from_monitor(inside, preemption_threshold_ns, rate),
                )
            )
        return cls._compared(phases)

    @classmethod
    def from_phase_buckets(
        cls, buckets: Iterable[PhaseBucket], stimulus: Iterable[StimulusEvent] = ()
    ) -> "Timeline":
        """One phase per bucket, in the order of steps.

        :param stimulus: says what opened each step; without it a step has its label only.
        """
        opened: dict[int, StimulusEvent] = {}
        for event in stimulus:
            if event.is_step_start and event.step_index is not None:
                opened.setdefault(event.step_index, event)
        ordered = sorted(buckets, key=lambda bucket: bucket.step_index)
        return cls._compared(_from_bucket(b, opened.get(b.step_index)) for b in ordered)

    @classmethod
    def _compared(cls, phases: Iterable[TimelinePhase]) -> "Timeline":
        """The phases with each one's changes against the one before."""
        compared: list[TimelinePhase] = []
        for phase in phases:
            if compared:
                before, after = compared[-1].metrics, phase.metrics
                found = (threshold.change(before, after) for threshold in _THRESHOLDS)
                phase = replace(phase, changes=tuple(c for c in found if c is not None))
            compared.append(phase)
        return cls(tuple(compared))

    def degradations(self) -> list[tuple[TimelinePhase, PhaseChange]]:
        """Every change for the worse, with the phase in which it came."""
        return [
            (phase, change)
            for phase in self.phases
            for change in phase.changes
            if change.direction is Direction.DEGRADED
        ]

    def format_with_context(self, context: TimelineContext | None = None) -> str:
        """The timeline as text; empty without phases."""
        return timeline_text(self.phases, context or TimelineContext())


def _clock_offset(stimulus: Iterable[StimulusEvent], samples: Sequence[MonitorSample]) -> int:
    settled = (s for s in samples if s.elapsed_ms > MONITOR_START_DELAY_MS and s.cpus)
    first = next(settled, samples[0])
    return first.elapsed_ms - min(event.elapsed_ms for event in stimulus)


def _from_monitor(
    samples: Iterable[MonitorSample],
    preemption_threshold_ns: int | None,
    iteration_rate: float | None,
) -> PhaseMetrics:
    window = MonitorWindow(samples, preemption_threshold_ns)
    return PhaseMetrics(
        sample_count=len(window.samples),
        avg_imbalance=window.avg_imbalance(),
        max_imbalance=window.max_imbalance(),
        avg_dsq_depth=window.avg_dsq_depth(),
        max_dsq_depth=window.max_dsq_depth(),
        stall_count=window.stuck_count(),
        fallback_rate=window.event_rate(FALLBACK),
        keep_last_rate=window.event_rate(KEEP_LAST),
        iteration_rate=iteration_rate,
    )


def _from_bucket(bucket: PhaseBucket, opened: StimulusEvent | None) -> TimelinePhase:
    # A bucket without any time anchor ends before it starts; one without an end never ends.
    measured = bucket.window_measured and bucket.start_ms <= bucket.end_ms < U64_MAX
    seconds = (bucket.end_ms - bucket.start_ms) / 1000.0 if measured else 0.0

    def whole(name: str) -> int | None:
        return None if (value := bucket.get(name)) is None else round(value)

    def per_second(name: str) -> float | None:
        total = bucket.get(name)
        return total / seconds if total is not None and seconds > 0.0 else None

    if opened is None and bucket.step_index > 0:
        opened = StimulusEvent(bucket.start_ms, bucket.label, step_index=bucket.step_index)
    return TimelinePhase(
        index=bucket.step_index,
        start_ms=bucket.start_ms,
        end_ms=bucket.end_ms,
        stimulus=opened,
        metrics=PhaseMetrics(
            sample_count=bucket.sample_count,
            avg_imbalance=bucket.get("avg_imbalance_ratio"),
            max_imbalance=bucket.get("max_imbalance_ratio"),
            avg_dsq_depth=bucket.get("avg_dsq_depth"),
            max_dsq_depth=whole("max_dsq_depth"),
            stall_count=whole("stuck_count"),
            fallback_rate=per_second("total_fallback"),
            keep_last_rate=per_second("total_keep_last"),
            iteration_rate=bucket.get("iteration_rate"),
        ),
        per_cgroup=bucket.per_cgroup,
        not_measured_window=not measured,
    )
