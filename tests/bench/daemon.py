# SPDX-License-Identifier: GPL-2.0-only
"""What a daemon adds to a run, and what it costs while there is none.

Runs through the daemon and alone take turns, so that a host that becomes slower does so for both.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.boot import SCENARIO

from ktstr.daemon.address import SOCKET_VARIABLE
from ktstr.daemon.client import Daemon
from ktstr.leases.ledger import FOLDER_VARIABLE

IDLE_S = 10.0


@dataclass
class Figures:
    """Seconds of each pair, and what the daemon takes while nothing happens."""

    remote_s: list[float] = field(default_factory=list)
    alone_s: list[float] = field(default_factory=list)
    idle_mib: float = 0.0
    wakes_per_s: float = 0.0
    check_ms: list[float] = field(default_factory=list)


def measure(pairs: int) -> Figures:
    """Run, then wait for the daemon to come to rest and watch it."""
    figures = Figures()
    with tempfile.TemporaryDirectory(prefix="ktstr-bench-") as scratch:
        folder = Path(scratch)
        with _daemon(folder) as pid:
            _pairs(folder, pairs, figures)
            time.sleep(2.0)
            before = _switches(pid)
            time.sleep(IDLE_S)
            figures.wakes_per_s = (_switches(pid) - before) / IDLE_S
            figures.idle_mib = _resident_mib(pid)
        for _ in range(20):
            figures.check_ms.append(_check_ms())
    return figures


_STARTED = """
import sys, time
from pathlib import Path
import anyio
from ktstr.cli import runner
from ktstr.daemon.remote import run_remotely
from ktstr.session.events import StageDone
from ktstr.session.options import RunOptions
from ktstr.session.run import run_scenario

runner.configure_logging(verbose=False)
path = Path(sys.argv[2])
run = run_remotely if sys.argv[1] == "remote" else run_scenario

def emit(event):
    if isinstance(event, StageDone) and event.key == "scheduler":
        print(time.monotonic() - began)

began = time.monotonic()
anyio.run(run, path, RunOptions(out_dir=path.parent / "out", auto_repro=False), emit)
"""
"""A process of its own for each run, as people have it: what only the first run of a process pays
is paid alone as well."""


def _pairs(folder: Path, pairs: int, figures: Figures) -> None:
    path = folder / "bench.toml"
    scenario = SCENARIO.format(topology="1n1l2c1t", workers=2)
    path.write_text(scenario.replace("600s", "500ms"))
    for turn in range(pairs + 1):
        alone_s = _started_s("alone", path)
        remote_s = _started_s("remote", path)
        if turn:  # the first makes the template, and imports
            figures.alone_s.append(alone_s)
            figures.remote_s.append(remote_s)


def _started_s(how: str, path: Path) -> float:
    """Seconds from the request to ScenarioStart."""
    command = [sys.executable, "-c", _STARTED, how, str(path)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@contextmanager
def _daemon(folder: Path) -> Iterator[int]:
    """A daemon in ``folder``; its process."""
    names = {SOCKET_VARIABLE: folder / "d.sock", FOLDER_VARIABLE: folder / "leases"}
    before = {name: os.environ.get(name) for name in names}
    # Its own ledger of leases: what others of this host run is not what is measured.
    os.environ |= {name: str(path) for name, path in names.items()}
    command = [sys.executable, "-m", "ktstr.cli.main", "serve", "--state", str(folder / "state")]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        daemon = Daemon(folder / "d.sock")
        deadline = time.monotonic() + 30
        while daemon.health() is None:
            if time.monotonic() > deadline:
                raise RuntimeError("the daemon does not answer")
            time.sleep(0.05)
        yield process.pid
    finally:
        process.terminate()
        process.wait()
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _switches(pid: int) -> int:
    """How often the process has gone to sleep by itself, all threads (proc_pid_status(5))."""
    total = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        for line in status.read_text().splitlines():
            name, _, value = line.partition(":")
            total += int(value) if name == "voluntary_ctxt_switches" else 0
    return total


def _resident_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def _check_ms() -> float:
    """CPU time to find that there is no daemon, with imports that a run does not need anyway."""
    code = (
        "import asyncio, time, ktstr.session.options; began = time.process_time(); "
        "import ktstr.daemon.choose as c; c.chosen(); "
        "print(1000 * (time.process_time() - began))"
    )
    env = {**os.environ, SOCKET_VARIABLE: "/nowhere/d.sock", "KTSTR_NO_DAEMON": "0"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    return float(done.stdout)
