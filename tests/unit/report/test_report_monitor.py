# SPDX-License-Identifier: GPL-2.0-only
"""The monitor's block, word for word."""

from ktstr.report.monitor import monitor_lines
from ktstr.series.monitor.report import MonitorReport
from ktstr.series.monitor.samples import CpuReading, MonitorSample, Schedstat
from ktstr.series.monitor.window import ProgramStats


def sample(n: int, long: int, short: int, **events: int) -> MonitorSample:
    counted = Schedstat(8000 * n, n, 20 * n, 0, 3 * n, 5 * n, n)
    cpus = (
        CpuReading(0, long, local_dsq_depth=long - 1, rq_clock=n, schedstat=counted),
        CpuReading(1, short, local_dsq_depth=0, rq_clock=n + 1),
    )
    return MonitorSample(1000 * n, cpus, events=events or None)


def test_all_of_it() -> None:
    first = {"select_cpu_fallback": 1, "dispatch_keep_last": 0, "dispatch_local_dsq_offline": 2}
    last = {"select_cpu_fallback": 9, "dispatch_keep_last": 3, "dispatch_local_dsq_offline": 2}
    samples = [
        sample(1, 3, 1, **first, reenq_immed=1, bypass_duration=5),
        sample(3, 5, 1, **last, reenq_immed=4, bypass_duration=25),
    ]
    programs = (ProgramStats(1, "dispatch", 4, 1000), ProgramStats(2, "quiet", 0, 0))
    report = MonitorReport.of(
        samples, programs=programs, torn_reads=1, missed_ticks=2, notes=["cut \x1b[2J"]
    )
    assert monitor_lines(report) == [
        "--- monitor ---",
        "samples=2 max_imbalance=5.00 max_dsq_depth=4 stuck=0 missed=2 torn=1",
        "avg: imbalance=4.00 nr_running/cpu=2.5 dsq/cpu=1.5",
        "events: fallback=8 (4.0/s) burst=8 keep_last=3 (1.5/s) offline=0",
        "events+: reenq_immed=3 bypass_duration=20ns",
        "schedstat: csw=40 (20/s) run_delay=8000ns/s ttwu=10 goidle=6",
        "bpf: dispatch cnt=4 250ns/call",
        "note: cut ?[2J",
    ]


def test_nothing() -> None:
    assert monitor_lines(MonitorReport()) == [
        "--- monitor ---",
        "samples=0 max_imbalance=- max_dsq_depth=- stuck=-",
    ]


def test_what_is_not_measured_is_not_zero() -> None:
    cpus = (CpuReading(0, 2, rq_clock=1), CpuReading(1, 2, rq_clock=2))
    assert monitor_lines(MonitorReport.of([MonitorSample(0, cpus)]))[1:] == [
        "samples=1 max_imbalance=1.00 max_dsq_depth=- stuck=-",
        "avg: imbalance=1.00 nr_running/cpu=2.0 dsq/cpu=-",
    ]
