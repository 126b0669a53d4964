# SPDX-License-Identifier: GPL-2.0-only
"""Instants of past runs in real VMs: visited, gone on from, and found to be those of the run."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.vm, pytest.mark.timeout(600)]

SHORT = """
name = "short"
[vm]
topology = "1n1l2c1t"
[scheduler]
bpf = "scx_ktstr"
[run]
clock = "virtual"
seed = 5
[[steps]]
hold = "100ms"
[[steps.cgroups]]
name = "left"
works = [{ type = "PipeIo", workers = 2 }]
[[steps]]
hold = "100ms"
[[steps.cgroups]]
name = "right"
works = [{ type = "Bursty", workers = 3, params = { burst_us = 3_000 } }]
"""

ALONE = ("vcpu_regs", "stack_traces", "unavailable")
"""Members of a dump that only a machine that QEMU has paused has in full."""


def command(ktstr: Any, *args: str) -> dict[str, Any]:
    return {
        "args": [sys.executable, "-m", "ktstr.cli.main", *args],
        "env": {**os.environ, "KTSTR_TEST_MARK": ktstr.mark, "TMPDIR": str(ktstr.folder)},
        "text": True,
    }


def test_instants_of_a_run_are_visited_without_disturbing_it(ktstr, scenario_file) -> None:
    done = ktstr.run(scenario_file(SHORT))
    assert done.code == 2, done.output
    (record,) = done.out_dir.glob("*.ktstr.json")
    folder = record.with_name(record.name.replace(".ktstr.json", ".at"))

    # Halted some five times and read for seconds, the guest sends what it sent before, to its end.
    every = subprocess.run(
        **command(ktstr, "at", str(record), "--every", "50"), capture_output=True, timeout=300
    )
    assert every.returncode == 0, every.stdout + every.stderr
    assert "every byte that the guest sent to its end is as recorded" in every.stdout
    dumps = [json.loads(path.read_text()) for path in sorted(folder.glob("*ms.json"))]
    elapsed = [dump["elapsed_ms"] for dump in dumps]
    assert len(elapsed) > 4 and [at // 50 for at in elapsed] == list(range(len(elapsed)))

    # The snapshots are of those instants: the kernel's own clocks say so, apart from the one that
    # the guest was halted by.
    uptimes = [
        float(text) * 1e9 for text in re.findall(r"guest's clock +([0-9.]+) s", every.stdout)
    ]
    for dump, uptime_ns in zip(dumps, uptimes, strict=True):
        # A CPU may have been idle for a while; the other then was not.
        clock = max(cpu["clock"] for cpu in dump["rq_scx_states"])
        assert abs(clock - uptime_ns) < 20e6, (clock, uptime_ns)
    # And so do the processes: each step's workers have a parent of their own.
    ends = [event["elapsed_ms"] for event in done.record["stimulus"] if event["is_step_end"]]
    parents: dict[bool, set[int]] = {False: set(), True: set()}
    for dump in dumps:
        found = {task["pid"] for task in dump["task_enrichments"] if task["comm"] == "worker"}
        # A tick after the end of the first step may lie before the second's beginning.
        if not 0 <= dump["elapsed_ms"] - ends[0] < 10:
            parents[dump["elapsed_ms"] < ends[0]] |= found
    assert parents[True] and parents[False]
    assert not parents[True] & parents[False]

    # Another repeat, which goes there at once, stands in the same state; and QEMU has paused it.
    alone = subprocess.Popen(
        **command(
            ktstr, "at", str(record), "--ms", "150", "--json", str(ktstr.folder / "150.json")
        ),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    assert alone.stdout is not None
    seen = ""
    for line in alone.stdout:
        seen += line
        if "resume:" in line:
            break
    assert "the VM is kept, paused" in seen, seen
    (qmp,) = re.findall(r"ktstr debug (\S+)", seen)
    prompt = subprocess.run(
        **command(ktstr, "debug", qmp, "-c", "print(prog['jiffies_64'].value_())"),
        capture_output=True,
        timeout=100,
    )
    assert prompt.stdout.strip().isdigit(), prompt.stderr
    alone.send_signal(signal.SIGINT)
    rest, _ = alone.communicate(timeout=100)
    assert alone.returncode == 0, seen + rest
    visited = json.loads((ktstr.folder / "150.json").read_text())
    assert len(visited["vcpu_regs"]) == 2
    shared = [
        {name: part for name, part in dump.items() if name not in ALONE}
        for dump in (visited, dumps[3])
    ]
    assert shared[0] == shared[1]


def test_a_wall_clock_record_has_no_instants(ktstr, tmp_path: Path) -> None:
    path = tmp_path / "x.ktstr.json"
    path.write_text('{"schema": 3, "name": "x"}')
    done = subprocess.run(
        **command(ktstr, "at", str(path), "--ms", "1"), capture_output=True, timeout=100
    )
    assert done.returncode == 4
    assert "by the wall clock" in done.stderr
