# SPDX-License-Identifier: GPL-2.0-only
"""Statistics over consecutive monitor readings, worked out by hand."""

from typing import Any

import pytest

from ktstr.series.monitor.samples import CpuReading, MonitorSample, Schedstat
from ktstr.series.monitor.window import MonitorSummary, MonitorWindow


def sample(
    elapsed_ms: int,
    *cpus: CpuReading,
    events: dict[str, int] | None = None,
    **values: Any,
) -> MonitorSample:
    return MonitorSample(elapsed_ms, cpus, events=events, **values)


def cpu(
    number: int = 0, running: int | None = None, depth: int | None = None, **values: Any
) -> CpuReading:
    return CpuReading(number, running, local_dsq_depth=depth, **values)


def test_averages_are_means_of_means_and_skip_what_was_not_read() -> None:
    window = MonitorWindow(
        [
            sample(0, cpu(0, 4, 2), cpu(1, 2, 4)),
            sample(100, cpu(0, 1, None), cpu(1, None, 9)),
            sample(200, cpu(0), cpu(1)),
        ]
    )
    assert window.avg_imbalance() == 1.5, "4/2 and 1/1"
    assert window.max_imbalance() == 2.0
    assert window.avg_nr_running() == 2.0, "3 and 1"
    assert window.avg_dsq_depth() == 6.0, "3 and 9"
    assert window.max_dsq_depth() == 9


def test_implausible_and_empty_readings_count_nowhere() -> None:
    window = MonitorWindow([sample(0), sample(1, cpu(0, 90, 10_001)), sample(2, cpu(0, 3, 10_000))])
    assert [s.elapsed_ms for s in window.samples] == [2]
    assert window.avg_nr_running() == 3.0


@pytest.mark.parametrize("samples", [[], [sample(0, cpu(0))], [sample(0, cpu()), sample(9, cpu())]])
def test_what_nothing_measured_is_none(samples: list[MonitorSample]) -> None:
    window = MonitorWindow(samples)
    assert window.avg_imbalance() is window.max_imbalance() is None
    assert window.avg_nr_running() is window.avg_dsq_depth() is window.max_dsq_depth() is None
    assert window.avg_irq_util() is window.max_irq_util() is None
    assert window.avg_psi_irq() is window.psi_irq_us() is window.stuck_count() is None
    assert window.event_deltas() is None
    assert window.event_rate("x") is window.event_burst("x") is None
    assert window.schedstat_deltas() is None


def test_measured_zero_is_zero() -> None:
    window = MonitorWindow(
        [sample(ms, cpu(0, 0, 0, rq_clock=ms), events={"x": 4}) for ms in (0, 100)]
    )
    assert window.avg_imbalance() == 0.0
    assert window.avg_nr_running() == window.avg_dsq_depth() == window.max_dsq_depth() == 0
    assert window.stuck_count() == 0
    assert window.event_rate("x") == 0.0


def test_every_stuck_cpu_of_every_adjacent_pair_counts() -> None:
    def both(ms: int, first: int, second: int) -> MonitorSample:
        return sample(ms, cpu(0, 1, rq_clock=first), cpu(1, 1, rq_clock=second))

    moments = [both(0, 5, 5), both(100, 5, 5), both(200, 6, 5), both(230, 6, 6)]
    assert MonitorWindow(moments).stuck_count() == 3, "two, one, and too short to tell"
    assert MonitorWindow(moments, preemption_threshold_ns=30_000_000).stuck_count() == 4


def test_event_growth_spans_the_readings_that_have_them() -> None:
    window = MonitorWindow(
        [
            sample(0, cpu()),
            sample(500, cpu(), events={"select_cpu_fallback": 10, "reset": 9}),
            sample(1000, cpu()),
            sample(1500, cpu(), events={"select_cpu_fallback": 40, "reset": 1}),
            sample(2500, cpu(), events={"select_cpu_fallback": 50, "reset": 3, "late": 7}),
            sample(9000, cpu()),
        ]
    )
    assert window.event_deltas() == {"select_cpu_fallback": 40, "reset": 0}
    assert window.event_rate("select_cpu_fallback") == 20.0, "40 in the 2 s from 500 to 2500"
    assert window.event_burst("select_cpu_fallback") == 30
    assert window.event_burst("reset") == 2
    assert window.event_delta("late") is None
    assert window.event_rate("late") is window.event_burst("late") is None


def test_rates_use_the_moment_of_the_reading_and_need_time_to_pass() -> None:
    def taken(elapsed_ms: int, taken_ms: int, count: int) -> MonitorSample:
        return MonitorSample(elapsed_ms, (cpu(),), taken_ms=taken_ms, events={"x": count})

    assert MonitorWindow([taken(0, 0, 1), taken(500, 1000, 9)]).event_rate("x") == 8.0
    assert MonitorWindow([taken(0, 5, 1), taken(500, 5, 9)]).event_rate("x") is None


def schedstat(run_delay: int, pcount: int) -> Schedstat:
    return Schedstat(run_delay, pcount, 3, 4, 5, 6, 7)


def test_schedstat_growth_is_summed_over_the_cpus_of_both_ends() -> None:
    window = MonitorWindow(
        [
            sample(0, cpu(0, schedstat=schedstat(100, 10)), cpu(1, schedstat=schedstat(50, 20))),
            sample(10, cpu(0)),
            sample(
                2500,
                cpu(0, schedstat=schedstat(400, 11)),
                cpu(1, schedstat=schedstat(70, 15)),
                cpu(2, schedstat=schedstat(9_999, 9_999)),
            ),
        ]
    )
    found = window.schedstat_deltas()
    assert found is not None
    deltas, seconds = found
    assert (deltas["run_delay"], deltas["pcount"], deltas["ttwu_local"]) == (320, 1, 0)
    assert seconds == 2.5


@pytest.mark.parametrize("second", [sample(0, cpu(0, schedstat=schedstat(1, 1))), sample(9, cpu())])
def test_schedstat_needs_two_readings_and_time_between(second: MonitorSample) -> None:
    assert (
        MonitorWindow([sample(0, cpu(0, schedstat=schedstat(0, 0))), second]).schedstat_deltas()
        is None
    )
    other_cpu = sample(9, cpu(1, schedstat=schedstat(1, 1)))
    assert (
        MonitorWindow([sample(0, cpu(0, schedstat=schedstat(0, 0))), other_cpu]).schedstat_deltas()
        is None
    )


def test_interrupt_utilisation_and_pressure() -> None:
    window = MonitorWindow(
        [
            sample(
                0,
                cpu(0, irq_util=10),
                cpu(1, irq_util=30),
                psi_irq_full_avg10=1.0,
                psi_irq_full_total_us=500,
            ),
            sample(100, cpu(0, irq_util=1024), cpu(1), psi_irq_full_avg10=4.0),
            sample(200, cpu(0), psi_irq_full_total_us=800),
        ]
    )
    assert window.avg_irq_util() == 522.0, "20 and 1024"
    assert window.max_irq_util() == 1024
    assert window.avg_psi_irq() == 2.5
    assert window.psi_irq_us() == 300


def test_the_summary_says_all_of_it() -> None:
    events = (
        {"select_cpu_fallback": 5, "dispatch_keep_last": 0},
        {"select_cpu_fallback": 15, "dispatch_keep_last": 4},
    )
    samples = [
        sample(0, cpu(0, 4, 1, rq_clock=1, schedstat=schedstat(0, 0)), events=events[0]),
        sample(5, cpu(0, 4, 20_000)),
        sample(2000, cpu(0, 8, 3, rq_clock=1, schedstat=schedstat(10, 2)), events=events[1]),
    ]
    summary = MonitorSummary.of(samples)
    assert summary == MonitorSummary(
        total_samples=2,
        max_imbalance_ratio=1.0,
        avg_imbalance_ratio=1.0,
        max_local_dsq_depth=3,
        avg_local_dsq_depth=2.0,
        avg_nr_running=6.0,
        stuck_count=1,
        events={"select_cpu_fallback": 10, "dispatch_keep_last": 4},
        event_rates={"select_cpu_fallback": 5.0, "dispatch_keep_last": 2.0},
        fallback_rate=5.0,
        keep_last_rate=2.0,
        fallback_burst=10,
        schedstat={
            **{"run_delay": 10, "pcount": 2, "sched_count": 0, "yld_count": 0},
            **{"sched_goidle": 0, "ttwu_count": 0, "ttwu_local": 0},
        },
        schedstat_wall_sec=2.0,
    )
    assert MonitorSummary.of([]) == MonitorSummary(0)
