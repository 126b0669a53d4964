# SPDX-License-Identifier: GPL-2.0-only
"""Comparing two large sets of records, as a whole process."""

import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ktstr.errors import ExitCode
from ktstr.metrics.fold import fold_run
from ktstr.metrics.stimulus import StimulusEvent
from ktstr.series.host import CgroupPsi, HostReading, PerCpuTime, TgidTime
from ktstr.series.monitor.samples import monitor_samples
from ktstr.series.sample import Sample, SampleSeries
from ktstr.series.snapshot import CpuSnapshot, SchedExtState, Snapshot
from ktstr.session.record import RunRecord
from ktstr.session.sidecar.write import write_sidecar
from ktstr.telemetry import TaggedReport, WorkerReport
from ktstr.verdict import AssertResult

SAMPLES, CPUS, STEPS, CGROUPS, WORKERS = 64, 8, 3, 4, 2
STEP_MS = 2000
SPREAD = 0.05
"""Standard deviation of each metric over runs, as a share of it."""


@dataclass
class Figures:
    """Seconds of each repetition, for sets of repeated runs and for sets of single ones."""

    repeated_s: list[float] = field(default_factory=list)
    single_s: list[float] = field(default_factory=list)
    record_kb: float = 0.0
    runs: int = 0


def run() -> RunRecord:
    """A run of three steps with 64 captures of eight CPUs, four cgroups of two workers."""
    rng = np.random.default_rng(7)
    series = SampleSeries([_capture(ordinal) for ordinal in range(SAMPLES)])
    events = [
        event
        for step in range(1, STEPS + 1)
        for event in (
            StimulusEvent(
                STEP_MS * (step - 1),
                f"StepStart[{step - 1}]",
                total_iterations=50_000 * (step - 1),
                step_index=step,
            ),
            StimulusEvent(
                STEP_MS * step - 50,
                f"StepEnd[{step - 1}]",
                total_iterations=50_000 * step - 10,
                step_index=step,
                is_step_end=True,
            ),
        )
    ]
    reports = [
        TaggedReport(step, f"cgroup{cgroup}", 0, 0, worker, "PipeIo", _report(rng, worker))
        for step in range(1, STEPS + 1)
        for cgroup in range(CGROUPS)
        for worker in range(WORKERS)
    ]
    stats = fold_run(series, events, reports, monitor=monitor_samples(series.periodic_only()))
    result = AssertResult(stats=stats)
    result.record_pass()
    return RunRecord(
        "20261121-000000-0000",
        "bench",
        ExitCode.PASS,
        result,
        samples=series,
        events=events,
        reports=reports,
        facts={
            "kernel": {"spec": "debian:7", "release": "7.2.13", "digest": "0" * 64},
            "topology": "1n2l4c1t",
            "scheduler": {"kind": "bpf", "path": "scx_ktstr", "profile": "default", "exit": None},
            "steps": [{"index": i + 1, "name": f"step {i}"} for i in range(STEPS)],
            "work_types": ["PipeIo"],
        },
        host={"wall_s": 7.5, "run_source": "local", "cpu_budget": 2},
    )


def _capture(ordinal: int) -> Sample:
    at_ms = ordinal * STEP_MS * STEPS // SAMPLES
    cpus = tuple(
        CpuSnapshot(cpu, nr_running=1 + (ordinal + cpu) % 3, scx_nr_running=1, local_dsq_depth=1)
        for cpu in range(CPUS)
    )
    times = tuple(
        PerCpuTime(cpu, hardirqs=100 * ordinal, softirqs={"net_rx": ordinal}, user_ns=at_ms * 10**6)
        for cpu in range(CPUS)
    )
    psi = tuple(CgroupPsi(ordinal, 7, 1.5, 9, f"/cgroup{i}") for i in range(CGROUPS))
    tasks = tuple(TgidTime(100 + i, at_ms * 1000, at_ms * 500) for i in range(CGROUPS * WORKERS))
    state = SchedExtState(
        state="enabled",
        enabled=True,
        exit_kind=0,
        events={"SCX_EV_SELECT_CPU_FALLBACK": 10 * ordinal, "SCX_EV_DISPATCH_KEEP_LAST": ordinal},
    )
    return Sample(
        f"periodic_{ordinal:03d}",
        elapsed_ms=at_ms + 5,
        boundary_offset_ms=at_ms,
        step_index=1 + at_ms // STEP_MS,
        snapshot=Snapshot("7.2.13", (), cpus, state, {}, host=HostReading(times, tasks, psi)),
        stats={"nr_queued": ordinal, "layers": [{"util": 0.5, "load": 1.0}] * 4},
        paused_ns=1_250_000,
    )


def _report(rng: np.random.Generator, worker: int) -> WorkerReport:
    return WorkerReport(
        tid=100 + worker,
        cpu_time_ns=10**9,
        wall_time_ns=2 * 10**9,
        off_cpu_ns=10**9,
        cpus_used=frozenset({worker, 7}),
        iterations=20_000,
        wake_latencies_ns=rng.lognormal(11.0, 1.2, 500).astype(np.uint64),
        wake_sample_total=20_000,
        schedstat_run_delay_ns=10**8,
        schedstat_cpu_time_ns=10**9,
        completed=True,
    )


def write_set(folder: Path, count: int, repeats: int, seed: int, record: RunRecord) -> None:
    """Write ``count`` records of ``count / repeats`` scenarios, each run with noise of its own."""
    rng = np.random.default_rng(seed)
    assert record.result is not None
    stats = record.result.stats
    for index in range(count):
        noisy = replace(
            stats,
            ext_metrics=_noisy(rng, stats.ext_metrics),
            phases=tuple(replace(p, metrics=_noisy(rng, p.metrics)) for p in stats.phases),
        )
        each: Any = replace(
            record,
            run_id=f"20261121-{index:06d}-{seed:04x}",
            name=f"scenario_{index // repeats:04d}",
            result=replace(record.result, stats=noisy),
        )
        write_sidecar(folder, each)


def _noisy(rng: np.random.Generator, metrics: Any) -> dict[str, float]:
    factors = rng.normal(1.0, SPREAD, len(metrics))
    pairs = zip(metrics.items(), factors, strict=True)
    return {name: value * factor for (name, value), factor in pairs}


def measure(repetitions: int, count: int) -> Figures:
    """Compare two sets of ``count`` records, eight runs of each scenario and one of each.

    :raise RuntimeError: when the comparison did not end as one does.
    """
    figures, record = Figures(runs=count), run()
    with tempfile.TemporaryDirectory(prefix="ktstr-bench-") as scratch:
        for repeats, seconds in ((8, figures.repeated_s), (1, figures.single_s)):
            a, b = (Path(scratch) / f"{side}{repeats}" for side in "ab")
            write_set(a, count, repeats, 1, record)
            write_set(b, count, repeats, 2, record)
            figures.record_kb = next(a.iterdir()).stat().st_size / 1e3
            for _ in range(repetitions):
                seconds.append(_compare(a, b))
    return figures


def _compare(a: Path, b: Path) -> float:
    command = [sys.executable, "-m", "ktstr.cli.main", "compare", str(a), str(b)]
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"ktstr compare exited with {done.returncode}: {done.stderr}")
    return time.perf_counter() - began
