# SPDX-License-Identifier: GPL-2.0-only
"""The Python builder says what TOML says, key by key, and never changes what it is called on."""

import inspect
import re
import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from ktstr.errors import DefinitionInvalid
from ktstr.model.across import Across
from ktstr.model.cgroup_def import CgroupDef
from ktstr.model.checks import Checks
from ktstr.model.definition import Backdrop, Run, Scenario, Step, Vm
from ktstr.model.numa import NumaNode
from ktstr.model.op_models import OPS
from ktstr.model.scenario import scenario_from_toml
from ktstr.model.scheduler_def import FlagDecl, Scheduler, SchedulerProgram
from ktstr.model.temporal import Figure, Temporal
from ktstr.model.topology import Topology
from ktstr.model.works.registry import WORK_TYPES
from ktstr.model.workspec import Work as WorkModel
from ktstr.scenario import (
    ScenarioBuilder,
    cgroup,
    disjoint,
    frac,
    keys,
    llc,
    loop,
    node,
    numa,
    ops,
    overlap,
    program,
    scenario,
    share,
    work,
)

TEXT = """
name = "demo"
description = "all of it"
kernel = "host"

[vm]
topology = "2n2l2c1t"
numa = [{ memory = "600M" }, { memory = "400M", llcs = 1 }]

[scheduler]
bpf = "scx_ktstr"
globals = { slow_every = 4 }
timeout = "10s"
checks = { strict = true }

[run]
duration = "4s"
num_snapshots = 2

[backdrop]
cgroups = [
    { name = "noise", cpuset = { numa = 1 }, works = [{ type = "Mixed", workers = 2 }] },
    { name = "more", weight = 50 },
]
ops = [{ op = "SetWeight", cgroup = "noise", weight = 200 }]

[[steps]]
name = "first"
hold = { frac = 0.5 }

[[steps]]
hold = { loop = "500ms" }
ops = [
    { op = "SwapCpusets", cgroup = "noise", other = "more" },
    { op = "SetWeight", cgroup = "more", weight = 1 },
]
cgroups = [{ name = "own", cpuset = "0-1", works = [
    { type = "Bursty", nice = 3, affinity = "0", params = { burst_us = 100 } },
] }]

[checks]
not_starved = true
max_spread_pct = 60
"""


def built() -> ScenarioBuilder:
    return (
        scenario("demo")
        .describe("all of it")
        .kernel("host")
        .topology(Topology(2, 2, 2, 1))
        .numa_nodes(node("600M"), node("400M", llcs=1))
        .scheduler(bpf="scx_ktstr", globals={"slow_every": 4}, timeout=10, checks={"strict": True})
        .run(duration="4s")
        .run(num_snapshots=2)
        .backdrop(cgroups=[cgroup("noise", cpuset=numa(1), works=[work("Mixed", workers=2)])])
        .backdrop(cgroups=[cgroup("more", weight=50)], ops=[ops.set_weight("noise", 200)])
        .step(hold=frac(0.5), name="first")
        .step(
            hold=loop("500ms"),
            ops=[ops.swap_cpusets("noise", "more"), ops.set_weight("more", 1)],
            cgroups=[
                cgroup(
                    "own",
                    cpuset="0-1",
                    works=[work("Bursty", nice=3, affinity="0", params={"burst_us": 100})],
                )
            ],
        )
        .check(not_starved=True, max_spread_pct=70)
        .check(max_spread_pct=60)
    )


def test_python_and_toml_mean_the_same() -> None:
    expected = dict(scenario_from_toml(TEXT))
    assert dict(built().model()) == expected
    assert dict(scenario_from_toml(built().to_toml())) == expected


def test_no_call_changes_what_it_is_called_on() -> None:
    base = scenario("a").scheduler(kernel_default=True).step(hold="1s")
    before = base.to_toml()
    params = {"burst_us": 5}
    works = [work("Bursty", params=params)]
    longer = base.step(hold="1s", cgroups=[cgroup("x", works=works)]).check(isolation=True)
    base.run(seed=5).backdrop(cgroups=[cgroup("y")]).topology("tiny-2llc").memory("1G")
    said = longer.plain()
    params["burst_us"] = 9
    works.clear()
    longer.plain()["steps"].clear()
    assert base.to_toml() == before
    assert longer.plain() == said
    assert said["steps"][1]["cgroups"][0]["works"] == [
        {"type": "Bursty", "params": {"burst_us": 5}}
    ]
    with pytest.raises((TypeError, AttributeError)):
        base.data["name"] = "b"  # type: ignore[index]


def test_equal_when_they_say_the_same() -> None:
    assert built() == built()
    assert built() != built().run(seed=2)
    assert cgroup("a") != work("a")


def test_mistakes_come_in_the_callers_words_all_at_once() -> None:
    wrong = (
        scenario("demo")
        .topology("tiny-2lcc")
        .scheduler(bpf="scx_ktstr")
        .step(hold="soon", cgroups=[cgroup("c", works=[work("SpinWiat")])])
        .check(max_gap=3)  # type: ignore[call-arg]
    )
    with pytest.raises(DefinitionInvalid) as caught:
        wrong.to_toml()
    told = {problem.key: problem for problem in caught.value.problems}
    assert set(told) == {
        "vm.topology",
        "steps[0].hold",
        "steps[0].cgroups[0].works[0].type",
        "checks.max_gap",
    }
    assert {problem.file for problem in told.values()} == {'scenario("demo")'}
    assert told["steps[0].hold"].found == '"soon"'
    assert 'did you mean "SpinWait"?' in told["steps[0].cgroups[0].works[0].type"].allowed


def test_a_program_starts_at_the_working_directory() -> None:
    with pytest.raises(DefinitionInvalid, match=r"looked for nowhere/sched\b"):
        scenario("a").scheduler(binary="nowhere/sched").step(hold=1).model()


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (llc(1), {"llc": 1}),
        (numa(0), {"numa": 0}),
        (share(0.25, 0.5), {"range": [0.25, 0.5]}),
        (disjoint(1, 3), {"disjoint": [1, 3]}),
        (overlap(0, 2, 0.5), {"overlap": [0, 2, 0.5]}),
        (
            node("96M", llcs=0, distances=[20, 10]),
            {"memory": "96M", "llcs": 0, "distances": [20, 10]},
        ),
        (frac(0.5), {"frac": 0.5}),
        (loop("1s"), {"loop": "1s"}),
        (program(bpf="x.o", args=["-v"]), {"bpf": "x.o", "args": ["-v"]}),
    ],
)
def test_small_parts(part: typing.Any, said: object) -> None:
    assert part.plain() == said


@pytest.mark.parametrize(
    ("table", "model", "positional"),
    [
        (keys.WorkKeys, WorkModel, {"type"}),
        (keys.CgroupKeys, CgroupDef, {"name"}),
        (keys.ProgramKeys, SchedulerProgram, set()),
        (keys.SchedulerKeys, Scheduler, set()),
        (keys.FlagKeys, FlagDecl, set()),
        (keys.NodeKeys, NumaNode, {"memory"}),
        (keys.RunKeys, Run, set()),
        (keys.CheckKeys, Checks, set()),
        (keys.FigureKeys, Figure, set()),
        (keys.TemporalKeys, Temporal, {"pattern"}),
        (keys.CompareKeys, Across, {"metric", "phase", "against"}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_every_key_of_the_model_can_be_written(
    table: type, model: type[BaseModel], positional: set[str]
) -> None:
    assert set(typing.get_type_hints(table)) | positional == set(model.model_fields)


def wrote(call: str, *words: typing.Any, **named: typing.Any) -> typing.Any:
    """What a call on an empty builder adds to a scenario."""
    said = getattr(scenario("a"), call)(*words, **named).plain()
    del said["name"]
    return said


def test_every_key_of_the_scenario_has_its_call() -> None:
    calls = {
        "kernel": wrote("kernel", "host"),
        "description": wrote("describe", "text"),
        "checks": wrote("check", strict=True),
        "scheduler": wrote("scheduler", kernel_default=True),
        "run": wrote("run", seed=2),
        "gauntlet": wrote("gauntlet", requires_smt=True),
        "backdrop": wrote("backdrop", cgroups=[cgroup("a")]),
        "steps": wrote("step", hold="1s"),
        "vm": wrote("memory", "1G"),
    }
    assert set(calls) | {"name"} == set(Scenario.model_fields)
    assert {key: set(said) for key, said in calls.items()} == {key: {key} for key in calls}


def test_every_key_of_the_vm_has_its_call() -> None:
    tables = [
        wrote("topology", "1n1l1c1t"),
        wrote("memory", "1G"),
        wrote("numa_nodes", node("1G")),
        wrote("scratch_disk", "64M"),
    ]
    keys_written = [key for table in tables for key in table["vm"]]
    assert sorted(keys_written) == sorted(Vm.model_fields)


@pytest.mark.parametrize(("call", "model"), [("step", Step), ("backdrop", Backdrop)])
def test_every_key_of_a_part_is_an_argument(call: str, model: type[BaseModel]) -> None:
    parameters = inspect.signature(getattr(ScenarioBuilder, call)).parameters
    assert set(parameters) - {"self"} == set(model.model_fields)


def test_choices_are_the_models() -> None:
    written = typing.get_type_hints(keys.WorkKeys)
    for key in ("policy", "clone"):
        model = WorkModel.model_fields[key].annotation
        assert typing.get_args(written[key]) == typing.get_args(model)
    assert typing.get_args(keys.Clock) == typing.get_args(Run.model_fields["clock"].annotation)


@pytest.mark.parametrize("name", [str(name) for name in OPS])
def test_every_op_can_be_written(name: str) -> None:
    function = getattr(ops, re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())
    fields = {key: field for key, field in OPS[name].model_fields.items() if key != "op"}
    signature = inspect.signature(function)
    parameters = {
        key: parameter.default is inspect.Parameter.empty
        for key, parameter in signature.parameters.items()
        if parameter.kind != inspect.Parameter.VAR_KEYWORD
    }
    if len(parameters) == len(signature.parameters):
        assert parameters == {key: field.is_required() for key, field in fields.items()}
    else:
        assert name == "AddCgroupDef" and set(parameters) == {"name"}
    said = function(**{key: "x" for key, needed in parameters.items() if needed}).plain()
    assert said == {"op": name, **{key: "x" for key, needed in parameters.items() if needed}}


NAMES = st.sampled_from(["a", "b", "c"])
CPUSETS = st.sampled_from(["0", "1-3", llc(0), llc(1), share(0, 0.5), disjoint(0, 3), None])


@st.composite
def works(draw: st.DrawFn) -> typing.Any:
    kind = draw(st.sampled_from(["SpinWait", "Mixed", "YieldHeavy"]))
    given_keys: dict[str, typing.Any] = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "workers": st.integers(1, 20),
                "nice": st.integers(-20, 19),
                "policy": st.sampled_from(["normal", "batch", "idle"]),
            },
        )
    )
    return work(kind, **given_keys)


@st.composite
def scenarios(draw: st.DrawFn) -> ScenarioBuilder:
    built = scenario(draw(st.from_regex(r"[a-z0-9_-]{1,12}", fullmatch=True)))
    built = built.describe(draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=40)))
    built = built.scheduler(kernel_default=True).topology("1n2l2c1t")
    names = draw(st.lists(NAMES, unique=True))
    for name in names:
        limits: dict[str, typing.Any] = {}
        if (cpuset := draw(CPUSETS)) is not None:
            limits["cpuset"] = cpuset
        built = built.backdrop(
            cgroups=[cgroup(name, works=draw(st.lists(works(), max_size=2)), **limits)]
        )
    for _ in range(draw(st.integers(1, 3))):
        done = [
            ops.set_weight(name, draw(st.integers(1, 10_000)))
            for name in names
            if draw(st.booleans())
        ]
        hold = draw(st.sampled_from(["1s", "250ms", 2, 0.5]))
        built = built.step(hold=hold, ops=done, cgroups=[cgroup("own")] * draw(st.integers(0, 1)))
    if draw(st.booleans()):
        built = built.check(max_spread_pct=draw(st.floats(0, 100)), max_gap_ms=2000)
    return built


@given(scenarios())
def test_there_and_back(built: ScenarioBuilder) -> None:
    once = built.model()
    text = built.to_toml()
    again = scenario_from_toml(text)
    assert dict(again) == dict(once)
    # A file that was written once does not change when it is written again.
    assert ScenarioBuilder.of(**again.source.data).to_toml() == text


def test_the_example_works() -> None:
    import ktstr.scenario

    code = inspect.cleandoc(ktstr.scenario.__doc__ or "").split("::\n", 1)[1].split("\n\nEvery")[0]
    space: dict[str, typing.Any] = {}
    exec(inspect.cleandoc(code), space)
    assert space["both"].model().step_name(1) == "free"
    assert "SpinWait" in WORK_TYPES
