# SPDX-License-Identifier: GPL-2.0-only
"""The plan is plain data with nothing left to resolve; cpusets for isolation follow the ops."""

import msgpack
import pytest

from ktstr.errors import DefinitionInvalid
from ktstr.model.plan import build_plan, expected_cpusets, workload_ms
from ktstr.model.scenario import scenario_from_toml
from ktstr.model.topology import Topology

TOPOLOGY = Topology.parse("2n2l2c1t")

NO_EXTRAS = {
    "sysctls": [],
    "profile": "default",
    "cgroup_parent": "/ktstr",
    "attach_ms": 60_000,
}

TEXT = """
name = "plan"
[vm]
topology = "2n2l2c1t"
[scheduler]
bpf = "scx_ktstr"
globals = { on = true, off = false, n = -3, text = "x" }
timeout = "1500ms"
[run]
settle = "100ms"
seed = 9
[[backdrop.cgroups]]
name = "base"
cpuset = { numa = 0 }
weight = 200
works = [{ type = "Bursty", workers = 3, params = { sleep_us = 5 } }]
[[steps]]
hold = "1s"
[[steps.cgroups]]
name = "a"
cpuset = { overlap = [0, 3, 1.0] }
works = [{ type = "SpinWait", policy = "fifo", rt_prio = 10, nice = 1, affinity = "0" }]
[[steps]]
name = "second"
hold = "500ms"
ops = [
  { op = "SetCpuset", cgroup = "base", cpuset = "2-3" },
  { op = "SetAffinity", cgroup = "base", affinity = "inherit" },
  { op = "AddCgroup", cgroup = "n" },
  { op = "Spawn", cgroup = "n", work = { type = "PipeIo" } },
  { op = "SwapCpusets", cgroup = "base", other = "n" },
  { op = "InjectFault", fault = "guest-hang", at = "250ms" },
  { op = "Pause", duration = "70ms" },
  { op = "Resume" },
]
"""


def test_the_whole_plan() -> None:
    scenario = scenario_from_toml(TEXT)
    bursty = {
        "type": "Bursty",
        "workers": 3,
        "policy": "normal",
        "rt_prio": 0,
        "nice": 0,
        "affinity": None,
        "params": {"burst_us": 50_000, "sleep_us": 5},
    }
    spin = {
        "type": "SpinWait",
        "workers": 1,
        "policy": "fifo",
        "rt_prio": 10,
        "nice": 1,
        "affinity": "0",
        "params": {},
    }
    pipe = {
        "type": "PipeIo",
        "workers": 2,
        "policy": "normal",
        "rt_prio": 0,
        "nice": 0,
        "affinity": None,
        "params": {"burst_iters": 1024},
    }
    assert build_plan(scenario, TOPOLOGY) == {
        "version": 1,
        "name": "plan",
        "clock": "wall",
        "seed": 9,
        "jitter_us": 4000,
        "duration_ms": 1500,
        "settle_ms": 100,
        "cpus": 4,
        "expected_topology": {"cpus": 4, "llcs": [[0, 1], [2, 3]], "nodes": [[0, 1], [2, 3]]},
        "scheduler": {
            "kind": "bpf",
            "path": "/ktstr/sched/scx_ktstr.bpf.o",
            "args": [],
            "set": [["on", "1"], ["off", "0"], ["n", "-3"], ["text", "x"]],
            "timeout_ms": 1500,
            **NO_EXTRAS,
        },
        "backdrop": {
            "cgroups": [
                {"name": "base", "cpus": "0-1", "weight": 200, "cpu_max": None, "works": [bursty]}
            ],
            "ops": [],
        },
        "steps": [
            {
                "index": 1,
                "name": "step1",
                "hold_ms": 1000,
                "loop_ms": None,
                "ops": [],
                # usable CPUs 0-2, shares of one CPU, the first widened by one on both sides
                "cgroups": [
                    {"name": "a", "cpus": "0-1", "weight": None, "cpu_max": None, "works": [spin]}
                ],
            },
            {
                "index": 2,
                "name": "second",
                "hold_ms": 500,
                "loop_ms": None,
                "ops": [
                    {"kind": 2, "op": "SetCpuset", "cgroup": "base", "cpus": "2-3"},
                    {"kind": 7, "op": "SetAffinity", "cgroup": "base", "cpus": None},
                    {"kind": 0, "op": "AddCgroup", "cgroup": "n"},
                    {"kind": 5, "op": "Spawn", "cgroup": "n", "work": pipe},
                    {"kind": 4, "op": "SwapCpusets", "cgroup": "base", "other": "n"},
                    {
                        "kind": 31,
                        "op": "InjectFault",
                        "fault": "guest-hang",
                        "at_ms": 250,
                        "cgroup": None,
                        "size": 5 * 1024 * 1024,
                    },
                    {"kind": 29, "op": "Pause", "duration_ms": 70},
                    {"kind": 30, "op": "Resume"},
                ],
                "cgroups": [],
            },
        ],
    }
    assert workload_ms(scenario) == 1500


def test_the_plan_survives_msgpack() -> None:
    plan = build_plan(scenario_from_toml(TEXT), TOPOLOGY)
    assert msgpack.unpackb(msgpack.packb(plan), strict_map_key=True) == plan


def test_the_default_watchdog_and_the_other_schedulers() -> None:
    def scheduler(table: str) -> object:
        text = f"scheduler = {table}\nsteps = [{{ hold = 1 }}]"
        return build_plan(scenario_from_toml(text), Topology())["scheduler"]

    assert scheduler('{ bpf = "scx_ktstr" }') == {
        "kind": "bpf",
        "path": "/ktstr/sched/scx_ktstr.bpf.o",
        "args": [],
        "set": [],
        "timeout_ms": 20_000,
        **NO_EXTRAS,
    }
    assert scheduler('{ binary = "/bin/true", args = ["-v", "1"] }') == {
        "kind": "binary",
        "path": "/ktstr/sched/true",
        "args": ["-v", "1"],
        "set": [],
        "timeout_ms": None,
        **NO_EXTRAS,
    }
    assert scheduler("{ kernel_default = true }") == {
        "kind": "none",
        "path": None,
        "args": [],
        "set": [],
        "timeout_ms": None,
        **NO_EXTRAS,
    }


def test_another_topology_is_checked_again() -> None:
    scenario = scenario_from_toml(TEXT, file="s.toml")
    with pytest.raises(DefinitionInvalid) as raised:
        build_plan(scenario, Topology.parse("1n1l2c1t"))
    (cpuset, share) = raised.value.problems
    assert (share.line, share.key, share.found) == (
        27,
        "steps[1].ops[0].cpuset",
        '"2-3"',
    )
    assert share.allowed == "CPUs 0-1 (topology 1n1l2c1t)"
    assert cpuset.key == "steps[0].cgroups[0].cpuset"


def test_a_plan_too_large_for_the_mailbox() -> None:
    cgroups = "".join(f'[[steps.cgroups]]\nname = "c{i}"\nworks = WORKS\n' for i in range(64))
    works = "[" + '{ type = "SpinWait" },' * 60 + "]"
    text = f'[scheduler]\nkernel_default = true\n[[steps]]\nhold = "1s"\n{cgroups}'
    scenario = scenario_from_toml(text.replace("WORKS", works))
    with pytest.raises(DefinitionInvalid, match="below 256 KiB"):
        build_plan(scenario, Topology())


def cpusets(steps: str, backdrop: str = "") -> dict[tuple[int, str], set[int]]:
    text = f'vm.topology = "1n2l2c1t"\nscheduler.kernel_default = true\n{backdrop}\n{steps}'
    scenario = scenario_from_toml(text)
    found = expected_cpusets(scenario, scenario.vm.topology)
    return {label: set(cpus) for label, cpus in found.items()}


def backdrop(*cgroups: tuple[str, str]) -> str:
    return "".join(
        f'[[backdrop.cgroups]]\nname = "{name}"\n{cpuset}\nworks = [{{ type = "SpinWait" }}]\n'
        for name, cpuset in cgroups
    )


def step(*ops: str, cgroups: str = "") -> str:
    return f"[[steps]]\nhold = 1\nops = [{', '.join(ops)}]\n{cgroups}"


def test_step_cgroups_have_their_own_cpus() -> None:
    cgroups = (
        '[[steps.cgroups]]\nname = "a"\ncpuset = "1"\nworks = [{ type = "SpinWait" }]\n'
        '[[steps.cgroups]]\nname = "free"\nworks = [{ type = "SpinWait" }]\n'
        '[[steps.cgroups]]\nname = "empty"\ncpuset = "1"\n'
    )
    assert cpusets(step(cgroups=cgroups) + step()) == {(1, "a"): {1}}


def test_a_changed_cpuset_widens_the_whole_run_but_not_the_step() -> None:
    change = '{ op = "SetCpuset", cgroup = "b", cpuset = "2" }'
    assert cpusets(step() + step(change) + step(), backdrop(("b", 'cpuset = "0-1"'))) == {
        (0, "b"): {0, 1, 2},
        (1, "b"): {0, 1},
        (2, "b"): {2},
        (3, "b"): {2},
    }


def test_a_cleared_cpuset_leaves_no_expectation_for_the_whole_run() -> None:
    clear = '{ op = "ClearCpuset", cgroup = "b" }'
    assert cpusets(step() + step(clear), backdrop(("b", 'cpuset = "0"'))) == {(1, "b"): {0}}


def test_a_late_cpuset_leaves_no_expectation_for_the_whole_run() -> None:
    change = '{ op = "SetCpuset", cgroup = "b", cpuset = "2" }'
    assert cpusets(step(change), backdrop(("b", ""))) == {(1, "b"): {2}}


def test_swapped_cpusets() -> None:
    swap = '{ op = "SwapCpusets", cgroup = "b", other = "c" }'
    both = backdrop(("b", 'cpuset = "0"'), ("c", 'cpuset = "1-2"'))
    assert cpusets(step(swap), both) == {
        (0, "b"): {0, 1, 2},
        (0, "c"): {0, 1, 2},
        (1, "b"): {1, 2},
        (1, "c"): {0},
    }


def test_moved_tasks_follow_their_new_cgroup_under_their_old_name() -> None:
    move = '{ op = "MoveAllTasks", cgroup = "b", to = "c" }'
    spawn = '{ op = "Spawn", cgroup = "b", work = { type = "SpinWait" } }'
    both = backdrop(("b", 'cpuset = "0"'), ("c", 'cpuset = "3"'))
    assert cpusets(step(move) + step(spawn), both) == {
        (0, "b"): {0, 3},
        (0, "c"): {3},
        (1, "b"): {3},
        (1, "c"): {3},
        # in step 2 the name covers the moved workers and the new ones
        (2, "b"): {0, 3},
        (2, "c"): {3},
    }


def test_workers_started_in_a_step_end_with_it() -> None:
    spawn = '{ op = "Spawn", cgroup = "b", work = { type = "SpinWait" } }'
    change = '{ op = "SetCpuset", cgroup = "b", cpuset = "2" }'
    idle = '[[backdrop.cgroups]]\nname = "b"\ncpuset = "0"\n'
    assert cpusets(step(spawn, change) + step(), idle) == {(1, "b"): {0, 2}}
