# SPDX-License-Identifier: GPL-2.0-only
"""The statistics axis: a scheduler's own figures over the samples (reference-06 section 25).

Each sample holds the answer to one request, never accumulated: whether a figure counts from the
start or from the last request is the scheduler's choice.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from ktstr.series.entry import Sample
from ktstr.series.errors import (
    EmptyPathComponent,
    FieldNotFound,
    MissingStatsError,
    NotAStruct,
    SnapshotError,
    TypeMismatch,
)
from ktstr.series.field import SeriesField
from ktstr.series.projection import project
from ktstr.series.stats_meta import StatsMeta
from ktstr.series.stats_reason import MissingStatsReason

T = TypeVar("T")

_KINDS = {bool: "bool", int: "int", float: "float", str: "text", list: "array", type(None): "null"}


@dataclass(frozen=True, slots=True)
class StatsValue:
    """The statistics of one sample, or a part of them.

    :param raw: plain values, as JSON gave them.
    :param path: how it was reached; keys may contain dots.
    """

    raw: object
    path: tuple[str, ...] = ()
    meta: StatsMeta | None = None

    def get(self, path: str = "") -> "StatsValue":
        """The part at a dotted path; digits index arrays, the empty path is the value itself.

        :raises SnapshotError: when there is no such part, listing what there is.
        """
        found = self
        for part in path.split(".") if path else ():
            found = found.key(part)
        return found

    def key(self, key: str) -> "StatsValue":
        """The part of that name, which may contain dots.

        :raises SnapshotError: as :meth:`get`.
        """
        asked = ".".join((*self.path, key))
        walked = ".".join(self.path)
        if not key:
            raise EmptyPathComponent(asked, walked)
        if isinstance(self.raw, Mapping):
            if key not in self.raw:
                raise FieldNotFound(asked, walked, key, self.names(), self._note(key))
            inner = self.raw[key]
        elif isinstance(self.raw, list):
            if not key.isdecimal() or int(key) >= len(self.raw):
                raise FieldNotFound(asked, walked, key, self.names())
            inner = self.raw[int(key)]
        else:
            raise NotAStruct(asked, walked, key, self.kind)
        return replace(self, raw=inner, path=(*self.path, key))

    def _note(self, key: str) -> str:
        if self.meta is None:
            return ""
        if self.meta.find((*self.path, key)) is not None:
            return "the scheduler describes it, but this answer lacks it"
        described = self.meta.described_fields(self.path)
        return "the scheduler describes no such field" if described else ""

    def names(self) -> list[str]:
        """What a path may go on with, sorted."""
        if isinstance(self.raw, Mapping):
            return sorted(map(str, self.raw))
        return [str(i) for i in range(len(self.raw))] if isinstance(self.raw, list) else []

    @property
    def kind(self) -> str:
        """What it is, in a word."""
        return "map" if isinstance(self.raw, Mapping) else _KINDS.get(type(self.raw), "unknown")

    def as_u64(self) -> int:
        """As an integer that is not negative.

        :raises TypeMismatch: for anything else.
        """
        if type(self.raw) is int and self.raw >= 0:
            return self.raw
        raise self._mismatch("an unsigned number")

    def as_i64(self) -> int:
        """As an integer.

        :raises TypeMismatch: for anything else.
        """
        if type(self.raw) is int:
            return self.raw
        raise self._mismatch("a signed number")

    def as_f64(self) -> float:
        """As a number.

        :raises TypeMismatch: for anything else.
        """
        if isinstance(self.raw, int | float) and not isinstance(self.raw, bool):
            return float(self.raw)
        raise self._mismatch("a number")

    def as_bool(self) -> bool:
        """As true or false; a number is true unless it is 0.

        :raises TypeMismatch: for anything else.
        """
        if isinstance(self.raw, bool | int | float):
            return bool(self.raw)
        raise self._mismatch("a truth value")

    def as_str(self) -> str:
        """As text.

        :raises TypeMismatch: for anything else.
        """
        if isinstance(self.raw, str):
            return self.raw
        raise self._mismatch("text")

    def _mismatch(self, wanted: str) -> TypeMismatch:
        shown = f" ({self.raw!r:.40})" if not isinstance(self.raw, Mapping | list) else ""
        return TypeMismatch(wanted, f"{self.kind}{shown}", ".".join(self.path))


def stats_of(sample: Sample, meta: StatsMeta | None = None) -> StatsValue:
    """The sample's statistics.

    :raises MissingStatsError: when it has none.
    """
    if isinstance(sample.stats, MissingStatsReason):
        raise MissingStatsError(sample.tag, sample.stats)
    return StatsValue(sample.stats, (), meta)


@dataclass(frozen=True, slots=True)
class StatsPathProjector:
    """One place in the statistics over the samples; made by ``SampleSeries.stats_path``."""

    samples: Sequence[Sample]
    parts: tuple[str, ...] = ()
    meta: StatsMeta | None = None

    def key(self, key: str) -> "StatsPathProjector":
        """The place one level further; the key may contain dots."""
        return replace(self, parts=(*self.parts, key))

    def _at(self, sample: Sample) -> StatsValue:
        found = stats_of(sample, self.meta)
        for part in self.parts:
            found = found.key(part)
        return found

    def field(self, path: str, convert: Callable[[StatsValue], T]) -> SeriesField[T]:
        """A part, made into what ``convert`` returns."""
        label = ".".join((*self.parts, path) if path else self.parts) or "stats"
        return project(self.samples, label, lambda sample: convert(self._at(sample).get(path)))

    def field_u64(self, path: str = "") -> SeriesField[int]:
        """A part as an unsigned number."""
        return self.field(path, StatsValue.as_u64)

    def field_i64(self, path: str = "") -> SeriesField[int]:
        """A part as a signed number."""
        return self.field(path, StatsValue.as_i64)

    def field_f64(self, path: str = "") -> SeriesField[float]:
        """A part as a floating-point number."""
        return self.field(path, StatsValue.as_f64)

    def key_names(self) -> list[str]:
        """What lies below this place in the first sample that has it, sorted."""
        for sample in self.samples:
            try:
                return self._at(sample).names()
            except SnapshotError:
                continue
        return []

    def member_names(self) -> list[str]:
        """As :meth:`key_names`: in JSON, members and keys are one."""
        return self.key_names()

    def u64_fields(self) -> dict[str, SeriesField[int]]:
        """The members that are an unsigned number in at least one sample."""
        return self._with_a_value(StatsValue.as_u64)

    def f64_fields(self) -> dict[str, SeriesField[float]]:
        """The members that are a number in at least one sample."""
        return self._with_a_value(StatsValue.as_f64)

    def _with_a_value(self, convert: Callable[[StatsValue], T]) -> dict[str, SeriesField[T]]:
        def one(name: str) -> SeriesField[T]:
            label = ".".join((*self.parts, name))
            return project(self.samples, label, lambda s: convert(self._at(s).key(name)))

        fields = {name: one(name) for name in self.key_names() if name}
        return {
            name: field
            for name, field in fields.items()
            if any(not isinstance(value, SnapshotError) for value in field.values_iter())
        }
