# SPDX-License-Identifier: GPL-2.0-only
"""Thresholds, their levels, and progress, fairness and isolation judged by them."""

import pytest

from ktstr.errors import ExitCode
from ktstr.telemetry import Signaled, TaggedReport, TimedOut, WorkerExitInfo, WorkerReport
from ktstr.verdict import (
    NO_OVERRIDES,
    Assert,
    AssertResult,
    CheckRefused,
    DetailKind,
    Surroundings,
    cpu_list,
    evaluate,
    exit_code,
)

SECOND = 10**9


def worker(number: int = 0, step: int = 1, cgroup: str = "cg", **fields: object) -> TaggedReport:
    values = {
        "tid": 100 + number,
        "completed": True,
        "work_units": 5000,
        "iterations": 1000,
        "wall_time_ns": 2 * SECOND,
        "off_cpu_ns": SECOND,
        "cpus_used": frozenset({0, 1}),
        **fields,
    }
    report = WorkerReport(**values)  # type: ignore[arg-type]
    return TaggedReport(step, cgroup, 0, 0, number, "SpinWait", report)


def judge(checks: Assert, *reports: TaggedReport, **cpusets: frozenset[int] | None) -> AssertResult:
    around = Surroundings(cpusets={(1, name): cpus for name, cpus in cpusets.items()})
    return evaluate(checks, reports, around)


def failures(result: AssertResult) -> list[tuple[DetailKind, str]]:
    return [(detail.kind, detail.message) for detail in result.failure_details()]


def test_levels_merge_and_the_last_one_set_wins() -> None:
    base = Assert(max_gap_ms=1, isolation=True, enforce_monitor_thresholds=True)
    merged = base.merge(Assert(max_gap_ms=2)).merge(
        Assert(isolation=False, enforce_monitor_thresholds=False)
    )
    assert (merged.max_gap_ms, merged.isolation, merged.max_spread_pct) == (2, False, None)
    assert merged.enforce_monitor_thresholds is True
    assert base.merge(Assert()) == base


def test_three_levels_and_the_defaults_below_them() -> None:
    scheduler = Assert(max_gap_ms=1, max_imbalance_ratio=2.0, enforce_monitor_thresholds=True)
    scenario = Assert(max_gap_ms=5, isolation=True, enforce_monitor_thresholds=False)
    assert Assert.levels(scheduler, scenario) == Assert(
        max_gap_ms=5,
        isolation=True,
        max_imbalance_ratio=2.0,
        max_local_dsq_depth=50,
        fail_on_rq_clock_stuck=True,
        sustained_samples=5,
        max_fallback_rate=200.0,
        max_keep_last_rate=100.0,
        enforce_monitor_thresholds=True,
    )
    assert Assert.levels() == Assert.default_checks() != NO_OVERRIDES == Assert()
    assert Assert.default_checks().enforce_monitor_thresholds is None
    assert Assert(max_fallback_rate=7.0).with_monitor_defaults() == Assert(
        max_imbalance_ratio=4.0,
        max_local_dsq_depth=50,
        fail_on_rq_clock_stuck=True,
        sustained_samples=5,
        max_fallback_rate=7.0,
        max_keep_last_rate=100.0,
        enforce_monitor_thresholds=True,
    )


def test_reading_checks() -> None:
    written = {"not_stuck": True, "max_spread_pct": 40, "max_gap_ms": 0, "sustained_samples": 2}
    checks = Assert.from_checks(written)
    assert checks == Assert(
        not_starved=True, max_spread_pct=40.0, max_gap_ms=0, sustained_samples=2
    )
    assert Assert.from_checks(checks.to_record()) == checks
    assert Assert.from_checks({}) == Assert()


def test_all_mistakes_are_listed_at_once() -> None:
    with pytest.raises(CheckRefused) as caught:
        Assert.from_checks(
            {
                "max_gap": 3,
                "isolation": 1,
                "max_gap_ms": 2.5,
                "max_spread_pct": float("nan"),
                "min_iteration_rate": -1,
                "min_work_rate": 10**400,
                "sustained_samples": 0,
                "strict": True,
            }
        )
    assert caught.value.problems[:5] == (
        "unknown check 'max_gap'; did you mean max_gap_ms?",
        "check 'isolation' is 1; true or false is due",
        "check 'max_gap_ms' is 2.5; an integer of 0 or more is due",
        "check 'max_spread_pct' is nan; a number of 0 or more is due",
        "check 'min_iteration_rate' is -1; a number of 0 or more is due",
    )
    assert caught.value.problems[5].startswith("check 'min_work_rate' is 1000")
    assert caught.value.problems[6:] == (
        "check 'sustained_samples' is 0; an integer of 1 or more is due",
    )
    assert caught.value.exit_code is ExitCode.CANNOT_RUN


def test_nothing_asked_is_nothing_evaluated() -> None:
    result = judge(Assert(strict=True), worker())
    assert result.nothing_evaluated()
    assert exit_code(result) is ExitCode.INCONCLUSIVE


def test_healthy_workers_pass() -> None:
    checks = Assert(not_starved=True, isolation=True, min_iteration_rate=500.0)
    result = judge(checks, worker(0), worker(1), cg=frozenset({0, 1, 2}))
    assert exit_code(result) is ExitCode.PASS
    assert [(p.name, p.comparator, p.value, p.expected) for p in result.passes] == [
        ("cg.work_units", "gt", "5000", "0"),
        ("cg.max_gap_ms", "le", "0", "3000"),
        ("cg.spread", "le", "0.0", "35"),
        ("cg.cpus_used", "subset_of", "0-1", "0-2"),
        ("cg.iteration_rate", "ge", "500.0", "500.0"),
    ]
    assert {p.phase for p in result.passes} == {"Step[0]"}


def test_no_progress() -> None:
    result = judge(Assert(not_starved=True), worker(0), worker(1, work_units=0))
    assert failures(result) == [
        (DetailKind.NO_PROGRESS, "Step[0] cg: tid 101 made no progress (0 work units)")
    ]
    assert result.failure_details()[0].phase == "Step[0]"
    assert not judge(Assert(max_gap_ms=9), worker(0, work_units=0)).is_fail()


@pytest.mark.parametrize(
    ("checks", "gap", "limit"),
    [
        (Assert(not_starved=True), 3000, None),
        (Assert(not_starved=True), 3001, 3000),
        (Assert(not_starved=True, strict=True), 2000, None),
        (Assert(not_starved=True, strict=True), 2001, 2000),
        (Assert(not_starved=True, max_gap_ms=5000), 4000, None),
        (Assert(max_gap_ms=10), 11, 10),
        (Assert(max_gap_ms=0), 1, 0),
        (Assert(not_starved=False), 10**6, None),
    ],
)
def test_gap(checks: Assert, gap: int, limit: int | None) -> None:
    result = judge(checks, worker(0, max_gap_ms=gap, max_gap_cpu=3, max_gap_at_ms=40))
    expected = f"Step[0] cg: tid 100 stuck {gap}ms on cpu3 at +40ms (threshold {limit}ms)"
    assert failures(result) == ([] if limit is None else [(DetailKind.STUCK, expected)])


@pytest.mark.parametrize(
    ("checks", "off_pct", "limit"),
    [
        (Assert(not_starved=True), 45, None),
        (Assert(not_starved=True), 46, "35"),
        (Assert(not_starved=True, strict=True), 25, None),
        (Assert(not_starved=True, strict=True), 26, "15"),
        (Assert(max_spread_pct=7.5), 18, "7.5"),
        (Assert(not_starved=True, max_spread_pct=90.0), 100, None),
    ],
)
def test_spread(checks: Assert, off_pct: int, limit: str | None) -> None:
    fair = worker(0, wall_time_ns=100, off_cpu_ns=10, cpus_used=frozenset({0}))
    late = worker(1, wall_time_ns=100, off_cpu_ns=off_pct, cpus_used=frozenset({4}))
    expected = (
        f"Step[0] cg: unfair cgroup: spread={off_pct - 10}.0% (10.0-{off_pct}.0%) "
        f"2 workers on 2 cpus (threshold {limit}%)"
    )
    result = judge(checks, fair, late)
    assert failures(result) == ([] if limit is None else [(DetailKind.UNFAIR, expected)])
    assert not result.is_inconclusive()


def test_spread_is_judged_within_a_cgroup_and_step() -> None:
    low, high = {"off_cpu_ns": 0}, {"off_cpu_ns": 2 * SECOND}
    apart = [worker(0, **low), worker(1, cgroup="other", **high), worker(2, step=2, **high)]
    assert not judge(Assert(not_starved=True), *apart).is_fail()
    assert judge(Assert(not_starved=True), worker(0, **low), worker(1, **high)).is_fail()


def test_spread_that_cannot_be_measured_is_inconclusive() -> None:
    blind = judge(Assert(max_spread_pct=5.0), worker(0), worker(1, wall_time_ns=0, off_cpu_ns=0))
    assert [d.message for d in blind.inconclusive_details()] == [
        "Step[0] cg: spread not measured: 1 of 2 workers have wall time"
    ]
    single = judge(Assert(max_spread_pct=5.0), worker(0))
    assert single.is_inconclusive()
    assert "two living workers" in single.inconclusive_details()[0].message
    assert judge(Assert(not_starved=True), worker(0)).is_pass()


def test_isolation() -> None:
    checks = Assert(isolation=True)
    stray = worker(0, cpus_used=frozenset({0, 1, 2, 3, 6}))
    result = judge(checks, stray, worker(1), cg=frozenset({0, 1}))
    assert failures(result) == [
        (DetailKind.ISOLATION, "Step[0] cg: tid 100 ran on cpus 2-3,6 outside its cpuset 0-1")
    ]


def test_isolation_without_data_is_inconclusive() -> None:
    checks = Assert(isolation=True)
    for result, why in (
        (judge(checks, worker()), "no cgroup with workers has a cpuset"),
        (judge(checks, worker(), elsewhere=frozenset({0})), "no cgroup with workers"),
        (judge(checks, worker(), cg=None), "the cpuset changed during the step"),
        (judge(checks, worker(cpus_used=frozenset()), cg=frozenset({0})), "did not report"),
    ):
        assert result.is_inconclusive()
        assert why in result.inconclusive_details()[0].message
    mixed = judge(checks, worker(), worker(cgroup="free"), cg=frozenset({0, 1}))
    assert mixed.is_pass()


def test_iteration_rate() -> None:
    checks = Assert(min_iteration_rate=500.5)
    result = judge(checks, worker(0, iterations=1002), worker(3, iterations=1000))
    assert failures(result) == [
        (
            DetailKind.BENCHMARK,
            "Step[0] cg: worker 3 (SpinWait, tid 103) iteration rate 500.0/s below floor 500.5/s",
        )
    ]
    assert judge(checks, worker(iterations=1001)).is_pass()
    assert judge(Assert(min_iteration_rate=1.0), worker(iterations=0)).is_fail()
    blind = judge(checks, worker(wall_time_ns=0, off_cpu_ns=0))
    assert blind.is_inconclusive()
    assert "not measured: no wall time" in blind.inconclusive_details()[0].message


@pytest.mark.parametrize(
    ("info", "words"),
    [
        (Signaled(9), "was killed by signal 9 (SIGKILL)"),
        (TimedOut(), "did not stop within 5 s and had to be killed"),
        (None, "ended without a report, and nobody saw how"),
    ],
)
def test_a_dead_worker_fails_whatever_is_asked(info: WorkerExitInfo | None, words: str) -> None:
    dead = TaggedReport(2, "cg", 0, 0, 5, "PipeIo", WorkerReport(tid=9, exit_info=info))
    for checks in (Assert(), Assert(not_starved=True, min_iteration_rate=1.0)):
        result = judge(checks, dead, worker(0, step=2))
        assert failures(result) == [
            (DetailKind.WORKER_STUCK, f"Step[1] cg: worker 5 (PipeIo, tid 9) {words}")
        ]


def test_no_report_at_all_is_inconclusive() -> None:
    result = judge(Assert(not_starved=True))
    assert exit_code(result) is ExitCode.INCONCLUSIVE
    assert "no worker report arrived" in result.inconclusive_details()[0].message
    assert judge(Assert()).nothing_evaluated()


def test_setup_errors_are_noted() -> None:
    result = judge(
        Assert(not_starved=True), worker(affinity_error="EINVAL", sched_policy_error="EPERM")
    )
    assert [(note.message, note.phase) for note in result.info_notes] == [
        ("Step[0] cg: tid 100 ran without its affinity: EINVAL", "Step[0]"),
        ("Step[0] cg: tid 100 ran without its scheduling policy: EPERM", "Step[0]"),
    ]
    assert result.is_pass()


def test_guest_text_cannot_control_the_terminal() -> None:
    result = judge(Assert(), worker(affinity_error="bad\x1b[2J\nmask"))
    assert result.info_notes[0].message.endswith("affinity: bad\ufffd[2J mask")


def test_backdrop_workers_are_judged_too() -> None:
    result = judge(Assert(not_starved=True), worker(step=0, work_units=0))
    assert failures(result)[0][1].startswith("BASELINE cg: tid 100")


@pytest.mark.parametrize(
    ("cpus", "text"),
    [([], "none"), ([5], "5"), ([0, 1, 2], "0-2"), ([7, 0, 2, 3], "0,2-3,7")],
)
def test_cpu_list(cpus: list[int], text: str) -> None:
    assert cpu_list(frozenset(cpus)) == text
