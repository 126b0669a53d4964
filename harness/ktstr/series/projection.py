# SPDX-License-Identifier: GPL-2.0-only
"""From samples to one value each, or the reason why there is none."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from ktstr.series.entry import Sample
from ktstr.series.errors import (
    PlaceholderSample,
    PlaceholderSnapshot,
    ProjectionFailed,
    SnapshotError,
)
from ktstr.series.field import SeriesField
from ktstr.series.snapshot import Snapshot

T = TypeVar("T")

_OF_THE_DATA = (ArithmeticError, LookupError, ValueError)
"""What a projection may raise because of a sample's data; anything else is its own mistake."""


def project(
    samples: Sequence[Sample], label: str, read: Callable[[Sample], T | SnapshotError]
) -> SeriesField[T]:
    """One value per sample, errors of the data in its place."""
    values: list[T | SnapshotError] = []
    for sample in samples:
        try:
            values.append(read(sample))
        except SnapshotError as error:
            values.append(error)
        except _OF_THE_DATA as error:
            values.append(ProjectionFailed(f"{type(error).__name__}: {error}"))
    return SeriesField.from_parts_with_phases(
        label,
        [sample.tag for sample in samples],
        [sample.elapsed_ms for sample in samples],
        values,
        [sample.phase for sample in samples],
    )


def snapshot_of(sample: Sample) -> Snapshot:
    """The sample's snapshot, before a projection looks into it.

    :raises PlaceholderSample: when the capture failed.
    """
    try:
        return sample.taken()
    except PlaceholderSnapshot as error:
        raise PlaceholderSample(error.tag, error.reason) from None
