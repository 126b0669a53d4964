# SPDX-License-Identifier: GPL-2.0-only
"""Patterns about each sample and the next: order and rate (reference-06 section 5).

Only neighbours are compared. Where one of the two has no value the pair is passed over: a gap is
not bridged, as nobody knows what happened in it.
"""

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import TypeVar

from ktstr.series.field import Number, Point, SeriesField
from ktstr.series.values import SnapshotError
from ktstr.verdict.claims import show
from ktstr.verdict.temporal_finding import (
    Finding,
    Findings,
    Pattern,
    comparable,
    gap,
    settled,
    shortly,
)

T = TypeVar("T")

_Pair = tuple[Point[T], T, Point[T], T]


def nondecreasing(field: SeriesField[Number]) -> Findings:
    """No value is lower than the one before it."""
    return _ordered(field, Pattern(field.label, "nondecreasing"), strictly=False)


def strictly_increasing(field: SeriesField[Number]) -> Findings:
    """Every value is higher than the one before it."""
    return _ordered(field, Pattern(field.label, "strictly_increasing"), strictly=True)


def _ordered(field: SeriesField[Number], pattern: Pattern, *, strictly: bool) -> Findings:
    yield from _too_few(field, pattern)
    pairs = list(_pairs(field))
    found: list[Finding] = []
    for before, prior, point, value in pairs:
        if value > prior if strictly else value >= prior:
            continue
        what = "regression" if value < prior else "no increase"
        if not (comparable(value) and comparable(prior)):
            what = "incomparable"
        found.append(
            pattern.fail(
                f"{what} at sample {point.where}: value {show(value)} "
                f"after prior value {show(prior)} at sample {before.where}",
                point.phase,
            )
        )
    yield from _gaps(field, pattern, len(pairs))
    if pairs:
        yield from settled(found, pattern.held(len(pairs), "pair"))


def rate_within(field: SeriesField[Number], low: float, high: float) -> Findings:
    """Every value differs from the one before by ``low`` to ``high`` per millisecond between them.

    Two samples between which no time passed, or unknown time, have no rate: inconclusive.
    """
    limits = f"[{show(low)}, {show(high)}]"
    pattern = Pattern(field.label, "rate_within", f"{limits} per ms")
    if not low <= high:
        yield pattern.caller_error(f"interval inverted {limits}")
        return
    yield from _too_few(field, pattern)
    pairs = list(_pairs(field))
    found: list[Finding] = []
    for before, prior, point, value in pairs:
        between = (
            f"between sample {before.where}, value {show(prior)}, "
            f"and sample {point.where}, value {show(value)}"
        )
        elapsed_ms = _between_ms(before, point)
        if elapsed_ms is None or elapsed_ms <= 0:
            why = "unknown time" if elapsed_ms is None else f"{elapsed_ms} ms"
            found.append(pattern.doubt(f"{why} passed {between}: there is no rate", point.phase))
            continue
        rate = (value - prior) / elapsed_ms
        if not math.isfinite(rate):
            message = f"the rate is not finite ({show(rate)}) {between}"
            found.append(pattern.fail(message, point.phase))
        elif not low <= rate <= high:
            message = f"rate {shortly(rate, low, high)} per ms is outside {limits} {between}"
            found.append(pattern.fail(message, point.phase))
    yield from _gaps(field, pattern, len(pairs))
    if pairs:
        yield from settled(found, pattern.held(len(pairs), "pair"))


def _too_few(field: SeriesField[T], pattern: Pattern) -> Findings:
    if len(field) < 2:
        had = "no sample" if field.is_empty else "only one sample"
        yield pattern.vacuous(f"{had}, two are needed (num_snapshots of 2 or more)")


def _pairs(field: SeriesField[T]) -> Iterator[_Pair[T]]:
    """Neighbours that both have a value."""
    for before, point in pairwise(field.points):
        prior, value = before.value, point.value
        if not isinstance(prior, SnapshotError) and not isinstance(value, SnapshotError):
            yield before, prior, point, value


def _gaps(field: SeriesField[T], pattern: Pattern, judged: int) -> Findings:
    total = len(field) - 1
    missing = [each for point in field for each in gap(point)]
    if judged < total:
        yield from pattern.skipped(f"{total - judged} of {total} pairs", missing)


def _between_ms(before: Point[object], point: Point[object]) -> int | None:
    if before.elapsed_ms is None or point.elapsed_ms is None:
        return None
    return point.elapsed_ms - before.elapsed_ms
