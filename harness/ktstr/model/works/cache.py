# SPDX-License-Identifier: GPL-2.0-only
"""Work types that keep a buffer in the caches busy."""

from typing import Final

from ktstr.model.work_type import MAX_ITERS, WAKE, Param, WorkType

_SIZE: Final = Param("size_kib", 32, 1, 262_144, "size of the buffer, in KiB")
_STRIDE: Final = Param("stride", 64, 1, 1_048_576, "bytes from one access to the next")

CACHE: Final[tuple[WorkType, ...]] = (
    WorkType(
        "CachePressure",
        "1024 strided read-modify-writes an iteration, over a buffer of its own",
        (_SIZE, _STRIDE),
    ),
    WorkType(
        "CacheYield",
        "as CachePressure, with sched_yield after every iteration",
        (_SIZE, _STRIDE),
        fills=WAKE,
    ),
    WorkType(
        "CachePipe",
        "pairs that work on a buffer, then hand one byte over through a pipe",
        (_SIZE, Param("burst_iters", 1024, 1, MAX_ITERS, "accesses before each hand-over")),
        group=2,
        fills=WAKE,
    ),
)
"""In the order of the documentation."""
