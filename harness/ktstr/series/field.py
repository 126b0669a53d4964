# SPDX-License-Identifier: GPL-2.0-only
"""One figure over the samples of a run, each with its tag, its time and its phase.

A sample that does not have the figure holds the :class:`SnapshotError` that says why, in the
place of a value: never a zero, and never left out.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from ktstr.series.phase import Phase
from ktstr.series.values import SnapshotError

Number = int | float

T_co = TypeVar("T_co", covariant=True)
NumberT = TypeVar("NumberT", int, float)


class Point(NamedTuple, Generic[T_co]):
    """One sample of a series.

    :param elapsed_ms: workload time; ``None`` when it was not recorded.
    :param phase: the phase stamped when it was taken; ``None`` when none was.
    """

    tag: str
    elapsed_ms: int | None
    value: "T_co | SnapshotError"
    phase: Phase | None

    @property
    def good(self) -> bool:
        """Whether there is a value."""
        return not isinstance(self.value, SnapshotError)

    @property
    def where(self) -> str:
        """The sample in words: ``periodic_003 (+1700ms, Step[1])``."""
        time = "time unknown" if self.elapsed_ms is None else f"+{self.elapsed_ms}ms"
        return f"{self.tag} ({time}{'' if self.phase is None else f', {self.phase}'})"


class SeriesField(Generic[T_co]):
    """The values of one figure, in the order of the samples.

    :param label: what messages call it.
    """

    __slots__ = ("_label", "_points")

    def __init__(self, label: str, points: Sequence[Point[T_co]]) -> None:
        self._label = label
        self._points = tuple(points)

    @classmethod
    def from_parts_with_phases(
        cls,
        label: str,
        tags: Sequence[str],
        elapsed_ms: Sequence[int | None],
        values: "Sequence[T_co | SnapshotError]",
        phases: Sequence[Phase | None],
    ) -> "SeriesField[T_co]":
        """A series from its columns.

        :raises ValueError: when they are not of one length.
        """
        columns = {"tags": tags, "elapsed_ms": elapsed_ms, "values": values, "phases": phases}
        if len({len(column) for column in columns.values()}) > 1:
            lengths = ", ".join(f"{len(column)} {name}" for name, column in columns.items())
            raise ValueError(f"series {label!r} has columns of different lengths: {lengths}")
        parts = zip(tags, elapsed_ms, values, phases, strict=True)
        return cls(label, [Point(*part) for part in parts])

    @classmethod
    def from_parts(
        cls,
        label: str,
        tags: Sequence[str],
        elapsed_ms: Sequence[int | None],
        values: "Sequence[T_co | SnapshotError]",
    ) -> "SeriesField[T_co]":
        """As :meth:`from_parts_with_phases`, of samples without a phase."""
        return cls.from_parts_with_phases(label, tags, elapsed_ms, values, [None] * len(values))

    @property
    def label(self) -> str:
        """What messages call it."""
        return self._label

    def __len__(self) -> int:
        return len(self._points)

    @property
    def is_empty(self) -> bool:
        """Whether there is no sample at all."""
        return not self._points

    @property
    def points(self) -> tuple[Point[T_co], ...]:
        """Every sample with all that is known of it."""
        return self._points

    def values_iter(self) -> "Iterator[T_co | SnapshotError]":
        """The values, or why there is none."""
        return (point.value for point in self._points)

    def phases_iter(self) -> Iterator[Phase | None]:
        """The phase of every sample."""
        return (point.phase for point in self._points)

    def iter_full(self) -> "Iterator[tuple[str, int | None, T_co | SnapshotError]]":
        """Tag, workload time in ms, and value of every sample."""
        return ((point.tag, point.elapsed_ms, point.value) for point in self._points)

    def by_phase(self) -> "tuple[dict[Phase, SeriesField[T_co]], SeriesField[T_co]]":
        """The samples of each phase, phases in order, and those that carry none."""
        found: dict[Phase, list[Point[T_co]]] = {}
        for point in self._points:
            if point.phase is not None:
                found.setdefault(point.phase, []).append(point)
        parts = {phase: SeriesField(self._label, found[phase]) for phase in sorted(found)}
        return parts, self._where(None)

    def for_each_phase(self, f: "Callable[[Phase, SeriesField[T_co]], object]") -> None:
        """Call ``f`` with each phase and its samples, phases in order."""
        for phase, part in self.by_phase()[0].items():
            f(phase, part)

    def phase(self, phase: Phase) -> "SeriesField[T_co]":
        """The samples of one phase; none when it has none."""
        return self._where(phase)

    def _where(self, phase: Phase | None) -> "SeriesField[T_co]":
        return SeriesField(self._label, [point for point in self._points if point.phase == phase])

    def value_at_phase(self, phase: Phase) -> T_co | None:
        """The last value of a phase; ``None`` when it has none."""
        return self.last_per_phase().get(phase)

    def last_per_phase(self) -> dict[Phase, T_co]:
        """The last value of every phase that has one, phases in order."""
        return {phase: values[-1] for phase, values in self._good_by_phase()}

    def first_per_phase(self) -> dict[Phase, T_co]:
        """The first value of every phase that has one, phases in order."""
        return {phase: values[0] for phase, values in self._good_by_phase()}

    def counter_delta_per_phase(
        self: "SeriesField[NumberT]", notes: list[str] | None = None
    ) -> dict[Phase, NumberT]:
        """How far a counter got within each phase: last value minus first.

        One value alone is no progress, 0. A counter that went backward was reset and counts as 0.

        :param notes: takes a sentence for every phase in which that happened.
        """
        deltas: dict[Phase, NumberT] = {}
        for phase, values in self._good_by_phase():
            first, last = values[0], values[-1]
            deltas[phase] = last - first
            if last < first:
                deltas[phase] = type(first)(0)
                if notes is not None:
                    notes.append(
                        f"{self._label} went backward in {phase}, from {first} to {last}: "
                        "its progress there counts as 0"
                    )
        return deltas

    def _good_by_phase(self) -> Iterator[tuple[Phase, list[T_co]]]:
        for phase, part in self.by_phase()[0].items():
            values = [v for v in part.values_iter() if not isinstance(v, SnapshotError)]
            if values:
                yield phase, values

    def to_numpy(
        self: "SeriesField[Number]",
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Times in ms and values, NaN where there is none.

        As float64, integers beyond 2**53 are rounded; :meth:`to_records` has them exactly.
        """
        times = [math.nan if point.elapsed_ms is None else point.elapsed_ms for point in self]
        values = [
            math.nan if isinstance(point.value, SnapshotError) else float(point.value)
            for point in self
        ]
        return np.array(times, dtype=np.float64), np.array(values, dtype=np.float64)

    def to_records(self) -> list[dict[str, object]]:
        """One plain table per sample: tag, elapsed_ms, phase, value, error; None for what is not.

        ``pandas.DataFrame(field.to_records())`` is a frame of them.
        """
        return [
            {
                "tag": point.tag,
                "elapsed_ms": point.elapsed_ms,
                "phase": None if point.phase is None else str(point.phase),
                "value": None if isinstance(point.value, SnapshotError) else point.value,
                "error": str(point.value) if isinstance(point.value, SnapshotError) else None,
            }
            for point in self
        ]

    def __iter__(self) -> Iterator[Point[T_co]]:
        return iter(self._points)

    def __repr__(self) -> str:
        return f"SeriesField({self._label!r}, {len(self)} samples)"
