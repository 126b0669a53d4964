# SPDX-License-Identifier: GPL-2.0-only
"""The virtual clock in real VMs: a seed is one run, also beside a busy host."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ktstr.session.identity import digest_of_file, identity_digest
from ktstr.wire import FrameDecoder, MsgType

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
hold = "400ms"
[[steps.cgroups]]
name = "left"
works = [{ type = "Bursty", workers = 2, params = { burst_us = 9_000 } }]
[[steps.cgroups]]
name = "right"
works = [{ type = "PipeIo", workers = 2 }]
[checks]
not_starved = true
"""

BUSY = """
name = "busy"
[vm]
topology = "1n1l2c1t"
[scheduler]
kernel_default = true
[run]
clock = "virtual"
seed = 1
[[steps]]
hold = "1s"
[[steps.cgroups]]
name = "left"
cpuset = "0"
works = [{ type = "SpinWait" }]
[[steps.cgroups]]
name = "right"
cpuset = "1"
works = [{ type = "SpinWait" }]
[checks]
not_starved = true
"""


def verify(ktstr, path: Path, *args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ktstr.cli.main", "verify-determinism", str(path)]
    return subprocess.run(
        [*command, "--out", str(ktstr.folder / "out"), *args],
        env={**os.environ, "KTSTR_TEST_MARK": ktstr.mark, "TMPDIR": str(ktstr.folder)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_runs_of_one_seed_are_equal_on_a_busy_host_too_and_another_seed_is_another_run(
    ktstr, scenario_file
) -> None:
    path = scenario_file(SHORT)
    done = verify(ktstr, path, "-n", "3", "--load")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (
        "deterministic: 3 of 3 runs are the same, 1 of them on a busy host; seed 5" in done.stdout
    )
    assert len(set(re.findall(r"^run \d of 3: ([0-9a-f]{16})", done.stdout, re.M))) == 1

    # What was said is looked at once more: the bytes, and that they hold what a run has.
    out = ktstr.folder / "out"
    frames = sorted(out.glob("*.frames.bin"))
    first, *others = (each.read_bytes() for each in frames)
    assert others == [first, first]
    found = FrameDecoder().feed(first)
    kinds = [frame.msg_type for frame in found]
    assert (kinds[0], kinds[-1]) == (MsgType.HELLO, MsgType.GOODBYE)
    workers = [frame for frame in found if frame.msg_type == MsgType.WORKER_REPORT]
    assert len(workers) == 4
    records = sorted(out.glob("*.ktstr.json"))
    one, *rest = (json.loads(each.read_text()) for each in records)
    assert {identity_digest(each) for each in records} == {one["identity"]}
    assert one["virtual"]["frames"]["sha256"] == digest_of_file(frames[0])
    assert one["virtual"]["seed"] == 5 and one["accelerator"] == "tcg"
    assert one["metrics"] and all(each["metrics"] == one["metrics"] for each in rest)
    assert len({each["host"]["run_id"] for each in (one, *rest)}) == 3

    for each in (*frames, *records):
        each.unlink()
    other = ktstr.run(path, "--seed", "6")
    assert other.code == 0, other.output
    assert other.record["identity"] != one["identity"]
    assert f"identity: {other.record['identity']}, virtual clock, seed 6" in other.output
    assert other.record["stimulus"] != one["stimulus"]


def test_vcpus_that_are_always_busy_share_the_time(ktstr, scenario_file) -> None:
    done = ktstr.run(scenario_file(BUSY))
    assert done.code == 0, done.output
    record = done.record
    version = tuple(int(part) for part in record["virtual"]["qemu"].split()[0].split("."))
    assert version >= (8, 1), "the host's QEMU is too old, and no other was fetched"
    (end,) = (each for each in record["stimulus"] if each["label"] == "StepEnd[0]")
    assert 1000 <= end["elapsed_ms"] <= 1010
    workers = [each["report"] for each in record["workers"]]
    assert len(workers) == 2
    for worker in workers:
        # Each has a CPU of its own for a second; before 8.1 one of them found 0.6 s, or none.
        assert worker["cpu_time_ns"] >= 0.95e9 and 0.99e9 <= worker["wall_time_ns"] <= 1.01e9
    # QEMU begins its turn over the vCPUs anew whenever one of them sets the earliest timer; the
    # one behind it then has as little as 0.6 of the other's share (decision 0025).
    less, more = sorted(worker["work_units"] for worker in workers)
    assert less >= 0.5 * more
