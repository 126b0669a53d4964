# SPDX-License-Identifier: GPL-2.0-only
"""The taobench engine on a real kernel: its cache, its threads, its counters."""

import ctypes
import os
import random
import subprocess
from pathlib import Path

import pytest

from ktstr.telemetry.report import TaggedReport

WORKER = Path(__file__).resolve().parents[3] / "guest" / "worker"
SMALL = {"type": "Taobench", "workers": 1, "cache_capacity_mib": 1, "cgroup": "cache", "step": 2}


def engine_of(messages):
    """The report of the only worker, and its engine's data, as the host reads them."""
    (message,) = messages
    report = TaggedReport.from_wire(message).report
    (part,) = report.phase_slices
    assert (part.phase_epoch, part.schbench) == (2, None)
    return report, part.taobench


def threads_of(pid):
    task = Path(f"/proc/{pid}/task")
    names = [(tid / "comm").read_text().strip() for tid in task.iterdir() if int(tid.name) != pid]
    return sorted(names)


def test_a_closed_loop_counts_what_it_asked_and_got(lead):
    report, bench = engine_of(
        lead(**SMALL, client_threads=3, target_hit_pct=80, slow_path_sleep_us=0).run(0.8)
    )
    counters = bench.counters
    assert counters.total_ops == report.iterations == report.work_units > 3000
    # Each client may have asked for one thing that the stop left unanswered.
    assert counters.total_ops <= counters.get_cmds <= counters.total_ops + 3
    assert counters.slow_ops <= counters.get_misses <= counters.slow_ops + 3
    # Uniform keys, of which the cache holds four fifths.
    assert counters.fast_ops / counters.total_ops == pytest.approx(0.8, abs=0.03)
    assert bench.serve_lat.nr_samples == 0
    assert 500_000_000 < counters.elapsed_ns <= report.wall_time_ns
    assert report.taobench_whole == counters
    assert report.wake_sample_total == 0


def test_an_open_loop_asks_by_the_clock_and_measures_from_the_arrival(lead):
    leader = lead(**SMALL, client_threads=2, arrival_rate=200, slow_path_sleep_us=10_000)
    report, bench = engine_of(leader.run(1.0))
    # 200 in a second; those whose client waited for a slow answer are late and still asked.
    assert 120 < report.iterations <= 210
    assert bench.serve_lat.nr_samples == report.iterations
    # One in ten is slow, and what arrives behind it waits with it.
    assert bench.serve_lat.max > 10_000
    assert bench.serve_lat.min < 10_000


def test_every_miss_sleeps_on_a_slow_thread(lead):
    leader = lead(**SMALL, client_threads=4, slow_threads=1, target_hit_pct=1,
                  slow_path_sleep_us=20_000)  # fmt: skip
    _, bench = engine_of(leader.run(0.5))
    # One thread, 20 ms each.
    assert 1 <= bench.counters.slow_ops <= 0.6 / 0.02
    assert bench.counters.fast_ops < bench.counters.slow_ops


@pytest.mark.parametrize(
    ("given", "clients", "slow"),
    [({}, 2, 1), ({"client_threads": 7}, 7, 2), ({"client_threads": 1, "slow_threads": 5}, 1, 5)],
)
def test_its_threads(lead, until, given, clients, slow):
    cpus = sorted(os.sched_getaffinity(0))[:2]
    if len(cpus) < 2:
        pytest.skip("needs two CPUs")
    leader = lead(**SMALL, **given, affinity=f"{cpus[0]},{cpus[1]}")
    (pid,) = leader.ready()
    assert threads_of(pid) == []
    leader.send(b"S")
    expected = ["taobench-client"] * clients + ["taobench-slow"] * slow
    until("all threads", lambda: threads_of(pid) == expected)
    leader.collect()


@pytest.mark.parametrize(
    "given",
    [{"slow_path_sleep_us": 100_000, "target_hit_pct": 1}, {"arrival_rate": 1},
     {"arrival_rate": 10**9}, {"cache_capacity_mib": 0}],
)  # fmt: skip
def test_it_stops_in_time_whatever_it_does(lead, given):
    report, _ = engine_of(lead(**(SMALL | {"client_threads": 4} | given)).run(0.3))
    assert report.completed
    assert report.wall_time_ns < 2_500_000_000


def test_too_many_threads_are_refused(lead):
    assert (
        "client_threads must be an integer from 0 to 1024"
        in lead(**SMALL, client_threads=1025).error()
    )


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """The cache as a shared library."""
    out = tmp_path_factory.mktemp("cache") / "cache.so"
    subprocess.run(
        ["gcc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC",
         f"-I{WORKER}", "-o", out, WORKER / "taobench_cache.c"],
        check=True,
    )  # fmt: skip
    lib = ctypes.CDLL(str(out))
    for name in ("tao_cache_fill", "tao_cache_get", "tao_cache_put"):
        getattr(lib, name).restype = ctypes.c_bool
    return lib


def filled(cache, mib, hit_pct):
    """A full cache, and how many keys there are."""
    memory = ctypes.create_string_buffer(64 << 10)
    assert cache.tao_cache_fill(memory, ctypes.c_uint64(mib << 20), ctypes.c_uint64(hit_pct))
    return memory, int.from_bytes(memory.raw[:4], "little")


def cached(cache, memory, key):
    return cache.tao_cache_get(memory, ctypes.c_uint32(key), ctypes.byref(ctypes.c_uint64()))


def test_the_sizes_are_distributed_as_stated(cache):
    stated = {64: 450, 128: 300, 256: 130, 512: 70, 1024: 30, 4096: 12, 16384: 3, 65536: 1}
    keys = 60_000
    found = {}
    for key in range(keys):
        size = cache.tao_value_bytes(ctypes.c_uint32(key))
        found[size] = found.get(size, 0) + 1
    assert set(found) == set(stated)
    for size, weight in stated.items():
        expected = keys * weight / sum(stated.values())
        assert abs(found[size] - expected) < 6 * expected**0.5 + 1, size
    mean = sum(size * count for size, count in found.items()) / keys
    assert mean == pytest.approx(332, rel=0.1)


@pytest.mark.parametrize(("mib", "hit_pct"), [(1, 90), (1, 50), (2, 99), (0, 10)])
def test_it_holds_the_share_of_the_keys_that_shall_hit(cache, mib, hit_pct):
    memory, keys = filled(cache, mib, hit_pct)
    objects = max(256, (mib << 20) // 332)
    assert keys == -(-objects * 100 // hit_pct)
    assert sum(cached(cache, memory, key) for key in range(keys)) == objects


def test_misses_that_are_cached_leave_the_share_as_it_is(cache):
    memory, keys = filled(cache, 1, 90)
    draw = random.Random(4)
    for _ in range(20_000):
        cache.tao_cache_put(memory, ctypes.c_uint32(draw.randrange(keys)))
    assert sum(cached(cache, memory, key) for key in range(keys)) == (1 << 20) // 332


def test_the_oldest_of_a_shard_makes_room(cache):
    memory, keys = filled(cache, 0, 10)  # one object in each of the 256 shards
    assert keys == 2560
    for key in (256 + 3, 512 + 3):
        assert cache.tao_cache_put(memory, ctypes.c_uint32(key))
    held = [key for key in range(3, keys, 256) if cached(cache, memory, key)]
    assert held == [512 + 3]
    assert cached(cache, memory, 4)
