# SPDX-License-Identifier: GPL-2.0-only
"""Start gate, stop, death and hang-up: what the leader does with its workers."""

import os
import re
import shutil
import signal
import subprocess
import uuid
from pathlib import Path

import pytest

ZERO_OR_EMPTY = (0, b"", [], {}, None, False)


def test_workers_wait_at_the_gate(lead):
    leader = lead(type="SpinWait", workers=2, slot=0)
    for pid in leader.ready():
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        assert state[0] in "SR"  # R only for the instant before it sleeps
        assert int(state[1]) == leader.pid
        assert int(state[2]) == pid, "each worker leads its own process group"
        assert Path(f"/proc/{pid}/comm").read_text() == "SpinWait\n"
    assert leader.live(0) == leader.live(1) == 0
    leader.send(b"S")
    assert all(m["report"]["completed"] for m in leader.collect())


def test_stop_without_start_reports_zero_iterations(lead):
    leader = lead(type="PipeIo", workers=2)
    leader.ready()
    for message in leader.collect():
        assert message["report"]["completed"] is True
        assert message["report"]["iterations"] == 0
        assert message["report"]["work_units"] == 0


def test_a_start_sent_ahead_is_kept(lead, until):
    leader = lead(type="SpinWait", workers=64, slot=0)
    leader.send(b"S")
    leader.ready()
    until("all work", lambda: all(leader.live(i) for i in range(64)))
    assert len(leader.collect()) == 64


def test_no_start_command_in_time(lead, gone):
    leader = lead(type="SpinWait", workers=2, start_timeout_ms=50)
    pids = leader.ready()
    assert leader.error() == "SpinWait: no start command within 50 ms"
    assert leader.wait() == 1
    gone(pids)


@pytest.mark.parametrize("started", [False, True])
def test_hang_up_kills_everything(lead, gone, started):
    leader = lead(type="FutexPingPong", workers=4)
    pids = leader.ready()
    if started:
        leader.send(b"S")
    leader.hang_up()
    assert leader.message() is None
    assert leader.wait() == 1
    gone(pids)


@pytest.mark.parametrize("how", ["stop", "hang up", "death of the worker"])
def test_what_a_worker_leaves_in_its_process_group_dies_with_it(lead, how):
    leader = lead(type="SpinWait", workers=1)
    (pid,) = leader.ready()
    leader.send(b"S")
    with subprocess.Popen(["sleep", "600"], process_group=pid) as left:
        try:
            if how == "stop":
                assert leader.collect()[0]["report"]["completed"] is True
            elif how == "hang up":
                leader.hang_up()
            else:
                os.kill(pid, signal.SIGKILL)
            assert left.wait(timeout=40) == -signal.SIGKILL
        finally:
            left.kill()


def test_death_of_the_leader_takes_the_workers_along(lead, gone):
    leader = lead(type="SpinWait", workers=3)
    pids = leader.ready()
    leader.send(b"S")
    os.kill(leader.pid, signal.SIGKILL)
    assert leader.message() is None
    assert leader.wait() == -signal.SIGKILL
    gone(pids)


def test_unknown_command(lead, gone):
    leader = lead(type="SpinWait", workers=1)
    pids = leader.ready()
    leader.send(b"x")
    assert leader.error() == "SpinWait: unknown command byte 0x78; S and T are known"
    assert leader.wait() == 1
    gone(pids)


@pytest.mark.parametrize("work_type", ["SpinWait", "PipeIo", "FutexPingPong"])
def test_killed_worker_becomes_a_sentinel_and_disturbs_nobody(lead, until, work_type):
    leader = lead(type=work_type, workers=4, slot=0, group_idx=2)
    pids = leader.ready()
    leader.send(b"S")
    until("all work", lambda: all(leader.live(i) > 10 for i in range(4)))
    os.kill(pids[1], signal.SIGKILL)
    until("the death is logged", lambda: leader.log() != "")
    assert leader.log() == (
        f"{work_type}: worker 1 (pid {pids[1]}) was killed by signal 9 before the stop\n"
    )
    others = [2, 3] if work_type != "SpinWait" else [0, 2, 3]
    at_death = [leader.live(i) for i in others]
    until(
        "the others go on",
        lambda: all(leader.live(i) > n + 10 for i, n in zip(others, at_death, strict=True)),
    )
    reports = [m["report"] for m in leader.collect()]
    assert [r["completed"] for r in reports] == [True, False, True, True]
    sentinel = reports[1]
    assert sentinel.pop("tid") == pids[1]
    assert sentinel.pop("group_idx") == 2
    assert sentinel.pop("exit_info") == {"kind": "Signaled", "signal": 9}
    assert len(sentinel) == 28
    assert all(value in ZERO_OR_EMPTY for value in sentinel.values()), sentinel


def test_worker_that_does_not_stop_is_timed_out(lead, until, gone):
    leader = lead(type="SpinWait", workers=3, slot=0)
    pids = leader.ready()
    leader.send(b"S")
    until("all work", lambda: all(leader.live(i) > 10 for i in range(3)))
    os.kill(pids[2], signal.SIGSTOP)
    reports = [m["report"] for m in leader.collect()]
    assert [r["exit_info"] for r in reports] == [None, None, {"kind": "TimedOut"}]
    assert [r["completed"] for r in reports] == [True, True, False]
    assert reports[2]["tid"] == pids[2]
    gone(pids)


def test_long_sleeps_and_bursts_end_at_the_stop(lead, until):
    minute = 60_000_000
    for keys in (
        {"type": "Bursty", "burst_us": 1, "sleep_us": minute},
        {"type": "Bursty", "burst_us": minute},
        {"type": "TimerLatency", "interval_us": minute},
        {"type": "PipeIo", "burst_iters": 1_000_000_000},
        {"type": "FutexPingPong", "spin_iters": 1_000_000_000},
    ):
        for message in lead(workers=2, **keys).run(0.1, least=0):
            assert message["report"]["completed"] is True, keys
            assert message["report"]["iterations"] == 0, keys


def cgroup2_root() -> Path | None:
    for line in Path("/proc/mounts").read_text().splitlines():
        _, where, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(where)
    return None


def test_workers_are_born_in_their_cgroup(lead):
    root = cgroup2_root()
    if root is None or not os.access(root, os.W_OK) or os.geteuid() != 0:
        pytest.skip("no writable cgroup v2 here")
    group = root / f"ktstr-test-{uuid.uuid4().hex}"
    group.mkdir()
    try:
        leader = lead(
            type="PipeIo", workers=2, cgroup=group.name, cgroup_fd=4, cgroup_dir=group
        )  # fmt: skip
        pids = leader.ready()
        assert sorted(map(int, (group / "cgroup.procs").read_text().split())) == sorted(pids)
        leader.send(b"S")
        reports = leader.collect()
        assert [m["cgroup"] for m in reports] == [group.name] * 2
        assert (group / "cgroup.procs").read_text() == ""
    finally:
        group.rmdir()


def test_a_cgroup_that_refuses_is_named(lead, tmp_path):
    leader = lead(type="SpinWait", workers=2, cgroup="nowhere", cgroup_fd=4, cgroup_dir=tmp_path)
    text = leader.error()
    assert text.startswith('SpinWait: cannot create worker 0 of 2 in cgroup "nowhere": ')
    assert leader.wait() == 1


@pytest.fixture
def bare_root(worker_binary, tmp_path):
    """A folder with nothing but the worker: no /proc, no /dev, no /tmp."""
    if os.geteuid() != 0:
        pytest.skip("chroot needs root")
    root = tmp_path / "root"
    root.mkdir()
    shutil.copy(worker_binary, root)
    return root


def test_failed_preparation_is_told_before_the_start(lead, bare_root):
    leader = lead(command=["chroot", str(bare_root), "/worker"], type="IoSyncWrite", workers=2)
    worker, pid, rest = re.fullmatch(
        r"IoSyncWrite: worker (\d) \(pid (\d+)\) (.*)", leader.error()
    ).groups()  # fmt: skip
    assert worker in "01"
    assert rest == (
        "exited with code 1 before the start: "
        f"cannot create /tmp/ktstr_io_{pid} of 262144 bytes: No such file or directory"
    )
    assert leader.wait() == 1


def test_full_disk_is_told_before_the_start(lead, bare_root):
    (bare_root / "tmp").mkdir()
    mount = f"mount -t tmpfs -o size=128k none {bare_root}/tmp"
    command = ["unshare", "-m", "sh", "-c", f'{mount} && exec chroot {bare_root} /worker "$@"', "-"]
    leader = lead(command=command, type="IoSyncWrite", workers=1, slot=0)
    assert leader.error().endswith("No space left on device")
    assert leader.wait() == 1


def test_a_system_without_proc_still_reports(lead, bare_root):
    leader = lead(command=["chroot", str(bare_root), "/worker"], type="SpinWait", workers=1)
    (message,) = leader.run(0.1)
    report = message["report"]
    assert report["completed"] is True
    assert report["iterations"] > 0
    assert (report["schedstat_cpu_time_ns"], report["numa_pages"]) == (0, {})
    assert "cannot read /proc/thread-self/schedstat: No such file or directory\n" in leader.log()
