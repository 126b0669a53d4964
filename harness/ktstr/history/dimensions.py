# SPDX-License-Identifier: GPL-2.0-only
"""What runs are told apart by, and filters over it (reference-06 section 21)."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from ktstr.history.rows import Row

DIRTY: Final = "-dirty"
_TWO_NUMBERS: Final = re.compile(r"\d+\.\d+")
_THREE_NUMBERS: Final = re.compile(r"\d+\.\d+\.\d+")


class Dimension(Enum):
    """What runs of one scenario may differ in; its value is the name of the option and the key."""

    KERNEL = "kernel"
    SCHEDULER = "scheduler"
    FLAGS = "flags"
    TOPOLOGY = "topology"
    WORK_TYPE = "work-type"
    PROJECT_COMMIT = "project-commit"
    KERNEL_COMMIT = "kernel-commit"
    RUN_SOURCE = "run-source"
    CPU_BUDGET = "cpu-budget"
    CLOCK = "clock"
    SEED = "seed"

    def of(self, row: Row) -> str | None:
        """The row's value as text; ``None`` when it is not recorded."""
        value = getattr(row, self.value.replace("-", "_"))
        return None if value is None else str(value)

    def key(self, row: Row) -> str:
        """What has to be equal for two rows to be one pair: a commit's ``-dirty`` is left out."""
        return (self.of(row) or "").removesuffix(DIRTY)


def matches(dimension: Dimension, row: Row, wanted: str) -> bool:
    """Whether a row has the value that a filter names.

    A kernel of two numbers means all of its releases and candidates (``6.12`` is 6.12.4 and
    6.12-rc3), one of three that version, whatever the distribution put behind it; the way it was
    asked for (``debian:7``) is taken as well. Other values are compared as they are. A row without
    a value matches nothing.
    """
    value = dimension.of(row)
    if dimension is not Dimension.KERNEL or value is None:
        return value == wanted and value is not None
    if wanted in (value, row.kernel_spec):
        return True
    if _TWO_NUMBERS.fullmatch(wanted):
        return re.match(re.escape(wanted) + r"(?:\.|-rc|\+|-)", value) is not None
    if _THREE_NUMBERS.fullmatch(wanted):
        return re.match(re.escape(wanted) + r"(?![\d.])", value) is not None
    return False


@dataclass(frozen=True, slots=True)
class RowFilter:
    """Values by dimension: any of one dimension's, of every dimension that has some.

    :param containing: text that ``scenario topology scheduler work-type flags`` has to contain.
    """

    values: Mapping[Dimension, tuple[str, ...]]
    containing: str = ""

    def takes(self, row: Row) -> bool:
        """Whether the row is meant."""
        words = (row.scenario, row.topology, row.scheduler, row.work_type, row.flags)
        if self.containing not in " ".join(word or "" for word in words):
            return False
        return all(
            any(matches(dimension, row, wanted) for wanted in values)
            for dimension, values in self.values.items()
            if values
        )

    def wanted(self, dimension: Dimension) -> tuple[str, ...]:
        """The values of one dimension, sorted, each once."""
        return tuple(sorted(set(self.values.get(dimension, ()))))


def slicing(a: RowFilter, b: RowFilter) -> tuple[Dimension, ...]:
    """The dimensions whose filters differ between the sides; all others pair."""
    return tuple(each for each in Dimension if a.wanted(each) != b.wanted(each))


def constant_differences(a: Sequence[Row], b: Sequence[Row]) -> tuple[Dimension, ...]:
    """The dimensions in which each side has one value, and not the same.

    Two folders are compared as they are; where one was recorded before a change and the other
    after it, that change is what they differ in and cannot pair them.
    """
    found = []
    for each in Dimension:
        mine, theirs = values_of(each, a), values_of(each, b)
        if len(mine) == len(theirs) == 1 and mine != theirs:
            found.append(each)
    return tuple(found)


def values_of(dimension: Dimension, rows: Iterable[Row]) -> set[str]:
    """The keys that rows have in a dimension."""
    return {dimension.key(row) for row in rows}


def counted(
    rows: Iterable[Row], value: Callable[[Row], str | None]
) -> list[tuple[str | None, int]]:
    """Distinct values and how many rows have each, by value; ``None`` last."""
    counts: dict[str | None, int] = {}
    for row in rows:
        counts[value(row)] = counts.get(value(row), 0) + 1
    return sorted(counts.items(), key=lambda item: (item[0] is None, item[0] or ""))
