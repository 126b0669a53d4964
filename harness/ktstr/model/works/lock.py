# SPDX-License-Identifier: GPL-2.0-only
"""Work types that contend for a lock or for the places of a queue."""

from typing import Final

from ktstr.model.work_type import MAX_ITERS, WAKE, Param, WorkType

LOCK: Final[tuple[WorkType, ...]] = (
    WorkType(
        "MutexContention",
        "workers that all take one lock, hold it and work outside it",
        (
            Param("contenders", 4, 2, 256, "workers of one lock"),
            Param("hold_iters", 256, 1, MAX_ITERS, "spin steps with the lock"),
            Param("work_iters", 1024, 1, MAX_ITERS, "spin steps without it"),
        ),
        group=0,
        group_params=("contenders",),
        fills=WAKE,
    ),
    WorkType(
        "PriorityInversion",
        "three real-time tiers (FIFO 70, 50, 30): the low holds a lock that the high wants, "
        "the medium gets in the way; all sleep a little in between",
        (
            Param("high_count", 1, 1, 64, "workers that want the lock"),
            Param("medium_count", 1, 0, 64, "workers that only spin"),
            Param("low_count", 1, 1, 64, "workers that hold the lock"),
            Param("hold_iters", 4096, 1, MAX_ITERS, "spin steps of the low tier with the lock"),
            Param("work_iters", 1024, 1, MAX_ITERS, "spin steps of every tier without it"),
            Param.choice("pi_mode", "whether the lock passes priority on", "plain", "pi"),
        ),
        group=0,
        group_params=("high_count", "medium_count", "low_count"),
        fills=WAKE,
    ),
    WorkType(
        "ProducerConsumerImbalance",
        "producers with a rate and consumers with a cost, at a bounded queue; who finds it full "
        "or empty waits",
        (
            Param("producers", 2, 1, 128, "workers that put items in"),
            Param("consumers", 1, 1, 128, "workers that take items out"),
            Param("produce_rate_hz", 1000, 1, 1_000_000, "items a second of each producer"),
            Param("consume_iters", 4096, 1, MAX_ITERS, "spin steps for each item"),
            Param("queue_depth_target", 1024, 1, 1_048_576, "items the queue holds"),
        ),
        group=0,
        group_params=("producers", "consumers"),
        fills=WAKE,
    ),
)
"""In the order of the documentation."""
