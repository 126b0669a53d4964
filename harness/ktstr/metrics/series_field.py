# SPDX-License-Identifier: GPL-2.0-only
"""A projected series reduced to one figure per phase, by the kind of a metric."""

from ktstr.metrics.aggregate import aggregate_samples_for_phase
from ktstr.metrics.registry import MetricDef
from ktstr.series.field import Number, SeriesField
from ktstr.series.phase import Phase
from ktstr.series.values import SnapshotError


def aggregate_by_phase(field: SeriesField[Number], metric: MetricDef) -> dict[Phase, float]:
    """What ``metric`` makes of the values of each phase, phases in order.

    A phase is absent when nothing finite is left to reduce; samples without a phase count nowhere.
    """
    found: dict[Phase, float] = {}
    for phase, part in field.by_phase()[0].items():
        values = [float(v) for v in part.values_iter() if not isinstance(v, SnapshotError)]
        reduced = aggregate_samples_for_phase(metric, values)
        if reduced is not None:
            found[phase] = reduced
    return found
