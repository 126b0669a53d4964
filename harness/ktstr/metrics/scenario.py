# SPDX-License-Identifier: GPL-2.0-only
"""Statistics of a whole scenario (reference-06 section 2.4)."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

from ktstr.metrics.bucket import PhaseBucket, merge_matched_phase_buckets
from ktstr.metrics.direction import infer_higher_is_worse
from ktstr.metrics.ids import MetricId, MetricLike
from ktstr.metrics.phase import MAX_STEP_INDEX, Phase
from ktstr.metrics.registry import metric_def
from ktstr.telemetry.carrier import PhaseCgroupStats
from ktstr.telemetry.cgroup import CgroupStats
from ktstr.telemetry.codec import MAX_WORKERS, U64, Coded, Number, Numbers, many
from ktstr.telemetry.vectors import saturating_sum


@dataclass(frozen=True, slots=True)
class ScenarioStats(Coded):
    """The run's cgroups, phases and run-level metrics.

    :param cgroups: one entry per cgroup and step, in step order.
    :param total_cpus: sum over the entries, not deduplicated.
    :param worst_spread: 0.0 when no cgroup measured it; :meth:`run_metric` tells the difference.
    :param ext_metrics: run-level metrics by name; an absent key was not measured.
    """

    cgroups: Annotated[tuple[CgroupStats, ...], many(CgroupStats, MAX_WORKERS)] = ()
    total_workers: U64 = 0
    total_cpus: U64 = 0
    total_migrations: U64 = 0
    worst_spread: Number = 0.0
    worst_gap_ms: U64 = 0
    worst_gap_cpu: U64 = 0
    worst_migration_ratio: Number = 0.0
    total_iterations: U64 = 0
    ext_metrics: Numbers = field(default_factory=dict)
    phases: Annotated[tuple[PhaseBucket, ...], many(PhaseBucket, MAX_STEP_INDEX + 1)] = ()

    @classmethod
    def from_cgroups(
        cls,
        cgroups: Sequence[CgroupStats],
        *,
        phases: Iterable[PhaseBucket] = (),
        ext_metrics: Mapping[str, float] | None = None,
    ) -> "ScenarioStats":
        """The statistics whose totals follow from ``cgroups``."""
        worst = max(cgroups, key=lambda cg: cg.max_gap_ms, default=CgroupStats())
        return cls(
            cgroups=tuple(cgroups),
            total_workers=sum(cg.num_workers for cg in cgroups),
            total_cpus=sum(cg.num_cpus for cg in cgroups),
            total_migrations=saturating_sum(cg.total_migrations for cg in cgroups),
            worst_spread=max((cg.spread for cg in cgroups if cg.spread is not None), default=0.0),
            worst_gap_ms=worst.max_gap_ms,
            worst_gap_cpu=worst.max_gap_cpu,
            worst_migration_ratio=max((cg.migration_ratio for cg in cgroups), default=0.0),
            total_iterations=saturating_sum(cg.total_iterations for cg in cgroups),
            ext_metrics=dict(ext_metrics or {}),
            phases=tuple(phases),
        )

    def phase(self, phase: Phase) -> PhaseBucket | None:
        """The bucket of ``phase``."""
        return next((b for b in self.phases if b.step_index == phase.as_u16()), None)

    def phase_metric(self, phase: Phase, metric: MetricLike) -> float | None:
        """A metric of one phase, or the sum of a counter that only its carriers hold."""
        bucket = self.phase(phase)
        if bucket is None:
            return None
        value = bucket.get(metric)
        return bucket.cgroup_counter_total(metric) if value is None else value

    def phase_cgroup(self, phase: Phase, cgroup: str) -> PhaseCgroupStats | None:
        """What the workers of ``cgroup`` did in one phase."""
        bucket = self.phase(phase)
        return None if bucket is None else bucket.per_cgroup.get(cgroup)

    def phase_cgroup_metric(self, phase: Phase, cgroup: str, metric: MetricLike) -> float | None:
        """A metric or counter of one cgroup in one phase."""
        carrier = self.phase_cgroup(phase, cgroup)
        if carrier is None:
            return None
        name = MetricId.of(metric).as_str()
        value = carrier.get(name)
        return carrier.cgroup_counter(name) if value is None else value

    def has_steps(self) -> bool:
        """Whether any phase is a step."""
        return any(bucket.step_index > 0 for bucket in self.phases)

    def cgroup_balance_ratio(self) -> float | None:
        """Largest over smallest iterations per worker; infinite when one cgroup got nothing.

        ``None`` with fewer than two cgroups that had workers.
        """
        rates = [rate for cg in self.cgroups if (rate := cg.iterations_per_worker()) is not None]
        if len(rates) < 2:
            return None
        return max(rates) / min(rates) if min(rates) > 0.0 else math.inf

    def run_metric(self, metric: MetricLike) -> float | None:
        """A run-level metric; ``None`` when it was not measured or has no run-level value.

        The totals above hold 0 where nothing was measured, so what has one of them is looked up in
        the cgroups. Residency comes from the phases' carriers and, for workers that have none,
        from the cgroups.
        """
        name = MetricId.of(metric).as_str()
        match name:
            case "worst_spread":
                return _worst(max, (cg.spread for cg in self.cgroups))
            case "worst_migration_ratio":
                return _worst(
                    max, (cg.migration_ratio for cg in self.cgroups if cg.total_iterations > 0)
                )
            case "worst_gap_ms":
                return _worst(max, (float(c.max_gap_ms) for c in self.cgroups if c.num_workers > 0))
            case "total_migrations" | "total_iterations":
                if not self.cgroups:
                    return None
                return float(saturating_sum(getattr(cg, name) for cg in self.cgroups))
            case "worst_page_locality" if name not in self.ext_metrics:
                return _worst(min, (cg.page_locality for cg in self.cgroups))
            case "worst_cross_node_migration_ratio" if name not in self.ext_metrics:
                return _worst(max, (cg.cross_node_migration_ratio for cg in self.cgroups))
            case _:
                return self.ext_metrics.get(name)

    def merge(self, other: "ScenarioStats") -> "ScenarioStats":
        """Both scenarios' cgroups in order, phases matched by step, metrics by the worse side."""
        phases = {bucket.step_index: bucket for bucket in self.phases}
        for bucket in other.phases:
            known = phases.get(bucket.step_index)
            phases[bucket.step_index] = (
                bucket if known is None else merge_matched_phase_buckets(known, bucket)
            )
        ext = dict(self.ext_metrics)
        for name, value in other.ext_metrics.items():
            worse = max if _higher_is_worse(name) else min
            ext[name] = worse(ext.get(name, value), value)
        gap = self if self.worst_gap_ms >= other.worst_gap_ms else other
        return ScenarioStats(
            cgroups=self.cgroups + other.cgroups,
            total_workers=self.total_workers + other.total_workers,
            total_cpus=self.total_cpus + other.total_cpus,
            total_migrations=saturating_sum((self.total_migrations, other.total_migrations)),
            worst_spread=max(self.worst_spread, other.worst_spread),
            worst_gap_ms=gap.worst_gap_ms,
            worst_gap_cpu=gap.worst_gap_cpu,
            worst_migration_ratio=max(self.worst_migration_ratio, other.worst_migration_ratio),
            total_iterations=saturating_sum((self.total_iterations, other.total_iterations)),
            ext_metrics=ext,
            phases=tuple(phases[step] for step in sorted(phases)),
        )


def _worst(side: Callable[[Iterable[float]], float], found: Iterable[float | None]) -> float | None:
    """The worst of what was measured; a measured zero counts, nothing measured is ``None``."""
    measured = [value for value in found if value is not None]
    return side(measured) if measured else None


def _higher_is_worse(name: str) -> bool:
    definition = metric_def(name)
    return (
        infer_higher_is_worse(name) if definition is None else definition.polarity.higher_is_worse()
    )
