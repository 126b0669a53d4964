# SPDX-License-Identifier: GPL-2.0-only
"""Run-level population and the whole fold, against figures worked out by hand."""

import math
from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np
import pytest

from ktstr.metrics import (
    Phase,
    PhaseBucket,
    ScenarioStats,
    StimulusEvent,
    derive_phase_metrics,
    fold_run,
    populate_run_ext_all,
)
from ktstr.metrics.fold import guest_carriers
from ktstr.metrics.populate import (
    populate_run_ext_metrics,
    populate_run_ext_metrics_from_phases,
    populate_run_pooled_iterations_per_cpu_sec,
)
from ktstr.series.monitor.samples import CpuReading, MonitorSample
from ktstr.series.sample import Sample, SampleSeries
from ktstr.series.snapshot import CpuSnapshot, SchedExtState, Snapshot
from ktstr.telemetry import CgroupStats, PhaseCgroupStats, PhaseSlice, TaggedReport, WorkerReport
from ktstr.telemetry.engines import SchbenchPhaseStats, TaobenchPhaseStats, TaobenchStats
from ktstr.telemetry.plat import PlatStats


def u64(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.uint64)


def depth_sample(number: int, step: int, depth: int) -> Sample:
    snapshot = Snapshot("7.2", (), (CpuSnapshot(0, local_dsq_depth=depth),), SchedExtState())
    return Sample(f"periodic_{number:03}", number, number, step, snapshot)


def tagged(step: int, cgroup: str, worker: int, work_idx: int = 0, **fields: Any) -> TaggedReport:
    report = WorkerReport(**{"completed": True, "tid": 100 + worker, **fields})
    return TaggedReport(step, cgroup, 0, work_idx, worker, "SpinWait", report)


def stats_of(*phases: PhaseBucket, cgroups: tuple[CgroupStats, ...] = ()) -> ScenarioStats:
    return ScenarioStats.from_cgroups(cgroups, phases=phases)


def phase(
    step: int, metrics: dict[str, float] | None = None, count: int = 0, **cgroups: Any
) -> PhaseBucket:
    return PhaseBucket(step, str(Phase(step)), 0, 1, count, metrics or {}, cgroups)


def test_captures_reduce_over_the_whole_run() -> None:
    series = SampleSeries([depth_sample(0, 1, 2), depth_sample(1, 1, 4), depth_sample(2, 2, 9)])
    target: dict[str, float] = {}
    populate_run_ext_metrics(series, target)
    assert target == {"avg_dsq_depth": 5.0}  # max_dsq_depth has a typed home


def test_what_is_there_already_is_kept() -> None:
    target = {"avg_dsq_depth": 1.0}
    populate_run_ext_metrics(SampleSeries([depth_sample(0, 1, 2)]), target)
    populate_run_ext_metrics_from_phases([phase(1, {"avg_dsq_depth": 50.0})], target)
    assert target == {"avg_dsq_depth": 1.0}


def test_phases_fold_by_kind_and_rates_are_pooled() -> None:
    target: dict[str, float] = {}
    populate_run_ext_metrics_from_phases(
        [
            phase(
                1,
                {
                    "total_phase_iterations": 100.0,
                    "total_phase_duration_sec": 1.0,
                    "iteration_rate": 100.0,
                    "avg_dsq_depth": 2.0,
                    "max_dsq_depth": 3.0,
                    "unregistered": 1.0,
                    "worst_run_delay_us": 5.0,  # derived: only ever pooled from samples
                },
                count=3,
            ),
            phase(
                2,
                {
                    "total_phase_iterations": 100.0,
                    "total_phase_duration_sec": 9.0,
                    "avg_dsq_depth": 6.0,
                },
                count=0,
            ),
        ],
        target,
    )
    assert target == {
        "total_phase_iterations": 200.0,
        "total_phase_duration_sec": 10.0,
        "iteration_rate": 20.0,
        "avg_dsq_depth": 3.0,  # (2 * 3 + 6 * 1) / 4
    }


def test_pooled_efficiency_skips_cgroups_without_cpu_time() -> None:
    target: dict[str, float] = {}
    populate_run_pooled_iterations_per_cpu_sec([CgroupStats(total_iterations=9)], target)
    assert target == {}
    cgroups = [
        CgroupStats(total_iterations=100, total_cpu_time_ns=1_000_000_000),
        CgroupStats(total_iterations=50, total_cpu_time_ns=2_000_000_000),
        CgroupStats(total_iterations=1000),
    ]
    populate_run_pooled_iterations_per_cpu_sec(cgroups, target)
    assert target == {
        "total_iterations_pooled": 150.0,
        "total_cpu_time_sec": 3.0,
        "iterations_per_cpu_sec": 50.0,
    }


def test_distributions_pool_samples_by_population() -> None:
    capped = PhaseCgroupStats(wake_latencies_ns=u64(1000, 1000), wake_sample_total=98)
    small = PhaseCgroupStats(wake_latencies_ns=u64(5000, 9000), wake_sample_total=2)
    result = populate_run_ext_all(
        stats_of(phase(1, a=capped), phase(2, a=small)), SampleSeries.empty()
    )
    # Population 100: 98 at 1 µs, one at 5 µs, one at 9 µs.
    assert result.ext_metrics["worst_median_wake_latency_us"] == 1.0
    assert result.ext_metrics["worst_p99_wake_latency_us"] == 5.0
    mean = (98 * 1000 + 5000 + 9000) / 100
    variance = (98 * (1000 - mean) ** 2 + (5000 - mean) ** 2 + (9000 - mean) ** 2) / 100
    assert result.ext_metrics["worst_wake_latency_cv"] == pytest.approx(math.sqrt(variance) / mean)
    assert "worst_p99_timer_latency_us" not in result.ext_metrics


def test_the_order_of_cgroups_changes_no_bit_of_a_weighted_pool() -> None:
    carriers = [
        PhaseCgroupStats(wake_latencies_ns=u64(*values), wake_sample_total=total)
        for values, total in (([1000, 1000], 18), ([2000], 16), ([1000, 3000, 2000], 11))
    ]
    found = {
        populate_run_ext_all(
            stats_of(phase(1, **dict(zip("abc", order, strict=True)))), SampleSeries.empty()
        ).ext_metrics["worst_wake_latency_cv"]
        for order in permutations(carriers)
    }
    assert len(found) == 1


def test_a_cgroup_without_samples_in_a_carrier_still_counts() -> None:
    carrier = PhaseCgroupStats(wake_latencies_ns=u64(2000), wake_sample_total=1)
    whole = CgroupStats("backdrop", 1, wake_measured=True, p99_wake_latency_us=7.0)
    same = CgroupStats("a", 1, wake_measured=True, p99_wake_latency_us=99.0)
    silent = CgroupStats("quiet", 1, p99_wake_latency_us=500.0)
    result = populate_run_ext_all(
        stats_of(phase(1, a=carrier), cgroups=(whole, same, silent)), SampleSeries.empty()
    )
    assert result.ext_metrics["worst_p99_wake_latency_us"] == 7.0


def test_the_lowest_cgroup_counts_and_zero_is_the_lowest() -> None:
    starved = CgroupStats("starved", 2, total_iterations=0, total_cpu_time_ns=5)
    busy = CgroupStats("busy", 2, total_iterations=10, total_cpu_time_ns=1_000_000_000)
    absent = CgroupStats("absent", 0)
    ext = populate_run_ext_all(stats_of(cgroups=(busy, absent)), SampleSeries.empty()).ext_metrics
    assert ext["worst_iterations_per_worker"] == 5.0
    assert ext["worst_iterations_per_cpu_sec"] == 10.0
    ext = populate_run_ext_all(
        stats_of(cgroups=(busy, absent, starved)), SampleSeries.empty()
    ).ext_metrics
    assert ext["worst_iterations_per_worker"] == 0.0
    assert ext["worst_iterations_per_cpu_sec"] == 0.0


def test_residency_is_the_latest_and_migrations_are_summed() -> None:
    def pages(local: int | None, total: int, migrated: int) -> PhaseCgroupStats:
        return PhaseCgroupStats(
            numa_pages_local=local, numa_pages_total=total, cross_node_migrated=migrated
        )

    ext = populate_run_ext_all(
        stats_of(
            phase(1, a=pages(1, 10, 5), b=pages(None, 10, 1)),
            phase(2, a=pages(30, 40, 7)),
            phase(3, a=pages(0, 0, 8)),
        ),
        SampleSeries.empty(),
    ).ext_metrics
    assert ext["worst_page_locality"] == 0.75
    assert ext["worst_cross_node_migration_ratio"] == 0.5  # a: 20 / 40, b: 1 / 10


@pytest.mark.parametrize(("iterations", "expected"), [(99, None), (100, 4.0)])
def test_a_tail_ratio_needs_a_hundred_iterations(iterations: int, expected: float | None) -> None:
    cgroups = (
        CgroupStats(
            "a",
            1,
            total_iterations=iterations,
            p99_wake_latency_us=8.0,
            median_wake_latency_us=2.0,
            wake_measured=True,
        ),
        CgroupStats("b", 1, p99_wake_latency_us=3.0, median_wake_latency_us=2.0),
    )
    ext = populate_run_ext_all(stats_of(cgroups=cgroups), SampleSeries.empty()).ext_metrics
    assert ext.get("worst_wake_latency_tail_ratio") == expected


def run_inputs() -> tuple[SampleSeries, list[StimulusEvent], list[TaggedReport]]:
    samples = SampleSeries(
        [
            depth_sample(0, 1, 2),
            depth_sample(1, 1, 4),
            replace(depth_sample(2, 1, 99), tag="on_demand"),
        ]
    )
    events = [
        StimulusEvent(0, "StepStart[0]", total_iterations=0, step_index=1),
        StimulusEvent(2000, "StepEnd[0]", total_iterations=400, step_index=1, is_step_end=True),
        StimulusEvent(2100, "StepStart[1]", total_iterations=0, step_index=2),
        StimulusEvent(4100, "StepEnd[1]", total_iterations=100, step_index=2, is_step_end=True),
        StimulusEvent.terminal(4200, 100),
    ]
    reports = [
        tagged(1, "a", 0, iterations=300, wall_time_ns=2 * 10**9, off_cpu_ns=10**9,
               schedstat_cpu_time_ns=10**9, wake_latencies_ns=u64(1000, 2000),
               wake_sample_total=2, max_gap_ms=5, max_gap_cpu=1, cpus_used=frozenset({0, 1})),
        tagged(1, "a", 0, 1, iterations=100, wall_time_ns=2 * 10**9, off_cpu_ns=0,
               schedstat_cpu_time_ns=10**9, wake_latencies_ns=u64(3000), wake_sample_total=1),
        tagged(2, "a", 0, iterations=100, wall_time_ns=10**9, migration_count=7,
               schedstat_cpu_time_ns=2 * 10**9),
        tagged(0, "bg", 0, iterations=50, phase_slices=(PhaseSlice(2, iterations=20),)),
    ]  # fmt: skip
    return samples, events, reports


def test_an_engine_of_one_step_is_read_from_its_slice() -> None:
    web = SchbenchPhaseStats(request=PlatStats.from_values(u64(7, 9)), loop_count=2)
    cache = TaobenchPhaseStats(TaobenchStats(get_cmds=5))
    slices = (PhaseSlice(1, iterations=99, schbench=web), PhaseSlice(3, schbench=web))
    found = guest_carriers([
        tagged(1, "a", 0, iterations=2, wall_time_ns=10, phase_slices=slices),
        tagged(1, "a", 0, 1, iterations=3, phase_slices=slices[:1]),
        tagged(2, "b", 0, iterations=4, phase_slices=(PhaseSlice(2, taobench=cache),)),
        tagged(2, "c", 0, iterations=5),
    ])  # fmt: skip
    assert [bucket.step_index for bucket in found] == [1, 2]
    one, two = (bucket.per_cgroup for bucket in found)
    # The report counts the iterations; the slice is there for the engine alone.
    assert (one["a"].total_iterations, one["a"].num_workers) == (5, 2)
    assert one["a"].schbench == web.merge(web)
    assert (two["b"].taobench, two["b"].schbench) == (cache, None)
    assert (two["c"].taobench, two["c"].schbench) == (None, None)


def test_fold_run_end_to_end() -> None:
    stats = fold_run(*run_inputs())
    assert [(c.cgroup_name, c.num_workers, c.total_iterations) for c in stats.cgroups] == [
        ("bg", 1, 50),
        ("a", 2, 400),
        ("a", 1, 100),
    ]
    assert (stats.total_workers, stats.total_iterations, stats.total_migrations) == (4, 550, 7)
    assert (stats.worst_spread, stats.worst_gap_ms, stats.worst_gap_cpu) == (50.0, 5, 1)
    assert [b.label for b in stats.phases] == ["Step[0]", "Step[1]"]
    one, two = Phase.step(0), Phase.step(1)
    assert stats.phase_metric(one, "iteration_rate") == 200.0
    assert stats.phase_metric(two, "iteration_rate") == 50.0
    assert stats.phase_metric(one, "avg_dsq_depth") == 3.0
    assert stats.phase_metric(two, "avg_dsq_depth") is None
    assert stats.phase_metric(two, "total_iterations") == 120.0
    assert stats.phase_metric(Phase.BASELINE, "total_iterations") is None
    assert stats.phase_cgroup_metric(one, "a", "p99_wake_latency_us") == 3.0
    assert stats.phase_cgroup_metric(one, "a", "iterations_per_worker") == 200.0
    assert stats.phase_cgroup_metric(two, "bg", "total_iterations") == 20.0
    assert stats.phase_cgroup_metric(two, "nobody", "total_iterations") is None
    assert stats.ext_metrics["iteration_rate"] == 125.0  # 500 over 4 s
    assert stats.ext_metrics["iterations_per_cpu_sec"] == 125.0  # 500 over 4 CPU seconds
    assert stats.run_metric("worst_p99_wake_latency_us") == 3.0
    assert stats.run_metric("worst_spread") == 50.0
    assert stats.run_metric("total_iterations") == 550.0
    assert stats.run_metric("total_migrations") == 7.0
    assert stats.run_metric("worst_gap_ms") == 5.0
    assert stats.run_metric("worst_migration_ratio") == pytest.approx(0.07)
    assert stats.run_metric("max_dsq_depth") is None
    assert stats.has_steps()


def test_pre_and_post_derive_phases_give_the_same_run_level_map() -> None:
    samples, events, reports = run_inputs()
    folded = fold_run(samples, events, reports)
    again = populate_run_ext_all(
        ScenarioStats.from_cgroups(folded.cgroups, phases=folded.phases), samples.periodic_only()
    )
    assert again.ext_metrics == folded.ext_metrics
    assert derive_phase_metrics(folded.phases) == list(folded.phases)


def test_the_order_of_the_first_two_steps_matters() -> None:
    series = SampleSeries([depth_sample(0, 1, 2), depth_sample(1, 2, 8), depth_sample(2, 2, 8)])
    phases = [phase(1, {"avg_dsq_depth": 2.0}), phase(2, {"avg_dsq_depth": 8.0})]
    right: dict[str, float] = {}
    populate_run_ext_metrics(series, right)
    populate_run_ext_metrics_from_phases(phases, right)
    swapped: dict[str, float] = {}
    populate_run_ext_metrics_from_phases(phases, swapped)
    populate_run_ext_metrics(series, swapped)
    assert right != swapped
    assert populate_run_ext_all(stats_of(*phases), series).ext_metrics == right


def test_the_monitors_whole_run_beats_its_phases() -> None:
    def seen(ms: int, running: int) -> MonitorSample:
        return MonitorSample(ms, (CpuReading(0, nr_running=running),))

    samples, events, reports = run_inputs()
    monitor = [seen(0, 1), seen(1, 1), seen(2200, 4), seen(4150, 6)]
    folded = fold_run(samples, events, reports, monitor=monitor)
    # The first phase has captures at 0 and 1 ms, so its window is [0, 1).
    assert folded.phase_metric(Phase.step(0), "avg_nr_running") == 1.0
    assert folded.phase_metric(Phase.step(1), "avg_nr_running") == 4.0
    assert folded.run_metric("avg_nr_running") == 3.0
    assert fold_run(samples, events, reports).run_metric("avg_nr_running") is None


def test_slices_of_a_stripped_report_are_marked_only_where_samples_are_missing() -> None:
    slices = (
        PhaseSlice(1, wake_sample_total=4),
        PhaseSlice(2, timer_sample_total=1),
        PhaseSlice(3),
    )
    report = replace(tagged(0, "bg", 0, phase_slices=slices), stripped=True)
    found = [bucket.per_cgroup["bg"].stripped for bucket in guest_carriers([report])]
    assert found == [True, True, False]
    report = replace(report, stripped=False)
    assert not any(b.per_cgroup["bg"].stripped for b in guest_carriers([report]))


def test_an_empty_run_measures_nothing() -> None:
    stats = fold_run(SampleSeries.empty(), [], [])
    assert (stats.ext_metrics, stats.phases, stats.cgroups) == ({}, (), ())
    for name in ("worst_spread", "total_iterations", "worst_gap_ms", "worst_migration_ratio"):
        assert stats.run_metric(name) is None
    assert stats.cgroup_balance_ratio() is None
    assert not stats.has_steps()


@pytest.mark.parametrize(
    ("iterations", "expected"), [((10, 40), 4.0), ((0, 40), math.inf), ((0, 0), math.inf)]
)
def test_balance(iterations: tuple[int, int], expected: float) -> None:
    cgroups = [CgroupStats(str(n), 2, total_iterations=n) for n in iterations]
    stats = ScenarioStats.from_cgroups([*cgroups, CgroupStats("empty")])
    assert stats.cgroup_balance_ratio() == expected
    alone = ScenarioStats.from_cgroups([CgroupStats("a", 1, total_iterations=3)])
    assert alone.cgroup_balance_ratio() is None


def test_a_migration_ratio_over_no_iterations_is_not_measured() -> None:
    stats = ScenarioStats.from_cgroups([CgroupStats("a", 1, total_migrations=3)])
    assert stats.run_metric("worst_migration_ratio") is None
    assert stats.run_metric("worst_spread") is None
    assert stats.run_metric("worst_gap_ms") == 0.0


def test_merging_scenarios_keeps_the_worse_side() -> None:
    def one(low: float, high: float, cgroup: str) -> ScenarioStats:
        return ScenarioStats.from_cgroups(
            [CgroupStats(cgroup, 1)],
            phases=[phase(1, {"max_dsq_depth": high}, 1)],
            ext_metrics={"worst_iterations_per_worker": low, "worst_run_delay_us": high},
        )

    merged = one(5.0, 7.0, "a").merge(one(3.0, 6.0, "b"))
    assert [c.cgroup_name for c in merged.cgroups] == ["a", "b"]
    assert merged.ext_metrics == {"worst_iterations_per_worker": 3.0, "worst_run_delay_us": 7.0}
    assert merged.phase_metric(Phase.step(0), "max_dsq_depth") == 7.0
    assert merged.total_workers == 2
