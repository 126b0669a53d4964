# SPDX-License-Identifier: GPL-2.0-only
"""Whole processes, timed from outside."""

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from ktstr.vm.image import ImageStore

ROOT = Path(__file__).parents[2]
SCENARIO = ROOT / "configs" / "scenarios" / "two_cgroups.toml"
SCENARIO_S = 6.0


@dataclass
class Figures:
    """Seconds and megabytes of each repetition."""

    overhead_s: list[float] = field(default_factory=list)
    help_s: list[float] = field(default_factory=list)
    image_s: list[float] = field(default_factory=list)
    memory_mb: float = 0.0


def timed(command: list[str]) -> tuple[float, float]:
    """Wall seconds and peak memory (MB) of the process itself.

    :raise RuntimeError: when it does not exit with 0.
    """
    began = time.monotonic()
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert child.stdout is not None
    output = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"{' '.join(command)} exited with {child.returncode}:\n{output}")
    return time.monotonic() - began, usage.ru_maxrss / 1024


def measure(runs: int) -> Figures:
    """Run the example scenario, ask for help, and look at the image, some times each."""
    figures = Figures()
    program = [str(Path(sys.executable).parent / "ktstr-run")]
    with tempfile.TemporaryDirectory(prefix="ktstr-bench-") as scratch:
        for turn in range(runs + 1):
            wall_s, memory_mb = timed([*program, str(SCENARIO), "--out", scratch])
            if turn:  # the first run may fill caches
                figures.overhead_s.append(wall_s - SCENARIO_S)
                figures.memory_mb = max(figures.memory_mb, memory_mb)
    for _ in range(3 * runs + 1):
        figures.help_s.append(timed([*program, "--help"])[0])
    for _ in range(2 * runs + 1):
        began = time.monotonic()
        ImageStore().base(lambda: Path("/"))
        figures.image_s.append(time.monotonic() - began)
    figures.help_s.pop(0)
    return figures
