# SPDX-License-Identifier: GPL-2.0-only
"""Worker reports: the wire form, and everything a hostile guest may put there."""

import struct

import numpy as np
import pytest

from ktstr.errors import ExitCode
from ktstr.telemetry import (
    MAX_WAKE_SAMPLES,
    Exited,
    Panicked,
    PhaseSlice,
    Signaled,
    TaggedReport,
    TelemetryError,
    TimedOut,
    WaitFailed,
    WorkerReport,
)

SEED_ORDER = [
    "tid",
    "work_units",
    "cpu_time_ns",
    "wall_time_ns",
    "off_cpu_ns",
    "migration_count",
    "cpus_used",
    "migrations",
    "max_gap_ms",
    "max_gap_cpu",
    "max_gap_at_ms",
    "wake_latencies_ns",
    "wake_sample_total",
    "iteration_costs_ns",
    "iteration_cost_sample_total",
    "timer_latencies_ns",
    "timer_sample_total",
    "iterations",
    "schedstat_run_delay_ns",
    "schedstat_run_count",
    "schedstat_cpu_time_ns",
    "completed",
    "numa_pages",
    "vmstat_numa_pages_migrated",
    "exit_info",
    "is_messenger",
    "group_idx",
    "affinity_error",
    "sched_policy_error",
    "phase_slices",
    "taobench_whole",
]


def frame(**changes: object) -> dict[str, object]:
    """A worker frame as msgpack decodes it."""
    report: dict[str, object] = {
        "tid": 77,
        "work_units": 2048,
        "cpu_time_ns": 600,
        "wall_time_ns": 1000,
        "off_cpu_ns": 400,
        "migration_count": 3,
        "cpus_used": [3, 1],
        "migrations": [{"at_ns": 5, "from_cpu": 1, "to_cpu": 3}],
        "max_gap_ms": 12,
        "max_gap_cpu": 3,
        "max_gap_at_ms": 40,
        "wake_latencies_ns": struct.pack("<3Q", 7, 2**64 - 1, 256),
        "wake_sample_total": 9,
        "iteration_costs_ns": b"",
        "iteration_cost_sample_total": 0,
        "timer_latencies_ns": struct.pack("<Q", 11),
        "timer_sample_total": 1,
        "iterations": 55,
        "schedstat_run_delay_ns": 70,
        "schedstat_run_count": 8,
        "schedstat_cpu_time_ns": 590,
        "completed": True,
        "numa_pages": {0: 10, 1: 2},
        "vmstat_numa_pages_migrated": 4,
        "exit_info": None,
        "is_messenger": False,
        "group_idx": 0,
        "affinity_error": None,
        "sched_policy_error": "Operation not permitted",
        "phase_slices": [],
        "taobench_whole": None,
    }
    report.update(changes)
    return {
        "step": 2,
        "cgroup": "cg_0",
        "group_idx": 0,
        "work_idx": 1,
        "worker": 4,
        "work_type": "PipeIo",
        "report": report,
    }


def test_the_fields_are_the_seeds_in_the_seeds_order() -> None:
    wire = WorkerReport().to_wire()
    assert list(wire) == SEED_ORDER
    assert len(wire) == 31


def test_a_frame_decodes_to_what_it_says() -> None:
    tagged = TaggedReport.from_wire(frame())
    report = tagged.report
    assert (tagged.step_index, tagged.cgroup, tagged.worker) == (2, "cg_0", 4)
    assert report.cpus_used == {1, 3}
    assert report.migrations[0].to_cpu == 3
    assert report.wake_latencies_ns.dtype == np.uint64
    assert report.wake_latencies_ns.tolist() == [7, 2**64 - 1, 256]
    assert report.numa_pages == {0: 10, 1: 2}
    assert report.sched_policy_error == "Operation not permitted"
    assert not report.is_sentinel


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"tid": -1}, "tid"),
        ({"tid": 2**31}, "tid"),
        ({"work_units": 2**64}, "work_units"),
        ({"work_units": -1}, "work_units"),
        ({"work_units": True}, "work_units"),
        ({"work_units": 1.0}, "work_units"),
        ({"iterations": "55"}, "iterations"),
        ({"off_cpu_ns": 1001}, "off_cpu_ns"),
        ({"cpus_used": [1, 1]}, "cpus_used"),
        ({"cpus_used": [8192]}, "cpus_used"),
        ({"cpus_used": [True]}, "cpus_used"),
        ({"cpus_used": {1: 1}}, "cpus_used"),
        ({"max_gap_cpu": 70000}, "max_gap_cpu"),
        ({"wake_latencies_ns": b"1234567"}, "wake_latencies_ns"),
        ({"wake_latencies_ns": [1, 2]}, "wake_latencies_ns"),
        (
            {
                "wake_latencies_ns": bytes(8 * (MAX_WAKE_SAMPLES + 1)),
                "wake_sample_total": MAX_WAKE_SAMPLES + 1,
            },
            "wake_latencies_ns",
        ),
        ({"wake_sample_total": 2}, "wake_sample_total"),
        ({"timer_sample_total": 0}, "timer_sample_total"),
        ({"completed": 1}, "completed"),
        ({"numa_pages": {-1: 5}}, "numa_pages"),
        ({"numa_pages": {0: 2**64}}, "numa_pages"),
        ({"numa_pages": [1]}, "numa_pages"),
        ({"exit_info": {"kind": "Vanished"}}, "exit_info.kind"),
        ({"exit_info": {"kind": "Exited"}, "completed": False}, "exit_info.code"),
        ({"exit_info": {"kind": "TimedOut", "code": 1}, "completed": False}, "exit_info.code"),
        ({"exit_info": {"kind": "Signaled", "signal": 0}}, "exit_info.signal"),
        ({"exit_info": {"kind": "TimedOut"}}, "completed"),
        ({"migrations": [{"at_ns": 1, "from_cpu": 0}]}, "migrations[0].to_cpu"),
        ({"migrations": [5]}, "migrations[0]"),
        ({"migration_count": 0}, "migration_count"),
        ({"affinity_error": "x" * 5000}, "affinity_error"),
        ({"taobench_whole": {}}, "taobench_whole.get_cmds"),
        ({"taobench_whole": 0}, "taobench_whole"),
        ({"iteration_cost_sample_total": -1}, "iteration_cost_sample_total"),
        ({"exit_info": {"kind": ["Exited"]}}, "exit_info.kind"),
        ({"numa_pages": {"x": 1}}, "numa_pages"),
        ({"phase_slices": [{"phase_epoch": 1}]}, "phase_slices[0].cpus_used"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_hostile_report_names_field_and_worker(changes: dict[str, object], field: str) -> None:
    with pytest.raises(TelemetryError) as caught:
        TaggedReport.from_wire(frame(**changes))
    assert caught.value.field == field
    assert "worker 4 (PipeIo) of cgroup 'cg_0' in step 2" in str(caught.value)
    assert caught.value.exit_code is ExitCode.GUEST_LOST


@pytest.mark.parametrize("name", SEED_ORDER)
def test_no_field_may_be_missing(name: str) -> None:
    wire = frame()
    report = wire["report"]
    assert isinstance(report, dict)
    del report[name]
    with pytest.raises(TelemetryError) as caught:
        TaggedReport.from_wire(wire)
    assert caught.value.field == name


@pytest.mark.parametrize("wire", [None, [], 5, {1: 2}, {}, {"step": 1}])
def test_what_is_not_a_frame_is_refused(wire: object) -> None:
    with pytest.raises(TelemetryError):
        TaggedReport.from_wire(wire)


def test_names_cannot_smuggle_terminal_escapes() -> None:
    wire = frame()
    wire["cgroup"] = "\x1b[2Jcg"
    with pytest.raises(TelemetryError, match="printable"):
        TaggedReport.from_wire(wire)


def test_a_stripped_frame_keeps_its_counters() -> None:
    wire = frame(wake_latencies_ns=b"", timer_latencies_ns=b"")
    wire["stripped"] = True
    tagged = TaggedReport.from_wire(wire)
    assert tagged.stripped
    assert tagged.report.wake_sample_total == 9
    assert tagged.to_wire()["stripped"] is True


def test_lists_of_samples_are_refused() -> None:
    with pytest.raises(TypeError, match="wake_latencies_ns"):
        WorkerReport(wake_latencies_ns=[1, 2])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="wake_latencies_ns"):
        WorkerReport(wake_latencies_ns=np.array([1, 2]))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("info", "words"),
    [
        (Exited(3), "exited with status 3 and left no report"),
        (Signaled(9), "was killed by signal 9 (SIGKILL)"),
        (Signaled(99), "was killed by signal 99"),
        (TimedOut(), "did not stop within 5 s and had to be killed"),
        (WaitFailed("ECHILD"), "could not be waited for: ECHILD"),
        (Panicked("boom\x1b[2J"), "gave up and left no report: boom\ufffd[2J"),
    ],
)
def test_exit_info_in_words(info: Exited, words: str) -> None:
    assert info.in_words() == words


def sliced(**changes: object) -> dict[str, object]:
    """A frame with one slice."""
    part = PhaseSlice(3, wall_ns=10, off_cpu_ns=4, wake_sample_total=2).to_wire()
    return frame(phase_slices=[part | changes])


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"phase_epoch": 65_536}, "phase_epoch"),
        ({"phase_epoch": 2**32}, "phase_epoch"),
        ({"off_cpu_ns": 11}, "off_cpu_ns"),
        ({"wake_latencies_ns": bytes(24)}, "wake_sample_total"),
        ({"timer_latencies_ns": bytes(8)}, "timer_sample_total"),
        ({"iterations": 1.0}, "iterations"),
        ({"surprise": 0}, "surprise"),
    ],
)
def test_a_hostile_slice_names_its_place(changes: dict[str, object], field: str) -> None:
    with pytest.raises(TelemetryError) as caught:
        TaggedReport.from_wire(sliced(**changes))
    assert caught.value.field == f"phase_slices[0].{field}"


def test_the_time_between_steps_is_an_epoch() -> None:
    read = TaggedReport.from_wire(sliced(phase_epoch=2**32 - 1))
    assert read.report.phase_slices[0].phase_epoch == 2**32 - 1


def test_equality_compares_vectors() -> None:
    one = WorkerReport(tid=1, wake_latencies_ns=np.array([1, 2], dtype=np.uint64))
    same = WorkerReport(tid=1, wake_latencies_ns=np.array([1, 2], dtype=np.uint64))
    other = WorkerReport(tid=1, wake_latencies_ns=np.array([1, 3], dtype=np.uint64))
    assert one == same
    assert one != other
