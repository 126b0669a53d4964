# SPDX-License-Identifier: GPL-2.0-only
"""Work types whose members wake or interrupt each other in chains, storms and bursts."""

from typing import Final

from ktstr.model.work_type import MAX_ITERS, MAX_US, WAKE, Param, WorkType

WAKE_UP: Final[tuple[WorkType, ...]] = (
    WorkType(
        "WakeChain",
        "a ring in which each works for a while and wakes the next",
        (
            Param("depth", 4, 2, 256, "members of the ring"),
            Param.choice("wake", "by what the next is woken", "pipe", "futex"),
            Param("work_per_hop_us", 100, 1, MAX_US, "time of work, in µs"),
        ),
        group=0,
        group_params=("depth",),
        fills=WAKE,
    ),
    WorkType(
        "SignalStorm",
        "pairs that spin and interrupt each other with bursts of SIGUSR2",
        (
            Param("signals_per_iter", 16, 1, 1_000_000, "signals of a burst"),
            Param("work_iters", 1024, 1, MAX_ITERS, "spin steps before each burst"),
        ),
        group=2,
    ),
    WorkType(
        "EpollStorm",
        "producers that fire bursts at an eventfd every ms, consumers that wait in one epoll",
        (
            Param("producers", 1, 1, 512, "members that write"),
            Param("consumers", 2, 1, 512, "members that wait"),
            Param("events_per_burst", 32, 1, 1_000_000, "writes of a burst"),
        ),
        group=0,
        group_params=("producers", "consumers"),
        fills=WAKE,
    ),
)
"""In the order of the documentation."""
