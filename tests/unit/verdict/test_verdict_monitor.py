# SPDX-License-Identifier: GPL-2.0-only
"""The monitor's limits: runs of readings, enforcement, and readings that say nothing."""

import pytest

from ktstr.series.monitor.samples import CpuReading, MonitorSample
from ktstr.verdict import Assert, AssertResult, DetailKind, Surroundings, evaluate


def sample(number: int, *lengths: int, **fields: object) -> MonitorSample:
    """A reading every 100 ms: a runqueue per length, with clocks that move on."""
    cpus = tuple(
        CpuReading(cpu, nr_running=length, local_dsq_depth=length, rq_clock=1 + number * 100 + cpu)
        for cpu, length in enumerate(lengths)
    )
    values = {"elapsed_ms": number * 100, "cpus": cpus, **fields}
    return MonitorSample(**values)  # type: ignore[arg-type]


def judge(checks: Assert, samples: list[MonitorSample], **around: bool) -> AssertResult:
    return evaluate(checks, [], Surroundings(monitor=samples, **around))


def enforced(**limits: object) -> Assert:
    return Assert(enforce_monitor_thresholds=True, **limits)  # type: ignore[arg-type]


def failures(result: AssertResult) -> list[str]:
    assert all(detail.kind is DetailKind.MONITOR for detail in result.failure_details())
    return [detail.message for detail in result.failure_details()]


def doubts(result: AssertResult) -> list[str]:
    return [detail.message for detail in result.inconclusive_details()]


def imbalanced(*ratios: int) -> list[MonitorSample]:
    return [sample(number, 1, ratio) for number, ratio in enumerate(ratios)]


@pytest.mark.parametrize(
    ("ratios", "message"),
    [
        ((5, 5, 1, 5, 5, 4), None),
        ((4, 4, 4, 4, 4, 4), None),
        (
            (1, 5, 7, 6, 1, 9),
            "monitor: imbalance ratio up to 7.0 above limit 4 for 3 samples in a row (threshold 3)",
        ),
    ],
)
def test_a_violation_is_a_run_of_samples(ratios: tuple[int, ...], message: str | None) -> None:
    checks = enforced(max_imbalance_ratio=4.0, sustained_samples=3)
    result = judge(checks, imbalanced(*ratios))
    assert failures(result) == ([] if message is None else [message])
    assert result.is_pass() == (message is None)


def test_the_confirmation_tells_how_near_it_came() -> None:
    result = judge(enforced(max_imbalance_ratio=4.0, sustained_samples=3), imbalanced(1, 5, 6, 1))
    assert [(p.name, p.comparator, p.value, p.expected) for p in result.passes] == [
        ("monitor.max_imbalance_ratio", "le", "at most 2 in a row above, max 6.0", "4")
    ]


def test_without_enforcement_a_violation_is_a_note() -> None:
    checks = Assert(max_imbalance_ratio=4.0, sustained_samples=2)
    result = judge(checks, imbalanced(5, 5))
    assert result.nothing_evaluated()
    assert [note.message for note in result.info_notes] == [
        (
            "monitor: imbalance ratio up to 5.0 above limit 4 for 2 samples in a row "
            "(threshold 2); not enforced"
        )
    ]
    assert judge(checks, imbalanced(1, 1)).info_notes == []
    assert judge(Assert.default_checks(), []).info_notes == []


def test_local_queues_by_the_deepest() -> None:
    deep = [sample(n, 3, 60, 2) for n in range(5)]
    assert failures(judge(enforced(max_local_dsq_depth=50), deep)) == [
        "monitor: local DSQ depth up to 60.0 above limit 50 for 5 samples in a row (threshold 5)"
    ]
    assert judge(enforced(max_local_dsq_depth=60), deep).is_pass()


@pytest.mark.parametrize(
    ("check", "event", "words"),
    [
        ("max_fallback_rate", "SCX_EV_SELECT_CPU_FALLBACK", "fallback rate"),
        ("max_keep_last_rate", "dispatch_keep_last", "keep_last rate"),
    ],
)
def test_event_rates_are_those_of_neighbours(check: str, event: str, words: str) -> None:
    # 30 and 31 events in 100 ms each.
    samples = [sample(n, 1, events={event: count}) for n, count in enumerate((7, 37, 68))]
    allowed = {check: 299.0, "sustained_samples": 2}
    assert failures(judge(enforced(**allowed), samples)) == [
        f"monitor: {words} up to 310.0/s above limit 299/s for 2 samples in a row (threshold 2)"
    ]
    assert judge(enforced(**{**allowed, check: 300.0}), samples).is_pass()
    reset = [sample(n, 1, events={event: count}) for n, count in enumerate((900, 5, 1))]
    assert judge(enforced(**{**allowed, check: 10.0}), reset).is_pass()


def stuck(*clocks: int) -> list[MonitorSample]:
    """CPU 0 with these clocks and work to do, CPU 1 in order."""
    return [
        MonitorSample(
            n * 100,
            (CpuReading(0, nr_running=1, rq_clock=clock), CpuReading(1, 1, rq_clock=n + 1)),
        )
        for n, clock in enumerate(clocks)
    ]


def test_stuck_clocks_are_followed_cpu_by_cpu() -> None:
    checks = enforced(fail_on_rq_clock_stuck=True, sustained_samples=2)
    assert failures(judge(checks, stuck(9, 9, 9, 10))) == [
        "monitor: cpu0 runqueue clock stuck for 2 samples in a row (threshold 2)"
    ]
    assert judge(checks, stuck(9, 9, 10, 10)).is_pass()
    assert judge(enforced(fail_on_rq_clock_stuck=False), stuck(9, 9, 9)).nothing_evaluated()


@pytest.mark.parametrize(
    ("samples", "why"),
    [
        ([], ["monitor: no usable sample among 0"]),
        ([sample(0), sample(1, 10_001)], ["monitor: no usable sample among 2"]),
        (
            [sample(n, 1, 1) for n in range(2)],
            ["monitor: imbalance ratio not measured: 2 readings, sustained_samples asks for 3"],
        ),
        (
            [MonitorSample(n, (CpuReading(0, 1, rq_clock=5),)) for n in range(4)],
            ["monitor: the runqueue clocks never changed: they are not set up yet"],
        ),
    ],
)
def test_readings_that_say_nothing_are_inconclusive(
    samples: list[MonitorSample], why: list[str]
) -> None:
    result = judge(enforced(max_imbalance_ratio=4.0, sustained_samples=3), samples)
    assert doubts(result) == why
    assert result.is_inconclusive()


def test_what_the_kernel_does_not_count_is_inconclusive() -> None:
    samples = [sample(n, 1) for n in range(9)]
    result = judge(enforced(max_fallback_rate=1.0), samples)
    assert doubts(result) == [
        "monitor: fallback rate not measured: 0 readings, sustained_samples asks for 5"
    ]


def test_implausible_samples_are_left_out() -> None:
    samples = [*imbalanced(5, 5), sample(2, 1, 20_000), *[sample(3, 1, 5)]]
    assert failures(judge(enforced(max_imbalance_ratio=4.0, sustained_samples=3), samples)) == [
        "monitor: imbalance ratio up to 5.0 above limit 4 for 3 samples in a row (threshold 3)"
    ]


def test_the_kernels_own_scheduler_is_not_judged_by_them() -> None:
    result = judge(enforced(max_imbalance_ratio=1.0), imbalanced(9, 9), scheduler_active=False)
    assert result.is_skip()
    quiet = judge(Assert(max_imbalance_ratio=1.0), imbalanced(9, 9), scheduler_active=False)
    assert quiet.nothing_evaluated() and quiet.info_notes == []
