# SPDX-License-Identifier: GPL-2.0-only
"""What is due within a budget, what became of it, and where it hurts."""

import json
from dataclasses import replace
from pathlib import Path

from tests.unit.gauntlet.made import HOST, made_facts

from ktstr.errors import ExitCode
from ktstr.gauntlet.agenda import Agenda, Item, agenda, rekeyed
from ktstr.gauntlet.board import Board, board
from ktstr.gauntlet.cells import Cell, CellResult
from ktstr.gauntlet.cost import Estimator
from ktstr.gauntlet.plan import Entry, LeftOut, Plan
from ktstr.model.topology import Topology
from ktstr.session.pool import Cost
from ktstr.telemetry.decode import Fields


def cell(name: str, preset: str, topology: str, scheduler: str | None = None) -> Cell:
    return Cell(
        Path(f"/{name}.toml"),
        name,
        topology,
        preset,
        None,
        scheduler,
        key=f"{name}{preset}{scheduler}",
    )


def entry(found: Cell, hold_s: float = 1.0, settled: CellResult | None = None) -> Entry:
    topology = Topology.parse(found.topology)
    facts = made_facts(found.name, found.name[:1], topology, hold_s)
    return Entry(found, facts, Cost(topology.cpus, 256), settled)


SKIP = CellResult("skip", ExitCode.PASS, reason="no place")
A1, A2 = cell("a", "tiny-1llc", "1n1l4c1t"), cell("a", "tiny-2llc", "1n2l2c1t")
B1, B2 = cell("b", "tiny-1llc", "1n1l4c1t"), cell("b", "tiny-2llc", "1n2l2c1t")
BIG = LeftOut(cell("a", "max-cpu", "1n14l9c2t"), "constraints", "max_llcs = 12, it has 14")
PLAN = Plan((entry(A1), entry(B1), entry(A2), entry(B2, settled=SKIP)), (BIG,))


def test_without_a_budget_everything_is_due_in_the_order_of_the_plan() -> None:
    found = agenda("mine", PLAN, Estimator(HOST), budget_s=None)
    assert [item.cell for item in found.items] == [A1, B1, A2]
    assert found.settled == ((B2, SKIP),) and found.left_out == (BIG,)
    # 10 s to boot, 1 s, 2 s after it, on the whole of two CPUs.
    assert [(item.wall_s, item.cost_s) for item in found.items] == [(13.0, 13.0)] * 3
    assert found.coverage is None and found.seconds == 39.0


def test_within_a_budget_what_covers_most_and_the_rest_with_the_reason() -> None:
    found = agenda("mine", PLAN, Estimator(HOST), budget_s=30.0)
    # After the first, another scenario adds six properties, another topology five.
    assert [item.cell for item in found.items] == [A1, B1]
    assert found.seconds == 26.0 and found.budget_s == 30.0
    left = {each.cell: (each.kind, each.reason) for each in found.left_out}
    assert left[A2] == ("budget", "takes about 13 s, 4 s are left")
    assert left[BIG.cell] == ("constraints", BIG.reason)
    assert found.coverage is not None and found.coverage.considered == 3
    assert found.coverage.covered < found.coverage.possible
    whole = agenda("mine", PLAN, Estimator(HOST), budget_s=600.0)
    assert whole.coverage is not None and whole.coverage.covered == whole.coverage.possible


def test_time_that_is_left_goes_to_what_was_not_yet_run_there() -> None:
    # The four differ from each other in no property once two have run, but in their pairing.
    cells = [
        cell(name, preset, topology)
        for name in ("a1", "a2")
        for preset, topology in (("tiny-1llc", "1n1l4c1t"), ("tiny-2llc", "1n2l2c1t"))
    ]
    plan = Plan(tuple(entry(each) for each in cells))
    for budget_s, count in ((30.0, 2), (40.0, 3), (52.0, 4)):
        found = agenda("mine", plan, Estimator(HOST), budget_s=budget_s)
        assert [item.cell for item in found.items][:2] == [cells[0], cells[3]]
        assert len(found.items) == count and found.seconds == 13.0 * count
        assert found.coverage is not None
        assert found.coverage.covered == found.coverage.possible
    twin = replace(A1, path=Path("/other/a.toml"), key="twin")
    found = agenda("mine", Plan((entry(A1), entry(twin))), Estimator(HOST), budget_s=600.0)
    assert len(found.items) == 2 and found.left_out == ()


def test_of_what_is_left_that_comes_first_which_is_new_to_its_scenario() -> None:
    small, two = ("tiny-1llc", "1n1l4c1t"), ("tiny-2llc", "1n2l2c1t")
    chosen = [
        cell("g1", *small, "scx"),
        cell("g1", *two, "none"),
        cell("g2", *two, "scx"),
        cell("g1", *small, "none"),
    ]
    # g1 has been at both topologies and schedulers; g2 neither on the small one nor under none.
    known, new = cell("g1", *two, "scx"), cell("g2", *small, "none")
    plan = Plan((entry(known), entry(new, hold_s=2.0), *map(entry, chosen)))
    found = agenda("mine", plan, Estimator(HOST), budget_s=600.0)
    assert [item.cell for item in found.items] == [*chosen, new, known]


def test_an_agenda_survives_json() -> None:
    for budget_s in (None, 30.0):
        found = agenda("mine", PLAN, Estimator(HOST), budget_s=budget_s, jobs=2)
        text = json.dumps(found.to_json())
        assert Agenda.from_json(Fields(json.loads(text), "x")) == found


def test_cells_as_they_are_now_take_the_place_of_those_before() -> None:
    before = agenda("mine", PLAN, Estimator(HOST), budget_s=None)
    changed = replace(A2, key="new")
    now, settled = rekeyed(before, [entry(A1), entry(B1, settled=SKIP), entry(changed)])
    assert [item.cell for item in now.items] == [A1, changed]
    assert settled == ((B1, SKIP),) and now.settled == ((B2, SKIP), (B1, SKIP))


FAIL = CellResult("fail", ExitCode.FAIL, wall_s=2.0, reason="it was slow")
PASS = CellResult("pass", ExitCode.PASS, wall_s=2.0)


def made(results: dict[Cell, CellResult], *left_out: LeftOut) -> Board:
    items = tuple(Item(each, 1.0, 1.0) for each in results)
    return board(
        Agenda("mine", items, left_out=left_out),
        {each.key: result for each, result in results.items()},
    )


def test_a_row_for_each_scenario_a_column_for_each_place() -> None:
    results = {B2: FAIL, A1: PASS, B1: SKIP, A2: PASS}
    unchosen = LeftOut(cell("c", "tiny-1llc", "1n1l4c1t"), "budget", "no time")
    found = made(results, BIG, unchosen)
    # The column in which constraints left everything out is none.
    assert found.places == (("tiny-1llc", "own", "own"), ("tiny-2llc", "own", "own"))
    words = {
        row.name: [row.squares[p].word for p in found.places if p in row.squares]
        for row in found.rows
    }
    assert words == {"a": ["pass", "pass"], "b": ["skip", "fail"], "c": ["not chosen"]}
    assert found.varied == (0,)
    assert found.rows[1].squares[found.places[1]].reason == "it was slow"


def test_columns_go_by_scheduler_and_then_by_size() -> None:
    cells = [
        cell("a", preset, topology, scheduler)
        for preset, topology in (("odd-3llc", "1n3l3c1t"), ("smt-2llc", "1n2l2c2t"))
        for scheduler in ("scx_b", "none")
    ]
    found = made(dict.fromkeys(cells, PASS))
    assert [place[::2] for place in found.places] == [
        ("smt-2llc", "none"),
        ("odd-3llc", "none"),
        ("smt-2llc", "scx_b"),
        ("odd-3llc", "scx_b"),
    ]
    assert found.varied == (0, 2)


def test_what_was_not_reached_was_interrupted() -> None:
    found = board(Agenda("mine", (Item(A1, 1.0, 1.0),)), {})
    assert [result.verdict for _, result in found.ends] == ["not run"]


def test_the_worst_value_of_each_dimension_comes_first() -> None:
    cells = {
        cell("a", "tiny-1llc", "1n1l4c1t", "x"): PASS,
        cell("a", "tiny-2llc", "1n2l2c1t", "x"): FAIL,
        cell("b", "tiny-1llc", "1n1l4c1t", "x"): SKIP,
        cell("b", "tiny-2llc", "1n2l2c1t", "x"): FAIL,
        cell("b", "smt-2llc", "1n2l2c2t", "x"): PASS,
    }
    told = [(t.dimension, t.value, t.bad, t.ran) for t in made(cells).tallies()]
    assert told == [
        ("topology", "tiny-2llc", 2, 2),
        ("topology", "tiny-1llc", 0, 1),
        ("topology", "smt-2llc", 0, 1),
        ("scenario", "a", 1, 2),
        ("scenario", "b", 1, 2),
    ]
