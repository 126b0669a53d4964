# SPDX-License-Identifier: GPL-2.0-only
"""What every CPU did over the run: the monitor's readings, or the snapshots' where none ran."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from ktstr.report.page.columns import Columns
from ktstr.report.page.limits import Limits
from ktstr.report.page.schema import CpuSeries, Series
from ktstr.series.host import PerCpuTime
from ktstr.series.monitor.samples import (
    CpuReading,
    MonitorSample,
    monitor_samples,
    sample_looks_valid,
)
from ktstr.series.snapshot import Snapshot
from ktstr.session.record import RunRecord

_BUSY = ("user_ns", "nice_ns", "system_ns", "softirq_ns", "irq_ns", "steal_ns")


def cpu_series(record: RunRecord, limits: Limits) -> CpuSeries | None:
    """The readings of held steps; ``None`` where there are none."""
    source: Literal["monitor", "snapshots"] = "monitor"
    left_out = 0
    readings: list[MonitorSample] = []
    if record.monitor is not None:
        readings = [sample for sample in record.monitor.samples if sample.held]
        left_out = len(record.monitor.samples) - len(readings)
    if not readings:
        source, left_out = "snapshots", 0
        readings = _of_captures(record)
    readings = [sample for sample in readings if sample.cpus and sample_looks_valid(sample)]
    if not readings:
        return None
    readings.sort(key=lambda sample: (sample.elapsed_ms, sample.clock_ms))
    every = sorted({cpu.cpu for sample in readings for cpu in sample.cpus})
    cpus = every[: limits.cpus]
    columns = Columns(
        len(readings), max(16, min(limits.columns, limits.cells // max(len(cpus), 1)))
    )
    rows = [_row(readings, cpu) for cpu in cpus]
    return {
        "source": source,
        "at_ms": columns.times([sample.elapsed_ms for sample in readings]),
        "readings": len(readings),
        "left_out": left_out,
        "cpus": cpus,
        "cpus_left_out": len(every) - len(cpus),
        "nr_running": [columns.of(_each(row, "nr_running")) for row in rows],
        "busy_pct": [columns.of(_busy(row)) for row in rows],
        "local_dsq": [columns.of(_each(row, "local_dsq_depth")) for row in rows],
        "imbalance": columns.of(
            [round(s.imbalance_ratio(), 2) if s.run_lengths() else None for s in readings]
        ),
        "events": {name: columns.of(grown) for name, grown in _events(readings).items()},
    }


def _of_captures(record: RunRecord) -> list[MonitorSample]:
    """The snapshots as readings, with the CPU times that they hold."""
    times: dict[int, dict[int, PerCpuTime]] = {}
    for sample in record.samples.iter_samples():
        if isinstance(sample.snapshot, Snapshot) and sample.anchor_ms is not None:
            host = sample.snapshot.host
            times[sample.anchor_ms] = {time.cpu: time for time in host.per_cpu_time}
    return [
        MonitorSample(
            elapsed_ms=reading.elapsed_ms,
            taken_ms=reading.taken_ms,
            events=reading.events,
            cpus=tuple(
                CpuReading(
                    cpu=cpu.cpu,
                    nr_running=cpu.nr_running,
                    local_dsq_depth=cpu.local_dsq_depth,
                    time=times.get(reading.elapsed_ms, {}).get(cpu.cpu),
                )
                for cpu in reading.cpus
            ),
        )
        for reading in monitor_samples(record.samples)
    ]


def _row(readings: Sequence[MonitorSample], number: int) -> list[CpuReading | None]:
    found: list[CpuReading | None] = []
    for sample in readings:
        place = number if number < len(sample.cpus) else -1
        guess = sample.cpus[place]
        if guess.cpu != number:
            found.append(next((cpu for cpu in sample.cpus if cpu.cpu == number), None))
        else:
            found.append(guess)
    return found


def _each(row: Sequence[CpuReading | None], name: str) -> Series:
    return [None if reading is None else getattr(reading, name) for reading in row]


def _busy(row: Sequence[CpuReading | None]) -> Series:
    """Percent of the time accounted since the reading before that was not idle."""
    found: Series = [None]
    for before, after in pairwise(row):
        old = None if before is None else before.time
        new = None if after is None else after.time
        found.append(_busy_pct(old, new) if old is not None and new is not None else None)
    return found


def _busy_pct(before: PerCpuTime, after: PerCpuTime) -> int | None:
    busy: int = sum(getattr(after, name) - getattr(before, name) for name in _BUSY)
    idle = _idle_ns(after) - _idle_ns(before)
    if busy < 0 or idle < 0 or busy + idle == 0:
        return None
    return round(100 * busy / (busy + idle))


def _idle_ns(time: PerCpuTime) -> int:
    # The kernel's own idle_ns leaves out the sleep that a CPU is in.
    idle = time.idle_ns if time.idle_sleeptime_ns is None else time.idle_sleeptime_ns
    return idle + time.iowait_ns


def _events(readings: Sequence[MonitorSample]) -> dict[str, Series]:
    """Growth of each counter since its first reading, those that grew first."""
    totals = [sample.event_totals() or {} for sample in readings]
    names = dict.fromkeys(name for counted in totals for name in counted)
    found: dict[str, Series] = {}
    for name in names:
        values = [counted.get(name) for counted in totals]
        first = next((value for value in values if value is not None), 0)
        found[name] = [None if value is None else value - first for value in values]
    return dict(sorted(found.items(), key=lambda item: not any(item[1])))
