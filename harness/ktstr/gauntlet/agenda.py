# SPDX-License-Identifier: GPL-2.0-only
"""What a gauntlet is to do: cells in their order, what each is thought to take, and the rest."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from ktstr.gauntlet.cells import Cell, CellResult
from ktstr.gauntlet.choice import Candidate, choose
from ktstr.gauntlet.cost import Estimate, Estimator
from ktstr.gauntlet.features import features, pairings
from ktstr.gauntlet.plan import Entry, LeftOut, Plan
from ktstr.telemetry.decode import Fields

MAX_CELLS: Final = 200_000
_TEXT: Final = 4096
_LONG_S: Final = 1e9

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Item:
    """A cell that is due.

    :param wall_s: what it is thought to take, seconds.
    :param cost_s: the same as a part of the budget.
    """

    cell: Cell
    wall_s: float
    cost_s: float


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of what could be covered is.

    :param considered: cells there were to choose from.
    """

    covered: int
    possible: int
    considered: int


@dataclass(frozen=True, slots=True)
class Agenda:
    """What a gauntlet is to do.

    :param items: in the order of running.
    :param settled: cells of which it is known how they go: they have no place.
    :param left_out: cells that are not to be.
    :param budget_s: how long it may take, seconds; None: as long as it takes.
    :param jobs: runs at a time, where that was asked for.
    """

    name: str
    items: tuple[Item, ...]
    settled: tuple[tuple[Cell, CellResult], ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    budget_s: float | None = None
    coverage: Coverage | None = None
    jobs: int | None = None

    @property
    def seconds(self) -> float:
        """What all of it is thought to take, seconds."""
        return sum(item.cost_s for item in self.items)

    def to_json(self) -> dict[str, Any]:
        """The agenda as JSON carries it."""
        coverage = self.coverage
        return {
            "name": self.name,
            "budget_s": self.budget_s,
            "jobs": self.jobs,
            "coverage": None
            if coverage is None
            else {
                "covered": coverage.covered,
                "possible": coverage.possible,
                "considered": coverage.considered,
            },
            "items": [
                {
                    "cell": item.cell.to_json(),
                    "wall_s": round(item.wall_s, 3),
                    "cost_s": round(item.cost_s, 3),
                }
                for item in self.items
            ],
            "settled": [
                {"cell": cell.to_json(), "result": result.to_json()}
                for cell, result in self.settled
            ],
            "left_out": [
                {"cell": each.cell.to_json(), "kind": each.kind, "reason": each.reason[:_TEXT]}
                for each in self.left_out
            ],
        }

    @classmethod
    def from_json(cls, found: Fields) -> "Agenda":
        """The agenda that :meth:`to_json` made this of.

        :raise RecordError: naming the field that is wrong.
        """
        agenda = cls(
            name=found.name("name", 64),
            items=tuple(_item(each) for each in found.maps("items", MAX_CELLS)),
            settled=tuple(_settled(each) for each in found.maps("settled", MAX_CELLS)),
            left_out=tuple(_left_out(each) for each in found.maps("left_out", MAX_CELLS)),
            budget_s=found.optional("budget_s", lambda name: _seconds(found, name)),
            coverage=_whole(found.map_or_none("coverage"), _coverage),
            jobs=found.optional("jobs", lambda name: found.integer(name, 1, 1 << 16)),
        )
        found.done()
        return agenda


def agenda(
    name: str, plan: Plan, estimator: Estimator, *, budget_s: float | None, jobs: int | None = None
) -> Agenda:
    """What of a plan is due; within a budget, what covers most for its time."""
    due = [entry for entry in plan.entries if entry.settled is None]
    settled = tuple(
        (entry.cell, entry.settled) for entry in plan.entries if entry.settled is not None
    )
    estimates = [estimator.of(entry) for entry in due]
    if budget_s is None:
        items = tuple(_due(entry, found) for entry, found in zip(due, estimates, strict=True))
        return Agenda(name, items, settled, plan.left_out, jobs=jobs)
    order, coverage = _chosen(due, estimates, budget_s)
    left_s = budget_s - sum(estimates[at].cost_s for at in order)
    places = {*order}
    left_out = [
        LeftOut(entry.cell, "budget", f"takes about {found.cost_s:.0f} s, {left_s:.0f} s are left")
        for at, (entry, found) in enumerate(zip(due, estimates, strict=True))
        if at not in places
    ]
    return Agenda(
        name,
        tuple(_due(due[at], estimates[at]) for at in order),
        settled,
        (*plan.left_out, *left_out),
        budget_s,
        coverage,
        jobs,
    )


def _chosen(
    due: Sequence[Entry], estimates: Sequence[Estimate], budget_s: float
) -> tuple[list[int], Coverage]:
    """Places of what is to be run, the best first, and what that covers.

    What time is left when nothing adds to the coverage goes to scenarios in places where they were
    not yet, and then to whatever fits, the shortest first.
    """
    order: list[int] = []
    coverage: Coverage | None = None
    for covering in (features, pairings, lambda entry: frozenset([entry.cell.key])):
        taken = {*order}
        done = frozenset[str]().union(*(covering(due[at]) for at in order))
        rest = [at for at in range(len(due)) if at not in taken]
        candidates = [
            Candidate(
                f"{due[at].cell.label}\0{due[at].cell.path}",
                estimates[at].cost_s,
                covering(due[at]) - done,
            )
            for at in rest
        ]
        spent_s = sum(estimates[at].cost_s for at in order)
        chosen = choose(candidates, budget_s - spent_s)
        order += [rest[at] for at in chosen.order]
        coverage = coverage or Coverage(len(chosen.covered), len(chosen.possible), len(due))
    assert coverage is not None
    return order, coverage


def rekeyed(
    agenda: Agenda, entries: Sequence[Entry]
) -> tuple[Agenda, tuple[tuple[Cell, CellResult], ...]]:
    """The agenda with its cells as they are now.

    :param entries: of the agenda's items in their order.
    :return: it, and the items that have come to be settled.
    """
    kept = [
        Item(entry.cell, item.wall_s, item.cost_s)
        for item, entry in zip(agenda.items, entries, strict=True)
        if entry.settled is None
    ]
    settled = tuple((entry.cell, entry.settled) for entry in entries if entry.settled is not None)
    return (
        Agenda(
            agenda.name,
            tuple(kept),
            (*agenda.settled, *settled),
            agenda.left_out,
            agenda.budget_s,
            agenda.coverage,
            agenda.jobs,
        ),
        settled,
    )


def _due(entry: Entry, found: Estimate) -> Item:
    return Item(entry.cell, found.wall_s, found.cost_s)


def _whole(found: Fields | None, read: Callable[[Fields], T]) -> T | None:
    return None if found is None else read(found)


def _seconds(found: Fields, name: str) -> float:
    seconds = found.number(name)
    if not 0 <= seconds <= _LONG_S:
        found.refuse(name, seconds, "seconds")
    return seconds


def _item(found: Fields) -> Item:
    item = Item(
        Cell.from_json(found.nested("cell")), _seconds(found, "wall_s"), _seconds(found, "cost_s")
    )
    found.done()
    return item


def _settled(found: Fields) -> tuple[Cell, CellResult]:
    both = Cell.from_json(found.nested("cell")), CellResult.from_json(found.nested("result"))
    found.done()
    return both


def _left_out(found: Fields) -> LeftOut:
    left_out = LeftOut(
        Cell.from_json(found.nested("cell")), found.name("kind", 64), found.text("reason", _TEXT)
    )
    found.done()
    return left_out


def _coverage(found: Fields) -> Coverage:
    coverage = Coverage(
        *(found.integer(name, 0, 1 << 40) for name in ("covered", "possible", "considered"))
    )
    found.done()
    return coverage
