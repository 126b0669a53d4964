# SPDX-License-Identifier: GPL-2.0-only
"""MutexContention, PriorityInversion, ProducerConsumerImbalance: who waits for whom."""

import os
import signal
import time
from pathlib import Path

import pytest

FOR_EVER = 1_000_000_000


def reports_of(messages):
    return [message["report"] for message in messages]


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def kernel_priority(pid: int) -> int:
    """The priority in force, boosts included: -1 - the real-time priority."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[15])


def test_contenders_make_progress_and_note_their_waits(lead, reservoirs):
    leader = lead(type="MutexContention", workers=6, contenders=3, hold_iters=700, work_iters=300)
    reports = reports_of(leader.run(0.5))
    for report in reports:
        assert report["iterations"] > 0
        assert 0 <= report["work_units"] - 1000 * report["iterations"] <= 1000
        assert set(reservoirs(report)) <= {"wake"}
        assert report["wake_sample_total"] <= report["iterations"] + 1
        assert report["wake_sample_total"] <= report["schedstat_run_count"]
        assert sum(reservoirs(report).get("wake", [0])) <= report["wall_time_ns"]
        assert report["is_messenger"] is False
    for group in (reports[:3], reports[3:]):
        assert any(report["wake_sample_total"] for report in group)


def test_only_one_of_a_group_has_the_lock(lead, until):
    leader = lead(
        type="MutexContention", workers=6, contenders=3, hold_iters=FOR_EVER, work_iters=1
    )
    pids = leader.ready()
    leader.send(b"S")
    groups = (pids[:3], pids[3:])
    until(
        "two of each group sleep",
        lambda: all(sorted(map(state, group)) == ["R", "S", "S"] for group in groups),
    )
    for report in reports_of(leader.collect()):
        # The holder is stopped within its hold and those who wait within their wait.
        assert report["completed"] is True
        assert report["iterations"] == 0


def test_the_tiers_have_their_priorities(lead, until):
    if os.geteuid() != 0:
        pytest.skip("real-time policies need root")
    leader = lead(
        type="PriorityInversion", workers=8, high_count=1, medium_count=2, low_count=1, slot=0
    )
    pids = leader.ready()
    leader.send(b"S")
    until("all work", lambda: all(leader.live(i) > 0 for i in range(8)))
    assert [os.sched_getscheduler(pid) for pid in pids] == [os.SCHED_FIFO] * 8
    priorities = [os.sched_getparam(pid).sched_priority for pid in pids]
    assert priorities == [70, 50, 50, 30] * 2
    assert [r["sched_policy_error"] for r in reports_of(leader.collect())] == [None] * 8


@pytest.mark.parametrize("pi_mode", [0, 1])
def test_tiers_at_work(lead, reservoirs, pi_mode):
    leader = lead(type="PriorityInversion", workers=3, work_iters=500, hold_iters=9000,
                  pi_mode=pi_mode)  # fmt: skip
    high, medium, low = reports_of(leader.run(0.5))
    assert set(reservoirs(high)) == {"wake"}
    assert reservoirs(medium) == {}
    assert set(reservoirs(low)) <= {"wake"}
    for report, units, pause_ns in (
        (high, 500, 1_000_000),
        (medium, 500, 1_000_000),
        (low, 9500, 100_000),
    ):
        assert report["iterations"] > 0
        assert 0 <= report["work_units"] - units * report["iterations"] <= units
        assert report["off_cpu_ns"] >= pause_ns * report["iterations"]


@pytest.mark.parametrize(("pi_mode", "boosted"), [(0, 30), (1, 70)])
def test_only_the_inheriting_lock_lifts_its_holder(lead, until, reservoirs, pi_mode, boosted):
    if os.geteuid() != 0:
        pytest.skip("real-time policies need root")
    leader = lead(type="PriorityInversion", workers=3, hold_iters=FOR_EVER, work_iters=1,
                  pi_mode=pi_mode, slot=0)  # fmt: skip
    high, _, low = leader.ready()
    leader.send(b"S")
    # The high tier gets the lock freely until the low one has it, then neither moves any more.
    until("the low tier has the lock", lambda: kernel_priority(low) == -1 - boosted)
    until("the high tier has its own", lambda: kernel_priority(high) == -71)
    seen = -1
    while leader.live(0) != seen:
        seen = leader.live(0)
        passed = leader.live(1)
        until("the medium tier goes on", lambda p=passed: leader.live(1) > p + 20)
    assert (state(high), kernel_priority(high)) == ("S", -71)
    assert kernel_priority(low) == -1 - boosted
    reports = reports_of(leader.collect())
    assert [report["completed"] for report in reports] == [True] * 3
    assert reports[2]["iterations"] == 0
    assert reservoirs(reports[2]).keys() <= {"wake"}


def test_without_the_right_to_real_time_the_tiers_work_on(lead, worker_binary):
    if os.geteuid() != 0:
        pytest.skip("only root can give the right away")
    dropped = "--drop=cap_sys_nice"
    command = ["capsh", dropped, "--", "-c", 'exec "$0" "$@"', str(worker_binary)]
    try:
        leader = lead(command=command, type="PriorityInversion", workers=3)
    except FileNotFoundError:
        pytest.skip("no capsh")
    high, *_ = reports_of(leader.run(0.2))
    assert high["iterations"] > 0
    assert high["sched_policy_error"] == (
        "sched_setscheduler to policy fifo (priority 70): Operation not permitted"
    )


def test_consumers_that_are_faster_wait_for_items(lead, reservoirs):
    leader = lead(
        type="ProducerConsumerImbalance", workers=3, produce_rate_hz=200, consume_iters=100
    )
    *producers, consumer = reports_of(leader.run(0.5))
    for producer in producers:
        assert reservoirs(producer) == {}
        assert producer["work_units"] == producer["iterations"] > 0
        # One item at the start, then one every 5 ms, never a burst to catch up.
        assert producer["iterations"] <= producer["wall_time_ns"] // 5_000_000 + 1
    assert set(reservoirs(consumer)) == {"wake"}
    assert 0 <= consumer["work_units"] - 100 * consumer["iterations"] <= 100
    made = sum(producer["iterations"] for producer in producers)
    assert 0 < consumer["iterations"] <= made
    assert consumer["wake_sample_total"] <= min(made, consumer["schedstat_run_count"])


def test_a_producer_that_was_held_up_does_not_catch_up(lead, until):
    leader = lead(type="ProducerConsumerImbalance", workers=2, producers=1, produce_rate_hz=200,
                  slot=0)  # fmt: skip
    producer, _ = leader.ready()
    leader.send(b"S")
    until("items", lambda: leader.live(0) > 3)
    os.kill(producer, signal.SIGSTOP)
    time.sleep(0.4)
    os.kill(producer, signal.SIGCONT)
    seen = leader.live(0)
    until("more items", lambda: leader.live(0) > seen + 10)
    report = leader.collect()[0]["report"]
    # One item every 5 ms while it could run, and one at the start of each of the two spells.
    assert report["iterations"] <= (report["wall_time_ns"] - 400_000_000) // 5_000_000 + 3


def test_producers_that_are_faster_wait_for_room(lead, reservoirs):
    leader = lead(type="ProducerConsumerImbalance", workers=6, produce_rate_hz=1_000_000,
                  consume_iters=200_000, queue_depth_target=7)  # fmt: skip
    reports = reports_of(leader.run(0.6))
    for group in (reports[:3], reports[3:]):
        *producers, consumer = group
        for producer in producers:
            assert set(reservoirs(producer)) == {"wake"}
            assert sum(reservoirs(producer)["wake"]) <= producer["wall_time_ns"]
        made = sum(producer["iterations"] for producer in producers)
        taken = -(-consumer["work_units"] // 200_000)  # the last perhaps not to the end
        assert consumer["iterations"] > 0
        # What was made has been taken or fills the queue.
        assert taken <= made <= taken + 1 + 7


def test_many_on_a_short_queue_lose_nothing(lead):
    leader = lead(type="ProducerConsumerImbalance", workers=7, producers=4, consumers=3,
                  produce_rate_hz=1_000_000, consume_iters=1, queue_depth_target=1)  # fmt: skip
    reports = reports_of(leader.run(0.3))
    made = sum(report["iterations"] for report in reports[:4])
    taken = sum(report["iterations"] for report in reports[4:])
    # Each consumer may have been stopped between taking its item out and counting it.
    assert 0 <= made - taken <= 1 + 3
    assert all(report["iterations"] > 0 for report in reports)


@pytest.mark.parametrize(
    ("keys", "error"),
    [
        ({"type": "MutexContention", "workers": 6}, "workers must be a multiple of 4, found 6"),
        (
            {"type": "MutexContention", "workers": 4, "contenders": 1},
            'contenders must be an integer from 2 to 256, found "1"',
        ),
        (
            {"type": "PriorityInversion", "workers": 6, "medium_count": 3},
            "workers must be a multiple of 5, found 6",
        ),
        (
            {"type": "PriorityInversion", "workers": 3, "pi_mode": 2},
            'pi_mode must be an integer from 0 to 1, found "2"',
        ),
        (
            {"type": "ProducerConsumerImbalance", "workers": 4},
            "workers must be a multiple of 3, found 4",
        ),
        (
            {"type": "ProducerConsumerImbalance", "workers": 3, "produce_rate_hz": 0},
            'produce_rate_hz must be an integer from 1 to 1000000, found "0"',
        ),
    ],
)
def test_mistakes(lead, keys, error):
    assert lead(**keys).error() == f"{keys['type']}: {error}"
