# SPDX-License-Identifier: GPL-2.0-only
"""The schbench engine on a real kernel: what it starts, does, measures and sends."""

import itertools
import os
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from ktstr.telemetry.report import TaggedReport

SMALL = {"type": "Schbench", "workers": 1, "cache_footprint_kib": 16, "cgroup": "web", "slot": 7}


def engine_of(messages):
    """The report of the only worker, and its engine's data, as the host reads them."""
    (message,) = messages
    report = TaggedReport.from_wire(message).report
    (part,) = report.phase_slices
    assert part.taobench is None
    return report, part


def threads_of(pid):
    """Names of the threads of a process by tid, but its first."""
    task = Path(f"/proc/{pid}/task")
    return {
        int(tid.name): (tid / "comm").read_text().strip()
        for tid in task.iterdir()
        if int(tid.name) != pid
    }


def run_delays(pid, tids):
    """Sums of run delay and times scheduled in, of these threads."""
    fields = [Path(f"/proc/{pid}/task/{tid}/schedstat").read_text().split() for tid in tids]
    return sum(int(f[1]) for f in fields), sum(int(f[2]) for f in fields)


def test_it_measures_requests_and_wakeups_of_its_step(lead):
    leader = lead(**SMALL, step=3, worker_threads=3, operations=1)
    report, part = engine_of(leader.run(1.7))
    bench = part.schbench
    assert part.phase_epoch == 3
    assert bench.loop_count == report.iterations == report.work_units > 20
    assert leader.live(7) == report.iterations
    # What took no whole microsecond is left out.
    assert 0 < bench.wakeup.nr_samples <= bench.loop_count + 3
    assert bench.request.nr_samples == bench.loop_count
    assert bench.request.min >= 100  # its sleep
    assert bench.rps.nr_samples == 2  # a second, and the rest of 0.7
    assert bench.loop_count * 0.3 < bench.rps.max < bench.loop_count * 3
    assert report.wake_sample_total == report.timer_sample_total == 0
    assert report.taobench_whole is None
    assert report.schedstat_run_count >= bench.msg_pcount + bench.worker_pcount
    assert report.cpus_used <= os.sched_getaffinity(0)
    assert report.max_gap_ms < 1500


def test_the_kernel_says_the_same_of_its_threads(lead, until):
    leader = lead(**SMALL, step=1, message_threads=2, worker_threads=2)
    (pid,) = leader.ready()
    assert threads_of(pid) == {}  # the start is the gate's
    leader.send(b"S")
    until("all threads", lambda: sorted(threads_of(pid).values()) == [
        *["schbench-msg"] * 2, *["schbench-worker"] * 4])  # fmt: skip
    names = threads_of(pid)
    time.sleep(0.5)
    before = {
        role: run_delays(pid, [tid for tid, name in names.items() if name == f"schbench-{role}"])
        for role in ("msg", "worker")
    }
    _, part = engine_of(leader.collect())
    bench = part.schbench
    for role, (delay, count) in before.items():
        # Read a moment earlier, and counters only grow.
        assert getattr(bench, f"{role}_run_delay_ns") >= delay
        assert count <= getattr(bench, f"{role}_pcount") <= 2 * count + 200
    assert bench.msg_pcount > 0


@pytest.mark.parametrize(
    ("given", "messengers", "crew"),
    [({}, 1, 2), ({"message_threads": 2}, 2, 1), ({"message_threads": 3}, 3, 1)],
)
def test_by_default_there_is_a_worker_thread_per_cpu(lead, until, given, messengers, crew):
    cpus = sorted(os.sched_getaffinity(0))[:2]
    if len(cpus) < 2:
        pytest.skip("needs two CPUs")
    leader = lead(**SMALL, **given, affinity=f"{cpus[0]},{cpus[1]}")
    (pid,) = leader.ready()
    leader.send(b"S")
    expected = ["schbench-msg"] * messengers + ["schbench-worker"] * messengers * crew
    until("all threads", lambda: sorted(threads_of(pid).values()) == expected)
    for tid in threads_of(pid):
        assert os.sched_getaffinity(tid) == set(cpus)
    (message,) = leader.collect()
    assert message["report"]["phase_slices"] == []  # of no step


def test_a_rate_is_kept(lead):
    leader = lead(**SMALL, step=1, worker_threads=2, requests_per_sec=40, operations=1)
    report, part = engine_of(leader.run(2.5))
    # At the beginnings of the seconds 0, 1 and 2.
    assert 80 <= report.iterations <= 120
    assert part.schbench.rps.max <= 80
    assert part.schbench.request.nr_samples == report.iterations


@pytest.fixture(scope="module")
def on_a_system_of_the_test(tmp_path_factory, build_worker):
    """The worker's binary, and the file in which it finds the system's busy time."""
    stat = tmp_path_factory.mktemp("system") / "stat"
    return build_worker(f"'-DSYSTEM_STAT=\"{stat}\"'"), stat


@contextmanager
def busy_system(stat, busy_pct):
    """A system that is busy for this share of the time, whoever else uses this machine."""
    done = threading.Event()
    busy, idle = itertools.count(0, busy_pct), itertools.count(0, 100 - busy_pct)

    def tick():
        while not done.wait(0.05):
            # user and system time are busy time, the fourth column is idle time.
            fresh = stat.with_suffix(".new")
            fresh.write_text(
                f"cpu  1{next(busy):08} 0 700 {next(idle)} 0 0 0 0 0 0\ncpu0 9 9 9 9\n"
            )
            fresh.replace(stat)

    ticking = threading.Thread(target=tick)
    ticking.start()
    try:
        yield
    finally:
        done.set()
        ticking.join()
        stat.unlink()


def test_the_rate_follows_the_busy_time_of_the_system(lead, on_a_system_of_the_test):
    binary, stat = on_a_system_of_the_test

    def measured(system_pct, wanted_pct):
        keys = SMALL | {"step": 1, "worker_threads": 1, "auto_rps": wanted_pct}
        with busy_system(stat, system_pct):
            leader = lead(command=[str(binary)], **keys)
            report, part = engine_of(leader.run(4.3))
        return report.iterations, part.schbench.rps.nr_samples

    # The first second shows no share yet. From the second look on, ten a second become
    # 5, 2 and 1 where half of the share is wanted, and 30, 90 and 270 where five times it is.
    above, samples_above = measured(100, 50)
    below, samples_below = measured(10, 50)
    assert above + 30 < below
    # The rate counts from when the share is as wanted, and then stays at ten.
    just, samples = measured(50, 50)
    assert samples_above == samples_below == 0 < samples
    assert just < below


@pytest.mark.parametrize(
    "given",
    [
        {"sleep_us": 100_000},
        {"operations": 1_000_000, "cache_footprint_kib": 4096},
        {"requests_per_sec": 1},
        {"skip_locking": 1, "sleep_us": 0, "operations": 0},
        {"split_percent": 0},
        {"split_percent": 50, "message_threads": 4, "worker_threads": 4},
    ],
)
def test_it_stops_in_time_whatever_it_does(lead, given):
    leader = lead(**(SMALL | {"step": 1, "worker_threads": 2} | given))
    report, _ = engine_of(leader.run(0.3, least=0))
    assert report.completed
    assert report.wall_time_ns < 2_500_000_000


def test_a_request_takes_longer_with_more_operations(lead):
    def median(operations):
        leader = lead(**SMALL, step=1, worker_threads=1, operations=operations, sleep_us=0)
        _, part = engine_of(leader.run(0.4))
        return part.schbench.request.min

    few, many = median(2), median(40)
    assert many > 4 * few


def test_too_many_threads_are_refused(lead):
    leader = lead(**SMALL, message_threads=256, worker_threads=1024)
    assert "at most 4096 threads, found 262400" in leader.error()


def test_a_backdrop_worker_sends_a_slice_for_each_step(lead, until):
    leader = lead(**SMALL, worker_threads=2, phases=3, epoch_slot=100)
    leader.ready()
    leader.send(b"S")
    for epoch in (1, 2**32 - 1, 3):
        set_epoch(leader, 100, epoch)
        time.sleep(0.4)
        seen = leader.live(7)
        until("work in this epoch", lambda seen=seen: leader.live(7) > seen + 20)
    (message,) = leader.collect()
    report = TaggedReport.from_wire(message).report
    assert [part.phase_epoch for part in report.phase_slices] == [1, 3]
    first, last = report.phase_slices
    for part in (first, last):
        assert part.schbench.loop_count == part.iterations > 5
        assert part.schbench.request.nr_samples == part.iterations
        assert part.schbench.worker_pcount > 0
        assert part.run_delay_ns >= part.schbench.worker_run_delay_ns
        assert part.schedstat_cpu_time_ns > 0
        assert part.cpus_used
    assert first.iterations + last.iterations < report.iterations  # the gap between them


def set_epoch(leader, slot, value):
    """Write the phase epoch as the agent does."""
    leader._page[8 * slot : 8 * slot + 8] = value.to_bytes(8, "little")
