# SPDX-License-Identifier: GPL-2.0-only
"""JSON forms: the same comes back, and what is wrong is refused by its key."""

import json
import os
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktstr.daemon.reaper import ended
from ktstr.daemon.submission import RunRow, RunState, ScenarioFile, ScenarioText, Submission
from ktstr.daemon.wire import (
    EVENTS,
    event_from_json,
    event_to_json,
    is_run_id,
    options_from_json,
    options_to_json,
    row_from_json,
    row_to_json,
    submission_from_json,
    submission_to_json,
)
from ktstr.errors import RequestInvalid
from ktstr.session.events import (
    Froze,
    Note,
    Reading,
    RunEvent,
    StageDone,
    StageProgress,
    StageStarted,
    StepEnded,
    StepStarted,
)
from ktstr.session.options import Deadlines, RunOptions

OPTIONS = RunOptions(
    kernel="debian:7",
    topology="1n2l2c1t",
    scheduler="scx_x",
    work_type="Mixed",
    flags=("llc", "steal"),
    clock="virtual",
    seed=7,
    icount_shift=3,
    accel="tcg",
    timeout_s=12.5,
    memory_mib=900,
    out_dir=Path("/somewhere"),
    auto_repro=False,
    checkpoint_on_fail=True,
    checkpoint_at="2",
    cold=True,
    exclusive_llc=True,
    run_source="ci",
    keep_frames=True,
    keep_vm=True,
    verbose=True,
    deadlines=Deadlines(boot=1.0),
)


def through_json(value: Any) -> Any:
    return json.loads(json.dumps(value, allow_nan=False))


def test_every_option_survives() -> None:
    usual = RunOptions()
    for item in fields(RunOptions):
        assert getattr(OPTIONS, item.name) != getattr(usual, item.name), item.name
    assert options_from_json(through_json(options_to_json(OPTIONS))) == OPTIONS
    assert options_to_json(usual) == {}


EACH = [
    StageStarted("boot", "booting"),
    StageProgress("kernel", "half", 0.5),
    StageProgress("kernel", "?", None),
    StageDone("boot", "booted", 1.25),
    StepStarted(1, 2, "steady", 3.0),
    StepEnded(1),
    Froze("periodic_0", 10.5, None, 3, "torn", "why"),
    Note("look", warning=True),
    Reading(100, ((1, 0.5, None), (None, None, 0))),
]


def test_every_kind_of_event_survives() -> None:
    assert {type(event) for event in EACH} == set(EVENTS.values()) == set(get_args(RunEvent))
    for event in EACH:
        assert event_from_json(through_json(event_to_json(event))) == event


def test_submissions_and_rows_survive() -> None:
    for scenario in (ScenarioFile(Path("/a/b c.toml")), ScenarioText("x = '\"'\n", "x")):
        submission = Submission(scenario, OPTIONS, -3, "ci/main", Path("/work"))
        assert submission_from_json(through_json(submission_to_json(submission))) == submission
        row = RunRow("20260101-000000-abcd", RunState.LOST, submission, "n", 1.5, pid=3)
        assert row_from_json(through_json(row_to_json(row))) == row


FILE = {"path": "/a.toml"}


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ([], "the message"),
        ({}, "scenario is missing"),
        ({"scenario": FILE, "more": 1}, "more"),
        ({"scenario": {"path": "a.toml"}}, "scenario.path"),
        ({"scenario": {"path": "/a\0b"}}, "scenario.path"),
        ({"scenario": {**FILE, "toml": "x"}}, "scenario.toml"),
        ({"scenario": {"toml": 3, "name": "x"}}, "scenario.toml"),
        ({"scenario": {"toml": "x" * 600_000, "name": "x"}}, "scenario.toml"),
        ({"scenario": {"toml": "a = '\ud800'", "name": "x"}}, "scenario.toml"),
        ({"scenario": {"toml": "a = '\udcff'", "name": "x"}}, "scenario.toml"),
        ({"scenario": {"path": "/a\udfff"}}, "scenario.path"),
        ({"scenario": FILE, "options": {"kernel": "\ud800"}}, "options.kernel"),
        ({"scenario": {"toml": "x"}}, "scenario.name is missing"),
        ({"scenario": {"toml": "x", "name": "../x"}}, "scenario.name"),
        ({"scenario": {"toml": "x", "name": ".x"}}, "scenario.name"),
        ({"scenario": FILE, "options": {"kernal": "x"}}, "options.kernal"),
        ({"scenario": FILE, "options": {"seed": True}}, "options.seed"),
        ({"scenario": FILE, "options": {"seed": 1 << 70}}, "options.seed"),
        ({"scenario": FILE, "options": {"cold": 1}}, "options.cold"),
        ({"scenario": FILE, "options": {"clock": "sun"}}, "options.clock"),
        ({"scenario": FILE, "options": {"flags": "abc"}}, "options.flags"),
        ({"scenario": FILE, "options": {"flags": [1]}}, r"options.flags\[0\]"),
        ({"scenario": FILE, "options": {"out_dir": "runs"}}, "options.out_dir"),
        ({"scenario": FILE, "options": {"timeout_s": float("nan")}}, "options.timeout_s"),
        ({"scenario": FILE, "options": {"timeout_s": -1}}, "options.timeout_s"),
        ({"scenario": FILE, "options": {"deadlines": {"boot": 0}}}, "options.deadlines.boot"),
        ({"scenario": FILE, "priority": 11}, "priority"),
        ({"scenario": FILE, "share": ""}, "share"),
        ({"scenario": FILE, "share": "a\nb"}, "share"),
        ({"scenario": FILE, "cwd": "."}, "cwd"),
    ],
)
def test_what_is_wrong_is_refused_by_its_key(value: Any, key: str) -> None:
    with pytest.raises(RequestInvalid, match=f"^{key}"):
        submission_from_json(value)


@pytest.mark.parametrize(
    "value",
    [
        3,
        {},
        {"type": "unheard_of"},
        {"type": "note"},
        {"type": "note", "text": 3},
        {"type": "reading", "elapsed_ms": 1, "cpus": [[1, 2]]},
        {"type": "reading", "elapsed_ms": 1, "cpus": [[]] * 5000},
        {"type": "note", "text": "x" * 100_000},
    ],
)
def test_what_is_no_event_is_refused(value: Any) -> None:
    with pytest.raises(RequestInvalid):
        event_from_json(value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@given(JSON, st.sampled_from(["scenario", "options", "priority", "share", "cwd", "type"]))
def test_nothing_but_a_refusal_comes_of_nonsense(value: Any, key: str) -> None:
    for read in (submission_from_json, event_from_json, row_from_json, options_from_json):
        for whole in (value, {"scenario": FILE, key: value}, {"type": "froze", key: value}):
            try:
                read(whole)
            except RequestInvalid as error:
                assert len(str(error)) < 1000


def test_a_path_may_have_any_bytes() -> None:
    path = Path(os.fsdecode(b"/caf\xe9/\x80\xff.toml"))
    given = {"scenario": {"path": str(path)}, "cwd": str(path.parent)}
    read = submission_from_json(json.loads(json.dumps(given)))
    assert (read.scenario, read.cwd) == (ScenarioFile(path), path.parent)


def test_whatever_a_run_says_of_its_end_can_be_read_again() -> None:
    row = RunRow(
        "20261121-215446-1903", RunState.RUNNING, Submission(ScenarioText("", "a")), "a", 1
    )
    said = {"name": "a\0b", "error": "\ud800 at caf\udce9", "hint": "\0", "sidecar": "/a\0"}
    found = ended(row, {"end": "finished", **said})
    assert (found.name, found.error, found.hint) == ("a\ufffdb", "\ufffd at caf\udce9", "\ufffd")
    assert found.sidecar is None
    assert row_from_json(json.loads(json.dumps(row_to_json(found)))) == found


def test_run_ids_cannot_name_other_files() -> None:
    assert is_run_id("20261121-215446-1903")
    for bad in ("", "..", "20261121-215446-1903/..", "20261121-215446-1903\n", "../20261121"):
        assert not is_run_id(bad)
