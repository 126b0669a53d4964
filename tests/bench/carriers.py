# SPDX-License-Identifier: GPL-2.0-only
"""Merging full carriers, against drawing as many samples without any rule."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import reduce

import numpy as np

from ktstr.telemetry import MAX_WAKE_SAMPLES, PhaseCgroupStats

CARRIERS = 64


@dataclass
class Figures:
    """What each repetition cost."""

    merge_s: list[float] = field(default_factory=list)
    plain_s: list[float] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        """Merge over plain draw, each pair measured back to back."""
        return [merge / plain for merge, plain in zip(self.merge_s, self.plain_s, strict=True)]


def measure(repetitions: int) -> Figures:
    """Fold 64 carriers of 100 000 wake samples each, all standing for more than they keep.

    The plain draw is one concatenation of the same vectors and one vectorised draw of the same
    number of samples.
    """
    rng = np.random.default_rng(7)
    vectors = [
        rng.integers(0, 10_000_000, MAX_WAKE_SAMPLES).astype(np.uint64) for _ in range(CARRIERS)
    ]
    carriers = [
        PhaseCgroupStats(wake_latencies_ns=vector, wake_sample_total=2 * MAX_WAKE_SAMPLES + index)
        for index, vector in enumerate(vectors)
    ]

    def plain() -> object:
        pool = np.concatenate(vectors)
        return pool.take(rng.integers(0, len(pool), len(pool)))

    def merge() -> object:
        return reduce(PhaseCgroupStats.merge, carriers)

    for warm_up in (merge, plain):  # the first of each pays for memory and jump tables
        warm_up()
    figures = Figures()
    for _ in range(repetitions):
        figures.merge_s.append(_seconds(merge))
        figures.plain_s.append(_seconds(plain))
    return figures


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
