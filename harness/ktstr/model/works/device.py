# SPDX-License-Identifier: GPL-2.0-only
"""Work types that wait for a disk or the network."""

from typing import Final

from ktstr.model.work_type import MAX_US, WAKE, Param, WorkType

DEVICE: Final[tuple[WorkType, ...]] = (
    WorkType("IoRandRead", "reads 4 KiB at a random place, past the page cache", fills=WAKE),
    WorkType(
        "IoConvoy",
        "writes 4 KiB in order and reads 4 KiB at a random place, past the page cache; an "
        "fdatasync every 16 iterations",
        fills=WAKE,
    ),
    WorkType(
        "NetTraffic",
        "sends a frame to itself over the loopback device, takes what arrived, then sleeps",
        (
            Param("interval_us", 1000, 1, MAX_US, "time asleep between two frames, in µs"),
            Param("frame_bytes", 256, 60, 1514, "size of a frame, its header included"),
        ),
    ),
    WorkType(
        "IrqWake",
        "pairs: one sends a frame over the loopback device, whose softirq wakes the other",
        group=2,
        fills=WAKE,
    ),
)
"""In the order of the documentation."""
