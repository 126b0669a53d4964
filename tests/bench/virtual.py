# SPDX-License-Identifier: GPL-2.0-only
"""The virtual clock: what it costs against the wall clock, and whether runs stay the same."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from ktstr.session.events import ignore
from ktstr.session.options import RunOptions
from ktstr.session.run import run_scenario

SCENARIO = """
name = "repeated"
[vm]
topology = "1n1l2c1t"
[scheduler]
bpf = "scx_ktstr"
[run]
settle = "100ms"
num_snapshots = 2
[[steps]]
hold = "500ms"
[[steps.cgroups]]
name = "pipes"
works = [{ type = "PipeIo", workers = 4 }]
[checks]
not_starved = true
"""

HOG = "while True: pass"


@dataclass
class Figures:
    """Wall seconds of runs by either clock on an idle host, and the identities of all runs."""

    virtual_s: list[float] = field(default_factory=list)
    wall_s: list[float] = field(default_factory=list)
    identities: list[str] = field(default_factory=list)
    loaded: int = 0

    @property
    def alike(self) -> int:
        """How many runs were what most of them were."""
        return max(map(self.identities.count, self.identities), default=0)


async def measure(runs: int) -> Figures:
    """Run by the virtual clock ``runs`` times, every other time beside a CPU hog.

    :raise RuntimeError: when a run came to no verdict.
    """
    figures = Figures()
    with tempfile.TemporaryDirectory(prefix="ktstr-bench-") as scratch:
        path = Path(scratch) / "repeated.toml"
        path.write_text(SCENARIO)
        await _run(path, RunOptions(clock="virtual", seed=1))  # the image may have to be built
        for number in range(runs):
            busy = number % 2 == 1
            with _hogs(1 if busy else 0):
                identity, seconds = await _run(path, RunOptions(clock="virtual", seed=1))
            figures.identities.append(identity)
            if busy:
                figures.loaded += 1
            else:
                figures.virtual_s.append(seconds)
            if number < 5:
                figures.wall_s.append((await _run(path, RunOptions(cold=True)))[1])
    return figures


async def _run(path: Path, options: RunOptions) -> tuple[str, float]:
    options = replace(options, out_dir=path.parent / "out", auto_repro=False)
    record = await run_scenario(path, options, ignore)
    if record.error is not None:
        raise RuntimeError(f"a run came to no verdict: {record.error}")
    return str(record.facts.get("identity", "")), float(record.host["wall_s"])


@contextmanager
def _hogs(count: int) -> Iterator[None]:
    hogs = [
        subprocess.Popen([sys.executable, "-c", HOG], process_group=0)
        for _ in range(count * (os.cpu_count() or 1))
    ]
    try:
        yield
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()
