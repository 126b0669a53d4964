# SPDX-License-Identifier: GPL-2.0-only
"""FutexFanOut, FanOutCompute, ThunderingHerd: who wakes, who is woken, and how late."""

import math
import os
import signal
import time
from pathlib import Path

import pytest

POST_WAKE_SPIN = 256


def groups(messages, size):
    reports = [message["report"] for message in messages]
    return [reports[i : i + size] for i in range(0, len(reports), size)]


def test_fan_out_has_one_messenger_a_group(lead, reservoirs):
    leader = lead(type="FutexFanOut", workers=8, fan_out=3, spin_iters=500)
    for messenger, *receivers in groups(leader.run(0.4), 4):
        assert messenger["is_messenger"] is True
        assert reservoirs(messenger) == {}
        each = 500 + POST_WAKE_SPIN
        assert messenger["iterations"] > 0
        assert 0 <= messenger["work_units"] - each * messenger["iterations"] <= each
        for receiver in receivers:
            assert receiver["is_messenger"] is False
            # Each wake-up is one post; the last of them may belong to a cut iteration.
            assert 0 < receiver["iterations"] <= messenger["iterations"] + 1
            assert 0 <= receiver["work_units"] - 500 * receiver["iterations"] <= 500
            assert set(reservoirs(receiver)) == {"wake"}
            assert receiver["wake_sample_total"] <= receiver["iterations"]
            assert receiver["wake_sample_total"] <= receiver["schedstat_run_count"]
            assert sum(reservoirs(receiver)["wake"]) <= receiver["wall_time_ns"]


@pytest.mark.parametrize("kib", [1, 64, 100])
def test_compute_multiplies_the_largest_matrices_that_fit(lead, reservoirs, kib):
    leader = lead(
        type="FanOutCompute", workers=3, fan_out=2, cache_footprint_kib=kib, operations=2,
        sleep_us=300,
    )  # fmt: skip
    dim = math.floor(math.sqrt(kib * 1024 / 3 / 8))
    ((messenger, *receivers),) = groups(leader.run(0.4), 3)
    assert messenger["is_messenger"] is True
    assert reservoirs(messenger) == {}
    # The stop may come within the spin that follows a post.
    assert 0 <= messenger["work_units"] - POST_WAKE_SPIN * messenger["iterations"] <= POST_WAKE_SPIN
    for receiver in receivers:
        assert receiver["is_messenger"] is False
        rest = receiver["work_units"] - 2 * dim * dim * receiver["iterations"]
        assert receiver["iterations"] > 0
        assert 0 <= rest <= 2 * dim * dim
        assert rest % dim == 0
        assert set(reservoirs(receiver)) == {"wake"}
        assert sum(reservoirs(receiver)["wake"]) <= receiver["wall_time_ns"]
        assert receiver["off_cpu_ns"] >= 300_000 * receiver["iterations"]


def test_compute_latency_counts_from_the_post_that_woke(lead, until, reservoirs):
    """A receiver kept off its CPU is late by all that time, however often it was posted to."""
    cpus = sorted(os.sched_getaffinity(0))
    if os.geteuid() != 0 or len(cpus) < 2:
        pytest.skip("needs two CPUs and the right to real-time priorities")
    # Nearly all the time this receiver waits for the next post, which comes within microseconds.
    leader = lead(
        type="FanOutCompute", workers=2, fan_out=1, slot=0, cache_footprint_kib=1, operations=1,
        sleep_us=0,
    )  # fmt: skip
    messenger, receiver = leader.ready()
    os.sched_setaffinity(messenger, {cpus[1]})
    os.sched_setaffinity(receiver, {cpus[0]})
    hog = lead(type="SpinWait", workers=1, slot=0, affinity=cpus[0], policy="fifo", rt_prio=1)
    (hog_pid,) = hog.ready()
    leader.send(b"S")
    until("the receiver is woken", lambda: leader.live(1) > 5)
    hog.send(b"S")
    for _ in range(8):
        os.kill(hog_pid, signal.SIGCONT)
        time.sleep(0.06)
        os.kill(hog_pid, signal.SIGSTOP)
        time.sleep(0.01)
    os.kill(hog_pid, signal.SIGCONT)
    hog.collect()
    report = leader.collect()[1]["report"]
    late = reservoirs(report)["wake"]
    assert max(late) >= 40_000_000
    if report["wake_sample_total"] <= 100_000:
        assert sum(late) <= report["wall_time_ns"]


def cpu_ns(pids):
    return sum(int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) for pid in pids)


def test_the_herd_is_woken_at_once_and_rests_at_last(lead, until, reservoirs):
    leader = lead(type="ThunderingHerd", workers=5, waiters=4, batches=6, inter_batch_ms=50, slot=0)
    pids = leader.ready()
    leader.send(b"S")
    until("all broadcasts", lambda: leader.live(0) == 6)
    until("the last is dealt with", lambda: all(leader.live(i) > 0 for i in range(1, 5)))
    time.sleep(0.1)
    before = cpu_ns(pids)
    time.sleep(0.3)
    rest = cpu_ns(pids) - before
    ((waker, *waiters),) = groups(leader.collect(), 5)
    assert rest < 30_000_000, "the herd still runs after its last broadcast"
    assert waker["iterations"] == waker["work_units"] == 6
    assert waker["is_messenger"] is False
    assert reservoirs(waker) == {}
    for waiter in waiters:
        assert waiter["is_messenger"] is False
        # 50 ms are enough to gather again; one broadcast may be missed all the same.
        assert 5 <= waiter["iterations"] <= 6
        assert waiter["work_units"] == 1024 * waiter["iterations"]
        assert waiter["wake_sample_total"] == waiter["iterations"]
        # All but the first wait began after the broadcast before.
        assert max(reservoirs(waiter)["wake"]) >= 30_000_000


def test_a_herd_of_threads(lead):
    reports = lead(type="ThunderingHerd", workers=8, inter_batch_ms=1, clone="thread").run(0.3)
    assert all(message["report"]["iterations"] > 3 for message in reports)


@pytest.mark.parametrize(
    ("keys", "error"),
    [
        ({"type": "FutexFanOut", "workers": 4}, "workers must be a multiple of 5, found 4"),
        (
            {"type": "FanOutCompute", "workers": 5, "fan_out": 2},
            "workers must be a multiple of 3, found 5",
        ),
        (
            {"type": "ThunderingHerd", "workers": 7},
            "workers must be a multiple of 8, found 7",
        ),
        (
            {"type": "FutexFanOut", "workers": 1, "fan_out": 0},
            'fan_out must be an integer from 1 to 255, found "0"',
        ),
        (
            {"type": "ThunderingHerd", "workers": 8, "batches": 0},
            'batches must be an integer from 1 to 1000000000, found "0"',
        ),
    ],
)
def test_mistakes(lead, keys, error):
    assert lead(**keys).error() == f"{keys['type']}: {error}"
