# SPDX-License-Identifier: GPL-2.0-only
"""Work types whose members are of different scheduling classes."""

from typing import Final

from ktstr.model.work_type import MAX_ITERS, MAX_US, WAKE, Param, WorkType

HIGHEST_RT_PRIORITY: Final = 97
"""Below the agent, which must stay in control of the guest."""

_CLASSES: Final = ("normal", "batch", "idle", "fifo", "rr", "ext")

RT: Final[tuple[WorkType, ...]] = (
    WorkType(
        "RtStarvation",
        "fifo members that spin and never give the CPU away, beside normal ones that want it",
        (
            Param("rt_workers", 1, 1, 512, "fifo members"),
            Param("cfs_workers", 1, 1, 512, "normal members"),
            Param("rt_priority", 50, 1, HIGHEST_RT_PRIORITY, "priority of the fifo members"),
            Param("burst_iters", 1024, 1, MAX_ITERS, "spin steps of an iteration"),
        ),
        group=0,
        group_params=("rt_workers", "cfs_workers"),
    ),
    WorkType(
        "PreemptStorm",
        "one fifo member that spins and sleeps, so that it preempts normal ones that spin",
        (
            Param("cfs_workers", 2, 1, 1023, "normal members"),
            Param("rt_burst_iters", 1024, 1, MAX_ITERS, "spin steps between two sleeps"),
            Param("rt_sleep_us", 1000, 1, MAX_US, "time asleep, in µs"),
        ),
        group=1,
        group_params=("cfs_workers",),
        fills=WAKE,
    ),
    WorkType(
        "AsymmetricWaker",
        "a waker that spins and wakes a wakee of another class through a futex",
        (
            Param.choice("waker_class", "policy of the waker", *_CLASSES),
            Param.choice("wakee_class", "policy of the wakee", *_CLASSES),
            Param("burst_iters", 1024, 1, MAX_ITERS, "spin steps before each wake-up"),
        ),
        group=2,
        fills=WAKE,
    ),
)
"""In the order of the documentation."""
