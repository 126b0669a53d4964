# SPDX-License-Identifier: GPL-2.0-only
"""Runs that are repetitions of each other, and one figure for all of them."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ktstr.history.dimensions import Dimension
from ktstr.history.rows import VERDICTS, Row
from ktstr.metrics.aggregate import aggregate_samples, aggregate_samples_weighted
from ktstr.metrics.kinds import Distribution, Gauge, GaugeAgg, MetricKind, Peak, Rate
from ktstr.metrics.kinds import SampleReduction as Reduction
from ktstr.telemetry.reductions import mean_of

PairKey = tuple[str, ...]
"""The scenario and the values of all dimensions that pair."""

Reading = tuple[Mapping[str, float], int | None]
"""What one run measured at one level, by metric, and the captures behind it."""

_RANK: Final = {verdict: rank for rank, verdict in enumerate(VERDICTS)}


@dataclass(frozen=True, slots=True)
class Group:
    """The runs of one side that share a key, in the order they were started."""

    key: PairKey
    rows: tuple[Row, ...]

    @property
    def scenario(self) -> str:
        """Name of the scenario."""
        return self.key[0]

    @property
    def passing(self) -> tuple[Row, ...]:
        """The runs whose figures count."""
        return tuple(row for row in self.rows if row.passed)

    @property
    def verdict(self) -> str:
        """The worst verdict of its runs."""
        return max((row.verdict for row in self.rows), key=_RANK.__getitem__)

    @property
    def worst_share(self) -> float:
        """The part of its runs that have the worst verdict."""
        worst = self.verdict
        return sum(1 for row in self.rows if row.verdict == worst) / len(self.rows)

    @property
    def verdict_text(self) -> str:
        """The worst verdict and, of several runs, how often it came."""
        worst = self.verdict
        count = sum(1 for row in self.rows if row.verdict == worst)
        return worst if len(self.rows) == 1 else f"{worst} {count}/{len(self.rows)}"

    @property
    def reason(self) -> str | None:
        """Why its first run of the worst verdict did not pass."""
        worst = self.verdict
        return next((row.reason for row in self.rows if row.verdict == worst), None)

    def readings(self, step_index: int | None = None) -> list[Reading]:
        """What each passing run measured: in all, or in one phase."""
        if step_index is None:
            return [(row.metrics, row.run_sample_count) for row in self.passing]
        phases = (row.phase(step_index) for row in self.passing)
        return [({}, None) if each is None else (each.metrics, each.samples) for each in phases]

    def steps(self) -> dict[int, str]:
        """The titles of the phases that any of its passing runs has, by step."""
        return {phase.step_index: phase.title for row in self.passing for phase in row.phases}


def grouped(
    rows: Iterable[Row], slicing: Collection[Dimension], ignored: Collection[Dimension] = ()
) -> dict[PairKey, Group]:
    """Rows by scenario and every dimension that neither slices nor is ignored."""
    pairing = [each for each in Dimension if each not in slicing and each not in ignored]
    found: dict[PairKey, list[Row]] = {}
    for row in rows:
        found.setdefault((row.scenario, *(each.key(row) for each in pairing)), []).append(row)
    return {key: Group(key, tuple(members)) for key, members in found.items()}


def fold(
    name: str, kind: MetricKind | None, readings: Sequence[Reading], *, peaks: bool = True
) -> float | None:
    """One figure for a metric of several runs; ``None`` when no run measured it.

    A rate is the sum of what it is made of over the sum of the other, over the runs that tell both;
    an average is weighted by captures; a peak is the largest. Everything else, counters too, is
    the mean of the runs, so that sides of different sizes can be compared.

    :param peaks: whether a peak is the largest of all: with more runs on one side than on the
        other it is larger there by chance alone, so that the mean of peaks has to serve.
    """
    measured = [(metrics, samples) for metrics, samples in readings if name in metrics]
    values = [metrics[name] for metrics, _ in measured]
    if not values:
        return None
    match kind:
        case Rate(numerator, denominator):
            pooled = _pooled([metrics for metrics, _ in measured], numerator, denominator)
            return mean_of(values) if pooled is None else pooled
        case Gauge(GaugeAgg.AVG):
            weights = [0.0 if samples is None else float(samples) for _, samples in measured]
            return aggregate_samples_weighted(zip(values, weights, strict=True), kind)
        case Peak() | Gauge(GaugeAgg.MAX) | Distribution(reduction=Reduction.WORST) if peaks:
            return aggregate_samples(values, kind)
    return mean_of(values)


def is_pooled(kind: MetricKind | None) -> bool:
    """Whether the figure of several runs is something else than the mean of theirs."""
    return isinstance(kind, Rate) or kind == Gauge(GaugeAgg.AVG)


def _pooled(
    readings: Sequence[Mapping[str, float]], numerator: str, denominator: str
) -> float | None:
    parts = [
        (metrics[numerator], metrics[denominator])
        for metrics in readings
        if numerator in metrics and denominator in metrics
    ]
    below = sum(part[1] for part in parts)
    return sum(part[0] for part in parts) / below if below else None
