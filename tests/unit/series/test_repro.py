# SPDX-License-Identifier: GPL-2.0-only
"""A failed run against its repetition: the diff, the chain of callbacks, what the probes left."""

import re
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from ktstr.series.lazy import LazyValue, RawBytes
from ktstr.series.maps import ArrayEntries, MapSnapshot
from ktstr.series.repro.chain import Call, call_at, call_text, chains, dsq_name, in_a_row, stitch
from ktstr.series.repro.diff import Failure, RunSide, compare
from ktstr.series.repro.probes import (
    RING,
    ProbeCounters,
    Probed,
    ProbeData,
    ProbeEvent,
    read_probes,
    without_ring,
)
from ktstr.series.repro.report import NOT_LOAD_BEARING, ReproReport
from ktstr.series.snapshot import CpuSnapshot, SchedExtState, Snapshot
from ktstr.series.values import Array, Char, RenderedValue, SnapshotError, Struct, Uint

ROOT = Path(__file__).parents[3]
NO_COUNTS = ProbeCounters(0, 0, 0, 0, 0, 0, 0)
CRASHED = RunSide(
    "fail",
    (Failure("SchedulerCrashed", None, "died 1.2s into test"),),
    1025,
    "ERROR_BPF (1025): scx_bpf_error: boom",
)


def event(ns: int, phase: str, callback: str = "enqueue", **changes: Any) -> ProbeEvent:
    fields: dict[str, Any] = {
        "cpu": 0,
        "program": f"my_{callback}",
        "task": 0x1000,
        "pid": 41,
        "comm": "worker",
        "args": (0, 0, 0),
        "ret": 0,
        "slice_ns": 0,
        "vtime": 0,
        "dsq_id": None,
        "ddsp_dsq_id": None,
    }
    return ProbeEvent(ns=ns, phase=phase, callback=callback, **(fields | changes))


def data(*events: ProbeEvent) -> ProbeData:
    return ProbeData(NO_COUNTS, (), tuple(sorted(events, key=lambda e: e.ns)))


# The chain


def test_a_return_joins_the_entry_of_its_cpu_program_and_task() -> None:
    first = event(10, "entry")
    elsewhere = event(11, "entry", cpu=1)
    other_task = event(12, "entry", task=0x2000)
    left = event(13, "exit")
    calls = stitch([left, other_task, elsewhere, first])
    assert calls == [Call(first, left), Call(elsewhere), Call(other_task)]


def test_a_return_without_its_entry_is_left_out() -> None:
    assert stitch([event(5, "exit")]) == []


def test_the_call_at_the_error_is_the_one_that_had_not_returned_on_that_cpu() -> None:
    trigger = event(50, "trigger", "", cpu=1)
    inside = Call(event(40, "entry", "dispatch", cpu=1), event(60, "exit", "dispatch", cpu=1))
    over = Call(event(41, "entry", "dispatch", cpu=1), event(45, "exit", "dispatch", cpu=1))
    elsewhere = Call(event(49, "entry", "enqueue", cpu=0))
    assert call_at([inside, elsewhere], trigger) is inside
    assert call_at([over, elsewhere], trigger) is None


def test_a_line_tells_time_arguments_and_what_changed() -> None:
    enter = event(7_000_000, "entry", "enqueue", args=(0x1000, 9, 0))
    leave = event(7_012_500, "exit", slice_ns=20_000_000, ddsp_dsq_id=(1 << 63) | 2)
    line = call_text(Call(enter, leave), 10_000_000)
    assert " ".join(line.split()) == (
        "-3.000 ms cpu 0 enqueue(enq_flags=9) 12.5 µs ddsp none → LOCAL slice 0 ms → 20 ms"
    )
    assert call_text(Call(enter), 0).endswith("not returned")
    chosen = event(1, "entry", "select_cpu", args=(0x1000, 0xFFFFFFFF, 8))
    returned = event(2, "exit", "select_cpu", ret=3)
    assert "select_cpu(prev_cpu=-1, wake_flags=8) = 3" in call_text(Call(chosen, returned), 0)


@pytest.mark.parametrize(
    ("dsq_id", "name"),
    [
        (None, "none"),
        (7, "7"),
        ((1 << 63) | 1, "GLOBAL"),
        ((1 << 63) | 2, "LOCAL"),
        ((3 << 62) | 5, "LOCAL_ON|5"),
    ],
)
def test_queues_are_named(dsq_id: int | None, name: str) -> None:
    assert dsq_name(dsq_id) == name


def test_calls_that_only_repeat_are_counted() -> None:
    def dispatch(at: int, **changes: Any) -> Call:
        return Call(
            event(at, "entry", "dispatch", **changes), event(at + 1, "exit", "dispatch", **changes)
        )

    moved = Call(event(40, "entry", "dispatch"), event(41, "exit", "dispatch", slice_ns=5))
    kept = in_a_row([dispatch(10), dispatch(20), dispatch(30, cpu=1), moved, moved])
    assert [(call.enter.ns, times) for call, times in kept] == [(20, 2), (30, 1), (40, 1), (40, 1)]


def test_tasks_come_by_how_near_they_are_to_the_error() -> None:
    def task(pid: int, at: int, callback: str) -> ProbeEvent:
        return event(at, "entry", callback, task=pid << 12, pid=pid, cpu=pid % 7)

    found = chains(
        data(
            task(100, 10, "running"),
            task(101, 20, "enqueue"),
            task(102, 15, "enqueue"),
            task(103, 30, "running"),
            task(104, 5, "running"),
            event(31, "trigger", "", cpu=103 % 7, task=104 << 12, pid=104),
        ),
        "worker[100] failed to run for 3.0s",
    )
    assert [(chain.pid, chain.why) for chain in found] == [
        (100, "named by the failure"),
        (103, "in running at the error"),
        (104, "on the CPU at the error"),
    ]


def test_of_those_who_wait_the_longest_waiting_comes_first() -> None:
    def task(pid: int, at: int, callback: str) -> ProbeEvent:
        return event(at, "entry", callback, task=pid << 12, pid=pid)

    found = chains(
        data(task(1, 30, "running"), task(2, 20, "enqueue"), task(3, 10, "enqueue")), "no pid here"
    )
    assert [(chain.pid, chain.why) for chain in found] == [
        (3, "enqueued, and not run since"),
        (2, "enqueued, and not run since"),
        (1, "among the last"),
    ]


def test_a_worker_that_a_failed_check_names_is_shown_and_who_only_came_and_went_is_not() -> None:
    found = chains(
        data(
            event(1, "entry", "running", task=0x7000, pid=7),
            event(2, "entry", "running", task=0x8000, pid=8),
            event(3, "entry", "exit_task", task=0x9000, pid=9),
            event(4, "entry", "enqueue", task=0xA000, pid=0),
        ),
        "Step[0] busy: worker 0 (SpinWait, tid 7) below floor",
    )
    assert [(chain.pid, chain.why) for chain in found] == [
        (7, "named by the failure"),
        (0, "enqueued, and not run since"),
        (8, "among the last"),
    ]


# The diff


def test_the_same_failure_with_other_figures_is_the_same_way() -> None:
    later = replace(CRASHED, failures=(Failure("SchedulerCrashed", None, "died 7.9s into test"),))
    report = compare(CRASHED, later, None)
    assert (report.failed_again, report.same_way, report.differences) == (True, True, ())
    expected = "it failed again, the same way: ERROR_BPF (1025): scx_bpf_error: boom"
    assert report.headline == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"exit_kind": 1026, "exit_text": "ERROR_STALL (1026): runnable task stall"},
        {"exit_text": "ERROR_BPF (1025): scx_bpf_error: bang"},
        {"failures": (Failure("SchedulerCrashed", "Step[0]", "died 1.2s into test"),)},
        {"failures": (*CRASHED.failures, Failure("Unfair", "Step[0]", "spread"))},
    ],
)
def test_another_exit_or_other_failed_checks_are_another_way(changes: dict[str, Any]) -> None:
    report = compare(CRASHED, replace(CRASHED, **changes), None)
    assert report.failed_again and not report.same_way
    assert report.headline.startswith("it failed again, another way")
    assert report.differences


def test_a_run_that_passes_did_not_fail_again() -> None:
    report = compare(CRASHED, RunSide("pass"), None)
    assert report.headline == "it did not fail again: pass"
    assert not report.failed_again and not report.same_way
    told = {(d.what, d.first, d.again) for d in report.differences}
    assert ("exit", "ERROR_BPF (1025): scx_bpf_error: boom", "none") in told
    assert ("failed check", "[SchedulerCrashed] died 1.2s into test", "did not fail") in told


def test_a_lost_guest_tells_nothing() -> None:
    report = compare(CRASHED, RunSide("lost", error="the guest kernel panicked"), None)
    assert report.headline == "the repetition tells nothing: lost: the guest kernel panicked"
    assert not report.failed_again


def test_a_first_run_without_workload_is_labelled() -> None:
    early = compare(replace(CRASHED, loaded=False), CRASHED, None)
    assert NOT_LOAD_BEARING in list(early.lines())
    assert NOT_LOAD_BEARING not in list(compare(CRASHED, CRASHED, None).lines())


# Snapshots


@dataclass(frozen=True)
class Of:
    """A value type that renders whatever it was given."""

    value: Struct

    def render(self, data: bytes) -> RenderedValue:
        return self.value

    def select(self, part: str) -> None:
        return None

    def names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.value.members)


def section(name: str, **variables: RenderedValue) -> MapSnapshot:
    value = LazyValue(b"", Of(Struct(None, tuple(variables.items()))))
    return MapSnapshot(name, 1, 2, "array", 4, 8, 1, value=value)


def snapshot(*maps: MapSnapshot, depths: tuple[int, ...] = (), **events: int) -> Snapshot:
    cpus = tuple(CpuSnapshot(i, local_dsq_depth=d) for i, d in enumerate(depths))
    return Snapshot("7.0", maps, cpus, SchedExtState(events=events or None))


def u64(value: int) -> Uint:
    return Uint(64, value)


def text(value: str, size: int) -> Array:
    return Array(size, tuple(Char(byte) for byte in value.encode().ljust(size, b"\0")))


def test_variables_that_are_zero_in_one_run_only_come_first() -> None:
    before = snapshot(section("s.bss", count=u64(1000), flag=u64(0), same=u64(5)))
    after = snapshot(section("s.bss", count=u64(1100), flag=u64(3), same=u64(5)))
    report = compare(
        replace(CRASHED, snapshots=(before,)), replace(CRASHED, snapshots=(after,)), None
    )
    told = [(d.what, d.first, d.again) for d in report.differences]
    assert told == [("flag", "0", "3"), ("count", "1000", "1100")]


def test_counters_and_the_deepest_queues_are_compared() -> None:
    first = (snapshot(depths=(1, 9), fallback=4), snapshot(depths=(2, 0)))
    again = (snapshot(depths=(2, 3), fallback=5),)
    report = compare(replace(CRASHED, snapshots=first), replace(CRASHED, snapshots=again), None)
    told = [(d.what, d.first, d.again) for d in report.differences]
    assert told == [("deepest local queue of CPU 1", "9", "3"), ("event fallback", "4", "5")]


def slot(ns: int, phase: int = 1, probed: int = 0, pid: int = 7) -> bytes:
    words = [ns, 0xFFFF888000001000, 1, 2, 3, 0, 20, 30, (1 << 64) - 1, 1 << 63]
    head = b"".join(word.to_bytes(8, "little") for word in words)
    numbers = (6).to_bytes(4, "little") + pid.to_bytes(4, "little") + (1).to_bytes(4, "little")
    place = probed.to_bytes(2, "little") + phase.to_bytes(2, "little")
    return head + numbers + place + b"worker\0garbage\0\0"


def probed_guest(ring: bytes, size: int = 112, nr_probed: int = 1) -> Snapshot:
    counters = {name: u64(0) for name in ProbeCounters.__slots__} | {"probe_count": u64(9)}
    variables = Struct(
        None,
        (
            *counters.items(),
            ("nr_probed", Uint(32, nr_probed)),
            ("exit_probe", text("tp_btf sched_ext_exit", 32)),
            ("missing", text("", 32)),
        ),
    )
    program = Struct(
        None,
        (
            ("name", text("my_enqueue", 48)),
            ("callback", text("enqueue", 24)),
            ("entries", u64(3)),
            ("exits", u64(2)),
        ),
    )
    raw = RawBytes()
    entries = ArrayEntries(ring, size, size, len(ring) // size, raw)
    return snapshot(
        section("probe.bss", ktstr_probe_counters=variables, ktstr_probed=Array(1, (program,))),
        MapSnapshot(RING, 2, 2, "array", 4, size, len(entries), entries=entries),
    )


def test_the_ring_is_read_in_order_without_slots_that_hold_no_event() -> None:
    nonsense = slot(5, phase=9) + slot(6, probed=77)
    found = read_probes(probed_guest(slot(30, 2) + slot(0) + nonsense + slot(20)))
    assert [(e.ns, e.phase, e.callback, e.pid, e.comm) for e in found.events] == [
        (20, "entry", "enqueue", 7, "worker"),
        (30, "exit", "enqueue", 7, "worker"),
    ]
    one = found.events[0]
    assert (one.args, one.slice_ns, one.vtime, one.cpu) == ((1, 2, 3), 20, 30, 1)
    assert (one.dsq_id, one.ddsp_dsq_id) == (None, None)
    assert found.probed == (Probed("my_enqueue", "enqueue", 3, 2),)
    assert (found.counters.probe_count, found.exit_probe) == (9, "tp_btf sched_ext_exit")


def test_a_guest_that_claims_more_programs_than_there_are_is_not_believed() -> None:
    assert len(read_probes(probed_guest(slot(1), nr_probed=1 << 31)).probed) == 1


def test_a_ring_of_another_shape_is_refused() -> None:
    with pytest.raises(SnapshotError, match="112 bytes"):
        read_probes(probed_guest(bytes(128), size=64))
    with pytest.raises(SnapshotError, match="ktstr_probe_counters"):
        read_probes(snapshot())


def test_the_ring_is_left_out_of_the_plain_form() -> None:
    assert [m.name for m in without_ring(probed_guest(slot(1))).maps] == ["probe.bss"]


def test_the_layout_is_that_of_the_guest(tmp_path: Path) -> None:
    fields = ("ns", "task", "args", "ret", "slice", "vtime", "dsq_id", "ddsp_dsq_id")
    fields += ("scx_flags", "pid", "cpu", "probed", "phase", "comm")
    prints = "".join(f'printf("%zu ", offsetof(struct probe_event, {f}));' for f in fields)
    source = tmp_path / "layout.c"
    source.write_text(
        "#include <linux/types.h>\n#include <stddef.h>\n#include <stdio.h>\n"
        f'#include "{ROOT}/guest/sched/probe.h"\n'
        f'int main(void) {{ {prints} printf("%zu", sizeof(struct probe_event)); }}\n'
    )
    subprocess.run(["gcc", "-o", tmp_path / "layout", source], check=True)
    told = subprocess.run([tmp_path / "layout"], check=True, capture_output=True, text=True).stdout
    assert [int(word) for word in told.split()] == [
        *(0, 8, 16, 40, 48, 56, 64, 72),
        *(80, 84, 88, 92, 94, 96, 112),
    ]


# The report


def full_report() -> ReproReport:
    calls = (event(10, "entry"), event(12, "exit", slice_ns=5), event(20, "trigger", "", task=0))
    found = replace(data(*calls), probed=(Probed("my_enqueue", "enqueue", 5, 4),))
    return replace(
        compare(CRASHED, CRASHED, found), record="r.json", tails={"kernel log": ("a", "b")}
    )


def test_the_plain_form_reads_back() -> None:
    report = full_report()
    assert ReproReport.from_json(report.to_json()) == report
    assert ReproReport.from_json(compare(CRASHED, RunSide("pass"), None).to_json()).counters is None


@pytest.mark.parametrize("wrong", [None, [], {}, {"verdict": 3}, "x"])
def test_what_is_no_report_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match="no report"):
        ReproReport.from_json(wrong)


def test_lines_tell_counts_chain_and_tails() -> None:
    told = full_report().text()
    assert "calls: enqueue 5 (1 not returned)" in told
    assert re.search(r"worker\[41\], among the last|worker\[41\], enqueued", told)
    assert "exit path: not probed" in told
    assert told.endswith("--- kernel log (last 40 lines) ---\na\nb\n")
