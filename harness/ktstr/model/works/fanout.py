# SPDX-License-Identifier: GPL-2.0-only
"""Work types in which one worker wakes many."""

from typing import Final

from ktstr.model.work_type import MAX_ITERS, MAX_US, WAKE, Param, WorkType

_FAN_OUT: Final = Param("fan_out", 4, 1, 255, "receivers of a messenger")

FANOUT: Final[tuple[WorkType, ...]] = (
    WorkType(
        "FutexFanOut",
        "a messenger that wakes all its receivers, each of which then spins",
        (_FAN_OUT, Param("spin_iters", 1024, 1, MAX_ITERS, "spin steps between two wake-ups")),
        group=1,
        group_params=("fan_out",),
        fills=WAKE,
    ),
    WorkType(
        "FanOutCompute",
        "a messenger whose receivers, once awake, sleep and then multiply matrices",
        (
            _FAN_OUT,
            Param("cache_footprint_kib", 256, 1, 65_536, "size of the three matrices, in KiB"),
            Param("operations", 5, 1, 1_000_000, "products after each wake-up"),
            Param("sleep_us", 100, 0, MAX_US, "sleep before the products, in µs"),
        ),
        group=1,
        group_params=("fan_out",),
        fills=WAKE,
    ),
    WorkType(
        "ThunderingHerd",
        "a waker that wakes all waiters of one futex at once, a number of times in all",
        (
            Param("waiters", 7, 1, 255, "workers that wait"),
            Param("batches", 1000, 1, MAX_ITERS, "broadcasts, after which the herd rests"),
            Param("inter_batch_ms", 5, 0, 60_000, "sleep before each broadcast, in ms"),
        ),
        group=1,
        group_params=("waiters",),
        fills=WAKE,
    ),
)
"""In the order of the documentation."""
