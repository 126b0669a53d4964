# SPDX-License-Identifier: GPL-2.0-only
"""An unreadable value neither hides what is wrong elsewhere nor makes anything else look wrong.

Every key of a scenario is spoilt in turn, once in a sound scenario and once in one with a mistake
of every kind that spans several keys.
"""

import copy
import datetime
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from ktstr.errors import DefinitionInvalid
from ktstr.model.definition import Scenario
from ktstr.model.locate import KeyPath
from ktstr.model.mistakes import mistakes_from
from ktstr.model.repair import repair
from ktstr.model.scenario import _validate, json_schema
from ktstr.model.source import Source, format_key

SOUND = """
name = "x"
description = "d"
kernel = "host"
[vm]
topology = "1n2l2c1t"
memory = "1G"
numa = [
    { memory = "600M", llcs = 1, distances = [10, 22, 33] },
    { memory = "200M", distances = [22, 10, 44] },
    { memory = "224M", llcs = 0, distances = [33, 44, 10] },
]
[scheduler]
bpf = "scx_ktstr"
globals = { a = 1 }
timeout = "5s"
sysctls = { "kernel.sched_schedstats" = 1 }
kernel_args = ["nokaslr", "a=b"]
kernel_features = ["btf"]
cgroup_parent = "/here"
[run]
duration = "5s"
num_snapshots = 3
settle = "1s"
clock = "wall"
seed = 4
[backdrop]
ops = [{ op = "SetWeight", cgroup = "base", weight = 50 }]
[[backdrop.cgroups]]
name = "base"
weight = 7
cpuset = { range = [0.0, 0.5] }
works = [{ type = "SpinWait", policy = "fifo", rt_prio = 3, nice = 0 }]
[[steps]]
name = "one"
hold = { frac = 0.4 }
ops = [
    { op = "Pause", duration = "1s" },
    { op = "Resume" },
    { op = "AddCgroup", cgroup = "extra" },
    { op = "SetCpuset", cgroup = "extra", cpuset = "2-3" },
    { op = "SwapCpusets", cgroup = "extra", other = "base" },
    { op = "Spawn", cgroup = "extra", work = { type = "PipeIo", workers = 4 } },
    { op = "SetAffinity", cgroup = "base", affinity = "2" },
    { op = "MoveAllTasks", cgroup = "extra", to = "base" },
    { op = "ClearCpuset", cgroup = "extra" },
    { op = "StopCgroup", cgroup = "extra" },
    { op = "RemoveCgroup", cgroup = "extra" },
    { op = "AddCgroup", cgroup = "extra" },
    { op = "InjectFault", fault = "kill-worker", at = "1500ms", cgroup = "base" },
    { op = "InjectFault", fault = "garbage-on-port", size = "1M" },
]
[[steps]]
hold = "2s"
[[steps.cgroups]]
name = "a"
cpuset = "0-1"
works = [{ type = "PipeIo", workers = 2, affinity = "1", params = { burst_iters = 7 } }]
[[steps.cgroups]]
name = "base2"
[[steps.cgroups]]
name = "base2/b"
cpu_max = { quota_us = 5000, period_us = 10000 }
swappable = true
[[steps]]
name = "programs"
hold = { frac = 0.1 }
ops = [
    { op = "RunPayload", name = "p", command = "/bin/true", args = ["x"], cgroup = "base" },
    { op = "RunPayload", name = "q", command = "/bin/true", files = ["/bin/sh"], exit_code = 1 },
    { op = "WaitPayload", name = "p", timeout = "1s" },
    { op = "KillPayload", name = "q" },
    { op = "SpawnHost", work = { type = "SpinWait" } },
    { op = "CaptureSnapshot", name = "c" },
    { op = "WatchSnapshot", name = "w", variable = "live.mode", section = ".bss", size = 4 },
    { op = "WatchSnapshot", name = "v", symbol = "css_serial_nr_next", hits = 16 },
    { op = "WriteBpfGlobal", name = "stall", value = 1, section = ".bss" },
    { op = "RestartScheduler" },
    { op = "DetachScheduler" },
    { op = "AttachScheduler", scheduler = { bpf = "scx_ktstr", timeout = "1s" } },
    { op = "ReplaceScheduler", scheduler = { bpf = "scx_ktstr", globals = { a = 1 } } },
    { op = "AddCgroupDef", name = "full", cpuset = "1", cpu_max = "50%", weight = 3, works = [
        { type = "SpinWait", workers = 2 },
    ] },
    { op = "FreezeCgroup", cgroup = "full" },
    { op = "UnfreezeCgroup", cgroup = "full" },
    { op = "InjectFault", fault = "kill-worker", cgroup = "full" },
]
[[steps]]
name = "loop"
hold = { loop = "200ms" }
ops = [{ op = "SetWeight", cgroup = "own", weight = 5 }]
cgroups = [{ name = "own" }]
[checks]
isolation = true
not_starved = true
max_gap_ms = 5
max_spread_pct = 3.0
min_iteration_rate = 2
[[checks.across]]
metric = "iteration_rate"
phase = "one"
against = "Step[1]"
better_by = 0.1
[[checks.across]]
metric = "total_iterations"
phase = "loop"
against = "baseline"
cgroup = "full"
at_least = 1.5
[[checks.temporal]]
var = "nr_dispatched"
pattern = "rate_within"
phase = "Step[1]"
at_least = 0
at_most = 1000
[[checks.temporal]]
map = "pcpu_stats"
key = 1
cpu = "sum"
pattern = "ratio_within"
per = "phase"
over = { map = "bpf_bpf.bss", field = "nr_dispatched" }
at_most = 2.0
[[checks.temporal]]
stats = "layers.a.util"
pattern = "converges_to"
target = 0.5
tolerance = 0.1
deadline = "2s"
[[checks.temporal]]
stats = "busy"
pattern = "steady_within"
tolerance = 0.1
warmup = "1s"
[[checks.temporal]]
var = "nr_direct"
pattern = "ratio_across_phases"
earlier = "one"
later = "loop"
at_most = 1.5
reduce = "delta"
[gauntlet]
min_numa_nodes = 2
max_numa_nodes = 4
min_llcs = 13
max_llcs = 14
max_cpus = 64
requires_smt = true
exclude = ["max-cpu"]
"""

MISTAKEN = """
[vm]
topology = "1n2l2c1t"
memory = "64M"
numa = [
    { memory = "300M", llcs = 1, distances = [10, 20] },
    { memory = "1M", distances = [20, 11] },
]
[scheduler]
bpf = "scx_ktstr"
timeout = "40s"
args = ["-v"]
[run]
num_snapshots = 60
[[backdrop.cgroups]]
name = "base"
cpuset = { llc = 7 }
works = [{ type = "PipeIo", workers = 3 }, { type = "SpinWait", policy = "fifo" }]
[[steps]]
name = "same"
hold = "2s"
ops = [{ op = "SetWeight", cgroup = "nobody", weight = 5 }, { op = "Resume" }]
[[steps]]
name = "same"
hold = "1s"
ops = [
    { op = "InjectFault", fault = "guest-hang", at = "3s" },
    { op = "AddCgroup", cgroup = "base" },
]
[[steps.cgroups]]
name = "a"
works = [{ type = "SpinWait", params = { spin = 1 } }]
[[checks.across]]
metric = "iteration_rate"
phase = "sane"
against = "same"
cgroup = "c"
better = true
at_most = 0.5
[[checks.temporal]]
var = "x"
field = "y"
pattern = "each"
phase = "sane"
tolerance = 0.5
[[checks.temporal]]
stats = "s"
pattern = "ratio_within"
over = { var = "a", stats = "b" }
at_least = 2
at_most = 1
[gauntlet]
min_llcs = 20
min_cpus = 8
max_cpus = 4
"""
ABOUT_NODES = {"vm.memory", "vm.numa[1].memory", "vm.numa[1].distances[1]"}
ABOUT_TIMES = {"run.num_snapshots", "steps[1].ops[0].at"}
UNKNOWN_CGROUP = "steps[0].ops[0].cgroup"
TWICE = "steps[1].ops[1].cgroup"
ACROSS = {"checks.across[0]", "checks.across[0].phase", "checks.across[0].cgroup"}
TEMPORAL = {
    "checks.temporal[0]",
    "checks.temporal[0].field",
    "checks.temporal[0].phase",
    "checks.temporal[0].tolerance",
    "checks.temporal[1].over",
    "checks.temporal[1].at_most",
}
ALL = (ABOUT_TIMES | ABOUT_NODES) | {
    "scheduler.args",
    "scheduler.timeout",
    "backdrop.cgroups[0].cpuset",
    "backdrop.cgroups[0].works[0].workers",
    "backdrop.cgroups[0].works[1].rt_prio",
    UNKNOWN_CGROUP,
    "steps[0].ops[1].op",
    TWICE,
    "steps[1].name",
    "steps[1].cgroups[0].works[0].params.spin",
    *ACROSS,
    *TEMPORAL,
    "gauntlet.min_llcs",
    "gauntlet.max_cpus",
}
NEVER_RIGHT = datetime.date(1979, 5, 27)


def paths(node: object, at: KeyPath = ()) -> Iterator[KeyPath]:
    if at:
        yield at
    if isinstance(node, dict):
        for key, value in node.items():
            yield from paths(value, (*at, key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from paths(value, (*at, index))


def spoil(text: str, at: KeyPath, *, drop: bool) -> dict[str, Any]:
    data = tomllib.loads(text)
    data.setdefault("name", "x")
    holder: Any = data
    for part in at[:-1]:
        holder = holder[part]
    if drop:
        del holder[at[-1]]
    else:
        holder[at[-1]] = NEVER_RIGHT
    return data


def wrong_keys(data: dict[str, Any]) -> set[str]:
    try:
        _validate(data, Source(data=copy.deepcopy(data)))
    except DefinitionInvalid as error:
        return {problem.key for problem in error.problems}
    return set()


def overlap(one: str, other: str) -> bool:
    short, long = sorted((one, other), key=len)
    return long.startswith(short) and long[len(short) :][:1] in ("", ".", "[")


SOUND_PATHS = [
    p for p in paths(tomllib.loads(SOUND)) if p[-1] not in ("frac", "range", "llc", "loop")
]


@pytest.mark.parametrize("at", SOUND_PATHS, ids=format_key)
@pytest.mark.parametrize("drop", [False, True], ids=["wrong", "missing"])
def test_nothing_else_looks_wrong(at: KeyPath, drop: bool) -> None:
    if "range" in at:
        at = at[: at.index("range")]
    key = format_key(at)
    data = spoil(SOUND, at, drop=drop)
    found = wrong_keys(data)
    if drop and (isinstance(at[-1], int) or not any(overlap(key, other) for other in found)):
        return  # without this key it is another scenario, whose mistakes are its own
    if "cpu_max" in at:
        at = at[: at.index("cpu_max") + 1]
        key = format_key(at)
    if not drop:
        assert any(overlap(key, other) for other in found)
    own = {other for other in found if overlap(key, other)}
    assert found == own


@pytest.mark.parametrize("at", SOUND_PATHS, ids=format_key)
@pytest.mark.parametrize("drop", [False, True], ids=["wrong", "missing"])
def test_stand_ins_can_be_read(at: KeyPath, drop: bool) -> None:
    data = spoil(SOUND, at, drop=drop)
    try:
        Scenario.model_validate(data)
    except ValidationError as error:
        mistakes = mistakes_from(error, data, json_schema())
        Scenario.model_validate(repair(data, [mistake.at for mistake in mistakes]).data)


def untold(at: KeyPath) -> set[str]:
    """The mistakes that cannot be told without the value at a path."""
    lost = set[str]()
    key = format_key(at)
    if at in (("run",), ("steps",)) or (at[0] == "steps" and (len(at) == 2 or at[-1] == "hold")):
        lost |= ABOUT_TIMES
    if key == "steps[1].hold":
        lost |= {UNKNOWN_CGROUP, TWICE}  # it may have been a loop
    if at[-1] in ("hold", "fault") or key == "steps[1].ops[0].op":
        lost |= {"steps[1].ops[0].at"} if at[:2] == ("steps", 1) else set()
    if at in (("vm",), ("vm", "topology")) or (
        at[:2] == ("vm", "numa") and (len(at) < 4 or at[-1] == "llcs")
    ):
        lost |= {"backdrop.cgroups[0].cpuset"}
    if at == ("vm",) or at[:2] == ("vm", "numa"):
        lost |= ABOUT_NODES
    lists_and_ops = {"backdrop", "steps", "cgroups", "ops"}
    if at[-1] in {"op", "cgroup"} | lists_and_ops or at[-2:-1] in (("steps",), ("ops",)):
        lost |= {UNKNOWN_CGROUP, TWICE}
    if at[-1] in {"op"} | lists_and_ops or at[-2:-1] in (("steps",), ("ops",), ("cgroups",)):
        lost |= {"checks.across[0].cgroup"}
    if (at[-2:] == (0, "name") and "cgroups" in at) or key == "steps[1].hold" or at[-1] == "cgroup":
        lost |= {"checks.across[0].cgroup"}
    if at == ("steps",) or (at[0] == "steps" and (len(at) == 2 or at[2] == "name")):
        lost |= {"checks.across[0].phase", "checks.temporal[0].phase"}
    if at[:2] != ("checks", "temporal") and at[0] == "checks":
        lost |= ACROSS
    if at[0] == "checks" and at[1:2] != ("across",):
        lost |= {other for other in TEMPORAL if len(at) < 3 or f"[{at[2]}]" in other}
    if at[-2:-1] == ("cgroups",):
        lost |= {UNKNOWN_CGROUP, TWICE}
    if at[-2:] == (0, "name") and "cgroups" in at:
        lost |= {UNKNOWN_CGROUP}
    if key in ("steps[0].ops[0]", "steps[0].ops[0].op", "steps[0].ops"):
        lost |= {"steps[0].ops[1].op"}
    if key in ("backdrop.cgroups[0].name", "backdrop.cgroups", "backdrop.cgroups[0]", "backdrop"):
        lost |= {TWICE}  # the other of the two is gone
    if key in ("steps[0].name", "steps", "steps[0]"):
        lost |= {"steps[1].name"}
    if key == "backdrop.cgroups[0].works[1].policy":
        lost |= {"backdrop.cgroups[0].works[1].rt_prio"}
    if key == "backdrop.cgroups[0].works[0].type":
        lost |= {"backdrop.cgroups[0].works[0].workers"}
    if key == "steps[1].cgroups[0].works[0].type":
        lost |= {"steps[1].cgroups[0].works[0].params.spin"}
    if key == "gauntlet.min_cpus":
        lost |= {"gauntlet.max_cpus"}  # each is wrong only beside the other
    return lost


def test_the_mistakes_are_all_told_when_everything_can_be_read() -> None:
    assert wrong_keys({"name": "x", **tomllib.loads(MISTAKEN)}) == ALL


@pytest.mark.parametrize(
    "at", [p for p in paths(tomllib.loads(MISTAKEN)) if p[-1] not in ("llc",)], ids=format_key
)
def test_nothing_else_is_hidden(at: KeyPath) -> None:
    key = format_key(at)
    found = wrong_keys(spoil(MISTAKEN, at, drop=False))
    assert any(overlap(key, other) for other in found)
    expected = {other for other in ALL if not overlap(key, other)} - untold(at)
    assert expected <= found
    assert found - expected <= ALL | {other for other in found if overlap(key, other)}
