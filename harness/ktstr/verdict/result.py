# SPDX-License-Identifier: GPL-2.0-only
"""The verdict of one scenario (seed 001, ``AssertResult``)."""

import math
from dataclasses import dataclass, field

from ktstr.errors import ExitCode
from ktstr.metrics.scenario import ScenarioStats
from ktstr.telemetry.plain import to_plain
from ktstr.verdict.detail import AssertDetail, DetailKind, InfoNote, NoteValue, PassDetail
from ktstr.verdict.outcome import Fail, Inconclusive, Outcome, Pass, Skip

MAX_RECORDED_PASSES = 10_000
"""Confirmations kept; one sentinel follows and the rest is dropped."""

PASSES_TRUNCATION_SENTINEL_NAME = "__ktstr_passes_truncated__"
"""Name of the last confirmation when some were dropped; test by it, never by the length."""


@dataclass(slots=True)
class AssertResult:
    """An accumulator of outcomes; without any it is a pass that nothing stands for.

    :param passes: confirmations, bounded by :data:`MAX_RECORDED_PASSES`.
    :param measurements: named values for programs; ``info_notes`` is context for people.
    """

    outcomes: list[Outcome] = field(default_factory=list)
    passes: list[PassDetail] = field(default_factory=list)
    stats: ScenarioStats = field(default_factory=ScenarioStats)
    measurements: dict[str, NoteValue] = field(default_factory=dict)
    info_notes: list[InfoNote] = field(default_factory=list)

    @classmethod
    def pass_(cls) -> "AssertResult":
        """Nothing recorded yet."""
        return cls()

    @classmethod
    def skip(cls, reason: str) -> "AssertResult":
        """A scenario that does not apply here."""
        result = cls()
        result.record_skip(AssertDetail(DetailKind.SKIP, reason))
        return result

    @classmethod
    def fail(cls, detail: AssertDetail) -> "AssertResult":
        """A scenario that failed."""
        result = cls()
        result.record_fail(detail)
        return result

    def record_outcome(self, outcome: Outcome) -> None:
        """Add any outcome."""
        self.outcomes.append(outcome)

    def record_pass(self, confirmation: PassDetail | None = None) -> None:
        """Add a pass, and what it confirmed."""
        self.outcomes.append(Pass())
        if confirmation is not None:
            self._confirm(confirmation)

    def record_skip(self, detail: AssertDetail) -> None:
        """Add a check that did not apply."""
        self.outcomes.append(Skip(detail))

    def record_inconclusive(self, detail: AssertDetail) -> None:
        """Add a check that lacked data."""
        self.outcomes.append(Inconclusive(detail))

    def record_fail(self, detail: AssertDetail) -> None:
        """Add a failure."""
        self.outcomes.append(Fail(detail))

    def note(self, message: str, phase: str | None = None) -> None:
        """Add context."""
        self.info_notes.append(InfoNote(message, phase))

    def note_value(self, name: str, value: NoteValue) -> None:
        """Set a measurement.

        :raise ValueError: for a float that is not finite: no record could carry it.
        """
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"measurement {name!r} is {value}; only finite numbers are recorded")
        self.measurements[name] = value

    def outcome(self) -> Outcome:
        """The verdict: Fail over Inconclusive over Pass over Skip, whatever the order."""
        return Outcome.strongest(self.outcomes)

    def is_pass(self) -> bool:
        """Whether the verdict is Pass."""
        return self.outcome().is_pass()

    def is_fail(self) -> bool:
        """Whether the verdict is Fail."""
        return self.outcome().is_fail()

    def is_inconclusive(self) -> bool:
        """Whether the verdict is Inconclusive."""
        return self.outcome().is_inconclusive()

    def is_skip(self) -> bool:
        """Whether the verdict is Skip."""
        return self.outcome().is_skip()

    def nothing_evaluated(self) -> bool:
        """Whether no outcome was recorded at all, so that the pass means nothing."""
        return not self.outcomes

    def failure_details(self) -> list[AssertDetail]:
        """Details of all failures, in the order recorded."""
        return [outcome.detail for outcome in self.outcomes if isinstance(outcome, Fail)]

    def inconclusive_details(self) -> list[AssertDetail]:
        """Details of everything that lacked data."""
        return [outcome.detail for outcome in self.outcomes if isinstance(outcome, Inconclusive)]

    def skip_details(self) -> list[AssertDetail]:
        """Details of everything that did not apply."""
        return [outcome.detail for outcome in self.outcomes if isinstance(outcome, Skip)]

    def passes_truncated(self) -> bool:
        """Whether confirmations were dropped."""
        return bool(self.passes) and self.passes[-1].name == PASSES_TRUNCATION_SENTINEL_NAME

    def merge(self, other: "AssertResult") -> "AssertResult":
        """Both verdicts' records in order; a measurement of the same name comes from ``other``."""
        merged = AssertResult(
            outcomes=self.outcomes + other.outcomes,
            passes=list(self.passes),
            stats=self.stats.merge(other.stats),
            measurements=self.measurements | other.measurements,
            info_notes=self.info_notes + other.info_notes,
        )
        for confirmation in other.passes:
            merged._confirm(confirmation)
        return merged

    def _confirm(self, confirmation: PassDetail) -> None:
        if len(self.passes) < MAX_RECORDED_PASSES and (
            confirmation.name != PASSES_TRUNCATION_SENTINEL_NAME
        ):
            self.passes.append(confirmation)
        elif not self.passes_truncated():
            self.passes.append(
                PassDetail(
                    PASSES_TRUNCATION_SENTINEL_NAME, "truncated", f"cap={MAX_RECORDED_PASSES}"
                )
            )

    def to_plain(self) -> dict[str, object]:
        """JSON-ready."""
        return {
            "outcome": self.outcome().name,
            "outcomes": [
                {"outcome": outcome.name, "detail": to_plain(getattr(outcome, "detail", None))}
                for outcome in self.outcomes
            ],
            "passes": to_plain(self.passes),
            "stats": self.stats.to_plain(),
            "measurements": to_plain(self.measurements),
            "info_notes": to_plain(self.info_notes),
        }


def require_evaluated(result: AssertResult) -> AssertResult:
    """``result``, made inconclusive when nothing was evaluated: silence is no pass."""
    if not result.nothing_evaluated():
        return result
    silent = AssertResult()
    silent.record_inconclusive(
        AssertDetail(DetailKind.OTHER, "no check was evaluated: the scenario asks for none")
    )
    return result.merge(silent)


_EXIT_CODES = {
    "Pass": ExitCode.PASS,
    "Skip": ExitCode.PASS,
    "Fail": ExitCode.FAIL,
    "Inconclusive": ExitCode.INCONCLUSIVE,
}


def exit_code(result: AssertResult) -> ExitCode:
    """Exit status of the verdict; one in which nothing was evaluated is inconclusive."""
    return _EXIT_CODES[require_evaluated(result).outcome().name]
