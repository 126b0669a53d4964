# SPDX-License-Identifier: GPL-2.0-only
"""What a scenario says is what the guest does: every op, every kind of scheduler, in real VMs."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from ktstr.model.op_models import AnyOp
from ktstr.vm.closure import library_entries
from ktstr.vm.image import ImageStore

pytestmark = [pytest.mark.vm, pytest.mark.timeout(600)]

CHECKS = """
[checks]
not_starved = true
max_gap_ms = 30000
"""

SPIN = '{ type = "SpinWait", workers = 1 }'
TWO_ON_1 = '{ type = "SpinWait", workers = 2, affinity = "1" }'
TWO_SPINS = '{ type = "SpinWait", workers = 2 }'

OPS = f"""
name = "every_op"
[vm]
topology = "1n2l2c1t"
[scheduler]
bpf = "scx_ktstr"
[run]
num_snapshots = 4
settle = "100ms"

[backdrop]
cgroups = [
  {{ name = "alpha", cpuset = "0", works = [{SPIN}] }},
  {{ name = "beta", cpuset = "1", works = [{SPIN}] }},
  {{ name = "moved", cpuset = "0", works = [{SPIN}] }},
  {{ name = "target", cpuset = "2" }},
  {{ name = "stopped", works = [{SPIN}] }},
  {{ name = "removed", cpuset = "0", works = [{SPIN}, {SPIN}] }},
  {{ name = "loosed", cpuset = "0-1", works = [{TWO_ON_1}] }},
]
ops = [
  {{ op = "AddCgroup", cgroup = "freed" }},
  {{ op = "SetCpuset", cgroup = "freed", cpuset = "3" }},
  {{ op = "Spawn", cgroup = "freed", work = {TWO_SPINS} }},
  {{ op = "SetWeight", cgroup = "freed", weight = 400 }},
]

[[steps]]
name = "first"
hold = "1s"
ops = [
  {{ op = "AddCgroup", cgroup = "bound" }},
  {{ op = "SetCpuset", cgroup = "bound", cpuset = "2-3" }},
  {{ op = "Spawn", cgroup = "bound", work = {TWO_SPINS} }},
  {{ op = "SetAffinity", cgroup = "bound", affinity = "3" }},
  {{ op = "SetAffinity", cgroup = "loosed", affinity = "inherit" }},
]
cgroups = [{{ name = "own", cpuset = "2", works = [{SPIN}] }}]

[[steps]]
name = "second"
hold = "5s"
ops = [
  {{ op = "Pause", duration = "4500ms" }},
  {{ op = "Resume" }},
  {{ op = "SwapCpusets", cgroup = "alpha", other = "beta" }},
  {{ op = "MoveAllTasks", cgroup = "moved", to = "target" }},
  {{ op = "StopCgroup", cgroup = "stopped" }},
  {{ op = "RemoveCgroup", cgroup = "removed" }},
  {{ op = "ClearCpuset", cgroup = "freed" }},
]
cgroups = [{{ name = "removed", cpuset = "1", works = [{SPIN}] }}]

[[steps]]
name = "third"
hold = "1s"
# No cpuset: what is left of the second step's cgroup of that name must not be met.
cgroups = [{{ name = "removed", works = [{{ type = "SpinWait", workers = 4 }}] }}]
{CHECKS}"""


def reports(record: dict[str, Any]) -> dict[tuple[int, str], list[dict[str, Any]]]:
    """Reports by (step, cgroup)."""
    found: dict[tuple[int, str], list[dict[str, Any]]] = {}
    for worker in record["workers"]:
        found.setdefault((worker["step"], worker["cgroup"]), []).append(worker["report"])
    return found


def cpus(found: list[dict[str, Any]]) -> set[int]:
    return set().union(*(report["cpus_used"] for report in found))


def test_every_op_has_its_effect(ktstr, scenario_file) -> None:
    names = {model.__name__ for model in AnyOp.__origin__.__args__} - {"InjectFault"}
    others = (Path(__file__).with_name(name) for name in ("test_ops.py", "test_watch.py"))
    elsewhere = "".join(path.read_text() for path in others)
    assert {name for name in names if f'"{name}"' not in OPS + elsewhere} == set()

    done = ktstr.run(scenario_file(OPS))
    record = done.record
    assert record["error"] is None, done.output
    assert record["stimulus"][-1]["label"] == "ScenarioEnd", done.output
    found = reports(record)
    assert all(report["completed"] for group in found.values() for report in group)
    # StopCgroup and RemoveCgroup end workers without reports.
    assert {key: len(group) for key, group in found.items()} == {
        (0, "alpha"): 1,
        (0, "beta"): 1,
        (0, "moved"): 1,
        (0, "freed"): 2,
        (0, "loosed"): 2,
        (1, "bound"): 2,
        (1, "own"): 1,
        (2, "removed"): 1,
        (3, "removed"): 4,
    }
    assert cpus(found[0, "alpha"]) == cpus(found[0, "beta"]) == {0, 1}
    assert cpus(found[0, "moved"]) == {0, 2}
    assert cpus(found[0, "freed"]) > {3}
    for report in found[1, "bound"]:
        last = report["migrations"][-1]["to_cpu"] if report["migrations"] else None
        assert last == 3 or report["cpus_used"] == [3]
    assert cpus(found[0, "loosed"]) == {0, 1}
    assert cpus(found[1, "own"]) == {2}
    assert cpus(found[2, "removed"]) == {1}
    assert cpus(found[3, "removed"]) > {1}

    at = {event["label"]: event["elapsed_ms"] for event in record["stimulus"]}
    # The pause lies between them: the host waited for it, the workload's clock did not.
    assert at["StepStart[1]"] == at["StepEnd[0]"]
    assert record["host"]["wall_s"] >= 4.5 + at["ScenarioEnd"] / 1000
    assert at["StepEnd[1]"] - at["StepStart[1]"] >= 5000
    # Boundaries at 1.8, 2.9, 4.1 and 5.2 s of workload. Step 1 ends at 1 s and the pause follows:
    # a clock that ran on would let them fall into it, when step 2 has not begun.
    steps = [sample["step_index"] for sample in record["samples"]]
    assert steps[2:] == [2, 2]
    assert all(sample["error"] is None for sample in record["samples"])


ENDED = f"""
name = "ended"
[vm]
topology = "1n1l2c1t"
[scheduler]
bpf = "scx_ktstr"
[backdrop]
cgroups = [
  {{ name = "stopped", works = [{SPIN}] }},
  {{ name = "removed", works = [{SPIN}] }},
]
[[steps]]
hold = "500ms"
ops = [
  {{ op = "StopCgroup", cgroup = "stopped" }},
  {{ op = "RemoveCgroup", cgroup = "removed" }},
]
cgroups = [{{ name = "own", works = [{SPIN}] }}]
{CHECKS}"""


def test_workers_that_an_op_ended_are_not_missed(ktstr, scenario_file) -> None:
    done = ktstr.run(scenario_file(ENDED))
    assert done.code == 0, done.output


WEIGHTS = f"""
name = "weights"
[vm]
topology = "1n1l2c1t"
[scheduler]
kernel_default = true
[[steps]]
hold = "4s"
ops = [
  {{ op = "AddCgroup", cgroup = "heavy" }},
  {{ op = "SetCpuset", cgroup = "heavy", cpuset = "0" }},
  {{ op = "SetWeight", cgroup = "heavy", weight = 300 }},
  {{ op = "Spawn", cgroup = "heavy", work = {SPIN} }},
]
cgroups = [{{ name = "light", cpuset = "0", weight = 100, works = [{SPIN}] }}]
{CHECKS}"""


def test_weights_share_a_cpu_under_the_kernels_own_scheduler(ktstr, scenario_file) -> None:
    def ratio() -> float:
        done = ktstr.run(scenario_file(WEIGHTS))
        assert done.code == 0, done.output
        assert done.record["scheduler"]["kind"] == "none"
        found = reports(done.record)
        heavy, light = (found[1, name][0]["cpu_time_ns"] for name in ("heavy", "light"))
        return float(heavy / light)

    # Once in some dozens of runs the kernel (7.2) gives the heavier group a twentieth for the whole
    # hold; the harness has no part in that, so two runs are asked, and one has to be right.
    found = [ratio()]
    if not 3 * 0.75 <= found[0] <= 3 * 1.25:
        found.append(ratio())
    assert 3 * 0.75 <= found[-1] <= 3 * 1.25, found


REALTIME = f"""
name = "realtime"
[vm]
topology = "1n1l2c1t"
[scheduler]
kernel_default = true
[[steps]]
hold = "2s"
[[steps.cgroups]]
name = "greedy"
works = [{{ type = "SpinWait", workers = 4, policy = "fifo", rt_prio = 50 }}]
{CHECKS}"""


def test_realtime_workers_on_every_cpu_do_not_lock_the_agent_out(ktstr, scenario_file) -> None:
    done = ktstr.run(scenario_file(REALTIME.replace("not_starved = true\n", "")))
    assert done.code == 0, done.output
    at = {event["label"]: event["elapsed_ms"] for event in done.record["stimulus"]}
    assert 2000 <= at["StepEnd[0]"] - at["StepStart[0]"] < 4000


BINARY = (
    """
name = "binary"
[vm]
topology = "1n1l2c1t"
[scheduler]
binary = "PROGRAM"
args = ARGS
[[steps]]
hold = "1s"
[[steps.cgroups]]
name = "one"
works = [{ type = "Mixed", workers = 2 }]
"""
    + CHECKS
)


def binary_scenario(program: Path, args: list[str]) -> str:
    quoted = "[" + ", ".join(f'"{arg}"' for arg in args) + "]"
    return BINARY.replace("PROGRAM", program.name).replace("ARGS", quoted)


def compiled(folder: Path, source: str, *flags: str) -> Path:
    """A program of these C lines."""
    path = folder / "scheduler"
    subprocess.run(
        ["gcc", "-O2", "-Wall", "-Werror", "-o", str(path), "-x", "c", "-", "-x", "none", *flags],
        input=source,
        text=True,
        check=True,
    )
    return path


def test_a_binary_that_never_attaches_fails_with_how_it_ended(
    ktstr, scenario_file, tmp_path: Path
) -> None:
    source = '#include <stdio.h>\nint main(void) { puts("no such scheduler"); return 7; }\n'
    program = compiled(tmp_path, source, "-static")
    done = ktstr.run(scenario_file(binary_scenario(program, [])))
    assert done.code == 1, done.output
    (why,) = done.details()
    assert "did not attach" in why and "exited with status 7" in why
    assert "no such scheduler" in done.evidence["scheduler.log"]


def test_a_script_without_its_interpreter_says_so(ktstr, scenario_file, tmp_path: Path) -> None:
    program = tmp_path / "scheduler.sh"
    program.write_text("#!/bin/sh\nexit 0\n")
    done = ktstr.run(scenario_file(binary_scenario(program, [])))
    assert done.code == 1, done.output
    assert "the interpreter in its first line" in done.details()[0]


# Finds its own library, says nothing and stays: the attachment has to be seen from outside.
WRAPPER = """
#include <math.h>
#include <stdio.h>
#include <unistd.h>
int main(int argc, char **argv)
{
	volatile double two = 2;
	char *loader[] = {"/ktstr/bin/scx_load", "/ktstr/sched/scx_ktstr.bpf.o", NULL};

	if (argc != 2 || cbrt(two * 4) != 2)
		return 3;
	freopen("/dev/null", "w", stdout);
	freopen("/dev/null", "w", stderr);
	close(3);
	execv(loader[0], loader);
	return 4;
}
"""


def test_a_binary_that_attaches_without_a_word_passes(ktstr, scenario_file, tmp_path: Path) -> None:
    program = compiled(tmp_path, WRAPPER, "-Wno-unused-result", "-no-pie", "-lm")
    assert any("libm.so" in entry.path for entry in library_entries([program]))
    done = ktstr.run(scenario_file(binary_scenario(program, ["word"])))
    assert done.code == 0, done.output
    record = done.record
    assert [s["event"] for s in record["scheduler"]["statuses"]] == ["attached"]
    assert record["scheduler"]["exit"] is None
    assert len(record["workers"]) == 2


def test_a_loader_of_ones_own_passes_with_its_statuses(
    ktstr, scenario_file, tmp_path: Path
) -> None:
    built = max(
        ImageStore().root.glob("compiled-*/scx_load"), key=lambda path: path.stat().st_mtime
    )
    program = tmp_path / "my_loader"
    program.write_bytes(built.read_bytes())
    args = ["--timeout-ms", "15000", "/ktstr/sched/scx_ktstr.bpf.o"]
    done = ktstr.run(scenario_file(binary_scenario(program, args)))
    assert done.code == 0, done.output
    assert "attached" in [s["event"] for s in done.record["scheduler"]["statuses"]]
