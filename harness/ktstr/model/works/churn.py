# SPDX-License-Identifier: GPL-2.0-only
"""Work types that keep changing something: tasks, ranks, masks, pages, cgroups."""

from typing import Final

from ktstr.model.work_type import MAX_ITERS, WAKE, Param, WorkType

MAX_MS: Final = 60_000
"""Longest period: a minute."""

_SPIN: Final = (Param("spin_iters", 1024, 1, MAX_ITERS, "spin steps before each change"),)

CHURN: Final[tuple[WorkType, ...]] = (
    WorkType(
        "ForkExit",
        "forks a child that exits at once, and reaps it",
        fills=WAKE,
        process_wide=True,
        makes_tasks=True,
    ),
    WorkType(
        "NiceSweep",
        "a spin of 512 steps, the next nice value from -20 to 19, then sched_yield",
        fills=WAKE,
    ),
    WorkType(
        "AffinityChurn",
        "spins, binds itself to a random CPU it may use, then sched_yield",
        _SPIN,
        fills=WAKE,
    ),
    WorkType(
        "CrossAffinityChurn",
        "spins, rebinds all other tasks of its cgroup to all CPUs or all but the last, "
        "then sched_yield",
        _SPIN,
    ),
    WorkType(
        "PolicyChurn",
        "spins, takes the next policy of normal, batch, idle, fifo and rr, then sched_yield",
        _SPIN,
        fills=WAKE,
    ),
    WorkType(
        "PageFaultChurn",
        "writes to random pages of a region, spins, then drops all pages",
        (
            Param("region_kib", 4096, 4, 1 << 20, "size of the region"),
            Param("touches_per_cycle", 256, 1, 1_000_000, "writes before the pages are dropped"),
            Param("spin_iters", 64, 0, MAX_ITERS, "spin steps before the pages are dropped"),
        ),
    ),
    WorkType(
        "CgroupChurn",
        "spins and moves from one cgroup to the next, which stand beside its own and have its "
        "limits",
        (
            Param("groups", 2, 1, 64, "cgroups to go round"),
            Param("cycle_ms", 100, 1, MAX_MS, "time in each, in ms"),
        ),
        process_wide=True,
    ),
    WorkType(
        "CgroupAttachStorm",
        "forks children that exit at once and moves each to another cgroup meanwhile",
        (Param.choice("reap", "who reaps them: the worker, or the kernel", "wait", "ignore"),),
        process_wide=True,
        makes_tasks=True,
    ),
)
"""In the order of the documentation."""
