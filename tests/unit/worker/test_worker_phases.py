# SPDX-License-Identifier: GPL-2.0-only
"""Phase slices: each step of a long-lived worker measured on its own, the rest left out."""

import time

import pytest
from tests.unit.worker.conftest import wait_until

from ktstr.telemetry import WorkerReport

EPOCH = 500
GAP = (1 << 32) - 1


def phased(lead, kind="SpinWait", workers=1, phases=3, **more):
    return lead(type=kind, workers=workers, slot=0, epoch_slot=EPOCH, phases=phases, seed=5, **more)


def through(leader, *windows):
    """Run through (epoch, seconds) windows; the reports as the host reads them."""
    leader.ready()
    leader.send(b"S")
    for epoch, seconds in windows:
        leader.write_slot(EPOCH, epoch)
        time.sleep(seconds)
        seen = {slot: leader.live(slot) for slot in range(len(leader.pids))}
        # A worker looks at the epoch once an iteration: the second from now was all in it.
        wait_until(
            f"every worker is in epoch {epoch}",
            lambda seen=seen: all(leader.live(slot) >= was + 2 for slot, was in seen.items()),
        )
    return [WorkerReport.from_wire(r["report"]) for r in leader.collect()]


def test_steps_have_slices_and_what_lies_between_has_none(lead):
    windows = [(0, 0.1), (1, 0.2), (GAP, 0.1), (2, 0.4), (GAP, 0.1)]
    (report,) = through(phased(lead), *windows)
    first, second = report.phase_slices
    assert (first.phase_epoch, second.phase_epoch) == (1, 2)
    # A loaded machine moves the ends of the windows, but never lets them overlap.
    assert min(first.wall_ns, second.wall_ns) > 0
    assert first.wall_ns + second.wall_ns < report.wall_time_ns
    assert first.iterations > 0
    assert second.iterations > 0
    assert first.iterations + second.iterations < report.iterations
    assert first.schedstat_cpu_time_ns + second.schedstat_cpu_time_ns < report.cpu_time_ns
    assert first.off_cpu_ns + first.schedstat_cpu_time_ns == pytest.approx(
        first.wall_ns, rel=0.15, abs=3e6
    )
    assert first.cpus_used <= report.cpus_used
    assert first.cpus_used
    assert sum(first.numa_pages.values()) > 0
    assert max(first.max_gap_ms, second.max_gap_ms) <= report.max_gap_ms


def test_samples_are_of_their_phase(lead):
    leader = phased(lead, "TimerLatency", interval_us=2000)
    (report,) = through(leader, (0, 0.1), (1, 0.2), (GAP, 0.05), (2, 0.4), (GAP, 0.1))
    first, second = report.phase_slices
    for part in (first, second):
        assert 0 < part.timer_sample_total == len(part.timer_latencies_ns)
        assert part.timer_sample_total <= part.wall_ns // 2_000_000 + 1
        assert part.wake_sample_total == 0
        assert set(part.timer_latencies_ns.tolist()) <= set(report.timer_latencies_ns.tolist())
    assert first.timer_sample_total + second.timer_sample_total < report.timer_sample_total


def test_a_run_cut_short_ends_the_slice_that_is_open(lead):
    (report,) = through(phased(lead), (0, 0.05), (2, 0.2))
    (only,) = report.phase_slices
    assert only.phase_epoch == 2
    assert 0 < only.wall_ns < report.wall_time_ns
    assert only.iterations <= report.iterations


def test_without_a_change_there_is_no_slice(lead):
    (report,) = through(phased(lead), (0, 0.2))
    assert report.phase_slices == ()
    assert report.iterations > 0


def test_an_epoch_beyond_the_steps_is_no_phase(lead):
    (report,) = through(phased(lead, phases=2), (0, 0.05), (3, 0.1), (GAP, 0.05), (2, 0.1))
    assert [part.phase_epoch for part in report.phase_slices] == [2]


def test_without_an_epoch_there_are_no_slices(lead):
    leader = lead(type="SpinWait", workers=1, slot=0)
    (report,) = through(leader, (0, 0.05), (1, 0.1))
    assert report.phase_slices == ()


def test_a_slice_keeps_a_bounded_share_of_the_samples(lead):
    # 250 phases share the run's 100 000 samples: 400 of each kind for one of them.
    leader = phased(lead, "TimerLatency", phases=250, interval_us=100)
    (report,) = through(leader, (0, 0.05), (7, 0.5), (GAP, 0.02))
    (only,) = report.phase_slices
    assert only.timer_sample_total > 400
    assert len(only.timer_latencies_ns) == 400


def test_threads_keep_slices_apart(lead):
    leader = phased(lead, workers=2, clone="thread", affinity="0")
    reports = through(leader, (0, 0.05), (1, 0.3), (GAP, 0.05))
    parts = [report.phase_slices[0] for report in reports]
    assert sum(part.schedstat_cpu_time_ns for part in parts) < 1.4 * max(p.wall_ns for p in parts)
    assert all(part.iterations > 0 for part in parts)
