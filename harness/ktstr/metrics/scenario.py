# SPDX-License-Identifier: GPL-2.0-only
"""Statistics of a whole scenario (reference-06 section 2.4)."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields

from ktstr.metrics.bucket import PhaseBucket, merge_matched_phase_buckets
from ktstr.metrics.phase import Phase
from ktstr.metrics.registry import metric_def
from ktstr.telemetry.cgroup import CgroupStats
from ktstr.telemetry.plain import to_plain
from ktstr.telemetry.vectors import saturating_sum


@dataclass(frozen=True, slots=True)
class ScenarioStats:
    """The run's cgroups, phases and run-level metrics.

    :param cgroups: one entry per cgroup and step, in step order.
    :param total_cpus: sum over the entries, not deduplicated.
    :param worst_spread: 0.0 when no cgroup measured it; :meth:`run_metric` tells the difference.
    :param ext_metrics: run-level metrics by name; an absent key was not measured.
    """

    cgroups: tuple[CgroupStats, ...] = ()
    total_workers: int = 0
    total_cpus: int = 0
    total_migrations: int = 0
    worst_spread: float = 0.0
    worst_gap_ms: int = 0
    worst_gap_cpu: int = 0
    worst_migration_ratio: float = 0.0
    total_iterations: int = 0
    ext_metrics: Mapping[str, float] = field(default_factory=dict)
    phases: tuple[PhaseBucket, ...] = ()

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

    def phase_metric(self, phase: Phase, metric: str) -> float | None:
        """A metric of one phase, or the sum of a counter that only its carriers hold."""
        bucket = self.phase(phase)
        if bucket is None:
            return None
        value = bucket.get(metric)
        return bucket.cgroup_counter_total(metric) if value is None else value

    def phase_cgroup_metric(self, phase: Phase, cgroup: str, metric: str) -> float | None:
        """A metric or counter of one cgroup in one phase."""
        bucket = self.phase(phase)
        carrier = None if bucket is None else bucket.per_cgroup.get(cgroup)
        if carrier is None:
            return None
        value = carrier.get(metric)
        return carrier.cgroup_counter(metric) if value is None else value

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

    def run_metric(self, metric: str) -> float | None:
        """A run-level metric; ``None`` when it was not measured or has no run-level value."""
        match metric:
            case "worst_spread":
                spreads = [cg.spread for cg in self.cgroups if cg.spread is not None]
                return max(spreads, default=None)
            case "worst_migration_ratio":
                return max(
                    (cg.migration_ratio for cg in self.cgroups if cg.total_iterations > 0),
                    default=None,
                )
            case "worst_gap_ms":
                gaps = [cg.max_gap_ms for cg in self.cgroups if cg.num_workers > 0]
                return float(max(gaps)) if gaps else None
            case "total_migrations" | "total_iterations":
                if not self.cgroups:
                    return None
                return float(saturating_sum(getattr(cg, metric) for cg in self.cgroups))
            case _:
                return self.ext_metrics.get(metric)

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
            mine = ext.get(name)
            if mine is None:
                ext[name] = value
            else:
                definition = metric_def(name)
                worse = max if definition is None or definition.polarity.higher_is_worse() else min
                ext[name] = worse(mine, value)
        return ScenarioStats.from_cgroups(
            self.cgroups + other.cgroups,
            phases=[phases[step] for step in sorted(phases)],
            ext_metrics=ext,
        )

    def to_plain(self) -> dict[str, object]:
        """JSON-ready; sample vectors are replaced by their lengths."""
        return {item.name: to_plain(getattr(self, item.name)) for item in fields(self)}
