# SPDX-License-Identifier: GPL-2.0-only
"""Per-cgroup reductions and carriers, against figures worked out by hand or over lists."""

import statistics

import numpy as np
import pytest

from ktstr.telemetry import (
    MAX_WAKE_SAMPLES,
    PhaseCgroupStats,
    PhaseSlice,
    SampleSource,
    WorkerReport,
    cgroup_stats,
    percentile,
    phase_cgroup_stats,
    phase_slice_carriers,
)
from ktstr.telemetry.moments import Moments

U64_MAX = 2**64 - 1


def u64(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.uint64)


def worker(**fields: object) -> WorkerReport:
    return WorkerReport(**{"completed": True, **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("count", "p", "rank"),
    [
        (1, 0.99, 1),
        (2, 0.5, 1),
        (4, 0.5, 2),
        (5, 0.5, 3),
        (100, 0.99, 99),
        (101, 0.99, 100),
        (1000, 0.999, 999),
        (10, 0.0, 1),
        (10, 1.0, 10),
    ],
)
def test_percentile_is_nearest_rank(count: int, p: float, rank: int) -> None:
    assert percentile(np.arange(1, count + 1, dtype=np.uint64), p) == rank


def test_a_percentile_of_nothing_is_not_zero() -> None:
    with pytest.raises(ValueError, match="empty"):
        percentile(u64(), 0.5)


def test_cv_survives_sums_beyond_64_bits() -> None:
    assert Moments.of(u64(U64_MAX, U64_MAX)).coefficient_of_variation() == 0.0
    assert Moments.of(u64(0, U64_MAX)).coefficient_of_variation() == pytest.approx(1.0)


def test_reductions_of_two_workers() -> None:
    stats = cgroup_stats(
        [
            worker(
                wall_time_ns=1000,
                off_cpu_ns=100,
                cpus_used=frozenset({0}),
                max_gap_ms=7,
                max_gap_cpu=0,
                migration_count=3,
                iterations=10,
                wake_latencies_ns=u64(1000, 3000),
                wake_sample_total=2,
                schedstat_run_delay_ns=2000,
                schedstat_cpu_time_ns=500_000_000,
                numa_pages={0: 30, 1: 10},
                vmstat_numa_pages_migrated=5,
            ),
            worker(
                wall_time_ns=1000,
                off_cpu_ns=400,
                cpus_used=frozenset({0, 2}),
                max_gap_ms=7,
                max_gap_cpu=2,
                migration_count=1,
                iterations=30,
                wake_latencies_ns=u64(2000),
                wake_sample_total=1,
                schedstat_run_delay_ns=6000,
                schedstat_cpu_time_ns=1_500_000_000,
                numa_pages={0: 10},
                vmstat_numa_pages_migrated=8,
            ),
        ],
        cgroup_name="cg",
        expected_nodes={0},
    )
    assert stats.cgroup_name == "cg"
    assert stats.num_workers == 2
    assert (stats.cpus_used, stats.num_cpus) == ({0, 2}, 2)
    assert stats.avg_off_cpu_pct == pytest.approx(25.0)
    assert (stats.min_off_cpu_pct, stats.max_off_cpu_pct) == (10.0, 40.0)
    assert stats.spread == 30.0
    assert (stats.max_gap_ms, stats.max_gap_cpu) == (7, 2)  # the later of two equal gaps
    assert stats.total_migrations == 4
    assert stats.migration_ratio == pytest.approx(0.1)
    assert stats.p99_wake_latency_us == 3.0
    assert stats.median_wake_latency_us == 2.0
    assert stats.wake_latency_cv == pytest.approx(statistics.pstdev([1000, 3000, 2000]) / 2000)
    assert stats.wake_latency_tail_ratio() == 1.5
    assert stats.wake_measured and not stats.timer_measured and stats.run_delay_measured
    assert (stats.mean_run_delay_us, stats.worst_run_delay_us) == (4.0, 6.0)
    assert stats.iterations_per_worker() == 20.0
    assert stats.iterations_per_cpu_sec() == 20.0
    assert stats.page_locality == pytest.approx(0.8)
    assert stats.cross_node_migration_ratio == pytest.approx(8 / 50)


def test_not_measured_is_not_zero() -> None:
    empty = cgroup_stats([])
    assert empty.spread is None and empty.avg_off_cpu_pct is None
    assert empty.iterations_per_worker() is None
    assert empty.iterations_per_cpu_sec() is None
    assert not any(empty.measured_for(source) for source in SampleSource)
    idle = cgroup_stats([worker()])
    assert idle.spread is None
    assert idle.iterations_per_worker() == 0.0
    assert idle.iterations_per_cpu_sec() is None
    assert idle.page_locality is None
    measured = cgroup_stats([worker(wall_time_ns=10)])
    assert measured.spread == 0.0 and measured.avg_off_cpu_pct == 0.0


def test_timer_reductions() -> None:
    samples = np.arange(1, 2001, dtype=np.uint64) * np.uint64(1000)
    stats = cgroup_stats([worker(timer_latencies_ns=samples, timer_sample_total=2000)])
    assert stats.median_timer_latency_us == 1000.0
    assert stats.p99_timer_latency_us == 1980.0
    assert stats.p999_timer_latency_us == 1998.0
    assert stats.worst_timer_latency_us == 2000.0


def test_hostile_counters_saturate() -> None:
    stats = cgroup_stats([worker(iterations=U64_MAX), worker(iterations=5)])
    assert stats.total_iterations == U64_MAX
    carrier = phase_cgroup_stats([worker(migration_count=U64_MAX), worker(migration_count=1)])
    assert carrier.total_migrations == U64_MAX


def test_a_carrier_reproduces_the_cgroups_figures() -> None:
    reports = [
        worker(
            wall_time_ns=100,
            off_cpu_ns=10 * i,
            wake_latencies_ns=u64(*range(1000 * i, 1000 * i + 50)),
            wake_sample_total=50,
            schedstat_run_delay_ns=100 * i,
            iterations=i,
        )
        for i in range(1, 5)
    ]
    stats, carrier = cgroup_stats(reports), phase_cgroup_stats(reports)
    assert carrier.wake_summary() == (stats.p99_wake_latency_us, stats.median_wake_latency_us)
    assert carrier.wake_cv() == stats.wake_latency_cv
    assert carrier.off_cpu_summary() == (
        stats.avg_off_cpu_pct,
        stats.min_off_cpu_pct,
        stats.max_off_cpu_pct,
        stats.spread,
    )
    assert carrier.run_delay_summary() == (stats.mean_run_delay_us, stats.worst_run_delay_us)
    assert carrier.total_iterations == stats.total_iterations == 10


def test_summaries_of_nothing_are_none() -> None:
    carrier = PhaseCgroupStats()
    assert carrier.wake_summary() is None
    assert carrier.wake_cv() is None
    assert carrier.timer_summary() is None
    assert carrier.run_delay_summary() is None
    assert carrier.off_cpu_summary() is None
    assert carrier.get("p99_wake_latency_us") is None
    with pytest.raises(LookupError, match="p99_wake_latency_us"):
        carrier.expect_metric("p99_wake_latency_us")


def test_a_measured_zero_is_a_value() -> None:
    carrier = PhaseCgroupStats(wake_latencies_ns=u64(0, 0), off_cpu_pcts=np.array([0.0]))
    assert carrier.wake_cv() == 0.0
    assert carrier.wake_summary() == (0.0, 0.0)
    assert carrier.off_cpu_summary() == (0.0, 0.0, 0.0, 0.0)


def test_merge_field_by_field() -> None:
    a = PhaseCgroupStats(
        num_workers=4,
        cpus_used=frozenset({0, 1}),
        wake_latencies_ns=u64(1, 2),
        wake_sample_total=2,
        timer_latencies_ns=u64(9),
        timer_sample_total=1,
        run_delays_ns=u64(5),
        off_cpu_pcts=np.array([1.0]),
        total_migrations=1,
        total_iterations=2,
        total_cpu_time_ns=U64_MAX,
        numa_pages_local=3,
        numa_pages_total=4,
        cross_node_migrated=7,
        max_gap_ms=50,
        max_gap_cpu=1,
        metrics={"stale": 1.0},
    )
    b = PhaseCgroupStats(
        num_workers=2,
        cpus_used=frozenset({1, 2}),
        wake_latencies_ns=u64(3),
        wake_sample_total=1,
        run_delays_ns=u64(6, 7),
        off_cpu_pcts=np.array([2.0]),
        total_migrations=10,
        total_iterations=20,
        total_cpu_time_ns=1,
        numa_pages_local=30,
        numa_pages_total=40,
        cross_node_migrated=6,
        max_gap_ms=50,
        max_gap_cpu=2,
        stripped=True,
    )
    expected = PhaseCgroupStats(
        num_workers=6,
        cpus_used=frozenset({0, 1, 2}),
        wake_latencies_ns=u64(1, 2, 3),
        wake_sample_total=3,
        timer_latencies_ns=u64(9),
        timer_sample_total=1,
        run_delays_ns=u64(5, 6, 7),
        off_cpu_pcts=np.array([1.0, 2.0]),
        total_migrations=11,
        total_iterations=22,
        total_cpu_time_ns=U64_MAX,
        numa_pages_local=33,
        numa_pages_total=44,
        cross_node_migrated=7,
        max_gap_ms=50,
        max_gap_cpu=2,
        stripped=True,
    )
    assert PhaseCgroupStats.merge(a, b) == expected
    assert b.merge(a).max_gap_cpu == 1  # equal gaps: the right side


def test_the_larger_gap_brings_its_cpu() -> None:
    a, b = PhaseCgroupStats(max_gap_ms=9, max_gap_cpu=4), PhaseCgroupStats(max_gap_ms=8)
    assert (a.merge(b).max_gap_ms, a.merge(b).max_gap_cpu) == (9, 4)
    assert (b.merge(a).max_gap_ms, b.merge(a).max_gap_cpu) == (9, 4)


@pytest.mark.parametrize("extra", [0, 1])
def test_the_cap_decides_between_concatenation_and_draws(extra: int) -> None:
    a = PhaseCgroupStats(
        wake_latencies_ns=np.zeros(MAX_WAKE_SAMPLES - 10, dtype=np.uint64),
        wake_sample_total=MAX_WAKE_SAMPLES - 10,
    )
    b = PhaseCgroupStats(
        wake_latencies_ns=np.ones(10 + extra, dtype=np.uint64), wake_sample_total=900_000
    )
    merged = a.merge(b)
    assert len(merged.wake_latencies_ns) == MAX_WAKE_SAMPLES
    assert merged.wake_sample_total == MAX_WAKE_SAMPLES - 10 + 900_000
    ones = int(np.sum(merged.wake_latencies_ns))
    assert ones == 10 if extra == 0 else 88_000 < ones < 92_000


def test_unknown_locality_stays_unknown() -> None:
    reports = [worker(numa_pages={0: 5}), worker(numa_pages={1: 5})]
    assert phase_cgroup_stats(reports).numa_pages_local is None
    assert phase_cgroup_stats(reports).numa_pages_total == 10
    assert phase_cgroup_stats(reports, {1}).numa_pages_local == 5


def test_slices_become_carriers_of_their_steps_only() -> None:
    parts = tuple(
        PhaseSlice(epoch, iterations=10 * (i + 1), wall_ns=4, off_cpu_ns=1)
        for i, epoch in enumerate((0, 1, 2**32 - 1, 2))
    )
    found = phase_slice_carriers([worker(phase_slices=parts), worker(phase_slices=parts[1:2])])
    assert sorted(found) == [1, 2]
    assert (found[1].num_workers, found[1].total_iterations) == (2, 40)
    assert (found[2].num_workers, found[2].total_iterations) == (1, 40)
    assert found[2].off_cpu_summary() == (25.0, 25.0, 25.0, 0.0)
