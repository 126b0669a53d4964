# SPDX-License-Identifier: GPL-2.0-only
"""``[[checks.temporal]]``: how a figure has to move through a run's snapshots."""

from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import Field, StrictFloat, StrictInt, StrictStr

from ktstr.model.fields import DurationMs, Table
from ktstr.model.phase_words import PhaseWord

SOURCES: Final = ("var", "map", "stats")
"""Keys of which a figure has exactly one."""

Reduction = Literal["last", "delta"]
Across = Literal["sum", "max", "min"]


def _text(pattern: str, allowed: str) -> Any:
    return Field(pattern=pattern, max_length=256, json_schema_extra={"x-allowed": allowed})


_Dotted = r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*$"

VarPath = Annotated[
    str, _text(_Dotted, "a global variable of the scheduler, parts after dots (live.last_dispatch)")
]
FieldPath = Annotated[str, _text(_Dotted, "a member of the value, parts after dots")]
MapName = Annotated[str, _text(r"^[A-Za-z0-9_.]{1,15}$", "the name of a BPF map, at most 15 long")]
StatsPath = Annotated[
    str,
    _text(r"^[^.\s]+(\.[^.\s]+)*$", "a path in the statistics, parts after dots (layers.a.util)"),
]
CpuChoice = Annotated[
    Annotated[StrictInt, Field(ge=0, le=4095)] | Across,
    Field(json_schema_extra={"x-allowed": 'a CPU number, or "sum", "max" or "min" over all CPUs'}),
]
_KEY_ALLOWED: Final = "an integer, or a text of at most 256 characters"
MapKey = Annotated[
    Annotated[StrictInt, Field(ge=-(1 << 63), le=(1 << 64) - 1)]
    | Annotated[StrictStr, Field(max_length=256)],
    Field(json_schema_extra={"x-allowed": _KEY_ALLOWED}),
]
_Limit = Annotated[StrictFloat, Field(allow_inf_nan=False)]
_Tolerance = Annotated[StrictFloat, Field(ge=0, allow_inf_nan=False)]

PatternName = Literal[
    "nondecreasing",
    "strictly_increasing",
    "rate_within",
    "steady_within",
    "converges_to",
    "always_true",
    "ratio_within",
    "each",
    "ratio_across_phases",
]


@dataclass(frozen=True, slots=True)
class PatternKeys:
    """What a pattern takes beside the figure.

    :param needs: keys it cannot do without.
    :param bounded: whether it needs one of ``at_least`` and ``at_most``, or both.
    :param takes: keys it can do without.
    :param samples: fewest snapshots it can judge.
    """

    needs: tuple[str, ...] = ()
    bounded: bool = False
    takes: tuple[str, ...] = ("phase", "per")
    samples: int = 1

    @property
    def keys(self) -> tuple[str, ...]:
        """Every key it takes."""
        return (*self.needs, *(("at_least", "at_most") if self.bounded else ()), *self.takes)


_PARTS: Final = ("phase", "per")

PATTERNS: Final[dict[str, PatternKeys]] = {
    "nondecreasing": PatternKeys(samples=2),
    "strictly_increasing": PatternKeys(samples=2),
    "rate_within": PatternKeys(bounded=True, samples=2),
    "steady_within": PatternKeys(needs=("tolerance",), takes=("warmup", *_PARTS)),
    "converges_to": PatternKeys(needs=("target", "tolerance", "deadline"), samples=3),
    "always_true": PatternKeys(),
    "ratio_within": PatternKeys(needs=("over",), bounded=True),
    "each": PatternKeys(bounded=True),
    "ratio_across_phases": PatternKeys(
        needs=("earlier", "later", "at_most"), takes=("reduce",), samples=2
    ),
}
"""Patterns by name."""

PARAMETERS: Final = tuple(dict.fromkeys(key for found in PATTERNS.values() for key in found.keys))
"""Every key that belongs to some patterns and not to others."""


class Figure(Table):
    """One number of every snapshot: a variable, a map's entry, or of the statistics."""

    var: VarPath | None = None
    map: MapName | None = None
    key: MapKey | None = None
    cpu: CpuChoice | None = None
    field: FieldPath | None = None
    stats: StatsPath | None = None

    def sources(self) -> list[str]:
        """Which sources are given."""
        return [name for name in SOURCES if getattr(self, name) is not None]

    @property
    def label(self) -> str:
        """What messages call it."""
        if self.map is None:
            return self.var or f"stats.{self.stats}"
        key = "" if self.key is None else f"[{self.key}]"
        cpu = "" if self.cpu is None else f"@{self.cpu}"
        return f"{self.map}{key}{cpu}" + ("" if self.field is None else f".{self.field}")


class Temporal(Figure):
    """One pattern asked of one figure."""

    pattern: PatternName
    phase: PhaseWord | None = None
    per: Literal["run", "phase"] | None = Field(default=None, json_schema_extra={"default": "run"})
    at_least: _Limit | None = None
    at_most: _Limit | None = None
    tolerance: _Tolerance | None = None
    warmup: DurationMs | None = Field(default=None, json_schema_extra={"default": "0s"})
    target: _Limit | None = None
    deadline: DurationMs | None = None
    over: Figure | None = None
    earlier: PhaseWord | None = None
    later: PhaseWord | None = None
    reduce: Reduction | None = Field(default=None, json_schema_extra={"default": "last"})

    @property
    def wants(self) -> PatternKeys:
        """What its pattern takes."""
        return PATTERNS[self.pattern]

    @property
    def samples(self) -> int:
        """Fewest snapshots, in one phase where it speaks of phases, that it can judge."""
        if self.pattern != "ratio_across_phases":
            return self.wants.samples
        return 2 if self.reduce == "delta" else 1

    def given(self) -> list[str]:
        """Parameters that are set."""
        return [name for name in PARAMETERS if getattr(self, name) is not None]

    def plain(self) -> dict[str, Any]:
        """The keys that are set."""
        return self.model_dump(exclude_none=True)
