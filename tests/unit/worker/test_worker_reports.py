# SPDX-License-Identifier: GPL-2.0-only
"""What each work type measures about itself on a real kernel."""

import os
import signal
import struct
import time
from pathlib import Path

import pytest

FIELD_NAMES = """
    tid work_units cpu_time_ns wall_time_ns off_cpu_ns migration_count cpus_used migrations
    max_gap_ms max_gap_cpu max_gap_at_ms wake_latencies_ns wake_sample_total iteration_costs_ns
    iteration_cost_sample_total timer_latencies_ns timer_sample_total iterations
    schedstat_run_delay_ns schedstat_run_count schedstat_cpu_time_ns completed numa_pages
    vmstat_numa_pages_migrated exit_info is_messenger group_idx affinity_error sched_policy_error
    phase_slices taobench_whole
"""
FIELDS = FIELD_NAMES.split()

# name: (extra keys, workers, work units per iteration or None, reservoir)
TYPES = {
    "SpinWait": ({}, 2, 1024, None),
    "YieldHeavy": ({}, 2, 1, None),
    "Mixed": ({}, 2, 1024, None),
    "Bursty": ({"burst_us": 2000, "sleep_us": 3000}, 2, None, "wake"),
    "PipeIo": ({"burst_iters": 1024}, 4, 1024, "wake"),
    "FutexPingPong": ({"spin_iters": 512}, 4, 512, "wake"),
    "IoSyncWrite": ({}, 2, 16, "wake"),
    "AluHot": ({"width": 3}, 2, 1024, "cost"),
    "TimerLatency": ({"interval_us": 2000}, 2, 1, "timer"),
}
RESERVOIRS = {
    "wake": ("wake_latencies_ns", "wake_sample_total"),
    "cost": ("iteration_costs_ns", "iteration_cost_sample_total"),
    "timer": ("timer_latencies_ns", "timer_sample_total"),
}


def samples(blob: bytes) -> list[int]:
    return list(struct.unpack(f"<{len(blob) // 8}Q", blob))


@pytest.fixture(params=TYPES)
def measured(request, lead):
    name = request.param
    keys, workers, _, _ = TYPES[name]
    leader = lead(type=name, workers=workers, slot=7, step=2, cgroup="left", group_idx=1,
                  work_idx=3, seed=11, **keys)  # fmt: skip
    reports = leader.run(0.3)
    live = [leader.live(7 + i) for i in range(workers)]
    return name, reports, live, leader


def test_every_type_fills_what_it_should_and_nothing_else(measured):
    name, messages, live, leader = measured
    _, workers, units, filled = TYPES[name]
    assert [m["worker"] for m in messages] == list(range(workers))
    assert [m["report"]["tid"] for m in messages] == leader.pids
    for message, counter in zip(messages, live, strict=True):
        assert list(message) == ["step", "cgroup", "group_idx", "work_idx", "worker",
                                 "work_type", "report"]  # fmt: skip
        assert (message["step"], message["cgroup"]) == (2, "left")
        assert (message["group_idx"], message["work_idx"]) == (1, 3)
        assert message["work_type"] == name
        report = message["report"]
        assert list(report) == FIELDS
        assert report["completed"] is True
        assert report["exit_info"] is None
        assert report["is_messenger"] is False
        assert report["group_idx"] == 1
        assert report["affinity_error"] is None
        assert report["sched_policy_error"] is None
        assert report["phase_slices"] == []
        assert report["taobench_whole"] is None

        assert report["iterations"] > 0
        assert counter == report["iterations"]
        if units is not None:
            # One more burst may have been spent on an iteration the stop cut short.
            assert 0 <= report["work_units"] - units * report["iterations"] <= units
        else:
            assert report["work_units"] > report["iterations"]

        assert 0 < report["cpu_time_ns"] <= report["wall_time_ns"]
        assert report["off_cpu_ns"] == report["wall_time_ns"] - report["cpu_time_ns"]
        assert report["wall_time_ns"] <= leader.elapsed_ns
        assert report["cpus_used"]
        assert set(report["cpus_used"]) <= set(range(os.cpu_count() or 1))
        assert report["migration_count"] >= len(report["migrations"])
        assert report["schedstat_cpu_time_ns"] > 0
        assert report["schedstat_run_count"] > 0
        assert sum(report["numa_pages"].values()) > 0

        for kind, (vector, total) in RESERVOIRS.items():
            values = samples(report[vector])
            assert len(values) == min(report[total], 100_000)
            assert bool(values) == (kind == filled), (kind, name)


def test_samples_lie_where_the_type_puts_them(measured):
    name, messages, _, _ = measured
    for message in messages:
        report = message["report"]
        wall = report["wall_time_ns"]
        if name == "Bursty":
            assert report["wake_sample_total"] == report["iterations"]
            assert all(3_000_000 <= v <= wall for v in samples(report["wake_latencies_ns"]))
            assert report["off_cpu_ns"] >= 3_000_000 * report["iterations"]
        elif name == "IoSyncWrite":
            assert report["wake_sample_total"] == report["iterations"]
            assert sum(samples(report["wake_latencies_ns"])) <= wall
        elif name in ("PipeIo", "FutexPingPong"):
            # Exchanges that did not block are iterations, not wake-ups.
            assert report["wake_sample_total"] <= report["iterations"] + 1
            assert sum(samples(report["wake_latencies_ns"])) <= wall
        elif name == "AluHot":
            assert report["iteration_cost_sample_total"] == report["iterations"]
            assert min(samples(report["iteration_costs_ns"])) > 0
        elif name == "TimerLatency":
            assert report["timer_sample_total"] == report["iterations"]
            # At most one wake-up per interval of 2 ms.
            assert report["iterations"] <= wall // 2_000_000 + 1
            assert all(v < wall for v in samples(report["timer_latencies_ns"]))


def test_pairs_keep_pace(lead):
    for name in ("PipeIo", "FutexPingPong"):
        reports = [m["report"] for m in lead(type=name, workers=4).run(0.2)]
        for a, b in ((0, 1), (2, 3)):
            assert abs(reports[a]["iterations"] - reports[b]["iterations"]) <= 2, name


def test_a_read_that_need_not_wait_is_no_wakeup(lead):
    a, b = (m["report"] for m in lead(type="PipeIo", workers=2, burst_iters=64).run(0.2))
    # Both write before they read, so whoever writes second finds its byte waiting.
    exchanges = max(a["iterations"], b["iterations"]) + 1
    assert 0 < a["wake_sample_total"] + b["wake_sample_total"] <= exchanges


def test_reservoir_is_bounded_and_its_total_is_true(lead, until):
    leader = lead(type="AluHot", width=1, workers=1, slot=0)
    leader.ready()
    leader.send(b"S")
    until("200 000 iterations", lambda: leader.live(0) > 200_000)
    (message,) = leader.collect()
    report = message["report"]
    assert len(report["iteration_costs_ns"]) == 8 * 100_000
    assert report["iteration_cost_sample_total"] == report["iterations"] > 200_000


def test_live_counters_advance_while_running(lead, until):
    leader = lead(type="SpinWait", workers=2, slot=100)
    leader.ready()
    assert [leader.live(100), leader.live(101)] == [0, 0]
    leader.send(b"S")
    until("both advance", lambda: leader.live(100) > 0 and leader.live(101) > 0)
    first = leader.live(100)
    until("it goes on", lambda: leader.live(100) > first)
    assert [leader.live(99), leader.live(102)] == [0, 0]
    leader.collect()


def schedstat(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/schedstat").read_text().split()]


def test_schedstat_agrees_with_the_kernel_seen_from_outside(lead, until):
    leader = lead(type="SpinWait", workers=1, slot=0)
    (pid,) = leader.ready()
    before = schedstat(pid)
    leader.send(b"S")
    until("some work", lambda: leader.live(0) > 2000)
    inside = schedstat(pid)
    (message,) = leader.collect()
    report = message["report"]
    # The worker measured a longer stretch than this one, less what the start itself used.
    slack_ns = 20_000_000
    assert report["schedstat_cpu_time_ns"] >= inside[0] - before[0] - slack_ns
    assert report["schedstat_run_delay_ns"] >= inside[1] - before[1] - slack_ns
    assert abs(report["schedstat_cpu_time_ns"] - report["cpu_time_ns"]) <= slack_ns
    assert report["schedstat_cpu_time_ns"] <= report["wall_time_ns"] + slack_ns


def test_affinity_confines(lead):
    cpu = max(os.sched_getaffinity(0))
    for message in lead(type="Mixed", workers=2, affinity=f"{cpu}-{cpu}").run(0.2):
        report = message["report"]
        assert report["affinity_error"] is None
        assert report["cpus_used"] == [cpu]
        assert report["migration_count"] == 0


def test_cpus_seen_after_blocking_count_as_used(lead, until):
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        pytest.skip("one CPU: there is no other to use")
    leader = lead(type="TimerLatency", workers=1, slot=0, interval_us=100, gap_check=4_000_000_000)
    (pid,) = leader.ready()
    # The CPU in the middle is neither that of the start nor that of the end.
    for cpu in (cpus[1], cpus[0], cpus[1]):
        os.sched_setaffinity(pid, {cpu})
        leader.send(b"S")
        seen = leader.live(0)
        until("some wake-ups", lambda seen=seen: leader.live(0) > seen + 3)
    (message,) = leader.collect()
    report = message["report"]
    assert report["cpus_used"] == cpus[:2]
    # A timer worker has a checkpoint in every cycle: two seconds of it are few work units.
    assert report["migration_count"] == 2


def test_migrations_are_listed_with_their_times(lead):
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        pytest.skip("one CPU: nothing can migrate")
    leader = lead(type="SpinWait", workers=1)
    (pid,) = leader.ready()
    os.sched_setaffinity(pid, {cpus[0]})
    leader.send(b"S")
    wanted = [cpus[0], cpus[1], cpus[0]]
    for cpu in wanted[1:]:
        settle(pid)
        os.sched_setaffinity(pid, {cpu})
    settle(pid)
    (message,) = leader.collect()
    report = message["report"]
    hops = report["migrations"]
    assert report["migration_count"] == len(hops) == 2
    assert [(m["from_cpu"], m["to_cpu"]) for m in hops] == [tuple(wanted[:2]), tuple(wanted[1:])]
    assert 0 < hops[0]["at_ns"] < hops[1]["at_ns"] <= report["wall_time_ns"]
    assert report["cpus_used"] == cpus[:2]


def settle(pid: int) -> None:
    """Wait until the worker has used 30 ms more of CPU time, many checkpoints."""
    start = schedstat(pid)[0]
    while schedstat(pid)[0] < start + 30_000_000:
        os.sched_yield()


def test_a_stretch_off_the_cpu_is_the_longest_gap(lead, until):
    leader = lead(type="SpinWait", workers=1, slot=0)
    (pid,) = leader.ready()
    leader.send(b"S")
    until("some work", lambda: leader.live(0) > 100)
    os.kill(pid, signal.SIGSTOP)
    time.sleep(0.4)
    os.kill(pid, signal.SIGCONT)
    seen = leader.live(0)
    until("more work", lambda: leader.live(0) > seen + 10)
    (message,) = leader.collect()
    report = message["report"]
    assert 400 <= report["max_gap_ms"] <= report["max_gap_at_ms"]
    assert report["max_gap_at_ms"] <= report["wall_time_ns"] // 1_000_000
    assert report["max_gap_cpu"] in report["cpus_used"]


def test_gap_check_0_measures_no_gap(lead):
    (message,) = lead(type="SpinWait", workers=1, gap_check=0).run(0.1)
    report = message["report"]
    assert (report["max_gap_ms"], report["max_gap_at_ms"]) == (0, 0)
    assert report["iterations"] > 0


def test_a_run_without_checkpoint_is_one_gap(lead):
    (message,) = lead(type="SpinWait", workers=1, gap_check=4_000_000_000).run(0.1)
    report = message["report"]
    assert report["max_gap_ms"] == report["max_gap_at_ms"] == report["wall_time_ns"] // 1_000_000


def test_sleeping_is_no_gap(lead):
    keys = {"burst_us": 1000, "sleep_us": 60_000_000}
    (message,) = lead(type="Bursty", workers=1, **keys).run(1.0, least=0)
    report = message["report"]
    assert report["off_cpu_ns"] > 700_000_000
    assert report["max_gap_ms"] < report["off_cpu_ns"] // 1_000_000
    # The sleep was cut short by the stop: neither a wake-up nor an iteration.
    assert (report["iterations"], report["wake_sample_total"]) == (0, 0)


def test_refused_affinity_and_policy_are_told_and_the_worker_goes_on(lead):
    (message,) = lead(
        type="SpinWait", workers=1, affinity="8000-8001", policy="ext", nice=5
    ).run(0.1)  # fmt: skip
    report = message["report"]
    assert report["affinity_error"] == "sched_setaffinity to CPUs 8000-8001: Invalid argument"
    assert report["completed"] is True
    assert report["iterations"] > 0
    error = report["sched_policy_error"]
    # A kernel with sched_ext takes the policy, one without refuses it.
    assert error is None or error.startswith("sched_setattr to policy ext (priority 0, nice 5): ")


@pytest.mark.parametrize(
    ("keys", "policy", "priority", "nice"),
    [
        ({"policy": "batch", "nice": 3}, os.SCHED_BATCH, 0, 3),
        ({"policy": "idle"}, os.SCHED_IDLE, 0, 0),
        ({"policy": "rr", "rt_prio": 7}, os.SCHED_RR, 7, 0),
        ({"policy": "fifo", "rt_prio": 2}, os.SCHED_FIFO, 2, 0),
        ({"nice": -4}, os.SCHED_OTHER, 0, -4),
        ({}, os.SCHED_OTHER, 0, 0),
    ],
)
def test_policy_and_nice_are_in_force(lead, until, keys, policy, priority, nice):
    if os.geteuid() != 0:
        pytest.skip("real-time policies and negative nice values need root")
    leader = lead(type="TimerLatency", workers=1, slot=0, **keys)
    (pid,) = leader.ready()
    leader.send(b"S")
    until("it works", lambda: leader.live(0) > 0)
    assert os.sched_getscheduler(pid) == policy
    assert os.sched_getparam(pid).sched_priority == priority
    assert os.getpriority(os.PRIO_PROCESS, pid) == nice
    (message,) = leader.collect()
    assert message["report"]["sched_policy_error"] is None


def test_the_policy_of_the_leader_is_not_inherited(lead, worker_binary, until):
    if os.geteuid() != 0:
        pytest.skip("real-time policies need root")
    leader = lead(
        command=["chrt", "-f", "5", str(worker_binary)], type="TimerLatency", workers=1, slot=0
    )
    (pid,) = leader.ready()
    leader.send(b"S")
    until("it works", lambda: leader.live(0) > 0)
    assert os.sched_getscheduler(leader.pid) == os.SCHED_FIFO
    assert os.sched_getscheduler(pid) == os.SCHED_OTHER
    assert leader.collect()[0]["report"]["sched_policy_error"] is None
