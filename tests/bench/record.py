# SPDX-License-Identifier: GPL-2.0-only
"""Writing and reading the sidecar of a large run."""

import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ktstr.errors import ExitCode
from ktstr.metrics.fold import fold_run
from ktstr.metrics.stimulus import StimulusEvent
from ktstr.series.sample import SampleSeries
from ktstr.session.record import RunRecord
from ktstr.session.sidecar.read import read_sidecar
from ktstr.session.sidecar.write import write_sidecar
from ktstr.telemetry import TaggedReport, WorkerReport
from ktstr.verdict import AssertResult

STEPS, CGROUPS, WORKERS, SAMPLES = 4, 16, 4, 25_000


@dataclass
class Figures:
    """Seconds of each repetition, and the file's size."""

    write_s: list[float] = field(default_factory=list)
    read_s: list[float] = field(default_factory=list)
    both_s: list[float] = field(default_factory=list)
    size_mb: float = 0.0


def large_run() -> RunRecord:
    """16 cgroups of 4 workers in 4 phases, 100 000 wake latencies per cgroup and phase.

    The latencies are log-normal around 60 µs with a tail of tens of milliseconds.
    """
    rng = np.random.default_rng(1)
    reports = [
        TaggedReport(step, f"cgroup{cgroup}", 0, 0, worker, "PipeIo", _report(rng, worker))
        for step in range(1, STEPS + 1)
        for cgroup in range(CGROUPS)
        for worker in range(WORKERS)
    ]
    events = [
        event
        for step in range(1, STEPS + 1)
        for event in (
            StimulusEvent(2000 * step - 2000, f"StepStart[{step - 1}]", step_index=step),
            StimulusEvent(
                2000 * step - 100, f"StepEnd[{step - 1}]", step_index=step, is_step_end=True
            ),
        )
    ]
    result = AssertResult(stats=fold_run(SampleSeries.empty(), events, reports))
    result.record_pass()
    return RunRecord("id", "bench", ExitCode.PASS, result, events=events, reports=reports)


def _report(rng: np.random.Generator, worker: int) -> WorkerReport:
    return WorkerReport(
        tid=worker + 1,
        wall_time_ns=2_000_000_000,
        off_cpu_ns=rng.integers(2_000_000_000),
        cpus_used=frozenset({worker}),
        iterations=SAMPLES,
        wake_latencies_ns=rng.lognormal(11.0, 1.2, SAMPLES).astype(np.uint64),
        wake_sample_total=SAMPLES,
        completed=True,
    )


def measure(runs: int) -> Figures:
    """Write and read the record ``runs`` times.

    :raise RuntimeError: when what was read is not what was written.
    """
    figures, record = Figures(), large_run()
    with tempfile.TemporaryDirectory(prefix="ktstr-bench-") as scratch:
        for _ in range(runs):
            began = time.perf_counter()
            path = write_sidecar(Path(scratch), record)
            written = time.perf_counter()
            back = read_sidecar(path)
            figures.read_s.append(time.perf_counter() - written)
            figures.write_s.append(written - began)
            figures.both_s.append(time.perf_counter() - began)
        figures.size_mb = path.stat().st_size / 1e6
    if (back.result, back.reports) != (record.result, record.reports):
        raise RuntimeError("the record read differs from the record written")
    return figures
