# SPDX-License-Identifier: GPL-2.0-only
"""What was written to a sidecar comes back; what was not written by ktstr is told."""

import json
import math
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ktstr.errors import ExitCode
from ktstr.metrics.fold import fold_run
from ktstr.metrics.stimulus import StimulusEvent
from ktstr.series.host import CgroupPsi, HostReading, PerCpuTime, TgidTime
from ktstr.series.monitor.samples import monitor_samples
from ktstr.series.sample import MissingStats, MissingStatsReason, Sample, SampleSeries, Trigger
from ktstr.series.snapshot import CpuSnapshot, SchedExtState, Snapshot
from ktstr.session.record import RunRecord
from ktstr.session.sidecar.read import SidecarUnreadable, read_sidecar
from ktstr.session.sidecar.samples import RecordedSnapshot
from ktstr.session.sidecar.write import sidecar_text, write_sidecar
from ktstr.telemetry import Migration, PhaseSlice, Signaled, TaggedReport, WorkerReport
from ktstr.telemetry.decode import RecordError
from ktstr.verdict import AssertDetail, AssertResult, DetailKind
from ktstr.verdict.detail import PassDetail

U64_MAX = (1 << 64) - 1


def samples(seed: int, count: int, low: int = 0, high: int = 1 << 40) -> Any:
    return np.random.default_rng(seed).integers(low, high, count, dtype=np.uint64)


def report(step: int, worker: int, cgroup: str = "left", **more: Any) -> TaggedReport:
    values: dict[str, Any] = {
        "tid": 100 + worker,
        "wall_time_ns": 1_000_000_000,
        "off_cpu_ns": 250_000_000 * (worker + 1),
        "cpus_used": frozenset({worker, 7}),
        "iterations": 1000 + worker,
        "wake_latencies_ns": samples(10 * step + worker, 500),
        "wake_sample_total": 900,
        "schedstat_run_delay_ns": 5_000 * worker,
        "schedstat_cpu_time_ns": 10**9,
        "completed": True,
    }
    return TaggedReport(step, cgroup, 0, 0, worker, "PipeIo", WorkerReport(**values | more))


REPORTS = [
    report(1, 0, migrations=(Migration(5, 0, 7),), migration_count=U64_MAX),
    report(1, 1, numa_pages={0: 5, 10: U64_MAX}, max_gap_ms=U64_MAX, max_gap_cpu=3),
    report(1, 0, "right", wake_latencies_ns=samples(1, 0), wake_sample_total=0),
    report(2, 0, timer_latencies_ns=samples(3, 20, U64_MAX - 9, U64_MAX), timer_sample_total=20),
    report(2, 1, exit_info=Signaled(9), completed=False, affinity_error="no\n\udcff"),
    report(
        0,
        0,
        "backdrop",
        phase_slices=(
            PhaseSlice(1, wake_latencies_ns=samples(8, 70), wake_sample_total=70, wall_ns=9),
            PhaseSlice(2, timer_latencies_ns=samples(9, 3), timer_sample_total=4, iterations=8),
        ),
    ),
]
EVENTS = [
    StimulusEvent(0, "StepStart[0]", "ops=2", "2 cgroups", total_iterations=0, step_index=1),
    StimulusEvent(1000, "StepEnd[0]", total_iterations=2001, step_index=1, is_step_end=True),
    StimulusEvent(1100, "StepStart[1]", total_iterations=None, step_index=2),
    StimulusEvent(2100, "StepEnd[1]", total_iterations=U64_MAX, step_index=2, is_step_end=True),
    StimulusEvent.terminal(2200, U64_MAX),
]


def host(ordinal: int) -> HostReading:
    times = PerCpuTime(0, hardirqs=100 * ordinal, softirqs={"net_rx": U64_MAX}, user_ns=5)
    psi = CgroupPsi(U64_MAX, 7, 1.5, 9, "/left")
    return HostReading((times,), (TgidTime(4, 5, 6, readable=False),), (psi,))


def capture(ordinal: int, step: int, **more: Any) -> Sample:
    cpus = tuple(
        CpuSnapshot(cpu, nr_running=ordinal + cpu, scx_nr_running=1, local_dsq_depth=ordinal)
        for cpu in range(2)
    )
    events = {"SCX_EV_SELECT_CPU_FALLBACK": 10 * ordinal, "SCX_EV_DISPATCH_KEEP_LAST": U64_MAX}
    state = SchedExtState(state="enabled", enabled=True, exit_kind=0, events=events)
    values: dict[str, Any] = {
        "elapsed_ms": 400 * ordinal + 300,
        "boundary_offset_ms": 400 * ordinal + 290,
        "step_index": step,
        "snapshot": Snapshot(
            "7.0", (), cpus, state, {"sched_ext.ops": "no such symbol"}, host=host(ordinal)
        ),
        "stats": {"missing": "is a name like any other", "nr": 3, "deep": {"a": [1.5, None]}},
        "paused_ns": 1_250_000,
    }
    return Sample(f"periodic_{ordinal:03d}", **values | more)


NODES = {(1, "left"): frozenset({0}), (2, "left"): frozenset({0, 10})}
SAMPLES = [
    capture(0, 1),
    capture(1, 1),
    capture(2, 1),
    capture(3, 2, snapshot=None, error="no memory", stats={}),
    capture(4, 2, stats=MissingStatsReason(MissingStats.SCHEDULER_ERROR, "it said no")),
    Sample("on_demand"),
    Sample("hit#2", trigger=Trigger("v", "s.bss", U64_MAX, 8, 2, 1, U64_MAX, "f+0x1", 0, U64_MAX)),
    Sample("hit", trigger=Trigger("css_next", "", 4096, 4, 1)),
]


def record(**more: Any) -> RunRecord:
    series = SampleSeries(SAMPLES)
    stats = fold_run(
        series,
        EVENTS,
        REPORTS,
        expected_nodes=NODES,
        monitor=monitor_samples(series.periodic_only()),
    )
    result = AssertResult(stats=stats)
    result.record_pass(PassDetail("max_gap_ms", "le", "5", "10", phase="Step[0]"))
    result.record_skip(AssertDetail(DetailKind.SKIP, "not here"))
    result.record_inconclusive(AssertDetail(DetailKind.OTHER, "no data", phase="Step[1]"))
    result.record_fail(AssertDetail(DetailKind.STUCK, "gap \x1b[2J"))
    for name, value in (("i", 1), ("f", 1.0), ("b", True), ("t", "x"), ("big", U64_MAX)):
        result.note_value(name, value)
    result.note("a word", phase="Step[0]")
    values: dict[str, Any] = {
        "result": result,
        "samples": SampleSeries(SAMPLES),
        "events": EVENTS,
        "reports": REPORTS,
        "expected_nodes": NODES,
        "facts": {
            "topology": "1n1l2c1t",
            "steps": [{"index": 1, "name": "calm"}, {"index": 2, "name": None}],
            "scheduler": {"kind": "bpf", "exit": {"kind": 1026}},
        },
        "host": {"wall_s": 3.25},
        "evidence": Path("out/demo-id.evidence"),
        "console_tail": ("[1.0] \x1b boom",),
        "scheduler_tail": ("first", "\udcff"),
    }
    return RunRecord("20260101-000000-abcd", "demo", ExitCode.FAIL, **values | more)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    return write_sidecar(tmp_path, record())


def test_every_field_comes_back(written: Path) -> None:
    made, back = record(), read_sidecar(written)
    assert back.sidecar == written
    plain = {item.name for item in fields(RunRecord)} - {"sidecar", "samples"}
    for name in plain:
        assert getattr(back, name) == getattr(made, name), name
    assert [type(value) for value in back.result.measurements.values()] == [  # type: ignore[union-attr]
        int,
        float,
        bool,
        str,
        int,
    ]


def test_samples_come_back_without_their_maps(written: Path) -> None:
    back = list(read_sidecar(written).samples.iter_samples())
    assert len(back) == len(SAMPLES)
    for mine, theirs in zip(SAMPLES, back, strict=True):
        for name in ("tag", "elapsed_ms", "boundary_offset_ms", "step_index", "paused_ns", "error"):
            assert getattr(theirs, name) == getattr(mine, name)
        assert (theirs.stats, theirs.trigger) == (mine.stats, mine.trigger)
        if mine.snapshot is None:
            assert theirs.snapshot is None
            continue
        assert isinstance(mine.snapshot, Snapshot) and isinstance(theirs.snapshot, RecordedSnapshot)
        for item in fields(Snapshot):
            assert getattr(theirs.snapshot, item.name) == getattr(mine.snapshot, item.name)


def test_samples_of_a_record_that_knows_no_watches_come_back(written: Path) -> None:
    plain = json.loads(written.read_text())
    for sample in plain["samples"]:
        del sample["trigger"]
    written.write_text(json.dumps(plain))
    back = read_sidecar(written).samples.iter_samples()
    assert [sample.trigger for sample in back] == [None] * len(SAMPLES)


def test_what_was_read_folds_to_the_same_statistics(written: Path) -> None:
    back = read_sidecar(written)
    assert back.result is not None
    again = back.fold_again()
    assert again == back.result.stats == record().result.stats  # type: ignore[union-attr]
    measured = {"iteration_rate", "max_dsq_depth", "max_imbalance_ratio", "total_hardirqs"}
    assert measured <= again.phases[0].metrics.keys()
    assert again.phases[0].per_cgroup["left"].numa_pages_local is not None
    assert len(again.phases[0].per_cgroup["left"].wake_latencies_ns) == 1000


def test_what_was_read_is_written_again_byte_by_byte(written: Path) -> None:
    assert sidecar_text(read_sidecar(written)) == written.read_text()


def test_a_lost_run_comes_back(tmp_path: Path) -> None:
    made = RunRecord("id", "demo", ExitCode.GUEST_LOST, error="it panicked\n  hint: read")
    back = read_sidecar(write_sidecar(tmp_path, made))
    assert (back.verdict, back.error, back.result) == ("lost", made.error, None)
    assert sidecar_text(back) == sidecar_text(made)


def test_the_views_stand_first_and_the_vectors_last(written: Path) -> None:
    plain = json.loads(written.read_text())
    assert list(plain)[:7] == [
        "schema",
        "name",
        "verdict",
        "exit_code",
        "error",
        "metrics",
        "phases",
    ]
    assert list(plain)[-3:] == ["workers", "result", "vectors"]
    assert (plain["verdict"], plain["exit_code"]) == ("fail", 1)
    assert plain["metrics"]["worst_gap_ms"] == 2.0**64
    assert list(plain["phases"]) == ["Step[0]", "Step[1]"]
    first = plain["phases"]["Step[0]"]
    # 2001 iterations in the 1000 ms from StepStart to StepEnd.
    assert (first["step"], first["metrics"]["iteration_rate"]) == ("calm", 2001.0)
    assert first["cgroups"]["left"] | {"metrics": {}} == {
        "workers": 2,
        "cpus": [0, 1, 7],
        "iterations": 2001,
        "migrations": U64_MAX,
        "max_gap_ms": U64_MAX,
        "metrics": {},
    }
    assert plain["phases"]["Step[1]"]["step"] is None


def test_a_carrier_names_the_vectors_of_its_workers(written: Path) -> None:
    plain = json.loads(written.read_text())
    parts = [w["report"]["wake_latencies_ns"]["vectors"][0] for w in plain["workers"][:2]]
    carrier = plain["result"]["stats"]["phases"][0]["per_cgroup"]["left"]
    assert carrier["wake_latencies_ns"] == {"samples": 1000, "vectors": parts}
    assert plain["vectors"][parts[0]]["samples"] == 500


def test_what_differs_between_equal_runs_is_under_host_only(tmp_path: Path) -> None:
    texts = []
    for name in ("a", "b"):
        made = record(host={"wall_s": name}, evidence=Path(name))
        made.run_id = name
        plain = json.loads(write_sidecar(tmp_path, made).read_text())
        assert plain.pop("host") == {"run_id": name, "evidence": name, "wall_s": name}
        texts.append(json.dumps(plain))
    assert texts[0] == texts[1]


def test_cgroups_may_be_called_like_the_keys_of_the_file(tmp_path: Path) -> None:
    names = ("samples", "vectors", "u64")
    made = record(reports=[report(1, 0, name) for name in names])
    made.result = AssertResult(stats=fold_run(SampleSeries.empty(), EVENTS, made.reports))
    assert read_sidecar(write_sidecar(tmp_path, made)).result == made.result


Change = Callable[[dict[str, Any]], object]


def changed(path: Path, change: Change) -> Path:
    plain = json.loads(path.read_text())
    change(plain)
    path.write_text(json.dumps(plain))
    return path


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p: p.pop("workers"), "field 'workers' is missing"),
        (lambda p: p.pop("vectors"), "field 'vectors' is missing"),
        (lambda p: p.update(exit_code=5), "field 'exit_code' is 5; expected one of 0, 1, 2"),
        (lambda p: p.update(exit_code=True), "field 'exit_code' is True"),
        (lambda p: p.update(verdict="pass"), "field 'verdict' is 'pass'; expected 'fail'"),
        (lambda p: p.update(name="a\x1bb"), "field 'name'"),
        (lambda p: p["host"].pop("run_id"), "field 'host.run_id' is missing"),
        (lambda p: p["log_tails"].update(kernel=[7]), r"field 'log_tails.kernel\[0\]' is 7"),
        (lambda p: p["samples"][1].update(paused_ns=-1), r"field 'samples\[1\].paused_ns' is -1"),
        (lambda p: p["samples"][1].update(stats=None), r"field 'samples\[1\].stats'"),
        (
            lambda p: p["samples"][6]["trigger"].update(size="8"),
            r"field 'samples\[6\].trigger.size' is '8'",
        ),
        (
            lambda p: p["samples"][0]["cpus"][1].update(idle=0),
            r"field 'samples\[0\].cpus\[1\].idle' is 0",
        ),
        (
            lambda p: p["samples"][0]["cpus"][0].update(more=1),
            r"field 'samples\[0\].cpus\[0\].more' is 1; expected no field of that name",
        ),
        (
            lambda p: p["samples"][0]["sched_ext"]["events"].update(x=1.5),
            r"field 'samples\[0\].sched_ext.events'",
        ),
        (
            lambda p: p["samples"][0]["host"]["per_cpu_time"][0].update(user_ns="5"),
            r"field 'samples\[0\].host.per_cpu_time\[0\].user_ns' is '5'",
        ),
        (lambda p: p["expected_nodes"][0].update(step=-1), r"field 'expected_nodes\[0\].step'"),
        (lambda p: p["stimulus"][2].pop("label"), r"field 'stimulus\[2\].label' is missing"),
        (
            lambda p: p["workers"][1]["report"].update(iterations=-5),
            r"workers\[1\]: worker 1 .* in step 1: field 'iterations' is -5",
        ),
        (
            lambda p: p["workers"][0]["report"].update(wake_latencies_ns={"samples": 3, "u64": []}),
            r"field 'workers\[0\].report.wake_latencies_ns' is 0 values where there should be 3",
        ),
        (
            lambda p: p["result"]["outcomes"][0].update(outcome="Pass"),
            "field 'outcomes.0..outcome'",
        ),
        (
            lambda p: p["result"]["stats"]["phases"][0].update(start_ms="x"),
            r"result: field '.*phases\[0\].start_ms' is 'x'",
        ),
        (lambda p: p["steps"][0].update(index="1"), r"field 'steps\[0\].index' is '1'"),
        (lambda p: p.update(scheduler=[]), "field 'scheduler' is \\[\\]"),
    ],
)
def test_a_damaged_field_is_named_with_its_file(written: Path, change: Change, words: str) -> None:
    with pytest.raises(RecordError, match=words) as caught:
        read_sidecar(changed(written, change))
    assert str(caught.value).startswith(f"{written}: ")
    assert caught.value.exit_code == ExitCode.CANNOT_RUN


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is not JSON: line 1, column 1"),
        (b'{"schema": 2, \n "name"', "is not JSON: line 2"),
        (b"\xff\xfe\xff", "is not text"),
        (b"[1]", "is no record of ktstr"),
        (b'{"name": "demo"}', "is no record of ktstr: it has no schema number"),
        (b'{"schema": 1}', "has schema 1; this version of ktstr reads 3"),
        (b'{"schema": "' + b"9" * 500 + b'"}', "has schema '9{59}; this"),
        (b'{"schema": 2, "error": NaN}', "NaN is no number"),
        (b'{"schema": ' + b"9" * 5000 + b"}", "is not JSON that ktstr writes"),
        (b"[" * 100_000, "is not JSON that ktstr writes"),
    ],
)
def test_a_file_of_another_kind_is_told(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "other.json"
    path.write_bytes(content)
    with pytest.raises(SidecarUnreadable, match=words) as caught:
        read_sidecar(path)
    assert str(path) in str(caught.value) and "hint: " in str(caught.value)
    assert caught.value.exit_code == ExitCode.CANNOT_RUN


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SidecarUnreadable, match="cannot be read: No such file"):
        read_sidecar(tmp_path / "none.ktstr.json")


def test_a_file_cut_anywhere_is_never_a_record(written: Path) -> None:
    whole = written.read_bytes()
    for part in range(1, 40):
        written.write_bytes(whole[: math.floor(len(whole) * part / 40)])
        with pytest.raises(SidecarUnreadable):
            read_sidecar(written)
