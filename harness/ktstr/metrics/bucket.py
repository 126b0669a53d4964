# SPDX-License-Identifier: GPL-2.0-only
"""One phase's metrics and carriers, and how buckets of the same step merge (seed 001)."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated

from ktstr.metrics.aggregate import derive_rate_metrics
from ktstr.metrics.ids import MetricId, MetricLike
from ktstr.metrics.kinds import (
    Counter,
    DeltaSum,
    Gauge,
    GaugeAgg,
    MetricKind,
    Peak,
    PerPhaseDeltaSum,
    Timestamp,
)
from ktstr.metrics.phase import Phase, StepIndex
from ktstr.metrics.registry import metric_def
from ktstr.telemetry.carrier import PhaseCgroupStats
from ktstr.telemetry.codec import U64, Coded, Kind, Numbers, text
from ktstr.telemetry.vectors import U64_MAX, saturating_sum

NEUTRAL_START_MS, NEUTRAL_END_MS = U64_MAX, 0
"""The window of a carrier: the identity of (min, max), so merging it moves no boundary."""

MAX_CGROUPS = 1 << 16
"""Most cgroups in one phase of a record."""

_CARRIER_COUNTERS = ("total_migrations", "total_iterations", "total_cpu_time_ns")


Carriers = Annotated[
    Mapping[str, PhaseCgroupStats],
    Kind(
        lambda fields, name: {
            cgroup: PhaseCgroupStats.read(carrier)
            for cgroup, carrier in fields.named_maps(name, MAX_CGROUPS).items()
        },
        record=lambda carriers: {name: found.to_record() for name, found in carriers.items()},
    ),
]
"""Carriers by cgroup name."""


@dataclass(frozen=True, slots=True)
class PhaseBucket(Coded):
    """One phase.

    :param step_index: 0 for BASELINE, 1-based for steps.
    :param start_ms: window since ScenarioStart; a bucket without any time anchor has the neutral
        window, one that only carries guest data has ``(0, 0)``.
    :param sample_count: captures in the window; 0 for a step too short for one.
    :param metrics: an absent key was not measured; 0.0 was.
    :param per_cgroup: raw components by cgroup name.
    """

    step_index: StepIndex
    label: Annotated[str, text(4096)]
    start_ms: U64 = NEUTRAL_START_MS
    end_ms: U64 = NEUTRAL_END_MS
    sample_count: U64 = 0
    metrics: Numbers = field(default_factory=dict)
    per_cgroup: Carriers = field(default_factory=dict)

    @classmethod
    def carrier(cls, step_index: int, per_cgroup: Mapping[str, PhaseCgroupStats]) -> "PhaseBucket":
        """A bucket whose only payload is what the guest's workers reported."""
        return cls(step_index, str(Phase(step_index)), per_cgroup=per_cgroup)

    @property
    def window_measured(self) -> bool:
        """False for a bucket that holds guest data of a step the host saw no start of."""
        unanchored = (self.start_ms, self.end_ms) == (0, 0) and not self.metrics
        return not (unanchored and self.per_cgroup)

    def get(self, metric: MetricLike) -> float | None:
        """The value of ``metric`` in this phase; ``None`` when it was not measured."""
        return self.metrics.get(MetricId.of(metric).as_str())

    def expect_metric(self, metric: MetricLike) -> float:
        """The value of a metric that has to be there.

        :raise LookupError: naming the phase, its captures and the metrics that are there.
        """
        value = self.get(metric)
        if value is None:
            name = MetricId.of(metric)
            why = "no capture fell into the phase" if self.sample_count == 0 else "no finite value"
            raise LookupError(
                f"metric {name.as_str()!r} was not measured in phase {self.step_index} "
                f"({self.label}, {self.sample_count} captures): "
                f"{why if name.definition() else 'the registry has no metric of that name'}; "
                f"present: {', '.join(sorted(self.metrics)) or 'none'}"
            )
        return value

    def cgroup_counter_total(self, metric: MetricLike) -> float | None:
        """A counter that only carriers hold, summed over the cgroups.

        ``None`` without carriers, and for any name but ``total_migrations``,
        ``total_iterations`` and ``total_cpu_time_ns``.
        """
        name = MetricId.of(metric).as_str()
        if name not in _CARRIER_COUNTERS or not self.per_cgroup:
            return None
        return float(saturating_sum(getattr(pc, name) for pc in self.per_cgroup.values()))


def merge_matched_phase_buckets(a: PhaseBucket, b: PhaseBucket) -> PhaseBucket:
    """Merge two buckets of the same step: windows join, captures add, metrics go by their kind.

    What is derived is left out and computed again: rates here, the rest when all merging is done.

    :raise ValueError: when the steps differ.
    """
    if a.step_index != b.step_index:
        raise ValueError(f"buckets of steps {a.step_index} and {b.step_index} cannot be merged")
    metrics: dict[str, float] = {}
    for name in sorted(a.metrics.keys() | b.metrics.keys()):
        definition = metric_def(name)
        kind = definition.kind if definition else None
        if kind is not None and kind.is_derived:
            continue
        if name in a.metrics and name in b.metrics:
            value = _merge_values(kind, name, a, b)
        else:
            value = a.metrics[name] if name in a.metrics else b.metrics[name]
        if math.isfinite(value):
            metrics[name] = value
    derive_rate_metrics(metrics)
    per_cgroup = dict(a.per_cgroup)
    for cgroup, theirs in b.per_cgroup.items():
        mine = per_cgroup.get(cgroup)
        per_cgroup[cgroup] = theirs if mine is None else mine.merge(theirs)
    return PhaseBucket(
        step_index=a.step_index,
        label=a.label,
        start_ms=min(a.start_ms, b.start_ms),
        end_ms=max(a.end_ms, b.end_ms),
        sample_count=a.sample_count + b.sample_count,
        metrics=metrics,
        per_cgroup=dict(sorted(per_cgroup.items())),
    )


def _merge_values(
    kind: MetricKind | None, name: str, bucket_a: PhaseBucket, bucket_b: PhaseBucket
) -> float:
    a, b = bucket_a.metrics[name], bucket_b.metrics[name]
    match kind:
        case Counter() | DeltaSum() | PerPhaseDeltaSum():
            return a + b
        case Peak() | Gauge(GaugeAgg.MAX):
            return max(a, b)
        case Gauge(GaugeAgg.AVG):
            # A bucket without captures still observed its value once.
            weight_a, weight_b = max(bucket_a.sample_count, 1), max(bucket_b.sample_count, 1)
            return (a * weight_a + b * weight_b) / (weight_a + weight_b)
        case Gauge(GaugeAgg.LAST) | Timestamp():
            return b if bucket_b.end_ms > bucket_a.end_ms else a
        case _:
            return (a + b) / 2.0


def fold_guest_per_cgroup_into_host_buckets(
    host_buckets: Iterable[PhaseBucket],
    guest_buckets: Iterable[PhaseBucket],
    notes: list[str] | None = None,
) -> list[PhaseBucket]:
    """Give each host bucket what the guest's workers reported for its step.

    A carrier without a host bucket is kept, with the window ``(0, 0)``. Host buckets that share a
    step are merged, never dropped, and ``notes`` says so.

    :raise ValueError: when a guest bucket has a window of its own.
    """
    by_step: dict[int, PhaseBucket] = {}
    for host in host_buckets:
        known = by_step.get(host.step_index)
        if known is not None and notes is not None:
            notes.append(f"two host buckets for {host.label}: merged")
        by_step[host.step_index] = (
            host if known is None else merge_matched_phase_buckets(known, host)
        )
    for guest in guest_buckets:
        if (guest.start_ms, guest.end_ms) != (NEUTRAL_START_MS, NEUTRAL_END_MS):
            raise ValueError(
                f"guest carrier of {guest.label} has the window "
                f"({guest.start_ms}, {guest.end_ms}); carriers have none"
            )
        known = by_step.get(guest.step_index)
        by_step[guest.step_index] = (
            replace(guest, start_ms=0, end_ms=0)
            if known is None
            else merge_matched_phase_buckets(known, guest)
        )
    return [by_step[step] for step in sorted(by_step)]
