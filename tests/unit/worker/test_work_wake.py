# SPDX-License-Identifier: GPL-2.0-only
"""Chains, signals and epoll: who wakes whom, as other processes see it."""

import os
import signal
from pathlib import Path

import pytest


def status(pid: int, name: str) -> str:
    text = Path(f"/proc/{pid}/status").read_text()
    return text.partition(f"\n{name}:")[2].split()[0]


def targets(pid: int) -> list[str]:
    """What the descriptors of a process lead to."""
    found = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.append(os.readlink(link))
        except FileNotFoundError:
            continue
    return found


@pytest.mark.parametrize("wake", [0, 1])
def test_one_token_goes_round_each_chain(lead, wake):
    hop_us = 200
    keys = {"depth": 3, "wake": wake, "work_per_hop_us": hop_us}
    reports = [m["report"] for m in lead(type="WakeChain", workers=6, **keys).run(0.4)]
    for chain in (reports[:3], reports[3:]):
        hops = [report["iterations"] for report in chain]
        # Position 0 begins, so that none is ahead of the one before it.
        assert hops == sorted(hops, reverse=True)
        assert hops[0] - hops[-1] <= 1
        # Only one works at a time.
        assert sum(hops) * hop_us * 1000 <= max(report["wall_time_ns"] for report in chain)
        for report in chain:
            assert report["wake_sample_total"] > 0


@pytest.mark.parametrize(("wake", "pipes"), [(0, 2 * 4), (1, 0)])
def test_the_chain_is_of_pipes_or_of_a_futex(lead, wake, pipes):
    leader = lead(type="WakeChain", workers=4, depth=4, wake=wake)
    for pid in leader.ready():
        inherited = [t for t in targets(leader.pid) if t.startswith("pipe:")]
        ring = [t for t in targets(pid) if t.startswith("pipe:") and t not in inherited]
        assert len(ring) == pipes
    leader.send(b"S")
    leader.collect()


def test_signals_reach_the_partner(lead, until):
    leader = lead(type="SignalStorm", workers=2, slot=0, signals_per_iter=2, work_iters=64)
    a, b = leader.ready()
    leader.send(b"S")
    until("both work", lambda: leader.live(0) > 10 and leader.live(1) > 10)
    bit = 1 << (signal.SIGUSR2 - 1)
    assert int(status(a, "SigCgt"), 16) & bit
    os.kill(a, signal.SIGSTOP)
    until("it is stopped", lambda: status(a, "State") == "T")
    # What a stopped task gets stays pending, where everybody can see it.
    until("a signal is pending", lambda: bool(int(status(a, "SigPnd"), 16) & bit))
    assert not int(status(b, "SigPnd"), 16) & ~bit
    os.kill(a, signal.SIGCONT)
    seen = leader.live(0)
    until("it goes on", lambda: leader.live(0) > seen)
    leader.collect()


def test_a_lone_signaller_goes_on(lead, until, gone):
    leader = lead(type="SignalStorm", workers=2, slot=0, work_iters=64)
    a, _ = leader.ready()
    leader.send(b"S")
    until("both work", lambda: leader.live(0) > 10 and leader.live(1) > 10)
    os.kill(a, signal.SIGKILL)
    gone([a])
    seen = leader.live(1)
    until("the other goes on", lambda: leader.live(1) > seen + 10)
    dead, alive = (message["report"] for message in leader.collect())
    assert dead["exit_info"] == {"kind": "Signaled", "signal": signal.SIGKILL}
    assert alive["completed"] is True


def test_consumers_wait_in_one_epoll_and_take_what_producers_wrote(lead, until):
    keys = {"producers": 2, "consumers": 2, "events_per_burst": 5}
    leader = lead(type="EpollStorm", workers=4, slot=0, **keys)
    pids = leader.ready()
    for pid in pids:
        assert {"anon_inode:[eventfd]", "anon_inode:[eventpoll]"} <= set(targets(pid))
    leader.send(b"S")
    until("all work", lambda: all(leader.live(i) > 3 for i in range(4)))
    reports = [message["report"] for message in leader.collect()]
    written = sum(report["work_units"] for report in reports[:2])
    taken = sum(report["iterations"] for report in reports[2:])
    assert 0 < taken <= written
    for report in reports[:2]:
        # A burst the stop interrupted in its sleep was written, yet is no iteration.
        assert 0 <= report["work_units"] - 5 * report["iterations"] <= 5
