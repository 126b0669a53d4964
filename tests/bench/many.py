# SPDX-License-Identifier: GPL-2.0-only
"""Many short runs of one command: continued from templates, and booted, in the same measurement."""

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

SCENARIO = """
name = "short"
[vm]
topology = "1n1l1c1t"
[scheduler]
bpf = "scx_ktstr"
[run]
settle = "0s"
[[steps]]
hold = "1s"
[[steps.cgroups]]
name = "busy"
works = [{ type = "SpinWait", workers = 2 }]
[checks]
not_starved = true
"""


@dataclass(frozen=True, slots=True)
class Figures:
    """Runs per second of each kind, and how many there were."""

    continued_per_s: float
    booted_per_s: float
    continued: int
    booted: int


def measure(continued: int, booted: int) -> Figures:
    """Time ``continued`` runs that continue a guest and ``booted`` that boot.

    :raise RuntimeError: when a run did not pass, or did not start as it was to.
    """
    with tempfile.TemporaryDirectory(prefix="ktstr-bench-") as scratch:
        folder = Path(scratch)
        (folder / "short.toml").write_text(SCENARIO)
        _per_second(folder, "first", 1, ())
        # Half of the boots before, half after, so that a drift of the host falls on both.
        half = max(1, booted // 2)
        boots = [_per_second(folder, "before", half, ("--cold",))]
        rate = _per_second(folder, "continued", continued, ())
        boots.append(_per_second(folder, "after", half, ("--cold",)))
    return Figures(rate, 2 / (1 / boots[0] + 1 / boots[1]), continued, 2 * half)


def _per_second(folder: Path, name: str, runs: int, options: tuple[str, ...]) -> float:
    out, summary = folder / name, folder / f"{name}.json"
    program = Path(sys.executable).parent / "ktstr-run"
    command = [program, folder / "short.toml", "--repeat", str(runs), "--jobs", "auto"]
    more = ["--out", out, "--json", summary, *options]
    done = subprocess.run([*command, *more], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{runs} runs exited with {done.returncode}:\n{done.stdout}")
    starts = [json.loads(path.read_text())["host"]["start"] for path in out.glob("*.ktstr.json")]
    wanted = {"cold"} if options else {"clone"}
    if name != "first" and (len(starts) != runs or set(starts) != wanted):
        raise RuntimeError(f"{runs} runs were to be {wanted}, they are {starts}")
    return runs / float(json.loads(summary.read_text())["wall_s"])
