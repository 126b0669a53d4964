# SPDX-License-Identifier: GPL-2.0-only
"""Which runs are A and which are B: two sets, or one pool and a filter for each side."""

import difflib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from ktstr.errors import CannotRun
from ktstr.history.dimensions import (
    DIRTY,
    Dimension,
    RowFilter,
    constant_differences,
    counted,
    slicing,
    values_of,
)
from ktstr.history.rows import Row

LABEL_VALUES: Final = 3
"""Values of a dimension that a label names; with more it is just the side's letter."""

_NEAR: Final = 4


@dataclass(frozen=True, slots=True)
class Sides:
    """What is compared with what.

    :param a: the baseline.
    :param slicing: what the sides differ in on purpose.
    :param label_a: what to call the baseline beside its letter; may be empty.
    """

    a: tuple[Row, ...]
    b: tuple[Row, ...]
    slicing: tuple[Dimension, ...]
    label_a: str
    label_b: str


def two_sets(
    a: Sequence[Row],
    b: Sequence[Row],
    filters: tuple[RowFilter, RowFilter],
    names: tuple[str, str],
    ignored: Collection[Dimension] = (),
) -> Sides:
    """Two sets of runs as they are, filtered.

    They differ in the dimensions whose filters differ, and in those in which each has one value of
    its own: what was recorded before a change pairs with what was recorded after it.
    """
    mine = tuple(filter(filters[0].takes, a))
    theirs = tuple(filter(filters[1].takes, b))
    asked = {*slicing(*filters), *constant_differences(mine, theirs)} - {*ignored}
    found = tuple(each for each in Dimension if each in asked)
    return Sides(mine, theirs, found, *names)


def one_pool(rows: Sequence[Row], filters: tuple[RowFilter, RowFilter]) -> Sides:
    """Two parts of one pool, by filters.

    :raise CannotRun: when the filters are the same, or runs are on both sides.
    """
    found = slicing(*filters)
    if not found:
        raise CannotRun(
            "nothing tells A from B: there is one set of runs, and no filter of one side alone",
            hint="name two folders, or a filter for a side: --a-kernel 6.12 --b-kernel 7.2",
        )
    mine, theirs = (tuple(filter(each.takes, rows)) for each in filters)
    both = {row.path for row in mine} & {row.path for row in theirs}
    if both:
        raise CannotRun(
            f"{len(both)} runs are on both sides, such as {min(both)}",
            hint="choose filters that no run passes both of",
        )
    return Sides(mine, theirs, found, _label(filters[0], found), _label(filters[1], found))


def _label(wanted: RowFilter, found: Sequence[Dimension]) -> str:
    parts = []
    for dimension in found:
        values = wanted.wanted(dimension)
        if len(values) > LABEL_VALUES:
            return ""
        if values:
            parts.append("|".join(values))
    return ":".join(parts)


def why_none(rows: Sequence[Row], wanted: RowFilter) -> list[str]:
    """What keeps a filter from taking any of ``rows``, in sentences.

    Each dimension is looked at by itself: the values there are, and what might have been meant.
    """
    if not rows:
        return ["there are no records at all"]
    found = []
    for dimension, values in wanted.values.items():
        if not values or any(RowFilter({dimension: values}).takes(row) for row in rows):
            continue
        there = [value for value, _ in counted(rows, dimension.of) if value is not None]
        asked = ", ".join(values)
        if not there:
            found.append(f"no record says its {dimension.value} ({asked} was asked for)")
            continue
        meant = [
            near
            for value in values
            for near in (value + DIRTY, value.removesuffix(DIRTY), value.lower())
            if near in there
        ]
        meant = meant or difflib.get_close_matches(values[0], there, n=1)
        hint = f"; did you mean {meant[0]}?" if meant else ""
        listed = ", ".join(there[:_NEAR]) + (", …" if len(there) > _NEAR else "")
        found.append(f"{dimension.value} {asked}: there are {listed}{hint}")
    if wanted.containing and not any(RowFilter({}, wanted.containing).takes(row) for row in rows):
        found.append(f"no record has {wanted.containing!r} in its name or variant (-E)")
    return found or ["no record passes all filters together"]


def remarks(sides: Sides) -> list[str]:
    """What has to be known of the runs before their figures are believed."""
    found = []
    for letter, rows in (("A", sides.a), ("B", sides.b)):
        commits = {row.project_commit or "" for row in rows}
        dirty = sorted(commit for commit in commits if commit.endswith(DIRTY))
        if dirty:
            found.append(
                f"{letter} has runs of changed files ({', '.join(dirty)}): what ran is in no commit"
            )
        for dimension in sides.slicing:
            values = sorted(values_of(dimension, rows))
            if len(values) > 1:
                found.append(
                    f"{letter} takes {len(values)} values of {dimension.value} together: "
                    + ", ".join(value or "not recorded" for value in values[:_NEAR])
                    + (", …" if len(values) > _NEAR else "")
                )
        crowded = [
            row
            for row in rows
            if row.clock == "wall" and row.cpu_budget and row.vcpus and row.cpu_budget < row.vcpus
        ]
        if crowded:
            found.append(
                f"in {len(crowded)} of {len(rows)} runs of {letter} the guest had more CPUs than "
                "the host gave it: figures by wall time follow the host; look at "
                "worst_iterations_per_cpu_sec"
            )
        dropped = sum(len(row.not_finite) for row in rows)
        if dropped:
            found.append(f"{dropped} values of {letter} are no finite numbers and were left out")
    if changed := _changed_scenarios(sides):
        found.append(
            f"the steps of {', '.join(changed[:_NEAR])}{', …' if len(changed) > _NEAR else ''} "
            "are not the same in all runs: their figures are of different things"
        )
    if len(sides.slicing) > 1:
        found.append(
            f"A and B differ in {', '.join(each.value for each in sides.slicing)}: which of them "
            "a change comes from is not told apart"
        )
    budgets = values_of(Dimension.CPU_BUDGET, (*sides.a, *sides.b)) - {""}
    if len(budgets) > 1 and Dimension.CPU_BUDGET not in sides.slicing:
        found.append(
            f"runs had {' and '.join(sorted(budgets, key=int))} host CPUs; they pair apart"
        )
    return found


def _changed_scenarios(sides: Sides) -> list[str]:
    """Scenarios that were run on both sides, and not with the same steps."""
    shapes: dict[str, set[object]] = {}
    letters: dict[str, set[str]] = {}
    for letter, rows in (("A", sides.a), ("B", sides.b)):
        for row in rows:
            shapes.setdefault(row.scenario, set()).add(row.steps)
            letters.setdefault(row.scenario, set()).add(letter)
    return sorted(n for n, found in shapes.items() if len(found) > 1 and len(letters[n]) > 1)
