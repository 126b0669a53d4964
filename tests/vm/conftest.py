# SPDX-License-Identifier: GPL-2.0-only
"""Running ktstr as a user does, and looking for anything it left behind."""

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SCENARIOS = ROOT / "configs" / "scenarios"
MARK = "KTSTR_TEST_MARK"
# A boot takes 3 s on an idle machine; a test suite beside another load must not fail for it.
PATIENCE_S = 300.0


@dataclass
class Finished:
    """A run of ktstr-run that ended."""

    code: int
    output: str
    out_dir: Path

    @property
    def record(self) -> dict[str, Any]:
        """The sidecar; exactly one is there."""
        (path,) = self.out_dir.glob("*.ktstr.json")
        record: dict[str, Any] = json.loads(path.read_text())
        return record

    @property
    def evidence(self) -> dict[str, str]:
        """The evidence folder's files by name."""
        (folder,) = self.out_dir.glob("*.evidence")
        return {p.name: p.read_text(errors="replace") for p in folder.iterdir()}

    def details(self) -> list[str]:
        """Texts of all failures and doubts in the record."""
        outcomes = self.record["result"]["outcomes"]
        return [o["detail"]["message"] for o in outcomes if o["detail"] is not None]


@dataclass
class Ktstr:
    """Starts ktstr-run with a mark in its environment that its children inherit."""

    folder: Path
    mark: str = field(default_factory=lambda: secrets.token_hex(8))
    env: dict[str, str] = field(default_factory=dict)
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(
        self, scenario: str | Path, *args: str, prefix: tuple[str, ...] = ()
    ) -> subprocess.Popen[str]:
        """Start a run; its output is one pipe."""
        path = scenario if isinstance(scenario, Path) else SCENARIOS / scenario
        out = self.folder / "out"
        program = [sys.executable, "-m", "ktstr.cli.run"]
        command = [*prefix, *program, str(path), "--out", str(out), *args]
        process = subprocess.Popen(
            command,
            # A failure that a test wants is not to be run twice; test_repro asks for it.
            env={
                **os.environ,
                MARK: self.mark,
                "TMPDIR": str(self.folder),
                "KTSTR_AUTO_REPRO": "0",
                **self.env,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def command(self, *args: str) -> subprocess.Popen[str]:
        """Start ``ktstr`` with these arguments; its output is one pipe."""
        process = subprocess.Popen(
            [sys.executable, "-m", "ktstr.cli.main", *args],
            env={**os.environ, MARK: self.mark, "TMPDIR": str(self.folder), **self.env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def run(self, scenario: str | Path, *args: str, prefix: tuple[str, ...] = ()) -> Finished:
        """Run to the end."""
        process = self.start(scenario, *args, prefix=prefix)
        return self.finish(process)

    def finish(self, process: subprocess.Popen[str], seen: str = "") -> Finished:
        """Wait for the end of a started run."""
        try:
            output, _ = process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
            pytest.fail(f"ktstr-run did not end; it printed:\n{seen}{output}")
        return Finished(process.returncode, seen + output, self.folder / "out")

    def read_until(self, process: subprocess.Popen[str], words: str) -> str:
        """Output up to and with the line that contains ``words``."""
        assert process.stdout is not None
        seen = ""
        for line in process.stdout:
            seen += line
            if words in line:
                return seen
        pytest.fail(f"ktstr-run ended without printing {words!r}:\n{seen}")

    def processes(self) -> dict[int, str]:
        """Every live process that carries the mark, with its command line."""
        found = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            with contextlib.suppress(OSError):
                environ = (entry / "environ").read_bytes()
                if f"{MARK}={self.mark}".encode() in environ:
                    command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    if command:
                        found[int(entry.name)] = command
        return found

    def qemu_pid(self) -> int:
        """The run's QEMU process."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            for pid, command in self.processes().items():
                if "qemu-system" in command.split(" ")[0]:
                    return pid
            time.sleep(0.05)
        pytest.fail("no QEMU process carries this test's mark")

    def check_nothing_is_left(self) -> None:
        """No process, socket or shared-memory file of this run exists any more."""
        deadline = time.monotonic() + 5
        while self.processes() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert self.processes() == {}
        assert list(self.folder.glob("ktstr-*")) == [], "a run folder stayed behind"
        assert str(self.folder) not in Path("/proc/net/unix").read_text()


@pytest.fixture
def ktstr(tmp_path: Path) -> Iterator[Ktstr]:
    """A ktstr-run whose every trace is looked for when the test is over."""
    runner = Ktstr(tmp_path)
    shm = set(os.listdir("/dev/shm"))
    yield runner
    for process in runner.started:
        if process.poll() is None:
            # Its test failed half-way; that it leaves things behind is not news then.
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)
        elif process.stdout is not None:
            process.stdout.close()
    try:
        runner.check_nothing_is_left()
        assert set(os.listdir("/dev/shm")) - shm == set()
    finally:
        for pid in runner.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def scenario_file(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a scenario text to a file."""

    def write(text: str) -> Path:
        path = tmp_path / "scenario.toml"
        path.write_text(text)
        return path

    return write


@pytest.fixture(scope="module")
def shared_ktstr(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ktstr]:
    """A ktstr-run whose one boot the tests of a module share; nothing of it may be left behind."""
    runner = Ktstr(tmp_path_factory.mktemp("shared"))
    yield runner
    runner.check_nothing_is_left()
