# SPDX-License-Identifier: GPL-2.0-only
"""Run-level and per-phase metrics of a large run, against sorting its samples once."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ktstr.metrics import PhaseBucket, ScenarioStats, derive_phase_metrics, populate_run_ext_all
from ktstr.series.sample import SampleSeries
from ktstr.telemetry import MAX_WAKE_SAMPLES, CgroupStats, PhaseCgroupStats

CGROUPS, PHASES = 16, 4


@dataclass
class Figures:
    """Seconds of each repetition."""

    populate_s: list[float] = field(default_factory=list)
    derive_s: list[float] = field(default_factory=list)
    sort_s: list[float] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        """Populate and derive over one sort, each measured back to back."""
        return [
            (populate + derive) / sort
            for populate, derive, sort in zip(
                self.populate_s, self.derive_s, self.sort_s, strict=True
            )
        ]


def measure(repetitions: int) -> Figures:
    """All metrics of 16 cgroups in 4 phases with 100 000 wake samples each.

    Every carrier stands for another population above what it keeps, so no sample weighs the same
    as that of another carrier. The sort is that of the same 6.4 million samples in one vector.
    """
    rng = np.random.default_rng(11)
    vectors = [
        rng.lognormal(10.3, 1.5, MAX_WAKE_SAMPLES).astype(np.uint64)
        for _ in range(CGROUPS * PHASES)
    ]
    pool = np.concatenate(vectors)
    figures = Figures()
    for _ in range(repetitions):
        stats = _run(vectors)  # fresh carriers: none of them has been sorted yet
        figures.populate_s.append(
            _seconds(lambda stats=stats: populate_run_ext_all(stats, SampleSeries.empty()))
        )
        figures.derive_s.append(_seconds(lambda stats=stats: derive_phase_metrics(stats.phases)))
        figures.sort_s.append(_seconds(lambda: np.sort(pool)))
    return figures


def _run(vectors: list[np.ndarray]) -> ScenarioStats:
    carriers = [
        PhaseCgroupStats(
            num_workers=4,
            wake_latencies_ns=vector,
            wake_sample_total=len(vector) + 7919 * index,
            run_delays_ns=vector[:4],
            total_iterations=1000 + index,
            total_cpu_time_ns=10**9,
        )
        for index, vector in enumerate(vectors)
    ]
    phases = [
        PhaseBucket.carrier(
            step + 1, {f"cg_{i}": carriers[step * CGROUPS + i] for i in range(CGROUPS)}
        )
        for step in range(PHASES)
    ]
    cgroups = [CgroupStats(f"cg_{i}", 4, total_iterations=1000 + i) for i in range(CGROUPS)]
    return ScenarioStats.from_cgroups(cgroups, phases=phases)


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
