# SPDX-License-Identifier: GPL-2.0-only
"""Cells and results go through JSON unchanged; what is no cell is refused by the field's name."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktstr.errors import ExitCode
from ktstr.gauntlet.cells import VERDICTS, Cell, CellResult, options_from_json, options_to_json
from ktstr.session.ends import End
from ktstr.session.options import RunOptions
from ktstr.telemetry.decode import RecordError

WORDS = st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=20)
OPTIONS = st.builds(
    RunOptions,
    kernel=st.none() | WORDS,
    topology=st.none() | WORDS,
    scheduler=st.none() | WORDS,
    flags=st.none() | st.lists(WORDS, max_size=3).map(tuple),
    clock=st.sampled_from([None, "wall", "virtual"]),
    seed=st.none() | st.integers(0, (1 << 63) - 1),
    accel=st.sampled_from(["auto", "kvm", "tcg"]),
    timeout_s=st.none() | st.floats(0.001, 1e6),
    memory_mib=st.none() | st.integers(1, 1 << 20),
    auto_repro=st.sampled_from([None, True, False]),
    cold=st.booleans(),
)
CELLS = st.builds(
    Cell,
    path=WORDS.map(lambda word: Path("/x") / word.replace("/", "_")),
    name=WORDS,
    topology=WORDS,
    preset=st.none() | WORDS,
    kernel=st.none() | WORDS,
    scheduler=st.none() | WORDS,
    profile=st.none() | WORDS,
    options=OPTIONS,
    key=WORDS,
)
RESULTS = st.builds(
    CellResult,
    verdict=st.sampled_from(VERDICTS),
    exit_code=st.sampled_from(list(ExitCode)),
    sidecar=st.none() | WORDS.map(Path),
    wall_s=st.integers(0, 10**6).map(lambda n: n / 1000),
    reason=st.text(max_size=50),
    workload_s=st.none() | st.floats(0, 1e6),
    details=st.lists(st.text(max_size=50), max_size=3).map(tuple),
    notes=st.lists(st.text(max_size=50), max_size=3).map(tuple),
    facts=st.dictionaries(WORDS, st.text(max_size=20), max_size=3),
    evidence=st.none() | WORDS.map(Path),
)


@given(CELLS)
def test_a_cell_survives_json(cell: Cell) -> None:
    assert Cell.from_json(json.loads(json.dumps(cell.to_json()))) == cell


@given(RESULTS)
def test_a_result_survives_json(result: CellResult) -> None:
    assert CellResult.from_json(json.loads(json.dumps(result.to_json()))) == result


def test_only_what_shapes_a_run_is_an_option_of_a_cell() -> None:
    options = RunOptions(topology="1n1l1c1t", out_dir=Path("/elsewhere"), verbose=True, cold=True)
    assert options_to_json(options) == {"topology": "1n1l1c1t", "cold": True}
    assert options_from_json({"flags": ["a"]}) == RunOptions(flags=("a",))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"path": 3}, "path"),
        ({"path": "a\x1b[2J"}, "path"),
        ({"options": {"out_dir": "/etc"}}, "options.out_dir"),
        ({"options": {"memory_mib": 0}}, "options.memory_mib"),
        ({"options": {"accel": "fast"}}, "options.accel"),
        ({"options": {"timeout_s": -1.0}}, "options.timeout_s"),
        ({"more": 1}, "more"),
    ],
)
def test_what_is_no_cell_is_refused(change: dict[str, Any], field: str) -> None:
    values = Cell(Path("/x.toml"), "x", "1n1l1c1t").to_json() | change
    with pytest.raises(RecordError) as error:
        Cell.from_json(values, "line 3")
    assert error.value.field == field and error.value.subject == "line 3"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"verdict": "great"}, "verdict"),
        ({"exit_code": 77}, "exit_code"),
        ({"wall_s": -1.0}, "wall_s"),
        ({"facts": {"kernel": 7}}, "facts.kernel"),
        ({"details": "one"}, "details"),
    ],
)
def test_what_is_no_result_is_refused(change: dict[str, Any], field: str) -> None:
    values = CellResult("pass", ExitCode.PASS).to_json() | change
    with pytest.raises(RecordError) as error:
        CellResult.from_json(values)
    assert error.value.field == field


def test_a_place_is_what_was_named() -> None:
    cell = Cell(Path("/x.toml"), "x", "1n2l2c1t", "tiny-2llc", "debian:7", "scx_a", "fast")
    assert cell.place == ("tiny-2llc", "debian:7", "scx_a:fast")
    assert cell.label == "x/tiny-2llc/debian:7/scx_a:fast"
    assert Cell(Path("/x.toml"), "x", "1n2l2c1t").place == ("1n2l2c1t", "own", "own")


def test_long_texts_are_cut_so_that_they_can_be_read_back() -> None:
    result = CellResult.of(
        End("fail", ExitCode.FAIL, reason="r" * 9999, details=("d" * 9999,) * 999), 1.0
    )
    back = CellResult.from_json(result.to_json())
    assert len(back.reason) == 4096 and len(back.details) == 256
