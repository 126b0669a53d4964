# SPDX-License-Identifier: GPL-2.0-only
"""What a verdict says to people: failure details, confirmations and notes (reference-06, 9)."""

import math
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, Final

from ktstr.telemetry.codec import Coded, Kind, text, text_or_nil
from ktstr.telemetry.decode import Fields
from ktstr.telemetry.vectors import U64_MAX
from ktstr.verdict.phase_label import current_phase_label

NoteValue = int | float | bool | str
"""A measurement attached to a verdict: an integer of 64 bits, signed or not, a finite float, a
boolean or a text. ``1``, ``1.0`` and ``True`` stay three different things."""

MAX_TEXT: Final = 1 << 20
"""Longest text a record may hold, in characters."""

_SCALAR: Final = ("eq", "ne", "ge", "le", "lt", "gt", "in_range", "near_within", "is_finite")
_MANY: Final = ("is_empty", "is_non_empty", "len_eq", "len_le", "len_ge", "contains")

COMPARATOR_VOCABULARY: Final = frozenset(
    (
        *_SCALAR,
        *(f"set_{token}" for token in _MANY),
        *("subset_of", "disjoint_from"),
        *(f"sequence_{token}" for token in _MANY),
    )
)
"""The 23 tokens a claim's confirmation takes its comparator from."""

TEMPORAL_VOCABULARY: Final = frozenset(
    (
        *("nondecreasing", "strictly_increasing", "rate_within"),
        *("steady_within", "converges_to", "always_true", "ratio_within"),
    )
)
"""The patterns of a series, which are the comparators of their confirmations."""


class DetailKind(Enum):
    """What a failure is about."""

    NO_PROGRESS = "NoProgress"
    STUCK = "Stuck"
    UNFAIR = "Unfair"
    ISOLATION = "Isolation"
    BENCHMARK = "Benchmark"
    MIGRATION = "Migration"
    PAGE_LOCALITY = "PageLocality"
    CROSS_NODE_MIGRATION = "CrossNodeMigration"
    SLOW_TIER = "SlowTier"
    MONITOR = "Monitor"
    SCHEDULER_CRASHED = "SchedulerCrashed"
    SCHEDULER_EXITED_CLEANLY = "SchedulerExitedCleanly"
    SCHEDULER_DIED_UNKNOWN_REASON = "SchedulerDiedUnknownReason"
    SCHEDULER_EVENT = "SchedulerEvent"
    TEMPORAL = "Temporal"
    WORKER_STUCK = "WorkerStuck"
    SKIP = "Skip"
    OTHER = "Other"


def _read_kind(fields: Fields, name: str) -> DetailKind:
    value = fields.text(name, 64)
    try:
        return DetailKind(value)
    except ValueError:
        fields.refuse(name, value, f"one of {', '.join(kind.value for kind in DetailKind)}")


def _kind_name(kind: DetailKind) -> str:
    return kind.value


_KindOf = Annotated[DetailKind, Kind(_read_kind, wire=_kind_name, record=_kind_name)]
_Text = Annotated[str, text(MAX_TEXT)]
_TextOrNone = Annotated[str | None, text_or_nil(MAX_TEXT)]


@dataclass(frozen=True, slots=True)
class AssertDetail(Coded):
    """Why something failed, was skipped or could not be judged.

    :param phase: label of the phase it happened in; that of the current
        :func:`~ktstr.verdict.phase_label.phase_label` block unless given.
    """

    kind: _KindOf
    message: _Text
    phase: _TextOrNone = field(default_factory=current_phase_label)

    def display_with_kind(self) -> str:
        """``[Kind] message``."""
        return f"[{self.kind.value}] {self.message}"


@dataclass(frozen=True, slots=True)
class PassDetail(Coded):
    """One confirmed claim.

    :param comparator: a token of :data:`COMPARATOR_VOCABULARY` or :data:`TEMPORAL_VOCABULARY`.
    :param expected: the limit, for comparators that have one.
    :param phase: as in :class:`AssertDetail`.
    """

    name: _Text
    comparator: _Text
    value: _Text
    expected: _TextOrNone = None
    phase: _TextOrNone = field(default_factory=current_phase_label)


@dataclass(frozen=True, slots=True)
class InfoNote(Coded):
    """Context that is neither a failure nor a confirmation.

    :param phase: as in :class:`AssertDetail`.
    """

    message: _Text
    phase: _TextOrNone = field(default_factory=current_phase_label)


def is_note_value(value: object) -> bool:
    """Whether ``value`` can be recorded as a measurement and read back as the same."""
    if type(value) is int:
        return -(1 << 63) <= value <= U64_MAX
    if type(value) is float:
        return math.isfinite(value)
    return type(value) is bool or (type(value) is str and len(value) <= MAX_TEXT)
