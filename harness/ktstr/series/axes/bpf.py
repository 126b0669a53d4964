# SPDX-License-Identifier: GPL-2.0-only
"""The BPF axis: variables and maps over the samples of a run (reference-06 section 25)."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from ktstr.series.entry import Sample
from ktstr.series.errors import (
    NoMatch,
    SnapshotError,
    TypeMismatch,
    WalkerDriftedWithinPhase,
)
from ktstr.series.field import SeriesField
from ktstr.series.maps import AnyEntry, MapSnapshot, PerCpuEntry
from ktstr.series.projection import project, snapshot_of
from ktstr.series.snapshot import Snapshot
from ktstr.series.values import RenderedValue

T = TypeVar("T")
N = TypeVar("N", int, float)

U64_MAX = (1 << 64) - 1
I64_MIN, I64_MAX = -(1 << 63), (1 << 63) - 1


def project_snapshots(
    samples: Sequence[Sample], label: str, read: Callable[[Snapshot], T]
) -> SeriesField[T]:
    """One value of every snapshot."""
    return project(samples, label, lambda sample: read(snapshot_of(sample)))


def project_live(
    samples: Sequence[Sample], path: str, convert: Callable[[RenderedValue], T]
) -> SeriesField[T]:
    """A variable of the attached scheduler.

    Within a phase the first sample that knows the scheduler's maps decides whose variable it is;
    a sample with other maps, or without, holds :class:`WalkerDriftedWithinPhase`.
    """
    pinned = _pinned_maps(samples)

    def read(sample: Sample) -> T:
        snapshot = snapshot_of(sample)
        here, first = snapshot.active_maps, pinned.get(sample.step_index or 0)
        if first is not None and here != first.active_maps:
            raise WalkerDriftedWithinPhase(
                str(sample.phase or "BASELINE"),
                path,
                first.active_map_kvas or (),
                snapshot.active_map_kvas or (),
            )
        return converted(snapshot.live_var(path), path, convert)

    return project(samples, path, read)


def _pinned_maps(samples: Iterable[Sample]) -> dict[int, Snapshot]:
    """By step, the first snapshot that knows the attached scheduler's maps."""
    pinned: dict[int, Snapshot] = {}
    for sample in samples:
        snapshot = sample.snapshot
        if isinstance(snapshot, Snapshot) and snapshot.active_maps is not None:
            pinned.setdefault(sample.step_index or 0, snapshot)
    return pinned


def converted(value: RenderedValue, path: str, convert: Callable[[RenderedValue], T]) -> T:
    """``value`` as a number, with the path in the error when it is none.

    :raises TypeMismatch: when it is none.
    """
    try:
        return convert(value)
    except TypeMismatch as error:
        raise TypeMismatch(error.expected, error.actual, path) from None


def live_vars_via(
    samples: Sequence[Sample],
    names: Sequence[str],
    pick: Callable[[Sequence[RenderedValue]], Sequence[T]],
) -> tuple[SeriesField[T], ...]:
    """Several variables of the attached scheduler, converted together.

    ``pick`` is called once per snapshot, with the values in the order of ``names``, and returns
    one value for each.
    """
    picked: dict[int, Sequence[T] | SnapshotError] = {}

    def read(index: int, sample: Sample) -> T:
        key = id(sample)
        if key not in picked:
            try:
                active = snapshot_of(sample).active()
                picked[key] = pick([active.var(name) for name in names])
            except SnapshotError as error:
                picked[key] = error
        found = picked[key]
        if isinstance(found, SnapshotError):
            raise found
        return found[index]

    def one(index: int) -> SeriesField[T]:
        return project(samples, names[index], lambda sample: read(index, sample))

    return tuple(one(index) for index in range(len(names)))


@dataclass(frozen=True, slots=True)
class BpfMapProjector:
    """One entry of a map over the samples; made by ``SampleSeries.bpf_map``.

    ``live`` takes the attached scheduler's map of that name only.
    """

    samples: Sequence[Sample]
    name: str
    label: str
    pick: Callable[[MapSnapshot], AnyEntry] | None = None
    only_cpu: int | None = None
    from_active: bool = False

    # Which entry

    def at(self, index: int) -> "BpfMapProjector":
        """The entry at a position; of arrays, the position is the key. By default the first."""
        return self._chosen(f"[{index}]", lambda found: found.at(index))

    def key(self, wanted: int | str) -> "BpfMapProjector":
        """The entry with that key."""
        return self._chosen(f"[{wanted}]", lambda found: found.key(wanted))

    def find(self, condition: Callable[[AnyEntry], bool]) -> "BpfMapProjector":
        """The first entry that satisfies a condition, in each sample anew."""
        return self._chosen("[…]", lambda found: found.find(condition))

    def max_by(self, measure: Callable[[AnyEntry], float]) -> "BpfMapProjector":
        """The entry with the largest measure, in each sample anew."""
        return self._chosen("[max]", lambda found: found.max_by(measure))

    def _chosen(self, words: str, pick: Callable[[MapSnapshot], AnyEntry]) -> "BpfMapProjector":
        return replace(self, label=f"{self.name}{words}", pick=pick)

    def cpu(self, cpu: int) -> "BpfMapProjector":
        """The value of one CPU; a map that is not per CPU has the same for all."""
        return replace(self, label=f"{self.label}.cpu{cpu}", only_cpu=cpu)

    def live(self) -> "BpfMapProjector":
        """The attached scheduler's map of that name only."""
        return replace(self, from_active=True)

    # Its fields

    def field(
        self, path: str, convert: Callable[[RenderedValue], T], label: str | None = None
    ) -> SeriesField[T]:
        """Part of the value, made into what ``convert`` returns."""
        shown = label or f"{self.label}{f'.{path}' if path else ''}"
        return project(self.samples, shown, lambda s: converted(self._part(s, path), path, convert))

    def field_u64(self, path: str = "") -> SeriesField[int]:
        """Part of the value as an unsigned number."""
        return self.field(path, RenderedValue.as_u64)

    def field_i64(self, path: str = "") -> SeriesField[int]:
        """Part of the value as a signed number."""
        return self.field(path, RenderedValue.as_i64)

    def field_f64(self, path: str = "") -> SeriesField[float]:
        """Part of the value as a floating-point number."""
        return self.field(path, RenderedValue.as_f64)

    def _map(self, sample: Sample) -> MapSnapshot:
        snapshot = snapshot_of(sample)
        return snapshot.active().map(self.name) if self.from_active else snapshot.map(self.name)

    def _entry(self, found: MapSnapshot) -> AnyEntry:
        return found.at(0) if self.pick is None else self.pick(found)

    def _part(self, sample: Sample, path: str) -> RenderedValue:
        found = self._map(sample)
        if found.value is not None and self.pick is None:
            return found.get(path)
        entry = self._entry(found)
        if self.only_cpu is not None and isinstance(entry, PerCpuEntry):
            return entry.cpu(self.only_cpu).get(path)
        return entry.get(path)

    # Which fields there are

    def member_names(self) -> list[str]:
        """Members of the value in the first sample that has it; none when no sample has it."""
        for sample in self.samples:
            try:
                return list(self._whole(sample).names())
            except SnapshotError:
                continue
        return []

    def _whole(self, sample: Sample) -> RenderedValue:
        found = self._map(sample)
        if found.value is not None and self.pick is None:
            return found.get()
        entry = self._entry(found)
        if isinstance(entry, PerCpuEntry):
            cpus = entry.read_cpus()
            return entry.cpu(self.only_cpu if self.only_cpu is not None else cpus[0]).get()
        return entry.get()

    def u64_fields(self) -> dict[str, SeriesField[int]]:
        """The members that are an unsigned number in at least one sample."""
        return _with_a_value({name: self.field_u64(name) for name in self.member_names()})

    def f64_fields(self) -> dict[str, SeriesField[float]]:
        """The members that are a number in at least one sample."""
        return _with_a_value({name: self.field_f64(name) for name in self.member_names()})

    # Over the CPUs of a per-CPU map

    def field_cpu_sum_u64(self, path: str = "") -> SeriesField[int]:
        """Sum over the CPUs that could be read, at most 2**64 - 1."""
        return self._over_cpus(path, "sum", RenderedValue.as_u64, _saturating(0, U64_MAX))

    def field_cpu_max_u64(self, path: str = "") -> SeriesField[int]:
        """Largest of the CPUs that could be read."""
        return self._over_cpus(path, "max", RenderedValue.as_u64, max)

    def field_cpu_min_u64(self, path: str = "") -> SeriesField[int]:
        """Smallest of the CPUs that could be read."""
        return self._over_cpus(path, "min", RenderedValue.as_u64, min)

    def field_cpu_sum_i64(self, path: str = "") -> SeriesField[int]:
        """Sum over the CPUs that could be read, kept within 64 bits."""
        return self._over_cpus(path, "sum", RenderedValue.as_i64, _saturating(I64_MIN, I64_MAX))

    def field_cpu_max_i64(self, path: str = "") -> SeriesField[int]:
        """Largest of the CPUs that could be read."""
        return self._over_cpus(path, "max", RenderedValue.as_i64, max)

    def field_cpu_min_i64(self, path: str = "") -> SeriesField[int]:
        """Smallest of the CPUs that could be read."""
        return self._over_cpus(path, "min", RenderedValue.as_i64, min)

    def field_cpu_sum_f64(self, path: str = "") -> SeriesField[float]:
        """Sum over the CPUs that could be read."""
        return self._over_cpus(path, "sum", RenderedValue.as_f64, sum)

    def field_cpu_max_f64(self, path: str = "") -> SeriesField[float]:
        """Largest of the CPUs that could be read."""
        return self._over_cpus(path, "max", RenderedValue.as_f64, max)

    def field_cpu_min_f64(self, path: str = "") -> SeriesField[float]:
        """Smallest of the CPUs that could be read."""
        return self._over_cpus(path, "min", RenderedValue.as_f64, min)

    def _over_cpus(
        self,
        path: str,
        op: str,
        convert: Callable[[RenderedValue], N],
        reduce: Callable[[list[N]], N],
    ) -> SeriesField[N]:
        def read(sample: Sample) -> N:
            entry = self._entry(self._map(sample))
            if not isinstance(entry, PerCpuEntry):
                return converted(entry.get(path), path, convert)
            cpus = entry.read_cpus()
            if not cpus:
                raise NoMatch(self.name, f"cpu_{op}", len(entry.per_cpu))
            return reduce([converted(entry.cpu(c).get(path), path, convert) for c in cpus])

        return project(self.samples, f"{self.label}.{path or 'value'} ({op} over CPUs)", read)


def _saturating(low: int, high: int) -> Callable[[list[int]], int]:
    return lambda values: max(low, min(sum(values), high))


def _with_a_value(fields: dict[str, SeriesField[T]]) -> dict[str, SeriesField[T]]:
    return {
        name: field
        for name, field in fields.items()
        if any(not isinstance(value, SnapshotError) for value in field.values_iter())
    }
