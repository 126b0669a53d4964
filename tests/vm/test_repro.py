# SPDX-License-Identifier: GPL-2.0-only
"""Failed runs are repeated with probes, in real VMs."""

import json
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.vm.conftest import Finished, Ktstr

pytestmark = [pytest.mark.vm, pytest.mark.timeout(600)]

CRASH_LATER = """
name = "crash_later"
[vm]
topology = "1n1l2c1t"
[scheduler]
bpf = "scx_ktstr"
[[backdrop.cgroups]]
name = "busy"
works = [{ type = "SpinWait", workers = 4 }]
[[steps]]
name = "load"
hold = "700ms"
[[steps]]
name = "crash"
hold = "3s"
ops = [{ op = "WriteBpfGlobal", name = "crash", value = 1 }]
"""
STALL = """
name = "stall"
[vm]
topology = "1n1l2c1t"
[scheduler]
bpf = "scx_ktstr"
globals = { stall_after_ms = 800 }
timeout = "2s"
[[steps]]
name = "load"
hold = "10s"
[[steps.cgroups]]
name = "busy"
works = [{ type = "SpinWait", workers = 4 }]
"""
TOO_MUCH_ASKED = """
name = "too_much"
[scheduler]
kernel_default = true
[[steps]]
hold = "1s"
[[steps.cgroups]]
name = "busy"
works = [{ type = "SpinWait", workers = 1 }]
[checks]
min_iteration_rate = 1e15
"""


def records(out: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The records of the first run and of its repetition."""
    (again,) = out.glob("*.repro.ktstr.json")
    (first,) = set(out.glob("*.ktstr.json")) - {again}
    return json.loads(first.read_text()), json.loads(again.read_text())


def run(ktstr: Ktstr, scenario: Path) -> tuple[Finished, dict[str, Any], dict[str, Any]]:
    ktstr.env["KTSTR_AUTO_REPRO"] = "1"
    done = ktstr.run(scenario)
    assert done.code == 1, done.output
    return done, *records(done.out_dir)


def calls_of(repro: dict[str, Any]) -> dict[str, tuple[int, int]]:
    return {each["name"]: (each["entries"], each["exits"]) for each in repro["callbacks"]}


def worker_pids(record: dict[str, Any]) -> set[int]:
    return {int(each["report"]["tid"]) for each in record["workers"]}


def callbacks(lines: list[str]) -> list[str]:
    return [re.findall(r"cpu \d+  (\w+)\(", line)[0] for line in lines]


def times_ms(lines: list[str]) -> list[float]:
    return [float(line.split()[0]) for line in lines]


def tasks(repro: dict[str, Any]) -> dict[int, list[str]]:
    """Lines of each task's chain by pid."""
    found = {}
    for chain in repro["chain"]:
        if match := re.match(r".*\[(\d+)\], ", chain["title"]):
            found[int(match[1])] = chain["lines"]
    return found


def test_an_error_is_raised_again_with_the_callbacks_before_it(
    ktstr: Ktstr, scenario_file: Callable[[str], Path]
) -> None:
    done, first, again = run(ktstr, scenario_file(CRASH_LATER))
    repro = first["repro"]
    assert repro["same_way"] and repro["load_bearing"], done.output
    assert again["host"]["run_id"] == first["host"]["run_id"] + ".repro"
    assert "repro" not in again
    assert "host-triggered crash" in repro["headline"]
    assert done.output.index("FAIL  crash_later") < done.output.index("--- auto-repro ---")
    assert repro["exit_probe"] and not repro["missing"]
    assert repro["counters"]["trigger_count"] >= 1
    calls = calls_of(repro)
    for name in ("enqueue", "dispatch", "running", "stopping"):
        entries, exits = calls[name]
        # One call may not have returned at each of two CPUs when memory was read.
        assert entries > 0 and 0 <= entries - exits <= 2, name
    assert calls["init"] == (1, 1)
    # The scheduler counts its own calls: the probes missed none of them, and made none up.
    last = again["host"]["evidence"]
    variables = globals_of(Path(last) / "last-snapshot.json")
    assert variables["nr_enqueued"] == calls["enqueue"][0]
    assert variables["nr_running_cb"] == calls["running"][0]
    (title, *_) = [chain["title"] for chain in repro["chain"]]
    assert title.startswith("exit kind 1025 on CPU ")
    of_workers = {pid: lines for pid, lines in tasks(repro).items() if pid in worker_pids(again)}
    assert of_workers, repro["chain"]
    for lines in of_workers.values():
        assert times_ms(lines) == sorted(times_ms(lines))
        assert times_ms(lines)[-1] <= 0
        order = [name for name in callbacks(lines) if name != "dispatch"]
        # Whoever is put on a queue runs, and whoever runs stops. With time left of its slice a
        # task that was stopped runs on without having been put on a queue again.
        allowed = {
            "enqueue": {"running"},
            "running": {"stopping"},
            "stopping": {"enqueue", "running"},
        }
        assert all(after in allowed[before] for before, after in pairwise(order)), lines
    assert any("slice" in line and "→" in line for lines in of_workers.values() for line in lines)
    report = next(done.out_dir.glob("*[0-9a-f].evidence/repro.txt")).read_text()
    assert "--- scheduler log (last 40 lines) ---" in report


def globals_of(path: Path) -> dict[str, int]:
    found = {}
    for section in json.loads(path.read_text())["maps"]:
        if section["name"].endswith(".bss"):
            for member in section["value"]["members"]:
                found[member["name"]] = member["value"].get("value")
    return found


def test_a_stall_shows_who_was_enqueued_and_never_ran(
    ktstr: Ktstr, scenario_file: Callable[[str], Path]
) -> None:
    done, first, again = run(ktstr, scenario_file(STALL))
    repro = first["repro"]
    assert repro["failed_again"] and "ERROR_STALL" in repro["headline"], done.output
    assert repro["counters"]["trigger_count"] >= 1
    waiting = {
        chain["title"]: chain["lines"]
        for chain in repro["chain"]
        if "not run since" in chain["title"]
    }
    assert waiting, repro["chain"]
    for lines in waiting.values():
        assert callbacks(lines)[-1] == "enqueue"
        # It waited since before the watchdog's two seconds began to count down to the end.
        assert times_ms(lines)[-1] < -500
    assert {pid for pid in tasks(repro) if pid in worker_pids(again)}, repro["chain"]


def test_a_failure_under_the_kernels_own_scheduler_is_not_repeated(
    ktstr: Ktstr, scenario_file: Callable[[str], Path]
) -> None:
    ktstr.env["KTSTR_AUTO_REPRO"] = "1"
    done = ktstr.run(scenario_file(TOO_MUCH_ASKED))
    assert done.code == 1
    assert "no repetition with probes: it failed under the kernel's own scheduler" in done.output
    assert list(done.out_dir.glob("*.repro.*")) == []
    assert "repro" not in done.record
