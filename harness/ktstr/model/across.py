# SPDX-License-Identifier: GPL-2.0-only
"""``[[checks.across]]``: a metric of one phase held against the same metric of another."""

from typing import Annotated, Any, Final

from pydantic import Field, StrictBool, StrictFloat

from ktstr.model.checks import Checks
from ktstr.model.fields import CgroupName, Table
from ktstr.model.phase_words import PhaseWord
from ktstr.model.temporal import Temporal

COMPARATORS: Final = ("at_least", "at_most", "better", "better_by")
"""Keys of which a comparison has exactly one."""


def _text(pattern: str, allowed: str) -> Any:
    return Field(pattern=pattern, max_length=64, json_schema_extra={"x-allowed": allowed})


MetricName = Annotated[
    str, _text("^[a-z][a-z0-9_]*$", "the name of a metric (`ktstr metrics` lists them)")
]

_Factor = Annotated[StrictFloat, Field(gt=0, allow_inf_nan=False)]
_Margin = Annotated[StrictFloat, Field(ge=0, allow_inf_nan=False)]


class Across(Table):
    """One comparison: ``phase`` over ``against``, or which of the two is better."""

    metric: MetricName
    phase: PhaseWord
    against: PhaseWord
    cgroup: CgroupName | None = None
    at_least: _Factor | None = None
    at_most: _Factor | None = None
    better: StrictBool | None = None
    better_by: _Margin | None = None

    def comparators(self) -> list[str]:
        """Which comparators are asked for; ``better = false`` asks for nothing."""
        found = ((name, getattr(self, name)) for name in COMPARATORS)
        return [name for name, value in found if value is not None and value is not False]

    def plain(self) -> dict[str, str | bool | float]:
        """The keys that are set."""
        return {name: value for name, value in self if value is not None}


class ScenarioChecks(Checks):
    """The ``[checks]`` table; its lists speak of steps, which a scheduler knows nothing of."""

    across: Annotated[tuple[Across, ...], Field(max_length=64)] = ()
    temporal: Annotated[tuple[Temporal, ...], Field(max_length=64)] = ()
