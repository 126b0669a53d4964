# SPDX-License-Identifier: GPL-2.0-only
"""The main job in real VMs: a pass, two at once, JSON, keeping the VM, interruption."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from ktstr.history.compare import Outcome, compare
from ktstr.history.pool import load

pytestmark = [pytest.mark.vm, pytest.mark.timeout(600)]

SHORT = """
name = "short"
[vm]
topology = "1n1l2c1t"
[scheduler]
bpf = "scx_ktstr"
[run]
num_snapshots = 2
[[steps]]
hold = "1s"
[[steps.cgroups]]
name = "one"
cpuset = "0"
works = [{ type = "Mixed", workers = 2 }]
[checks]
not_starved = true
isolation = true
max_gap_ms = 20000
max_spread_pct = 100.0
"""


def test_two_cgroups_passes_and_measures_what_it_says(ktstr) -> None:
    done = ktstr.run("two_cgroups.toml")
    assert done.code == 0, done.output
    record = done.record
    assert (record["verdict"], record["exit_code"]) == ("pass", 0)
    for words in (
        "scheduler ktstr attached",
        "Step[2] timers, 3 of 3",
        "PASS  two_cgroups",
    ):
        assert words in done.output

    phases = {bucket["label"]: bucket for bucket in record["result"]["stats"]["phases"]}
    steps = [phases[f"Step[{k}]"] for k in range(3)]
    assert [sorted(step["per_cgroup"]) for step in steps] == [["left", "right"]] * 3
    for step in steps:
        for cgroup, cpus in (("left", {0, 1}), ("right", {2, 3})):
            carrier = step["per_cgroup"][cgroup]
            assert carrier["num_workers"] == 2
            assert carrier["total_iterations"] > 0
            assert set(carrier["cpus_used"]) <= cpus
        assert step["metrics"]["iteration_rate"] > 0

    # Pipes block and are woken; spinning never is; timers have samples of their own.
    assert steps[0]["per_cgroup"]["left"]["wake_sample_total"] == 0
    assert steps[1]["per_cgroup"]["left"]["wake_sample_total"] > 10
    assert steps[2]["per_cgroup"]["right"]["timer_sample_total"] > 10

    samples = record["samples"]
    assert [sample["tag"] for sample in samples] == [f"periodic_{n:03d}" for n in range(6)]
    assert all(sample["error"] is None for sample in samples)
    assert [sample["step_index"] for sample in samples] == sorted(
        sample["step_index"] for sample in samples
    )
    # Counters read from frozen memory only grow, and the scheduler's own statistics,
    # asked for just before each freeze, lie between two neighbouring snapshots.
    frozen = [sample["globals"] for sample in samples]
    dispatched = [
        member["value"]["value"]
        for section in frozen
        for name, value in section.items()
        if name.endswith(".bss")
        for member in value["members"]
        if member["name"] == "nr_dispatched"
    ]
    assert len(dispatched) == 6
    assert dispatched == sorted(dispatched)
    assert dispatched[-1] > dispatched[0] > 0
    asked = [sample["stats"]["nr_dispatched"] for sample in samples]
    assert all(0 < said <= read for said, read in zip(asked, dispatched, strict=True))
    assert all(later > earlier for earlier, later in zip(dispatched, asked[1:], strict=False))
    assert {cpu["cpu"] for cpu in samples[0]["cpus"]} == {0, 1, 2, 3}
    assert record["link"]["missing"] == 0
    assert len(record["workers"]) == 12
    assert all(worker["report"]["completed"] for worker in record["workers"])


def test_two_runs_at_once_do_not_meet(ktstr, scenario_file) -> None:
    path = scenario_file(SHORT)
    both = [ktstr.start(path), ktstr.start(path)]
    codes = [ktstr.finish(process).code for process in both]
    assert codes == [0, 0]
    # Both say what they were, so that they can be compared.
    first, second = load(ktstr.folder / "out")
    for row in (first, second):
        assert (row.scenario, row.verdict, row.clock) == ("short", "pass", "wall")
        assert (row.scheduler, row.work_type) == ("scx_ktstr", "Mixed")
        assert row.kernel is not None and row.vcpus == 2 and row.cpu_budget
        assert row.run_sample_count and row.phases[0].metrics["iteration_rate"] > 0
    found = compare([first], [second])
    assert found.compared and found.of(Outcome.UNCHANGED)


def test_json_on_stdout_is_the_record_and_nothing_else(ktstr, scenario_file) -> None:
    command = [sys.executable, "-m", "ktstr.cli.run", str(scenario_file(SHORT)), "--json"]
    done = subprocess.run(
        [*command, "--out", str(ktstr.folder / "out")],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["name"] == "short"
    assert record == json.loads(next((ktstr.folder / "out").glob("*.json")).read_text())
    assert "Step[0]" in done.stderr


def test_a_kept_vm_can_be_reached_read_and_resumed(ktstr, scenario_file) -> None:
    process = ktstr.start(scenario_file(SHORT), "--keep-vm")
    seen = ktstr.read_until(process, "resume:")
    commands = {}
    for line in seen.splitlines()[-4:]:
        what, _, command = line.strip().partition(":")
        commands[what] = command.split()
    assert list(commands) == ["QMP", "serial console", "drgn prompt", "resume"]
    assert "the VM is kept, paused" in seen

    def said(command: list[str], **kwargs: str) -> str:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=60, check=False, **kwargs
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    script = "print(prog['init_uts_ns'].name.release.string_().decode(), len(kernel.cpus))"
    release, cpus = said([*commands["drgn prompt"], "-c", script]).split()
    (path,) = (ktstr.folder / "out").glob("*.ktstr.json")
    record = json.loads(path.read_text())
    assert (release, cpus) == (record["kernel"]["release"], "2")
    assert "paused" in said(commands["QMP"], input="query-status\n")
    assert "connected" in said(commands["serial console"], input="\x1d")
    assert "the VM is running" in said(commands["resume"])

    process.send_signal(signal.SIGINT)
    done = ktstr.finish(process, seen)
    assert done.code == 0, done.output
    assert "PASS  short" in done.output


STAGES = ["kernel debian:7", "booting", "attaching the scheduler", "Step[0]", "periodic_000"]


@pytest.mark.parametrize("stage", STAGES)
def test_an_interrupt_at_any_stage_cleans_up(ktstr, scenario_file, stage: str) -> None:
    process = ktstr.start(scenario_file(SHORT), *(["--cold"] if stage == "booting" else []))
    seen = ktstr.read_until(process, stage)
    process.send_signal(signal.SIGINT)
    done = ktstr.finish(process, seen)
    assert done.code == 130, done.output
    assert "interrupted" in done.output
    assert not (ktstr.folder / "out").exists()


def test_a_terminated_run_cleans_up_too(ktstr, scenario_file) -> None:
    process = ktstr.start(scenario_file(SHORT), "--cold")
    seen = ktstr.read_until(process, "booting")
    time.sleep(1)
    process.terminate()
    assert ktstr.finish(process, seen).code == 130


def test_qemu_dies_with_a_harness_that_is_killed(ktstr, scenario_file) -> None:
    process = ktstr.start(scenario_file(SHORT), "--cold")
    ktstr.read_until(process, "booting")
    ktstr.qemu_pid()
    process.kill()
    process.communicate()
    # Its run folder cannot be removed by a process that is dead; nothing else may stay.
    for folder in ktstr.folder.glob("ktstr-*"):
        for item in folder.iterdir():
            assert not item.is_socket()
            os.unlink(item)
        folder.rmdir()
