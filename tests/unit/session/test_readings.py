# SPDX-License-Identifier: GPL-2.0-only
"""What the monitor tells of its readings: now and then, and only who wants it."""

import json
from pathlib import Path

from ktstr.series.host import PerCpuTime
from ktstr.series.monitor.samples import CpuReading, MonitorSample
from ktstr.session.events import Note, Reading, RunEvent, ignore, wants_readings
from ktstr.session.journal import open_journal
from ktstr.session.monitor import Readings


class Watching:
    wants_readings = True

    def __init__(self) -> None:
        self.seen: list[RunEvent] = []

    def __call__(self, event: RunEvent) -> None:
        self.seen.append(event)


def sample(at_ms: int, user_ms: int, idle_ms: int | None) -> MonitorSample:
    time = (
        None
        if idle_ms is None
        else PerCpuTime(0, user_ns=user_ms * 1_000_000, idle_sleeptime_ns=idle_ms * 1_000_000)
    )
    cpu = CpuReading(0, nr_running=3, local_dsq_depth=2, time=time)
    return MonitorSample(at_ms, (cpu, CpuReading(1)), taken_ms=at_ms)


def test_readings_are_told_five_times_a_second_at_most() -> None:
    watching = Watching()
    told = Readings(watching)
    for at_ms in range(0, 1000, 100):
        told(sample(at_ms, at_ms, 0))
    elapsed = [event.elapsed_ms for event in watching.seen if isinstance(event, Reading)]
    assert elapsed == [0, 200, 400, 600, 800]


def test_the_busy_share_is_of_the_time_accounted_since_the_reading_before() -> None:
    watching = Watching()
    told = Readings(watching)
    told(sample(0, 0, 0))
    told(sample(200, 50, 150))
    told(sample(400, 250, 150))
    told(sample(600, 250, None))
    told(sample(800, 250, 500))
    told(sample(1000, 200, 600))
    cpus = [event.cpus for event in watching.seen if isinstance(event, Reading)]
    assert [cpu[0][1] for cpu in cpus] == [None, 0.25, 1.0, None, None, None]
    assert cpus[0] == ((3, None, 2), (None, None, None))


def test_the_journal_passes_readings_on_and_does_not_keep_them(tmp_path: Path) -> None:
    watching = Watching()
    assert not wants_readings(ignore)
    with open_journal(tmp_path / "log", "run") as journal:
        emit = journal.observing(watching)
        assert wants_readings(emit)
        assert not wants_readings(journal.observing(ignore))
        emit(Reading(1, ()))
        emit(Note("kept"))
    assert watching.seen == [Reading(1, ()), Note("kept")]
    (line,) = (tmp_path / "log").read_text().splitlines()
    assert json.loads(line)["event"] == "Note"
