# SPDX-License-Identifier: GPL-2.0-only
"""Affinity intents, deadline and memory policies, seen from outside the worker."""

import os
import re
import time
from pathlib import Path

import pytest

POOL = os.sched_getaffinity(0)
SCHED_DEADLINE = 6


def affinities(lead, intent, workers=1, seed=1):
    leader = lead(type="SpinWait", workers=workers, affinity=intent, seed=seed)
    found = [os.sched_getaffinity(pid) for pid in leader.ready()]
    reports = [r["report"] for r in leader.run_on(0.01)]
    return found, [r["affinity_error"] for r in reports]


def test_inherit_and_cross_leave_all_cpus(lead):
    for intent in ("inherit", "cross"):
        assert affinities(lead, intent) == ([POOL], [None])


def test_single_is_the_first_cpu_of_the_pool(lead):
    assert affinities(lead, "single", workers=2) == ([{min(POOL)}] * 2, [None] * 2)


def test_intents_stay_in_a_narrower_pool(lead, worker_binary):
    last = max(POOL)
    leader = lead(
        command=["taskset", "-c", str(last), str(worker_binary)],
        type="SpinWait", workers=1, affinity="single",
    )  # fmt: skip
    assert os.sched_getaffinity(leader.ready()[0]) == {last}


def test_random_is_half_of_the_pool_for_each_worker_and_follows_the_seed(lead):
    first, errors = affinities(lead, "random", workers=12, seed=3)
    again, _ = affinities(lead, "random", workers=12, seed=3)
    assert first == again
    assert errors == [None] * 12
    assert {len(cpus) for cpus in first} == {max(1, len(POOL) // 2)}
    assert all(cpus <= POOL for cpus in first)
    # Twelve draws of one half: that all are equal has a chance of 1 in 2000 or less.
    assert len(POOL) < 2 or len({frozenset(cpus) for cpus in first}) > 1


def shared_caches() -> dict[int, set[int]]:
    """CPUs that share the highest cache with a CPU of the pool, read without the worker."""
    found = {}
    for cpu in POOL:
        levels = {}
        for index in Path(f"/sys/devices/system/cpu/cpu{cpu}/cache").glob("index*"):
            parts = (index / "shared_cpu_list").read_text().strip().split(",")
            cpus = {
                n
                for part in parts
                for n in range(int(part.split("-")[0]), int(part.split("-")[-1]) + 1)
            }
            levels[int((index / "level").read_text())] = cpus
        if levels:
            found[cpu] = levels[max(levels)] & POOL
    return found


def test_llc_is_the_cache_with_most_of_the_pool(lead):
    caches = shared_caches()
    (cpus,), (error,) = affinities(lead, "llc")
    if caches:
        assert error is None
        assert cpus in caches.values()
        assert len(cpus) == max(map(len, caches.values()))
    else:
        assert error == f"affinity llc: the kernel tells no caches of the {len(POOL)} CPUs"


def test_an_smt_pair_is_two_threads_of_a_core_or_an_error(lead):
    siblings = {}
    for cpu in sorted(POOL):
        text = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").read_text()
        numbers = [int(n) for n in re.findall(r"\d+", text)]
        core = set(range(numbers[0], numbers[-1] + 1)) if "-" in text else set(numbers)
        if len(core & POOL) >= 2:
            siblings[cpu] = set(sorted(core & POOL)[:2])
    (cpus,), (error,) = affinities(lead, "smt-pair")
    if siblings:
        assert (cpus, error) == (siblings[min(siblings)], None)
    else:
        assert cpus == POOL
        assert error == f"affinity smt-pair: no two of the {len(POOL)} CPUs are of one core"


def test_deadline_is_in_force_or_told(lead):
    leader = lead(
        type="SpinWait", workers=1, policy="deadline",
        dl_runtime_us=2000, dl_deadline_us=20000, dl_period_us=40000,
    )  # fmt: skip
    (pid,) = leader.ready()
    leader.send(b"S")
    time.sleep(0.4)
    seen = os.sched_getscheduler(pid)
    report = leader.collect()[0]["report"]
    if report["sched_policy_error"] is None:
        assert seen & ~os.SCHED_RESET_ON_FORK == SCHED_DEADLINE
        # 2 ms of every 40 ms.
        assert report["cpu_time_ns"] < 0.15 * report["wall_time_ns"]
    else:
        assert report["sched_policy_error"].startswith("sched_setattr to policy deadline")


@pytest.mark.parametrize(
    ("keys", "shown"),
    [
        ({"mempolicy": "bind"}, "bind:0"),
        ({"mempolicy": "bind", "mem_flags": "static"}, "bind=static:0"),
        ({"mempolicy": "bind", "mem_flags": "relative"}, "bind=relative:0"),
        ({"mempolicy": "interleave"}, "interleave:0"),
        ({"mempolicy": "preferred"}, "prefer:0"),
        ({"mempolicy": "preferred-many"}, "prefer (many):0"),
        ({"mempolicy": "local", "mem_nodes": None}, "local"),
    ],
)
def test_memory_policies_are_in_force(lead, keys, shown):
    if not Path("/proc/self/numa_maps").exists():
        pytest.skip("this kernel has no NUMA")
    words = {"mem_nodes": "0", **keys}
    words = {key: value for key, value in words.items() if value is not None}
    leader = lead(type="SpinWait", workers=1, **words)
    (pid,) = leader.ready()
    text = Path(f"/proc/{pid}/numa_maps").read_text()
    assert re.search(rf"^[0-9a-f]+ {re.escape(shown)} ", text, re.MULTILINE), text[:300]
    (message,) = leader.run_on(0.01)
    assert message["report"]["sched_policy_error"] is None


def test_a_node_that_does_not_exist_is_told_beside_other_refusals(lead):
    leader = lead(
        type="SpinWait", workers=1, mempolicy="bind", mem_nodes="1000",
        policy="deadline", dl_runtime_us=1000, dl_deadline_us=1000, dl_period_us=1000,
    )  # fmt: skip
    (message,) = leader.run(0.05)
    report = message["report"]
    memory = "set_mempolicy bind of nodes 1000: "
    assert memory in report["sched_policy_error"]
    assert report["completed"] is True
    assert report["iterations"] > 0
