# SPDX-License-Identifier: GPL-2.0-only
"""The bounded parts of the telemetry: samples stay uniform, totals stay true."""

import ctypes
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).resolve().parent
WORKER = HERE.parents[2] / "guest" / "worker"
CAP = 100_000


@pytest.fixture(scope="session")
def shim(tmp_path_factory):
    """The telemetry code as a shared library."""
    out = tmp_path_factory.mktemp("telemetry") / "telemetry.so"
    sources = [
        HERE / "telemetry_shim.c",
        WORKER / "telemetry.c",
        WORKER / "epoch.c",
        WORKER / "reading.c",
        WORKER / "procfs.c",
    ]
    subprocess.run(
        ["gcc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC",
         f"-I{WORKER}", "-o", out, *sources],
        check=True,
    )  # fmt: skip
    lib = ctypes.CDLL(str(out))
    lib.push_stream.restype = ctypes.c_uint64
    lib.hop.restype = ctypes.c_uint64
    return lib


@pytest.fixture
def push(shim):
    """``push(count, seed)`` → (kept values, total) of the stream 0..count-1."""

    def run(count, seed):
        kept = np.zeros(CAP, dtype=np.uint64)
        pointer = kept.ctypes.data_as(ctypes.c_void_p)
        total = shim.push_stream(ctypes.c_uint64(count), ctypes.c_uint64(seed), pointer)
        return kept, total

    return run


@pytest.mark.parametrize("count", [0, 1, CAP - 1, CAP])
def test_up_to_the_cap_everything_is_kept_in_order(push, count):
    kept, total = push(count, 1)
    assert total == count
    assert kept[:count].tolist() == list(range(count))


@pytest.mark.parametrize("seed", [1, 2, 0xFFFF_FFFF_FFFF_FFFF])
def test_above_the_cap_the_sample_is_uniform(push, seed):
    count = 10 * CAP
    kept, total = push(count, seed)
    assert total == count
    assert len(set(kept.tolist())) == CAP, "each observation is kept at most once"
    # Ten equal stretches of the stream: 10 000 expected of each, hypergeometric,
    # standard deviation sqrt(100000 · 0.1 · 0.9 · 0.9) = 90; six of them allowed.
    counts = np.histogram(kept, bins=10, range=(0, count))[0]
    assert counts.sum() == CAP
    assert np.abs(counts - CAP // 10).max() < 540


def test_one_more_than_the_cap_replaces_at_most_one(push):
    kept, total = push(CAP + 1, 5)
    assert total == CAP + 1
    changed = np.flatnonzero(kept != np.arange(CAP, dtype=np.uint64))
    assert len(changed) <= 1
    assert (kept[changed] == CAP).all()


def test_the_seed_decides(push):
    first, _ = push(2 * CAP, 3)
    again, _ = push(2 * CAP, 3)
    other, _ = push(2 * CAP, 4)
    assert (first == again).all()
    assert (first != other).any()


def test_migrations_beyond_the_cap_are_still_counted(shim):
    allowed = os.sched_getaffinity(0)
    if len(allowed) < 2:
        pytest.skip("one CPU: nothing can migrate")
    last_kept = ctypes.c_uint64()
    first, second, *_ = sorted(allowed)
    try:
        count = shim.hop(ctypes.c_uint64(5000), first, second, ctypes.byref(last_kept))
    finally:
        os.sched_setaffinity(0, allowed)
    assert count == 5000
    assert last_kept.value > 0
