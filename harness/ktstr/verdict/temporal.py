# SPDX-License-Identifier: GPL-2.0-only
"""Claims about how a figure moves through the samples of a run (reference-06 section 5).

::

    verdict = Verdict()
    verdict.claim_series(dispatched).nondecreasing().rate_within(1, 500)
    verdict.claim_series(depth).each.at_most(50)
    verdict.claim_series(dispatched).ratio_across_phases(Phase.step(0), Phase.step(1)).at_most(0.9)

Patterns through time (``nondecreasing`` to ``ratio_within``) pass over a sample without a value
and leave a note; ``always_true`` and ``each`` fail for it. What had nothing to judge leaves a note
and no confirmation. Failures are of kind Temporal and name sample, time, phase and value.
"""

from collections.abc import Mapping
from typing import Self, cast

from ktstr.series.field import Number, SeriesField
from ktstr.series.phase import Phase
from ktstr.verdict.claims import Claim, Log
from ktstr.verdict.detail import DetailKind, InfoNote, PassDetail
from ktstr.verdict.outcome import Fail
from ktstr.verdict.result import AssertResult
from ktstr.verdict.temporal_bands import (
    always_true,
    converges_to,
    each_within,
    ratio_within,
    steady_within,
)
from ktstr.verdict.temporal_finding import Findings
from ktstr.verdict.temporal_pairs import nondecreasing, rate_within, strictly_increasing
from ktstr.verdict.temporal_phases import frac_pair, ratio_at_most, zip_per_phase

__all__ = [
    "CrossPhaseRatio",
    "EachClaim",
    "SeriesClaim",
    "frac_pair",
    "ratio_across_phases",
    "zip_per_phase",
]


class TemporalClaim(Claim):
    """A claim made of findings."""

    __slots__ = ()

    def __init__(self, result: AssertResult, name: str, log: Log | None = None) -> None:
        super().__init__(result, name, log)
        self._kind = DetailKind.TEMPORAL

    def _record(self, findings: Findings) -> Self:
        for finding in findings:
            match finding:
                case Fail():
                    self._failures.append((len(self._result.outcomes), finding.detail))
                    self._result.record_outcome(self._failure(finding.detail))
                case PassDetail():
                    self._result.confirm(finding)
                    if self._log is not None:
                        self._log(finding)
                case InfoNote():
                    self._result.info_notes.append(finding)
                case _:
                    self._result.record_outcome(finding)
        return self


class FieldClaim(TemporalClaim):
    """A claim about one series."""

    __slots__ = ("_field",)

    def __init__(
        self, result: AssertResult, field: SeriesField[Number], log: Log | None = None
    ) -> None:
        super().__init__(result, field.label, log)
        self._field = field


class SeriesClaim(FieldClaim):
    """Claims about one series; each goes on to the next."""

    __slots__ = ()

    def nondecreasing(self) -> Self:
        """No value is lower than the one before it."""
        return self._record(nondecreasing(self._field))

    def strictly_increasing(self) -> Self:
        """Every value is higher than the one before it."""
        return self._record(strictly_increasing(self._field))

    def rate_within(self, low: float, high: float) -> Self:
        """It changes by ``low`` to ``high`` per millisecond between neighbours."""
        return self._record(rate_within(self._field, low, high))

    def steady_within(self, warmup_ms: int, tolerance: float) -> Self:
        """From ``warmup_ms`` on it stays within that fraction of its mean."""
        return self._record(steady_within(self._field, warmup_ms, tolerance))

    def converges_to(self, target: float, tolerance: float, deadline_ms: int) -> Self:
        """By ``deadline_ms``, three samples in a row lie at ``target ± tolerance``."""
        return self._record(converges_to(self._field, target, tolerance, deadline_ms))

    def ratio_within(self, other: SeriesField[Number], low: float, high: float) -> Self:
        """Its values over those of ``other`` lie within ``low..high``."""
        return self._record(ratio_within(self._field, other, low, high))

    def always_true(self) -> Self:
        """Every sample has a value, and it is true; a number other than 0 is."""
        return self._record(always_true(cast("SeriesField[bool]", self._field)))

    @property
    def each(self) -> "EachClaim":
        """Claims about every single sample."""
        return EachClaim(self._result, self._field, self._log)

    def ratio_across_phases(self, earlier: Phase, later: Phase) -> "CrossPhaseRatio":
        """A claim about the last value of ``later`` over the last of ``earlier``."""
        values = self._field.last_per_phase()
        return CrossPhaseRatio(self._result, values, self._name, (earlier, later), self._log)


class EachClaim(FieldClaim):
    """Limits for every single sample; one without a value fails."""

    __slots__ = ()

    def at_least(self, low: Number) -> Self:
        """Every value is ``low`` or more."""
        return self._record(each_within(self._field, "ge", low, None))

    def at_most(self, high: Number) -> Self:
        """Every value is ``high`` or less."""
        return self._record(each_within(self._field, "le", None, high))

    def between(self, low: Number, high: Number) -> Self:
        """Every value lies within ``low..high``, both included; an inverted interval fails."""
        return self._record(each_within(self._field, "in_range", low, high))


class CrossPhaseRatio(TemporalClaim):
    """A claim about the figure of one phase over that of an earlier one."""

    __slots__ = ("_phases", "_values")

    def __init__(
        self,
        result: AssertResult,
        values: Mapping[Phase, Number],
        label: str,
        phases: tuple[Phase, Phase],
        log: Log | None = None,
    ) -> None:
        super().__init__(result, label, log)
        self._values = values
        self._phases = phases

    def at_most(self, ceiling: float) -> Self:
        """The ratio is ``ceiling`` or less; without a ratio it is inconclusive."""
        return self._record(ratio_at_most(self._values, self._name, self._phases, ceiling))


def ratio_across_phases(
    result: AssertResult,
    values: Mapping[Phase, Number],
    label: str,
    earlier: Phase,
    later: Phase,
) -> CrossPhaseRatio:
    """A claim about figures that were reduced to one per phase already."""
    return CrossPhaseRatio(result, values, label, (earlier, later))
