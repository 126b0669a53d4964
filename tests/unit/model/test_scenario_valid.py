# SPDX-License-Identifier: GPL-2.0-only
"""A scenario file becomes typed objects with the defaults the reference page states."""

from itertools import takewhile
from pathlib import Path

import pytest

from ktstr.model.scenario import load_scenario, scenario_from_toml
from ktstr.model.topology import Topology

CONFIGS = Path(__file__).parents[3] / "configs" / "scenarios"

SMALLEST = """
[scheduler]
kernel_default = true
[[steps]]
hold = "2s"
"""

FULL = """
name = "full"
description = "every table"
kernel = "path:/boot/vmlinuz"
[vm]
topology = "2n4l2c1t"
memory = "1G"
[scheduler]
bpf = "scx_ktstr"
globals = { slow_every = 4, direct_idle = true, slow_cpu = -1 }
timeout = "5s"
checks = { max_gap_ms = 200, not_stuck = true }
[run]
duration = "4s"
num_snapshots = 3
settle = "250ms"
seed = 42
[backdrop]
ops = [{ op = "SetWeight", cgroup = "base", weight = 50 }]
[[backdrop.cgroups]]
name = "base"
weight = 300
[[steps]]
name = "first"
hold = { frac = 0.5 }
ops = [{ op = "Spawn", cgroup = "base", work = { type = "SpinWait", policy = "rr", rt_prio = 5 } }]
[[steps]]
hold = 2
[[steps.cgroups]]
name = "a"
cpuset = "0-1,3"
works = [{ type = "PipeIo", nice = -5, affinity = "1", params = { burst_iters = 7 } }]
[checks]
max_gap_ms = 100
min_iteration_rate = 2
strict = true
"""


def test_the_smallest_file_takes_every_default() -> None:
    scenario = scenario_from_toml(SMALLEST, file="/tmp/Tiny One.toml")
    assert scenario.name == "tiny_one"
    assert scenario.kernel == "debian:7"
    assert scenario.vm.topology == Topology(1, 1, 2, 1)
    assert scenario.vm.memory_mib == 512
    assert scenario.run.clock == "wall"
    assert scenario.scheduler.kind == "none"
    assert scenario.scheduler.guest_file is None
    assert scenario.scheduler.watchdog_ms is None
    assert scenario.run.num_snapshots == 0
    assert scenario.run.seed == 1
    assert scenario.holds_ms() == (2000,)
    assert scenario.step_name(0) == "step1"
    assert scenario.check_levels() == ({}, {})


def test_every_table_is_read() -> None:
    scenario = scenario_from_toml(FULL)
    assert scenario.vm.topology == Topology(2, 4, 2, 1)
    assert scenario.vm.memory_mib == 1024
    assert scenario.scheduler.globals == {"slow_every": 4, "direct_idle": True, "slow_cpu": -1}
    assert scenario.scheduler.watchdog_ms == 5000
    assert scenario.run.settle == 250
    assert scenario.holds_ms() == (2000, 2000)
    assert [scenario.step_name(i) for i in range(2)] == ["first", "step2"]
    work = scenario.steps[1].cgroups[0].works[0]
    assert (work.type, work.worker_count, work.nice) == ("PipeIo", 2, -5)
    assert work.affinity == frozenset({1})
    assert scenario.check_levels() == (
        {"max_gap_ms": 200, "not_starved": True},
        {"max_gap_ms": 100, "min_iteration_rate": 2.0, "strict": True},
    )


def test_a_built_in_object_is_the_callers_to_find() -> None:
    scenario = scenario_from_toml(FULL)
    assert scenario.scheduler.built_in
    assert scenario.scheduler_file() is None
    assert scenario.scheduler.guest_file == "/ktstr/sched/scx_ktstr.bpf.o"


@pytest.mark.parametrize(("key", "name"), [("bpf", "my.bpf.o"), ("binary", "scx_mine")])
def test_a_scheduler_file_is_found_beside_the_scenario(tmp_path: Path, key: str, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x7fELF")
    file = tmp_path / "s.toml"
    file.write_text(f'scheduler.{key} = "{name}"\nsteps = [{{ hold = 1 }}]\n')
    scenario = load_scenario(file)
    assert scenario.scheduler_file() == tmp_path / name
    assert scenario.scheduler.guest_file == f"/ktstr/sched/{name}"
    assert scenario.scheduler.kind == key


def test_the_command_line_replaces_kernel_and_topology() -> None:
    text = FULL.replace("0-1,3", "0-3")
    scenario = scenario_from_toml(text, kernel="host", topology="1n1l4c1t")
    assert scenario.kernel == "host"
    assert scenario.vm.topology == Topology(1, 1, 4, 1)


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("*.toml")), ids=lambda p: p.stem)
def test_shipped_scenarios_are_valid_and_say_what_they_provoke(path: Path) -> None:
    load_scenario(path)
    licence, *rest = path.read_text().splitlines()
    assert licence == "# SPDX-License-Identifier: GPL-2.0-only"
    head = list(takewhile(lambda line: line.startswith("#"), rest))
    sentence = " ".join(line for line in head if not line.startswith("#:schema "))
    assert sentence.startswith("# ")
    assert sentence.endswith(".")
