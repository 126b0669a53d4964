# SPDX-License-Identifier: GPL-2.0-only
"""The figures a scenario names, read out of the samples of its run."""

import math
from collections.abc import Callable, Iterable, Mapping

from ktstr.model.temporal import Figure
from ktstr.series.field import Number, SeriesField
from ktstr.series.maps import AnyEntry, MapSnapshot, NoMatch, PerCpuEntry, PerCpuNotNarrowed
from ktstr.series.phase import Phase
from ktstr.series.sample import MissingStatsReason, Sample, SampleSeries
from ktstr.series.snapshot import Snapshot
from ktstr.series.values import (
    FieldNotFound,
    Float,
    NotAStruct,
    RenderedValue,
    SnapshotError,
    Struct,
    TypeMismatch,
    alternatives,
)
from ktstr.telemetry.vectors import U64_MAX

_REDUCTIONS: Mapping[str, Callable[[Iterable[Number]], Number]] = {
    "sum": sum,
    "max": max,
    "min": min,
}


def project(samples: SampleSeries, figure: Figure) -> SeriesField[Number]:
    """The figure in every sample, or why a sample does not have it."""
    found = list(samples.iter_samples())
    return SeriesField.from_parts_with_phases(
        figure.label,
        [sample.tag for sample in found],
        [sample.elapsed_ms for sample in found],
        [_value(sample, figure) for sample in found],
        [None if sample.step_index is None else Phase(sample.step_index) for sample in found],
    )


def _value(sample: Sample, figure: Figure) -> Number | SnapshotError:
    try:
        if figure.stats is not None:
            return _statistic(sample, figure.stats)
        if not isinstance(sample.snapshot, Snapshot):
            raise SnapshotError(f"the capture failed: {sample.error or 'nothing was read'}")
        if figure.map is not None:
            return _of_map(sample.snapshot.map(figure.map), figure)
        return number(sample.snapshot.var(figure.var or ""))
    except SnapshotError as error:
        return error


def number(value: RenderedValue) -> Number:
    """An integer, float, enum, truth value or address as a number.

    :raises TypeMismatch: for anything else.
    """
    peeled = value.peeled()
    if isinstance(peeled, Float):
        return peeled.value
    if isinstance(peeled, Struct):
        there = alternatives(peeled.names())
        raise TypeMismatch("a number", f"a struct with {there}")
    try:
        return peeled.as_i64()
    except TypeMismatch:
        return peeled.as_u64()


def _of_map(found: MapSnapshot, figure: Figure) -> Number:
    path = figure.field or ""
    if figure.key is None:
        return number(found.get(path))
    entry = _entry(found, figure.key)
    if not isinstance(entry, PerCpuEntry):
        return number(entry.get(path))
    if figure.cpu is None:
        how = 'give cpu, a number or "sum"'
        raise PerCpuNotNarrowed(found.name, path, list(entry.per_cpu), how)
    if isinstance(figure.cpu, int):
        return number(entry.cpu(figure.cpu).get(path))
    there = [number(slot.get(path)) for slot in entry.per_cpu.values() if slot is not None]
    if not there:
        raise NoMatch(found.name, f"{figure.cpu} over CPUs", len(entry.per_cpu))
    return _REDUCTIONS[figure.cpu](there)


def _entry(found: MapSnapshot, key: int | str) -> AnyEntry:
    entries = found.all()
    # An array's keys are its positions: no need to look at the others.
    if isinstance(key, int) and 0 <= key < len(entries) and _has_key(entries[key], key):
        return entries[key]
    return found.find(lambda entry: _has_key(entry, key))


def _has_key(entry: AnyEntry, key: int | str) -> bool:
    value = entry.key.value
    try:
        return value.as_str() == key if isinstance(key, str) else number(value) == key
    except SnapshotError:
        return False


def _statistic(sample: Sample, path: str) -> Number:
    """The number at a dotted path of the scheduler's statistics; digits index lists."""
    if isinstance(sample.stats, MissingStatsReason):
        raise SnapshotError(f"no statistics: {sample.stats}")
    value: object = sample.stats
    walked: list[str] = []
    for part in path.split("."):
        value = _below(value, part, ".".join(walked), path)
        walked.append(part)
    match value:
        case bool():
            return int(value)
        case int() if -(1 << 63) <= value <= U64_MAX:
            return value
        case float() if math.isfinite(value):
            return value
    raise TypeMismatch("a number of 64 bits", _kind(value), path)


def _below(value: object, part: str, where: str, path: str) -> object:
    match value:
        case Mapping():
            if part in value:
                return value[part]
            raise FieldNotFound(path, where, part, sorted(map(str, value)))
        case list():
            if part.isdecimal() and int(part) < len(value):
                return value[int(part)]
            raise FieldNotFound(path, where, part, [str(index) for index in range(len(value))])
    raise NotAStruct(path, where, part, _kind(value))


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case str():
            return "a text"
        case Mapping():
            return "a table"
        case list():
            return "a list"
    return f"{value!r:.40}"
