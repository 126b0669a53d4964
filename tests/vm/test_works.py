# SPDX-License-Identifier: GPL-2.0-only
"""Every work type in a real VM: it works, it fills what it should, and two clocks agree on it."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ktstr.model.works.registry import WORK_TYPES
from ktstr.scenario import ScenarioBuilder, cgroup, scenario, work

pytestmark = [pytest.mark.vm, pytest.mark.timeout(600)]

HALVES = ("0-1", "2-3")
ALL_CPUS = "0-3"
CPUS = {"0-1": {0, 1}, "2-3": {2, 3}, "0-3": {0, 1, 2, 3}}

ENGINES: dict[str, Callable[[int], int]] = {
    "Schbench": lambda cpus: 1 + cpus,
    "Taobench": lambda cpus: cpus + max(1, cpus // 3),
}
"""Types with threads of their own, and how many those are by default on so many CPUs."""

ALONE = {"RtStarvation", "PreemptStorm", "PriorityInversion", "PolicyChurn", *ENGINES}
"""Types beside which another on the same CPUs would get next to nothing."""

PARAMS = {"Sequence": {"phase1_us": 1000, "phase2": "sleep", "phase2_us": 1000}}
"""Of types that with their defaults only spin."""

EVERYWHERE = {"NumaWorkingSetSweep", "NumaMigrationChurn"}
"""Types that go from node to node, which a cpuset of one node would forbid."""

SAMPLES = {
    "wake": ("wake_latencies_ns", "wake_sample_total"),
    "cost": ("iteration_costs_ns", "iteration_cost_sample_total"),
    "timer": ("timer_latencies_ns", "timer_sample_total"),
}


def placed() -> list[list[tuple[str, str]]]:
    """Steps of types with their CPUs: two types on each half, or one that is better alone."""
    names = [name for name in WORK_TYPES if name not in EVERYWHERE | {"Custom"}]
    social = [name for name in names if name not in ALONE]
    groups = [social[at : at + 2] for at in range(0, len(social), 2)]
    groups += [[name] for name in names if name in ALONE]
    pairs = [groups[at : at + 2] for at in range(0, len(groups), 2)]
    steps = [
        [(name, cpus) for group, cpus in zip(pair, HALVES, strict=False) for name in group]
        for pair in pairs
    ]
    return [*steps, [(name, ALL_CPUS) for name in sorted(EVERYWHERE)]]


def all_types(**scheduler: Any) -> ScenarioBuilder:
    """A scenario in which every type has a cgroup of its own."""
    built = scenario("works").topology("2n2l2c1t").scheduler(**scheduler)
    for step in placed():
        cgroups = [
            cgroup(name.lower(), cpuset=cpus, works=[work(name, params=PARAMS.get(name, {}))])
            for name, cpus in step
        ]
        built = built.step(hold="1500ms", cgroups=cgroups)
    return built.check(max_gap_ms=20_000, max_spread_pct=100.0)


def wrong(name: str, report: dict[str, Any], cpus: set[int]) -> Iterator[str]:
    """What a report of a type cannot say."""
    if report["exit_info"] or not report["completed"]:
        yield f"ended early: {report['exit_info']}"
    for error in ("affinity_error", "sched_policy_error"):
        if report[error]:
            yield f"{error}: {report[error]}"
    if not report["iterations"] or not report["work_units"]:
        yield f"{report['iterations']} iterations, {report['work_units']} units of work"
    if not report["cpus_used"] or not set(report["cpus_used"]) <= cpus:
        yield f"CPUs {report['cpus_used']}, not within {cpus}"
    wall, cpu = report["wall_time_ns"], report["cpu_time_ns"]
    kernel, waited = report["schedstat_cpu_time_ns"], report["schedstat_run_delay_ns"]
    if name in ENGINES:
        # The mean of its threads': all but the one that controls them, which hardly runs.
        right = abs(report["off_cpu_ns"] - (wall - cpu / ENGINES[name](len(cpus)))) < 0.05 * wall
    else:
        right = report["off_cpu_ns"] == max(0, wall - cpu)
    if not right:
        yield f"off-CPU time {report['off_cpu_ns']} of {wall}, with {cpu} on a CPU"
    if not report["schedstat_run_count"]:
        yield "never scheduled in"
    most = wall * (len(cpus) if name in ENGINES else 1)
    if not 0 < kernel <= 1.05 * most:
        yield f"{kernel} ns of CPU time by the kernel's account, where {most} ns were to be had"
    if abs(kernel - cpu) > 0.25 * cpu + 50_000_000:
        yield f"CPU time is {cpu} ns by the thread's clock and {kernel} by the kernel's account"
    if name not in ENGINES and kernel + waited > 1.05 * wall + 50_000_000:
        yield f"ran {kernel} ns and waited {waited} ns within {wall} ns"


def filled(report: dict[str, Any]) -> set[str]:
    """The reservoirs with samples; each has as many as it counted, up to its size."""
    for vector, total in SAMPLES.values():
        assert report[vector]["samples"] == min(report[total], 100_000)
    return {kind for kind, (_, total) in SAMPLES.items() if report[total]}


@pytest.mark.parametrize(
    "scheduler", [{"kernel_default": True}, {"bpf": "scx_ktstr"}], ids=["kernel", "scx_ktstr"]
)
def test_every_work_type(
    ktstr: Any, scenario_file: Callable[[str], Path], scheduler: dict[str, Any]
) -> None:
    done = ktstr.run(scenario_file(all_types(**scheduler).to_toml()))
    record = done.record

    reports: dict[str, list[dict[str, Any]]] = defaultdict(list)
    cpus = {name: CPUS[where] for step in placed() for name, where in step}
    for worker in record["workers"]:
        reports[worker["work_type"]].append(worker["report"])
    expected = {name: kind for name, kind in WORK_TYPES.items() if name != "Custom"}
    assert {name: len(found) for name, found in reports.items()} == {
        name: kind.group_size({}) for name, kind in expected.items()
    }, done.output
    problems = [
        f"{name}, worker {index}: {problem}"
        for name, found in reports.items()
        for index, report in enumerate(found)
        for problem in wrong(name, report, cpus[name])
    ]
    assert not problems, "\n".join(problems)
    assert {name: set().union(*map(filled, found)) for name, found in reports.items()} == {
        name: set(kind.fills) for name, kind in expected.items()
    }
    assert done.code == 0, done.output


GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "custom-work.md"


def test_a_python_function(
    ktstr: Any, scenario_file: Callable[[str], Path], tmp_path: Path
) -> None:
    (text,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    naps = "import random\nfrom concurrent import futures\n" + text
    (tmp_path / "naps.py").write_text(naps)
    (tmp_path / "fails.py").write_text("def f(ctx):\n    if ctx.index:\n        1 // 0\n")
    built = scenario("python").topology("1n1l2c1t").scheduler(kernel_default=True)
    for name in ("naps:naps", "fails:f"):
        call = name.replace(":", ".py:")
        works = [work("Custom", workers=2, python=call, args=["word"] * 16)]
        built = built.step(hold="1s", cgroups=[cgroup("a", cpuset="1", works=works)])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        path = scenario_file(built.check(not_starved=True).to_toml())
    done = ktstr.run(path)
    assert done.code == 1, done.output
    workers = done.record["workers"]
    for report in (worker["report"] for worker in workers if worker["step"] == 1):
        assert not list(wrong("Custom", report, {1}))
        assert filled(report) == {"wake"}
        assert report["work_units"] == 1000 * report["iterations"]
        assert report["wake_sample_total"] == report["iterations"]
        # It asks for a millisecond each time and cannot have slept less.
        assert report["off_cpu_ns"] >= 1_000_000 * (report["iterations"] - 1)
    early, failed = (worker["report"] for worker in workers if worker["step"] == 2)
    assert early["completed"] and not early["iterations"]
    assert failed["exit_info"] == {"kind": "Exited", "code": 1}
    line = "/ktstr/work/fails.py:3 in f: ZeroDivisionError: integer division or modulo by zero"
    assert line in done.evidence["agent.log"]
