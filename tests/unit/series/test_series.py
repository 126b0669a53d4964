# SPDX-License-Identifier: GPL-2.0-only
"""A series and its four axes, with values worked out by hand."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tests.unit.series.canned import entries, entry, lazy, section

from ktstr.series.axes.monitor import EVENT_TOTALS
from ktstr.series.bridge import SnapshotBridge
from ktstr.series.errors import (
    FieldNotFound,
    HostFieldUnavailable,
    MissingStatsError,
    NoActiveScheduler,
    NoMatch,
    NotAStruct,
    PerCpuNotNarrowed,
    PlaceholderSample,
    PlaceholderSnapshot,
    ProjectionFailed,
    SnapshotError,
    TypeMismatch,
    WalkerDriftedWithinPhase,
)
from ktstr.series.field import SeriesField
from ktstr.series.host import HostReading, PerCpuTime
from ktstr.series.maps import MapSnapshot, PerCpuEntry
from ktstr.series.monitor.window import MonitorSummary
from ktstr.series.phase import Phase
from ktstr.series.sample import (
    ERROR_CLASS_NAMES,
    MissingStats,
    MissingStatsReason,
    Sample,
    SampleSeries,
    StatsMeta,
)
from ktstr.series.snapshot import CpuSnapshot, SchedExtState, Snapshot
from ktstr.series.values import Enum, Int, Struct, Uint
from ktstr.verdict.scx_events import assert_scx_events_clean

LATE = MissingStatsReason(MissingStats.CANCELLED, "late")


def frozen(count: int, *, active: tuple[int, ...] | None = (1,), **more: Any) -> Snapshot:
    maps = (section("s.bss", 1, count=count), *more.pop("maps", ()))
    state = SchedExtState("enabled", ops="s", events={"dispatch_keep_last": count})
    cpus = (CpuSnapshot(0, nr_running=2), CpuSnapshot(1, nr_running=1))
    return Snapshot("6.99", maps, cpus, state, active_maps=active, **more)


def stats(busy: float) -> dict[str, object]:
    return {"busy": busy, "antistall": 0, "layers": {"batch": {"util": busy * 0.5}}}


def series(*samples: Sample, **more: Any) -> SampleSeries:
    return SampleSeries.from_drained_typed(samples, **more)


def values(field: SeriesField[Any]) -> list[Any]:
    """Values, and the types of the errors in their places."""
    return [type(v) if isinstance(v, SnapshotError) else v for v in field.values_iter()]


def messages(field: SeriesField[Any]) -> list[str]:
    return [str(v) for v in field.values_iter() if isinstance(v, SnapshotError)]


def test_drained_captures_keep_their_order() -> None:
    made = SampleSeries.from_drained(
        [
            ("periodic_000", frozen(10), stats(50.0), 100),
            ("periodic_001", frozen(20), stats(60.0), 200),
        ]
    )
    assert len(made) == 2 and not made.is_empty
    assert [sample.tag for sample in made.iter_samples()] == ["periodic_000", "periodic_001"]
    assert values(made.stats_path("layers").key("batch").field_f64("util")) == [25.0, 30.0]
    assert made.stats_path("layers").key("batch").field_f64("util").label == "layers.batch.util"


def test_only_captures_at_boundaries_are_periodic() -> None:
    made = SampleSeries.from_drained(
        [
            ("periodic_000", frozen(10), None, 100),
            ("user_watchpoint_kind", frozen(99), None, 150),
            ("periodic_001", frozen(20), None, 200),
        ]
    )
    assert len(made.periodic_only()) == 2 and len(made) == 3
    assert [sample.tag for sample in made.periodic_ref()] == ["periodic_000", "periodic_001"]
    (first, *_) = made.iter_samples()
    assert first.stats == MissingStatsReason(MissingStats.NO_SCHEDULER_BINARY)
    assert (first.step_index, first.phase) == (None, None)
    assert made.by_phase() == {0: list(made.iter_samples())}


def test_an_empty_series_projects_to_nothing() -> None:
    empty = SampleSeries.empty()
    assert empty.is_empty and len(empty.bpf("x", lambda s: 1)) == 0
    assert (empty.host(), empty.monitor()) == (None, None)
    assert empty.bpf_map("m").member_names() == empty.stats_path("").key_names() == []
    assert empty.to_records() == [] and empty.to_numpy()[1] == {}


def test_a_projection_keeps_tag_time_phase_and_reason() -> None:
    made = series(
        Sample("periodic_000", 100, 90, 0, frozen(1)),
        Sample("periodic_001", 200, 190, 1, None, error="stale plan"),
        Sample("periodic_002", None, 290, None, frozen(3)),
    )
    field = made.bpf("count", lambda s: s.var("count").as_u64())
    assert [point.where for point in field.points] == [
        "periodic_000 (+100ms, BASELINE)",
        "periodic_001 (+200ms, Step[0])",
        "periodic_002 (time unknown)",
    ]
    assert values(field) == [1, PlaceholderSample, 3]
    assert messages(field) == ["sample periodic_001 holds no snapshot: stale plan"]
    (_, broken, _) = made.iter_samples()
    with pytest.raises(PlaceholderSnapshot, match="stale plan"):
        broken.taken()


def test_what_a_projection_raises_because_of_the_data_is_that_samples_value() -> None:
    made = series(Sample("a", snapshot=frozen(0)), Sample("b", snapshot=frozen(2)))
    inverse = made.bpf("1/count", lambda s: 1 / s.var("count").as_u64())
    assert values(inverse) == [ProjectionFailed, 0.5]
    assert "ZeroDivisionError" in messages(inverse)[0]
    with pytest.raises(AttributeError):
        made.bpf("typo", lambda s: s.no_such_thing)  # type: ignore[attr-defined]


def test_live_variables_are_those_of_one_scheduler_within_a_phase() -> None:
    other = (section("s.bss", 1, count=5), section("s.bss", 2, count=50))
    replaced = Snapshot("6.99", other, (), SchedExtState("enabled", ops="t"), active_maps=(2,))
    made = series(
        Sample("a", 1, step_index=1, snapshot=frozen(3, active=None)),
        Sample("b", 2, step_index=1, snapshot=frozen(4)),
        Sample("c", 3, step_index=1, snapshot=replaced),
        Sample("d", 4, step_index=2, snapshot=replaced),
        Sample("e", 5, step_index=3, snapshot=frozen(6, active=None)),
    )
    field = made.bpf_live_u64("count")
    drift, none = WalkerDriftedWithinPhase, NoActiveScheduler
    assert values(field) == [drift, 4, drift, 50, none]
    error = list(field.values_iter())[2]
    assert isinstance(error, WalkerDriftedWithinPhase)
    assert (error.phase, error.requested) == ("Step[0]", "count")
    assert (error.pinned_kvas, error.sample_kvas) == ((0x1000,), (0x2000,))
    assert values(made.bpf_live_i64("count"))[1] == 4
    assert values(made.bpf_live_f64("count"))[3] == 50.0
    mismatched = series(Sample("a", snapshot=frozen(1))).bpf_live_u64("count.x")
    assert values(mismatched) == [NotAStruct]


def test_several_live_variables_are_picked_together() -> None:
    calls = []

    def pick(found: Any) -> list[int]:
        calls.append(found)
        return [value.as_u64() * 10 for value in found]

    maps = (section("t.bss", 7, size=9),)
    made = series(
        Sample("a", snapshot=frozen(1, maps=maps, active=(1, 7))),
        Sample("b", error="no"),
        Sample("c", snapshot=frozen(2, maps=maps, active=(1, 7))),
    )
    count, size = made.live_bpf_vars_via(["count", "size"], pick)
    assert (count.label, values(count)) == ("count", [10, PlaceholderSample, 20])
    assert (size.label, values(size)) == ("size", [90, PlaceholderSample, 90])
    assert len(calls) == 2


def test_entries_of_a_map_over_time() -> None:
    def tasks(*found: Any) -> dict[str, Any]:
        return {"maps": (entries("tasks", 5, *found),)}

    made = series(
        Sample("a", snapshot=frozen(1, **tasks(entry(4, ran=10, low=1), entry(6, ran=30, low=2)))),
        Sample("b", snapshot=frozen(1, **tasks(entry(6, ran=40, low=3), entry(7, ran=5, low=4)))),
        Sample("c", snapshot=frozen(1)),
    )
    projector = made.bpf_map("tasks")
    assert values(projector.field_u64("ran"))[:2] == [10, 40]
    assert projector.at(1).field_u64("ran").label == "tasks[1].ran"
    assert values(projector.at(1).field_u64("ran"))[:2] == [30, 5]
    assert values(projector.key(6).field_i64("ran"))[:2] == [30, 40]
    assert values(projector.key(4).field_f64("ran"))[:2] == [10.0, NoMatch]
    busiest = projector.max_by(lambda e: e.get("ran").as_u64())
    assert values(busiest.field_u64("low"))[:2] == [2, 3]
    found = projector.find(lambda e: e.get("low").as_u64() == 4)
    assert values(found.field_u64("ran"))[:2] == [NoMatch, 5]
    assert "no map 'tasks'" in messages(projector.field_u64("ran"))[0]
    assert projector.member_names() == ["ran", "low"]
    assert list(projector.u64_fields()) == ["ran", "low"]
    assert values(projector.cpu(3).field_u64("ran"))[:2] == [10, 40]  # no-op: not per CPU
    assert values(made.bpf_map("s.bss").field_u64("count")) == [1, 1, 1]
    assert values(made.bpf_map("s.bss").live().field_u64("count")) == [1, 1, 1]
    mismatch = messages(made.bpf_map("s.bss").field_u64(""))[0]
    assert mismatch == "struct is not an unsigned number"


def per_cpu(**by_cpu: int | None) -> MapSnapshot:
    slots = {
        int(cpu[1:]): None if n is None else lazy(Struct(None, (("n", Uint(64, n)),)))
        for cpu, n in by_cpu.items()
    }
    made = PerCpuEntry(lazy(Uint(32, 0)), slots)
    return MapSnapshot("pc", 5, 6, "percpu_array", 4, 8, 1, percpu_entries=(made,))


def test_per_cpu_maps_are_reduced_over_the_cpus_that_could_be_read() -> None:
    most = (1 << 64) - 1
    made = series(
        Sample("a", snapshot=frozen(1, maps=(per_cpu(c0=3, c1=9, c2=None),))),
        Sample("b", snapshot=frozen(1, maps=(per_cpu(c0=None, c1=None),))),
        Sample("c", snapshot=frozen(1, maps=(per_cpu(c0=most, c1=2),))),
    )
    projector = made.bpf_map("pc")
    assert values(projector.field_cpu_sum_u64("n")) == [12, NoMatch, most]
    assert values(projector.field_cpu_max_u64("n")) == [9, NoMatch, most]
    assert values(projector.field_cpu_min_u64("n")) == [3, NoMatch, 2]
    # 2**64 - 1 is no signed number: an error, not -1.
    assert values(projector.field_cpu_sum_i64("n")) == [12, NoMatch, TypeMismatch]
    assert values(projector.field_cpu_max_i64("n"))[0] == 9
    assert values(projector.field_cpu_min_i64("n"))[0] == 3
    assert values(projector.field_cpu_sum_f64("n"))[0] == 12.0
    assert values(projector.field_cpu_max_f64("n"))[0] == 9.0
    assert values(projector.field_cpu_min_f64("n"))[0] == 3.0
    assert values(projector.field_u64("n"))[0] is PerCpuNotNarrowed
    assert values(projector.cpu(1).field_u64("n"))[::2] == [9, 2]
    assert projector.member_names() == ["n"]
    low = PerCpuEntry(lazy(Uint(32, 0)), {c: lazy(Int(64, -(1 << 63))) for c in (0, 1)})
    bottom = MapSnapshot("pc", 5, 6, "percpu_array", 4, 8, 1, percpu_entries=(low,))
    made = series(Sample("a", snapshot=frozen(1, maps=(bottom,))))
    assert values(made.bpf_map("pc").field_cpu_sum_i64()) == [-(1 << 63)]


META = StatsMeta.parse(
    {
        "Top": {
            "top": "true",
            "fields": {
                "busy": {"datum": "float", "desc": "how busy"},
                "gone": {"datum": "u64"},
                "layers": {"dict": {"datum": {"struct": "Layer"}, "key": "string"}},
                "list": {"array": "u64", "desc": "numbers"},
                "one": {"datum": {"struct": "Layer"}},
            },
        },
        "Layer": {"fields": {"util": {"datum": "float", "desc": "its share"}}},
        "junk": 5,
    }
)


def test_descriptions_follow_structs_dicts_and_arrays() -> None:
    assert META.top == "Top" and set(META.structs) == {"Top", "Layer"}
    described = {
        "busy": "how busy", "layers.any.util": "its share", "one.util": "its share",
        "list.3": "numbers", "layers.any.nix": "", "nix": "", "layers.any": "",
    }  # fmt: skip
    assert {path: META.describe(path) for path in described} == described
    assert META.described_fields() == ["busy", "gone", "layers", "list", "one"]
    assert META.described_fields(("layers", "any")) == META.described_fields(("one",)) == ["util"]
    single = StatsMeta.parse({"Only": {"fields": {"a": {"datum": "u64"}, "b": 7}}})
    assert single.top == "Only" and single.describe("a") == ""
    assert StatsMeta.parse({}).describe("a") == ""


def test_statistics_by_path_and_every_way_they_can_be_missing() -> None:
    plain = stats(50.0) | {"list": [4, 5], "name": "x", "flag": True, "a.b": {"c": -1}}
    made = series(
        Sample("a", 1, stats=plain), Sample("b", 2, stats=LATE), Sample("c", 3, stats=stats(1.0)),
        stats_meta=META,
    )  # fmt: skip
    assert values(made.stats_live_f64("busy")) == [50.0, MissingStatsError, 1.0]
    assert messages(made.stats_live_f64("busy")) == ["sample b has no statistics: cancelled: late"]
    assert values(made.stats_live_u64("antistall"))[::2] == [0, 0]
    assert values(made.stats_live_u64("list.1")) == [5, MissingStatsError, FieldNotFound]
    assert values(made.stats_path().key("a.b").field_i64("c"))[0] == -1
    assert values(made.stats_path().key("a.b").field_u64("c"))[0] is TypeMismatch
    assert values(made.stats_live_i64("busy"))[0] is TypeMismatch
    assert values(made.stats_live_u64("flag"))[0] is TypeMismatch  # true is no number
    assert values(made.stats("flag", lambda s: s.get("flag").as_bool()))[0] is True
    assert values(made.stats("name", lambda s: s.get("name").as_str()))[0] == "x"
    assert values(made.stats("all", lambda s: len(s.names())))[0] == 7
    assert "path 'busy.x': busy is float" in messages(made.stats_live_u64("busy.x"))[0]
    assert made.stats_path("layers").key_names() == ["batch"]
    assert made.stats_path("").member_names() == sorted(plain)
    assert list(made.stats_path().u64_fields()) == ["antistall"]
    assert list(made.stats_path().f64_fields()) == ["antistall", "busy"]
    dotted = series(Sample("a", stats={"a.b": 3})).stats_path().u64_fields()
    assert values(dotted["a.b"]) == [3]


def test_misspelt_statistics_are_told_from_those_an_answer_lacks() -> None:
    made = series(Sample("a", stats=stats(1.0)), stats_meta=META)
    (gone,) = messages(made.stats_live_u64("gone"))
    assert gone == (
        "path 'gone': the value has no 'gone'; there: antistall, busy, layers "
        "(the scheduler describes it, but this answer lacks it)"
    )
    assert "(the scheduler describes no such field)" in messages(made.stats_live_u64("bsy"))[0]
    assert "scheduler" not in messages(series(Sample("a", stats={})).stats_live_u64("x"))[0]


def test_the_host_axis() -> None:
    def timed(*found: PerCpuTime) -> Snapshot:
        return frozen(1, host=HostReading(per_cpu_time=found))

    made = series(
        Sample("a", 200, step_index=1, snapshot=timed(PerCpuTime(1, 7), PerCpuTime(0, 5))),
        Sample("b", 100, step_index=1, snapshot=timed(PerCpuTime(0, 3))),
        Sample("c", 300, error="lost"),
    )
    host = made.host()
    assert host is not None and host.cpus() == [0, 1]
    timeline = host.per_cpu_time_timeline(0)
    assert [(at, time.hardirqs) for at, time in timeline] == [(100, 3), (200, 5)]
    field = host.per_cpu_field_u64(1, "irqs", lambda time: time.hardirqs)
    assert values(field) == [7, HostFieldUnavailable, PlaceholderSample]
    assert messages(field)[0] == "sample b has no accounting of CPU 1; CPUs here: 0"


def monitored(summary: MonitorSummary) -> SampleSeries:
    return series(Sample("periodic_000"), monitor=SimpleNamespace(summary=summary))


def test_the_monitor_axis_has_fourteen_totals_in_order() -> None:
    counted = {name: n for n, name in enumerate(EVENT_TOTALS) if "burst" not in name}
    counted["bypass_duration"] = counted.pop("bypass_duration_ns")
    made = monitored(
        MonitorSummary(9, events=counted, fallback_burst=99, fallback_rate=1.5, keep_last_rate=None)
    )
    view = made.periodic_only().monitor()
    assert view is not None and view.summary().total_samples == 9
    events = view.scx_events()
    assert events is not None and len(EVENT_TOTALS) == 14
    expected = [(name, 99 if n == 1 else n) for n, name in enumerate(EVENT_TOTALS)]
    assert events.total_pairs() == expected
    assert events.rates_pairs() == [
        ("select_cpu_fallback_rate", 1.5), ("dispatch_keep_last_rate", None),
    ]  # fmt: skip
    assert [name for name, _ in events.error_pairs()] == list(ERROR_CLASS_NAMES)
    uncounted = monitored(MonitorSummary(9)).monitor()
    assert uncounted is not None and uncounted.scx_events() is None


def test_event_counters_are_clean_within_a_bound() -> None:
    assert assert_scx_events_clean([("a", 0), ("b", 0)]).is_pass()
    assert assert_scx_events_clean([("a", 3)], 3).is_pass()
    failed = assert_scx_events_clean([("a", 4), ("b", 0), ("c", -1)], 3)
    assert [detail.message for detail in failed.failure_details()] == [
        "a is 4, at most 3 allowed", "c is -1: a counter that was damaged",
    ]  # fmt: skip
    assert assert_scx_events_clean([("a", None), ("b", 0)]).is_inconclusive()


def test_everything_as_plain_tables_and_columns() -> None:
    state = Struct(
        None, (("mode", Enum(32, 1, "BUSY")), ("", Struct(None, (("deep", Uint(8, 4)),))))
    )
    odd = MapSnapshot("o.data", 3, 2, "array", 4, 8, 1, value=lazy(Struct(None, (("st", state),))))
    stray = section("stray.bss", 9, noise=1)
    made = series(
        Sample("a", 100, 90, 1, frozen(7, maps=(odd, stray), active=(1, 3)), stats=stats(2.0)),
        Sample("b", 200, error="lost", stats=LATE),
    )
    first, second = made.to_records()
    assert {k: v for k, v in first.items() if k.startswith(("var.", "stats."))} == {
        "var.count": 7, "var.st.mode": "BUSY", "var.st.deep": 4,
        "stats.busy": 2.0, "stats.antistall": 0, "stats.layers.batch.util": 1.0,
    }  # fmt: skip
    assert (first["cpu.1.nr_running"], first["scx.dispatch_keep_last"]) == (1, 7)
    assert (first["phase"], first["elapsed_ms"]) == ("Step[0]", 100)
    assert second == {
        "tag": "b", "elapsed_ms": 200, "boundary_offset_ms": None, "step_index": None,
        "phase": None, "error": "lost",
    }  # fmt: skip
    times, columns = made.to_numpy()
    assert times.tolist() == [100.0, 200.0]
    assert "var.st.mode" not in columns
    np.testing.assert_array_equal(columns["var.count"], [7.0, math.nan])


def test_the_bridge_and_the_series_fit_together() -> None:
    bridge = SnapshotBridge(lambda tag: frozen(5) if tag == "here" else None)
    assert bridge.capture("here") and not bridge.capture("there")
    bridge.store_with_stats_and_step("periodic_000", frozen(1), stats(1.0), 100, 90, 2)
    made = SampleSeries.from_drained_typed(bridge.drain_ordered_with_stats())
    assert values(made.bpf_live_u64("count")) == [5, 1]
    assert list(made.by_phase()) == [0, 2]
    assert Phase(2) == list(made.iter_samples())[1].phase
