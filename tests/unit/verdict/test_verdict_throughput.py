# SPDX-License-Identifier: GPL-2.0-only
"""Work rates, migrations, wake latencies and NUMA: worked out by hand."""

import math

import numpy as np
import pytest

from ktstr.telemetry import TaggedReport, WorkerReport
from ktstr.verdict import Assert, AssertResult, DetailKind, Surroundings, evaluate

SECOND = 10**9


def worker(number: int = 0, work_type: str = "PipeIo", **fields: object) -> TaggedReport:
    values = {"tid": 100 + number, "completed": True, "wall_time_ns": 2 * SECOND, **fields}
    report = WorkerReport(**values)  # type: ignore[arg-type]
    return TaggedReport(1, "cg", 0, 0, number, work_type, report)


def wakes(*samples: int, number: int = 0, total: int | None = None) -> TaggedReport:
    return worker(
        number,
        wake_latencies_ns=np.array(samples, dtype=np.uint64),
        wake_sample_total=len(samples) if total is None else total,
    )


def failures(result: AssertResult) -> list[tuple[DetailKind, str]]:
    return [(detail.kind, detail.message) for detail in result.failure_details()]


def doubts(result: AssertResult) -> list[tuple[DetailKind, str]]:
    return [(detail.kind, detail.message) for detail in result.inconclusive_details()]


def held(result: AssertResult) -> list[tuple[str, str, str, str | None]]:
    return [(p.name, p.comparator, p.value, p.expected) for p in result.passes]


def rates(*pairs: tuple[int, int]) -> list[TaggedReport]:
    return [worker(n, work_units=u, cpu_time_ns=t) for n, (u, t) in enumerate(pairs)]


def test_throughput_cv() -> None:
    # 10 and 30 units per second: mean 20, population deviation 10, cv 0.5.
    two = rates((10, SECOND), (60, 2 * SECOND))
    result = evaluate(Assert(max_throughput_cv=0.49), two)
    assert failures(result) == [
        (
            DetailKind.BENCHMARK,
            "Step[0] cg: throughput cv 0.500 above limit 0.49 (2 workers, 10.0-30.0 units/cpu-s)",
        )
    ]
    fine = evaluate(Assert(max_throughput_cv=0.5), two)
    assert fine.is_pass()
    assert held(fine) == [("cg.throughput_cv", "le", "0.500", "0.5")]


@pytest.mark.parametrize(
    ("reports", "why"),
    [
        (rates((10, SECOND), (10, 0)), "cg: throughput cv not measured: 1 of 2 workers have CPU"),
        (rates((0, 0), (0, SECOND)), "cg: throughput cv not measured: no worker did any work"),
        (rates((5, SECOND)), "max_throughput_cv: no cgroup has two living workers"),
    ],
)
def test_throughput_cv_without_data_is_inconclusive(reports: list[TaggedReport], why: str) -> None:
    ((kind, message),) = doubts(evaluate(Assert(max_throughput_cv=9.0), reports))
    assert kind is DetailKind.BENCHMARK and why in message


def test_a_worker_that_got_no_cpu_has_the_rate_zero() -> None:
    # 0 and 10 units per second: mean 5, deviation 5, cv 1.
    starved = rates((0, 0), (10, SECOND))
    assert evaluate(Assert(max_throughput_cv=1.0), starved).is_pass()
    assert evaluate(Assert(max_throughput_cv=0.99), starved).is_fail()
    assert failures(evaluate(Assert(min_work_rate=0.5), starved)) == [
        (
            DetailKind.BENCHMARK,
            "Step[0] cg: worker 0 (PipeIo, tid 100) work rate 0.0/cpu-s below floor 0.5/cpu-s",
        )
    ]


def test_work_rate() -> None:
    reports = rates((30, 2 * SECOND), (40, SECOND))
    fine = evaluate(Assert(min_work_rate=15.0), reports)
    assert fine.is_pass()
    assert held(fine) == [("cg.work_rate", "ge", "15.0", "15.0")]
    assert failures(evaluate(Assert(min_work_rate=15.1), reports)) == [
        (
            DetailKind.BENCHMARK,
            "Step[0] cg: worker 0 (PipeIo, tid 100) work rate 15.0/cpu-s below floor 15.1/cpu-s",
        )
    ]
    for blind in (rates((30, 0)), [worker(wall_time_ns=0)]):
        assert doubts(evaluate(Assert(min_work_rate=1.0), blind)) == [
            (
                DetailKind.BENCHMARK,
                "Step[0] cg: worker 0 (PipeIo, tid 100) work rate not measured: no CPU time",
            )
        ]


def test_migration_ratio_is_that_of_the_sums() -> None:
    # 1/10 and 5/30: 6/40 = 0.15, where the mean of the ratios would be 0.1333.
    pair = [
        worker(0, migration_count=1, iterations=10),
        worker(1, migration_count=5, iterations=30),
    ]
    assert failures(evaluate(Assert(max_migration_ratio=0.14), pair)) == [
        (
            DetailKind.MIGRATION,
            "Step[0] cg: migration ratio 0.1500 above limit 0.14 (6 migrations in 40 iterations)",
        )
    ]
    fine = evaluate(Assert(max_migration_ratio=0.15), pair)
    assert fine.is_pass()
    assert held(fine) == [("cg.migration_ratio", "le", "0.1500", "0.15")]
    still = evaluate(Assert(max_migration_ratio=0.0), [worker(migration_count=3)])
    assert doubts(still) == [
        (
            DetailKind.MIGRATION,
            "Step[0] cg: migration ratio not measured: 3 migrations in 0 iterations",
        )
    ]


def test_p99_wake_latency_is_of_the_pool() -> None:
    # 100 samples 1..100: the 99th of them.
    split = [wakes(*range(100, 50, -1)), wakes(*range(1, 51), number=1)]
    assert evaluate(Assert(max_p99_wake_latency_ns=99), split).is_pass()
    assert failures(evaluate(Assert(max_p99_wake_latency_ns=98), split)) == [
        (
            DetailKind.BENCHMARK,
            "Step[0] cg: p99 wake latency 99ns above limit 98ns (100 wakeups)",
        )
    ]


def test_samples_of_a_full_reservoir_count_for_what_they_stand_for() -> None:
    # One sample of 7 stands for 9900 wake-ups, a hundred of 1000 for themselves: rank 9900 is 7.
    pool = [wakes(7, total=9900), wakes(*[1000] * 100, number=1)]
    fine = evaluate(Assert(max_p99_wake_latency_ns=7), pool)
    assert fine.is_pass()
    assert held(fine) == [("cg.p99_wake_latency_ns", "le", "7", "7")]
    assert evaluate(Assert(max_p99_wake_latency_ns=7), [wakes(7, total=9800), *pool[1:]]).is_fail()


def test_wake_latency_cv() -> None:
    pair = [wakes(10), wakes(30, number=1)]
    assert evaluate(Assert(max_wake_latency_cv=0.5), pair).is_pass()
    assert failures(evaluate(Assert(max_wake_latency_cv=0.49), pair)) == [
        (DetailKind.BENCHMARK, "Step[0] cg: wake latency cv 0.500 above limit 0.49 (2 wakeups)")
    ]
    # 10 standing for three and one 50: mean 20, variance (3 * 100 + 900) / 4 = 300.
    weighted = [wakes(10, total=3), wakes(50, number=1)]
    cv = math.sqrt(300) / 20
    assert evaluate(Assert(max_wake_latency_cv=cv + 1e-9), weighted).is_pass()
    assert evaluate(Assert(max_wake_latency_cv=cv - 1e-9), weighted).is_fail()


P99, CV = Assert(max_p99_wake_latency_ns=0), Assert(max_wake_latency_cv=0.0)


@pytest.mark.parametrize(
    ("checks", "reports", "why"),
    [
        (P99, [worker()], "p99 wake latency not measured: 0 samples, at least 1 needed"),
        (CV, [wakes(5)], "wake latency cv not measured: 1 samples, at least 2 needed"),
        (CV, [wakes(0, 0)], "wake latency cv not measured: every latency is 0 ns"),
        (P99, [worker(work_type="SpinWait")], "no cgroup has workers that record wake latencies"),
    ],
)
def test_wake_latencies_without_data_are_inconclusive(
    checks: Assert, reports: list[TaggedReport], why: str
) -> None:
    result = evaluate(checks, reports)
    ((_, message),) = doubts(result)
    assert message.endswith(why)
    assert not result.failure_details()


def test_stripped_samples_are_called_so() -> None:
    one = worker()
    stripped = TaggedReport(1, "cg", 0, 0, 0, "PipeIo", one.report, stripped=True)
    ((_, message),) = doubts(evaluate(P99, [stripped]))
    assert message.endswith("the samples were left out to fit the frame")


def test_workers_that_record_no_wakes_owe_none() -> None:
    spinner = TaggedReport(1, "spin", 0, 0, 0, "SpinWait", worker().report)
    assert evaluate(Assert(max_p99_wake_latency_ns=5), [wakes(5), spinner]).is_pass()


AROUND = Surroundings(expected_nodes={(1, "cg"): frozenset({0})}, memory_only_nodes={2})
PAGES = [worker(0, numa_pages={0: 30, 1: 10}), worker(1, numa_pages={0: 30, 2: 30})]


def test_page_locality() -> None:
    # 60 of 100 pages are on node 0.
    assert failures(evaluate(Assert(min_page_locality=0.61), PAGES, AROUND)) == [
        (
            DetailKind.PAGE_LOCALITY,
            "Step[0] cg: page locality 0.6000 below floor 0.61 (60 of 100 pages on nodes 0)",
        )
    ]
    fine = evaluate(Assert(min_page_locality=0.6), PAGES, AROUND)
    assert fine.is_pass()
    assert held(fine) == [("cg.page_locality", "ge", "0.6000", "0.6")]


def test_no_page_is_no_locality() -> None:
    result = evaluate(Assert(min_page_locality=0.1), [worker()], AROUND)
    assert failures(result)[0][1].endswith("below floor 0.1 (0 of 0 pages on nodes 0)")
    assert not result.is_inconclusive()


def test_page_locality_without_expected_nodes_is_inconclusive() -> None:
    result = evaluate(Assert(min_page_locality=0.1), PAGES)
    assert doubts(result) == [
        (DetailKind.PAGE_LOCALITY, "min_page_locality: no cgroup with workers has a cpuset")
    ]


def test_cross_node_migration_takes_the_largest_reading() -> None:
    reports = [
        worker(0, numa_pages={0: 60}, vmstat_numa_pages_migrated=90),
        worker(1, numa_pages={1: 40}, vmstat_numa_pages_migrated=150),
    ]
    limit = Assert(max_cross_node_migration_ratio=1.4)
    assert failures(evaluate(limit, reports)) == [
        (
            DetailKind.CROSS_NODE_MIGRATION,
            (
                "Step[0] cg: cross-node migration ratio 1.5000 above limit 1.4 "
                "(150 pages migrated, 100 resident)"
            ),
        )
    ]
    assert evaluate(Assert(max_cross_node_migration_ratio=1.5), reports).is_pass()
    assert doubts(evaluate(limit, [worker(vmstat_numa_pages_migrated=5)])) == [
        (
            DetailKind.CROSS_NODE_MIGRATION,
            "Step[0] cg: cross-node migration ratio not measured: no page was seen",
        )
    ]


def test_slow_tier() -> None:
    # 30 of 100 pages are on the memory-only node 2.
    assert failures(evaluate(Assert(max_slow_tier_ratio=0.29), PAGES, AROUND)) == [
        (
            DetailKind.SLOW_TIER,
            (
                "Step[0] cg: slow-tier ratio 0.3000 above limit 0.29 "
                "(30 of 100 pages on memory-only nodes 2)"
            ),
        )
    ]
    assert evaluate(Assert(max_slow_tier_ratio=0.3), PAGES, AROUND).is_pass()
    asked_for = Surroundings(expected_nodes={(1, "cg"): frozenset({2})}, memory_only_nodes={2})
    assert held(evaluate(Assert(max_slow_tier_ratio=0.0), PAGES, asked_for)) == [
        ("cg.slow_tier_ratio", "le", "0.0000", "0")
    ]
    assert evaluate(Assert(max_slow_tier_ratio=0.0), [worker()], AROUND).is_inconclusive()
