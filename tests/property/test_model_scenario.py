# SPDX-License-Identifier: GPL-2.0-only
"""Whatever a scenario file holds, it yields a plan of plain data or a list of mistakes."""

import json
from typing import Any

import msgpack
from hypothesis import given, settings
from hypothesis import strategies as st

from ktstr.errors import DefinitionInvalid
from ktstr.model.cpuset import CpusetSpec, usable_cpus
from ktstr.model.plan import build_plan, expected_cpusets
from ktstr.model.scenario import scenario_from_toml
from ktstr.model.topology import Topology

LINES = """\
name = "x"
kernel = "host"
[vm]
topology = "1n2l2c1t"
memory = "1G"
[scheduler]
bpf = "scx_ktstr"
globals = { a = 1 }
timeout = "5s"
[run]
duration = "4s"
num_snapshots = 3
[backdrop]
ops = [{ op = "SetWeight", cgroup = "base", weight = 50 }]
[[backdrop.cgroups]]
name = "base"
cpuset = { range = [0.0, 0.5] }
works = [{ type = "SpinWait" }]
[[steps]]
hold = { frac = 0.5 }
ops = [{ op = "MoveAllTasks", cgroup = "base", to = "base" }, { op = "Pause" }, { op = "Resume" }]
[[steps]]
hold = "2s"
[[steps.cgroups]]
name = "a"
cpuset = "0-1"
works = [{ type = "PipeIo", workers = 2, affinity = "1", params = { burst_iters = 7 } }]
[checks]
isolation = true
min_iteration_rate = 2
""".splitlines()

VALUES = st.recursive(
    st.one_of(
        st.integers(-(1 << 70), 1 << 70).map(str),
        st.floats().map(lambda f: repr(f).replace("+", "")),
        st.booleans().map(lambda b: str(b).lower()),
        st.text(max_size=10).map(json.dumps),
        st.sampled_from(
            ['"0-3"', '"2s"', '"1n1l1c1t"', '"a"', '"base"', "{ llc = 1 }", "1979-05-27", '"Spawn"']
        ),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda v: f"[{', '.join(v)}]"),
        st.lists(
            st.tuples(
                st.sampled_from(["op", "cgroup", "name", "works", "frac", "type", "z"]), inner
            ),
            max_size=3,
            unique_by=lambda pair: pair[0],
        ).map(lambda v: "{ " + ", ".join(f"{k} = {x}" for k, x in v) + " }"),
    ),
    max_leaves=4,
)


def plain(value: object) -> bool:
    if isinstance(value, dict):
        return all(type(k) is str and plain(v) for k, v in value.items())
    if isinstance(value, list):
        return all(map(plain, value))
    return value is None or type(value) in (str, int, bool)


def read(text: str) -> None:
    try:
        scenario = scenario_from_toml(text, file="f.toml")
        plan = build_plan(scenario, scenario.vm.topology)
    except DefinitionInvalid as error:
        assert error.problems
        for problem in error.problems:
            assert problem.allowed
            assert problem.key
            assert problem.line is None or 1 <= problem.line <= text.count("\n") + 1
            assert str(problem).isprintable()
        return
    assert plain(plan)
    assert msgpack.unpackb(msgpack.packb(plan)) == plan
    allowed = expected_cpusets(scenario, scenario.vm.topology)
    assert all(cpus <= set(range(scenario.vm.topology.cpus)) for cpus in allowed.values())


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(LINES) - 1), VALUES), min_size=1, max_size=3))
def test_replaced_values(changes: list[tuple[int, str]]) -> None:
    lines = list(LINES)
    for index, value in changes:
        if " = " in lines[index]:
            lines[index] = lines[index].split(" = ", 1)[0] + " = " + value
    read("\n".join(lines))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(0, len(LINES) - 1), max_size=6))
def test_dropped_lines(drop: list[int]) -> None:
    read("\n".join(line for index, line in enumerate(LINES) if index not in drop))


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=60))
def test_any_text(text: str) -> None:
    read(text)


@st.composite
def topologies(draw: Any) -> Topology:
    nodes = draw(st.integers(1, 3))
    return Topology(
        nodes, nodes * draw(st.integers(1, 3)), draw(st.integers(1, 4)), draw(st.integers(1, 2))
    )


@given(topologies(), st.integers(1, 6))
def test_disjoint_shares_cover_the_usable_cpus_once(topology: Topology, of: int) -> None:
    usable = usable_cpus(topology)
    if of > len(usable):
        return
    shares = [CpusetSpec("disjoint", (i, of)).resolve(topology) for i in range(of)]
    assert sorted(cpu for share in shares for cpu in share) == list(usable)


@given(topologies(), st.integers(1, 6), st.floats(0, 1))
def test_overlapping_shares_only_grow(topology: Topology, of: int, fraction: float) -> None:
    usable = set(usable_cpus(topology))
    if of > len(usable):
        return
    for index in range(of):
        disjoint = CpusetSpec("disjoint", (index, of)).resolve(topology)
        overlap = CpusetSpec("overlap", (index, of, fraction)).resolve(topology)
        assert disjoint <= overlap <= usable


@given(topologies(), st.floats(0, 1, exclude_min=True, exclude_max=True))
def test_two_ranges_share_the_usable_cpus(topology: Topology, cut: float) -> None:
    found: set[int] = set()
    for low, high in ((0, cut), (cut, 1)):
        try:
            part = CpusetSpec("range", (low, high)).resolve(topology)
        except ValueError:
            continue
        assert not part & found
        found |= part
    assert found == set(usable_cpus(topology))
