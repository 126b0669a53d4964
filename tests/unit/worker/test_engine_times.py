# SPDX-License-Identifier: GPL-2.0-only
"""CPU time and time off CPU of workers that are engines: those of all their threads."""

import os
import signal
from pathlib import Path

import pytest

from ktstr.telemetry import WorkerReport

EPOCH = 500
GAP = (1 << 32) - 1
ENGINES = {
    "Schbench": {"worker_threads": 3, "operations": 20, "cache_footprint_kib": 16, "sleep_us": 0},
    "Taobench": {"client_threads": 3, "cache_capacity_mib": 1, "slow_path_sleep_us": 0},
}
THREADS = {"Schbench": 4, "Taobench": 4}  # with a message thread, or a slow thread

engines = pytest.mark.parametrize("kind", ENGINES)


def task_states(pid):
    stats = [(tid / "stat").read_text() for tid in Path(f"/proc/{pid}/task").iterdir()]
    return {stat.rpartition(")")[2].split()[0] for stat in stats}


def cpu_ns(pid):
    """What the kernel accounts to the threads of a process: its first one's, the others' sum."""
    task = Path(f"/proc/{pid}/task")
    times = {
        int(tid.name): int((tid / "schedstat").read_text().split()[0]) for tid in task.iterdir()
    }
    return times.pop(pid), sum(times.values())


def interrupted(pid):
    """Whether the signal is pending that the leader sends once the stop flag is set."""
    status = Path(f"/proc/{pid}/task/{pid}/status").read_text()
    (pending,) = [line.split()[1] for line in status.splitlines() if line.startswith("SigPnd:")]
    return int(pending, 16) >> (signal.SIGUSR1 - 1) & 1


def others_ran(pid, since, ns):
    return lambda: cpu_ns(pid)[1] - since >= ns


@pytest.fixture
def frozen(until):
    """``frozen(pid)`` stops a process: what is read of it then is exact and stays so."""

    def stop(pid):
        os.kill(pid, signal.SIGSTOP)
        until("every thread stands", lambda: task_states(pid) == {"T"})
        return cpu_ns(pid)

    return stop


@engines
def test_times_of_the_run_are_those_the_kernel_has_of_all_threads(lead, until, frozen, kind):
    leader = lead(type=kind, workers=1, **ENGINES[kind])
    (pid,) = leader.ready()
    at_gate, none = cpu_ns(pid)
    assert none == 0
    leader.send(b"S")
    until("the threads work", others_ran(pid, 0, 600_000_000))
    first, others = frozen(pid)
    leader.send(b"T")
    until("the leader has set the stop flag", lambda: interrupted(pid))
    os.kill(pid, signal.SIGCONT)
    (message,) = leader.reports()
    report = WorkerReport.from_wire(message["report"])
    own = first - at_gate
    # What came after the freeze is the end of what each thread was at.
    assert report.cpu_time_ns == pytest.approx(own + others, rel=0.1)
    assert report.cpu_time_ns >= own + others - 5_000_000  # its way from the gate to the start
    assert report.schedstat_cpu_time_ns == pytest.approx(report.cpu_time_ns, rel=0.1)
    busy_share = others / THREADS[kind] / report.wall_time_ns
    assert 0 < report.off_cpu_ns < report.wall_time_ns
    assert 1 - report.off_cpu_ns / report.wall_time_ns == pytest.approx(busy_share, rel=0.15)


@engines
def test_times_of_a_step_are_those_the_kernel_has_of_all_threads(lead, until, frozen, kind):
    leader = lead(type=kind, workers=1, slot=0, epoch_slot=EPOCH, phases=2, **ENGINES[kind])
    (pid,) = leader.ready()
    leader.send(b"S")
    until("the threads work", others_ran(pid, 0, 300_000_000))
    _, before = frozen(pid)
    leader.write_slot(EPOCH, 1)
    os.kill(pid, signal.SIGCONT)
    until("the threads work", others_ran(pid, before, 1_200_000_000))
    _, after = frozen(pid)
    leader.write_slot(EPOCH, GAP)
    os.kill(pid, signal.SIGCONT)
    until("the threads work", others_ran(pid, after, 300_000_000))
    (message,) = leader.collect()
    (part,) = WorkerReport.from_wire(message["report"]).phase_slices
    # The engine sees a step begin and end up to 20 ms late, more where it must wait for a CPU.
    on_cpu = (part.wall_ns - part.off_cpu_ns) * THREADS[kind]
    assert on_cpu == pytest.approx(after - before, rel=0.25)
    assert on_cpu == pytest.approx(part.schedstat_cpu_time_ns, rel=0.1)


@engines
def test_an_engine_that_waits_is_off_the_cpu(lead, until, kind):
    idle = {"requests_per_sec": 1} if kind == "Schbench" else {"arrival_rate": 1}
    leader = lead(type=kind, workers=1, slot=0, **(ENGINES[kind] | idle))
    leader.ready()
    leader.send(b"S")
    until("two requests", lambda: leader.live(0) >= 2)
    (message,) = leader.collect()
    report = message["report"]
    assert 0.8 * report["wall_time_ns"] < report["off_cpu_ns"] < report["wall_time_ns"]


def test_one_thread_has_its_own_times(lead):
    (message,) = lead(type="SpinWait", workers=1).run(0.3)
    report = message["report"]
    assert report["off_cpu_ns"] == max(report["wall_time_ns"] - report["cpu_time_ns"], 0)
