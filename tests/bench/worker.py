# SPDX-License-Identifier: GPL-2.0-only
"""What a worker's measuring costs, in a guest: ``worker measure``, started by custom work."""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

PROGRAM = """#!/ktstr/python/bin/python3
import mmap, os, struct, time
pages = mmap.mmap(int(os.environ["KTSTR_CUSTOM_FD"]), 8192)
def wait(offset):
    while not struct.unpack_from("<I", pages, offset)[0]:
        time.sleep(0.001)
struct.pack_into("<I", pages, 8, 1)
wait(12)
os.dup2(2, 1)
os.waitpid(os.posix_spawn("/ktstr/bin/worker", ["worker", "measure"], os.environ), 0)
wait(16)
"""
SCENARIO = """
name = "measure"
vm = { topology = "1n1l2c1t" }
scheduler = { kernel_default = true }
steps = [{ hold = "3s", cgroups = [
    { name = "measure", works = [{ type = "Custom", command = "measure.py" }] },
] }]
"""


def measure() -> dict[str, float]:
    """Nanoseconds (``*_ns``) and shares of a SpinWait iteration (``*_share``), by piece.

    :raise RuntimeError: when the guest told no figures.
    """
    with tempfile.TemporaryDirectory(prefix="ktstr-bench-") as name:
        folder = Path(name)
        (folder / "measure.py").write_text(PROGRAM)
        (folder / "measure.toml").write_text(SCENARIO)
        command = [str(Path(sys.executable).parent / "ktstr-run"), str(folder / "measure.toml")]
        done = subprocess.run(
            [*command, "--out", name], capture_output=True, text=True, check=False
        )
        # Nothing was judged, so the run is inconclusive and leaves its evidence.
        for log in folder.glob("*.evidence/*"):
            if found := re.search(rb'\{"spin_iteration_ns".*?\}', log.read_bytes()):
                figures: dict[str, float] = json.loads(found[0])
                return figures
    raise RuntimeError(f"the guest told no figures:\n{done.stdout}")
