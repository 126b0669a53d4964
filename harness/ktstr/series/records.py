# SPDX-License-Identifier: GPL-2.0-only
"""A series as plain tables: one per sample, figures by flat names."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from ktstr.series.entry import Sample
from ktstr.series.snapshot import Snapshot
from ktstr.series.stats_reason import MissingStatsReason
from ktstr.series.values import (
    Array,
    Bool,
    Char,
    CpuList,
    Enum,
    Float,
    Int,
    RenderedValue,
    Struct,
    Uint,
)

MAX_FIGURES: Final = 4096
"""Figures of one sample that are listed; arrays give one for each element."""
MAX_ELEMENTS: Final = 64
"""Elements of one array that are listed."""

_CPU_FIGURES: Final = (
    "nr_running",
    "scx_nr_running",
    "local_dsq_depth",
    "nr_switches",
    "clock",
)
_STAMPS: Final = ("tag", "elapsed_ms", "boundary_offset_ms", "step_index", "phase", "error")
Scalar = int | float | bool | str


def series_records(samples: Sequence[Sample]) -> list[dict[str, object]]:
    """One table per sample."""
    return [_record(sample) for sample in samples]


def series_columns(
    samples: Sequence[Sample],
) -> tuple[npt.NDArray[np.float64], dict[str, npt.NDArray[np.float64]]]:
    """Times in ms and every number by its flat name, NaN where a sample lacks it."""
    records = [dict(_figures(sample)) for sample in samples]
    names = dict.fromkeys(
        name for record in records for name, value in record.items() if not isinstance(value, str)
    )
    times = [math.nan if s.elapsed_ms is None else s.elapsed_ms for s in samples]
    return np.array(times, dtype=np.float64), {
        name: np.array([_number(record.get(name)) for record in records], dtype=np.float64)
        for name in names
    }


def _number(value: Scalar | None) -> float:
    return math.nan if value is None or isinstance(value, str) else float(value)


def _record(sample: Sample) -> dict[str, object]:
    stamps = {name: getattr(sample, name) for name in _STAMPS}
    stamps["phase"] = None if sample.phase is None else str(sample.phase)
    return stamps | dict(_figures(sample))


def _figures(sample: Sample) -> dict[str, Scalar]:
    found: dict[str, Scalar] = {}
    for name, value in _all_figures(sample):
        if len(found) >= MAX_FIGURES:
            break
        found[name] = value
    return found


def _all_figures(sample: Sample) -> Iterator[tuple[str, Scalar]]:
    snapshot = sample.snapshot
    if isinstance(snapshot, Snapshot):
        for name, count in (snapshot.sched_ext.events or {}).items():
            yield f"scx.{name}", count
        for cpu in snapshot.cpus:
            for name in _CPU_FIGURES:
                reading = getattr(cpu, name)
                if reading is not None:
                    yield f"cpu.{cpu.cpu}.{name}", reading
        yield from _variables(snapshot)
    if not isinstance(sample.stats, MissingStatsReason):
        for path, value in plain_figures(sample.stats):
            yield ".".join(("stats", *path)), value


def _variables(snapshot: Snapshot) -> Iterator[tuple[str, Scalar]]:
    ids = snapshot.active_maps
    for found in snapshot.maps:
        if found.is_globals and found.value is not None and (ids is None or found.id in ids):
            value = found.value.value
            if isinstance(value, Struct):
                yield from _rendered("var", value)


def _rendered(name: str, value: RenderedValue) -> Iterator[tuple[str, Scalar]]:
    value = value.peeled()
    match value:
        case Struct():
            for label, inner in value.members:
                yield from _rendered(f"{name}.{label}" if label else name, inner)
        case Array() if value.elements and all(isinstance(e, Char) for e in value.elements):
            yield name, value.as_str()
        case Array():
            for index, inner in enumerate(value.elements[:MAX_ELEMENTS]):
                yield from _rendered(f"{name}.{index}", inner)
        case Enum():
            yield name, value.variant if value.variant is not None else value.value
        case Int() | Uint() | Bool() | Float() | Char():
            yield name, value.value
        case CpuList():
            yield name, value.cpus


def plain_figures(
    value: object, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Scalar]]:
    """Every figure below a plain value with the keys that lead to it, which may contain dots."""
    match value:
        case Mapping():
            for key, inner in value.items():
                yield from plain_figures(inner, (*path, str(key)))
        case list():
            for index, inner in enumerate(value[:MAX_ELEMENTS]):
                yield from plain_figures(inner, (*path, str(index)))
        case bool() | int() | float() | str():
            yield path, value
