# SPDX-License-Identifier: GPL-2.0-only
"""Record forms: what the sidecar keeps, and how a damaged one is refused."""

import copy
import pickle
import struct
from collections.abc import Callable
from dataclasses import fields, replace

import numpy as np
import pytest

from ktstr.errors import ExitCode
from ktstr.telemetry import (
    MAX_WAKE_SAMPLES,
    CgroupStats,
    Migration,
    Panicked,
    PhaseCgroupStats,
    PhaseSlice,
    PlatStats,
    RecordError,
    SampleSource,
    SchbenchPhaseStats,
    TaggedReport,
    TaobenchPhaseStats,
    TaobenchStats,
    WorkerReport,
    cgroup_stats,
    phase_cgroup_stats,
    strip_phase_cgroup_samples,
)
from ktstr.telemetry.codec import kinds_of
from ktstr.telemetry.decode import Fields

U64_MAX = 2**64 - 1


def u64(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.uint64)


def carrier() -> PhaseCgroupStats:
    return PhaseCgroupStats(
        num_workers=2,
        cpus_used=frozenset({5, 1}),
        wake_latencies_ns=u64(9, U64_MAX, 0, 9),
        wake_sample_total=U64_MAX,
        run_delays_ns=u64(4, 3),
        off_cpu_pcts=np.array([12.5]),
        numa_pages_local=None,
        metrics={"p99_wake_latency_us": 0.1},
        schbench=SchbenchPhaseStats(wakeup=PlatStats.from_values(u64(7)), loop_count=1),
        taobench=TaobenchPhaseStats(TaobenchStats(fast_ops=3)),
    )


@pytest.mark.parametrize(
    "owner",
    [
        CgroupStats,
        Migration,
        PhaseCgroupStats,
        PhaseSlice,
        PlatStats,
        SchbenchPhaseStats,
        TaobenchPhaseStats,
        TaobenchStats,
        WorkerReport,
    ],
)
def test_every_field_travels(owner: type) -> None:
    assert list(kinds_of(owner)) == [field.name for field in fields(owner)]


def test_a_carriers_record_is_text_keys_and_arrays() -> None:
    record = carrier().to_record()
    assert record["cpus_used"] == [1, 5]
    assert record["numa_pages_local"] is None
    assert record["metrics"] == {"p99_wake_latency_us": 0.1}
    assert isinstance(record["wake_latencies_ns"], np.ndarray)
    assert record["wake_latencies_ns"].tolist() == [9, U64_MAX, 0, 9]
    read = PhaseCgroupStats.from_record(record, "cg")
    assert read == carrier()
    assert read.wake_latencies_ns.tolist() == [9, U64_MAX, 0, 9]


def test_none_and_zero_stay_apart() -> None:
    unknown, none_local = PhaseCgroupStats(numa_pages_local=None), PhaseCgroupStats()
    assert unknown != none_local
    assert PhaseCgroupStats.from_record(unknown.to_record(), "cg").numa_pages_local is None
    assert PhaseCgroupStats.from_record(none_local.to_record(), "cg").numa_pages_local == 0
    stats = CgroupStats(spread=None, avg_off_cpu_pct=0.0)
    read = CgroupStats.from_record(stats.to_record(), "cg")
    assert (read.spread, read.avg_off_cpu_pct) == (None, 0.0)


def test_a_reports_record_has_text_keys_only() -> None:
    report = WorkerReport(
        numa_pages={0: 1, 1023: U64_MAX},
        exit_info=Panicked("boom"),
        phase_slices=(PhaseSlice(1, numa_pages={3: 4}),),
    )
    record = report.to_record()
    assert record["numa_pages"] == {"0": 1, "1023": U64_MAX}
    assert record["exit_info"] == {"kind": "Panicked", "message": "boom"}
    assert WorkerReport.from_record(record, "worker 1") == report


def test_a_tagged_report_names_subject_and_worker() -> None:
    tagged = TaggedReport(2, "cg", 0, 1, 7, "Mixed", WorkerReport(tid=3), stripped=True)
    record = tagged.to_record()
    assert TaggedReport.from_record(record, "out/run.json") == tagged
    report = record["report"]
    assert isinstance(report, dict)
    report["tid"] = -1
    with pytest.raises(RecordError, match=r"out/run.json: worker 7 \(Mixed\) of cgroup 'cg'"):
        TaggedReport.from_record(record, "out/run.json")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"num_workers": -1}, "num_workers"),
        ({"num_workers": 2.0}, "num_workers"),
        ({"wake_latencies_ns": [1, 2]}, "wake_latencies_ns"),
        ({"wake_latencies_ns": np.array([1, 2])}, "wake_latencies_ns"),
        ({"wake_latencies_ns": np.array([1.0])}, "wake_latencies_ns"),
        ({"wake_latencies_ns": u64(1).reshape(1, 1)}, "wake_latencies_ns"),
        ({"wake_latencies_ns": np.zeros(MAX_WAKE_SAMPLES + 1, np.uint64)}, "wake_latencies_ns"),
        ({"wake_latencies_ns": b"12345"}, "wake_latencies_ns"),
        ({"off_cpu_pcts": np.array([1.0, np.nan])}, "off_cpu_pcts"),
        ({"off_cpu_pcts": np.array([1], dtype=np.uint64)}, "off_cpu_pcts"),
        ({"off_cpu_pcts": struct.pack("<d", float("inf"))}, "off_cpu_pcts"),
        ({"metrics": {"x": float("nan")}}, "metrics['x']"),
        ({"metrics": {"x": None}}, "metrics['x']"),
        ({"metrics": {"x": True}}, "metrics['x']"),
        ({"metrics": {1: 1.0}}, "metrics"),
        ({"metrics": []}, "metrics"),
        ({"numa_pages_local": -1}, "numa_pages_local"),
        ({"stripped": 0}, "stripped"),
        ({"schbench": {}}, "schbench.wakeup"),
        ({"taobench": 5}, "taobench"),
        ({"other": 1}, "other"),
    ],
)
def test_a_damaged_record_names_subject_and_field(change: dict[str, object], field: str) -> None:
    with pytest.raises(RecordError) as caught:
        PhaseCgroupStats.from_record(carrier().to_record() | change, "phase 1, cgroup 'a'")
    assert caught.value.field == field
    assert str(caught.value).startswith(f"phase 1, cgroup 'a': field {field!r} is ")
    assert caught.value.exit_code is ExitCode.CANNOT_RUN


@pytest.mark.parametrize("name", [field.name for field in fields(PhaseCgroupStats)])
def test_no_field_of_a_record_may_be_missing(name: str) -> None:
    record = carrier().to_record()
    del record[name]
    with pytest.raises(RecordError, match="missing") as caught:
        PhaseCgroupStats.from_record(record, "cg")
    assert caught.value.field == name


@pytest.mark.parametrize(
    ("values", "read", "expected"),
    [
        ({"x": 3}, lambda f: f.number("x"), 3.0),
        ({"x": None}, lambda f: f.optional("x", f.number), None),
        ({"x": 0.0}, lambda f: f.optional("x", f.number), 0.0),
        ({"x": "b"}, lambda f: f.one_of("x", ("a", "b")), "b"),
        ({"x": ["a", ""]}, lambda f: f.texts("x", 2, 1), ["a", ""]),
        ({"x": {"a": 1.5}}, lambda f: f.numbers("x", 1), {"a": 1.5}),
        ({"x": {"7": 1, 8: 2}}, lambda f: f.node_pages("x"), {7: 1, 8: 2}),
        ({"x": {"a": {"n": 1}}}, lambda f: f.named_maps("x", 1)["a"].u64("n"), 1),
        ({"x": struct.pack("<Q", 5)}, lambda f: f.samples("x", 1).tolist(), [5]),
        ({"x": struct.pack("<d", 5)}, lambda f: f.percents("x", 1).tolist(), [5.0]),
    ],
)
def test_readers_read(values: object, read: Callable[[Fields], object], expected: object) -> None:
    found = Fields(values, "s")
    assert read(found) == expected
    found.done()


@pytest.mark.parametrize(
    ("values", "read", "field"),
    [
        ({"x": 2**53 + 1}, lambda f: f.number("x"), "x"),
        ({"x": "1"}, lambda f: f.number("x"), "x"),
        ({}, lambda f: f.optional("x", f.number), "x"),
        ({"x": "c"}, lambda f: f.one_of("x", ("a", "b")), "x"),
        ({"x": ["a", 1]}, lambda f: f.texts("x", 2, 1), "x[1]"),
        ({"x": ["ab"]}, lambda f: f.texts("x", 2, 1), "x[0]"),
        ({"x": {"a": 1, "b": 1}}, lambda f: f.numbers("x", 1), "x"),
        ({"x": {"7": 1, 7: 2}}, lambda f: f.node_pages("x"), "x"),
        ({"x": {"07": 1}}, lambda f: f.node_pages("x"), "x"),
        ({"x": {"a": {"n": -1}}}, lambda f: f.named_maps("x", 1)["a"].u64("n"), "x['a'].n"),
        ({"x": {"a": 1}}, lambda f: f.named_maps("x", 1), "x['a']"),
        ({"x": {}}, lambda f: f.nested("x").u64("n"), "x.n"),
        ({"x": u64(1, 2)}, lambda f: f.samples("x", 1), "x"),
    ],
)
def test_readers_refuse(values: object, read: Callable[[Fields], object], field: str) -> None:
    with pytest.raises(RecordError) as caught:
        read(Fields(values, "s"))
    assert caught.value.field == field


def test_vectors_read_from_a_record_are_read_only() -> None:
    mine = u64(1, 2)
    read = PhaseCgroupStats.from_record(
        PhaseCgroupStats(wake_latencies_ns=mine, wake_sample_total=2).to_record(), "cg"
    )
    assert not read.wake_latencies_ns.flags.writeable
    assert mine.flags.writeable


def test_samples_are_sorted_once() -> None:
    stats = carrier()
    ordered = stats.ordered(SampleSource.WAKE_LATENCY_NS)
    assert ordered.tolist() == [0, 9, 9, U64_MAX]
    assert not ordered.flags.writeable
    assert stats.ordered(SampleSource.WAKE_LATENCY_NS) is ordered
    assert stats.ordered(SampleSource.RUN_DELAY_NS).tolist() == [3, 4]
    assert stats.ordered(SampleSource.TIMER_LATENCY_NS).tolist() == []
    assert stats.wake_latencies_ns.tolist() == [9, U64_MAX, 0, 9]


def test_the_sorted_samples_never_show() -> None:
    fresh, used = carrier(), carrier()
    fresh_bytes = pickle.dumps(fresh)
    used.ordered(SampleSource.WAKE_LATENCY_NS)
    assert fresh == used
    assert repr(fresh) == repr(used)
    assert fresh.to_record().keys() == used.to_record().keys()
    assert len(pickle.dumps(used)) == len(fresh_bytes)
    for twin in (pickle.loads(pickle.dumps(used)), copy.copy(used), copy.deepcopy(used)):
        assert twin == used
        assert twin.wake_summary() == used.wake_summary()


def test_a_changed_copy_sorts_anew() -> None:
    used = carrier()
    used.ordered(SampleSource.WAKE_LATENCY_NS)
    changed = replace(used, wake_latencies_ns=u64(3, 2))
    assert changed.ordered(SampleSource.WAKE_LATENCY_NS).tolist() == [2, 3]


def test_stripping_drops_samples_and_keeps_counters() -> None:
    full = replace(carrier(), timer_latencies_ns=u64(1), timer_sample_total=4, total_iterations=8)
    stripped = full.without_samples()
    assert stripped.stripped
    for name in ("wake_latencies_ns", "timer_latencies_ns", "run_delays_ns", "off_cpu_pcts"):
        assert len(getattr(stripped, name)) == 0
    assert (stripped.wake_sample_total, stripped.timer_sample_total) == (U64_MAX, 4)
    assert stripped.total_iterations == 8
    assert stripped.schbench == SchbenchPhaseStats(loop_count=1)
    assert stripped.taobench == full.taobench
    assert stripped.wake_summary() is None and stripped.wake_cv() is None


@pytest.mark.parametrize(
    ("stats", "marked"),
    [
        (PhaseCgroupStats(num_workers=1, total_iterations=5), False),
        (PhaseCgroupStats(schbench=SchbenchPhaseStats(loop_count=5)), False),
        (PhaseCgroupStats(stripped=True), True),
        (PhaseCgroupStats(off_cpu_pcts=np.array([0.0])), True),
        (PhaseCgroupStats(timer_latencies_ns=u64(0)), True),
        (
            PhaseCgroupStats(schbench=SchbenchPhaseStats(rps=PlatStats.from_values(u64(1)))),
            True,
        ),
    ],
)
def test_only_what_had_samples_counts_as_stripped(stats: PhaseCgroupStats, marked: bool) -> None:
    assert strip_phase_cgroup_samples({"cg": stats})["cg"].stripped is marked
    assert stats.merge(PhaseCgroupStats(stripped=marked)).stripped is marked


def test_reports_that_came_stripped_count_when_they_had_samples() -> None:
    had = WorkerReport(completed=True, wake_sample_total=3)
    assert phase_cgroup_stats([had], stripped=True).stripped
    assert not phase_cgroup_stats([had]).stripped
    assert not phase_cgroup_stats([WorkerReport(completed=True)], stripped=True).stripped


def test_nothing_measured_has_no_summary() -> None:
    empty = PhaseCgroupStats()
    assert empty.off_cpu_summary() is None
    assert empty.wake_summary() is None and empty.wake_cv() is None
    assert empty.timer_summary() is None
    assert empty.run_delay_summary() is None
    assert empty.get("anything") is None
    assert empty.cgroup_counter("total_iterations") == 0.0
    assert empty.cgroup_counter("num_workers") is None


def test_a_measured_zero_has_a_summary_of_zeros() -> None:
    zero = PhaseCgroupStats(
        wake_latencies_ns=u64(0, 0),
        wake_sample_total=2,
        timer_latencies_ns=u64(0),
        timer_sample_total=1,
        run_delays_ns=u64(0),
        off_cpu_pcts=np.array([0.0]),
        metrics={"x": 0.0},
    )
    assert zero.off_cpu_summary() == (0.0, 0.0, 0.0, 0.0)
    assert zero.wake_summary() == (0.0, 0.0)
    assert zero.wake_cv() == 0.0
    assert zero.timer_summary() == (0.0, 0.0, 0.0)
    assert zero.run_delay_summary() == (0.0, 0.0)
    assert zero.get("x") == zero.expect_metric("x") == 0.0


def test_an_expected_metric_that_is_absent_names_those_present() -> None:
    with pytest.raises(LookupError, match=r"'nope'.*p99_wake_latency_us"):
        carrier().expect_metric("nope")


def test_percentages_must_be_floats() -> None:
    with pytest.raises(TypeError, match="off_cpu_pcts"):
        PhaseCgroupStats(off_cpu_pcts=u64(1))


def test_the_delays_of_a_cgroup_and_its_carrier_agree() -> None:
    reports = [WorkerReport(schedstat_run_delay_ns=ns) for ns in (1, 2, 1_000_003)]
    stats, summary = cgroup_stats(reports), phase_cgroup_stats(reports).run_delay_summary()
    assert summary is not None
    assert (
        summary[0] == pytest.approx(1_000_006 / 3 / 1000) == pytest.approx(stats.mean_run_delay_us)
    )
    assert summary[1] == stats.worst_run_delay_us == 1000.003
