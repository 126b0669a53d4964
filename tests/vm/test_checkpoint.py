# SPDX-License-Identifier: GPL-2.0-only
"""Checkpoints of a real guest with two NUMA nodes: what memory showed, and that it goes on."""

import json
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ktstr.cli.main import main as ktstr_command
from ktstr.vm.checkpoint import Checkpoint

pytestmark = [pytest.mark.vm, pytest.mark.timeout(400)]

FAILS = """
name = "fails"
[vm]
topology = "2n2l2c1t"
[scheduler]
bpf = "scx_ktstr"
[[steps]]
name = "first"
hold = "600ms"
[[steps.cgroups]]
name = "early"
works = [{ type = "Mixed", workers = 4 }]
[[steps]]
name = "second"
hold = "300ms"
[[steps.cgroups]]
name = "late"
works = [{ type = "SpinWait", workers = 4 }]
[checks]
max_gap_ms = 1
max_spread_pct = 0.0
"""

MOMENT = "print(prog['jiffies_64'].value_(), prog['scx_root'].ops.name.string_().decode())"


@dataclass
class Kept:
    """A run that failed, and its two checkpoints."""

    done: Any
    step: Path
    end: Path


@pytest.fixture(scope="module")
def kept(shared_ktstr) -> Kept:
    path = shared_ktstr.folder / "fails.toml"
    path.write_text(FAILS)
    done = shared_ktstr.run(path, "--checkpoint-on-fail", "--checkpoint-at", "first")
    (step,) = done.out_dir.glob("*.step1.checkpoint")
    (end,) = set(done.out_dir.glob("*.checkpoint")) - {step}
    return Kept(done, step, end)


def dumped(*args: str) -> Any:
    result = CliRunner().invoke(ktstr_command, ["dump", *args, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def test_the_run_is_judged_as_ever_and_names_its_checkpoints(kept: Kept) -> None:
    assert kept.done.code == 1, kept.done.output
    record = kept.done.record
    assert record["host"]["checkpoints"] == [str(kept.step), str(kept.end)]
    assert f"checkpoint: {kept.end}" in kept.done.output
    assert record["result"]["outcomes"], "the steps were reported and judged"
    # Half a gigabyte of guest, of which it has touched a fifth.
    for path in (kept.step, kept.end):
        assert path.stat().st_size < 64 << 20
    with Checkpoint(kept.step) as found:
        told = found.manifest
        assert (told.step, told.moment, told.reason) == (1, "end of step 1", "")
        assert 400 < told.elapsed_ms <= 600
        assert len(set(told.machine.spec().memory_of_nodes())) == 1
        assert told.machine.topology.nodes == 2


def test_memory_reads_the_same_out_of_the_file_as_out_of_the_guest(kept: Kept) -> None:
    """All of it: maps, run queues, threads, dispatch queues, registers, kernel stacks."""
    live = json.loads(kept.done.evidence["failure-dump.json"])
    found = dumped(str(kept.end))
    for only_live in ("took_us", "event_counter_timeline"):
        live.pop(only_live, None)
        found.pop(only_live, None)
    assert len(found["maps"]) > 5 and len(found["task_enrichments"]) > 20
    assert found == live


def test_a_steps_checkpoint_shows_that_steps_workers(kept: Kept) -> None:
    found = dumped(str(kept.step))
    names = [task["comm"] for task in found["task_enrichments"]]
    assert (names.count("Mixed") >= 4, "SpinWait" in names) == (True, False)
    last = json.loads(kept.done.evidence["last-snapshot.json"])

    def switches(cpus: Any) -> list[int]:
        return [cpu["nr_switches"] for cpu in cpus]

    before, after = switches(found["rq_scx_states"]), switches(last["cpus"])
    assert len(before) == len(after) == 4
    assert all(early < late for early, late in zip(before, after, strict=True))


def test_it_is_resumed_paused_at_its_moment_and_goes_on(kept: Kept, shared_ktstr) -> None:
    def said(*args: str) -> str:
        process = shared_ktstr.command(*args)
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
        return output

    process = shared_ktstr.command("resume", str(kept.step))
    try:
        seen = shared_ktstr.read_until(process, "resume:")
        assert "the VM is kept, paused" in seen and "fails at the end of step 1" in seen
        socket = seen.split()[-1]
        assert said("debug", socket, "-c", MOMENT) == said("debug", str(kept.step), "-c", MOMENT)
        assert said("debug", socket, "-c", MOMENT).split()[1] == "ktstr"
        assert said("resume", socket) == "the VM is running\n"
        seen = shared_ktstr.read_until(process, "goodbye")
        told = [line.partition(": ")[2] for line in seen.splitlines() if "the guest: " in line]
        assert told == [
            "step 1 ends",
            "step 2 begins",
            "step 2 ends",
            "the scenario ends",
            "goodbye: done",
        ]
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0, output
    finally:
        process.kill()
        process.wait()
