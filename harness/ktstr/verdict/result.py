# SPDX-License-Identifier: GPL-2.0-only
"""The verdict of one scenario (seed 001, ``AssertResult``)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

from ktstr.metrics.scenario import ScenarioStats
from ktstr.telemetry.codec import Coded, Kind, one
from ktstr.telemetry.decode import Fields
from ktstr.verdict.detail import (
    AssertDetail,
    DetailKind,
    InfoNote,
    NoteValue,
    PassDetail,
    is_note_value,
)
from ktstr.verdict.outcome import Fail, Inconclusive, Outcome, Pass, Skip

MAX_RECORDED_PASSES = 10_000
"""Confirmations kept; one sentinel follows and the rest is dropped."""

PASSES_TRUNCATION_SENTINEL_NAME = "__ktstr_passes_truncated__"
"""Name of the last confirmation when some were dropped; test by it, never by the length."""

NOTHING_EVALUATED: Final = "no check was evaluated: the scenario asks for none"
"""The one doubt about a run that nothing was asked of."""

_MAX_RECORDS: Final = 1 << 20
"""Entries of one kind that are read back from a record."""


def _list_of(read: Callable[[Fields], Any], most: int = _MAX_RECORDS) -> Kind:
    return Kind(
        lambda fields, name: [read(part) for part in fields.maps(name, most)],
        record=lambda values: [value.to_record() for value in values],
    )


def _read_measurements(fields: Fields, name: str) -> dict[str, NoteValue]:
    values = fields.take(name)
    if type(values) is not dict:
        fields.refuse(name, values, "a map")
    for key, value in values.items():
        if type(key) is not str or not is_note_value(value):
            fields.refuse(f"{name}.{key!s:.60}", value, "a number, a boolean or a text")
    return dict(values)


@dataclass(slots=True)
class AssertResult(Coded):
    """An accumulator of outcomes; without any it is a pass that nothing stands for.

    :param passes: confirmations, bounded by :data:`MAX_RECORDED_PASSES`.
    :param measurements: named values for programs; ``info_notes`` is context for people.
    """

    outcomes: Annotated[list[Outcome], _list_of(Outcome.read)] = field(default_factory=list)
    passes: Annotated[list[PassDetail], _list_of(PassDetail.read, MAX_RECORDED_PASSES + 1)] = field(
        default_factory=list
    )
    stats: Annotated[ScenarioStats, one(ScenarioStats)] = field(default_factory=ScenarioStats)
    measurements: Annotated[dict[str, NoteValue], Kind(_read_measurements, record=dict)] = field(
        default_factory=dict
    )
    info_notes: Annotated[list[InfoNote], _list_of(InfoNote.read)] = field(default_factory=list)

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
            self.confirm(confirmation)

    def record_skip(self, detail: AssertDetail) -> None:
        """Add a check that did not apply."""
        self.outcomes.append(Skip(detail))

    def record_inconclusive(self, detail: AssertDetail) -> None:
        """Add a check that lacked data."""
        self.outcomes.append(Inconclusive(detail))

    def record_fail(self, detail: AssertDetail) -> None:
        """Add a failure."""
        self.outcomes.append(Fail(detail))

    def confirm(self, confirmation: PassDetail) -> None:
        """Add what a claim confirmed, without an outcome of its own.

        Beyond :data:`MAX_RECORDED_PASSES` one sentinel is added and the rest dropped.
        """
        if len(self.passes) < MAX_RECORDED_PASSES and (
            confirmation.name != PASSES_TRUNCATION_SENTINEL_NAME
        ):
            self.passes.append(confirmation)
        elif not self.passes_truncated():
            self.passes.append(
                PassDetail(
                    PASSES_TRUNCATION_SENTINEL_NAME,
                    "truncated",
                    f"cap={MAX_RECORDED_PASSES}",
                    phase=None,
                )
            )

    def note(self, message: str, phase: str | None = None) -> None:
        """Add context, of the current phase unless one is given."""
        self.info_notes.append(InfoNote(message) if phase is None else InfoNote(message, phase))

    def note_value(self, name: str, value: NoteValue) -> None:
        """Set a measurement.

        :raise ValueError: for what no record can carry: a float that is not finite, an integer
            beyond 64 bits.
        """
        if not is_note_value(value):
            raise ValueError(
                f"measurement {name!r} is {value!r:.60}; allowed: a boolean, a text, "
                "a finite float, an integer of 64 bits"
            )
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
        """Whether nothing was recorded that a pass could stand for."""
        return not self.outcomes and not self.passes

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

    def extend(self, other: "AssertResult") -> None:
        """Add another's records after this one's; of equal measurements the other's stays."""
        self.outcomes += other.outcomes
        for confirmation in other.passes:
            self.confirm(confirmation)
        self.stats = self.stats.merge(other.stats)
        self.measurements |= other.measurements
        self.info_notes += other.info_notes

    def merge(self, other: "AssertResult") -> "AssertResult":
        """Both verdicts' records as :meth:`extend` joins them; neither is changed."""
        merged = AssertResult(
            list(self.outcomes),
            list(self.passes),
            self.stats,
            dict(self.measurements),
            list(self.info_notes),
        )
        merged.extend(other)
        return merged


def require_evaluated(result: AssertResult) -> AssertResult:
    """``result``, made inconclusive when nothing was evaluated: silence is no pass."""
    if not result.nothing_evaluated():
        return result
    silent = AssertResult()
    silent.record_inconclusive(AssertDetail(DetailKind.OTHER, NOTHING_EVALUATED))
    return result.merge(silent)
