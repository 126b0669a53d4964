# SPDX-License-Identifier: GPL-2.0-only
"""The monitor's report through a file and back, and files that lie about it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ktstr.errors import ExitCode
from ktstr.series.host import PerCpuTime
from ktstr.series.monitor.report import MonitorReport
from ktstr.series.monitor.samples import CpuReading, MonitorSample, Schedstat
from ktstr.series.monitor.window import ProgramStats
from ktstr.session.record import RunRecord
from ktstr.session.sidecar.read import read_sidecar
from ktstr.session.sidecar.write import sidecar_text, write_sidecar
from ktstr.telemetry.decode import RecordError

U64_MAX = (1 << 64) - 1
STEPS = 50


def cpu(number: int, n: int) -> CpuReading:
    return CpuReading(
        number,
        nr_running=n % 3,
        scx_nr_running=n % 2,
        local_dsq_depth=None if n == 7 else n % 5,
        rq_clock=10**12 + 100_000_000 * n,
        scx_flags=1,
        schedstat=Schedstat(1000 * n, n, *(() if n % 2 else (5 * n, 0, 1, 2, 3))),
        vcpu_cpu_time_ns=U64_MAX - STEPS + n,
        curr_pid=n % 4,
        curr_comm="spin" if n > 20 else "swapper/0",
        time=PerCpuTime(number, 4 * n, {"net_rx": n, "timer": 0}, user_ns=n * 4_000_000),
    )


def sample(n: int) -> MonitorSample:
    numbers = (0, 2) if n != 9 else (2,)
    return MonitorSample(
        elapsed_ms=97 * n,
        cpus=tuple(cpu(number, n) for number in numbers),
        taken_ms=100 * n,
        events=None if n < 3 else {"select_cpu_fallback": 7 * n, "bypass_duration": 50 - 9 * n},
        psi_irq_full_avg10=None if n % 10 else n / 7,
        psi_irq_full_total_us=12 * n,
        step_index=None if n < 5 else 2,
        held=n >= 5,
        state="enabled" if 5 <= n < 40 else "disabled",
        ops="ktstr" if n < 40 else None,
        exit_kind=0 if n < 40 else 1024,
        bypass_depth=0,
    )


REPORT = MonitorReport.of(
    [sample(n) for n in range(STEPS)],
    preemption_threshold_ns=10_000_000,
    programs=(ProgramStats(4, "ktstr_dispatch", 10, 4000),),
    torn_reads=2,
    missed_ticks=3,
    notes=["a note"],
    unavailable={"monitor.irq_util": "no avg_irq"},
)


def written(folder: Path, report: MonitorReport | None) -> Path:
    return write_sidecar(folder, RunRecord("1-a", "demo", ExitCode.PASS, monitor=report))


def test_every_reading_comes_back(tmp_path: Path) -> None:
    path = written(tmp_path, REPORT)
    back = read_sidecar(path)
    assert back.monitor is not None
    for mine, theirs in zip(REPORT.samples, back.monitor.samples, strict=True):
        assert theirs == mine
    assert back.monitor == REPORT
    assert sidecar_text(back) == path.read_text()


@pytest.mark.parametrize("report", [None, MonitorReport(), MonitorReport.of([MonitorSample(5)])])
def test_little_comes_back_too(tmp_path: Path, report: MonitorReport | None) -> None:
    assert read_sidecar(written(tmp_path, report)).monitor == report


def test_a_record_from_before_there_was_a_monitor_is_read(tmp_path: Path) -> None:
    path = written(tmp_path, None)
    values = json.loads(path.read_text())
    del values["monitor"]
    path.write_text(json.dumps(values))
    assert read_sidecar(path).monitor is None


def test_readings_take_few_bytes(tmp_path: Path) -> None:
    many = MonitorReport.of([replace(sample(n % 40 + 6), elapsed_ms=n) for n in range(1000)])
    size = written(tmp_path, many).stat().st_size
    # 2 CPUs of 24 columns, mostly one or two bytes a value in base64.
    assert size < 1000 * 2 * 24 * 4


LIES: list[tuple[tuple[Any, ...], Any]] = [
    (("readings",), 51),
    (("readings",), 1 << 40),
    (("cpus",), [0, 0]),
    (("columns", "elapsed_ms"), {"steps": {"samples": 1, "u64": [1]}}),
    (("columns", "held", "absent"), {"samples": 1, "u64": [99]}),
    (("texts", "state"), [[60, "x"]]),
    (("texts", "state"), [["x"]]),
    (("unavailable",), {"a": 1}),
    (("torn_reads",), -1),
    (("programs",), [{"id": 1}]),
]


@pytest.mark.parametrize(("where", "lie"), LIES)
def test_lies_are_refused(tmp_path: Path, where: tuple[Any, ...], lie: Any) -> None:
    path = written(tmp_path, REPORT)
    values = json.loads(path.read_text())
    inner = values["monitor"]
    for key in where[:-1]:
        inner = inner[key]
    inner[where[-1]] = lie
    path.write_text(json.dumps(values))
    with pytest.raises(RecordError):
        read_sidecar(path)
