# SPDX-License-Identifier: GPL-2.0-only
"""A verdict in the making: claims and notes go in, an AssertResult comes out."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import TypeVar, overload

from ktstr.series.field import Number, SeriesField
from ktstr.telemetry import CgroupStats, PhaseCgroupStats, WorkerReport
from ktstr.telemetry.vectors import Samples
from ktstr.verdict.checks import Assert
from ktstr.verdict.claims import ClaimBuilder, Log, SeqClaim, SetClaim
from ktstr.verdict.detail import AssertDetail, DetailKind, NoteValue
from ktstr.verdict.field_claims import CgroupClaims, PhaseCgroupClaims, ReportClaims
from ktstr.verdict.result import AssertResult
from ktstr.verdict.temporal import SeriesClaim

T = TypeVar("T")


class Verdict:
    """Collects claims.

    ::

        verdict = Verdict()
        verdict.claim("wakeups", wakeups).at_least(3).because("a burst was asked for")
        verdict.claim_set("cpus", cpus).subset_of({0, 1}).kind(DetailKind.ISOLATION)
        result = verdict.into_result()

    :param checks: thresholds that travel with the verdict, for helpers that judge by them.
    :param log_passes: takes each confirmation as it is made; failures are in the result anyway.
    """

    __slots__ = ("_log", "_result", "checks")

    def __init__(self, checks: Assert | None = None, *, log_passes: Log | None = None) -> None:
        self.checks = Assert() if checks is None else checks
        self._log = log_passes
        self._result = AssertResult()

    def claim(self, name: str, value: T) -> ClaimBuilder[T]:
        """Start a claim about a value."""
        return ClaimBuilder(self._result, name, value, self._log)

    def claim_set(self, name: str, values: AbstractSet[T]) -> SetClaim[T]:
        """Start a claim about a set."""
        return SetClaim(self._result, name, values, self._log)

    @overload
    def claim_seq(self, name: str, values: Samples) -> SeqClaim[int]: ...
    @overload
    def claim_seq(self, name: str, values: Sequence[T]) -> SeqClaim[T]: ...
    def claim_seq(self, name: str, values: Samples | Sequence[T]) -> SeqClaim[int] | SeqClaim[T]:
        """Start a claim about a sequence or a sample vector."""
        return SeqClaim(self._result, name, values, self._log)

    def claim_series(self, field: SeriesField[Number]) -> SeriesClaim:
        """Start a claim about how a figure moves through the samples of a run."""
        return SeriesClaim(self._result, field, self._log)

    def claim_report(self, report: WorkerReport, name: str = "") -> ReportClaims:
        """Claims about a worker report by field: ``claim_report(r).max_gap_ms.at_most(50)``.

        :param name: put before the field's name, to tell several reports apart.
        """
        return ReportClaims(self._result, report, name, self._log)

    def claim_cgroup(self, stats: CgroupStats, name: str = "") -> CgroupClaims:
        """Claims about a cgroup's statistics by field."""
        return CgroupClaims(self._result, stats, name, self._log)

    def claim_phase_cgroup(self, carrier: PhaseCgroupStats, name: str = "") -> PhaseCgroupClaims:
        """Claims about a cgroup within one phase by field."""
        return PhaseCgroupClaims(self._result, carrier, name, self._log)

    def note(self, message: str) -> None:
        """Add context that is neither a failure nor a confirmation."""
        self._result.note(message)

    def note_value(self, name: str, value: NoteValue) -> None:
        """Set a measurement; :meth:`AssertResult.note_value` says what it may be."""
        self._result.note_value(name, value)

    def skip(self, reason: str) -> None:
        """Say that the scenario, or a part of it, does not apply here."""
        self._result.record_skip(AssertDetail(DetailKind.SKIP, reason))

    def skip_if(self, condition: bool, reason: str) -> bool:
        """Skip when ``condition`` holds; returned, for the caller to leave by."""
        if condition:
            self.skip(reason)
        return condition

    def inconclusive(self, reason: str, kind: DetailKind = DetailKind.OTHER) -> None:
        """Say that something could not be judged because the data is missing."""
        self._result.record_inconclusive(AssertDetail(kind, reason))

    def merge(self, other: "AssertResult | Verdict") -> None:
        """Add everything another verdict recorded, after what is here already."""
        self._result.extend(other._result if isinstance(other, Verdict) else other)

    @property
    def passed(self) -> bool:
        """Whether nothing speaks against a pass so far."""
        return self._result.is_pass()

    @property
    def detail_count(self) -> int:
        """How many failures, doubts and skips are recorded."""
        return sum(1 for outcome in self._result.outcomes if not outcome.is_pass())

    def into_result(self) -> AssertResult:
        """The result; what is claimed later still goes into it."""
        return self._result
