# SPDX-License-Identifier: GPL-2.0-only
"""Folding values and samples by the kind of their metric (reference-06 section 1.1)."""

import math
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from ktstr.metrics.kinds import (
    Counter,
    DeltaSum,
    Distribution,
    Gauge,
    GaugeAgg,
    MetricKind,
    Peak,
    PerPhaseDeltaSum,
    Rate,
    SampleReduction,
    Timestamp,
    WakeLatencyTailRatio,
    WorstCrossNodeRatio,
    WorstLowest,
)
from ktstr.metrics.registry import METRICS, MetricDef
from ktstr.telemetry.reductions import mean_of
from ktstr.telemetry.vectors import Samples


def aggregate_samples(samples: Iterable[float], kind: MetricKind) -> float | None:
    """Fold values of one metric over phases or runs.

    Values that are not finite are dropped; nothing left, or a kind that is recomputed instead of
    folded, gives ``None``.
    """
    return aggregate_samples_weighted(((value, 1.0) for value in samples), kind)


def aggregate_samples_weighted(
    samples: Iterable[tuple[float, float]], kind: MetricKind
) -> float | None:
    """As :func:`aggregate_samples` with ``(value, weight)``; weights matter to averages only."""
    pairs = [(value, weight) for value, weight in samples if math.isfinite(value)]
    values = [value for value, _ in pairs]
    if not values:
        return None
    match kind:
        case Counter() | DeltaSum():
            return _finite_sum(values)
        case Peak() | Gauge(GaugeAgg.MAX) | Distribution(reduction=SampleReduction.WORST):
            return max(values)
        case Gauge(GaugeAgg.LAST) | Timestamp():
            return values[-1]
        case Gauge(GaugeAgg.AVG):
            total = _finite_sum([weight for _, weight in pairs])
            weighted = _finite_sum([value * weight for value, weight in pairs])
            if total is None or total <= 0.0 or weighted is None:
                return mean_of(values)
            return weighted / total
        case PerPhaseDeltaSum() | Distribution() | WorstLowest():
            return mean_of(values)
        case WakeLatencyTailRatio() | WorstCrossNodeRatio():
            return mean_of(values)
        case _:
            return None


def aggregate_samples_for_phase(metric: MetricDef, samples: Sequence[float]) -> float | None:
    """Reduce one metric's readings, one per capture, to its value for the phase.

    A counter needs two readings and gives last minus first; one that went backward was reset and
    gives 0.0. A derived metric has no readings.
    """
    finite = [value for value in samples if math.isfinite(value)]
    if metric.kind.is_derived:
        return None
    if isinstance(metric.kind, Counter):
        return max(finite[-1] - finite[0], 0.0) if len(finite) >= 2 else None
    if isinstance(metric.kind, PerPhaseDeltaSum):
        return _finite_sum(finite) if finite else None
    return aggregate_samples(finite, metric.kind)


RATES: tuple[tuple[str, Rate], ...] = tuple(
    (metric.name, metric.kind) for metric in METRICS if isinstance(metric.kind, Rate)
)
"""Every registered rate."""


def derive_rate_metrics(metrics: dict[str, float]) -> None:
    """Write every registered rate whose two components are in ``metrics``.

    No unit is converted here: components carry the unit they are meant to be divided in. A zero
    or missing denominator leaves the rate absent.
    """
    for name, kind in RATES:
        numerator = metrics.get(kind.numerator)
        denominator = metrics.get(kind.denominator)
        if numerator is None or denominator is None or denominator == 0.0:
            continue
        rate = numerator / denominator
        if math.isfinite(numerator) and math.isfinite(denominator) and math.isfinite(rate):
            metrics[name] = rate


def weighted_percentile(ordered: Samples, weights: npt.NDArray[np.float64], p: float) -> int:
    """The first value whose cumulative weight reaches ``max(1, ceil(total * p))``; 0 of nothing.

    :param ordered: values in ascending order, each standing for ``weights`` samples.
    """
    if len(ordered) == 0:
        return 0
    cumulative = np.cumsum(weights)
    target = max(1.0, math.ceil(float(cumulative[-1]) * p))
    return int(ordered[min(int(np.searchsorted(cumulative, target)), len(ordered) - 1)])


def _finite_sum(values: Sequence[float]) -> float | None:
    """The exact sum; ``None`` when it leaves the range of a float."""
    try:
        total = math.fsum(values)
    except (OverflowError, ValueError):
        return None
    return total if math.isfinite(total) else None
