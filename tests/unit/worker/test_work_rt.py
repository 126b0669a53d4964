# SPDX-License-Identifier: GPL-2.0-only
"""Groups whose members are of different scheduling classes, as other processes see them."""

import os
import shutil
from pathlib import Path

import pytest

CPU = min(os.sched_getaffinity(0))
NORMAL, FIFO, RR, BATCH, IDLE = 0, 1, 2, 3, 5
CLASSES = [NORMAL, BATCH, IDLE, FIFO, RR]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="real-time policies need root")


def rank(pid: int) -> tuple[int, int]:
    return os.sched_getscheduler(pid), os.sched_getparam(pid).sched_priority


def involuntary(pid: int) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("nonvoluntary_ctxt_switches:")[2].split()[0])


def test_starvation_takes_the_cpu_from_the_normal_members(lead, until):
    keys = {"rt_workers": 1, "cfs_workers": 2, "rt_priority": 7, "affinity": CPU}
    leader = lead(type="RtStarvation", workers=3, slot=0, **keys)
    pids = leader.ready()
    leader.send(b"S")
    until("the fifo member works", lambda: leader.live(0) > 1000)
    assert [rank(pid) for pid in pids] == [(FIFO, 7), (NORMAL, 0), (NORMAL, 0)]
    rt, *victims = (message["report"] for message in leader.collect())
    for victim in victims:
        assert victim["schedstat_cpu_time_ns"] * 2 < rt["schedstat_cpu_time_ns"]
        # It has begun before it was starved: its report is about the same time.
        assert victim["wall_time_ns"] >= rt["schedstat_cpu_time_ns"]


def test_the_storm_preempts_the_spinner(lead, until):
    keys = {"cfs_workers": 1, "rt_burst_iters": 64, "rt_sleep_us": 1000, "affinity": CPU}
    leader = lead(type="PreemptStorm", workers=2, slot=0, **keys)
    rt, spinner = leader.ready()
    leader.send(b"S")
    until("both work", lambda: leader.live(0) > 0 and leader.live(1) > 0)
    assert [rank(rt), rank(spinner)] == [(FIFO, 1), (NORMAL, 0)]
    before, since = involuntary(spinner), leader.live(0)
    # Not every one: when another process has the CPU, it is that which is preempted.
    until("twenty preemptions", lambda: involuntary(spinner) > before + 20)
    assert leader.live(0) > since
    storm, _ = (message["report"] for message in leader.collect())
    assert storm["wake_sample_total"] == storm["iterations"]


@pytest.mark.parametrize(("waker", "wakee"), [(0, 3), (4, 1), (2, 0)])
def test_the_asymmetric_pair_has_the_classes_asked_for(lead, until, waker, wakee):
    leader = lead(
        type="AsymmetricWaker", workers=2, slot=0, waker_class=waker, wakee_class=wakee,
        burst_iters=64, policy="batch",
    )  # fmt: skip
    pids = leader.ready()
    leader.send(b"S")
    until("some rounds", lambda: leader.live(1) > 20)
    expected = [CLASSES[waker], CLASSES[wakee]]
    assert [rank(pid) for pid in pids] == [(c, int(c in (FIFO, RR))) for c in expected]
    a, b = (message["report"] for message in leader.collect())
    assert abs(a["iterations"] - b["iterations"]) <= 1


def test_a_refused_class_is_told_and_the_pair_goes_on(lead, worker_binary):
    if shutil.which("setpriv") is None:
        pytest.skip("needs setpriv, to give privileges up")
    command = ["setpriv", "--bounding-set=-sys_nice", "--inh-caps=-sys_nice", str(worker_binary)]
    waker, wakee = (
        message["report"]
        for message in lead(
            command=command, type="AsymmetricWaker", workers=2, waker_class=3, wakee_class=1
        ).run(0.2)
    )
    assert waker["sched_policy_error"] == (
        "sched_setscheduler to policy 1 (priority 1) of role 0: Operation not permitted"
    )
    assert wakee["sched_policy_error"] is None
    assert min(waker["iterations"], wakee["iterations"]) > 0
