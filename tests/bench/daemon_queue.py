# SPDX-License-Identifier: GPL-2.0-only
"""Five hundred runs without guests through the daemon: how fast, how fair, what is left behind."""

import logging
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import anyio
import structlog

from ktstr.daemon.settings import Settings
from ktstr.daemon.submission import RunState, ScenarioText, Submission
from ktstr.daemon.supervisor import Supervisor, supervising
from ktstr.session.pool import MAX_OVERTAKEN
from ktstr.session.room import Room

RUNS = 500
SMALL_SHARE = 10
LATEST = SMALL_SHARE * (1 + MAX_OVERTAKEN)
"""Where the small share's last one starts at the latest: each may be overtaken a few times."""

SCRIPT = 'event note {"text": "one"}\nlease\nevent note {"text": "two"}\nverdict pass 0'


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured.

    :param run_ms: time of a run, processes and all, and ``cpu_ms`` the daemon's own CPU time.
    :param last_small: which of all starts was the small share's last one, from 1.
    :param fds: descriptors that are open afterwards and were not before; ``children`` likewise.
    :param grown_mib: resident memory afterwards beyond that before.
    """

    run_ms: float
    cpu_ms: float
    last_small: int
    fds: int
    children: int
    grown_mib: float


def measure() -> Figures:
    """Queue them all, the small share last, and let them run."""
    # The rows are the output, not each run's states.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with tempfile.TemporaryDirectory(prefix="ktstr-bench-") as folder:
        return anyio.run(_measure, Path(folder))


async def _measure(folder: Path) -> Figures:
    settings = Settings(
        jobs=4, work="ktstr.testing.fake_runner", room=lambda: Room(4, 100_000), keep_runs=10_000
    )
    async with supervising(folder, settings) as supervisor:
        # What the first run alone costs is no leak.
        await _finish(supervisor, [await _submit(supervisor, "warm-up")])
        fds, children, memory = _fds(), _children(), _resident_mib()
        began, cpu = time.monotonic(), time.process_time()
        many = [await _submit(supervisor, "many") for _ in range(RUNS - SMALL_SHARE)]
        few = [await _submit(supervisor, "few") for _ in range(SMALL_SHARE)]
        await _finish(supervisor, [*many, *few])
        wall_s, cpu_s = time.monotonic() - began, time.process_time() - cpu
        rows = [row for row in await supervisor.rows(limit=RUNS) if row.id in {*many, *few}]
        assert len(rows) == RUNS
        assert all(row.state is RunState.FINISHED and row.verdict == "pass" for row in rows)
        # Those that had started before the small share was there could not have been fair to it.
        came = max(row.submitted_at for row in rows if row.id in few)
        order = sorted((row.started_at or 0.0, row.id) for row in rows)
        later = [run_id for at, run_id in order if at >= came]
        last_small = max((later.index(run_id) for run_id in few if run_id in later), default=-1) + 1
        await anyio.sleep(0.5)
        return Figures(
            1000 * wall_s / RUNS,
            1000 * cpu_s / RUNS,
            last_small,
            _fds() - fds,
            _children() - children,
            _resident_mib() - memory,
        )


async def _submit(supervisor: Supervisor, share: str) -> str:
    submission = Submission(ScenarioText(SCRIPT, "fake"), share=share)
    return (await supervisor.submit(submission)).id


async def _finish(supervisor: Supervisor, run_ids: list[str]) -> None:
    for run_id in run_ids:
        async for _ in supervisor.follow(run_id):
            pass


def _fds() -> int:
    return len(os.listdir("/proc/self/fd"))


def _children() -> int:
    """Processes below this one, the fork server's too."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            parents.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry.name))
    found, below = 0, [os.getpid()]
    while below:
        children = parents.get(below.pop(), [])
        found += len(children)
        below += children
    return found


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / (1 << 20)
