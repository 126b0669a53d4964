# SPDX-License-Identifier: GPL-2.0-only
"""A gauntlet in real VMs on two workers, one of which is killed while a guest runs on it."""

import json
import signal
import subprocess
import time
from collections.abc import Container
from pathlib import Path

import pytest

pytestmark = [pytest.mark.vm, pytest.mark.timeout(600)]

SCENARIO = """
name = "short"
[vm]
topology = "1n1l1c1t"
memory = "256M"
[scheduler]
bpf = "scx_ktstr"
[[steps]]
hold = "1500ms"
cgroups = [{ name = "one", works = [{ type = "SpinWait", workers = 1 }] }]
[checks]
min_iteration_rate = 1
"""


def parent(pid: int) -> int:
    """Who started a process; 0 when it has gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def worker_with_a_guest(ktstr, gauntlet: "subprocess.Popen[str]", workers: Container[int]) -> int:
    """A worker below which a QEMU runs."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if gauntlet.poll() is not None:
            pytest.fail(f"the gauntlet ended: {ktstr.finish(gauntlet).output}")
        for pid, command in ktstr.processes().items():
            if "qemu-system" not in command:
                continue
            while pid > 1 and pid not in workers:
                pid = parent(pid)
            if pid in workers:
                return pid
        time.sleep(0.02)
    pytest.fail("no worker has a guest")


def test_what_a_killed_worker_had_is_repeated_and_every_cell_has_one_verdict(ktstr) -> None:
    path, out = ktstr.folder / "short.toml", ktstr.folder / "out"
    path.write_text(SCENARIO)
    scheduler = ktstr.command("fleet", "scheduler", "--port", "0")
    address = ktstr.read_until(scheduler, "scheduler at").split()[-1]
    workers = {}
    for name in ("one", "two"):
        process = ktstr.command("fleet", "worker", f"--cluster={address}", f"--name={name}")
        ktstr.read_until(process, "it takes guests")
        workers[process.pid] = (name, process)
    report = ktstr.folder / "r.json"
    chosen = ["--presets", "1n1l1c1t,1n2l1c1t", "--schedulers", "scx_ktstr,none", "--no-repro"]
    command = ["--scenarios", str(path), *chosen, "--out", str(out), f"--json={report}"]
    gauntlet = ktstr.command("gauntlet", *command, f"--cluster={address}")

    victim = worker_with_a_guest(ktstr, gauntlet, workers)
    lost, process = workers.pop(victim)
    process.kill()
    done = ktstr.finish(gauntlet)
    assert done.code == 0, done.output
    ((other, survivor),) = workers.values()
    assert f"worker {lost} was lost while it ran there" in done.output
    assert f"workers that went: {lost}" in done.output and f"{other} " in done.output
    ended = [json.loads(line) for line in (out / "gauntlet.jsonl").read_text().splitlines()]
    results = [line["result"] for line in ended if line["type"] == "ended"]
    assert [result["verdict"] for result in results] == ["pass"] * 4
    repeated = [result for result in results if result["notes"]]
    assert repeated and all(result["facts"]["worker"] == other for result in repeated)
    assert all(f"repeated after worker {lost} was lost" in r["notes"] for r in repeated)
    assert {Path(result["sidecar"]) for result in results} == set(out.glob("*.ktstr.json"))
    assert len(results) == 4 and json.loads(report.read_text())

    # Interrupted, it has ended its guests there before it ends itself, and goes on later.
    again = ktstr.folder / "again"
    command = ["--scenarios", str(path), *chosen, "--out", str(again)]
    gauntlet = ktstr.command("gauntlet", *command, f"--cluster={address}")
    worker_with_a_guest(ktstr, gauntlet, workers)
    gauntlet.send_signal(signal.SIGINT)
    done = ktstr.finish(gauntlet)
    assert done.code == 130, done.output
    assert not any("qemu-system" in command for command in ktstr.processes().values())
    resumed = ktstr.command("gauntlet", f"--resume={again}", f"--cluster={address}")
    done = ktstr.finish(resumed)
    assert done.code == 0 and "runs by worker: " in done.output, done.output

    for party in (survivor, scheduler):
        party.send_signal(signal.SIGTERM)
        output, _ = party.communicate(timeout=60)
        assert party.returncode == 0, output
    deadline = time.monotonic() + 30
    while ktstr.processes() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert ktstr.processes() == {}, "something outlived the fleet"
