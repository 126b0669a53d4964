# SPDX-License-Identifier: GPL-2.0-only
"""Work types that spin, sleep, hand over in pairs, write and wait for timers."""

from typing import Final

from ktstr.model.work_type import COST, MAX_ITERS, MAX_US, TIMER, WAKE, Param, WorkType

BASIC: Final[tuple[WorkType, ...]] = (
    WorkType("SpinWait", "spins with the CPU's pause hint, 1024 steps an iteration"),
    WorkType("YieldHeavy", "one unit of work, then sched_yield"),
    WorkType("Mixed", "a spin of 1024 steps, then sched_yield"),
    WorkType(
        "Bursty",
        "spins for a while, then sleeps for a while",
        (
            Param("burst_us", 50_000, 1, MAX_US, "time spinning, in µs"),
            Param("sleep_us", 100_000, 1, MAX_US, "time asleep, in µs"),
        ),
        fills=WAKE,
    ),
    WorkType(
        "PipeIo",
        "pairs that spin, then hand one byte over through a pipe",
        (Param("burst_iters", 1024, 1, MAX_ITERS, "spin steps before each hand-over"),),
        group=2,
        fills=WAKE,
    ),
    WorkType(
        "FutexPingPong",
        "pairs that spin, then hand over through a futex",
        (Param("spin_iters", 1024, 1, MAX_ITERS, "spin steps before each hand-over"),),
        group=2,
        fills=WAKE,
    ),
    WorkType(
        "IoSyncWrite",
        "sixteen 4 KiB writes and an fdatasync, again and again",
        fills=WAKE,
    ),
    WorkType(
        "AluHot",
        "chains of multiplications that keep the ALUs busy",
        (Param("width", 4, 1, 8, "independent chains"),),
        fills=COST,
    ),
    WorkType(
        "TimerLatency",
        "sleeps to absolute deadlines and notes how late it wakes",
        (Param("interval_us", 1000, 10, MAX_US, "time between deadlines, in µs"),),
        fills=TIMER,
    ),
)
"""In the order of the documentation."""
