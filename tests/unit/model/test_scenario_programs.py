# SPDX-License-Identifier: GPL-2.0-only
"""Nested cgroups, loops, schedulers, payloads: what is a mistake, and what the guest is told."""

from pathlib import Path
from typing import Any

import pytest

from ktstr.errors import DefinitionInvalid
from ktstr.model.packing import kernel_programs, packed_files
from ktstr.model.plan import build_plan, expected_cpusets
from ktstr.model.rules.scheduler import OWN_KERNEL_ARGS
from ktstr.model.scenario import scenario_from_toml
from ktstr.model.scheduler_def import closure
from ktstr.model.topology import Topology
from ktstr.vm.argv import BASE_CMDLINE, TCG_CMDLINE
from ktstr.vm.tsc import tsc_words

HEAD = """
kernel = "host"
[vm]
topology = "1n2l2c1t"
[scheduler]
{scheduler}
[run]
duration = "2s"
[[backdrop.cgroups]]
name = "base"
works = [{{ type = "SpinWait" }}]
[[backdrop.cgroups]]
name = "box"
cpuset = "0-1"
[[steps]]
hold = "1s"
ops = [{ops}]
cgroups = [{cgroups}]
[[steps]]
hold = {hold}
ops = [{last}]
"""


def text(
    ops: str = "",
    *,
    cgroups: str = "",
    scheduler: str = 'bpf = "scx_ktstr"',
    hold: str = '"1s"',
    last: str = "",
) -> str:
    return HEAD.format(scheduler=scheduler, ops=ops, cgroups=cgroups, hold=hold, last=last)


def mistakes(source: str) -> dict[str, str]:
    with pytest.raises(DefinitionInvalid) as raised:
        scenario_from_toml(source)
    return {problem.key: problem.allowed for problem in raised.value.problems}


SPIN = 'works = [{ type = "SpinWait" }]'


@pytest.mark.parametrize(
    ("cgroups", "key", "words"),
    [
        ('{ name = "no/where" }', "[0].name", "below a cgroup that exists: no does not"),
        ('{ name = "a/" }', "[0].name", "parent/child"),
        ('{ name = "/a" }', "[0].name", "parent/child"),
        ('{ name = "box/../x" }', "[0].name", "parent/child"),
        ('{ name = "base/in", weight = 5 }', "[0].name", "workers below base or in it"),
        (
            f'{{ name = "o" }}, {{ name = "o/i", cpu_max = "9%" }}, {{ name = "o/j", {SPIN} }}',
            None,
            "",
        ),
        (f'{{ name = "base/in", {SPIN} }}', None, ""),
        ('{ name = "a", cpu_max = "0%" }', "[0].cpu_max", "at least 1%"),
        ('{ name = "a", cpu_max = "50" }', "[0].cpu_max", "share of one CPU"),
        ('{ name = "a", cpu_max = { quota_us = 999 } }', "[0].cpu_max", "from 1000"),
        ('{ name = "a", cpu_max = { quota_us = 1000, x = 1 } }', "[0].cpu_max", "quota_us"),
        (
            '{ name = "box/in", works = [{ type = "SpinWait", affinity = "2" }] }',
            "[0].works[0].affinity",
            "CPUs 0-1",
        ),
    ],
)
def test_cgroups(cgroups: str, key: str | None, words: str) -> None:
    if key is None:
        scenario_from_toml(text(cgroups=cgroups))
        return
    ((found, allowed),) = mistakes(text(cgroups=cgroups)).items()
    assert found == f"steps[0].cgroups{key}"
    assert words in allowed


RUN = '{ op = "RunPayload", name = "p", command = "/bin/true" }'
SPAWN_IN = '{{ op = "Spawn", cgroup = "{}", work = {{ type = "SpinWait" }} }}'


@pytest.mark.parametrize(
    ("ops", "key", "words"),
    [
        (f'{{ op = "AddCgroupDef", name = "base", {SPIN} }}', "[0].name", "the Backdrop's"),
        ('{ op = "FreezeCgroup", cgroup = "x" }', "[0].cgroup", "here: base, box"),
        (
            '{ op = "FreezeCgroup", cgroup = "box" }, { op = "AddCgroup", cgroup = "box/in" }, '
            + SPAWN_IN.format("box/in"),
            "[2].cgroup",
            "nothing starts while box is frozen",
        ),
        (
            '{ op = "FreezeCgroup", cgroup = "box" }, { op = "UnfreezeCgroup", cgroup = "box" }, '
            + SPAWN_IN.format("box"),
            None,
            "",
        ),
        (
            (
                '{ op = "AddCgroup", cgroup = "box/in" }, { op = "SetWeight", cgroup = "box/in", '
                'weight = 2 }, { op = "MoveAllTasks", cgroup = "base", to = "box" }'
            ),
            "[2].to",
            "workers below box",
        ),
        (
            (
                '{ op = "AddCgroup", cgroup = "box/in" }, { op = "RemoveCgroup", cgroup = "box" }, '
                '{ op = "AddCgroup", cgroup = "box/in" }'
            ),
            "[2].cgroup",
            "box does not",
        ),
        ('{ op = "WaitPayload", name = "p" }', "[0].name", "here: none"),
        (f'{RUN}, {{ op = "KillPayload", name = "p" }}', None, ""),
        (f'{RUN}, {{ op = "WaitPayload", name = "q" }}', "[1].name", "here: p"),
        (
            '{ op = "RunPayload", name = "p", command = "/nowhere" }',
            "[0].command",
            "looked for /nowhere",
        ),
        (
            '{ op = "RunPayload", name = "p", command = "/bin/true", cgroup = "x" }',
            "[0].cgroup",
            "here: base, box",
        ),
        ('{ op = "AttachScheduler" }', "[0].op", "DetachScheduler before it"),
        ('{ op = "DetachScheduler" }, { op = "RestartScheduler" }', "[1].op", "AttachScheduler"),
        ('{ op = "DetachScheduler" }, { op = "AttachScheduler" }', None, ""),
        (
            '{ op = "ReplaceScheduler", scheduler = { args = ["x"] } }',
            "[0].scheduler",
            "one of bpf",
        ),
        (
            '{ op = "ReplaceScheduler", scheduler = { bpf = "scx_ktstr", args = ["x"] } }',
            "[0].scheduler.args",
            "only beside binary",
        ),
        ('{ op = "CaptureSnapshot", name = "periodic_1" }', "[0].name", "not begin with"),
        ('{ op = "WatchSnapshot", name = "w", symbol = "s" }', None, ""),
        ('{ op = "WatchSnapshot", name = "w" }', "[0].symbol", "either symbol or variable"),
        (
            '{ op = "WatchSnapshot", name = "w", symbol = "s", variable = "v" }',
            "[0].symbol",
            "either symbol or variable",
        ),
        (
            '{ op = "WatchSnapshot", name = "w", symbol = "s", section = ".bss" }',
            "[0].section",
            "only beside variable",
        ),
        ('{ op = "WatchSnapshot", name = "w", symbol = "s", size = 3 }', "[0].size", ""),
        ('{ op = "WatchSnapshot", name = "w", symbol = "s", hits = 17 }', "[0].hits", "16"),
        ('{ op = "WatchSnapshot", name = "w", symbol = "s", hits = 0 }', "[0].hits", ""),
        ('{ op = "WatchSnapshot", name = "w", variable = "a b" }', "[0].variable", "variable."),
        ('{ op = "WatchSnapshot", name = "periodic_1", symbol = "s" }', "[0].name", "not begin"),
        (
            (
                '{ op = "CaptureSnapshot", name = "w" }, '
                '{ op = "WatchSnapshot", name = "w", symbol = "s" }'
            ),
            "[1].name",
            "differs from the snapshot before it",
        ),
        (
            '{ op = "DetachScheduler" }, { op = "WatchSnapshot", name = "w", variable = "v" }',
            "[1].op",
            "AttachScheduler before it",
        ),
        (
            ", ".join(f'{{ op = "WatchSnapshot", name = "w{n}", symbol = "s" }}' for n in range(4)),
            "[3].op",
            "at most 3 watches at a time",
        ),
        ('{ op = "WriteBpfGlobal", name = "a", value = 18446744073709551616 }', "[0].value", ""),
        (
            '{ op = "DetachScheduler" }, { op = "WriteBpfGlobal", name = "a", value = 1 }',
            "[1].op",
            "AttachScheduler before it",
        ),
        ('{ op = "SpawnHost", work = { type = "SpinWait", affinity = "9" } }', "", "CPUs 0-3"),
    ],
)
def test_ops(ops: str, key: str | None, words: str) -> None:
    if key is None:
        scenario_from_toml(text(ops))
        return
    ((found, allowed),) = mistakes(text(ops)).items()
    assert found.startswith(f"steps[0].ops{key}")
    assert words in allowed


def test_names_of_payloads_and_snapshots_are_used_once() -> None:
    again = f'{RUN}, {{ op = "CaptureSnapshot", name = "s" }}'
    assert mistakes(text(again, last=again)) == {
        "steps[1].ops[0].name": "a name that differs from that of another step",
        "steps[1].ops[1].name": "a name that differs from that of another step",
    }


@pytest.mark.parametrize(
    ("last", "key", "words"),
    [
        ('{ op = "SetWeight", cgroup = "box", weight = 5 }', None, ""),
        ('{ op = "AddCgroup", cgroup = "n" }', "steps[1].ops[0].cgroup", "those before it: base"),
        ('{ op = "DetachScheduler" }', "steps[1].ops[0].op", "AttachScheduler"),
        ('{ op = "Pause" }, { op = "Resume" }', "steps[1].ops[0].op", "does not loop"),
        (
            '{ op = "WatchSnapshot", name = "w", symbol = "s" }',
            "steps[1].ops[0].op",
            "WatchSnapshot only in a step that does not loop",
        ),
    ],
)
def test_what_a_loop_does_it_must_be_able_to_do_again(
    last: str, key: str | None, words: str
) -> None:
    source = text(last=last, hold='{ loop = "300ms" }')
    if key is None:
        scenario = scenario_from_toml(source)
        assert scenario.holds_ms() == (1000, 1000)
        # Turns at 0, 300, 600 and 900 ms.
        assert scenario.steps[1].hold.turns(1000) == 4
        plan: Any = build_plan(scenario, scenario.vm.topology)
        assert plan["steps"][1]["loop_ms"] == 300
        return
    found = mistakes(source)
    assert words in found[key]


@pytest.mark.parametrize(
    ("source", "key", "words"),
    [
        (text(hold='{ loop = "1s" }').replace('duration = "2s"', ""), "run.duration", "loop"),
        (text(hold='{ loop = "0s" }'), "steps[1].hold", "above zero"),
        (text(hold="{ loop = true }"), "steps[1].hold", "DURATION"),
        (
            text(hold='{ loop = "1s" }').replace('hold = "1s"', 'hold = "2s"'),
            "steps[1].hold",
            "leave some of run.duration",
        ),
        (
            text().replace('hold = "1s"', 'hold = { loop = "1s" }', 1),
            "steps[0].hold",
            "last step only",
        ),
    ],
)
def test_a_loop_takes_what_is_left_of_the_duration(source: str, key: str, words: str) -> None:
    assert words in mistakes(source)[key]


def test_an_inner_cgroup_has_at_most_the_outer_ones_cpus() -> None:
    cgroups = (
        f'{{ name = "o", cpuset = "1-2" }}, {{ name = "o/a", cpuset = "2-3", {SPIN} }}, '
        f'{{ name = "o/b", {SPIN} }}, {{ name = "o/c", cpuset = "3", {SPIN} }}'
    )
    scenario = scenario_from_toml(text(cgroups=cgroups))
    allowed = expected_cpusets(scenario, scenario.vm.topology)
    # The kernel falls back to the outer cpuset where the two have nothing in common.
    assert {key[1]: set(cpus) for key, cpus in allowed.items() if key[0] == 1} == {
        "o/a": {2},
        "o/b": {1, 2},
        "o/c": {1, 2},
    }


def test_another_work_type_takes_the_place_of_those_that_may_be_swapped() -> None:
    work = '{ type = "Bursty", workers = 2, params = { burst_us = 5 } }'
    source = text(
        f'{{ op = "AddCgroupDef", name = "op", swappable = true, works = [{work}] }}',
        cgroups=f'{{ name = "a", swappable = true, works = [{work}] }}, '
        f'{{ name = "b", works = [{work}] }}',
    )
    plan: Any = build_plan(
        scenario_from_toml(source, work_type="PipeIo"), Topology.parse("1n2l2c1t")
    )
    (step, _) = plan["steps"]
    types = {group["name"]: group["works"][0]["type"] for group in [*step["ops"], *step["cgroups"]]}
    assert types == {"op": "PipeIo", "a": "PipeIo", "b": "Bursty"}
    with pytest.raises(DefinitionInvalid) as raised:
        scenario_from_toml(source, work_type="Nonsense")
    assert {p.key for p in raised.value.problems} == {
        "steps[0].ops[0].works[0].type",
        "steps[0].cgroups[0].works[0].type",
    }
    assert all("given in place of" in p.file for p in raised.value.problems)


FLAGS = """binary = "/bin/true"
args = ["-v"]
config_file = "/bin/sh"
cgroup_parent = "/work/here"
flags = {flags}
[scheduler.known_flags.steal]
args = ["--steal"]
requires = ["llc"]
[scheduler.known_flags.llc]
args = ["--llc", "2"]
[scheduler.known_flags.borrow]
args = ["--borrow"]"""


def test_flags_bring_what_they_require_and_stand_last() -> None:
    scenario = scenario_from_toml(text(scheduler=FLAGS.format(flags='["steal"]')))
    assert scenario.scheduler.profile == "llc+steal"
    plan = scenario.scheduler.plan()
    assert plan["args"] == [
        *("--config", "/include-files/sh", "--cell-parent-cgroup", "/work/here", "-v"),
        *("--llc", "2", "--steal"),
    ]
    assert plan["cgroup_parent"] == "/work/here"
    assert scenario_from_toml(text()).scheduler.profile == "default"
    unknown = mistakes(text(scheduler=FLAGS.format(flags='["steel"]')))
    assert 'did you mean "steal"?' in unknown["scheduler.flags[0]"]


def test_requirements_are_followed_to_their_end_also_in_a_circle() -> None:
    requires = {"a": ["b"], "b": ["c", "gone"], "c": ["a"], "d": []}
    assert closure(["a"], requires) == ("a", "b", "c")


@pytest.mark.parametrize(
    ("scheduler", "key", "words"),
    [
        ('kernel_args = ["init=/x"]', "scheduler.kernel_args[0]", "none of the harness's own"),
        ('kernel_args = ["panic=1"]', "scheduler.kernel_args[0]", "panic"),
        ('kernel_args = ["--"]', "scheduler.kernel_args[0]", "none of the harness's own"),
        ('kernel_args = ["a b"]', "scheduler.kernel_args[0]", "one word"),
        ('sysctls = { "kernel/x" = 1 }', "scheduler.sysctls.kernel/x", "with dots"),
        ("sysctls = { x = 1 }", "scheduler.sysctls.x", "with dots"),
        ('kernel_features = ["x"]', "scheduler.kernel_features[0]", "sched_ext"),
        ('cgroup_parent = "/"', "scheduler.cgroup_parent", 'not "/"'),
        ('config_file = "/bin/sh"', "scheduler.config_file", "only beside binary"),
        ('flags = ["a"]', "scheduler.flags", "only beside binary"),
    ],
)
def test_scheduler_definitions(scheduler: str, key: str, words: str) -> None:
    found = mistakes(text(scheduler=f'bpf = "scx_ktstr"\n{scheduler}'))
    assert words in found[key]


def test_kernel_arguments_of_the_harness_are_known_to_the_rules() -> None:
    words = (*BASE_CMDLINE, *TCG_CMDLINE, *tsc_words(2_600_000, 250))
    assert {word.partition("=")[0] for word in words} <= OWN_KERNEL_ARGS


def test_sysctls_keep_their_order() -> None:
    lines = 'bpf = "scx_ktstr"\nsysctls = { "z.b" = 1, "a.c" = "x y" }'
    plan = scenario_from_toml(text(scheduler=lines)).scheduler.plan()
    assert plan["sysctls"] == [["z.b", "1"], ["a.c", "x y"]]


def test_every_file_goes_into_the_guest_and_none_takes_anothers_place(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "same").touch()
    ops = ", ".join(
        f'{{ op = "RunPayload", name = "{name}", command = "{name}/same", files = ["one/same"] }}'
        for name in ("one", "two")
    )
    source = text(ops, scheduler='binary = "one/same"')
    with pytest.raises(DefinitionInvalid) as raised:
        scenario_from_toml(source, file=str(tmp_path / "s.toml"))
    (problem,) = raised.value.problems
    assert problem.key == "steps[0].ops[1].command"
    assert "one/same does not have" in problem.allowed
    fine = source.replace("two/same", "one/same")
    scenario = scenario_from_toml(fine, file=str(tmp_path / "s.toml"))
    assert {(file.host.name, file.guest) for file in packed_files(scenario)} == {
        ("same", "/ktstr/sched/same"),
        ("same", "/ktstr/payload/same"),
        ("same", "/include-files/same"),
    }


def test_a_scheduler_of_the_kernels_source_is_named_and_no_file_is_looked_for() -> None:
    other = '{ binary = "kernel:scx_flatcg", args = ["-i", "1"] }'
    replace = f'{{ op = "ReplaceScheduler", scheduler = {other} }}'
    lines = 'binary = "kernel:scx_qmap"\nargs = ["-s", "5000"]'
    scenario = scenario_from_toml(text(replace, scheduler=lines))
    assert kernel_programs(scenario) == {
        "/ktstr/sched/scx_qmap": "scx_qmap",
        "/ktstr/sched/scx_flatcg": "scx_flatcg",
    }
    assert list(packed_files(scenario)) == []
    plan = scenario.scheduler.plan()
    assert (plan["kind"], plan["path"]) == ("binary", "/ktstr/sched/scx_qmap")
    assert plan["args"] == ["-s", "5000"]
    typed = scenario_from_toml(text(), scheduler="kernel:scx_central")
    assert kernel_programs(typed) == {"/ktstr/sched/scx_central": "scx_central"}
    assert kernel_programs(scenario_from_toml(text())) == {}


@pytest.mark.parametrize("name", ["", "../scx_qmap", "scx qmap", "x" * 65, "scx_qmap.bpf.o"])
def test_what_cannot_be_a_scheduler_of_the_kernels_source_is_a_mistake(name: str) -> None:
    found = mistakes(text(scheduler=f'binary = "kernel:{name}"'))
    assert found == {"scheduler.binary": '"kernel:NAME", such as "kernel:scx_simple"'}


def test_a_file_does_not_take_the_place_of_a_scheduler_of_the_kernels_source(
    tmp_path: Path,
) -> None:
    (tmp_path / "scx_qmap").touch()
    ops = '{ op = "ReplaceScheduler", scheduler = { binary = "scx_qmap" } }'
    with pytest.raises(DefinitionInvalid) as raised:
        scenario_from_toml(
            text(ops, scheduler='binary = "kernel:scx_qmap"'), file=str(tmp_path / "s.toml")
        )
    (problem,) = raised.value.problems
    assert problem.key == "steps[0].ops[0].scheduler.binary"
    assert problem.allowed == "a file name that kernel:scx_qmap does not have"
