# SPDX-License-Identifier: GPL-2.0-only
"""The four outcomes and which of them speaks for all."""

from collections.abc import Iterable
from dataclasses import dataclass

from ktstr.telemetry.decode import Fields
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

    def merge(self, other: "Outcome") -> "Outcome":
        """The stronger of two; this one when they are equally strong."""
        return Outcome.strongest((self, other))

    @staticmethod
    def strongest(outcomes: Iterable["Outcome"]) -> "Outcome":
        """The first of the strongest kind; a Pass when there is none at all."""
        found = list(outcomes)
        for kind in PRECEDENCE:
            for outcome in found:
                if isinstance(outcome, kind):
                    return outcome
        return Pass()

    def to_record(self) -> dict[str, object]:
        """Plain form: the lower-case name, and the detail of those that have one."""
        detail = getattr(self, "detail", None)
        return {
            "outcome": self.name.lower(),
            "detail": detail.to_record() if isinstance(detail, AssertDetail) else None,
        }

    @staticmethod
    def from_record(values: object, subject: str) -> "Outcome":
        """Read :meth:`to_record`'s form.

        :raise RecordError: naming ``subject`` and the field that is wrong.
        """
        return Outcome.read(Fields(values, subject))

    @staticmethod
    def read(fields: Fields) -> "Outcome":
        """As :meth:`from_record`, from a part of a larger record."""
        name, detail = fields.text("outcome", 32), fields.map_or_none("detail")
        fields.done()
        if name == "pass":
            if detail is not None:
                fields.refuse("detail", "a map", "nil beside a pass")
            return Pass()
        if name not in _WITH_DETAIL:
            fields.refuse("outcome", name, f"pass, {', '.join(_WITH_DETAIL)}")
        if detail is None:
            fields.refuse("detail", None, f"a map beside {name!r}")
        return _WITH_DETAIL[name](AssertDetail.read(detail))


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


PRECEDENCE: tuple[type[Outcome], ...] = (Fail, Inconclusive, Pass, Skip)
"""Strongest first."""

_WITH_DETAIL = {"fail": Fail, "inconclusive": Inconclusive, "skip": Skip}
