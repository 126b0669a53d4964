# SPDX-License-Identifier: GPL-2.0-only
"""The identity of a phase (seed 001)."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from ktstr.telemetry.codec import integer

MAX_STEP_INDEX = 0xFFFF

StepIndex = Annotated[int, integer(0, MAX_STEP_INDEX)]
"""The encoding of a phase on the wire and in records."""


@dataclass(frozen=True, slots=True, order=True)
class Phase:
    """A window of the scenario: BASELINE, or a step counted from 0 for people.

    :param raw: the encoding of the wire, 0 for BASELINE and ``k + 1`` for ``Step[k]``.
    """

    raw: int = 0
    BASELINE: ClassVar["Phase"]

    def __post_init__(self) -> None:
        if not 0 <= self.raw <= MAX_STEP_INDEX:
            raise ValueError(f"phase {self.raw} is not within 0..{MAX_STEP_INDEX}")

    @classmethod
    def step(cls, zero_indexed: int) -> "Phase":
        """The phase of the ``zero_indexed``-th step, saturating at the largest index."""
        if zero_indexed < 0:
            raise ValueError(f"step {zero_indexed} is negative")
        return cls(min(zero_indexed + 1, MAX_STEP_INDEX))

    def is_baseline(self) -> bool:
        """Whether this is the settle window before the first step."""
        return self.raw == 0

    def as_u16(self) -> int:
        """The encoding of the wire."""
        return self.raw

    def __str__(self) -> str:
        return "BASELINE" if self.is_baseline() else f"Step[{self.raw - 1}]"


Phase.BASELINE = Phase(0)
