# SPDX-License-Identifier: GPL-2.0-only
"""Accessors, merging and records of a scenario's statistics."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ktstr.metrics import (
    BuiltinMetric,
    MetricId,
    MetricLike,
    Phase,
    PhaseBucket,
    ScenarioStats,
    StimulusEvent,
    derive_phase_metrics,
    step_throughput,
    throughput_ratio,
)
from ktstr.telemetry import (
    CgroupStats,
    PhaseCgroupStats,
    PlatStats,
    RecordError,
    SchbenchPhaseStats,
    TaobenchPhaseStats,
    TaobenchStats,
)

U64_MAX = 2**64 - 1
STEP = Phase.step(0)


def bucket(step: int = 1, **fields: Any) -> PhaseBucket:
    return PhaseBucket(step, str(Phase(step)), **fields)


@pytest.mark.parametrize("name", ["max_dsq_depth", BuiltinMetric.MaxDsqDepth])
def test_accessors_take_a_metric_in_any_form(name: MetricLike) -> None:
    carrier = PhaseCgroupStats(num_workers=1, total_iterations=0, metrics={"max_dsq_depth": 4.0})
    phase = bucket(metrics={"max_dsq_depth": 0.0}, per_cgroup={"a": carrier}, sample_count=1)
    stats = ScenarioStats.from_cgroups([], phases=[phase], ext_metrics={"max_dsq_depth": 7.0})
    for metric in (name, MetricId.of(name)):
        assert phase.get(metric) == phase.expect_metric(metric) == 0.0
        assert stats.phase_metric(STEP, metric) == 0.0
        assert stats.phase_cgroup_metric(STEP, "a", metric) == 4.0
        assert stats.run_metric(metric) == 7.0


def test_a_counter_only_carriers_hold_is_found_by_its_name() -> None:
    starved = PhaseCgroupStats(num_workers=1)
    stats = ScenarioStats.from_cgroups([], phases=[bucket(per_cgroup={"a": starved}), bucket(2)])
    for name in ("total_iterations", "total_migrations", "total_cpu_time_ns"):
        assert stats.phase_metric(STEP, MetricId(name)) == 0.0  # carriers that counted nothing
        assert stats.phase_cgroup_metric(STEP, "a", MetricId(name)) == 0.0
        assert stats.phase_metric(Phase.step(1), name) is None  # no carriers
        assert stats.phase_cgroup_metric(Phase.step(1), "a", name) is None
    assert stats.phase_metric(STEP, "max_gap_ms") is None
    assert stats.phase_cgroup(STEP, "a") is starved
    assert stats.phase_cgroup(STEP, "b") is None
    assert stats.phase_cgroup(Phase.BASELINE, "a") is None
    top = PhaseCgroupStats(total_iterations=U64_MAX)
    assert bucket(per_cgroup={"a": top, "b": top}).cgroup_counter_total(
        BuiltinMetric.TotalIterations
    ) == float(U64_MAX)


@pytest.mark.parametrize(
    ("phase", "metric", "words"),
    [
        (bucket(), "max_dsq_depth", ("no capture fell", "0 captures", "present: none")),
        (bucket(sample_count=3, metrics={"b": 1.0, "a": 2.0}), "max_dsq_depth",
         ("phase 1 (Step[0], 3 captures)", "no finite value", "present: a, b")),
        (bucket(sample_count=3), "max_dsq_dept", ("'max_dsq_dept'", "registry has no metric")),
    ],
)  # fmt: skip
def test_a_metric_that_has_to_be_there_says_why_it_is_not(
    phase: PhaseBucket, metric: str, words: tuple[str, ...]
) -> None:
    with pytest.raises(LookupError) as failure:
        phase.expect_metric(metric)
    assert all(word in str(failure.value) for word in words)


def test_totals_that_hold_zero_are_not_taken_for_measurements() -> None:
    silent = ScenarioStats.from_cgroups([CgroupStats("a", 0)])
    assert (silent.worst_spread, silent.worst_gap_ms, silent.worst_migration_ratio) == (0.0, 0, 0.0)
    for name in (
        "worst_spread",
        "worst_gap_ms",
        "worst_migration_ratio",
        "worst_page_locality",
        "worst_cross_node_migration_ratio",
    ):
        assert silent.run_metric(name) is None
    assert silent.run_metric("total_iterations") == 0.0  # a cgroup that counted nothing
    measured = ScenarioStats.from_cgroups(
        [
            CgroupStats("a", 1, spread=0.0, total_iterations=1, page_locality=0.0,
                        cross_node_migration_ratio=0.0),
            CgroupStats("b", 1),
        ]
    )  # fmt: skip
    for name in (
        "worst_spread",
        "worst_gap_ms",
        "worst_migration_ratio",
        "worst_page_locality",
        "worst_cross_node_migration_ratio",
    ):
        assert measured.run_metric(name) == 0.0


def test_residency_of_the_carriers_beats_that_of_whole_cgroups() -> None:
    cgroups = [
        CgroupStats("a", 1, page_locality=0.5, cross_node_migration_ratio=0.1),
        CgroupStats("b", 1, page_locality=0.75, cross_node_migration_ratio=0.3),
    ]
    stats = ScenarioStats.from_cgroups(cgroups)
    assert stats.run_metric("worst_page_locality") == 0.5
    assert stats.run_metric("worst_cross_node_migration_ratio") == 0.3
    pooled = {"worst_page_locality": 0.0, "worst_cross_node_migration_ratio": 0.2}
    stats = ScenarioStats.from_cgroups(cgroups, ext_metrics=pooled)
    assert {name: stats.run_metric(name) for name in pooled} == pooled


@pytest.mark.parametrize(
    ("name", "mine", "theirs", "kept"),
    [
        ("worst_run_delay_us", 7.0, 6.0, 7.0),  # registered, lower is better
        ("worst_iterations_per_worker", 7.0, 6.0, 6.0),  # registered, higher is better
        ("ttwu_count_per_sec", 7.0, 6.0, 6.0),  # informational
        ("my_queue_depth", 7.0, 6.0, 7.0),  # unregistered: a cost by its name
        ("my_throughput", 7.0, 6.0, 6.0),  # unregistered: a gain by its name
        ("throughput_error", 7.0, 6.0, 7.0),  # costs count before gains
        ("whatever", 7.0, 6.0, 7.0),
    ],
)
def test_merging_keeps_the_worse_value(name: str, mine: float, theirs: float, kept: float) -> None:
    a, b = ScenarioStats(ext_metrics={name: mine}), ScenarioStats(ext_metrics={name: theirs})
    assert a.merge(b).ext_metrics == b.merge(a).ext_metrics == {name: kept}
    assert a.merge(ScenarioStats()).ext_metrics == {name: mine}
    assert ScenarioStats().merge(a).ext_metrics == {name: mine}


def test_merging_adds_totals_and_keeps_a_gap_with_its_cpu() -> None:
    a = ScenarioStats(
        (), 2, 3, U64_MAX, 1.0, 50, 7, 0.5, 10, phases=(bucket(2), bucket(1, sample_count=1))
    )
    b = ScenarioStats((), 4, 5, 6, 2.0, 50, 9, 0.25, 20, phases=(bucket(1, sample_count=2),))
    merged = a.merge(b)
    assert merged == ScenarioStats(
        (), 6, 8, U64_MAX, 2.0, 50, 7, 0.5, 30, phases=(bucket(1, sample_count=3), bucket(2))
    )
    later = replace(b, worst_gap_ms=51)
    assert (a.merge(later).worst_gap_ms, a.merge(later).worst_gap_cpu) == (51, 9)


def test_merging_is_the_same_as_one_scenario_with_all_cgroups() -> None:
    one = CgroupStats("a", 2, num_cpus=1, total_iterations=4, spread=3.0, max_gap_ms=9)
    two = CgroupStats("b", 1, num_cpus=2, total_migrations=5, migration_ratio=0.5, max_gap_cpu=3)
    apart = ScenarioStats.from_cgroups([one]).merge(ScenarioStats.from_cgroups([two]))
    assert apart == ScenarioStats.from_cgroups([one, two])


def event(ms: int, total: int | None, step: int | None = None, *, end: bool = False) -> object:
    return StimulusEvent(ms, "e", None, None, total, step, step is None, end)


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([event(0, 0, 1), event(2000, 500, 1, end=True), event(3000, 0, 2)], 250.0),
        ([event(0, 7, 1), event(2000, 7, 1, end=True)], 0.0),  # measured standstill
        ([event(0, 0, 1), event(1000, 30, 2), event(4000, 99, 3), event(9000, 999)], 30.0),
        ([event(0, 0, 1), event(2000, 50)], 25.0),  # only the end of the scenario
        ([event(0, 0, 1)], None),
        ([event(0, 9, 1), event(2000, 5, 1, end=True)], None),  # the counter went backward
        ([event(0, None, 1), event(2000, 5, 1, end=True)], None),
        ([event(5, 0, 1), event(5, 5, 1, end=True)], None),  # no time passed
        ([event(0, 0, 2), event(2000, 500, 2, end=True)], None),  # another step
        ([], None),
    ],
)
def test_step_throughput(events: list[StimulusEvent], expected: float | None) -> None:
    assert step_throughput(events, STEP) == expected
    assert step_throughput(events[::-1], STEP) == expected


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [(300, 100, 3.0), (0, 100, 0.0), (100, 0, math.inf), (0, 0, math.inf), (None, 100, None),
     (100, None, None)],
)  # fmt: skip
def test_throughput_ratio(first: int | None, second: int | None, expected: float | None) -> None:
    events = [
        event(0, 0, 1), event(1000, first, 1, end=True),
        event(2000, 0, 2), event(3000, second, 2, end=True),
    ]  # fmt: skip
    assert throughput_ratio(events, STEP, Phase.step(1)) == expected


def full_stats() -> ScenarioStats:
    """Statistics with something unusual in every field."""
    times = PlatStats.from_values(np.array([0, 7, 2**31], dtype=np.uint64))
    carrier = PhaseCgroupStats(
        num_workers=3,
        cpus_used=frozenset({0, 8191}),
        wake_latencies_ns=np.array([5, U64_MAX, 0], dtype=np.uint64),
        wake_sample_total=U64_MAX,
        run_delays_ns=np.array([U64_MAX], dtype=np.uint64),
        off_cpu_pcts=np.array([0.1, 100.0]),
        total_iterations=U64_MAX,
        numa_pages_local=None,
        max_gap_cpu=5,
        stripped=True,
        schbench=SchbenchPhaseStats(times, loop_count=U64_MAX),
        taobench=TaobenchPhaseStats(TaobenchStats(elapsed_ns=1), times),
    )
    phases = derive_phase_metrics(
        [
            bucket(0, sample_count=2, start_ms=0, end_ms=U64_MAX, metrics={"x": -0.1, "y": 1e300}),
            bucket(65_535, per_cgroup={"b": carrier, "a\n": PhaseCgroupStats()}),
        ]
    )
    cgroups = [
        CgroupStats("a\n", 1, spread=0.0, taobench_whole=TaobenchStats(get_cmds=U64_MAX)),
        CgroupStats("", ext_metrics={"mine": 0.1}),
    ]
    return ScenarioStats.from_cgroups(cgroups, phases=phases, ext_metrics={"zero": 0.0})


def test_records_lose_nothing() -> None:
    stats = full_stats()
    record = stats.to_record()
    assert ScenarioStats.from_record(record, "run") == stats
    assert ScenarioStats.from_record(ScenarioStats().to_record(), "run") == ScenarioStats()
    again = ScenarioStats.from_record(record, "run").phases[1].per_cgroup["b"]
    assert again.wake_latencies_ns.tolist() == [5, U64_MAX, 0]
    assert again.numa_pages_local is None
    (phase, _) = stats.phases
    assert PhaseBucket.from_record(phase.to_record(), "phase") == phase
    for made in (
        StimulusEvent(U64_MAX, "", None, "x", 0, 0, False, True),
        StimulusEvent.terminal(3, U64_MAX),
    ):
        assert StimulusEvent.from_record(made.to_record(), "event") == made


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda record: record.pop("cgroups"), ("run", "'cgroups'", "missing")),
        (lambda record: record.update(worst_spread=math.nan), ("'worst_spread'", "nan")),
        (lambda record: record.update(total_iterations=-1), ("'total_iterations'", "-1")),
        (lambda record: record.update(more=1), ("'more'", "no field of that name")),
        (lambda record: record["phases"][1].update(step_index=65_536),
         ("phases[1].step_index", "65536", "65535")),
        (lambda record: record["phases"][0]["metrics"].update(x=math.inf), ("metrics['x']", "inf")),
        (lambda record: record["phases"][1]["per_cgroup"]["b"].update(wake_sample_total=-2),
         ("phases[1].per_cgroup['b'].wake_sample_total", "-2")),
        (lambda record: record["phases"][1].update(per_cgroup=[]), ("per_cgroup", "a map")),
        (lambda record: record["cgroups"][0].update(num_workers=True), ("[0].num_workers", "True")),
    ],
)  # fmt: skip
def test_a_damaged_record_is_refused_by_field(
    damage: Callable[[object], object], words: tuple[str, ...]
) -> None:
    record = full_stats().to_record()
    damage(record)
    with pytest.raises(RecordError) as failure:
        ScenarioStats.from_record(record, "run")
    assert all(word in str(failure.value) for word in words), failure.value


@pytest.mark.parametrize(
    "damage", [{"elapsed_ms": "1"}, {"step_index": 70_000}, {"is_step_end": 0}]
)
def test_a_damaged_event_is_refused_by_field(damage: dict[str, object]) -> None:
    (field,) = damage
    with pytest.raises(RecordError, match=field):
        StimulusEvent.from_record({**StimulusEvent.terminal(1, 2).to_record(), **damage}, "event")
