# SPDX-License-Identifier: GPL-2.0-only
"""GuestSnapshot frames become samples that answer as frozen captures do."""

import json
import struct
from typing import Any

import pytest
from tests.unit.session.guest_told import (
    DISPATCH,
    ENQUEUE,
    FILES,
    OPS_BYTES,
    READER,
    Told,
    all_maps,
    body,
    bss,
    frame,
    operations,
    told_cpu,
    told_map,
)

from ktstr.introspect.cputime import SOFTIRQS
from ktstr.series.errors import NoActiveScheduler, SnapshotError
from ktstr.series.sample import MissingStats, MissingStatsReason, SampleSeries
from ktstr.series.snapshot import Snapshot
from ktstr.session import guest_snapshots
from ktstr.session.guest_types import GuestTypes, kernel_types
from ktstr.session.recorder import Recorder
from ktstr.session.sidecar.samples import read_sample, sample_record
from ktstr.telemetry.decode import Fields
from ktstr.wire import Frame, MsgType, WireError


def taken(**more: Any) -> Snapshot:
    (sample,) = Told().receive(frame(body(**more))).samples
    assert sample.error is None
    return sample.taken()


def test_a_frame_is_a_sample_with_its_place() -> None:
    (sample,) = Told().receive(frame(body())).samples
    assert (sample.tag, sample.elapsed_ms, sample.boundary_offset_ms) == ("periodic_000", 702, 700)
    assert (sample.step_index, sample.paused_ns, sample.error) == (2, None, None)
    assert isinstance(sample.stats, MissingStatsReason)
    assert sample.stats.kind is MissingStats.NO_SCHEDULER_BINARY
    (asked,) = Told().receive(frame(body(), tag="mine", boundary_ms=None)).samples
    assert (asked.tag, asked.boundary_offset_ms, asked.anchor_ms) == ("mine", None, 702)


def test_values_have_the_names_of_the_programs_own_types() -> None:
    snapshot = taken()
    assert (snapshot.live_var("total").as_u64(), snapshot.var("level").as_i64()) == (5, -3)
    assert snapshot.map("words").at(2).get().as_u64() == 30
    assert [entry.get("ran").as_u64() for entry in snapshot.map("table")] == [100, 200]
    assert snapshot.map("table").key(9).get("slots").as_u64() == 4
    each = snapshot.map("each").at(1)
    assert [each.cpu(cpu).get("ran").as_u64() for cpu in (0, 1)] == [3, 4]
    assert snapshot.map("pairs").key(7).cpu(1).get("slots").as_u64() == 3
    assert snapshot.map("mine_ops").get("data.flags").as_u64() == 5
    described = {taken.name: (taken.id, taken.type_name) for taken in snapshot.maps}
    assert described["table"] == (13, "hash") and described["each"] == (14, "percpu_array")
    with pytest.raises(SnapshotError, match="type queue is not decoded"):
        snapshot.map("line").at(0)


def test_the_attached_schedulers_maps_are_those_of_its_programs() -> None:
    # Only enqueue's program is in its operations; dispatch's is of nobody.
    assert taken().active_maps == (11, 12, 13, 15)
    assert taken().active_ops == "mine"
    both = struct.pack("<QQQQQ", 1, ENQUEUE, DISPATCH, 0, 0)
    # Registered without a link, as its state says.
    assert taken(maps=[*all_maps()[:4], operations(15, both)], links=[]).active_maps == (
        11, 12, 13, 14, 15,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"links": []}, "0 struct_ops maps hold attached operations"),
        (
            {"maps": [operations(15), operations(16)], "links": [15, 16]},
            "2 struct_ops maps hold attached operations",
        ),
        ({"files": FILES | {"state": b"disabled\n"}}, "no scheduler is loaded"),
        ({"files": FILES | {"state": None}}, "no scheduler is loaded"),
    ],
)
def test_whose_maps_are_whose_is_not_guessed(more: dict[str, Any], why: str) -> None:
    with pytest.raises(NoActiveScheduler, match=why):
        taken(**more).active()


def test_types_are_told_once_for_all_snapshots() -> None:
    told = Told().receive(frame(body()))
    # The first one's contents are never looked at.
    told.receive(frame(body(btfs=[], progs=[], maps=[bss(11, 8), operations(15)])))
    second = told.pending[1].settled().taken()
    assert second.live_var("total").as_u64() == 8
    assert second.active_maps == (11, 15)


def test_a_map_that_cannot_be_decoded_says_why_and_the_others_are_there() -> None:
    wrong = [
        bss(11, 5),
        bss(21, 1, name="no.types") | {"btf": 77},
        told_map(22, "HASH", "short", bytes(8), count=2, keys=bytes(8)),
        told_map(23, "HASH", "keyless", bytes(16), count=2, keys=bytes(4)),
        told_map(24, "ARRAY", "many", bytes(40), count=5),
        told_map(25, "PERCPU_ARRAY", "one_cpu", bytes(8), count=1),
        operations(26, OPS_BYTES[:-1]),
        told_map(27, "HASH", "refused", error="bpf(2) does not list it: Permission denied"),
        told_map(28, "ARRAY", "odd", bytes(8), count=1, key_size=8),
    ]
    maps = {each.name: each.error for each in taken(maps=wrong).maps}
    assert maps == {
        "mine.bss": None,
        "no.types": "its types (BTF 77) did not come with the snapshot",
        "short": "its values should be 16 bytes and came as 8",
        "keyless": "its keys should be 8 bytes and came as 4",
        "many": "5 entries in a map for 4",
        "one_cpu": "each CPU's values should be 16 bytes and came as 8",
        "mine_ops": "its one value should be 40 bytes and came as 39",
        "refused": "bpf(2) does not list it: Permission denied",
        "odd": "an index should be 4 bytes and came as 8",
    }


def test_what_is_cut_says_so_and_keeps_what_came() -> None:
    cut = bss(11, 5) | {"values": struct.pack("<Q", 5), "truncated": "only the first 8 bytes"}
    snapshot = taken(maps=[cut])
    assert snapshot.maps[0].truncated == "only the first 8 bytes"
    assert snapshot.var("total").as_u64() == 5
    with pytest.raises(SnapshotError):
        snapshot.var("level").as_i64()


def test_sched_ext_is_what_sysfs_shows() -> None:
    state = taken().sched_ext
    assert (state.state, state.enabled, state.ops, state.switch_all) == (
        "enabled", True, "mine", True,
    )  # fmt: skip
    assert (state.nr_rejected, state.enable_seq) == (3, 2)
    assert state.events == {"a": 4, "b": 0}
    assert state.exit_kind is None and "sched_ext.exit_kind" in taken().unavailable
    older = taken(files=FILES | {"events": None, "enable_seq": b"x\n"})
    assert (older.sched_ext.events, older.sched_ext.enable_seq) == (None, None)
    assert "root/events" in older.unavailable["sched_ext.events"]
    none = taken(files=dict.fromkeys(FILES))
    assert none.sched_ext.state is None
    assert none.unavailable["sched_ext"] == "kernel 6.99 has no sched_ext (CONFIG_SCHED_CLASS_EXT)"


def test_run_queues_leave_out_what_reads_them() -> None:
    reading = told_cpu(1, curr_pid=READER, curr_tgid=READER, curr_comm=b"scx_snap", nr_running=3)
    snapshot = taken(cpus=[told_cpu(0, clock=None, curr_comm=b"a\xffb"), reading])
    first, second = snapshot.cpus
    assert (first.nr_running, first.scx_nr_running, first.local_dsq_depth) == (0, 1, 2)
    assert (first.clock, first.idle, first.curr_pid, first.curr_tgid) == (None, False, 5, 4)
    assert first.curr_comm == r"a\xffb"
    assert (second.nr_running, second.scx_nr_running, second.nr_switches) == (2, 101, 7)
    assert (second.idle, second.curr_pid, second.curr_comm) == (None, None, None)
    assert "left out" in snapshot.unavailable["cpus.1.curr"]


def test_run_queues_that_cannot_be_read_are_unavailable() -> None:
    snapshot = taken(cpus="this kernel does not take snap.bpf.o: Permission denied")
    assert (snapshot.cpus, snapshot.host.per_cpu_time) == ((), ())
    assert snapshot.unavailable["cpus"].endswith("Permission denied")
    assert snapshot.live_var("total").as_u64() == 5


def test_cpu_times_are_read_by_the_kernels_types() -> None:
    one = taken().host.per_cpu_time[1]
    # Places of the canned kernel: user is the first state, at index 1; steal the last, at 8.
    assert (one.cpu, one.user_ns, one.steal_ns, one.hardirqs) == (1, 1001, 1008, 51)
    assert one.softirqs == {name: 209 - at for at, name in enumerate(SOFTIRQS)}
    assert one.idle_sleeptime_ns == 50 * 10_000_000
    assert one.iowait_sleeptime_ns is None


def test_times_that_are_not_whole_are_none_rather_than_zero() -> None:
    snapshot = taken(cpus=[told_cpu(0), told_cpu(1, cpustat=bytes(8))])
    assert snapshot.host.per_cpu_time == ()
    assert "CPU 1" in snapshot.unavailable["host.cpu_time"]


def test_a_record_gives_back_what_was_told() -> None:
    (sample,) = Told().receive(frame(body())).samples
    plain = json.loads(json.dumps(sample_record(sample)))
    back = read_sample(Fields(plain, "file"))
    assert json.loads(json.dumps(sample_record(back))) == plain
    snapshot = back.taken()
    assert (snapshot.live_var("total").as_u64(), snapshot.active_maps) == (5, (11, 12, 13, 15))
    assert snapshot.map("pairs").key(7).cpu(1).get("slots").as_u64() == 3
    assert snapshot.cpus == sample.taken().cpus and snapshot.host == sample.taken().host


def test_projections_are_those_of_any_series() -> None:
    told = Told()
    for at, total in enumerate((5, 9, 30)):
        maps = [bss(11, total), *all_maps()[1:]]
        told.receive(frame(body(maps=maps), tag=f"periodic_{at:03d}", boundary_ms=700 + at))
    series = SampleSeries.from_drained_typed(told.samples, None).periodic_only()
    assert list(series.bpf_live_u64("total").values_iter()) == [5, 9, 30]
    summed = series.bpf_map("each").at(0).field_cpu_sum_u64("ran")
    assert list(summed.values_iter()) == [3, 3, 3]


def test_statistics_and_what_they_mean() -> None:
    answer = {"line": b'{"errno":0,"args":{"resp":{"n":4}}}', "error": None, "kind": None}
    silent = {"line": None, "error": "no answer", "kind": "cancelled"}
    meta = {"line": b'{"errno":0,"args":{"resp":{"top":{"fields":{}}}}}', "error": None}
    told = Told().receive(
        frame(body(), stats=answer, meta=meta | {"kind": None}),
        frame(body(), stats=silent, meta=meta | {"kind": None}),
    )
    first, second = told.samples
    assert first.stats == {"n": 4}
    assert isinstance(second.stats, MissingStatsReason)
    assert second.stats.kind is MissingStats.CANCELLED
    assert told.described == [{"top": {"fields": {}}}] and told.notes == []
    refused = Told().receive(frame(body(), stats=answer, meta=silent))
    assert (refused.described, len(refused.notes)) == ([], 1)


def test_a_snapshot_that_failed_in_the_guest_is_a_failed_sample() -> None:
    (sample,) = Told().receive(frame(None, error="the helper is gone")).samples
    assert (sample.error, sample.snapshot) == ("the helper is gone", None)


@pytest.mark.parametrize(
    ("packed", "why"),
    [
        (None, "the snapshot has no contents"),
        (b"\xc1", "a"),
        ({}, "'version'"),
        (body(version=2), "'version' is 2"),
        (body(btfs=[{"id": 0}]), "btfs"),
        (body(maps=[{}] * 5000), "'maps'"),
        (body(maps=[told_map(0, "ARRAY", "x")]), "'maps"),
        (body(files={}), "files"),
        (body(nr_cpus=0), "'nr_cpus'"),
        (body(more=1), "'more'"),
        (body(cpus=[{"cpu": 1 << 40}]), "cpus"),
    ],
)
def test_contents_that_are_not_what_they_should_be_are_a_failed_sample(
    packed: Any, why: str
) -> None:
    (sample,) = Told().receive(frame(packed)).samples
    assert sample.snapshot is None
    assert why in (sample.error or "")


@pytest.mark.parametrize(
    "more", [{"tag": 3}, {"step": -1}, {"elapsed_ms": "x"}, {"body": b"", "extra": 1}]
)
def test_a_frame_without_a_place_is_refused(more: dict[str, Any]) -> None:
    told = Told()
    with pytest.raises(WireError):
        told.receive(frame(body(), **more))
    assert told.pending == []


def test_the_runs_snapshots_have_a_limit_together(monkeypatch: pytest.MonkeyPatch) -> None:
    payload = frame(body())
    monkeypatch.setattr(guest_snapshots, "MAX_TOTAL", 2 * len(payload))
    errors = [sample.error for sample in Told().receive(payload, payload, payload).samples]
    assert errors[:2] == [None, None]
    assert errors[2] is not None and "together" in errors[2]


def test_a_guest_that_was_not_to_take_any_is_noted() -> None:
    recorder = Recorder({})
    recorder.on_frame(Frame(MsgType.GUEST_SNAPSHOT, 0, frame(body())), 1.0)
    assert any("not to take snapshots" in note for note in recorder.notes)


def test_without_the_kernels_types_variables_are_there_all_the_same() -> None:
    told = Told()
    told.snapshots._types = GuestTypes(lambda: kernel_types(None))
    (sample,) = told.receive(frame(body())).samples
    snapshot = sample.taken()
    assert snapshot.map("mine.bss").get("level").as_i64() == -3
    assert "could not be unpacked" in (snapshot.map("mine_ops").error or "")
    assert "could not be unpacked" in snapshot.unavailable["host.cpu_time"]
    assert snapshot.active_maps is None
