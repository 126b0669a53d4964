# SPDX-License-Identifier: GPL-2.0-only
"""From the request to ScenarioStart: booted and continued, in turn, with templates of its own."""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from platformdirs import user_cache_path
from tests.bench.boot import SCENARIO

from ktstr.session.events import RunEvent, StageDone
from ktstr.session.options import RunOptions
from ktstr.session.run import run_scenario

CLONES = 3
"""Guests continued for each that boots."""


@dataclass
class Figures:
    """Seconds and megabytes of each repetition; ``kept`` are those of the scheduler's level."""

    cold_s: list[float] = field(default_factory=list)
    clone_s: list[float] = field(default_factory=list)
    kept_s: list[float] = field(default_factory=list)
    kept_mb: list[float] = field(default_factory=list)


async def measure(runs: int) -> Figures:
    """Make the templates, boot and continue, ``runs`` times.

    :raise RuntimeError: when a run did not start as it was to.
    """
    figures = Figures()
    for _ in range(runs):
        with tempfile.TemporaryDirectory(prefix="ktstr-bench-") as scratch, _own_cache(scratch):
            path = Path(scratch) / "bench.toml"
            scenario = SCENARIO.format(topology="1n1l2c1t", workers=2)
            path.write_text(scenario.replace("600s", "500ms"))
            _, host = await _run(path, "template")
            kept = host["templates_kept"][-1]
            figures.kept_s.append(kept["seconds"])
            figures.kept_mb.append(kept["bytes"] / 1e6)
            figures.cold_s.append((await _run(path, "cold", cold=True))[0])
            await _run(path, "clone")  # whatever is imported on the way
            for _ in range(CLONES):
                figures.clone_s.append((await _run(path, "clone"))[0])
    return figures


async def _run(path: Path, start: str, *, cold: bool = False) -> tuple[float, dict[str, Any]]:
    """Seconds until ScenarioStart, and the record's facts about the host."""
    started: list[float] = []

    def emit(event: RunEvent) -> None:
        if isinstance(event, StageDone) and event.key == "scheduler":
            started.append(time.monotonic())

    began = time.monotonic()
    options = RunOptions(out_dir=path.parent / "out", cold=cold, auto_repro=False)
    record = await run_scenario(path, options, emit)
    host = cast("dict[str, Any]", record.host)
    if host.get("start") != start or not started:
        raise RuntimeError(f"a run started as {host.get('start')}, not {start}: {record.error}")
    return started[-1] - began, host


@contextmanager
def _own_cache(scratch: str) -> Iterator[None]:
    """Kernels and images of the user's cache, but no templates."""
    cache = Path(scratch) / "cache" / "ktstr"
    cache.mkdir(parents=True)
    for kept in user_cache_path("ktstr").iterdir():
        if kept.name != "templates":
            (cache / kept.name).symlink_to(kept)
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(cache.parent)
    try:
        yield
    finally:
        if before is None:
            del os.environ["XDG_CACHE_HOME"]
        else:
            os.environ["XDG_CACHE_HOME"] = before
