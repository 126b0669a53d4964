# SPDX-License-Identifier: GPL-2.0-only
"""Host buckets from captures and stimulus (reference-06 section 7)."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from ktstr.metrics.aggregate import aggregate_samples_for_phase, derive_rate_metrics
from ktstr.metrics.bucket import NEUTRAL_END_MS, NEUTRAL_START_MS, PhaseBucket
from ktstr.metrics.inject import injected_metrics
from ktstr.metrics.phase import Phase
from ktstr.metrics.readers import READERS
from ktstr.metrics.registry import METRICS
from ktstr.metrics.stimulus import StimulusEvent, step_starts
from ktstr.series.monitor.samples import MonitorSample
from ktstr.series.sample import Sample, SampleSeries
from ktstr.telemetry.vectors import U64_MAX


def build_phase_buckets(
    samples: SampleSeries, *, monitor: Sequence[MonitorSample] = ()
) -> list[PhaseBucket]:
    """One bucket per step index stamped on the captures.

    :param monitor: host readings on the clock of the captures; a phase takes those in its window.
    """
    return [
        _captured_bucket(step, group, monitor) for step, group in sorted(samples.by_phase().items())
    ]


def build_phase_buckets_with_stimulus(
    samples: SampleSeries,
    stimulus_events: Sequence[StimulusEvent],
    *,
    monitor: Sequence[MonitorSample] = (),
) -> list[PhaseBucket]:
    """One bucket per step, by the guest's own timeline.

    A capture belongs to the step that had started at its scheduled offset. A step without a
    capture gets a bucket too, so that its iteration rate is not lost.

    :param monitor: host readings on the clock of ``stimulus_events``.
    """
    grouped = _group_by_stimulus(samples, stimulus_events)
    buckets = {step: _captured_bucket(step, group, monitor) for step, group in grouped.items()}
    for _, step in step_starts(stimulus_events):
        if step not in buckets:
            start, end = _step_window(step, stimulus_events)
            metrics = injected_metrics((), start, end, monitor, captured=False, step=step)
            derive_rate_metrics(metrics)
            buckets[step] = PhaseBucket(step, str(Phase(step)), start, end, metrics=metrics)
    ordered = [buckets[step] for step in sorted(buckets)]
    return _with_iteration_rates(ordered, stimulus_events)


def _group_by_stimulus(
    samples: SampleSeries, events: Iterable[StimulusEvent]
) -> Mapping[int, Sequence[Sample]]:
    starts = step_starts(events)
    times = [elapsed for elapsed, _ in starts]
    grouped: dict[int, list[Sample]] = {}
    for sample in samples.iter_samples():
        if sample.boundary_offset_ms is None:
            step = sample.step_index or 0
        else:
            begun = bisect_right(times, sample.boundary_offset_ms)
            step = starts[begun - 1][1] if begun else 0
        grouped.setdefault(step, []).append(sample)
    return grouped


def _captured_bucket(
    step: int, group: Sequence[Sample], monitor: Sequence[MonitorSample]
) -> PhaseBucket:
    anchors = [sample.anchor_ms for sample in group if sample.anchor_ms is not None]
    start, end = min(anchors, default=NEUTRAL_START_MS), max(anchors, default=NEUTRAL_END_MS)
    injected = injected_metrics(group, start, end, monitor, captured=True, step=step)
    metrics = injected | reduce_readings(group)
    derive_rate_metrics(metrics)
    captures = sum(sample.error is None for sample in group)
    return PhaseBucket(step, str(Phase(step)), start, end, captures, metrics)


def reduce_readings(samples: Iterable[Sample]) -> dict[str, float]:
    """Every metric that is read from captures, reduced over ``samples`` by its kind."""
    group = list(samples)
    metrics: dict[str, float] = {}
    for metric in METRICS:
        reader = READERS.get(metric.name)
        if reader is None:
            continue
        readings = [value for sample in group if (value := reader(sample)) is not None]
        reduced = aggregate_samples_for_phase(metric, readings)
        if reduced is not None:
            metrics[metric.name] = reduced
    return metrics


def _step_window(step: int, events: Sequence[StimulusEvent]) -> tuple[int, int]:
    """The window of a step that no capture fell into."""
    starts = step_starts(events)
    start = min(elapsed for elapsed, index in starts if index == step)
    own_ends = [e.elapsed_ms for e in events if e.is_step_end and e.step_index == step]
    later = [elapsed for elapsed, index in starts if index != step and elapsed > start]
    rights = own_ends + later or [e.elapsed_ms for e in events if e.is_terminal]
    return start, min(rights, default=U64_MAX)


def _with_iteration_rates(
    buckets: Sequence[PhaseBucket], events: Sequence[StimulusEvent]
) -> list[PhaseBucket]:
    """Add the components of ``iteration_rate``, measured from each step's start to its end."""
    ended = {event.step_index for event in events if event.is_step_end}
    ordered = sorted(events, key=lambda event: (event.elapsed_ms, not event.is_step_end))
    found: dict[int, tuple[float, float]] = {}
    for earlier, later in pairwise(ordered):
        if earlier.is_terminal or earlier.is_step_end:
            continue
        own_end = later.is_step_end and later.step_index == earlier.step_index
        if earlier.step_index in ended and not own_end:
            continue  # the pair would reach into the gap between two steps
        components = earlier.rate_components(later)
        step = _attributed_step(earlier, buckets)
        if components is not None and step is not None:
            found.setdefault(step, components)
    filled = []
    for bucket in buckets:
        metrics = dict(bucket.metrics)
        if bucket.step_index in found:
            iterations, seconds = found[bucket.step_index]
            metrics["total_phase_iterations"] = iterations
            metrics["total_phase_duration_sec"] = seconds
        derive_rate_metrics(metrics)
        filled.append(replace(bucket, metrics=metrics))
    return filled


def _attributed_step(event: StimulusEvent, buckets: Sequence[PhaseBucket]) -> int | None:
    if event.step_index is not None:
        return event.step_index
    for bucket in buckets:
        within = bucket.start_ms <= event.elapsed_ms < bucket.end_ms
        if within or bucket.start_ms == bucket.end_ms == event.elapsed_ms:
            return bucket.step_index
    return None
