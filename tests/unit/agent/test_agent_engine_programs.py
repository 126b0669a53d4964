# SPDX-License-Identifier: GPL-2.0-only
"""Ops of the step engine that concern programs, the scheduler and the host."""

from typing import Any

import msgpack
import pytest
from tests.unit.agent.engine_stage import SPIN, Stage, cgroup, op, step

from agent.steps import StepFailed
from ktstr.wire import MsgType


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
    assert heard.of(MsgType.SNAPSHOT_REQUEST) == [{"id": 1, "kind": 1, "tag": "here", "step": 1}]
    assert heard.of(MsgType.KERNEL_OP_REQUEST) == [
        {"id": 2, "name": "stall", "value": 1, "section": None}
    ]


def test_watches_of_a_step_end_with_its_hold(stage: Stage) -> None:
    heard = stage.heard
    send = heard.send

    def send_and_answer(msg_type: int, fields: dict[str, object] | None = None) -> None:
        send(msg_type, fields)
        if msg_type == MsgType.SNAPSHOT_REQUEST:
            answer = msgpack.packb({"id": (fields or {})["id"], "error": ""})
            heard.handlers[MsgType.SNAPSHOT_REPLY](answer)

    heard.send = send_and_answer
    keys: dict[str, Any] = {"symbol": None, "section": None, "size": 4, "hits": 2}
    stage.run(
        step(1, [op("WatchSnapshot", name="w", variable="v", **keys)]),
        step(2),
        ops=[op("WatchSnapshot", name="b", variable="x", **keys)],
    )
    kept, first, ended = heard.of(MsgType.SNAPSHOT_REQUEST)
    assert kept == {"id": 1, "kind": 2, "tag": "b", "step": 0, "variable": "x", **keys}
    assert first == {"id": 2, "kind": 2, "tag": "w", "step": 1, "variable": "v", **keys}
    assert ended == {"id": 3, "kind": 3, "tag": "", "step": 1}
    kinds = [item[0] for item in heard.sent]
    asked = [at for at, kind in enumerate(kinds) if kind == MsgType.SNAPSHOT_REQUEST]
    # The last of them lies between the step's start and its end.
    assert kinds.index(MsgType.STEP_START) < asked[-1] < kinds.index(MsgType.STEP_END)


def test_a_host_that_does_not_answer_fails_the_step(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.steps.ANSWER_S", 0.02)
    with pytest.raises(StepFailed, match="did not answer"):
        stage.run(step(1, [op("CaptureSnapshot", name="here")]))
