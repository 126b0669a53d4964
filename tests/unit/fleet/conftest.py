# SPDX-License-Identifier: GPL-2.0-only
"""Clusters of real processes on loopback, whose runs are made up; none outlives its test."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ktstr.fleet.client import Fleet
from ktstr.fleet.connect import connected
from ktstr.fleet.security import Tls
from ktstr.gauntlet.cells import Cell
from ktstr.session.options import RunOptions

PARTY = Path(__file__).with_name("party.py")
SCENARIO = """
name = "{name}"
[vm]
topology = "{topology}"
memory = "256M"
[scheduler]
{scheduler}
[[steps]]
hold = "200ms"
cgroups = [{{ name = "one", works = [{{ type = "SpinWait", workers = 1 }}] }}]
"""


@dataclass
class Party:
    """A process of a cluster."""

    pid: int
    address: str

    def kill(self) -> None:
        """As a machine that stops."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


class Nursery:
    """Starts parties out of a process that has imported what they need."""

    def __init__(self, scratch: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", str(PARTY)],
            # Made-up runs do not clean up after a worker that was killed.
            env={**os.environ, "TMPDIR": str(scratch)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, *words: str) -> Party:
        assert self._process.stdin is not None and self._process.stdout is not None
        print(json.dumps(words), file=self._process.stdin, flush=True)
        pid, address = self._process.stdout.readline().split()
        assert address != "failed", words
        return Party(int(pid), address)

    def end(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(20)
        finally:
            self._process.kill()
            self._process.wait(20)
            self._process.stdout.close()


@pytest.fixture(scope="session")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    """One for all tests of this process."""
    found = Nursery(tmp_path_factory.mktemp("scratch"))
    try:
        yield found
    finally:
        found.end()


@dataclass
class Cluster:
    """A scheduler and workers, and what their runs left."""

    nursery: Nursery
    folder: Path
    tls: tuple[str, ...] = ()
    parties: list[Party] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    _scheduler: Party | None = None

    @property
    def scheduler(self) -> Party:
        """The scheduler, started when it is first asked for."""
        if self._scheduler is None:
            self._scheduler = self._start("scheduler", *self.tls)
        return self._scheduler

    def worker(self, name: str, cpus: int = 2, obstacle: str = "", cache: str = "cache") -> Party:
        """Another worker; those with the same cache are of one host."""
        where = str(self.folder / cache)
        address = self.scheduler.address
        return self._start("worker", address, name, where, str(cpus), obstacle, *self.tls)

    def secured(self) -> Tls:
        """Have all speak TLS from now on, with a certificate that vouches for itself."""
        cert, key = self.folder / "cert.pem", self.folder / "key.pem"
        subprocess.run(
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=fleet"
            f" -days 2 -keyout {key} -out {cert}".split(),
            check=True,
            capture_output=True,
        )
        self.tls = (str(cert), str(cert), str(key))
        return Tls(cert, cert, key)

    def connected(self, **options: Any) -> AbstractAsyncContextManager[Fleet]:
        """A client that writes to ``results`` and remembers what it is told."""
        given = {"tell": self.said.append, "nobody_s": 20.0, **options}
        return connected(self.scheduler.address, self.folder / "results", **given)

    def cell(
        self,
        name: str,
        topology: str = "1n1l1c1t",
        scheduler: str = "kernel_default = true",
        **options: Any,
    ) -> Cell:
        """A cell of a scenario of that name."""
        path = self.folder / f"{name}.toml"
        path.write_text(SCENARIO.format(name=name, topology=topology, scheduler=scheduler))
        return Cell(path, name, topology, options=RunOptions(**options), key=name)

    def ran(self, cache: str = "cache") -> list[list[str]]:
        """What was run on a host: words of a line each, in order."""
        log = self.folder / cache / "ran.log"
        return [line.split() for line in log.read_text().splitlines()] if log.exists() else []

    def evidence(self, name: str) -> list[str]:
        """The lines that a run wrote into its evidence."""
        return (self.folder / f"results/{name}-1.evidence/files.txt").read_text().splitlines()

    def record(self, name: str) -> dict[str, Any]:
        """A run's record."""
        found: dict[str, Any] = json.loads(
            (self.folder / f"results/{name}-1.ktstr.json").read_text()
        )
        return found

    def _start(self, *words: str) -> Party:
        party = self.nursery.start(*words)
        self.parties.append(party)
        return party


@pytest.fixture
def cluster(nursery: Nursery, tmp_path: Path) -> Iterator[Cluster]:
    """A cluster without workers yet."""
    found = Cluster(nursery, tmp_path)
    try:
        yield found
    finally:
        for party in reversed(found.parties):
            party.kill()


def until(true: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    """Wait in a thread until it is so."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.02)


@pytest.fixture
def eventually() -> Callable[..., Any]:
    """Waits, beside the event loop, until something is so."""
    import anyio.to_thread

    async def wait(true: Callable[[], bool], what: str) -> None:
        await anyio.to_thread.run_sync(partial(until, true, what))

    return wait
