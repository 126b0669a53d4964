# SPDX-License-Identifier: GPL-2.0-only
"""Readings that no instant of the guest can have had, because it ran on while they were copied."""

from ktstr.series.monitor.samples import (
    SCHEDSTAT_NAMES,
    CpuReading,
    MonitorSample,
    sample_looks_valid,
)

CLOCK_TOLERANCE_NS = 1_000_000
"""How far a runqueue clock may seem to go back."""

MAX_TASKS = 1 << 22
"""``PID_MAX_LIMIT`` of 64-bit kernels: more tasks, or higher process ids, there cannot be."""

_TIMES = ("user_ns", "nice_ns", "system_ns", "softirq_ns", "irq_ns", "steal_ns", "hardirqs")
# idle and iowait may go back by the kernel's own rules (get_cpu_iowait_time_us()).
_HALF = 1 << 31


def torn(sample: MonitorSample, previous: MonitorSample | None = None) -> str | None:
    """What cannot be true of ``sample``, in words; ``None`` when nothing contradicts itself.

    :param previous: the reading before it, of the same plan; counters are held against its.
    """
    if not sample_looks_valid(sample):
        return "a local queue deeper than any can be"
    before = {} if previous is None else {reading.cpu: reading for reading in previous.cpus}
    for reading in sample.cpus:
        found = _impossible(reading) or _gone_back(before.get(reading.cpu), reading)
        if found is not None:
            return f"cpu{reading.cpu}: {found}"
    return None


def _impossible(reading: CpuReading) -> str | None:
    for name in ("nr_running", "scx_nr_running"):
        value = getattr(reading, name)
        if value is not None and value > MAX_TASKS:
            return f"{name} is {value}"
    if reading.curr_pid is not None and not 0 <= reading.curr_pid <= MAX_TASKS:
        return f"the current task's pid is {reading.curr_pid}"
    return None


def _gone_back(before: CpuReading | None, after: CpuReading) -> str | None:
    if before is None:
        return None
    if before.rq_clock is not None and after.rq_clock is not None:
        back = before.rq_clock - after.rq_clock
        if back > CLOCK_TOLERANCE_NS:
            return f"the runqueue clock went back by {back} ns"
    if before.schedstat is not None and after.schedstat is not None:
        for name in SCHEDSTAT_NAMES:
            if _less(getattr(before.schedstat, name), getattr(after.schedstat, name)):
                return f"{name} went back"
    if before.time is not None and after.time is not None:
        for name in _TIMES:
            if _less(getattr(before.time, name), getattr(after.time, name)):
                return f"{name} went back"
    return None


def _less(before: int | None, after: int | None) -> bool:
    if before is None or after is None or after >= before:
        return False
    # Some counters have 32 bits and start again at 0.
    return not (before < 1 << 32 and before - after > _HALF)
