# SPDX-License-Identifier: GPL-2.0-only
"""Real runs through a real daemon: what people see, and what is left when they leave."""

import io
import json
import os
import re
import signal
import subprocess
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.vm.conftest import PATIENCE_S, Finished, Ktstr

from ktstr.daemon.client import Daemon

pytestmark = [pytest.mark.vm, pytest.mark.timeout(PATIENCE_S + 60)]

TOKEN = "a-token-of-some-length"
SCENARIO = """
name = "brief"
[vm]
topology = "1n1l1c1t"
[scheduler]
kernel_default = true
[[steps]]
hold = "{hold}"
[[steps.cgroups]]
name = "a"
works = [{{ type = "SpinWait", workers = 1 }}]
[checks]
{checks}
"""


@dataclass
class Host:
    """A daemon and clients of it."""

    clients: Ktstr
    process: "subprocess.Popen[str]"
    address: str
    folder: Path

    @property
    def daemon(self) -> Daemon:
        return Daemon(self.folder / "d.sock")

    def scenario(self, hold: str = "1s", checks: str = "not_starved = true") -> Path:
        path = self.folder / "brief.toml"
        path.write_text(SCENARIO.format(hold=hold, checks=checks))
        return path

    def newest(self) -> dict[str, Any]:
        found: dict[str, Any] = self.daemon.get("/v1/runs?limit=1")["runs"][0]
        return found

    def over_tcp(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        """Ask with the token."""
        request = urllib.request.Request(
            self.address + path,
            None if body is None else json.dumps(body).encode(),
            {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as reply:
                return reply.status, reply.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def guests(self) -> list[int]:
        """QEMU processes that belong to this test."""
        found = self.clients.processes().items()
        return [pid for pid, command in found if "qemu-system" in command.split(" ")[0]]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    folder = tmp_path_factory.mktemp("d")
    clients = Ktstr(folder)
    clients.env = {"KTSTR_SOCKET": str(folder / "d.sock"), "KTSTR_NO_DAEMON": "0"}
    token = folder / "token"
    token.write_text(TOKEN + "\n")
    token.chmod(0o600)
    tcp = ("--tcp", "127.0.0.1:0", "--token-file", str(token))
    process = clients.command("serve", "--state", str(folder / "state"), *tcp)
    said = clients.read_until(process, "http://127.0.0.1:")
    address = re.search(r"http://127\.0\.0\.1:\d+", said)
    assert address is not None
    yield Host(clients, process, address[0], folder)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    clients.check_nothing_is_left()


def shape(output: str) -> list[str]:
    """The lines without what differs between two runs: figures, and the widths that they give."""
    output = re.sub(r"\d{8}-\d{6}-[0-9a-f]+", "ID", output)
    lines = [re.sub(r"[\d.,%@–-]+|\s+", " ", line).strip() for line in output.splitlines()]
    # Others may hold the host's CPUs, and there may be no guest to continue.
    passing = ("booting", "booted", "continu", "waiting", "waited", "...")
    return [line for line in lines if not line.startswith(passing)]


def test_a_run_looks_the_same_through_the_daemon(host: Host, tmp_path: Path) -> None:
    path = host.scenario()
    remote = host.clients.run(path)
    row = host.newest()
    alone = host.clients.run(path, "--no-daemon", "--out", str(tmp_path / "alone"))
    assert (remote.code, alone.code) == (0, 0), remote.output + alone.output
    assert host.newest() == row, "the run alone is not the daemon's"
    assert (row["state"], row["verdict"], row["exit_code"]) == ("finished", "pass", 0)
    record = Path(row["sidecar"])
    assert record.parent == remote.out_dir
    assert row["id"] in record.name
    seen = shape(remote.output.replace(str(remote.out_dir), "OUT"))
    due = shape(alone.output.replace(str(tmp_path / "alone"), "OUT"))
    assert seen == due, f"{remote.output}\n--- alone:\n{alone.output}"
    as_json = host.clients.run(path, "--json")
    document = json.loads(as_json.output[as_json.output.index("{\n") :])
    assert document["verdict"] == "pass"


def test_a_record_is_where_it_was_wanted_also_by_a_relative_name(
    host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    host.scenario()
    done = host.clients.run(host.scenario(), "--out", "mine")
    assert done.code == 0
    (record,) = (tmp_path / "mine").glob("*.ktstr.json")
    assert f"record: mine/{record.name}" in done.output


def test_several_runs_go_through_it_together(host: Host) -> None:
    before = len(host.daemon.get("/v1/runs")["runs"])
    done = host.clients.run(host.scenario(), "--repeat", "3")
    assert done.code == 0, done.output
    assert re.search(r"\b3 pass", done.output), done.output
    assert len(host.daemon.get("/v1/runs")["runs"]) == before + 3


def test_ctrl_c_cancels_and_leaves_no_guest(host: Host) -> None:
    process = host.clients.start(host.scenario(hold="60s"))
    seen = host.clients.read_until(process, "Step[0]")
    assert len(host.guests()) == 1
    process.send_signal(signal.SIGINT)
    done = host.clients.finish(process, seen)
    assert done.code == 130
    assert "interrupted; everything is cleaned up" in done.output
    assert host.newest()["state"] == "cancelled"
    assert host.guests() == []


def test_a_kept_vm_is_reached_and_released(host: Host) -> None:
    process = host.clients.start(host.scenario(), "--keep-vm")
    seen = host.clients.read_until(process, "resume:")
    (guest,) = host.guests()
    assert f"the VM is kept, paused (QEMU pid {guest}); Ctrl-C ends it" in seen
    assert host.newest()["state"] == "kept"
    command = re.search(r"console (\S+console\.sock)", seen)
    assert command is not None
    assert Path(command[1]).is_socket()
    debug = Path(command[1]).parent / "debug.json"
    assert json.loads(debug.read_text())["pid"] == host.newest()["pid"]
    process.send_signal(signal.SIGINT)
    done = host.clients.finish(process, seen)
    assert done.code == 0, done.output
    assert done.output.count("PASS") == 1
    assert host.newest()["state"] == "finished"
    assert host.guests() == []


def test_a_failure_is_fetched_from_elsewhere(host: Host) -> None:
    text = host.scenario(checks="max_gap_ms = 1").read_text()
    status, body = host.over_tcp("POST", "/v1/runs", {"scenario": {"toml": text, "name": "f"}})
    assert status == 201, body
    run_id = json.loads(body)["id"]
    followed = host.clients.finish(host.clients.command("runs", "follow", run_id))
    assert followed.code == 1, followed.output
    assert "FAIL" in followed.output
    status, body = host.over_tcp("GET", f"/v1/runs/{run_id}/sidecar")
    assert (status, json.loads(body)["verdict"]) == (200, "fail")
    status, body = host.over_tcp("GET", f"/v1/runs/{run_id}/evidence")
    assert status == 200
    with tarfile.open(fileobj=io.BytesIO(body)) as tar:
        assert any(name.endswith("/kernel.log") for name in tar.getnames())
    status, body = host.over_tcp("GET", f"/v1/runs/{run_id}/events")
    assert status == 200
    kinds = re.findall(rb"^event: (\w+)$", body, re.MULTILINE)
    assert kinds[-1] == b"end"
    assert {b"state", b"stage_done", b"step_started"} <= set(kinds)
    listed = host.clients.finish(host.clients.command("runs", "-n", "1"))
    assert re.match(rf"{run_id}  fail  brief  default  took", listed.output)


def test_a_definition_that_is_wrong_is_told_as_alone(host: Host) -> None:
    path = host.folder / "wrong.toml"
    path.write_text(SCENARIO.format(hold="soon", checks=""))
    remote = host.clients.run(path)
    alone = host.clients.run(path, "--no-daemon")
    assert (remote.code, alone.code) == (4, 4)
    assert "wrong.toml:8" in alone.output
    assert remote.output == alone.output


def test_a_daemon_that_is_killed_takes_its_guest_along(ktstr: Ktstr) -> None:
    ktstr.env = {"KTSTR_SOCKET": str(ktstr.folder / "d.sock"), "KTSTR_NO_DAEMON": "0"}
    serving = ktstr.command("serve", "--state", str(ktstr.folder / "state"))
    ktstr.read_until(serving, "listening")
    path = ktstr.folder / "brief.toml"
    path.write_text(SCENARIO.format(hold="60s", checks="not_starved = true"))
    process = ktstr.start(path)
    seen = ktstr.read_until(process, "Step[0]")
    os.kill(serving.pid, signal.SIGKILL)
    serving.communicate(timeout=PATIENCE_S)
    done: Finished = ktstr.finish(process, seen)
    assert done.code == 3, done.output
    assert "went away while it ran" in done.output
    assert "ktstr serve" in done.output
    deadline = time.monotonic() + PATIENCE_S
    while ktstr.processes() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert ktstr.processes() == {}
    (ktstr.folder / "d.sock").unlink()
