# SPDX-License-Identifier: GPL-2.0-only
"""Snapshots that the agent takes: when they are due, and the helper, played by scripts."""

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.agent.engine_stage import op, step

from agent import snapshots
from agent.loop import Loop
from agent.relay import StatsSocket
from agent.snapshots import Snapshots, WorkloadClock
from ktstr.wire import MsgType

# Speaks as scx_snap does: says that it is ready, then answers each order out of the shared memory.
HELPER = """#!{python}
import os, struct, sys, time
def answer(error, data=b""):
    os.pwrite(3, data, 0)
    os.write(1, struct.pack("<II", error, len(data)))
answer(0)
count = 0
while order := os.read(0, 1):
    count += 1
    {body}
"""
GOOD = 'answer(0, b"snapshot %d of %s" % (count, order))'

Begin = Callable[..., Snapshots]


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    path = tmp_path / "scx_snap"
    monkeypatch.setattr(snapshots, "READER", str(path))
    # Not everybody who tests may be as urgent as the agent is.
    monkeypatch.setattr(os, "sched_setscheduler", lambda *how: None)

    def write(body: str) -> None:
        path.write_text(HELPER.format(python=sys.executable, body=body))
        path.chmod(0o755)

    return write


@pytest.fixture
def begin(loop: Loop, heard: Any, helper: Callable[[str], None], tmp_path: Path) -> Iterator[Begin]:
    made: list[Snapshots] = []

    def start(body: str = GOOD, /, **plan: Any) -> Snapshots:
        if body:
            helper(body)
        plain = {"clock": "virtual", "steps": [], "backdrop": {"ops": []}}
        made.append(Snapshots(plain | plan, loop, heard))
        if made[-1]._stats is not None:
            made[-1]._stats = StatsSocket(loop, str(tmp_path / "stats"))
        return made[-1]

    yield start
    for each in made:
        end(each)


def end(taker: Snapshots) -> None:
    if taker._stats is not None:
        while taker._open:
            taker._stats.give_up("the test is over")
        taker._stats.give_up("the test is over")
    child = taker._reader._child
    if child is not None and child.status is None:
        child.kill(signal.SIGKILL)
        assert child.wait(30)


def taken(heard: Any) -> list[dict[str, Any]]:
    return heard.of(MsgType.GUEST_SNAPSHOT)


def test_the_workloads_clock_stands_between_holds_and_in_pauses() -> None:
    clock = WorkloadClock()
    assert (clock.elapsed(100.0), clock.moment(1.0)) == (0.0, None)
    clock.start(100.0)
    clock.start(100.25)
    assert (clock.elapsed(100.5), clock.moment(2.0)) == (0.5, 102.0)
    clock.stop(100.5)
    clock.stop(104.0)
    assert (clock.elapsed(105.0), clock.moment(2.0)) == (0.5, None)
    clock.start(110.0)
    assert (clock.elapsed(110.25), clock.moment(2.0)) == (0.75, 111.5)


def test_what_the_helper_packs_is_sent_with_its_place_in_the_workload(
    begin: Begin, heard: Any
) -> None:
    taker = begin(boundaries_ms=[520, 840])
    taker.prepare()
    taker.clock.start(0.0)
    taker.clock.stop(0.7)
    taker.take_next(3)
    assert taker.take("asked", None, 4)
    first, second = taken(heard)
    assert first == {
        "tag": "periodic_000", "elapsed_ms": 700, "boundary_ms": 520, "step": 3, "stats": None,
        "meta": None, "body": b"snapshot 1 of s", "error": None,
    }  # fmt: skip
    assert (second["tag"], second["boundary_ms"], second["step"]) == ("asked", None, 4)
    assert second["body"] == b"snapshot 2 of s"
    assert heard.logged == []


def test_the_steps_take_them_at_the_boundaries(stage: Any, helper: Callable[[str], None]) -> None:
    helper(GOOD)
    two = (step(1, hold=100), step(2, [op("CaptureSnapshot", name="mine")], hold=100))
    stage.run(*two, plan={"clock": "virtual", "boundaries_ms": [20, 60, 150]})
    order = [
        (entry[1]["tag"] if entry[0] == MsgType.GUEST_SNAPSHOT else entry[0])
        for entry in stage.heard.sent
        if entry[0] in (MsgType.GUEST_SNAPSHOT, MsgType.STEP_START, MsgType.STEP_END)
    ]
    begins, ends = MsgType.STEP_START, MsgType.STEP_END
    assert order == [
        begins, "periodic_000", "periodic_001", ends, "mine", begins, "periodic_002", ends,
    ]  # fmt: skip
    found = taken(stage.heard)
    assert [each["step"] for each in found] == [1, 1, 2, 2]
    for each in found:
        assert each["elapsed_ms"] >= (each["boundary_ms"] or 100), each["tag"]
    end(stage.engine.snapshots)


def test_a_pause_shifts_those_that_are_left(stage: Any, helper: Callable[[str], None]) -> None:
    helper(GOOD)
    pause = [op("Pause", duration_ms=80, at_ms=30), op("Resume", at_ms=30)]
    stage.run(step(1, pause, hold=300), plan={"clock": "virtual", "boundaries_ms": [10, 60]})
    shot, stops, goes_on = (
        MsgType.GUEST_SNAPSHOT, MsgType.SCENARIO_PAUSE, MsgType.SCENARIO_RESUME,
    )  # fmt: skip
    marks = [entry[0] for entry in stage.heard.sent if entry[0] in (shot, stops, goes_on)]
    assert marks == [shot, stops, goes_on, shot]
    end(stage.engine.snapshots)


def test_by_the_wall_clock_the_host_takes_them(stage: Any) -> None:
    stage.run(step(1, hold=20), plan={"clock": "wall", "boundaries_ms": [5]})
    assert taken(stage.heard) == []
    assert stage.engine.snapshots._reader._child is None


def test_an_error_of_the_helper_is_the_snapshots_and_the_next_may_work(
    begin: Begin, heard: Any
) -> None:
    taker = begin('answer(28) if count == 1 else answer(0, b"x")', boundaries_ms=[1, 2])
    taker.take_next(1)
    taker.take_next(1)
    assert [(each["body"], each["error"]) for each in taken(heard)] == [
        (None, "reading the kernel's state failed: No space left on device"),
        (b"x", None),
    ]


def test_more_than_the_shared_memory_is_no_answer(begin: Begin, heard: Any) -> None:
    taker = begin('os.write(1, struct.pack("<II", 0, 1 << 30))')
    assert not taker.take("x", None, 1)
    assert taken(heard)[0]["body"] is None


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("os._exit(3)", "did not answer within 20 s: exited with status 3"),
        ("time.sleep(60)", "did not answer within 0.1 s: killed by signal 9"),
        ('os.write(1, b"???"); os._exit(0)', "did not answer within 20 s: exited with status 0"),
    ],
)
def test_a_helper_that_is_lost_is_named_and_after_two_the_rest_is_given_up(
    begin: Begin, heard: Any, monkeypatch: pytest.MonkeyPatch, body: str, why: str
) -> None:
    monkeypatch.setattr(snapshots, "ANSWER_S", 0.1 if "sleep" in body else 20.0)
    taker = begin(body, boundaries_ms=[1, 2, 3, 4, 5])
    taker.clock.start(0.0)
    while taker.due() is not None:
        taker.take_next(1)
    found = taken(heard)
    assert [each["tag"] for each in found] == ["periodic_000", "periodic_001"]
    assert all(each["error"].endswith(why) for each in found), found
    assert heard.logged == ["3 snapshots abandoned after two failures in a row"]


def test_a_guest_without_the_helper_says_so(begin: Begin, heard: Any) -> None:
    taker = begin("")
    assert not taker.take("x", None, 1)
    assert taken(heard)[0]["error"].endswith("scx_snap: No such file or directory")


def test_what_the_helper_prints_is_logged(begin: Begin, heard: Any) -> None:
    taker = begin('os.write(2, b"no run queues\\n"); ' + GOOD)
    assert taker.take("x", None, 1) and taker.take("y", None, 1)
    assert "snapshots: no run queues" in heard.logged


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[socket.socket]:
    """Where the scheduler would listen; whether it answers is up to the test."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "stats"))
        listener.listen(8)
        listener.settimeout(30)
        yield listener


def test_statistics_join_their_snapshot_while_the_workload_goes_on(
    begin: Begin, loop: Loop, heard: Any, scheduler: socket.socket
) -> None:
    taker = begin(scheduler={"kind": "bpf"})
    for tag in ("one", "two"):
        assert taker.take(tag, None, 1)
    assert taken(heard) == [], "nobody has answered yet"
    peer, _ = scheduler.accept()

    def answer(line: bytes, answer: bytes) -> None:
        assert peer.recv(1000) == line
        peer.sendall(answer + b"\n")
        loop.run(time.monotonic() + 0.05)

    answer(snapshots.STATS_LINE, b"first")
    answer(snapshots.META_LINE, b"meaning")
    (first,) = taken(heard)
    answer(snapshots.STATS_LINE, b"second")
    (_, second) = taken(heard)
    taker.finish()
    peer.close()
    fine = {"error": None, "kind": None}
    assert (first["tag"], second["tag"]) == ("one", "two")
    assert first["stats"] == {"line": b"first", **fine}
    assert first["meta"] == {"line": b"meaning", **fine}
    assert second["stats"] == {"line": b"second", **fine} and second["meta"] is None
    assert [each["body"] for each in (first, second)] == [b"snapshot 1 of s", b"snapshot 2 of s"]


def test_a_silent_scheduler_is_given_up_after_two_and_keeps_no_snapshot(
    begin: Begin, heard: Any, scheduler: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "STATS_S", 0.05)
    taker = begin(scheduler={"kind": "bpf"})
    for tag in "abc":
        assert taker.take(tag, None, 1)
    taker.finish()
    assert [each["tag"] for each in taken(heard)] == ["a", "b", "c"]
    stats = [each["stats"] for each in taken(heard)]
    assert [(each["line"], each["kind"]) for each in stats] == [(None, "cancelled")] * 3
    assert [each["error"] for each in stats[:2]] == [
        "the scheduler did not answer within 0.05 s"
    ] * 2
    assert stats[2]["error"].endswith("is not asked again")


def test_no_more_than_a_few_wait_for_an_answer(
    begin: Begin, heard: Any, scheduler: socket.socket
) -> None:
    taker = begin(scheduler={"kind": "bpf"})
    for number in range(snapshots.MAX_OPEN):
        taker.take(str(number), None, 1)
    assert taken(heard) == []
    taker.take("more", None, 1)
    (oldest,) = taken(heard)
    assert (oldest["tag"], oldest["stats"]["kind"]) == ("0", "cancelled")


def test_without_a_server_every_snapshot_says_so(begin: Begin, heard: Any) -> None:
    taker = begin(scheduler={"kind": "bpf"})
    assert taker.take("a", None, 1) and taker.take("b", None, 1)
    assert [each["stats"]["kind"] for each in taken(heard)] == ["no_scheduler"] * 2
