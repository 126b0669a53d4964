# SPDX-License-Identifier: GPL-2.0-only
"""Whole processes, timed from outside."""

import json
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


def timed(command: list[str]) -> float:
    """Wall seconds of the whole process.

    :raise RuntimeError: when it does not exit with 0.
    """
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} exited with {done.returncode}:\n{done.stdout}")
    return time.monotonic() - began


def measure(runs: int) -> Figures:
    """Run the example scenario, ask for help, and look at the image, some times each."""
    figures = Figures()
    program = [str(Path(sys.executable).parent / "ktstr-run")]
    with tempfile.TemporaryDirectory(prefix="ktstr-bench-") as scratch:
        for turn in range(runs + 1):
            wall_s = timed([*program, str(SCENARIO), "--out", scratch])
            if turn:  # the first run may fill caches
                figures.overhead_s.append(wall_s - SCENARIO_S)
        for path in Path(scratch).glob("*.ktstr.json"):
            host = json.loads(path.read_text())["host"]
            figures.memory_mb = max(figures.memory_mb, host["harness_peak_mib"])
    for _ in range(3 * runs + 1):
        figures.help_s.append(timed([*program, "--help"]))
    for _ in range(2 * runs + 1):
        began = time.monotonic()
        ImageStore().base(lambda: Path("/"))
        figures.image_s.append(time.monotonic() - began)
    figures.help_s.pop(0)
    return figures
