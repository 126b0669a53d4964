# SPDX-License-Identifier: GPL-2.0-only
"""Work types that are a whole benchmark of many threads within one worker."""

from typing import Final

from ktstr.model.work_type import Param, WorkType

MAX_SLEEP_US: Final = 100_000
"""Longest sleep of a benchmark thread: it sees the end of its step no later than that."""

BENCH: Final[tuple[WorkType, ...]] = (
    WorkType(
        "Schbench",
        "schbench: message threads wake worker threads, which sleep and multiply matrices under a "
        "lock of the CPU",
        (
            Param("message_threads", 1, 1, 256, "threads that wake others"),
            Param(
                "worker_threads",
                *(0, 0, 1024),
                "per message thread; 0: together as many as the worker has CPUs",
            ),
            Param("cache_footprint_kib", 256, 0, 65_536, "the three matrices of a worker thread"),
            Param("operations", 5, 0, 1_000_000, "multiplications of a request"),
            Param("sleep_us", 100, 0, MAX_SLEEP_US, "sleep of a request, in µs"),
            Param("skip_locking", 0, 0, 1, "1: no lock"),
            Param(
                "requests_per_sec",
                *(0, 0, 10_000_000),
                "requests handed out each second by the clock; 0: each follows the one before",
            ),
            Param(
                "auto_rps",
                *(0, 0, 100),
                "per cent of the system's CPU time the rate is tuned to; 0: it stays",
            ),
            Param("split_percent", 100, 0, 100, "share of the operations done under the lock"),
        ),
        makes_tasks=True,
    ),
    WorkType(
        "Taobench",
        "taobench: client threads look objects up in a cache, slow threads fetch what it misses",
        (
            Param("client_threads", 0, 0, 1024, "0: as many as the worker has CPUs"),
            Param("slow_threads", 0, 0, 1024, "0: one for three clients"),
            Param("cache_capacity_mib", 64, 0, 4096, "size of the objects cached"),
            Param("target_hit_pct", 90, 1, 99, "lookups that the cache can answer, in per cent"),
            Param("slow_path_sleep_us", 100, 0, MAX_SLEEP_US, "sleep for each miss, in µs"),
            Param(
                "arrival_rate",
                *(0, 0, 1_000_000_000),
                "lookups a second, of all clients, by the clock; 0: each follows the one before",
            ),
        ),
        makes_tasks=True,
    ),
)
"""In the order of the documentation."""
