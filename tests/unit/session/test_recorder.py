# SPDX-License-Identifier: GPL-2.0-only
"""What the recorder believes, refuses and bounds."""

from dataclasses import replace
from pathlib import Path

import pytest

from ktstr.errors import ChannelLost, HostUnfit
from ktstr.model.topology import Topology
from ktstr.session.hello import Hello, check_topology
from ktstr.session.recorder import LOG_CAP, NOTES_CAP, BoundedLog, Recorder
from ktstr.telemetry import WorkerReport
from ktstr.testing.guest import ScriptedGuest
from ktstr.vm.accel import Accelerator
from ktstr.vm.spec import VmSpec
from ktstr.wire import Frame, FrameDecoder, MsgType, Stimulus, pack_payload


def record(guest: ScriptedGuest, recorder: Recorder) -> None:
    """Hand everything the guest has sent to the recorder."""
    decoder = FrameDecoder()
    while True:
        try:
            data = guest.bulk.recv(1 << 20)
        except BlockingIOError:
            return
        for frame in decoder.feed(data):
            recorder.on_frame(frame, 1.0)


def test_reports_that_nobody_asked_for_are_dropped_with_a_note() -> None:
    recorder = Recorder({(1, "left"): 1})
    with ScriptedGuest() as guest:
        guest.report(1, "left")
        guest.report(1, "left", worker=1)
        guest.report(2, "left")
        record(guest, recorder)
    assert len(recorder.reports) == 1
    assert len(recorder.notes) == 2
    assert "step 2, cgroup 'left' was not expected" in recorder.notes[1]


def test_a_hostile_report_is_refused_and_named() -> None:
    recorder = Recorder({(1, "left"): 1})
    with ScriptedGuest() as guest:
        wire = replace(WorkerReport(), completed=True).to_wire()
        wire["iterations"] = -1
        fields = {"step": 1, "cgroup": "left", "group_idx": 0, "work_idx": 0, "worker": 3}
        guest.send(MsgType.WORKER_REPORT, {**fields, "work_type": "SpinWait", "report": wire})
        record(guest, recorder)
    assert recorder.reports == []
    assert "iterations" in recorder.notes[0]
    assert "worker 3" in recorder.notes[0]


def test_reports_missing_after_their_step_are_told() -> None:
    recorder = Recorder({(1, "left"): 2, (2, "left"): 1})
    with ScriptedGuest() as guest:
        guest.step(1, (0, 10), (0, 1))
        guest.report(1, "left")
        record(guest, recorder)
    assert recorder.missing_reports() == {(1, "left"): 1}


def test_the_guest_cannot_fill_the_host_with_notes_or_steps() -> None:
    recorder = Recorder({})
    with ScriptedGuest() as guest:
        for n in range(600):
            guest.send(MsgType.GOODBYE, {"reason": 5})
            guest.step_start(1, n, 0)
            if n % 50 == 49:
                record(guest, recorder)
    assert len(recorder.notes) == NOTES_CAP
    assert len(recorder.events) <= 513


def test_the_guests_clock_is_kept_for_each_step_that_tells_it() -> None:
    recorder = Recorder({})
    for step, uptime_ms in ((1, 5000), (2, None), (3, 5700)):
        payload = Stimulus(uptime_ms, step_index=step, elapsed_ms=100 * step).to_payload()
        recorder.on_frame(Frame(MsgType.STEP_START, step, payload), 1.0)
    assert recorder.marks == {1: (100, 5000), 3: (300, 5700)}


def test_a_log_stops_at_its_cap_and_says_so() -> None:
    log = BoundedLog(10)
    log.add("12345")
    log.add("1234567890")
    log.add("never")
    assert log.text().startswith("1234512345\n[cut here")
    assert "never" not in log.text()
    assert LOG_CAP == 4 * 1024 * 1024


def test_the_exit_record_of_the_scheduler() -> None:
    recorder = Recorder({})
    recorder.started_at = -4.0
    with ScriptedGuest() as guest:
        exit_fields: dict[str, object] = {"kind": 1026, "kind_name": "SCX_EXIT_ERROR_STALL"}
        exit_fields |= {"exit_code": 0, "reason": "runnable task stall", "msg": "x", "dump": "d"}
        guest.send(
            MsgType.SCHEDULER_EXIT,
            {"during": "step 1", "process": "exited with status 1", "record": exit_fields},
        )
        record(guest, recorder)
    ended = recorder.scheduler_exit
    assert ended is not None
    assert (ended.kind, ended.reason, ended.dump) == (1026, "runnable task stall", "d")
    assert recorder.scheduler_died_s == 5.0


NODE = {"node": 0, "cpus": [0, 1, 2, 3], "distances": [10], "memory_kib": 524_000}
SPEC = VmSpec(Path("k"), Path("i"), Topology.parse("1n2l2c1t"), Accelerator("tcg", ""))


def hello(**changes: object) -> Hello:
    fields: dict[str, object] = {
        "protocol": 1,
        "release": "7",
        "mailbox": [4096],
        "vmcoreinfo": [1, 2],
        "sched_ext": None,
        "agent_start_s": 0.5,
        "topology": {"cpus": 4, "llcs": [[0, 1], [2, 3]], "nodes": [NODE], "cores": []},
    }
    return Hello.from_payload(pack_payload({**fields, **changes}))


@pytest.mark.parametrize(
    "changes",
    [
        {"mailbox": []},
        {"mailbox": [-1]},
        {"mailbox": list(range(5000))},
        {"vmcoreinfo": "x"},
        {"topology": {"cpus": 10**9}},
        {"topology": {"cpus": 1, "llcs": 5, "nodes": [], "cores": []}},
        *(
            {"topology": {"cpus": 4, "llcs": [], "nodes": nodes, "cores": []}}
            for nodes in (
                [[0, 1]],
                [{**NODE, "node": 5000}],
                [{**NODE, "cpus": [-1]}],
                [{**NODE, "distances": []}],
                [{**NODE, "distances": [10] * 2000}],
                [{**NODE, "memory_kib": 1 << 60}],
                [NODE] * 2000,
            )
        ),
        {"release": "r" * 1000},
        {"agent_start_s": float("nan")},
    ],
)
def test_a_hello_that_lies_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ChannelLost, match="Hello cannot be read"):
        hello(**changes)


def test_the_topology_is_held_against_the_one_asked_for() -> None:
    check_topology(hello(), SPEC)
    with pytest.raises(HostUnfit) as caught:
        check_topology(hello(), replace(SPEC, topology=Topology.parse("1n1l4c1t")))
    assert "last-level caches: asked {0,1,2,3}, the guest has {0,1} {2,3}" in str(caught.value)
    assert "NUMA" not in str(caught.value)


NODES_SPEC = replace(
    SPEC,
    topology=Topology.parse("1n3l1c1t").with_nodes((2, 1, 0)),
    node_memory_mib=(256, 160, 96),
    node_distances=((10, 21, 31), (21, 10, 41), (31, 41, 10)),
)
NODES = (
    {"node": 0, "cpus": [0, 1], "distances": [10, 21, 31], "memory_kib": 255 << 10},
    {"node": 1, "cpus": [2], "distances": [21, 10, 41], "memory_kib": 160 << 10},
    {"node": 2, "cpus": [], "distances": [31, 41, 10], "memory_kib": 96 << 10},
)


def with_nodes(*nodes: dict[str, object]) -> Hello:
    return hello(topology={"cpus": 3, "llcs": [[0], [1], [2]], "nodes": [*nodes], "cores": []})


def test_nodes_as_they_were_asked_for() -> None:
    found = with_nodes(*NODES)
    check_topology(found, NODES_SPEC)
    assert [node.plain() for node in found.nodes] == [
        {"node": 0, "cpus": "0-1", "memory_kib": 261_120, "distances": [10, 21, 31]},
        {"node": 1, "cpus": "2", "memory_kib": 163_840, "distances": [21, 10, 41]},
        {"node": 2, "cpus": "", "memory_kib": 98_304, "distances": [31, 41, 10]},
    ]


@pytest.mark.parametrize(
    ("node", "change", "line"),
    [
        (0, {"cpus": [0]}, "NUMA node 0, CPUs: asked {0,1}, the guest has {0}"),
        (2, {"cpus": [2]}, "NUMA node 2, CPUs: asked {}, the guest has {2}"),
        (
            1,
            {"distances": [21, 10, 20]},
            "NUMA node 1, distances: asked 21 10 41, the guest has 21 10 20",
        ),
        (
            1,
            {"memory_kib": 96 << 10},
            "NUMA node 1, memory: asked 160 MiB, the guest has 96.0 MiB",
        ),
        (
            2,
            {"memory_kib": (96 << 10) + 1},
            "NUMA node 2, memory: asked 96 MiB, the guest has 96.0 MiB",
        ),
        (2, {"node": 3}, "NUMA nodes: asked {0} {1} {2}, the guest has {0} {1} {3}"),
    ],
)
def test_a_node_that_is_not_as_asked_for(node: int, change: dict[str, object], line: str) -> None:
    nodes = list(NODES)
    nodes[node] = {**nodes[node], **change}
    with pytest.raises(HostUnfit) as caught:
        check_topology(with_nodes(*nodes), NODES_SPEC)
    assert str(caught.value).splitlines()[:2] == [
        "the guest's topology is not 2n3l1c1t+1m:",
        f"    {line}",
    ]
    assert len([text for text in str(caught.value).splitlines() if "asked" in text]) == 1


def test_distances_that_nobody_gave_are_the_kernels() -> None:
    spec = replace(NODES_SPEC, node_distances=None)
    nodes = [{**node, "distances": row} for node, row in zip(NODES, DEFAULTS, strict=True)]
    check_topology(with_nodes(*nodes), spec)
    with pytest.raises(HostUnfit, match="asked 10 20 20, the guest has 10 21 31"):
        check_topology(with_nodes(*NODES), spec)


DEFAULTS = ([10, 20, 20], [20, 10, 20], [20, 20, 10])
