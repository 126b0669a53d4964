# SPDX-License-Identifier: GPL-2.0-only
"""The scheduler's numbers at every snapshot: its global variables, and the statistics it serves."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from ktstr.report.page.limits import Limits
from ktstr.report.page.schema import CaptureData, CounterData, Number
from ktstr.report.printable import one_line
from ktstr.series.sample import MissingStatsReason, Sample
from ktstr.series.snapshot import Snapshot
from ktstr.series.values import Array, Bool, Enum, Float, Int, RenderedValue, Struct, Uint
from ktstr.session.record import RunRecord

STATS: Final = "stats"
NAME_CHARS: Final = 120
MAX_DEPTH: Final = 4
MAX_ELEMENTS: Final = 32
"""Elements of an array that are followed one by one."""

MAX_LEAVES: Final = 4096
"""Numbers of one snapshot that are looked at."""

EXACT: Final = 1 << 53
"""Integers up to here are numbers in every reader of JSON."""

Value = Number | str | None
_Key = tuple[str, str]


def counter_data(record: RunRecord, limits: Limits) -> tuple[CaptureData, list[CounterData], int]:
    """The snapshots' times, the numbers, and how many of these were left out.

    What changed during the run stands before what did not; constants of ``.rodata`` are no
    counters.
    """
    samples = [s for s in record.samples.iter_samples() if _time(s) is not None]
    samples.sort(key=lambda sample: _time(sample) or 0)
    samples = samples[: limits.captures]
    captures: CaptureData = {
        "at_ms": [_time(sample) or 0 for sample in samples],
        "tags": [one_line(sample.tag, NAME_CHARS) for sample in samples],
    }
    found: dict[_Key, list[Value]] = {}
    for place, sample in enumerate(samples):
        for key, value in _bounded(_numbers(sample)):
            if key not in found:
                if len(found) >= MAX_LEAVES:
                    continue
                found[key] = [None] * len(samples)
            found[key][place] = value
    most = min(limits.counters, limits.counter_cells // max(len(samples), 1))
    order = sorted(found, key=lambda key: (not _changes(found[key]), key[0] == STATS))
    kept: list[CounterData] = [
        {
            "holder": one_line(key[0], NAME_CHARS),
            "name": one_line(key[1], NAME_CHARS),
            "values": found[key],
        }
        for key in order[:most]
    ]
    return captures, kept, len(found) - len(kept)


def _time(sample: Sample) -> int | None:
    # Rates are taken between the moments at which counters were read, not those planned.
    return sample.elapsed_ms if sample.elapsed_ms is not None else sample.boundary_offset_ms


def _changes(values: Sequence[Value]) -> bool:
    return len({value for value in values if value is not None}) > 1


def _bounded(found: Iterator[tuple[_Key, Value]]) -> Iterator[tuple[_Key, Value]]:
    for _, item in zip(range(MAX_LEAVES), found, strict=False):
        yield item


def _numbers(sample: Sample) -> Iterator[tuple[_Key, Value]]:
    snapshot = sample.snapshot
    if isinstance(snapshot, Snapshot):
        active = snapshot.active_maps
        for found in snapshot.maps:
            mine = active is None or found.id in active
            if mine and found.is_globals and found.value is not None:
                if ".rodata" in found.name:
                    continue
                for name, value in _leaves(found.value.value, "", 0):
                    yield (found.name, name), value
    if not isinstance(sample.stats, MissingStatsReason):
        for name, value in _plain(sample.stats, "", 0):
            yield (STATS, name), value


def _leaves(value: RenderedValue, path: str, depth: int) -> Iterator[tuple[str, Value]]:
    # Pointers are left alone: addresses are no counters, and what is behind them may be anything.
    match value:
        case Int() | Uint() | Bool() | Enum():
            yield path, exact(int(value.value))
        case Float():
            yield path, exact(value.value)
        case Struct() if depth < MAX_DEPTH:
            for name, inner in value.members:
                yield from _leaves(
                    inner, f"{path}.{name}" if path and name else path + name, depth + 1
                )
        case Array() if depth < MAX_DEPTH:
            for place, inner in enumerate(value.elements[:MAX_ELEMENTS]):
                yield from _leaves(inner, f"{path}[{place}]", depth + 1)


def _plain(value: object, path: str, depth: int) -> Iterator[tuple[str, Value]]:
    if isinstance(value, bool | int | float):
        yield path, exact(value)
    elif depth < MAX_DEPTH and isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _plain(inner, f"{path}.{name}" if path else str(name), depth + 1)
    elif depth < MAX_DEPTH and isinstance(value, list | tuple):
        for place, inner in enumerate(value[:MAX_ELEMENTS]):
            yield from _plain(inner, f"{path}[{place}]", depth + 1)


def exact(value: Number) -> Value:
    """As JSON carries it without loss: large integers as text, ``None`` for no number."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return int(value) if abs(value) <= EXACT else str(value)
