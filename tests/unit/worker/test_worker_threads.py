# SPDX-License-Identifier: GPL-2.0-only
"""Workers that are threads of one process: as real as processes, apart from what they share."""

import contextlib
import os
import re
import resource
import signal
from pathlib import Path

import pytest

from agent.workers import bind
from ktstr.model.works.registry import WORK_TYPES
from ktstr.telemetry import Panicked, WorkerReport


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


PROCESS_WIDE = {"ForkExit", "CgroupChurn", "CgroupAttachStorm"}
# What this host may not have: a cgroup of the test's own, a second NUMA node.
NEEDS = {
    "CrossAffinityChurn": "needs a cgroup of its own",
    "NumaWorkingSetSweep": "NUMA nodes",
    "NumaMigrationChurn": "NUMA nodes",
}


@pytest.mark.parametrize("kind", [kind for kind in WORK_TYPES if kind != "Custom"])
def test_every_type_works_as_threads_or_says_that_it_cannot(lead, kind):
    size = WORK_TYPES[kind].group_size({})
    leader = lead(type=kind, workers=2 * size, clone="thread")
    kind_of_message, payload = leader.message()
    if kind in PROCESS_WIDE:
        assert kind_of_message == "E"
        assert payload.decode() == (
            f"{kind}: clone must be fork: what it does befalls the whole process"
        )
    elif kind_of_message == "E":
        assert NEEDS[kind] in payload.decode()
    else:
        assert leader.message()[0] == "P"
        reports = [r["report"] for r in leader.run_on(0.05)]
        assert [r["exit_info"] for r in reports] == [None] * (2 * size)


def limit_memory(pid: int, more: int) -> None:
    """Let a process have so many bytes more than it has mapped."""
    mapped = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
    resource.prlimit(pid, resource.RLIMIT_AS, (mapped + more,) * 2)


def two_short_of_memory(lead, monkeypatch, more: int):
    """Two threads that want 64 MiB each, started in a process that may have so many bytes more."""
    # Without it every thread reserves 64 MiB or none for what it allocates.
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.arena_max=1")
    leader = lead(
        type="Schbench", workers=2, clone="thread", worker_threads=1, cache_footprint_kib=65536
    )
    leader.ready()
    limit_memory(leader.host, more)
    leader.send(b"S")
    return leader


def test_a_thread_that_cannot_go_on_says_why_and_the_others_live_on(lead, until, monkeypatch):
    leader = two_short_of_memory(lead, monkeypatch, 100 << 20)  # enough for one of them
    until("one has told", lambda: "Schbench: worker " in leader.log())
    reports = [WorkerReport.from_wire(r["report"]) for r in leader.collect()]
    dead, living = sorted(reports, key=lambda report: report.completed)
    assert not dead.completed
    assert isinstance(dead.exit_info, Panicked)
    assert re.fullmatch(r"no memory for \d+ x 8 bytes", dead.exit_info.message)
    assert living.completed
    assert living.exit_info is None
    assert "before the stop" not in leader.log()


def test_threads_of_which_none_can_go_on_have_not_simply_exited(lead, until, monkeypatch):
    leader = two_short_of_memory(lead, monkeypatch, 32 << 20)  # enough for none of them
    ended = f"Schbench: the workers' process (pid {leader.host}) ended before the stop: "
    until("its end is told", lambda: ended in leader.log())
    assert f"{ended}none of its 2 threads could go on\n" in leader.log()
    assert leader.log().count(": no memory for ") == 2
    assert "exited with code" not in leader.log()
    for r in leader.collect():
        assert r["report"]["exit_info"]["kind"] == "Panicked"


def test_a_process_that_cannot_go_on_exits(lead, until):
    # Stacks of 128 KiB.
    leader = lead(type="Schbench", workers=1, worker_threads=1000, cache_footprint_kib=0)
    (pid,) = leader.ready()
    limit_memory(pid, 64 << 20)
    leader.send(b"S")
    until("its end is told", lambda: "exited with code 1" in leader.log())
    assert re.search(
        r"worker 0: cannot create thread \d+ of 1001: Resource temporarily", leader.log()
    )
    (message,) = leader.collect()
    assert message["report"]["exit_info"] == {"kind": "Exited", "code": 1}


def affinities(process: int) -> dict[int, set[int]]:
    """The CPUs that each thread of a process may use."""
    tids = map(int, os.listdir(f"/proc/{process}/task"))
    return {tid: os.sched_getaffinity(tid) for tid in tids}


@pytest.mark.parametrize(
    ("keys", "threads"),
    [
        ({"type": "SpinWait", "workers": 3, "clone": "thread"}, 1 + 3),
        ({"type": "Schbench", "workers": 1, "message_threads": 2, "worker_threads": 3}, 1 + 2 + 6),
        ({"type": "Taobench", "workers": 1, "client_threads": 2, "slow_threads": 1}, 1 + 3),
        (
            {"type": "Schbench", "workers": 2, "clone": "thread", "worker_threads": 2},
            1 + 2 * (1 + 1 + 2),
        ),
    ],
)
def test_the_agent_binds_every_thread(lead, until, keys, threads):
    leader = lead(**keys)
    pids = leader.ready()
    process = leader.host or pids[0]
    leader.send(b"S")
    until("all threads", lambda: len(affinities(process)) == threads)
    assert all(len(cpus) > 1 for cpus in affinities(process).values())
    bind(pids, [min(os.sched_getaffinity(0))])
    bound = affinities(process)
    assert len(bound) == threads
    assert set(map(frozenset, bound.values())) == {frozenset({min(os.sched_getaffinity(0))})}
    for r in leader.collect():
        assert r["report"]["completed"]
    bind(pids, [0])  # they have ended: no error
