# SPDX-License-Identifier: GPL-2.0-only
"""The daemon's figures in Prometheus' text format (version 0.0.4)."""

import os
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ktstr.daemon.settings import Status
from ktstr.daemon.submission import RunRow, RunState

TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
WAIT_BOUNDS_S: Final = (0.01, 0.1, 0.5, 1, 5, 15, 60, 300, 1800, 7200)
RUN_BOUNDS_S: Final = (0.5, 1, 2, 5, 10, 30, 60, 120, 300, 900, 3600)
MAX_SHARES: Final = 100
"""Shares with a series of their own; what others wait for is counted together."""

OTHER_SHARES: Final = "(others)"


@dataclass(slots=True)
class Histogram:
    """Counts of values up to each bound, seconds."""

    bounds: tuple[float, ...]
    counts: list[int] = field(init=False)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def add(self, value: float) -> None:
        """Count one value; the clock may have been set back."""
        value = max(0.0, value)
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def lines(self, name: str) -> Iterator[str]:
        """Its series."""
        seen = 0
        for bound, count in zip(self.bounds, self.counts, strict=False):
            seen += count
            yield f'{name}_bucket{{le="{bound:g}"}} {seen}'
        count = sum(self.counts)
        yield f'{name}_bucket{{le="+Inf"}} {count}'
        yield f"{name}_sum {self.total:.6f}"
        yield f"{name}_count {count}"


@dataclass(slots=True)
class Metrics:
    """What has happened since the daemon started; told of each change by :meth:`observe`."""

    began_at: float = field(default_factory=time.time)
    waited_s: Histogram = field(default_factory=lambda: Histogram(WAIT_BOUNDS_S))
    ran_s: Histogram = field(default_factory=lambda: Histogram(RUN_BOUNDS_S))
    verdicts: Counter[str] = field(default_factory=Counter)
    events_dropped: int = 0
    followers: int = 0
    _started: set[str] = field(default_factory=set)
    _over: dict[str, None] = field(default_factory=dict)

    def observe(self, row: RunRow) -> None:
        """Count what a run's change means; any number of times for the same state."""
        if row.id in self._over:
            return
        if row.started_at is not None and row.id not in self._started:
            self._started.add(row.id)
            self.waited_s.add(row.started_at - row.submitted_at)
        if row.state.over:
            self._started.discard(row.id)
            self._remember(row.id)
            self.verdicts[_verdict(row)] += 1
            self.events_dropped += row.events_dropped
            if row.started_at is not None and row.ended_at is not None:
                self.ran_s.add(row.ended_at - row.started_at)

    def _remember(self, run_id: str) -> None:
        self._over[run_id] = None
        while len(self._over) > 10_000:
            del self._over[next(iter(self._over))]


def exposition(metrics: Metrics, status: Status) -> str:
    """The whole document."""
    return "\n".join([*_runs(metrics, status), *_room(status), *_self(metrics, status), ""])


def _runs(metrics: Metrics, status: Status) -> Iterator[str]:
    yield from _head("ktstr_runs", "gauge", "Runs in the store, by state.")
    for state in RunState:
        yield f'ktstr_runs{{state="{state.value}"}} {status.runs.get(state.value, 0)}'
    yield from _head("ktstr_runs_ended_total", "counter", "Runs that ended, by verdict.")
    for verdict, count in sorted(metrics.verdicts.items()):
        yield f'ktstr_runs_ended_total{{verdict="{_quoted(verdict)}"}} {count}'
    yield from _head("ktstr_queue_depth", "gauge", "Runs that wait, by share.")
    for share, count in sorted(_bounded(status.queued).items()):
        yield f'ktstr_queue_depth{{share="{_quoted(share)}"}} {count}'
    yield from _head("ktstr_wait_seconds", "histogram", "From submission to a process.")
    yield from metrics.waited_s.lines("ktstr_wait_seconds")
    yield from _head("ktstr_run_seconds", "histogram", "From a process to the end.")
    yield from metrics.ran_s.lines("ktstr_run_seconds")


def _bounded(depths: Mapping[str, int]) -> Mapping[str, int]:
    largest = sorted(depths.items(), key=lambda each: (-each[1], each[0]))
    found = dict(largest[:MAX_SHARES])
    if rest := sum(count for _, count in largest[MAX_SHARES:]):
        found[OTHER_SHARES] = rest
    return found


def _room(status: Status) -> Iterator[str]:
    figures: tuple[tuple[str, str, int | None], ...] = (
        ("ktstr_running", "Runs that have a process.", status.running),
        ("ktstr_leases", "Guests that run.", status.leased),
        ("ktstr_vcpus_in_use", "vCPUs of the guests that run.", status.cpus),
        ("ktstr_vcpus_budget", "vCPUs that may run at a time.", status.cpus_budget),
        ("ktstr_memory_in_use_bytes", "Memory that runs take.", _bytes(status.memory_mib)),
        ("ktstr_memory_budget_bytes", "Memory runs may take.", _bytes(status.memory_budget_mib)),
        ("ktstr_draining", "1 when no more runs are taken.", int(status.draining)),
    )
    for name, about, value in figures:
        if value is not None:
            yield from _head(name, "gauge", about)
            yield f"{name} {value}"


def _bytes(mib: int | None) -> int | None:
    return None if mib is None else mib << 20


def _self(metrics: Metrics, status: Status) -> Iterator[str]:
    yield from _head("ktstr_events_dropped_total", "counter", "Events of runs that were not kept.")
    yield f"ktstr_events_dropped_total {metrics.events_dropped + status.events_lost}"
    yield from _head("ktstr_store_errors_total", "counter", "Writes to the store that failed.")
    yield f"ktstr_store_errors_total {status.store_errors}"
    yield from _head("ktstr_followers", "gauge", "Clients that follow events.")
    yield f"ktstr_followers {metrics.followers}"
    yield from _head("process_start_time_seconds", "gauge", "When the daemon started.")
    yield f"process_start_time_seconds {metrics.began_at:.3f}"
    resident = resident_bytes()
    if resident is not None:
        yield from _head("process_resident_memory_bytes", "gauge", "Memory of the daemon.")
        yield f"process_resident_memory_bytes {resident}"
    with suppress(OSError):
        count = len(os.listdir("/proc/self/fd"))
        yield from _head("process_open_fds", "gauge", "Descriptors the daemon has open.")
        yield f"process_open_fds {count}"


def resident_bytes() -> int | None:
    """Resident memory of this process (proc_pid_statm(5)); None when it is not told."""
    with suppress(OSError, ValueError, IndexError):
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    return None


def _verdict(row: RunRow) -> str:
    if row.state is RunState.FINISHED and row.verdict is not None:
        return row.verdict
    return row.state.value


def _head(name: str, kind: str, about: str) -> Iterator[str]:
    yield f"# HELP {name} {about}"
    yield f"# TYPE {name} {kind}"


def _quoted(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
