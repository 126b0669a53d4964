# SPDX-License-Identifier: GPL-2.0-only
"""The four outcomes and which of them speaks for all."""

from collections.abc import Iterable
from dataclasses import dataclass

from ktstr.verdict.detail import AssertDetail


class Outcome:
    """One of Fail, Inconclusive, Pass, Skip."""

    __slots__ = ()

    @property
    def name(self) -> str:
        """``"Fail"``, ``"Inconclusive"``, ``"Pass"`` or ``"Skip"``."""
        return type(self).__name__

    def is_pass(self) -> bool:
        """Whether it is a Pass."""
        return isinstance(self, Pass)

    def is_skip(self) -> bool:
        """Whether it is a Skip."""
        return isinstance(self, Skip)

    def is_inconclusive(self) -> bool:
        """Whether it is Inconclusive."""
        return isinstance(self, Inconclusive)

    def is_fail(self) -> bool:
        """Whether it is a Fail."""
        return isinstance(self, Fail)

    @staticmethod
    def strongest(outcomes: Iterable["Outcome"]) -> "Outcome":
        """The first of the strongest kind; a Pass when there is none at all."""
        found = list(outcomes)
        for kind in (Fail, Inconclusive, Pass, Skip):
            for outcome in found:
                if isinstance(outcome, kind):
                    return outcome
        return Pass()


@dataclass(frozen=True, slots=True)
class Pass(Outcome):
    """A check held."""


@dataclass(frozen=True, slots=True)
class Skip(Outcome):
    """A check did not apply here."""

    detail: AssertDetail


@dataclass(frozen=True, slots=True)
class Inconclusive(Outcome):
    """A check could not be judged: the data is missing."""

    detail: AssertDetail


@dataclass(frozen=True, slots=True)
class Fail(Outcome):
    """A check did not hold."""

    detail: AssertDetail
