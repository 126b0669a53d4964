# SPDX-License-Identifier: GPL-2.0-only
"""Workers that are threads of one process: as real as processes, apart from what they share."""

import contextlib
import os
import signal
from pathlib import Path

import pytest

from ktstr.telemetry import WorkerReport


def status(tid: int, key: str) -> str:
    for line in Path(f"/proc/{tid}/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return line.split(":", 1)[1].strip()
    raise AssertionError(f"no {key} of {tid}")


def test_threads_share_a_process_that_is_not_the_leader(lead):
    leader = lead(type="SpinWait", workers=3, clone="thread", comm="three spins")
    tids = leader.ready()
    assert len(set(tids)) == 3
    assert leader.host not in (0, leader.pid, *tids)
    assert {status(tid, "Tgid") for tid in tids} == {str(leader.host)}
    assert {status(tid, "Name") for tid in tids} == {"three spins"}
    assert os.getpgid(leader.host) == leader.host
    reports = leader.run_on(0.2)
    assert [r["report"]["tid"] for r in reports] == tids
    for r in reports:
        assert WorkerReport.from_wire(r["report"]).completed
        assert r["report"]["iterations"] > 0


def test_counters_are_of_the_thread_not_of_the_process(lead):
    leader = lead(type="SpinWait", workers=4, clone="thread", affinity="0")
    reports = [r["report"] for r in leader.run(0.5)]
    # Four spinners on one CPU: together about what the wall clock shows, not each of them.
    for name in ("cpu_time_ns", "schedstat_cpu_time_ns"):
        assert sum(r[name] for r in reports) < 1.5 * max(r["wall_time_ns"] for r in reports)
        assert all(r[name] > 0 for r in reports)
    for r in reports:
        assert r["schedstat_cpu_time_ns"] == pytest.approx(r["cpu_time_ns"], rel=0.2)


@pytest.mark.parametrize("kind", ["PipeIo", "FutexPingPong"])
def test_pairs_of_threads_hand_over(lead, kind):
    reports = [r["report"] for r in lead(type=kind, workers=4, clone="thread").run(0.4)]
    for first, second in (reports[:2], reports[2:]):
        assert first["iterations"] > 10
        assert abs(first["iterations"] - second["iterations"]) <= 1
        assert first["wake_sample_total"] > 0


def pipes(process: int, thread: int) -> set[str]:
    """The pipes that one thread has open."""
    found = set()
    for fd in Path(f"/proc/{process}/task/{thread}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            found.add(os.readlink(fd))
    return {link for link in found if link.startswith("pipe:")}


def test_threads_have_descriptors_of_their_own(lead, until):
    leader = lead(type="PipeIo", workers=4, clone="thread")
    tids = leader.ready()
    inherited = pipes(leader.pid, leader.pid)
    own = [pipes(leader.host, tid) - inherited for tid in tids]
    assert own[0] == own[1]
    assert own[2] == own[3]
    assert len(own[0]) == len(own[2]) == 2
    assert not own[0] & own[2]
    until("the process keeps none", lambda: pipes(leader.host, leader.host) <= inherited)
    assert len(leader.run_on(0.1)) == 4


def test_a_signal_that_kills_one_kills_all_and_each_says_so(lead, until):
    leader = lead(type="SpinWait", workers=2, clone="thread")
    tids = leader.ready()
    leader.send(b"S")
    os.kill(tids[1], signal.SIGKILL)
    until("the death is told", lambda: "killed by signal 9" in leader.log())
    for r in leader.collect():
        assert r["report"]["completed"] is False
        assert r["report"]["exit_info"] == {"kind": "Signaled", "signal": 9}


def test_a_process_that_cannot_be_made_is_told(lead):
    leader = lead(type="PipeIo", workers=2, clone="thread", cgroup="x", cgroup_fd=17)
    assert 'cannot create worker 0 of 2 in cgroup "x": Bad file descriptor' in leader.error()
    assert leader.wait() == 1


def test_no_thread_outlives_its_leader(lead, gone):
    leader = lead(type="SpinWait", workers=2, clone="thread")
    tids = leader.ready()
    leader.send(b"S")
    os.kill(leader.pid, signal.SIGKILL)
    leader.wait()
    gone([leader.host, *tids])


def test_threads_that_do_not_stop_are_killed_in_time(lead):
    leader = lead(type="SpinWait", workers=2, clone="thread")
    leader.ready()
    leader.send(b"S")
    os.kill(leader.host, signal.SIGSTOP)
    reports = [r["report"] for r in leader.collect()]
    assert [r["exit_info"] for r in reports] == [{"kind": "TimedOut"}] * 2
