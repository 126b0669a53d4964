# SPDX-License-Identifier: GPL-2.0-only
"""Claims: what a value, a set or a sequence has to be (reference-06 section 9).

A comparator that holds is recorded as a confirmation, one that does not as a failure; both go on
to the next comparator. ``because`` and ``kind`` hold for every failure of the claim, before or
after the comparator.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Generic, Protocol, Self, TypeVar, cast

import numpy as np

from ktstr.telemetry.decode import printable
from ktstr.telemetry.vectors import U64_MAX, Percents, Samples
from ktstr.verdict.detail import AssertDetail, DetailKind, PassDetail
from ktstr.verdict.outcome import Fail
from ktstr.verdict.result import AssertResult

MAX_SHOWN = 8
"""Elements of a collection that a message lists."""


class Ordered(Protocol):
    """A type whose values can be ordered."""

    def __lt__(self, other: Any, /) -> bool: ...
    def __le__(self, other: Any, /) -> bool: ...
    def __gt__(self, other: Any, /) -> bool: ...
    def __ge__(self, other: Any, /) -> bool: ...


T = TypeVar("T")
OrderedT = TypeVar("OrderedT", bound=Ordered)

Log = Callable[[PassDetail], None]
"""Takes each confirmation as it is made."""


class Claim:
    """What all claims share: a name, a reason, a kind, and where their results go."""

    __slots__ = ("_failures", "_kind", "_log", "_name", "_reason", "_result")

    def __init__(self, result: AssertResult, name: str, log: Log | None = None) -> None:
        self._result = result
        self._name = name
        self._log = log
        self._kind = DetailKind.OTHER
        self._reason: str | None = None
        self._failures: list[tuple[int, AssertDetail]] = []

    def because(self, reason: str) -> Self:
        """Append `` (reason)`` to the claim's failures."""
        self._reason = reason
        return self._amend()

    def kind(self, kind: DetailKind) -> Self:
        """File the claim's failures under ``kind`` instead of Other."""
        self._kind = kind
        return self._amend()

    def _amend(self) -> Self:
        for index, detail in self._failures:
            self._result.outcomes[index] = self._failure(detail)
        return self

    def _failure(self, detail: AssertDetail) -> Fail:
        reason = "" if self._reason is None else f" ({self._reason})"
        return Fail(AssertDetail(self._kind, detail.message + reason, detail.phase))

    def _fail(self, message: str) -> None:
        detail = AssertDetail(self._kind, f"{self._name}: {message}")
        self._failures.append((len(self._result.outcomes), detail))
        self._result.record_outcome(self._failure(detail))

    def _settle(
        self, holds: object, comparator: str, value: str, expected: str | None, failure: str
    ) -> Self:
        if not holds:
            self._fail(failure)
            return self
        confirmation = PassDetail(self._name, comparator, value, expected)
        self._result.confirm(confirmation)
        if self._log is not None:
            self._log(confirmation)
        return self


class ClaimBuilder(Claim, Generic[T]):
    """Claims about one value."""

    __slots__ = ("_value",)

    def __init__(self, result: AssertResult, name: str, value: T, log: Log | None = None) -> None:
        super().__init__(result, name, log)
        self._value = value

    def eq(self, expected: T) -> Self:
        """It equals ``expected``."""
        return self._compare(self._value == expected, "eq", "", expected)

    def ne(self, unexpected: T) -> Self:
        """It differs from ``unexpected``."""
        return self._compare(self._value != unexpected, "ne", "!= ", unexpected)

    def at_least(self: "ClaimBuilder[OrderedT]", low: OrderedT) -> "ClaimBuilder[OrderedT]":
        """It is ``low`` or more."""
        return self._compare(self._value >= low, "ge", "at least ", low)

    def at_most(self: "ClaimBuilder[OrderedT]", high: OrderedT) -> "ClaimBuilder[OrderedT]":
        """It is ``high`` or less."""
        return self._compare(self._value <= high, "le", "at most ", high)

    def lt(self: "ClaimBuilder[OrderedT]", limit: OrderedT) -> "ClaimBuilder[OrderedT]":
        """It is less than ``limit``."""
        return self._compare(self._value < limit, "lt", "less than ", limit)

    def gt(self: "ClaimBuilder[OrderedT]", limit: OrderedT) -> "ClaimBuilder[OrderedT]":
        """It is greater than ``limit``."""
        return self._compare(self._value > limit, "gt", "greater than ", limit)

    def between(
        self: "ClaimBuilder[OrderedT]", low: OrderedT, high: OrderedT
    ) -> "ClaimBuilder[OrderedT]":
        """It lies within ``low..high``, both included; an inverted interval fails."""
        interval = f"[{show(low)}, {show(high)}]"
        if not low <= high:  # so written, a bound that is not a number is a mistake too
            self._fail(f"caller error: interval inverted {interval}")
            return self
        was = show(self._value)
        return self._settle(
            low <= self._value <= high,
            "in_range",
            was,
            interval,
            f"expected between {show(low)} and {show(high)}, was {was}",
        )

    def near(self: "ClaimBuilder[float]", target: float, tolerance: float) -> "ClaimBuilder[float]":
        """It equals ``target`` or is at most ``tolerance`` away; a negative tolerance fails."""
        if not tolerance >= 0:
            self._fail(f"caller error: tolerance negative {show(tolerance)}")
            return self
        # Equal infinities have no distance that could be compared.
        holds = self._value == target or abs(self._value - target) <= tolerance
        expected, was = f"{show(target)} ± {show(tolerance)}", show(self._value)
        failure = f"expected within {show(tolerance)} of {show(target)}, was {was}"
        return self._settle(holds, "near_within", was, expected, failure)

    def is_finite(self: "ClaimBuilder[float]") -> "ClaimBuilder[float]":
        """It is neither infinite nor NaN."""
        was = show(self._value)
        failure = f"expected finite, was {was}"
        return self._settle(math.isfinite(self._value), "is_finite", was, None, failure)

    def _compare(self, holds: object, comparator: str, words: str, other: T) -> Self:
        expected, was = show(other), show(self._value)
        failure = f"expected {words}{expected}, was {was}"
        return self._settle(holds, comparator, was, expected, failure)


class _CollectionClaim(Claim, ABC):
    """Claims about how many elements there are; ``_prefix`` starts the comparators' tokens."""

    __slots__ = ()
    _prefix = ""

    @abstractmethod
    def _length(self) -> int: ...

    @abstractmethod
    def _shown(self) -> str: ...

    def empty(self) -> Self:
        """There is no element."""
        return self._count(self._length() == 0, "is_empty", None, "empty")

    def nonempty(self) -> Self:
        """There is at least one element."""
        return self._count(self._length() > 0, "is_non_empty", None, "not empty")

    def len_eq(self, count: int) -> Self:
        """There are exactly ``count`` elements."""
        return self._count(self._length() == count, "len_eq", count, _elements(count))

    def len_at_most(self, count: int) -> Self:
        """There are at most ``count`` elements."""
        return self._count(self._length() <= count, "len_le", count, f"at most {_elements(count)}")

    def len_at_least(self, count: int) -> Self:
        """There are at least ``count`` elements."""
        return self._count(self._length() >= count, "len_ge", count, f"at least {_elements(count)}")

    def _count(self, holds: bool, comparator: str, count: int | None, words: str) -> Self:
        expected = None if count is None else str(count)
        failure = f"expected {words}, was {self._length()}: {self._shown()}"
        if self._length() == 0:
            failure = f"expected {words}, was empty"
        return self._settle(
            holds, f"{self._prefix}_{comparator}", str(self._length()), expected, failure
        )


class SetClaim(_CollectionClaim, Generic[T]):
    """Claims about a set."""

    __slots__ = ("_values",)
    _prefix = "set"

    def __init__(
        self, result: AssertResult, name: str, values: AbstractSet[T], log: Log | None = None
    ) -> None:
        super().__init__(result, name, log)
        self._values = values

    def contains(self, item: T) -> Self:
        """``item`` is in it."""
        failure = f"expected to contain {show(item)}, was {self._shown()}"
        return self._settle(
            item in self._values, "set_contains", self._shown(), show(item), failure
        )

    def subset_of(self, allowed: AbstractSet[T]) -> Self:
        """Nothing is in it that is not in ``allowed``; a failure names what is."""
        failure = (
            f"expected subset of {show_set(allowed)}, has {show_set(self._values - allowed)} beside"
        )
        return self._settle(
            self._values <= allowed, "subset_of", self._shown(), show_set(allowed), failure
        )

    def disjoint_from(self, other: AbstractSet[T]) -> Self:
        """Nothing is in both; a failure names what is."""
        failure = (
            f"expected disjoint from {show_set(other)}, shares {show_set(self._values & other)}"
        )
        return self._settle(
            self._values.isdisjoint(other), "disjoint_from", self._shown(), show_set(other), failure
        )

    def _length(self) -> int:
        return len(self._values)

    def _shown(self) -> str:
        return show_set(self._values)


class SeqClaim(_CollectionClaim, Generic[T]):
    """Claims about a sequence or a sample vector, which is never copied into a list."""

    __slots__ = ("_values",)
    _prefix = "sequence"

    def __init__(
        self,
        result: AssertResult,
        name: str,
        values: Sequence[T] | Samples | Percents,
        log: Log | None = None,
    ) -> None:
        super().__init__(result, name, log)
        self._values = values

    def contains(self, item: T) -> Self:
        """``item`` is one of its elements."""
        failure = f"expected to contain {show(item)}, was {self._shown()}"
        return self._settle(
            self._has(item), "sequence_contains", self._shown(), show(item), failure
        )

    def _has(self, item: T) -> bool:
        values = self._values
        if not isinstance(values, np.ndarray):
            return item in values
        if values.dtype == np.uint64:
            # Compared as uint64: a comparison through float64 would lose the low bits.
            return isinstance(item, int) and 0 <= item <= U64_MAX and np.uint64(item) in values
        return item in values

    def _length(self) -> int:
        return len(self._values)

    def _shown(self) -> str:
        first: Iterable[Any] = self._values[:MAX_SHOWN]
        return f"[{_listed(first, len(self._values))}]"


def show(value: object) -> str:
    """A value on one line: texts in quotes, numbers as they are, ``none`` for None."""
    match value:
        case None:
            return "none"
        case bool():
            return "true" if value else "false"
        case np.generic():
            return show(value.item())
        case int() | float():
            return str(value)
        case str():
            return '"' + printable(value, 120) + '"'
    return printable(repr(value), 120)


def show_set(values: Collection[object]) -> str:
    """A set's elements in order, shortened where they are many."""
    try:
        ordered = sorted(cast("Collection[Any]", values))
    except TypeError:  # what has no order of its own is sorted as text
        ordered = sorted(values, key=show)
    return "{" + _listed(ordered[:MAX_SHOWN], len(values)) + "}"


def _elements(count: int) -> str:
    return "1 element" if count == 1 else f"{count} elements"


def _listed(first: Iterable[object], count: int) -> str:
    more = f", ... {count - MAX_SHOWN} more" if count > MAX_SHOWN else ""
    return ", ".join(show(item) for item in first) + more
