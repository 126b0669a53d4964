# SPDX-License-Identifier: GPL-2.0-only
"""What a seed changes about workers: nothing unless asked, then as the seed says."""

import ctypes
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
WORKER = HERE.parents[2] / "guest" / "worker"
POOL = os.sched_getaffinity(0)
PERIOD = 1_000_000


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The drawing code as a shared library."""
    out = tmp_path_factory.mktemp("jitter") / "jitter.so"
    command = ["gcc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    includes = [f"-I{WORKER}", f"-I{WORKER.parent / 'common'}"]
    sources = [HERE / "jitter_shim.c", WORKER / "jitter.c"]
    subprocess.run([*command, *includes, "-o", out, *sources], check=True)
    return ctypes.CDLL(str(out))


def offsets(shim: ctypes.CDLL, seed: int, below_us: int = 4000, count: int = 200) -> list[int]:
    drawn = (ctypes.c_uint64 * count)()
    u64 = ctypes.c_uint64
    shim.jitter_offsets(u64(seed), u64(below_us), u64(PERIOD), drawn, ctypes.c_size_t(count))
    return list(drawn)


def test_a_period_begins_where_the_seed_says(shim: ctypes.CDLL) -> None:
    drawn = offsets(shim, 7)
    assert drawn == offsets(shim, 7) != offsets(shim, 8)
    assert max(drawn) < PERIOD
    # 200 draws that all miss one quarter of the period: a chance of 1 in 10^25.
    assert {draw * 4 // PERIOD for draw in drawn} == {0, 1, 2, 3}


def test_without_jitter_nothing_is_drawn(shim: ctypes.CDLL) -> None:
    assert offsets(shim, 7, below_us=0) == [0] * 200


@pytest.mark.parametrize("clone", ["fork", "thread"])
def test_a_worker_may_leave_the_cpu_it_was_put_on(lead: Any, clone: str) -> None:
    leader = lead(type="SpinWait", workers=4, seed=3, jitter_us=1000, clone=clone)
    assert [os.sched_getaffinity(pid) for pid in leader.ready()] == [POOL] * 4
    reports = [each["report"] for each in leader.run_on(0.01)]
    assert [each["affinity_error"] for each in reports] == [None] * 4
    assert all(each["work_units"] > 0 for each in reports)


def test_an_affinity_that_was_asked_for_stays(lead: Any) -> None:
    leader = lead(type="SpinWait", workers=2, seed=3, jitter_us=1000, affinity="single")
    assert [os.sched_getaffinity(pid) for pid in leader.ready()] == [{min(POOL)}] * 2
