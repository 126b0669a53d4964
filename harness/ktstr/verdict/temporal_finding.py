# SPDX-License-Identifier: GPL-2.0-only
"""What a temporal pattern may say of a series, and how it names samples and gaps.

Patterns that follow a figure through time pass over a sample without a value and say so in a note;
they neither hold nor fail for what is not there. Patterns about every single sample fail for it.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from typing import Any, Final

from ktstr.series.field import Point
from ktstr.series.phase import Phase
from ktstr.series.values import SnapshotError
from ktstr.telemetry.decode import printable
from ktstr.verdict.claims import show
from ktstr.verdict.detail import AssertDetail, DetailKind, InfoNote, PassDetail
from ktstr.verdict.outcome import Fail, Inconclusive
from ktstr.verdict.phase_label import current_phase_label

Finding = Fail | Inconclusive | InfoNote | PassDetail
Findings = Iterator[Finding]

Missing = tuple[str, SnapshotError]
"""A sample by name, and why it has no value."""

MAX_NAMED: Final = 4
"""Samples, and different reasons, that one note about gaps spells out."""


class Pattern:
    """One pattern asked of one series: the words in front of everything it says.

    :param name: of the pattern; the comparator of its confirmation.
    :param limits: what the confirmation was held against, in words.
    """

    __slots__ = ("_label", "_limits", "_name")

    def __init__(self, label: str, name: str, limits: str | None = None) -> None:
        self._label = label
        self._name = name
        self._limits = limits

    def fail(self, message: str, phase: Phase | None = None) -> Fail:
        """It does not hold."""
        return Fail(self._detail(message, phase))

    def doubt(self, message: str, phase: Phase | None = None) -> Inconclusive:
        """It cannot be judged."""
        return Inconclusive(self._detail(message, phase))

    def caller_error(self, message: str) -> Fail:
        """It was asked for with limits that nothing can be held against."""
        return self.fail(f"caller error: {message}")

    def note(self, message: str) -> InfoNote:
        """Context."""
        return InfoNote(f"{self._label} ({self._name}): {message}")

    def vacuous(self, message: str) -> InfoNote:
        """Nothing there to judge."""
        return self.note(f"{message}, so it holds for want of anything to judge")

    def held(self, count: int, what: str) -> PassDetail:
        """It holds for as many samples or pairs of samples."""
        plural = "" if count == 1 else "s"
        return PassDetail(self._label, self._name, f"{count} {what}{plural}", self._limits)

    def skipped(
        self, what: str, missing: Sequence[tuple[str, SnapshotError]]
    ) -> Iterator[InfoNote]:
        """A note of what was passed over and why, none when nothing was.

        :param missing: samples by name, with the reason there is no value.
        """
        if missing:
            yield self.note(f"skipped {what}: {reasons(missing)}")

    def _detail(self, message: str, phase: Phase | None) -> AssertDetail:
        label = current_phase_label() if phase is None else str(phase)
        text = f"{self._label} ({self._name}): {message}"
        return AssertDetail(DetailKind.TEMPORAL, text, label)


def gap(point: Point[object]) -> list[Missing]:
    """The sample and its reason, when it has no value."""
    return [(point.where, point.value)] if isinstance(point.value, SnapshotError) else []


def reasons(missing: Iterable[Missing]) -> str:
    """Why there is no value, each reason once behind the samples that have it."""
    grouped: dict[str, list[str]] = {}
    for where, error in missing:
        grouped.setdefault(printable(error.message, 300), []).append(where)
    said = [f"{_listed(samples)}: {why}" for why, samples in list(grouped.items())[:MAX_NAMED]]
    if len(grouped) > MAX_NAMED:
        said.append(f"and {len(grouped) - MAX_NAMED} more reasons")
    return "; ".join(said)


def _listed(samples: Sequence[str]) -> str:
    more = f" and {len(samples) - MAX_NAMED} more" if len(samples) > MAX_NAMED else ""
    return ", ".join(samples[:MAX_NAMED]) + more


def settled(found: Sequence[Finding], confirmation: PassDetail) -> Findings:
    """What was found, and the confirmation when nothing speaks against it."""
    yield from found
    if not any(isinstance(finding, Fail | Inconclusive) for finding in found):
        yield confirmation


def band(center: float, tolerance: Fraction) -> tuple[Fraction, Fraction]:
    """``center ± tolerance``, exactly."""
    return Fraction(center) - tolerance, Fraction(center) + tolerance


def inside(value: float, low: Fraction, high: Fraction) -> bool:
    """Whether ``low <= value <= high``, without rounding; nothing infinite or NaN is."""
    return math.isfinite(value) and low <= value <= high


def rounded(value: Fraction) -> str:
    """An exact number for a message."""
    try:
        return f"{float(value):.6g}"
    except OverflowError:
        return "inf" if value > 0 else "-inf"


def shortly(value: float, low: float, high: float) -> str:
    """A number outside ``low..high`` to six digits, to more where six would put it inside."""
    text = f"{value:.6g}"
    return show(value) if low <= float(text) <= high else text


def comparable(value: Any) -> bool:
    """Whether it is anything but NaN, which no comparison holds for."""
    return bool(value == value)
