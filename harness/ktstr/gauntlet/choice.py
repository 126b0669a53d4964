# SPDX-License-Identifier: GPL-2.0-only
"""Chooses cells by what they cover in a second, within a budget.

Greedy, as the reference does it (reference-04, section 10.8): again and again the cell that covers
most that is new for its cost, of those that still fit; ties go by name. What a cell can add only
shrinks as others are chosen, so the figure of an earlier round is a bound: a cell is looked at anew
only when its bound is the highest (lazy evaluation), and the result is the same.

More time never covers less. Where two budgets first part, the larger one lets in a cell for which
the smaller has too little left; whatever the smaller takes instead covers no more in a second and
has less time than that cell, so it all together adds less than that cell alone.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

LEAST_COST_S: Final = 0.001
"""What costs less counts as so much: nothing is free, and ratios stay finite."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """What may be chosen.

    :param name: settles ties, and must differ from those of others.
    :param cost_s: seconds of the budget.
    :param covers: what it covers.
    """

    name: str
    cost_s: float
    covers: frozenset[str]


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen.

    :param order: places of the chosen, the best first.
    :param spent_s: what they cost together, seconds.
    :param covered: what they cover.
    :param possible: what all candidates would.
    """

    order: tuple[int, ...]
    spent_s: float
    covered: frozenset[str]
    possible: frozenset[str]


def choose(candidates: Sequence[Candidate], budget_s: float) -> Choice:
    """Choose as long as something that fits adds something."""
    covered: set[str] = set()
    order: list[int] = []
    spent_s = 0.0
    heap = [(*_rank(each, len(each.covers)), at) for at, each in enumerate(candidates)]
    heapq.heapify(heap)
    while heap:
        bound, name, at = heapq.heappop(heap)
        each = candidates[at]
        new = each.covers - covered
        if not new:
            continue
        if spent_s + each.cost_s > budget_s:
            # The rest of the budget only shrinks: it will not fit later either.
            continue
        rank = _rank(each, len(new))
        if rank != (bound, name):
            heapq.heappush(heap, (*rank, at))
            continue
        order.append(at)
        spent_s += each.cost_s
        covered |= new
    possible = frozenset[str]().union(*(each.covers for each in candidates))
    return Choice(tuple(order), spent_s, frozenset(covered), possible)


def _rank(candidate: Candidate, new: int) -> tuple[float, str]:
    """The lowest is the best."""
    return -new / max(candidate.cost_s, LEAST_COST_S), candidate.name
