# SPDX-License-Identifier: GPL-2.0-only
"""Ops and cgroup limits in real VMs: each has the effect its name promises."""

import shutil
import subprocess
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.vm, pytest.mark.timeout(600)]

LIMITS = """
name = "limits"
[vm]
topology = "1n1l2c1t"
[scheduler]
kernel_default = true
kernel_args = ["ktstr_marker=1"]
sysctls = { "kernel.sched_schedstats" = 1 }
[run]
duration = "7s"

[[steps]]
name = "weights"
hold = "2s"
cgroups = [
    { name = "heavy", cpuset = "0", weight = 300, works = [{ type = "SpinWait", workers = 2 }] },
    { name = "light", cpuset = "0", weight = 100, works = [{ type = "SpinWait", workers = 2 }] },
]

[[steps]]
name = "limit"
hold = "2s"
cgroups = [
    { name = "limited", cpuset = "1", cpu_max = "25%", works = [{ type = "SpinWait" }] },
]

[[steps]]
name = "ice"
hold = "1s"
ops = [
    { op = "AddCgroupDef", name = "ice", works = [{ type = "SpinWait" }] },
    { op = "AddCgroupDef", name = "water", works = [{ type = "SpinWait" }] },
    { op = "AddCgroupDef", name = "thawed", works = [{ type = "SpinWait" }] },
    { op = "FreezeCgroup", cgroup = "ice" },
    { op = "FreezeCgroup", cgroup = "thawed" },
    { op = "UnfreezeCgroup", cgroup = "thawed" },
]

[[steps]]
name = "nested"
hold = "1s"
ops = [{ op = "SpawnHost", work = { type = "SpinWait" } }]
cgroups = [
    { name = "outer", cpuset = "1" },
    { name = "outer/inner", cpuset = "0-1", works = [{ type = "SpinWait", workers = 2 }] },
    { name = "outer/plain", works = [{ type = "SpinWait" }] },
]

[[steps]]
name = "churn"
hold = { loop = "250ms" }
ops = [
    { op = "AddCgroup", cgroup = "brief" },
    { op = "Spawn", cgroup = "brief", work = { type = "SpinWait" } },
    { op = "RemoveCgroup", cgroup = "brief" },
]
cgroups = [{ name = "steady", works = [{ type = "SpinWait" }] }]

[checks]
isolation = true
"""


def reports(record: dict[str, Any], step: int) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for worker in record["workers"]:
        if worker["step"] == step:
            found[worker["cgroup"]].append(worker["report"])
    return found


def cpu_ns(workers: list[dict[str, Any]]) -> int:
    """CPU time by the kernel's own account, not by the worker's clock."""
    return sum(int(report["schedstat_cpu_time_ns"]) for report in workers)


def shares(record: dict[str, Any]) -> tuple[float, float]:
    """CPU time of three to one by weight; share of the CPU under a limit of a quarter."""
    weights = reports(record, 1)
    (limited,) = reports(record, 2)["limited"]
    return (
        cpu_ns(weights["heavy"]) / cpu_ns(weights["light"]),
        limited["schedstat_cpu_time_ns"] / limited["wall_time_ns"],
    )


def test_limits_take_effect(ktstr: Any, scenario_file: Callable[[str], Path]) -> None:
    expected = pytest.approx((3.0, 0.25), rel=0.10)
    found = []
    # While the host keeps a vCPU from running, whoever is on it is charged: a busy host blurs.
    for _ in range(3):
        done = ktstr.run(scenario_file(LIMITS))
        assert done.code == 0, done.output
        record = done.record
        found.append(shares(record))
        if found[-1] == expected:
            break
        shutil.rmtree(done.out_dir)
    assert found[-1] == expected, found

    ice = reports(record, 3)
    (frozen,), (flowing,), (thawed,) = ice["ice"], ice["water"], ice["thawed"]
    assert frozen["max_gap_ms"] >= 950
    assert frozen["iterations"] < flowing["iterations"] / 3
    assert thawed["iterations"] > flowing["iterations"] / 3

    nested = reports(record, 4)
    assert [set(report["cpus_used"]) for report in nested["outer/inner"]] == [{1}, {1}]
    assert [set(report["cpus_used"]) for report in nested["outer/plain"]] == [{1}]
    assert len(nested["/"]) == 1

    churn = reports(record, 5)
    assert churn["steady"][0]["completed"]
    assert churn["brief"] == []
    ended = [event for event in record["stimulus"] if event.get("is_terminal")]
    assert ended[0]["elapsed_ms"] >= 7000


PROGRAM = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    char where[256] = "";
    FILE *file = fopen("/proc/self/cgroup", "r");
    if (file && fgets(where, sizeof(where), file))
        where[strcspn(where, "\n")] = 0;
    file = fopen("/include-files/numbers.txt", "r");
    int number = 0;
    if (file && fscanf(file, "%d", &number) != 1)
        return 9;
    usleep(1000 * atoi(argv[1]));
    printf("measured {\"from\": {\"file\": %d}, \"inside\": %d}\n", number,
           strstr(where, "/ktstr/base") != NULL);
    return argc > 2 ? atoi(argv[2]) : 0;
}
"""

QUICK = (
    'op = "RunPayload", name = "quick", command = "program", args = ["50", "3"], '
    'exit_code = 3, cgroup = "base", files = ["numbers.txt"]'
)

PROGRAMS = """
name = "programs"
[vm]
topology = "1n1l2c1t"
[scheduler]
bpf = "scx_ktstr"
[[backdrop.cgroups]]
name = "base"
works = [{ type = "SpinWait", workers = 2 }]

[[steps]]
name = "payloads"
hold = "500ms"
ops = [
    { QUICK },
    { op = "RunPayload", name = "slow", command = "program", args = ["100000"] },
    { op = "WaitPayload", name = "quick" },
    { op = "KillPayload", name = "slow" },
    { op = "CaptureSnapshot", name = "before" },
    { op = "WriteBpfGlobal", name = "degrade_rt", value = 1 },
    { op = "CaptureSnapshot", name = "written" },
    { op = "RestartScheduler" },
    { op = "CaptureSnapshot", name = "restarted" },
]

[[steps]]
name = "none"
hold = "500ms"
ops = [{ op = "DetachScheduler" }, { op = "CaptureSnapshot", name = "detached" }]

[[steps]]
name = "other"
hold = "500ms"
ops = [
    { op = "AttachScheduler" },
    { op = "ReplaceScheduler", scheduler = { bpf = "scx_ktstr", globals = { slow_every = 4 } } },
    { op = "CaptureSnapshot", name = "replaced" },
]

[checks]
not_starved = true
max_gap_ms = 20000
max_spread_pct = 100
"""


def variable(sample: dict[str, Any], name: str) -> int | None:
    """The value of a scheduler's global in a sample's record."""
    for section in sample["globals"].values():
        for member in section["members"]:
            if member["name"] == name:
                return int(member["value"]["value"])
    return None


def test_programs_come_and_go(
    ktstr: Any, scenario_file: Callable[[str], Path], tmp_path: Path
) -> None:
    (tmp_path / "program.c").write_text(PROGRAM)
    (tmp_path / "numbers.txt").write_text("42\n")
    subprocess.run(["cc", "-o", tmp_path / "program", tmp_path / "program.c"], check=True)
    done = ktstr.run(scenario_file(PROGRAMS.replace("QUICK", QUICK)))
    assert done.code == 0, done.output
    record = done.record
    measured = record["result"]["measurements"]
    assert measured["payload.quick.from.file"] == 42
    assert measured["payload.quick.inside"] == 1
    assert 50 <= measured["payload.quick.wall_ms"] < 60_000
    assert "payload.slow.inside" not in measured

    events = [status["event"] for status in record["scheduler"]["statuses"]]
    cycle = ["loaded", "attached", "detached"]
    assert events == cycle * 3 + ["loaded", "attached"]
    samples = {sample["tag"]: sample for sample in record["samples"]}
    assert [s["error"] for s in samples.values()] == [None] * 5
    assert [s["step_index"] for s in samples.values()] == [1, 1, 1, 2, 3]
    # The maps of a scheduler that ended go some time later, so "detached" may still show them.
    loaded = {tag: sample for tag, sample in samples.items() if tag != "detached"}
    values = {tag: variable(sample, "degrade_rt") for tag, sample in loaded.items()}
    assert values == {"before": 0, "written": 1, "restarted": 0, "replaced": 0}


RUN = '{ op = "RunPayload", name = "p", command = "program", args = ["500", "7"] }'
FAILURES = {
    "exit status": (
        RUN + ', { op = "WaitPayload", name = "p" }',
        "payload 'p' exited with status 7, 0 was expected",
    ),
    "time-out": (
        RUN + ', { op = "WaitPayload", name = "p", timeout = "20ms" }',
        "payload 'p' still ran after 0.02 s and was killed",
    ),
    "no such variable": (
        '{ op = "WriteBpfGlobal", name = "nothing_like_it", value = 1 }',
        "no variable 'nothing_like_it' in .bss or .data",
    ),
    "scheduler": (
        '{ op = "ReplaceScheduler", scheduler = { bpf = "scx_ktstr", globals = { no = 1 } } }',
        "the scheduler did not attach at set",
    ),
}


@pytest.mark.parametrize("case", FAILURES)
def test_an_op_that_fails_says_why(
    ktstr: Any, scenario_file: Callable[[str], Path], tmp_path: Path, case: str
) -> None:
    ops, words = FAILURES[case]
    (tmp_path / "program.c").write_text(PROGRAM)
    subprocess.run(["cc", "-o", tmp_path / "program", tmp_path / "program.c"], check=True)
    text = f"""
        [vm]
        topology = "1n1l2c1t"
        [scheduler]
        bpf = "scx_ktstr"
        [[backdrop.cgroups]]
        name = "base"
        works = [{{ type = "SpinWait" }}]
        [[steps]]
        hold = "300ms"
        ops = [{ops}]
        [checks]
        not_starved = true
        max_gap_ms = 20000
    """
    done = ktstr.run(scenario_file(text))
    assert done.code == 1, done.output
    assert any(words in detail for detail in done.details()), done.details()
