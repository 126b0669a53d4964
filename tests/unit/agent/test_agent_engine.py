# SPDX-License-Identifier: GPL-2.0-only
"""The order in which the step engine does things, and what it does when something fails."""

import os
import time
from typing import Any

import pytest
from tests.unit.agent.engine_stage import SPIN, FakeGroup, Stage, cgroup, op, step

from agent import steps
from agent.counters import WorkerFailure
from agent.scheduler import SchedulerDied
from agent.steps import Shutdown, StepFailed
from ktstr.wire import MsgType


def test_a_whole_scenario_in_its_order(stage: Stage) -> None:
    stage.run(
        step(
            1,
            [op("SetWeight", 8, cgroup="bg", weight=7), op("Spawn", 3, cgroup="bg", work=SPIN)],
            cgroup("own", SPIN, SPIN, cpus="0-1", weight=50),
        ),
        step(2),
        backdrop=[cgroup("bg", SPIN)],
        ops=[op("AddCgroup", cgroup="late")],
    )
    assert stage.did() == [
        ("create", "bg"),
        ("spawn", "bg", 0, 0),
        ("ready", 1),
        ("start", 1),
        ("create", "late"),
        ("ScenarioStart",),
        ("weight", "bg", 7),
        ("spawn", "bg", 1, 0),
        ("ready", 1),
        ("start", 1),
        ("create", "own"),
        ("cpus", "own", "0-1"),
        ("weight", "own", 50),
        ("spawn", "own", 1, 0),
        ("spawn", "own", 1, 1),
        ("ready", 2),
        ("start", 2),
        ("StepStart", 1),
        ("StepEnd", 1),
        ("collect", ["bg", "own", "own"]),
        ("remove", "own"),
        ("StepStart", 2),
        ("StepEnd", 2),
        ("collect", []),
        ("ScenarioEnd", 2),
        ("collect", ["bg"]),
        ("remove", "bg"),
        ("remove", "late"),
    ]
    first, second = stage.stimuli(MsgType.STEP_START)
    assert (first.op_count, first.op_kinds) == (2, 1 << 8 | 1 << 3)
    assert (first.worker_count, first.cgroup_count, first.total_iterations) == (8, 3, 1000)
    assert (second.op_count, second.op_kinds, second.worker_count) == (0, 0, 2)


def test_holds_and_pauses_last_as_long_as_they_say(stage: Stage) -> None:
    began = time.monotonic()
    stage.run(step(1, [op("Pause", duration_ms=60), op("Resume")], hold=50), settle=40)
    assert time.monotonic() - began >= 0.150
    assert stage.did()[:5] == [
        ("ScenarioStart",),
        ("Pause",),
        ("Resume",),
        ("StepStart", 1),
        ("StepEnd", 1),
    ]
    (start,), (end,) = stage.stimuli(MsgType.STEP_START), stage.stimuli(MsgType.STEP_END)
    # What lies before the hold is not workload, however long it takes.
    assert start.elapsed_ms == 0
    assert end.elapsed_ms - start.elapsed_ms >= 49


def test_workload_time_goes_on_where_the_last_step_ended(stage: Stage) -> None:
    stage.fakes.create = lambda name: time.sleep(0.05)
    stage.run(step(1, [], hold=40), step(2, [], cgroup("own"), hold=30))
    first, second = zip(
        stage.stimuli(MsgType.STEP_START), stage.stimuli(MsgType.STEP_END), strict=True
    )
    (over,) = stage.stimuli(MsgType.SCENARIO_END)
    assert first[0].elapsed_ms == 0
    assert first[1].elapsed_ms >= 40
    assert second[0].elapsed_ms == first[1].elapsed_ms
    assert second[1].elapsed_ms - second[0].elapsed_ms >= 30
    assert over.elapsed_ms == second[1].elapsed_ms


def test_ops_on_cpusets(stage: Stage) -> None:
    stage.run(
        step(
            1,
            [
                op("SetCpuset", cgroup="a", cpus="2"),
                op("SwapCpusets", cgroup="a", other="b"),
                op("ClearCpuset", cgroup="b"),
            ],
        ),
        backdrop=[cgroup("a", cpus="0"), cgroup("b", cpus="1")],
    )
    assert stage.did("cpus")[2:] == [
        ("cpus", "a", "2"),
        ("cpus", "a", "1"),
        ("cpus", "b", "2"),
        ("cpus", "b", None),
    ]


def test_workers_are_found_where_they_were_moved_to(stage: Stage) -> None:
    stage.run(
        step(
            1,
            [
                op("MoveAllTasks", cgroup="a", to="b"),
                op("StopCgroup", cgroup="a"),
                op("RemoveCgroup", cgroup="b"),
            ],
        ),
        backdrop=[cgroup("a", SPIN), cgroup("b")],
    )
    assert stage.did("move", "discard", "remove") == [
        ("move", "a", "b"),
        ("discard", []),
        ("discard", ["a"]),
        ("remove", "b"),
        ("remove", "a"),
    ]


def test_a_removed_backdrop_cgroups_name_belongs_to_the_step_that_takes_it(stage: Stage) -> None:
    stage.run(
        step(1, [op("RemoveCgroup", cgroup="bg")]),
        step(2, None, cgroup("bg", SPIN, cpus="1")),
        step(3, None, cgroup("bg", SPIN)),
        backdrop=[cgroup("bg", SPIN)],
    )
    assert [entry[0] for entry in stage.did("create", "remove")] == ["create", "remove"] * 3


@pytest.mark.parametrize(("cpus", "expected"), [("1,3", {1, 3}), (None, None)])
def test_affinity_of_every_worker_alive(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, cpus: str | None, expected: set[int] | None
) -> None:
    bound = []

    def bind(pids: list[int], wanted: list[int]) -> None:
        bound.append((pids, set(wanted)))

    monkeypatch.setattr(steps, "bind", bind)
    spawn = stage.fakes.spawn

    def with_pids(*args: Any) -> FakeGroup:
        group = spawn(*args)
        group.pids = [1, 2, 3]
        return group

    stage.fakes.spawn = with_pids
    stage.run(step(1, [op("SetAffinity", cgroup="a", cpus=cpus)]), backdrop=[cgroup("a", SPIN)])
    assert [pids for pids, _ in bound] == [[1, 2, 3]]
    for _, wanted in bound:
        # "inherit" names every CPU, so that a cgroup's later change is followed.
        assert wanted == expected if expected else wanted >= os.sched_getaffinity(0)


def test_a_death_during_the_hold_skips_the_rest_but_not_the_reports(stage: Stage) -> None:
    start = stage.fakes.start

    def start_and_die(groups: list[Any]) -> None:
        start(groups)
        stage.loop.every_tick(lambda: setattr(stage.fakes, "gone", True))

    stage.fakes.start = start_and_die
    stage.loop.tick_s = 0.01
    stage.loop._next_tick = time.monotonic() + 0.05
    with pytest.raises(SchedulerDied):
        stage.run(step(1, None, cgroup("own", SPIN), hold=60_000), step(2))
    assert stage.did("StepStart", "StepEnd", "ScenarioEnd", "collect", "death") == [
        ("StepStart", 1),
        ("death", "step 1"),
        ("collect", ["own"]),
    ]


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        # While the workers get ready: the step does not begin.
        ("ready", [("death", "step 1"), ("collect", ["own"])]),
        # While the last reports come: no ScenarioEnd.
        (
            "collect",
            [
                ("StepStart", 1),
                ("StepEnd", 1),
                ("collect", ["own"]),
                ("death", "the end"),
                ("collect", []),
            ],
        ),
        # While its cgroup goes.
        (
            "remove",
            [
                ("StepStart", 1),
                ("StepEnd", 1),
                ("collect", ["own"]),
                ("death", "the end"),
                ("collect", []),
            ],
        ),
    ],
)
def test_a_death_between_the_holds_is_not_overlooked(
    stage: Stage, moment: str, expected: list[Any]
) -> None:
    note = stage.fakes.note

    def note_and_die(what: str, *args: object) -> None:
        note(what, *args)
        if what == moment:
            stage.fakes.gone = True

    stage.fakes.note = note_and_die
    with pytest.raises(SchedulerDied):
        stage.run(step(1, None, cgroup("own", SPIN)))
    found = stage.did("StepStart", "StepEnd", "ScenarioEnd", "collect", "death")
    assert found == expected


@pytest.mark.parametrize(
    ("fails", "error", "words"),
    [
        ("create", FileExistsError(17, "File exists", "/x"), "the backdrop: cgroup 'bg': /x: File"),
        ("ready", WorkerFailure("no memory"), "step 1: starting the workers: no memory"),
        ("weight", OSError(34, "Out of range", "/w"), "step 1: SetWeight: /w: Out of range"),
        ("remove", OSError(16, "Busy", "/own"), "step 1: removing its cgroups: /own: Busy"),
    ],
)
def test_a_failure_names_step_place_and_cause_and_reports_still_come(
    stage: Stage, fails: str, error: Exception, words: str
) -> None:
    stage.fakes.fail[fails] = error
    with pytest.raises(StepFailed, match=words):
        stage.run(
            step(
                1,
                [op("SetWeight", cgroup="bg", weight=1)],
                cgroup("own", SPIN),
            ),
            backdrop=[cgroup("bg")],
        )
    assert stage.did()[-1][0] == "collect"


def test_what_a_dead_scheduler_spoilt_is_told_as_its_death(stage: Stage) -> None:
    def fail(groups: list[Any]) -> None:
        stage.fakes.gone = True
        raise WorkerFailure("the workers do not come to their gate")

    stage.fakes.wait_ready = fail
    with pytest.raises(SchedulerDied):
        stage.run(step(1, None, cgroup("own", SPIN)))


def test_an_op_that_is_none_is_refused(stage: Stage) -> None:
    with pytest.raises(StepFailed, match="'Explode'"):
        stage.run(step(1, [op("Explode")]))


def test_the_host_may_ask_for_the_end(stage: Stage) -> None:
    stage.shutdown = True
    with pytest.raises(Shutdown):
        stage.run(step(1, hold=60_000), backdrop=[cgroup("bg", SPIN)])
    assert stage.did()[-1] == ("collect", ["bg"])


def test_faults_come_in_their_order_within_the_hold(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    came = []
    monkeypatch.setattr("agent.steps.inject", lambda op, *rest: came.append(op["at_ms"]))
    faults = [op("InjectFault", at_ms=at, fault="kill-worker") for at in (20, 0, 10)]
    stage.run(step(1, faults, hold=30))
    assert came == [0, 10, 20]


def test_a_loop_sets_up_once_and_does_its_ops_again(stage: Stage) -> None:
    stage.run(
        step(1, [op("SetWeight", cgroup="own", weight=5)], cgroup("own"), hold=110, loop_ms=50)
    )
    assert stage.did() == [
        ("ScenarioStart",),
        ("create", "own"),
        ("StepStart", 1),
        *[("weight", "own", 5)] * 3,
        ("StepEnd", 1),
        ("collect", []),
        ("remove", "own"),
        ("ScenarioEnd", 1),
        ("collect", []),
    ]


def test_a_loop_whose_ops_are_slow_ends_in_time(stage: Stage) -> None:
    stage.fakes.set_weight = lambda name, weight: time.sleep(0.08)
    turns = [op("SetWeight", cgroup="own", weight=5)]
    stage.run(step(1, turns, cgroup("own"), hold=100, loop_ms=1))
    (start,), (end,) = stage.stimuli(MsgType.STEP_START), stage.stimuli(MsgType.STEP_END)
    # Two turns of 80 ms, not a hundred.
    assert 100 <= end.elapsed_ms - start.elapsed_ms < 4000


def test_limits_of_a_cgroup_made_by_an_op(stage: Stage) -> None:
    made = op("AddCgroupDef", **cgroup("full", SPIN, cpus="1", weight=3, cpu_max="1000 2000"))
    stage.run(step(1, [made, op("SpawnHost", cgroup="/", work=SPIN)]))
    assert stage.did("create", "cpus", "weight", "cpu_max", "spawn", "start", "remove") == [
        ("create", "full"),
        ("cpus", "full", "1"),
        ("weight", "full", 3),
        ("cpu_max", "full", "1000 2000"),
        ("spawn", "full", 1, 0),
        ("start", 1),
        ("spawn", "/", 1, 0),
        ("start", 1),
        ("remove", "full"),
    ]


def test_what_lies_inside_a_removed_cgroup_goes_with_it(stage: Stage) -> None:
    stage.run(
        step(1, [op("RemoveCgroup", cgroup="a")]),
        backdrop=[cgroup("a"), cgroup("a/b", SPIN), cgroup("ab", SPIN)],
    )
    discarded = [entry[1] for entry in stage.did("discard") if entry[1]]
    assert discarded == [["a/b"]]
    assert stage.engine._kept == {"ab"}


def test_the_steps_end_thaws_before_it_collects(stage: Stage) -> None:
    stage.run(
        step(1, [op("FreezeCgroup", cgroup="a"), op("FreezeCgroup", cgroup="b")]),
        step(2, [op("UnfreezeCgroup", cgroup="a")]),
        backdrop=[cgroup("a", SPIN), cgroup("b", SPIN)],
    )
    assert stage.did("freeze", "thaw", "StepEnd", "collect")[:6] == [
        ("freeze", "a"),
        ("freeze", "b"),
        ("StepEnd", 1),
        ("thaw", "a"),
        ("thaw", "b"),
        ("collect", []),
    ]
