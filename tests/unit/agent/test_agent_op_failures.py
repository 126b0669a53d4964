# SPDX-License-Identifier: GPL-2.0-only
"""Every op that fails is told with its step, its name and the cause; none goes unnoticed."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.agent.engine_stage import SPIN, Stage, cgroup, op, step

from agent import main as agent_main
from agent.steps import StepFailed
from ktstr.model.ops import OP_INDEX
from ktstr.wire import MsgType

PAYLOAD = {"name": "p", "timeout_ms": 10}

WATCH = {
    **dict.fromkeys(("variable", "section", "size")),
    **{"name": "w", "symbol": "jiffies", "hits": 1},
}

OPS: dict[str, tuple[dict[str, Any], str]] = {
    "AddCgroup": ({"cgroup": "new"}, "create"),
    "AddCgroupDef": (cgroup("new", SPIN), "spawn"),
    "RemoveCgroup": ({"cgroup": "a"}, "remove"),
    "SetCpuset": ({"cgroup": "a", "cpus": "1"}, "cpus"),
    "ClearCpuset": ({"cgroup": "a"}, "cpus"),
    "SwapCpusets": ({"cgroup": "a", "other": "b"}, "cpus"),
    "Spawn": ({"cgroup": "a", "work": SPIN}, "ready"),
    "SpawnHost": ({"cgroup": "/", "work": SPIN}, "start"),
    "StopCgroup": ({"cgroup": "a"}, "discard"),
    "SetAffinity": ({"cgroup": "a", "cpus": "0"}, "sched_setaffinity"),
    "MoveAllTasks": ({"cgroup": "a", "to": "b"}, "move"),
    "SetWeight": ({"cgroup": "a", "weight": 5}, "weight"),
    "FreezeCgroup": ({"cgroup": "a"}, "freeze"),
    "UnfreezeCgroup": ({"cgroup": "a"}, "thaw"),
    "RunPayload": (PAYLOAD, "run"),
    "WaitPayload": (PAYLOAD, "finish"),
    "KillPayload": (PAYLOAD, "finish"),
    "AttachScheduler": ({"scheduler": None}, "attach"),
    "DetachScheduler": ({}, "detach"),
    "ReplaceScheduler": ({"scheduler": None}, "attach"),
    "RestartScheduler": ({}, "restart"),
    "CaptureSnapshot": ({"name": "here"}, "send"),
    "WatchSnapshot": (
        {
            "name": "w",
            "symbol": "jiffies",
            "variable": None,
            "section": None,
            "size": None,
            "hits": 1,
        },
        "send",
    ),
    "WriteBpfGlobal": ({"name": "stall", "value": 1, "section": None}, "send"),
    "Pause": ({"duration_ms": 1}, "send"),
    "Resume": ({}, "send"),
    "InjectFault": ({"fault": "kill-worker", "at_ms": 0}, "inject"),
}
"""Each op, and what breaks under it."""


Broken = Callable[[str, Exception], None]


@pytest.fixture
def broken(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Broken:
    """Runs a scenario in whose second step an op meets an error, once."""

    def run(name: str, error: Exception) -> None:
        fields, part = OPS[name]
        note, stimulus = stage.fakes.note, stage.heard.send_stimulus

        def fail(*args: object) -> None:
            raise error

        def arm(msg_type: int, sent: Any) -> None:
            stimulus(msg_type, sent)
            if msg_type != MsgType.STEP_END:
                return
            if part == "sched_setaffinity":
                monkeypatch.setattr("os.sched_setaffinity", fail)
                for group in stage.fakes.groups:
                    group.pids = [1]
            elif part == "inject":
                monkeypatch.setattr("agent.steps.inject", fail)
            elif part == "send":
                monkeypatch.setattr(stage.heard, "send", fail)
            else:
                stage.fakes.fail[part] = error

        def note_and_mend(what: str, *args: object) -> None:
            try:
                note(what, *args)
            finally:
                # What cleans up afterwards finds all in order again.
                stage.fakes.fail.pop(what, None)

        stage.fakes.note = note_and_mend
        stage.heard.send_stimulus = arm
        runs = name in ("WaitPayload", "KillPayload")
        stage.run(
            step(1),
            step(2, [op(name, OP_INDEX[name], **fields)], hold=20),
            step(3),
            backdrop=[cgroup("a", SPIN), cgroup("b")],
            ops=[op("RunPayload", name="p")] if runs else [],
        )

    return run


def test_the_table_has_every_op() -> None:
    assert set(OPS) == set(OP_INDEX)


@pytest.mark.parametrize("name", OPS)
def test_what_the_kernel_refuses_is_told_with_op_step_and_cause(
    stage: Stage, broken: Broken, name: str
) -> None:
    with pytest.raises(StepFailed) as caught:
        broken(name, OSError(28, "No space left on device", "/sys/fs/x"))
    assert str(caught.value) == f"step 2: {name}: /sys/fs/x: No space left on device"
    # The third step does not begin, and what still ran was collected.
    assert ("StepStart", 3) not in stage.did()
    assert stage.fakes.groups == []


@pytest.mark.parametrize("name", OPS)
def test_a_defect_of_the_agent_is_told_with_op_and_step(
    stage: Stage, broken: Broken, name: str
) -> None:
    lines: list[str] = []
    try:
        broken(name, TypeError("'NoneType' object is not iterable"))
    except TypeError:
        lines = agent_main._traceback().splitlines()
    assert lines[-2:] == [
        "TypeError: 'NoneType' object is not iterable",
        f"during step 2: {name}",
    ]
    assert any("steps.py" in line and "_attempt" in line for line in lines)
    assert stage.fakes.groups == []
