# SPDX-License-Identifier: GPL-2.0-only
"""What a metric is: how its samples reduce, how two values merge, which way is worse."""

from dataclasses import dataclass, fields
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

    def __str__(self) -> str:
        return self.name if self.target is None else f"{self.name}({self.target:g})"

    def higher_is_worse(self) -> bool:
        """Direction of a worst-case fold: true folds by maximum."""
        return self.name not in ("HigherBetter", "Informational")

    def classify_direction(self) -> bool | None:
        """Whether an increase is a regression; ``None`` where no change is one."""
        return None if self.name == "Informational" else self.higher_is_worse()


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

    def __str__(self) -> str:
        return type(self).__name__

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

    def parameters(self) -> dict[str, str]:
        """What the kind is parametrised by, as text: a rate's two components, say."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {k: v.value if isinstance(v, Enum) else str(v) for k, v in values.items()}


@dataclass(frozen=True, slots=True)
class Counter(MetricKind):
    """A cumulative counter: last minus first of a phase's readings, at least two; then summed.

    A reading below the first one is a reset and counts as zero.
    """


@dataclass(frozen=True, slots=True)
class DeltaSum(MetricKind):
    """Each sample is a difference already: summed everywhere."""


@dataclass(frozen=True, slots=True)
class PerPhaseDeltaSum(MetricKind):
    """A difference taken once per phase: summed over phases, averaged over runs."""


@dataclass(frozen=True, slots=True)
class Gauge(MetricKind):
    """A reading of the moment: its mean weighted by captures, its last or its largest value."""

    agg: GaugeAgg

    def __str__(self) -> str:
        return f"Gauge({self.agg.value.capitalize()})"


@dataclass(frozen=True, slots=True)
class Peak(MetricKind):
    """The largest reading, at every level."""


@dataclass(frozen=True, slots=True)
class Timestamp(MetricKind):
    """A point in time: the last one holds."""


@dataclass(frozen=True, slots=True)
class _Derived(MetricKind):
    """Never folded as a value: recomputed from what it is made of."""


@dataclass(frozen=True, slots=True)
class Rate(_Derived):
    """The sum of one metric divided by the sum of another, at every level."""

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
    """A figure of the union of all phases' histograms; has no value per phase."""
