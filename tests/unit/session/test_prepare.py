# SPDX-License-Identifier: GPL-2.0-only
"""What follows from a definition alone: reporters, time limits, texts of stages."""

from pathlib import Path
from typing import Any

import pytest

from ktstr.errors import DefinitionInvalid, HostUnfit
from ktstr.session.definition import define, reporting_workers, silenced_groups
from ktstr.session.events import RunEvent, StageDone, StageStarted
from ktstr.session.needs import longer_attach_s, time_limit_s
from ktstr.session.options import Deadlines, RunOptions
from ktstr.session.stages import shortened, stage

SCENARIO = """
[vm]
topology = "1n1l2c1t"
[scheduler]
kernel_default = true
[run]
num_snapshots = 3
[[steps]]
hold = "1s"
ops = [{ op = "Pause", duration = "500ms" }, { op = "Resume" }]
[[steps.cgroups]]
name = "one"
works = [{ type = "SpinWait", workers = 2 }]
[[steps]]
hold = "3s"
[[steps.cgroups]]
name = "one"
works = [{ type = "SpinWait", workers = 1 }]
[checks]
not_starved = true
"""


def work(count: int) -> dict[str, Any]:
    return {"workers": count}


def test_workers_are_counted_by_step_and_cgroup() -> None:
    plan = {
        "backdrop": {
            "ops": [],
            "cgroups": [{"name": "calm", "works": [work(1)]}],
        },
        "steps": [
            {
                "index": 1,
                "ops": [
                    {"op": "Spawn", "cgroup": "left", "work": work(4)},
                    {"op": "Pause", "duration_ms": 5},
                ],
                "cgroups": [
                    {"name": "left", "works": [work(2), work(3)]},
                    {"name": "empty", "works": []},
                ],
            },
            {"index": 2, "ops": [], "cgroups": [{"name": "left", "works": [work(7)]}]},
        ],
    }
    assert reporting_workers(plan) == {(0, "calm"): 1, (1, "left"): 9, (2, "left"): 7}


def test_workers_of_ops_are_counted_with_every_turn_of_a_loop() -> None:
    plan = {
        "backdrop": {"ops": [], "cgroups": [{"name": "a/b", "works": [work(2)]}]},
        "steps": [
            {
                "index": 1,
                "hold_ms": 1000,
                "loop_ms": None,
                "ops": [
                    {"op": "AddCgroupDef", "name": "new", "works": [work(2), work(3)]},
                    {"op": "SpawnHost", "cgroup": "/", "work": work(1)},
                    {"op": "RemoveCgroup", "cgroup": "a"},
                ],
                "cgroups": [],
            },
            {
                "index": 2,
                "hold_ms": 1000,
                "loop_ms": 300,
                "ops": [{"op": "Spawn", "cgroup": "left", "work": work(4)}],
                "cgroups": [{"name": "left", "works": [work(1)]}],
            },
        ],
    }
    # Turns at 0, 300, 600 and 900 ms of the loop.
    assert reporting_workers(plan) == {
        (0, "a/b"): 2,
        (1, "new"): 5,
        (1, "/"): 1,
        (2, "left"): 17,
    }
    assert silenced_groups(plan) == {(0, "a"), (1, "a"), (0, "a/b"), (2, "left")}


def test_ops_that_hold_the_scenario_up_stretch_its_limits(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    ops = (
        'ops = [{ op = "RunPayload", name = "p", command = "/bin/true" },'
        '{ op = "WaitPayload", name = "p", timeout = "7s" }, '
        '{ op = "CaptureSnapshot", name = "here" }]\n'
    )
    path.write_text(SCENARIO.replace('hold = "3s"\n', f'hold = "3s"\n{ops}'))
    made = define(path, RunOptions())
    assert made.pauses_ms == 500 + 7_000 + 10_000
    assert made.asks_host
    assert list(made.payloads) == ["p"]


@pytest.mark.parametrize(
    ("scheduler", "own", "pauses_ms", "longer_s"),
    [
        ('attach_timeout = "100s"\n', "", 500 + 100_000, 40),
        ("", ', scheduler = { bpf = "scx_ktstr", attach_timeout = "90s" }', 500 + 90_000, 0),
        ('attach_timeout = "5s"\n', "", 500 + 60_000, 0),
    ],
)
def test_a_scheduler_that_takes_long_stretches_the_limits(
    tmp_path: Path, scheduler: str, own: str, pauses_ms: int, longer_s: float
) -> None:
    path = tmp_path / "s.toml"
    attach = f'ops = [{{ op = "DetachScheduler" }}, {{ op = "AttachScheduler"{own} }}]\n'
    text = SCENARIO.replace('hold = "3s"\n', f'hold = "3s"\n{attach}')
    text = text.replace("kernel_default = true\n", f'bpf = "scx_ktstr"\n{scheduler}')
    path.write_text(text)
    made = define(path, RunOptions())
    assert made.pauses_ms - 10_000 == pauses_ms  # without the detaching
    assert longer_attach_s(made) == longer_s


def test_a_definition_knows_its_times(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text(SCENARIO)
    made = define(path, RunOptions())
    assert made.holds_ms == (1000, 3000)
    assert made.pauses_ms == 500
    assert made.workers == {(1, "one"): 2, (2, "one"): 1}
    assert len(made.boundaries_ms) == 3
    deadlines = Deadlines(boot=1, attach=2, set_up=10, step_grace=20, reports=30)
    # 1 + 2, one and a half times the workload with its pause, and 60 s for each of two steps
    limit = time_limit_s(made, RunOptions(deadlines=deadlines))
    assert limit == pytest.approx(3 + 1.5 * (4.0 + 0.5) + 120)
    assert time_limit_s(made, RunOptions(timeout_s=0.5)) == 0.5


def test_instructions_have_a_length_by_the_virtual_clock_only(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text(SCENARIO)
    with pytest.raises(HostUnfit, match="by the wall clock no instruction has a length"):
        define(path, RunOptions(icount_shift=2))
    assert define(path, RunOptions(icount_shift=2, clock="virtual")).plan["clock"] == "virtual"


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: None, Path.touch])
def test_a_scenario_that_is_no_file_is_a_mistake_not_a_crash(tmp_path: Path, make: Any) -> None:
    path = tmp_path / "s.toml"
    make(path)
    with pytest.raises(DefinitionInvalid, match=r"s\.toml"):
        define(path, RunOptions())


def test_a_stage_that_ends_is_told_once_and_one_that_fails_is_not() -> None:
    events: list[RunEvent] = []
    with stage(events.append, "k", "first") as done:
        done("better words")
    with stage(events.append, "k", "second"):
        pass
    with pytest.raises(RuntimeError), stage(events.append, "k", "third"):
        raise RuntimeError
    assert [(type(event), event.text) for event in events if not hasattr(event, "tag")] == [
        (StageStarted, "first"),
        (StageDone, "better words"),
        (StageStarted, "second"),
        (StageDone, "second"),
        (StageStarted, "third"),
    ]


def test_a_long_reason_fits_a_line() -> None:
    assert shortened("KVM does not work; qemu said: x") == "KVM does not work"
    assert len(shortened("x" * 500)) == 80


STEPS = """
[scheduler]
kernel_default = true
[[steps]]
name = "2"
hold = "1s"
[[steps]]
hold = "1s"
[[steps]]
name = "last"
hold = "1s"
[checks]
not_starved = true
"""


@pytest.mark.parametrize(
    "asked, step", [(None, None), ("1", 1), ("3", 3), ("last", 3), ("2", 1), ("03", 3)]
)
def test_a_checkpoints_step_goes_by_name_then_by_number(
    tmp_path: Path, asked: str | None, step: int | None
) -> None:
    path = tmp_path / "s.toml"
    path.write_text(STEPS)
    assert define(path, RunOptions(checkpoint_at=asked)).checkpoint_step == step


@pytest.mark.parametrize("asked", ["", "0", "4", "-1", "las", "\u00b2", "1" * 5000])
def test_a_checkpoint_at_no_step_is_a_mistake(tmp_path: Path, asked: str) -> None:
    path = tmp_path / "s.toml"
    path.write_text(STEPS)
    with pytest.raises(DefinitionInvalid) as refused:
        define(path, RunOptions(checkpoint_at=asked))
    (problem,) = refused.value.problems
    assert problem.key == "--checkpoint-at"
    assert problem.allowed == "1 to 3, '2', 'last'"
