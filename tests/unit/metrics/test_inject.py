# SPDX-License-Identifier: GPL-2.0-only
"""Metrics of a phase that no single capture gives, worked out by hand."""

import random
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktstr.metrics import build_phase_buckets, metric_def
from ktstr.metrics.inject import injected_metrics, monitor_run_metrics
from ktstr.series.host import CgroupPsi, HostReading, PerCpuTime, TgidTime
from ktstr.series.monitor.samples import CpuReading, MonitorSample, Schedstat
from ktstr.series.sample import Sample, SampleSeries
from ktstr.series.snapshot import SchedExtState, Snapshot


def capture(at_ms: int | None, *host: PerCpuTime | TgidTime | CgroupPsi) -> Sample:
    reading = HostReading(
        tuple(item for item in host if isinstance(item, PerCpuTime)),
        tuple(item for item in host if isinstance(item, TgidTime)),
        tuple(item for item in host if isinstance(item, CgroupPsi)),
    )
    snapshot = Snapshot("7.2", (), (), SchedExtState(), host=reading)
    return Sample("periodic_000", at_ms, at_ms, 1, snapshot)


def inject(*captures: Sample, start: int = 0, end: int = 1000) -> dict[str, float]:
    return injected_metrics(captures, start, end, (), captured=True)


def test_nothing_in_nothing_out() -> None:
    assert inject() == {}
    assert inject(Sample("x", error="no"), capture(5)) == {}
    assert injected_metrics((), 0, 1000, (), captured=False) == {}


def test_cpu_time_is_the_growth_of_every_thread_group() -> None:
    found = inject(
        capture(0, TgidTime(7, 100, 10), TgidTime(8, 50, 5)),
        capture(500, TgidTime(7, 900, 90, readable=False), TgidTime(8, 60, 6)),
        capture(1000, TgidTime(7, 160, 40), TgidTime(8, 75, 5), TgidTime(9, 999, 999)),
    )
    assert found == {"user_time_ns": 85.0, "system_time_ns": 30.0}


def test_a_reused_group_number_is_another_group() -> None:
    old, new = TgidTime(7, 100, 10, start_time_ns=1), TgidTime(7, 900, 90, start_time_ns=2)
    assert inject(capture(0, old), capture(9, new)) == {}
    assert inject(capture(0, old), capture(9, TgidTime(7, 90, 15, start_time_ns=1))) == {
        "user_time_ns": 0.0,
        "system_time_ns": 5.0,
    }


@pytest.mark.parametrize("readable", [(True, False), (False, True), (False, False)])
def test_cpu_time_needs_two_readable_captures(readable: tuple[bool, bool]) -> None:
    groups = [TgidTime(7, ms, ms, readable=flag) for ms, flag in enumerate(readable)]
    assert inject(capture(0, groups[0]), capture(9, groups[1])) == {}


def test_the_busiest_cpu_and_how_far_it_stands_out() -> None:
    def cpus(*hardirqs: int) -> list[PerCpuTime]:
        return [PerCpuTime(i, n, {"net_rx": 2 * n, "timer": 5}) for i, n in enumerate(hardirqs)]

    found = inject(
        capture(1000, *cpus(40, 10, 12)),
        capture(500, *cpus(999, 999)),
        capture(0, *cpus(10, 10)),
        end=2000,
    )
    assert found == {
        "max_cpu_hardirqs": 30.0,
        "max_cpu_hardirq_concentration": 2.0,
        "max_cpu_softirq_net_rx": 60.0,
        "max_cpu_softirq_net_rx_concentration": 2.0,
        "total_phase_wall_ns": 2e9,
        "total_phase_wall_sec": 2.0,
    }, "30 and 0 from the earliest capture to the latest; CPU 2 is in one of them only"


GROWTH = st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)), min_size=2)


@given(GROWTH, st.randoms(use_true_random=False))
def test_spatial_maxima_do_not_depend_on_the_order_of_cpus(
    counts: list[tuple[int, int]], source: random.Random
) -> None:
    first = [PerCpuTime(cpu, before) for cpu, (before, _) in enumerate(counts)]
    last = [PerCpuTime(cpu, after) for cpu, (_, after) in enumerate(counts)]
    found = inject(capture(0, *first), capture(9, *source.sample(last, len(last))))
    grown = [after - before if after > before else 0 for before, after in counts]
    assert found["max_cpu_hardirqs"] == float(max(grown))
    if any(grown):
        mean = Fraction(sum(grown), len(grown))
        assert found["max_cpu_hardirq_concentration"] == float(max(grown) / mean)
    else:
        assert "max_cpu_hardirq_concentration" not in found


def test_concentration_needs_two_cpus_and_something_to_share() -> None:
    one = inject(capture(0, PerCpuTime(0, 1)), capture(1, PerCpuTime(0, 5)), start=3, end=3)
    assert one == {"max_cpu_hardirqs": 4.0}
    still = [PerCpuTime(0, 1), PerCpuTime(1, 9)]
    assert inject(capture(0, *still), capture(1, *still), start=3, end=3) == {
        "max_cpu_hardirqs": 0.0
    }
    assert "max_cpu_hardirqs" not in inject(capture(0, *still)), "one capture has no growth"
    assert "max_cpu_hardirqs" not in inject(capture(None, *still), capture(9, *still))
    apart = inject(capture(0, PerCpuTime(0, 1)), capture(1, PerCpuTime(1, 5)), start=3, end=3)
    assert apart == {}


@pytest.mark.parametrize(("start", "end"), [(5, 5), (6, 5), ((1 << 64) - 1, 0)])
def test_wall_time_needs_a_window_and_hardirqs(start: int, end: int) -> None:
    cpu = PerCpuTime(0, 1)
    assert "total_phase_wall_ns" in inject(capture(0, cpu), capture(9, cpu))
    assert "total_phase_wall_sec" not in inject(
        capture(0, cpu), capture(9, cpu), start=start, end=end
    )
    assert "total_phase_wall_ns" not in inject(capture(0, cpu), capture(9))


def test_pressure_is_told_per_cgroup_by_address_and_serial_number() -> None:
    found = inject(
        capture(0, CgroupPsi(1, 1, 2.0, 100), CgroupPsi(2, 1, 0.0, 0), CgroupPsi(3, 1, 0.0, 7)),
        capture(500, CgroupPsi(1, 1, 9.5, 150)),
        capture(
            900, CgroupPsi(1, 1, 1.0, 400), CgroupPsi(2, 1, 3.0, 100), CgroupPsi(3, 2, 0.5, 9999)
        ),
    )
    assert found == {
        "max_cgroup_psi_irq_avg10": 9.5,
        "max_cgroup_irq_pressure": 300.0,
        "max_cgroup_irq_pressure_concentration": 1.5,
    }, "300 and 100; the third cgroup is another one at the end"
    assert inject(capture(0, CgroupPsi(1, 1, 2.0, 100))) == {"max_cgroup_psi_irq_avg10": 2.0}


def reading(at_ms: int, lengths: tuple[int, ...], depth: int = 0, **values: Any) -> MonitorSample:
    cpus = tuple(CpuReading(i, n, local_dsq_depth=depth, rq_clock=1) for i, n in enumerate(lengths))
    return MonitorSample(at_ms, cpus, **values)


MONITOR = [
    reading(900, (9, 1), 90),
    reading(1000, (4, 2), 3, events={"select_cpu_fallback": 10, "dispatch_keep_last": 5}),
    reading(1500, (3, 3), 5, events={"select_cpu_fallback": 25, "dispatch_keep_last": 5}),
    reading(2000, (8, 1), 80, events={"select_cpu_fallback": 999, "dispatch_keep_last": 999}),
]
FROM_MONITOR = {
    "avg_imbalance_ratio": 1.5,
    "max_imbalance_ratio": 2.0,
    "avg_nr_running": 3.0,
    "stuck_count": 2.0,
}


def test_the_window_of_a_phase_is_half_open() -> None:
    assert injected_metrics((), 1000, 2000, MONITOR, captured=True) == FROM_MONITOR
    one = injected_metrics((), 1000, 1000, MONITOR, captured=True)
    assert one == {
        "avg_imbalance_ratio": 2.0,
        "max_imbalance_ratio": 2.0,
        "avg_nr_running": 3.0,
    }, "stuck needs two readings"
    assert injected_metrics((), 1001, 1001, MONITOR, captured=True) == {}
    assert injected_metrics((), (1 << 64) - 1, 0, MONITOR, captured=True) == {}


def test_without_captures_the_monitor_speaks_for_them() -> None:
    assert injected_metrics((), 1000, 2000, MONITOR, captured=False) == {
        **FROM_MONITOR,
        "avg_dsq_depth": 4.0,
        "max_dsq_depth": 5.0,
        "total_fallback": 15.0,
        "total_keep_last": 0.0,
    }


def test_schedstat_comes_with_its_denominator() -> None:
    def counted(at_ms: int, factor: int) -> MonitorSample:
        counters = Schedstat(*(factor * n for n in (100, 2, 3, 4, 5, 6, 7)))
        return MonitorSample(at_ms, (CpuReading(0, schedstat=counters),))

    assert injected_metrics((), 0, 9000, [counted(0, 1), counted(4000, 3)], captured=True) == {
        "total_run_delay": 200.0,
        "total_pcount": 4.0,
        "total_sched_count": 6.0,
        "total_yld_count": 8.0,
        "total_sched_goidle": 10.0,
        "total_ttwu_count": 12.0,
        "total_ttwu_local": 14.0,
        "total_schedstat_wall_sec": 4.0,
    }
    assert injected_metrics((), 0, 9000, [counted(0, 1)], captured=True) == {}


PRESSED = [
    MonitorSample(
        at_ms,
        (CpuReading(0, 2, irq_util=util),),
        psi_irq_full_avg10=avg10,
        psi_irq_full_total_us=us,
    )
    for at_ms, util, avg10, us in [(0, 10, 1.0, 100), (100, 50, 2.0, 150), (900, 30, 6.0, 190)]
]


def test_run_level_metrics_take_all_readings() -> None:
    assert monitor_run_metrics(PRESSED) == {
        "avg_nr_running": 2.0,
        "avg_irq_util": 30.0,
        "max_avg_irq_util": 50.0,
        "psi_irq_full_avg10": 3.0,
        "total_irq_pressure_us": 90.0,
    }
    assert monitor_run_metrics([]) == {}
    inside = injected_metrics((), 0, 200, PRESSED, captured=True)
    assert inside["total_irq_pressure_us"] == 50.0
    assert inside["psi_irq_full_avg10"] == 1.5


def test_every_injected_name_is_registered() -> None:
    cpu, group, psi = PerCpuTime(0, 1, {"net_rx": 1}), TgidTime(1, 1, 1), CgroupPsi(1, 1, 1.0, 1)
    events = {"select_cpu_fallback": 1, "dispatch_keep_last": 1}
    schedstat = Schedstat(1, 2, 3, 4, 5, 6, 7)
    monitor = [
        MonitorSample(
            at_ms,
            (CpuReading(0, 1, 1, 1, 1, 1, events, schedstat, 1, 1),),
            psi_irq_full_avg10=1.0,
            psi_irq_full_total_us=at_ms,
        )
        for at_ms in (1, 2)
    ]
    found = injected_metrics(
        [
            capture(
                at_ms,
                *(cpu, group, psi),
                *(PerCpuTime(1, at_ms, {"net_rx": at_ms}), CgroupPsi(2, 1, 1.0, at_ms)),
            )
            for at_ms in (1, 2)
        ],
        1,
        3,
        monitor,
        captured=False,
    )
    assert len(found) == 31
    assert [name for name in found if metric_def(name) is None] == []


def test_a_bucket_has_them_and_the_rates_that_follow() -> None:
    series = SampleSeries([capture(0, PerCpuTime(0, 100)), capture(2000, PerCpuTime(0, 700))])
    (bucket,) = build_phase_buckets(series, monitor=[reading(0, (4, 2))])
    assert bucket.get("hardirq_rate") == 300.0
    assert bucket.get("avg_imbalance_ratio") == 2.0


def test_a_stamped_reading_belongs_to_its_step_whatever_the_time() -> None:
    def at(step: int, length: int) -> MonitorSample:
        return MonitorSample(5000, (CpuReading(0, length), CpuReading(1, 1)), step_index=step)

    found = injected_metrics((), 0, 10, [at(1, 3), at(2, 7)], captured=True, step=2)
    assert found["max_imbalance_ratio"] == 7.0
    assert injected_metrics((), 0, 9000, [at(1, 3)], captured=True, step=2) == {}
