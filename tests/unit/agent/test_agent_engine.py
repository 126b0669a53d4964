# SPDX-License-Identifier: GPL-2.0-only
"""The order in which the step engine does things, and what it does when something fails."""

import os
import time
from typing import Any

import msgpack
import pytest

from agent.counters import WorkerFailure
from agent.loop import Loop
from agent.scheduler import SchedulerDied
from agent.steps import Engine, Shutdown, StepFailed
from ktstr.wire import MsgType, Stimulus

SPIN = {"type": "SpinWait", "workers": 2}


class Fakes:
    """Cgroups, workers and scheduler that only keep an account, in one list."""

    def __init__(self, heard: Any) -> None:
        self.did: list[Any] = heard.sent
        self.heard = heard
        self.fail: dict[str, Exception] = {}
        self.groups: list[Any] = []
        self.made: set[str] = set()
        self.gone = False
        self.phases: list[int | None] = []
        self.cpus: dict[str, str] = {}
        self.frozen: set[str] = set()

    def note(self, what: str, *args: object) -> None:
        self.did.append((what, *args))
        if what in self.fail:
            raise self.fail[what]

    # Scheduler
    def check(self, during: str) -> None:
        if self.gone:
            self.note("death", during)
            raise SchedulerDied(during)

    def attach(self, spec: dict[str, Any] | None, during: str) -> None:
        self.note("attach", spec, during)

    def detach(self, during: str) -> None:
        self.note("detach", during)

    def restart(self, during: str) -> None:
        self.note("restart", during)

    # Cgroups
    def make_parent(self) -> None:
        self.note("parent")

    def create(self, name: str) -> None:
        self.note("create", name)
        self.made.add(name)

    def remove(self, name: str) -> None:
        self.note("remove", name)
        self.made.discard(name)

    def remove_all(self, keep: set[str]) -> None:
        for name in sorted(self.made - keep):
            self.remove(name)

    def names(self) -> set[str]:
        return set(self.made)

    def count(self) -> int:
        return len(self.made)

    def set_cpus(self, name: str, cpus: str | None) -> None:
        self.note("cpus", name, cpus)
        self.cpus[name] = cpus or ""

    def get_cpus(self, name: str) -> str:
        return self.cpus.get(name, "")

    def set_weight(self, name: str, weight: int) -> None:
        self.note("weight", name, weight)

    def set_cpu_max(self, name: str, limit: str) -> None:
        self.note("cpu_max", name, limit)

    def freeze(self, name: str) -> None:
        self.note("freeze", name)
        self.frozen.add(name)

    def thaw(self, name: str) -> None:
        self.note("thaw", name)
        self.frozen.discard(name)

    def thaw_all(self) -> None:
        for name in sorted(self.frozen):
            self.thaw(name)

    def move_all(self, source: str, target: str) -> int:
        self.note("move", source, target)
        return 1

    # Workers
    def spawn(self, spec: dict[str, Any], cgroup: str, step: int, work_idx: int) -> "FakeGroup":
        self.note("spawn", cgroup, step, work_idx)
        group = FakeGroup(cgroup, step)
        self.groups.append(group)
        return group

    def spawn_all(self, spec: dict[str, Any], *where: Any) -> list[Any]:
        return [self.spawn(spec, *where)]

    def begin_phase(self, step: int) -> None:
        self.phases.append(step)

    def end_phase(self) -> None:
        self.phases.append(None)

    def wait_ready(self, groups: list[Any]) -> None:
        self.note("ready", len(groups))

    def start(self, groups: list[Any]) -> None:
        self.note("start", len(groups))

    def collect(self, groups: list[Any]) -> None:
        self.note("collect", sorted(group.cgroup for group in groups))
        self.groups = [group for group in self.groups if group not in groups]

    def discard(self, groups: list[Any]) -> None:
        self.note("discard", sorted(group.cgroup for group in groups))
        self.groups = [group for group in self.groups if group not in groups]

    def of_step(self, step: int) -> list[Any]:
        return [group for group in self.groups if group.step == step]

    def of_cgroup(self, name: str) -> list[Any]:
        return [group for group in self.groups if group.place == name]

    def alive(self) -> int:
        return 2 * len(self.groups)

    def total_iterations(self) -> int:
        return 1000


class FakePayloads:
    """Payloads that only keep an account."""

    def __init__(self, fakes: Fakes) -> None:
        self.fakes = fakes
        self.running: dict[str, int] = {}
        self.over: set[str] = set()

    def run(self, op: dict[str, Any], step: int) -> None:
        self.fakes.note("run", op["name"])
        self.running[op["name"]] = step

    def ended(self, name: str) -> bool:
        return name in self.over

    def finish(self, name: str, killed: str) -> None:
        self.fakes.note("finish", name, killed)
        del self.running[name]

    def end_step(self, step: int) -> None:
        for name in [name for name, owner in self.running.items() if owner == step]:
            self.finish(name, "step")

    def end_all(self) -> None:
        for name in list(self.running):
            self.finish(name, "all")


class FakeGroup:
    def __init__(self, cgroup: str, step: int) -> None:
        self.cgroup = self.place = cgroup
        self.step = step
        self.pids: list[int] = []

    def label(self) -> str:
        return self.cgroup


def cgroup(name: str, *works: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": name, "cpus": None, "weight": None, "works": list(works), **more}


def step(
    index: int, ops: list[Any] | None = None, *cgroups: Any, hold: int = 10, **more: Any
) -> dict[str, Any]:
    return {"index": index, "hold_ms": hold, "ops": ops or [], "cgroups": list(cgroups), **more}


def op(name: str, kind: int = 0, /, **fields: Any) -> dict[str, Any]:
    return {"op": name, "kind": kind, **fields}


class Stage:
    """Runs plans on fakes."""

    def __init__(self, loop: Loop, heard: Any) -> None:
        self.loop, self.heard = loop, heard
        self.fakes = Fakes(heard)
        self.payloads = FakePayloads(self.fakes)
        self.shutdown = False

    def run(self, *steps: Any, backdrop: list[Any] | None = None, ops: Any = (), settle: int = 0):
        plan = {
            "steps": list(steps),
            "backdrop": {"cgroups": backdrop or [], "ops": list(ops)},
            "settle_ms": settle,
            "seed": 1,
        }
        engine = Engine(plan, self.loop, self.heard, self.fakes, lambda: self.shutdown)
        engine.workers.close()
        engine.cgroups = engine.workers = self.fakes
        engine.payloads = self.payloads
        self.engine = engine
        engine.run()

    def did(self, *names: str) -> list[tuple[Any, ...]]:
        """What was done, stimulus frames by their name; all of it, or only these kinds."""
        frames = {
            MsgType.SCENARIO_START: "ScenarioStart",
            MsgType.STEP_START: "StepStart",
            MsgType.STEP_END: "StepEnd",
            MsgType.SCENARIO_END: "ScenarioEnd",
            MsgType.SCENARIO_PAUSE: "Pause",
            MsgType.SCENARIO_RESUME: "Resume",
        }
        found = []
        for entry in self.fakes.did:
            if entry[0] not in frames:
                found.append(entry)
            elif isinstance(entry[1], Stimulus):
                found.append((frames[entry[0]], entry[1].step_index))
            else:
                found.append((frames[entry[0]],))
        return [entry for entry in found if not names or entry[0] in names]

    def stimuli(self, msg_type: int) -> list[Stimulus]:
        return self.heard.of(msg_type)


@pytest.fixture
def stage(loop: Loop, heard: Any) -> Stage:
    return Stage(loop, heard)


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
    assert start.elapsed_ms >= 60
    assert end.elapsed_ms - start.elapsed_ms >= 49


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

    def bind(pid: int, wanted: list[int]) -> None:
        if pid == 2:
            raise ProcessLookupError
        bound.append((pid, set(wanted)))

    monkeypatch.setattr(os, "sched_setaffinity", bind)
    spawn = stage.fakes.spawn

    def with_pids(*args: Any) -> FakeGroup:
        group = spawn(*args)
        group.pids = [1, 2, 3]
        return group

    stage.fakes.spawn = with_pids
    stage.run(step(1, [op("SetAffinity", cgroup="a", cpus=cpus)]), backdrop=[cgroup("a", SPIN)])
    assert [pid for pid, _ in bound] == [1, 3]
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


def test_payloads_are_waited_for_killed_and_end_with_their_step(stage: Stage) -> None:
    stage.payloads.over = {"quick"}
    ops = [
        op("RunPayload", name="quick"),
        op("RunPayload", name="slow"),
        op("RunPayload", name="left"),
        op("WaitPayload", name="quick", timeout_ms=60_000),
        op("KillPayload", name="slow"),
    ]
    stage.run(step(1, ops, cgroup("own", SPIN)), ops=[op("RunPayload", name="bg")])
    assert stage.did("run", "finish", "StepStart", "StepEnd", "collect") == [
        ("run", "bg"),
        *[("run", name) for name in ("quick", "slow", "left")],
        ("finish", "quick", "it still ran after 60 s"),
        ("finish", "slow", "KillPayload"),
        ("StepStart", 1),
        ("StepEnd", 1),
        ("finish", "left", "step"),
        ("collect", ["own"]),
        ("finish", "bg", "all"),
        ("collect", []),
    ]


def test_a_payload_that_does_not_end_in_time_fails_the_step(stage: Stage) -> None:
    ops = [op("RunPayload", name="slow"), op("WaitPayload", name="slow", timeout_ms=20)]
    with pytest.raises(StepFailed, match=r"'slow' still ran after 0\.02 s and was killed"):
        stage.run(step(1, ops))
    assert stage.payloads.running == {}


def test_ops_on_the_scheduler_say_where_they_stood(stage: Stage) -> None:
    other = {"kind": "bpf"}
    stage.run(
        step(
            1,
            [
                op("DetachScheduler"),
                op("AttachScheduler", scheduler=None),
                op("RestartScheduler"),
                op("ReplaceScheduler", scheduler=other),
            ],
        )
    )
    assert stage.did("attach", "detach", "restart") == [
        ("detach", "step 1"),
        ("attach", None, "step 1"),
        ("restart", "step 1"),
        ("detach", "step 1"),
        ("attach", other, "step 1"),
    ]


@pytest.mark.parametrize("error", ["", "no such variable"])
def test_the_host_is_asked_and_its_answer_heeded(stage: Stage, error: str) -> None:
    heard = stage.heard
    send = heard.send

    def send_and_answer(msg_type: int, fields: dict[str, object] | None = None) -> None:
        send(msg_type, fields)
        replies = {
            MsgType.SNAPSHOT_REQUEST: MsgType.SNAPSHOT_REPLY,
            MsgType.KERNEL_OP_REQUEST: MsgType.KERNEL_OP_REPLY,
        }
        if msg_type in replies:
            answer = {"id": (fields or {})["id"], "error": error}
            heard.handlers[replies[msg_type]](msgpack.packb(answer))

    heard.send = send_and_answer
    write = op("WriteBpfGlobal", name="stall", value=1, section=None)
    run = [op("CaptureSnapshot", name="here"), write]
    if error:
        with pytest.raises(StepFailed, match="CaptureSnapshot: the host could not do it: no such"):
            stage.run(step(1, run))
        return
    stage.run(step(1, run))
    assert heard.of(MsgType.SNAPSHOT_REQUEST) == [{"id": 1, "tag": "here", "step": 1}]
    assert heard.of(MsgType.KERNEL_OP_REQUEST) == [
        {"id": 2, "name": "stall", "value": 1, "section": None}
    ]


def test_a_host_that_does_not_answer_fails_the_step(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.steps.ANSWER_S", 0.02)
    with pytest.raises(StepFailed, match="did not answer"):
        stage.run(step(1, [op("CaptureSnapshot", name="here")]))
