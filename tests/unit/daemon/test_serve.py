# SPDX-License-Identifier: GPL-2.0-only
"""The daemon as a process: who may start, sockets that were passed, how it ends, its idle hours."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest

from ktstr.daemon import remote
from ktstr.daemon.address import SOCKET_VARIABLE
from ktstr.daemon.client import Daemon, DaemonLost
from ktstr.daemon.listen import inherited, notify, read_token, tcp_listener, unix_listener
from ktstr.daemon.remote import run_remotely
from ktstr.errors import CannotRun, ExitCode, HostUnfit
from ktstr.session.options import RunOptions

PATIENCE_S = 40.0

SCRIPTED = """
import sys
from dataclasses import replace
from pathlib import Path
import anyio
from ktstr.daemon import main
from ktstr.daemon.settings import Settings

main.configure_logging(verbose=False)
settings = main.Settings(
    state=Path(sys.argv[1]),
    socket=Path(sys.argv[2]) if sys.argv[2] else None,
    runs=Settings(work="ktstr.testing.fake_runner", linger_s=float(sys.argv[3])),
)
anyio.run(main.serve, settings)
"""

ACTIVATE = """
import os
import sys

os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.argv[2], sys.argv[2:])
"""


@dataclass
class Daemons:
    """Starts daemons in a folder, and ends what is left of them."""

    folder: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def socket(self) -> Path:
        return self.folder / "d.sock"

    def start(
        self, *args: str, prefix: tuple[str, ...] = (), scripted: bool = True, **more: Any
    ) -> subprocess.Popen[str]:
        """A daemon of scripted runs, or `ktstr serve` with these arguments."""
        own = [sys.executable, "-c", SCRIPTED, *args]
        command = own if scripted else [sys.executable, "-m", "ktstr.cli.main", "serve", *args]
        process = subprocess.Popen(
            [*prefix, *command], stderr=subprocess.PIPE, text=True, start_new_session=True, **more
        )
        self.started.append(process)
        return process

    def up(self, *, state: str = "state", linger: str = "300") -> subprocess.Popen[str]:
        """A daemon of scripted runs that answers."""
        process = self.start(str(self.folder / state), str(self.socket), linger)
        self.answers(self.socket)
        return process

    def answers(self, path: Path) -> int:
        """Wait until a daemon answers there; its process."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            health = Daemon(path).health()
            if health is not None:
                return health.pid
            time.sleep(0.05)
        pytest.fail("no daemon answers")


@pytest.fixture
def daemons(tmp_path: Path) -> Iterator[Daemons]:
    # Short: the path of a Unix socket is bounded.
    made = Daemons(tmp_path)
    yield made
    for process in made.started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def submitted(daemon: Daemon, *lines: str) -> str:
    scenario = {"toml": "\n".join(lines), "name": "fake"}
    run_id: str = daemon.post("/v1/runs", {"scenario": scenario})["id"]
    return run_id


def eventually(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.02)


def drains(daemon: Daemon) -> bool:
    """Whether the daemon answers that it takes no more runs."""
    health = daemon.health()
    return health is not None and not health.accepting


def test_tcp_without_a_token_is_refused_with_the_fix(daemons: Daemons, tmp_path: Path) -> None:
    state = str(tmp_path / "state")
    process = daemons.start("--tcp", "127.0.0.1:0", "--state", state, scripted=False)
    _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == ExitCode.CANNOT_RUN
    assert "--token-file" in said
    assert "openssl rand" in said
    assert not (tmp_path / "state").exists()


def test_a_second_daemon_is_refused_and_the_first_lives(daemons: Daemons) -> None:
    first = daemons.up()
    for state in ("state", "other"):
        second = daemons.start(str(daemons.folder / state), str(daemons.socket), "300")
        _, said = second.communicate(timeout=PATIENCE_S)
        assert second.returncode != 0
        assert f"(process {first.pid})" in said
    assert daemons.answers(daemons.socket) == first.pid


def test_a_killed_daemons_socket_is_taken_over(daemons: Daemons) -> None:
    first = daemons.up()
    first.kill()
    first.wait()
    assert daemons.socket.is_socket()
    second = daemons.up()
    assert daemons.answers(daemons.socket) == second.pid


def test_sigterm_lets_what_runs_end_and_keeps_what_waits(daemons: Daemons) -> None:
    process = daemons.up()
    daemon = Daemon(daemons.socket)
    gate = daemons.folder / "gate"
    running = submitted(daemon, "cpus 99", "lease", f"file {gate}", "verdict pass 0")
    waiting = submitted(daemon, "cpus 99", "lease", "verdict pass 0")
    eventually(lambda: daemon.get(f"/v1/runs/{running}")["state"] == "running", "it runs")
    process.send_signal(signal.SIGTERM)
    eventually(lambda: drains(daemon), "it drains")
    with pytest.raises(CannotRun, match="about to end"):
        submitted(daemon, "verdict pass 0")
    gate.touch()
    _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert not daemons.socket.exists()
    events = [json.loads(line) for line in said.splitlines()]
    ends = {e["run"]: e["verdict"] for e in events if e["event"] == "over"}
    assert ends[running] == "pass"
    daemons.up()
    eventually(lambda: daemon.get(f"/v1/runs/{waiting}")["verdict"] == "pass", "it goes on")


def test_a_second_signal_does_not_wait(daemons: Daemons) -> None:
    process = daemons.up()
    daemon = Daemon(daemons.socket)
    run_id = submitted(daemon, "lease", "sleep 3000")
    eventually(lambda: daemon.get(f"/v1/runs/{run_id}")["state"] == "running", "it runs")
    process.send_signal(signal.SIGTERM)
    eventually(lambda: drains(daemon), "it drains")
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert '"state": "cancelled"' in said


def test_a_client_of_a_killed_daemon_is_told(
    daemons: Daemons, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SOCKET_VARIABLE, str(daemons.socket))
    monkeypatch.setattr(remote, "BACK_TRIES", 2)
    process = daemons.up()
    path = daemons.folder / "script.toml"
    path.write_text('event note {"text": "on", "warning": false}\nsleep 60')
    with pytest.raises(DaemonLost) as caught:
        anyio.run(run_remotely, path, RunOptions(), lambda event: process.kill())
    assert caught.value.exit_code == ExitCode.GUEST_LOST
    assert "ktstr serve" in str(caught.value)
    # What it tells to do tells what became of the run.
    daemons.up()
    (row,) = Daemon(daemons.socket).get("/v1/runs")["runs"]
    assert row["id"] in str(caught.value)
    assert row["state"] == "lost"


def test_systemds_socket_is_taken_and_systemd_told(daemons: Daemons, tmp_path: Path) -> None:
    activated = tmp_path / "activated.sock"
    told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    told.settimeout(PATIENCE_S)
    told.bind(str(tmp_path / "notify"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as made, told:
        made.bind(str(activated))
        made.listen()
        # As systemd does it: descriptor 3, and the process's own id in the environment.
        process = daemons.start(
            str(tmp_path / "state"),
            "",
            "300",
            prefix=(sys.executable, "-c", ACTIVATE, str(made.fileno())),
            pass_fds=[made.fileno()],
            env={**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")},
        )
        assert told.recv(100) == b"READY=1"
        assert daemons.answers(activated) == process.pid
        process.send_signal(signal.SIGTERM)
        assert told.recv(100) == b"STOPPING=1"
        process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0
        # It is systemd's, and stays for the next.
        assert activated.is_socket()


def _switches(pid: int) -> int:
    total = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        for line in status.read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                total += int(line.split()[1])
    return total


def test_an_idle_daemon_sleeps(daemons: Daemons) -> None:
    process = daemons.up(linger="0.2")
    daemon = Daemon(daemons.socket)
    run_id = submitted(daemon, "verdict pass 0")
    eventually(lambda: daemon.get(f"/v1/runs/{run_id}")["state"] == "finished", "it ends")
    # It has come to rest once it has not woken for a second; bars are for `make bench`.
    deadline = time.monotonic() + PATIENCE_S
    before, now = -1, _switches(process.pid)
    while before != now and time.monotonic() < deadline:
        time.sleep(1.0)
        before, now = now, _switches(process.pid)
    assert before == now, "it wakes though nothing happens"
    modules = {"numpy", "drgn", "scipy", "pydantic"}
    maps = Path(f"/proc/{process.pid}/maps").read_text()
    assert not [name for name in modules if f"/{name}/" in maps]


def test_only_live_sockets_stand_in_the_way(tmp_path: Path) -> None:
    path = tmp_path / "d.sock"
    first = unix_listener(path)
    with pytest.raises(HostUnfit, match="listens at"):
        unix_listener(path)
    first.socket.close()
    second = unix_listener(path)
    # One that was replaced meanwhile is not another's to remove.
    first.close()
    assert path.is_socket()
    second.close()
    assert not path.exists()
    path.write_text("precious")
    with pytest.raises(HostUnfit, match="no socket"):
        unix_listener(path)
    assert path.read_text() == "precious"
    with pytest.raises(HostUnfit, match="too long"):
        unix_listener(tmp_path / ("x" * 120))
    with pytest.raises(HostUnfit, match="--socket"):
        unix_listener(Path("/proc/nowhere/d.sock"))


def test_a_daemon_that_is_too_busy_to_answer_keeps_its_socket(tmp_path: Path) -> None:
    path = tmp_path / "d.sock"
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as waiting:
        busy.bind(str(path))
        busy.listen(0)
        waiting.connect(str(path))
        with pytest.raises(HostUnfit, match="somebody may listen"):
            unix_listener(path)
        assert path.is_socket()


@pytest.mark.parametrize("address", ["", "8642", ":8642", "127.0.0.1:x", "127.0.0.1:65536", "[::1"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(HostUnfit, match="--tcp"):
        tcp_listener(address)


def test_a_taken_port_is_refused() -> None:
    first = tcp_listener("127.0.0.1:0")
    with pytest.raises(HostUnfit, match="nobody can listen"):
        tcp_listener(f"127.0.0.1:{first.socket.getsockname()[1]}")
    first.close()


def test_descriptors_of_another_process_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTEN_PID", str(os.getppid()))
    monkeypatch.setenv("LISTEN_FDS", "1")
    assert inherited() == []


def test_a_descriptor_that_is_no_listening_socket_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for made in (socket.socket(socket.AF_UNIX), None):
        fd = os.open(tmp_path, os.O_RDONLY) if made is None else made.detach()
        monkeypatch.setattr("ktstr.daemon.listen.FIRST_FD", fd)
        monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
        monkeypatch.setenv("LISTEN_FDS", "1")
        with pytest.raises(HostUnfit, match=f"{fd}"):
            inherited()
        with suppress(OSError):
            os.close(fd)


def test_a_token_is_long_alone_and_nobody_elses(tmp_path: Path) -> None:
    file = tmp_path / "token"
    token = secrets.token_urlsafe(24)
    file.write_text(f"{token}\nand a remark\n")
    file.chmod(0o600)
    assert read_token(file) == token
    file.chmod(0o640)
    with pytest.raises(HostUnfit, match="chmod 600"):
        read_token(file)
    file.chmod(0o600)
    for wrong in ("", "short\n", "x" * 2000, "p\u00e4sswort-p\u00e4sswort\n", "a\tb" * 10):
        file.write_text(wrong)
        with pytest.raises(HostUnfit, match="no token"):
            read_token(file)
    with pytest.raises(HostUnfit, match="cannot be read"):
        read_token(tmp_path / "none")


def test_nobody_is_told_where_nobody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("", "relative", "/proc/nowhere"):
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        notify("READY=1")
