# SPDX-License-Identifier: GPL-2.0-only
"""Patterns about where values lie: around their mean, a target, another series, or a limit each
(reference-06 section 5). Bands are exact; no rounding puts a value outside or inside.
"""

import math
from fractions import Fraction
from typing import Final

from ktstr.series.field import Number, Point, SeriesField
from ktstr.series.values import SnapshotError
from ktstr.telemetry.decode import printable
from ktstr.verdict.claims import show
from ktstr.verdict.temporal_finding import (
    Finding,
    Findings,
    Missing,
    Pattern,
    band,
    comparable,
    gap,
    inside,
    reasons,
    rounded,
    settled,
    shortly,
)

WITNESSES: Final = 3
"""Samples in a row inside the band that show convergence."""

_Known = tuple[Point[Number], Number]


def steady_within(field: SeriesField[Number], warmup_ms: int, tolerance: float) -> Findings:
    """From ``warmup_ms`` on, every value lies within ``tolerance`` of the mean of those values.

    :param tolerance: a fraction of the mean, 0.1 for ten per cent.
    """
    pattern = Pattern(field.label, "steady_within", f"mean ± {show(tolerance)} of it")
    if not (math.isfinite(tolerance) and tolerance >= 0):
        yield pattern.caller_error(f"tolerance {show(tolerance)} is no fraction of 0 or more")
        return
    after = [point for point in field if point.elapsed_ms is None or point.elapsed_ms >= warmup_ms]
    if not after:
        yield pattern.vacuous(f"no sample at or after the warm-up of {warmup_ms} ms")
        return
    known: list[_Known] = []
    missing: list[Missing] = []
    for point in after:
        value = point.value
        if isinstance(value, SnapshotError):
            missing += gap(point)
        elif point.elapsed_ms is None:
            missing.append((point.where, SnapshotError("it may be of the warm-up")))
        elif not math.isfinite(value):
            missing.append((point.where, SnapshotError(f"its value is {show(value)}")))
        else:
            known.append((point, value))
    yield from pattern.skipped(f"{len(missing)} of {len(after)} samples", missing)
    if not known:
        yield pattern.vacuous("no sample after the warm-up has a value")
        return
    mean = sum((Fraction(value) for _, value in known), Fraction(0)) / len(known)
    spread = abs(mean) * Fraction(tolerance)  # the band of a negative mean is upright, too
    low, high = mean - spread, mean + spread
    found: list[Finding] = [
        pattern.fail(
            f"value {show(value)} at sample {point.where} is outside "
            f"[{rounded(low)}, {rounded(high)}], the mean {rounded(mean)} ± {tolerance:.4g} of it",
            point.phase,
        )
        for point, value in known
        if not inside(value, low, high)
    ]
    yield from settled(found, pattern.held(len(known), "sample"))


def converges_to(
    field: SeriesField[Number], target: float, tolerance: float, deadline_ms: int
) -> Findings:
    """Three samples in a row, the last at ``deadline_ms`` or before, lie at ``target ± tolerance``.

    A sample without a value breaks the row, as one outside the band does.
    """
    wanted = f"{show(target)} ± {show(tolerance)}"
    pattern = Pattern(field.label, "converges_to", f"{wanted} by {deadline_ms} ms")
    if not (math.isfinite(target) and math.isfinite(tolerance) and tolerance >= 0):
        yield pattern.caller_error(f"{wanted} is no band around a number")
        return
    low, high = band(target, Fraction(tolerance))
    row, longest, good = 0, 0, 0
    missing: list[Missing] = []
    last: Point[Number] | None = None
    for point in field:
        value = point.value
        if point.elapsed_ms is None:
            missing.append((point.where, SnapshotError("it may be after the deadline")))
            row = 0
        elif point.elapsed_ms > deadline_ms:
            row = 0
        elif isinstance(value, SnapshotError):
            missing += gap(point)
            row = 0
        else:
            good, last = good + 1, point
            row = row + 1 if inside(value, low, high) else 0
            longest = max(longest, row)
    if good < WITNESSES:
        yield pattern.vacuous(
            f"insufficient samples, {good} with a value by {deadline_ms} ms, {WITNESSES} are needed"
        )
        yield from pattern.skipped(f"{len(missing)} samples", missing)
        return
    if longest >= WITNESSES:
        yield from pattern.skipped(f"{len(missing)} samples", missing)
        yield pattern.held(good, "sample")
        return
    assert last is not None, "a good sample has been seen"
    ended = f"{show(last.value)} at sample {last.where}"
    broken = f"; without a value: {reasons(missing)}" if missing else ""
    yield pattern.fail(
        f"no {WITNESSES} samples in a row within {wanted} by {deadline_ms} ms: of {good} the "
        f"longest row was {longest}, the last value {ended}{broken}",
        last.phase,
    )


def ratio_within(
    field: SeriesField[Number], other: SeriesField[Number], low: float, high: float
) -> Findings:
    """Every value over that of ``other`` in the same place lies within ``low..high``."""
    limits = f"[{show(low)}, {show(high)}]"
    pattern = Pattern(field.label, "ratio_within", f"{limits} of {other.label}")
    if not low <= high:
        yield pattern.caller_error(f"interval inverted {limits}")
        return
    if len(field) != len(other):
        yield pattern.caller_error(
            f"{len(field)} samples over {len(other)} of {other.label}: they do not belong together"
        )
        return
    if field.is_empty:
        yield pattern.vacuous("no sample")
        return
    found: list[Finding] = []
    missing: list[Missing] = []
    judged = 0
    for point, beside in zip(field, other, strict=True):
        over, under = point.value, beside.value
        if isinstance(over, SnapshotError) or isinstance(under, SnapshotError):
            missing += gap(point) or gap(beside)
            continue
        judged += 1
        sides = f"{field.label} {show(over)} over {other.label} {show(under)}"
        if under == 0:
            found.append(pattern.doubt(f"no ratio at sample {point.where}: {sides}", point.phase))
            continue
        ratio = over / under
        if not math.isfinite(ratio):
            message = f"the ratio is not finite ({show(ratio)}) at sample {point.where}: {sides}"
            found.append(pattern.fail(message, point.phase))
        elif not low <= ratio <= high:
            shown = shortly(ratio, low, high)
            message = f"ratio {shown} at sample {point.where} is outside {limits}: {sides}"
            found.append(pattern.fail(message, point.phase))
    yield from pattern.skipped(f"{len(missing)} of {len(field)} pairs", missing)
    if judged:
        yield from settled(found, pattern.held(judged, "pair"))


def always_true(field: SeriesField[bool]) -> Findings:
    """Every sample has a value, and it is true."""
    pattern = Pattern(field.label, "always_true")
    if field.is_empty:
        yield pattern.vacuous("no sample")
        return
    found: list[Finding] = []
    for point in field:
        if isinstance(point.value, SnapshotError):
            found.append(_no_value(pattern, point))
        elif not point.value:
            found.append(pattern.fail(f"false at sample {point.where}", point.phase))
    yield from settled(found, pattern.held(len(field), "sample"))


def each_within(
    field: SeriesField[Number], comparator: str, low: Number | None, high: Number | None
) -> Findings:
    """Every sample has a value, which is ``low`` or more and ``high`` or less where given.

    :param comparator: what the confirmation calls it.
    """
    words = _expected(low, high)
    pattern = Pattern(field.label, "each", words)
    if low is not None and high is not None and not low <= high:
        yield pattern.caller_error(f"interval inverted [{show(low)}, {show(high)}]")
        return
    if field.is_empty:
        yield pattern.vacuous("no sample")
        return
    found: list[Finding] = []
    for point in field:
        value = point.value
        if isinstance(value, SnapshotError):
            found.append(_no_value(pattern, point))
        elif not comparable(value):
            message = f"{show(value)} at sample {point.where} is incomparable, expected {words}"
            found.append(pattern.fail(message, point.phase))
        elif not ((low is None or value >= low) and (high is None or value <= high)):
            message = f"expected {words}, was {show(value)} at sample {point.where}"
            found.append(pattern.fail(message, point.phase))
    confirmation = Pattern(field.label, comparator, words).held(len(field), "sample")
    yield from settled(found, confirmation)


def _expected(low: Number | None, high: Number | None) -> str:
    if low is None or high is None:
        return f"at most {show(high)}" if low is None else f"at least {show(low)}"
    return f"between {show(low)} and {show(high)}"


def _no_value(pattern: Pattern, point: Point[object]) -> Finding:
    why = point.value.message if isinstance(point.value, SnapshotError) else ""
    return pattern.fail(f"no value at sample {point.where}: {printable(why, 300)}", point.phase)
