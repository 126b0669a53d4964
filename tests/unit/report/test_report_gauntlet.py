# SPDX-License-Identifier: GPL-2.0-only
"""The matrix in words, on a terminal, as Markdown and for programs."""

from dataclasses import replace
from io import StringIO
from pathlib import Path

from rich.console import Console

from ktstr.errors import ExitCode
from ktstr.gauntlet.agenda import Agenda, Coverage, Item
from ktstr.gauntlet.board import Board, board
from ktstr.gauntlet.cells import Cell, CellResult
from ktstr.gauntlet.plan import LeftOut
from ktstr.report.gauntlet import announcement, gauntlet_exit_code, summary
from ktstr.report.gauntlet_files import document, markdown
from ktstr.report.verdict import print_parts

PASS = CellResult("pass", ExitCode.PASS, wall_s=2.0, workload_s=1.0, sidecar=Path("/r.json"))
FAIL = CellResult("fail", ExitCode.FAIL, wall_s=3.0, workload_s=1.0, reason="[Gap] a | b <x>")


def cell(name: str, preset: str, topology: str, scheduler: str) -> Cell:
    return Cell(
        Path(f"/{name}.toml"),
        name,
        topology,
        preset,
        "debian:7",
        scheduler,
        key=f"{name}{preset}{scheduler}",
    )


SMALL, LARGE = ("tiny-1llc", "1n1l4c1t"), ("smt-2llc", "1n2l2c2t")


def made() -> Board:
    results = {
        cell("a", *SMALL, "none"): PASS,
        cell("a", *SMALL, "scx_x"): PASS,
        cell("b", *SMALL, "none"): PASS,
        cell("b", *SMALL, "scx_x"): FAIL,
        cell("a", *LARGE, "scx_x"): CellResult.not_run("budget: takes about 9 s, 2 s were left"),
    }
    items = tuple(Item(each, 5.0, 5.0) for each in results)
    left_out = (
        LeftOut(cell("b", *LARGE, "scx_x"), "budget", "takes about 9 s, 2 s are left"),
        LeftOut(cell("a", "max-cpu", "1n14l9c2t", "none"), "host", "252 CPUs, at most 8"),
        LeftOut(cell("b", "max-cpu", "1n14l9c2t", "none"), "host", "252 CPUs, at most 8"),
    )
    agenda = Agenda("mine", items, (), left_out, 60.0, Coverage(9, 12, 6))
    return board(agenda, {each.key: result for each, result in results.items()})


def text(found: Board, width: int | None = None) -> list[str]:
    out = StringIO()
    print_parts(Console(file=out, width=200), summary(found, 12.0, width))
    return [" ".join(line.split()) for line in out.getvalue().splitlines()]


def test_people_see_the_matrix_where_it_hurts_and_why() -> None:
    held = "12 s, 3.0 times the 4 s that they hold"
    assert text(made()) == [
        "",
        "kernel debian:7",
        "tiny-1llc tiny-1llc smt-2llc",
        "scenario none scx_x scx_x",
        "a pass pass not run",
        "b pass fail not chosen",
        "",
        "by value ran bad share verdicts",
        "scheduler scx_x 2 1 50 % 1 pass, 1 fail, 1 not run",
        "scenario b 2 1 50 % 1 pass, 1 fail",
        "",
        "not run: budget: takes about 9 s, 2 s were left (1 cell)",
        "left out by this host's limits: max-cpu: 252 CPUs, at most 8 (2 cells)",
        "left out by the budget: takes about 9 s, 2 s are left (1 cell)",
        "",
        "scenario verdict s first reason",
        "b [tiny-1llc, debian:7, scx_x] fail 3.0 [Gap] a | b <x>",
        "",
        f"5 runs: 3 pass, 1 not run, 1 fail; {held}; the worst: fail",
    ]


def test_a_wide_matrix_is_told_in_parts() -> None:
    found = text(made(), width=30)
    heads = [line for line in found if line.startswith("scenario ") and "first" not in line]
    assert heads[:2] == ["scenario none scx_x", "scenario scx_x"]


def test_what_is_going_to_be_done_is_told_before() -> None:
    assert [*announcement(made().agenda, "at most 8 here")] == [
        "gauntlet mine: 5 of 8 cells, about 25 of 60 s; guests have at most 8 here",
        "they cover 9 of 12 properties (75 %)",
        "left out: 1 by the budget, 2 by this host's limits",
    ]


def test_the_exit_code_is_that_of_the_worst_run() -> None:
    assert gauntlet_exit_code(made()) == ExitCode.FAIL
    one = cell("a", *SMALL, "none")

    def code(result: CellResult) -> ExitCode:
        return gauntlet_exit_code(board(Agenda("mine", (Item(one, 1.0, 1.0),)), {one.key: result}))

    assert code(PASS) == ExitCode.PASS
    assert code(CellResult("skip", ExitCode.PASS)) == ExitCode.INCONCLUSIVE
    assert code(CellResult.not_run("budget")) == ExitCode.INCONCLUSIVE
    assert code(CellResult("cannot run", ExitCode.CANNOT_RUN)) == ExitCode.CANNOT_RUN


def test_markdown_shows_texts_as_they_are() -> None:
    found = markdown(made(), 12.0)
    assert "| scenario | tiny-1llc<br>none | tiny-1llc<br>scx\\_x | smt-2llc<br>scx\\_x |" in found
    assert "| b | pass | **fail** | not chosen |" in found
    assert "\\[Gap\\] a \\| b &lt;x&gt;" in found
    assert "<summary>4 cells left out or not run</summary>" in found


def test_nothing_in_markdown_becomes_markup() -> None:
    hostile = "`a` @all #1 [x](http://y) a|b <b>\r# c"
    one = replace(cell("x", *SMALL, "none"), name=hostile)
    agenda = Agenda(hostile, (Item(one, 1.0, 1.0),))
    found = markdown(board(agenda, {one.key: replace(FAIL, reason=hostile)}), 1.0)
    for wrong in ("@all", "#1", "[x](", "<b>", "\r", " `a`", "a|b"):
        assert wrong not in found.replace("\\[x\\](", "").replace("\\`", ""), wrong


def test_programs_get_all_of_it() -> None:
    found = document(made(), 12.0, ExitCode.FAIL)
    assert found["verdicts"] == {"pass": 3, "not run": 1, "fail": 1}
    assert found["columns"][0] == {
        "topology": "tiny-1llc",
        "kernel": "debian:7",
        "scheduler": "none",
    }
    row = found["rows"][1]
    assert [square["verdict"] for square in row["cells"]] == ["pass", "fail", "not chosen"]
    assert row["cells"][0]["record"] == "/r.json" and row["cells"][1]["reason"] == FAIL.reason
    assert found["coverage"] == {"covered": 9, "possible": 12}
    assert len(found["runs"]) == 5 and len(found["left_out"]) == 3
    assert found["runs"][1]["scheduler"] == "scx_x"
