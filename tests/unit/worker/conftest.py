# SPDX-License-Identifier: GPL-2.0-only
"""Build the worker once and drive it as the guest agent does."""

import mmap
import os
import select
import signal
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgpack
import pytest

ROOT = Path(__file__).resolve().parents[3]
DEADLINE_S = 40.0
# What a worker that counts at all needs until it does, also beside others that want its CPU.
PATIENCE_S = 5.0


class Leader:
    """One ``worker lead`` process with its three channels and counter page."""

    SLOTS = 512

    def __init__(
        self, command: list[str], log: Path, *, cgroup_dir: Path | None, **keys: object
    ) -> None:
        self._log = log
        self._buffer = b""
        self.pids: list[int] = []
        self.host = 0  # the process of workers that are threads
        command_r, self._command = os.pipe()
        self._messages, message_w = os.pipe()
        page = os.memfd_create("live")
        os.ftruncate(page, 8 * self.SLOTS)
        self._page = mmap.mmap(page, 8 * self.SLOTS)
        log_w = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        # The agent's end of a pipe may have any number, so 3 and 4 are given at spawn only.
        high = {3: os.dup(page)}
        if cgroup_dir is not None:
            high[4] = os.open(cgroup_dir, os.O_RDONLY | os.O_DIRECTORY)
        actions = [
            (os.POSIX_SPAWN_DUP2, command_r, 100),
            (os.POSIX_SPAWN_DUP2, message_w, 101),
            (os.POSIX_SPAWN_DUP2, log_w, 102),
            *((os.POSIX_SPAWN_DUP2, fd, 100 + n) for n, fd in high.items()),
            *((os.POSIX_SPAWN_DUP2, 100 + n, n) for n in (0, 1, 2, *high)),
            *((os.POSIX_SPAWN_CLOSE, 100 + n) for n in (0, 1, 2, *high)),
        ]
        # Where the test does not ask for the counters itself, they tell run() that all have begun.
        workers = keys.get("workers")
        if (
            isinstance(workers, int)
            and 0 < workers <= self.SLOTS
            and not {"program", "phases"} & {*keys}
        ):
            keys.setdefault("slot", 0)
            self._counted = range(int(str(keys["slot"])), int(str(keys["slot"])) + workers)
        else:
            self._counted = range(0)
        words = [f"{key}={value}" for key, value in keys.items()]
        self.pid = os.posix_spawnp(
            command[0], [*command, "lead", *words], dict(os.environ), file_actions=actions
        )
        self.status: int | None = None
        self.elapsed_ns = 0  # of run(), as seen from outside
        for fd in (command_r, message_w, log_w, page, *high.values()):
            os.close(fd)

    def send(self, command: bytes) -> None:
        os.write(self._command, command)

    def hang_up(self) -> None:
        """Close the command channel, as the death of the agent would."""
        os.close(self._command)
        self._command = -1

    def _fill(self, size: int) -> bool:
        deadline = time.monotonic() + DEADLINE_S
        while len(self._buffer) < size:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._messages], [], [], left)[0]:
                raise TimeoutError(f"no message from the leader within {DEADLINE_S} s")
            piece = os.read(self._messages, 1 << 20)
            if not piece:
                return False
            self._buffer += piece
        return True

    def message(self) -> tuple[str, bytes] | None:
        """The next message as (kind, payload); None at end of file."""
        if not self._fill(4):
            assert self._buffer == b""
            return None
        (length,) = struct.unpack_from("<I", self._buffer)
        assert 1 <= length < 16 << 20
        assert self._fill(4 + length), "the leader ended within a message"
        kind, payload = self._buffer[4:5], self._buffer[5 : 4 + length]
        self._buffer = self._buffer[4 + length :]
        return kind.decode("ascii"), payload

    def ready(self) -> list[int]:
        """Wait until the workers are at the gate; their pids."""
        kind, payload = self.message() or ("", b"")
        if kind == "H":
            self.host = msgpack.unpackb(payload)
            kind, payload = self.message() or ("", b"")
        assert kind == "P", payload.decode()
        self.pids = msgpack.unpackb(payload)
        return self.pids

    def collect(self) -> list[dict[str, Any]]:
        """Stop the workers; the R messages, having checked that D and the exit follow."""
        self.send(b"T")
        return self.reports()

    def reports(self) -> list[dict[str, Any]]:
        """What :meth:`collect` returns, the stop having been sent."""
        reports = []
        while (message := self.message()) is not None and message[0] == "R":
            reports.append(msgpack.unpackb(message[1], strict_map_key=False))
        assert message == ("D", b"")
        assert self.message() is None
        assert self.wait() == 0
        return reports

    def run(self, seconds: float, least: int = 1) -> list[dict[str, Any]]:
        """Start, let it work until every worker has done ``least`` iterations, collect.

        :param seconds: the least time; five seconds more and they need not have.
        """
        self.ready()
        return self.run_on(seconds, least)

    def run_on(self, seconds: float, least: int = 1) -> list[dict[str, Any]]:
        """As :meth:`run`, once :meth:`ready` was waited for."""
        began = time.monotonic_ns()
        self.send(b"S")
        time.sleep(seconds)
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline and any(self.live(n) < least for n in self._counted):
            time.sleep(0.01)
        reports = self.collect()
        self.elapsed_ns = time.monotonic_ns() - began
        return reports

    def error(self) -> str:
        """The text of the E message that must come next, followed by end of file."""
        kind, payload = self.message() or ("", b"")
        assert kind == "E", (kind, payload)
        assert self.message() is None
        return payload.decode("utf-8")

    def live(self, slot: int) -> int:
        return int(struct.unpack_from("<Q", self._page, 8 * slot)[0])

    def write_slot(self, slot: int, value: int) -> None:
        """What the agent does with the slot of the phase epoch."""
        struct.pack_into("<Q", self._page, 8 * slot, value)

    def log(self) -> str:
        return self._log.read_text()

    def wait(self) -> int:
        """Exit status of the leader, minus the signal number if it was killed."""
        if self.status is None:
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.status

    def close(self) -> None:
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()
        if self._command >= 0:
            os.close(self._command)
        os.close(self._messages)
        self._page.close()
        wait_gone(self.pids)


def alive(pid: int) -> bool:
    """Whether the process exists and is more than a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")


def wait_until(what: str, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"after {DEADLINE_S} s: {what}"
        time.sleep(0.01)


def wait_gone(pids: list[int]) -> None:
    wait_until(f"workers left over among {pids}", lambda: not any(map(alive, pids)))


@pytest.fixture(scope="session")
def build_worker(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """``build_worker(flags)`` builds a binary by the line the image build uses, and these flags."""

    def build(flags: str) -> Path:
        out = tmp_path_factory.mktemp("worker")
        make = ["make", "-s", "-f", "guest/worker/worker.mk", f"OUT={out}", f"CPPFLAGS={flags}"]
        subprocess.run(make, cwd=ROOT, check=True)
        return out / "worker"

    return build


@pytest.fixture(scope="session")
def worker_binary(build_worker: Callable[[str], Path]) -> Path:
    """The binary as it is in the image."""
    return build_worker("")


@pytest.fixture
def lead(worker_binary: Path, tmp_path: Path) -> Iterator[Callable[..., Leader]]:
    """``lead(type="SpinWait", workers=2, …)`` starts a leader that the test need not close.

    ``command`` replaces the plain binary, ``cgroup_dir`` is opened as descriptor 4.
    """
    with ExitStack() as stack:

        def start(
            *, command: list[str] | None = None, cgroup_dir: Path | None = None, **keys: object
        ) -> Leader:
            log = tmp_path / f"log.{len(list(tmp_path.iterdir()))}"
            leader = Leader(command or [str(worker_binary)], log, cgroup_dir=cgroup_dir, **keys)
            stack.callback(leader.close)
            return leader

        yield start


@pytest.fixture
def until() -> Callable[[str, Callable[[], bool]], None]:
    """``until(what, condition)`` polls with a deadline."""
    return wait_until


@pytest.fixture
def gone() -> Callable[[list[int]], None]:
    """``gone(pids)`` waits until none of the processes runs."""
    return wait_gone


RESERVOIRS = {
    "wake": ("wake_latencies_ns", "wake_sample_total"),
    "cost": ("iteration_costs_ns", "iteration_cost_sample_total"),
    "timer": ("timer_latencies_ns", "timer_sample_total"),
}


def filled_reservoirs(report: dict[str, Any]) -> dict[str, list[int]]:
    filled = {}
    for kind, (vector, total) in RESERVOIRS.items():
        blob = report[vector]
        samples = list(struct.unpack(f"<{len(blob) // 8}Q", blob))
        assert len(samples) == min(report[total], 100_000)
        if samples:
            filled[kind] = samples
    return filled


@pytest.fixture
def reservoirs() -> Callable[[dict[str, Any]], dict[str, list[int]]]:
    """``reservoirs(report)`` gives the samples by kind, wake, cost or timer; no empty ones."""
    return filled_reservoirs


@pytest.fixture
def cgroup() -> Iterator[Path]:
    """A cgroup of its own below the root of cgroup v2."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    roots = [Path(words[1]) for words in mounts if words[2] == "cgroup2"]
    if not roots or os.geteuid() != 0:
        pytest.skip("making a cgroup needs root and a mounted cgroup v2")
    path = roots[0] / f"ktstr-test-{os.getpid()}"
    try:
        path.mkdir()
    except OSError as error:
        pytest.skip(f"no cgroup can be made: {error}")
    yield path
    wait_until(f"tasks left in {path}", lambda: not (path / "cgroup.procs").read_text())
    path.rmdir()
