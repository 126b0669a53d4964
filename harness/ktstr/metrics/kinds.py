# SPDX-License-Identifier: GPL-2.0-only
"""What a metric is: how its samples reduce, how two values merge, which way is worse."""

from dataclasses import dataclass
from enum import Enum

from ktstr.telemetry.cgroup import SampleSource


class GaugeAgg(Enum):
    """How a gauge reduces over a window."""

    AVG = "avg"
    LAST = "last"
    MAX = "max"


class MergeKind(Enum):
    """Whether two reduced values may be combined, and how."""

    COMMUTATIVE = "commutative"
    NON_COMMUTATIVE = "non_commutative"
    RECOMPUTE = "recompute"


class SampleReduction(Enum):
    """Reductions of a pooled distribution; nanoseconds become microseconds, CV has no unit."""

    P99 = "p99"
    P999 = "p999"
    MEDIAN = "median"
    CV = "cv"
    MEAN = "mean"
    WORST = "worst"


class WorstLowestNumerator(Enum):
    """What a cgroup is judged by."""

    ITERATIONS = "iterations"
    NUMA_LOCAL = "numa_local"


class WorstLowestDenominator(Enum):
    """Per what."""

    NUM_WORKERS = "num_workers"
    CPU_TIME_NS = "cpu_time_ns"
    NUMA_TOTAL = "numa_total"


@dataclass(frozen=True, slots=True)
class Polarity:
    """Which direction is a regression.

    :param target: the value to be near to, for ``TargetValue`` only.
    """

    name: str
    target: float | None = None

    def higher_is_worse(self) -> bool:
        """Direction of a worst-case fold: true folds by maximum."""
        return self.name in ("LowerBetter", "TargetValue", "Unknown")


HIGHER_BETTER = Polarity("HigherBetter")
LOWER_BETTER = Polarity("LowerBetter")
UNKNOWN = Polarity("Unknown")
INFORMATIONAL = Polarity("Informational")


def target_value(target: float) -> Polarity:
    """Best at ``target``, worse on both sides."""
    return Polarity("TargetValue", target)


@dataclass(frozen=True, slots=True)
class MetricKind:
    """How a metric's samples and values fold; see the subclasses."""

    @property
    def is_derived(self) -> bool:
        """Whether it is computed from other metrics or carriers, never from its own samples."""
        return isinstance(self, _Derived)

    @property
    def merge_kind(self) -> MergeKind:
        """How two values of the same step merge."""
        if self.is_derived:
            return MergeKind.RECOMPUTE
        if self in (Gauge(GaugeAgg.LAST), Timestamp()):
            return MergeKind.NON_COMMUTATIVE
        return MergeKind.COMMUTATIVE


@dataclass(frozen=True, slots=True)
class Counter(MetricKind):
    """A cumulative counter: last minus first within a phase, summed above."""


@dataclass(frozen=True, slots=True)
class DeltaSum(MetricKind):
    """Each sample is a difference already: summed everywhere."""


@dataclass(frozen=True, slots=True)
class PerPhaseDeltaSum(MetricKind):
    """A difference injected once per phase: summed over phases, averaged over runs."""


@dataclass(frozen=True, slots=True)
class Gauge(MetricKind):
    """An instantaneous reading."""

    agg: GaugeAgg


@dataclass(frozen=True, slots=True)
class Peak(MetricKind):
    """A maximum."""


@dataclass(frozen=True, slots=True)
class Timestamp(MetricKind):
    """A point in time: the last one holds."""


@dataclass(frozen=True, slots=True)
class _Derived(MetricKind):
    """Never folded as a value: recomputed from what it is made of."""


@dataclass(frozen=True, slots=True)
class Rate(_Derived):
    """Sum of one metric over the sum of another."""

    numerator: str
    denominator: str


@dataclass(frozen=True, slots=True)
class Distribution(_Derived):
    """A reduction of all samples of a source, pooled over phases and cgroups."""

    source: SampleSource
    reduction: SampleReduction


@dataclass(frozen=True, slots=True)
class WorstLowest(_Derived):
    """The lowest cgroup's ratio; a measured zero is the lowest there is."""

    numerator: WorstLowestNumerator
    denominator: WorstLowestDenominator


@dataclass(frozen=True, slots=True)
class WakeLatencyTailRatio(_Derived):
    """The largest p99 over median among the cgroups."""


@dataclass(frozen=True, slots=True)
class WorstCrossNodeRatio(_Derived):
    """The largest share of migrated pages among the cgroups; may exceed 1."""


@dataclass(frozen=True, slots=True)
class PerPhase(_Derived):
    """Derived once per phase; has no run-level value."""


@dataclass(frozen=True, slots=True)
class PerRunDistribution(_Derived):
    """A percentile of the union of all phases' histograms."""
