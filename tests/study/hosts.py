# SPDX-License-Identifier: GPL-2.0-only
"""Hosts whose noise is known: what runs on them give, in the order in which they are made.

Each gives 2n values of a metric whose typical value is 100, or of real runs. None of them changes
anything between the sides; the study multiplies one side by what the change is to be.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
Host = Callable[[np.random.Generator, int], Values]

REPEATS = Path(__file__).with_name("repeats.json")


def quiet(rng: np.random.Generator, count: int) -> Values:
    """Normal, 0.3 % scatter: a machine of its own."""
    return 100 * (1 + 0.003 * rng.standard_normal(count))


def normal(rng: np.random.Generator, count: int) -> Values:
    """Normal, 5 % scatter."""
    return 100 * (1 + 0.05 * rng.standard_normal(count))


def skewed(rng: np.random.Generator, count: int) -> Values:
    """Lognormal, sigma 0.3: a tail latency."""
    return 100 * np.exp(0.3 * rng.standard_normal(count))


def tails(rng: np.random.Generator, count: int) -> Values:
    """The logarithm is Student's t with 2 degrees of freedom, times 0.05."""
    return 100 * np.exp(0.05 * rng.standard_t(2, count))


def hiccups(rng: np.random.Generator, count: int) -> Values:
    """5 % scatter, and one run in ten takes three times as much."""
    return normal(rng, count) * np.where(rng.random(count) < 0.1, 3.0, 1.0)


def humps(rng: np.random.Generator, count: int) -> Values:
    """2 % scatter around one of two values, 30 % apart: which core the host chose."""
    return 100 * (1 + 0.02 * rng.standard_normal(count)) * np.where(rng.random(count) < 0.5, 1.3, 1)


def drift(rng: np.random.Generator, count: int) -> Values:
    """5 % scatter on a slope of 20 % from the first run to the last."""
    return normal(rng, count) * np.linspace(1.0, 1.2, count)


def counts(rng: np.random.Generator, count: int) -> Values:
    """A rare event, 0.7 a run: ties, and often the same everywhere."""
    return rng.poisson(0.7, count).astype(np.float64)


def repeats() -> Mapping[str, Values]:
    """Metrics of 30 runs of one small scenario in turn, on a busy host of two CPUs under TCG."""
    table = json.loads(REPEATS.read_text())
    return {name: np.array(values, np.float64) for name, values in table.items()}


def real(rng: np.random.Generator, count: int) -> Values:
    """Consecutive runs of a metric, both by chance."""
    table = _positive()
    values = table[rng.integers(len(table))]
    start = rng.integers(values.size - count + 1)
    return values[start : start + count]


def _positive() -> list[Values]:
    if not _KEPT:
        _KEPT.extend(v for v in repeats().values() if np.isfinite(v).all() and v.min() > 0)
    return _KEPT


_KEPT: list[Values] = []

HOSTS: Mapping[str, Host] = {
    "quiet, 0.3 %": quiet,
    "normal, 5 %": normal,
    "skewed": skewed,
    "heavy tails": tails,
    "hiccups": hiccups,
    "two humps": humps,
    "drift": drift,
    "real runs": real,
}
