# SPDX-License-Identifier: GPL-2.0-only
"""What the churning types do, as other processes see it."""

import os
import shutil
from pathlib import Path

import pytest

CPUS = sorted(os.sched_getaffinity(0))
NORMAL, FIFO, RR, BATCH, IDLE = 0, 1, 2, 3, 5

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
needs_two_cpus = pytest.mark.skipif(len(CPUS) < 2, reason="needs two CPUs")


def stat(pid: int) -> list[int]:
    """Fields of /proc/PID/stat from the third on (proc(5)): index n is field n + 3."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return [int(word) if word.lstrip("-").isdigit() else 0 for word in words]


def running(leader):
    pids = leader.ready()
    leader.send(b"S")
    return pids


def watch(until, what, read, wanted):
    """Collect what ``read`` returns until ``wanted`` of it says so."""
    seen = set()

    def enough():
        # Many looks in a row: some of what is looked for lasts microseconds only.
        for _ in range(1000):
            seen.add(read())
            if wanted(seen):
                return True
        return False

    until(what, enough)
    return seen


@pytest.fixture
def unprivileged(worker_binary):
    """The worker without the right to raise priorities."""
    if shutil.which("setpriv") is None or os.geteuid() != 0:
        pytest.skip("needs setpriv and root, to give privileges up")
    return ["setpriv", "--bounding-set=-sys_nice", "--inh-caps=-sys_nice", str(worker_binary)]


def test_fork_exit_has_children(lead, until):
    (pid,) = running(leader := lead(type="ForkExit", workers=1, slot=0))
    until("fifty children", lambda: leader.live(0) > 50)
    child_faults = stat(pid)[11 - 3]  # of children that were waited for
    assert child_faults >= 50
    leader.collect()


@needs_root
def test_nice_sweep_takes_every_value(lead, until):
    (pid,) = running(leader := lead(type="NiceSweep", workers=1))
    wanted = set(range(-20, 20))
    watch(until, "all nice values", lambda: os.getpriority(os.PRIO_PROCESS, pid), wanted.__eq__)
    leader.collect()


def test_nice_sweep_passes_over_what_it_may_not(lead, until, unprivileged):
    (pid,) = running(leader := lead(command=unprivileged, type="NiceSweep", workers=1, slot=0))
    until("some values", lambda: leader.live(0) > 100)
    # Without the privilege it may only ever fall, and stays at the lowest.
    assert os.getpriority(os.PRIO_PROCESS, pid) == 19
    leader.collect()


@needs_two_cpus
def test_affinity_churn_binds_itself_to_single_cpus(lead, until):
    (pid,) = running(leader := lead(type="AffinityChurn", workers=1, spin_iters=64, slot=0))
    seen = watch(
        until,
        "two CPUs",
        lambda: frozenset(os.sched_getaffinity(pid)),
        lambda seen: {frozenset({cpu}) for cpu in CPUS[:2]} <= seen,
    )
    # It asks for all CPUs now and then, to see what it may use.
    assert all(len(mask) == 1 or mask == frozenset(CPUS) for mask in seen)
    # A hundred checkpoints more, at every one of which it may be found on another CPU.
    before = leader.live(0)
    until("it goes on", lambda: leader.live(0) >= before + 1600)
    (message,) = leader.collect()
    assert message["report"]["migration_count"] > 0
    assert set(message["report"]["cpus_used"]) >= set(CPUS[:2])


@needs_two_cpus
def test_affinity_churn_keeps_to_the_affinity_of_the_spec(lead):
    (message,) = lead(type="AffinityChurn", workers=1, affinity=CPUS[1], spin_iters=64).run(0.2)
    report = message["report"]
    assert report["cpus_used"] == [CPUS[1]]
    assert report["migration_count"] == 0


@needs_root
def test_policy_churn_goes_round_all_policies(lead, until):
    (pid,) = running(leader := lead(type="PolicyChurn", workers=1, spin_iters=64))
    everything = {NORMAL, BATCH, IDLE, FIFO, RR}
    watch(until, "all policies", lambda: os.sched_getscheduler(pid), everything.__eq__)
    leader.collect()


def test_policy_churn_without_privileges_stays_below_real_time(lead, until, unprivileged):
    (pid,) = running(leader := lead(command=unprivileged, type="PolicyChurn", workers=1, slot=0))
    # Leaving idle is a rise in the kernel's eyes: there it stays.
    until("the last that is allowed", lambda: os.sched_getscheduler(pid) == IDLE)
    seen = leader.live(0)
    until("it goes on", lambda: leader.live(0) > seen + 20)
    assert os.sched_getscheduler(pid) == IDLE
    leader.collect()


def test_page_faults_of_every_cycle(lead, until):
    keys = {"region_kib": 64, "touches_per_cycle": 8, "spin_iters": 0}
    (pid,) = running(leader := lead(type="PageFaultChurn", workers=1, slot=0, **keys))
    before, since = stat(pid)[10 - 3], leader.live(0)
    until("a thousand cycles", lambda: leader.live(0) > since + 1000)
    cycles = leader.live(0) - since
    faults = stat(pid)[10 - 3] - before
    # Eight draws out of sixteen pages hit 16 * (1 - (15/16)**8) = 6.45 different ones.
    assert 5.5 * cycles <= faults
    until("the counter moves on", lambda: leader.live(0) > since + cycles)
    leader.collect()


@needs_two_cpus
@pytest.mark.parametrize("clone", ["fork", "thread"])
def test_cross_affinity_churn_rebinds_the_others(lead, until, cgroup, clone):
    where = {"cgroup_dir": cgroup, "cgroup_fd": 4}
    victim = lead(type="SpinWait", workers=1, clone=clone, **where)
    (pid,) = running(victim)
    online = frozenset(os.sched_getaffinity(pid)) | frozenset(CPUS)
    masks = {online, online - {max(online)}}
    # The masks alternate: only after several runs is it no luck that the last one was restored.
    for _ in range(5):
        churn = lead(type="CrossAffinityChurn", workers=1, spin_iters=64, **where)
        (own,) = running(churn)
        before = os.sched_getaffinity(own)
        seen = watch(
            until, "two masks", lambda: frozenset(os.sched_getaffinity(pid)), lambda s: s >= masks
        )
        assert seen == masks
        assert os.sched_getaffinity(own) == before
        churn.collect()
        assert os.sched_getaffinity(pid) == set(online)
    victim.collect()


@needs_two_cpus
def test_cross_affinity_churn_sees_more_tasks_than_a_worker_group_has(lead, until, cgroup):
    where = {"cgroup_dir": cgroup, "cgroup_fd": 4}
    victims = [lead(type="SpinWait", workers=700, clone="thread", **where) for _ in range(2)]
    pids = [pid for victim in victims for pid in victim.ready()]  # asleep at the gate
    everything = frozenset(os.sched_getaffinity(0)) | frozenset(CPUS)
    churn = lead(type="CrossAffinityChurn", workers=1, spin_iters=64, **where)
    churn.ready()
    churn.send(b"S")
    untouched = set(pids)

    def all_rebound() -> bool:
        untouched.difference_update(
            [
                pid
                for pid in untouched
                if os.sched_getaffinity(pid) == everything - {max(everything)}
            ]
        )
        return not untouched

    until("every one of 1400 tasks is rebound", all_rebound)
    churn.collect()
    assert {frozenset(os.sched_getaffinity(pid)) for pid in pids} == {everything}
    for victim in victims:
        victim.hang_up()
        victim.wait()


def place(pid: int) -> str:
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    return next(line[3:] for line in lines if line.startswith("0::"))


def test_cgroup_churn_goes_round_and_cleans_up(lead, until, cgroup):
    leader = lead(
        type="CgroupChurn", workers=2, groups=3, cycle_ms=2, cgroup_dir=cgroup, cgroup_fd=4
    )
    pids = leader.ready()
    assert {place(pid) for pid in pids} == {f"/{cgroup.name}"}
    leader.send(b"S")
    wanted = {f"/{cgroup.name}.churn-{i}" for i in range(3)}
    for pid in pids:
        seen = watch(until, "three cgroups", lambda pid=pid: place(pid), lambda s: s >= wanted)
        assert seen <= wanted | {f"/{cgroup.name}"}
    leader.collect()
    assert list(cgroup.parent.glob(f"{cgroup.name}.*")) == []
    assert leader.log() == ""


@pytest.mark.parametrize("reap", [0, 1])
def test_children_of_the_attach_storm_run_in_the_other_cgroup(lead, until, cgroup, reap):
    leader = lead(
        type="CgroupAttachStorm", workers=2, reap=reap, slot=0, cgroup_dir=cgroup, cgroup_fd=4
    )
    pids = running(leader)
    other = cgroup.with_name(f"{cgroup.name}.churn-0")
    usage = other / "cpu.stat"
    until(
        "CPU time in the other cgroup",
        lambda: not usage.read_text().startswith("usage_usec 0\n"),
    )
    assert {place(pid) for pid in pids} == {f"/{cgroup.name}"}
    leader.collect()
    assert not other.exists()


@pytest.mark.parametrize("name", ["CgroupChurn", "CgroupAttachStorm", "CrossAffinityChurn"])
def test_the_root_cgroup_is_nobodys_own(lead, name):
    if place(os.getpid()) != "/":
        pytest.skip("the tests do not run in the root cgroup")
    error = lead(type=name, workers=1).error()
    assert error.startswith(f"{name}: worker 0 (pid ")
    assert error.endswith("needs a cgroup of its own, but runs in the root cgroup")
