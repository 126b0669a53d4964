# SPDX-License-Identifier: GPL-2.0-only
"""Every mistake gives file, line, key, what was found and what is allowed; all at once."""

from pathlib import Path

import pytest

from ktstr.errors import DefinitionInvalid, ExitCode, Problem
from ktstr.model.scenario import load_scenario, scenario_from_toml

BASE = """\
[vm]
topology = "1n2l2c1t"
[scheduler]
bpf = "scx_ktstr"
[run]
num_snapshots = 2
[[backdrop.cgroups]]
name = "base"
[[steps]]
hold = "2s"
ops = []
[[steps.cgroups]]
name = "a"
cpuset = { llc = 0 }
works = [{ type = "PipeIo", workers = 2 }]
[checks]
isolation = true
"""


PER_SCHEDULER = BASE.replace("[checks]", "[scheduler.checks]").replace(
    "isolation = true", "isolation = true\nmin_page_locality = 0.5"
)


def test_a_schedulers_checks_need_cpusets_too() -> None:
    found = problems(PER_SCHEDULER.replace("cpuset = { llc = 0 }\n", ""))
    assert [problem.key for problem in found] == [
        "scheduler.checks.isolation",
        "scheduler.checks.min_page_locality",
    ]
    assert scenario_from_toml(PER_SCHEDULER).check_levels()[0] == {
        "isolation": True,
        "min_page_locality": 0.5,
    }


def problems(text: str) -> list[Problem]:
    with pytest.raises(DefinitionInvalid) as raised:
        scenario_from_toml(text, file="s.toml")
    assert raised.value.exit_code is ExitCode.CANNOT_RUN
    return list(raised.value.problems)


def only(text: str) -> Problem:
    found = problems(text)
    assert len(found) == 1, [str(p) for p in found]
    return found[0]


def swap(old: str, new: str, base: str = BASE) -> str:
    assert old in base
    return base.replace(old, new, 1)


def test_the_base_has_no_mistake() -> None:
    scenario_from_toml(BASE)


CGROUP = "steps[0].cgroups[0]"
WORK = f"{CGROUP}.works[0]"

# old text, new text, line, key, found, what "allowed" must contain
ONE_MISTAKE = [
    ('"1n2l2c1t"', '"2s2c"', 2, "vm.topology", '"2s2c"', "1n2l2c1t"),
    ('"1n2l2c1t"', '"3n2l2c1t"', 2, "vm.topology", '"3n2l2c1t"', "divide"),
    ('"1n2l2c1t"', "4", 2, "vm.topology", "4", "1n2l2c1t"),
    ('"1n2l2c1t"', '"1n2l128c1t"', 2, "vm.topology", '"1n2l128c1t"', "at most 255 CPUs"),
    ("[vm]", '[vm]\nmemory = "64M"', 2, "vm.memory", '"64M"', "128M"),
    ("[vm]", "[vm]\nmemory = 512", 2, "vm.memory", "512", '"512M"'),
    (
        "[vm]",
        "[vm]\ncpus = 4",
        2,
        "vm.cpus",
        'the unknown key "cpus"',
        "memory, numa, scratch_disk, topology",
    ),
    ("[vm]", 'kernel = "6.12"\n[vm]', 1, "kernel", '"6.12"', '"debian:7"'),
    ("[vm]", 'name = "Über"\n[vm]', 1, "name", '"Über"', "lower-case"),
    ("[vm]", 'desc = "x"\n[vm]', 1, "desc", 'the unknown key "desc"', 'mean "description"'),
    ('"scx_ktstr"', '"scx_kstr"', 4, "scheduler.bpf", '"scx_kstr"', 'did you mean "scx_ktstr"?'),
    ('"scx_ktstr"', '"none.bpf.o"', 4, "scheduler.bpf", '"none.bpf.o"', "a file that exists"),
    ('"scx_ktstr"', "7", 4, "scheduler.bpf", "7", "a text"),
    ('"scx_ktstr"', '"scx_ktstr"\nkernel_default = true', 3, "scheduler", "bpf", "one of bpf"),
    ('bpf = "scx_ktstr"', "", 3, "scheduler", "none of them", "one of bpf"),
    ('"scx_ktstr"', '"scx_ktstr"\nargs = ["-v"]', 5, "scheduler.args", '["-v"]', "beside binary"),
    ('"scx_ktstr"', '"scx_ktstr"\ntimeout = "31s"', 5, "scheduler.timeout", '"31s"', "at most 30s"),
    ('"scx_ktstr"', '"scx_ktstr"\ntimeout = "0s"', 5, "scheduler.timeout", '"0s"', "above zero"),
    (
        'bpf = "scx_ktstr"',
        'binary = "/bin/true"\nargs = ["a\\u0000"]',
        5,
        "scheduler.args[0]",
        '"a',
        "no NUL",
    ),
    (
        '"scx_ktstr"',
        '"scx_ktstr"\nglobals = { x = "\\u0000" }',
        5,
        "scheduler.globals.x",
        None,
        "without NUL",
    ),
    (
        '"scx_ktstr"',
        '"scx_ktstr"\nglobals = { x = 1.5 }',
        5,
        "scheduler.globals.x",
        "1.5",
        "an integer",
    ),
    (
        '"scx_ktstr"',
        '"scx_ktstr"\nglobals = { "a b" = 1 }',
        5,
        "scheduler.globals.a b",
        'the key "a b"',
        "the name of a global variable",
    ),
    ("num_snapshots = 2", "num_snapshots = 16", 6, "run.num_snapshots", "16", "0 to 15"),
    ("num_snapshots = 2", "num_snapshots = 65", 6, "run.num_snapshots", "65", "from 0 to 64"),
    ("num_snapshots = 2", "num_snapshots = true", 6, "run.num_snapshots", "true", "an integer"),
    ("num_snapshots = 2", 'duration = "3s"', 6, "run.duration", '"3s"', "2s"),
    ("num_snapshots = 2", 'duration = "nope"', 6, "run.duration", '"nope"', "1500ms"),
    ("num_snapshots = 2", 'clock = "host"', 6, "run.clock", '"host"', '"wall", "virtual"'),
    ("num_snapshots = 2", "seed = -1", 6, "run.seed", "-1", "an integer from 0"),
    ('"2s"', "{ frac = 0.5 }", 5, "run.duration", "", "steps[0].hold"),
    ('"2s"', "{ frac = 1.5 }", 10, "steps[0].hold", "{ frac = 1.5 }", "F <= 1.0"),
    ('"2s"', '"0ms"', 10, "steps[0].hold", '"0ms"', "above zero"),
    ('"2s"', "nan", 10, "steps[0].hold", "nan", "a duration"),
    ('hold = "2s"\n', "", 9, "steps[0].hold", "", "a duration"),
    ('name = "a"', 'name = "../a"', 13, CGROUP + ".name", '"../a"', "a cgroup name"),
    ('name = "a"', 'name = "cpu.max"', 13, CGROUP + ".name", '"cpu.max"', "a cgroup"),
    ('name = "a"', 'name = "base"', 13, CGROUP + ".name", '"base"', "differs from the B"),
    ('name = "a"\n', "", 12, CGROUP + ".name", "", "a cgroup name"),
    ("{ llc = 0 }", '"4-5"', 14, CGROUP + ".cpuset", '"4-5"', "CPUs 0-3"),
    ("{ llc = 0 }", "{ llc = 2 }", 14, CGROUP + ".cpuset", "{ llc = 2 }", "0 to 1"),
    ("{ llc = 0 }", "{ numa = 1 }", 14, CGROUP + ".cpuset", "{ numa = 1 }", "0 to 0"),
    (
        "{ llc = 0 }",
        "{ core = 1 }",
        14,
        CGROUP + ".cpuset",
        "{ core = 1 }",
        "{ llc = N }",
    ),
    ("{ llc = 0 }", "{ disjoint = [0, 4] }", 14, CGROUP + ".cpuset", None, "at most 3"),
    (
        "{ llc = 0 }",
        "{ range = [0.0, 0.1] }",
        14,
        CGROUP + ".cpuset",
        None,
        "at least one",
    ),
    (
        "workers = 2",
        "workers = 3",
        15,
        WORK + ".workers",
        "3",
        "a multiple of 2: PipeIo",
    ),
    (
        "workers = 2",
        "workers = 0",
        15,
        WORK + ".workers",
        "0",
        "from 1 to 1024",
    ),
    ("workers = 2", 'nice = "x"', 15, WORK + ".nice", '"x"', "from -20 to 19"),
    ("workers = 2", 'policy = "rt"', 15, WORK + ".policy", '"rt"', "fifo"),
    (
        "workers = 2",
        'policy = "rr"',
        15,
        WORK + ".rt_prio",
        "",
        "needs a prio",
    ),
    ("workers = 2", "rt_prio = 9", 15, WORK + ".rt_prio", "9", "nothing with"),
    (
        "workers = 2",
        'affinity = "2-3"',
        15,
        WORK + ".affinity",
        '"2-3"',
        "the cgroup's CPUs 0-1",
    ),
    (
        "workers = 2",
        "params = { burst = 1 }",
        15,
        WORK + ".params.burst",
        'the unknown key "burst"',
        'did you mean "burst_iters"?',
    ),
    (
        "workers = 2",
        "params = { burst_iters = 0 }",
        15,
        WORK + ".params.burst_iters",
        "0",
        "from 1 to 1000000000 (default 1024)",
    ),
    (
        '"PipeIo"',
        '"pipeio"',
        15,
        WORK + ".type",
        '"pipeio"',
        'did you mean "PipeIo"?',
    ),
    ("isolation = true", "isolation = 1", 17, "checks.isolation", "1", "true or false"),
    ("isolation = true", "max_gap_ms = 0", 17, "checks.max_gap_ms", "0", "from 1"),
    ("isolation = true", "max_gap = 9", 17, "checks.max_gap", None, 'did you mean "max_gap_ms"?'),
    ("isolation = true", "max_spread_pct = nan", 17, "checks.max_spread_pct", "nan", "a number"),
    ("cpuset = { llc = 0 }\n", "", 16, "checks.isolation", "true", "gives a cgroup a cpuset"),
    ("isolation = true", "min_page_locality = 1.5", 17, "checks.min_page_locality", "1.5", "to 1"),
    ("isolation = true", "sustained_samples = 0", 17, "checks.sustained_samples", "0", "from 1"),
    ("isolation = true", "max_imbalance_ratio = 0.5", 17, "checks.max_imbalance_ratio", "0.5", "1"),
    (
        "isolation = true",
        "not_starved = true\nnot_stuck = true",
        18,
        "checks.not_stuck",
        "true",
        "one of not_starved and not_stuck",
    ),
    (
        'bpf = "scx_ktstr"',
        'bpf = "scx_ktstr"\nchecks = { max_gap = 3 }',
        5,
        "scheduler.checks.max_gap",
        None,
        'did you mean "max_gap_ms"?',
    ),
    (
        'bpf = "scx_ktstr"',
        "kernel_default = true\nchecks = { enforce_monitor_thresholds = true }",
        5,
        "scheduler.checks.enforce_monitor_thresholds",
        "true",
        "only with a scheduler that ktstr started",
    ),
]


@pytest.mark.parametrize(("old", "new", "line", "key", "found", "allowed"), ONE_MISTAKE)
def test_one_mistake(
    old: str, new: str, line: int, key: str, found: str | None, allowed: str
) -> None:
    problem = only(swap(old, new))
    assert (problem.file, problem.line, problem.key) == ("s.toml", line, key)
    assert found is None or problem.found.startswith(found)
    assert bool(found) or found is None or problem.found == ""
    assert allowed in problem.allowed


# ops of the step, key below steps[0].ops, what "allowed" must contain
OPS = [
    ('{ op = "SetCpuse", cgroup = "base" }', "[0].op", 'did you mean "SetCpuset"?'),
    ('{ cgroup = "base" }', "[0].op", '"InjectFault"'),
    ("{ op = [] }", "[0].op", '"InjectFault"'),
    ("3", "[0]", "a table"),
    ('{ op = "ClearCpuset", cgroup = "b" }', "[0].cgroup", "(here: base)"),
    ('{ op = "ClearCpuset", cgroup = "a" }', "[0].cgroup", "set up after its ops"),
    ('{ op = "ClearCpuset" }', "[0].cgroup", "a cgroup name"),
    ('{ op = "ClearCpuset", cgroup = "base", cpus = "0" }', "[0].cpus", "cgroup, op"),
    ('{ op = "SetCpuset", cgroup = "base", cpuset = "9" }', "[0].cpuset", "CPUs 0-3"),
    ('{ op = "SetWeight", cgroup = "base", weight = 0 }', "[0].weight", "from 1 to 10000"),
    ('{ op = "SetAffinity", cgroup = "base", affinity = "4" }', "[0].affinity", "CPUs 0-3"),
    ('{ op = "AddCgroup", cgroup = "base" }', "[0].cgroup", "differs from the Backdrop's"),
    ('{ op = "AddCgroup", cgroup = "n" }, { op = "AddCgroup", cgroup = "n" }', "[1].cgroup", "n"),
    (
        '{ op = "AddCgroup", cgroup = "n" }, { op = "MoveAllTasks", cgroup = "base", to = "n" }',
        "[1].to",
        "outlive the step",
    ),
    (
        '{ op = "SwapCpusets", cgroup = "base", other = "n" }',
        "[0].other",
        "a cgroup of the Backdrop",
    ),
    ('{ op = "Spawn", cgroup = "base" }', "[0].work", "a table"),
    (
        '{ op = "Spawn", cgroup = "base", work = { type = "PipeIo", workers = 1 } }',
        "[0].work.workers",
        "a multiple of 2",
    ),
    ('{ op = "Pause" }', "[0].op", "Resume after it"),
    ('{ op = "Resume" }', "[0].op", "only after Pause"),
    ('{ op = "Pause" }, { op = "Pause" }, { op = "Resume" }', "[1].op", "before another Pause"),
    ('{ op = "InjectFault", fault = "panic" }', "[0].fault", 'did you mean "kernel-panic"?'),
    ('{ op = "InjectFault", fault = "kill-agent", at = "2s" }', "[0].at", "hold of 2s"),
    ('{ op = "InjectFault", fault = "kill-worker", cgroup = "base" }', "[0].cgroup", "step: a"),
    ('{ op = "InjectFault", fault = "kill-agent", cgroup = "a" }', "[0].cgroup", "kill-worker"),
    ('{ op = "InjectFault", fault = "kill-agent", size = "1K" }', "[0].size", "garbage-on-port"),
    ('{ op = "InjectFault", fault = "garbage-on-port", size = "1G" }', "[0].size", '"64M"'),
]


@pytest.mark.parametrize(("ops", "key", "allowed"), OPS)
def test_one_mistake_in_the_ops(ops: str, key: str, allowed: str) -> None:
    problem = only(swap("ops = []", f"ops = [\n{ops}]"))
    assert problem.line == 12
    assert problem.key == f"steps[0].ops{key}"
    assert allowed in problem.allowed


def test_a_step_may_use_what_its_ops_made_and_later_steps_may_not() -> None:
    add = '{ op = "AddCgroup", cgroup = "n" }, { op = "SetWeight", cgroup = "n", weight = 9 }'
    scenario_from_toml(swap("ops = []", f"ops = [{add}]"))
    later = '[[steps]]\nhold = 1\nops = [{ op = "SetWeight", cgroup = "n", weight = 9 }]\n[checks]'
    text = swap("[checks]", later, swap("ops = []", f"ops = [{add}]"))
    assert only(text).key == "steps[1].ops[0].cgroup"


def test_a_removed_backdrop_cgroup_is_gone_for_later_steps() -> None:
    later = '[[steps]]\nhold = 1\nops = [{ op = "StopCgroup", cgroup = "base" }]\n[checks]'
    text = swap("[checks]", later)
    scenario_from_toml(text)
    text = swap("ops = []", 'ops = [{ op = "RemoveCgroup", cgroup = "base" }]', text)
    problem = only(text)
    assert problem.key == "steps[1].ops[0].cgroup"
    assert "(here: none)" in problem.allowed


def test_faults_need_a_hold() -> None:
    fault = '[backdrop]\nops = [{ op = "InjectFault", fault = "kill-agent" }]\n[[steps]]'
    assert only(swap("[[steps]]", fault)).key == "backdrop.ops[0].op"


def test_faults_need_their_victims() -> None:
    fault = 'ops = [{ op = "InjectFault", fault = "kill-scheduler" }]'
    text = swap("ops = []", fault, swap('bpf = "scx_ktstr"', "kernel_default = true"))
    assert only(text).key == "steps[0].ops[0].fault"
    fault = 'ops = [{ op = "InjectFault", fault = "kill-worker" }]'
    idle = swap('works = [{ type = "PipeIo", workers = 2 }]\n', "")
    assert only(swap("ops = []", fault, idle)).key == "steps[0].ops[0].fault"
    scenario_from_toml(swap("ops = []", fault))


def test_too_many_workers_at_once() -> None:
    work = '{ type = "SpinWait", workers = 1024 }'
    text = swap('[{ type = "PipeIo", workers = 2 }]', f"[{work}, {work}, {work}, {work}]")
    scenario_from_toml(text)
    text = swap('name = "base"', 'name = "base"\nworks = [{ type = "SpinWait" }]', text)
    problem = only(text)
    assert (problem.key, problem.found) == ("steps[0]", "4097 workers")


def test_fractions_above_one_are_pointed_at_once() -> None:
    text = swap("num_snapshots = 2", 'duration = "2s"', swap('"2s"', "{ frac = 0.6 }"))
    text = swap("[checks]", "[[steps]]\nhold = { frac = 0.6 }\n[checks]", text)
    problem = only(text)
    assert (problem.line, problem.key) == (17, "steps[1].hold")
    assert "here: 1.2" in problem.allowed


def test_thirds_may_be_rounded() -> None:
    step = "[[steps]]\nhold = { frac = 0.33 }\n"
    text = f'run.duration = "3s"\nscheduler.kernel_default = true\n{step * 2}'
    scenario_from_toml(text + "[[steps]]\nhold = { frac = 0.34 }\n")
    scenario_from_toml(text + step)
    assert only(text).key == "run.duration"


def test_two_steps_of_one_name() -> None:
    text = swap("[checks]", '[[steps]]\nname = "step1"\nhold = 1\n[checks]')
    assert only(text).key == "steps[1].name"


def test_all_mistakes_come_at_once_in_the_order_of_the_file() -> None:
    text = swap("[vm]", "[vm]\ntpology = 1")
    text = swap("num_snapshots = 2", 'num_snapshots = 99\nsede = 4\nsettle = "x"', text)
    text = swap("workers = 2", 'workers = 3, nice = 40, affinity = "9"', text)
    assert [(p.line, p.key) for p in problems(text)] == [
        (2, "vm.tpology"),
        (7, "run.num_snapshots"),
        (8, "run.sede"),
        (9, "run.settle"),
        (18, "steps[0].cgroups[0].works[0].nice"),
        (18, "steps[0].cgroups[0].works[0].workers"),
        (18, "steps[0].cgroups[0].works[0].affinity"),
    ]


def test_a_wrong_value_is_not_called_wrong_twice() -> None:
    text = swap("{ llc = 0 }", '"zero"')  # the isolation rule must not miss the cpuset
    assert only(text).key == "steps[0].cgroups[0].cpuset"
    text = swap('bpf = "scx_ktstr"', "bpf = 3")  # nor the scheduler rule the object
    assert only(text).key == "scheduler.bpf"


def test_missing_tables() -> None:
    assert [(p.line, p.key, p.found) for p in problems("")] == [
        (None, "scheduler", ""),
        (None, "steps", ""),
    ]
    assert only("steps = []\nscheduler.kernel_default = true").key == "steps"


def test_topology_from_the_command_line_decides_on_the_cpusets() -> None:
    with pytest.raises(DefinitionInvalid) as raised:
        scenario_from_toml(BASE, file="s.toml", topology="1n1l2c1t", kernel="6.12")
    (problem,) = raised.value.problems
    assert (problem.file, problem.line) == ("given in place of s.toml", None)
    assert (problem.key, problem.found) == ("kernel", '"6.12"')
    scenario_from_toml(BASE, file="s.toml", topology="1n1l2c1t")  # LLC 0 is there
    with pytest.raises(DefinitionInvalid, match="an LLC from 0 to 0"):
        scenario_from_toml(swap("llc = 0", "llc = 1"), topology="1n1l2c1t")


@pytest.mark.parametrize(
    ("text", "line", "allowed"),
    [
        ("a = 1\nb = = 2\n", 2, "valid TOML (invalid value, column 5)"),
        ("a = 1\na = 2", 2, "valid TOML (cannot overwrite"),
        ("x = [1,\n", 1, "valid TOML"),
        ("x = " + "9" * 5000, None, "valid TOML"),
        ("x = " + "[" * 5000 + "]" * 5000, None, "valid TOML"),
    ],
)
def test_toml_that_does_not_parse(text: str, line: int | None, allowed: str) -> None:
    problem = only(text)
    assert problem.line == line
    assert allowed in problem.allowed


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    def fault(path: Path) -> Problem:
        with pytest.raises(DefinitionInvalid) as raised:
            load_scenario(path)
        (problem,) = raised.value.problems
        assert problem.file == str(path)
        return problem

    assert fault(tmp_path / "none.toml").found == "No such file or directory"
    assert fault(tmp_path).found == "Is a directory"
    bad = tmp_path / "bad.toml"
    bad.write_bytes(b"a = 1\nb = '\xff'\n")
    assert (fault(bad).line, fault(bad).allowed) == (2, "UTF-8 text")
    bad.write_bytes(b"#" * ((1 << 20) + 1))
    assert "1 MiB" in fault(bad).allowed


def test_what_is_shown_is_short_and_printable() -> None:
    text = swap('name = "a"', 'name = "\\u001b[31m' + "x" * 500 + '"')
    problem = only(text)
    assert len(problem.found) < 80
    assert problem.found.isprintable()
    assert str(problem).startswith("s.toml:13: steps[0].cgroups[0].name: found ")


def nodes(*tables: str, topology: str = "1n3l1c1t", memory: str = "") -> str:
    vm = f'[vm]\ntopology = "{topology}"\n{memory}\n'
    own = "".join(f"[[vm.numa]]\n{table}\n" for table in tables)
    return BASE.replace('[vm]\ntopology = "1n2l2c1t"\n', vm + own)


def test_nodes_one_by_one() -> None:
    vm = scenario_from_toml(
        nodes(
            'memory = "256M"\nllcs = 2\ndistances = [10, 11, 254]',
            'memory = "32M"\ndistances = [11, 10, 30]',
            'memory = "96M"\nllcs = 0\ndistances = [254, 30, 10]',
            memory='memory = "384M"',
        )
    ).vm
    assert (vm.memory_mib, vm.node_memory_mib) == (384, (256, 32, 96))
    assert vm.node_distances == ((10, 11, 254), (11, 10, 30), (254, 30, 10))
    assert [vm.guest_topology.node_cpus(n) for n in range(3)] == [(0, 1), (2,), ()]


def test_nodes_share_the_llcs_and_make_up_the_memory() -> None:
    vm = scenario_from_toml(nodes(*['memory = "100M"'] * 3, topology="3n3l1c1t")).vm
    assert (vm.memory_mib, vm.node_distances) == (300, None)
    assert vm.guest_topology == vm.topology


BIG = 'memory = "256M"'
ALONE = 'memory = "256M"\nllcs = 0'


@pytest.mark.parametrize(
    ("text", "key", "found", "allowed"),
    [
        (nodes(BIG, "llcs = 1"), "vm.numa[1].memory", "", "a size such as"),
        (nodes(BIG, 'memory = "31M"\nllcs = 1'), "vm.numa[1].memory", '"31M"', 'least "32M"'),
        (nodes(BIG, 'memory = "32769K"\nllcs = 1'), "vm.numa[1].memory", '"32769K"', "whole MiB"),
        (nodes('memory = "127M"'), "vm.numa", "", 'at least "128M" in total'),
        (
            nodes(BIG, memory='memory = "512M"'),
            "vm.memory",
            '"512M"',
            'the memory of all nodes, "256M" (or leave it out)',
        ),
        (nodes(BIG, ALONE, BIG), "vm.numa[1].llcs", "0", "0 only in the last nodes"),
        (nodes(ALONE), "vm.numa[0].llcs", "0", "at least 1 in one of the nodes"),
        (nodes(BIG + "\nllcs = -1"), "vm.numa[0].llcs", "-1", "an integer from 0 to 255"),
        (nodes(BIG, BIG), "vm.numa", "", "leave 2 nodes an even share of the topology's 3 LLCs"),
        (
            nodes(BIG + "\nllcs = 3", BIG),
            "vm.numa",
            "",
            "leave 1 nodes an even share of the topology's 3 LLCs",
        ),
        (nodes(BIG + "\nllcs = 4"), "vm.numa", "", "llcs that add up to the topology's 3"),
        (nodes(BIG + "\nllcs = 2"), "vm.numa", "", "llcs that add up to the topology's 3"),
        (nodes(BIG, topology="3n3l1c1t"), "vm.numa", "", "topology 3n3l1c1t, 3 with CPUs (or 1n"),
        (
            nodes(BIG, BIG, BIG, topology="1n3l1c1t+2m"),
            "vm.numa",
            "",
            "topology 1n3l1c1t+2m, 1 with CPUs and 2 with llcs = 0 (or 1n",
        ),
        (
            nodes(BIG + "\ndistances = [10]", ALONE),
            "vm.numa[0].distances",
            "[10]",
            "2 distances, one to each node",
        ),
        (
            nodes(BIG + "\ndistances = [10, 20]", ALONE),
            "vm.numa[1].distances",
            "",
            "2 distances, one to each node, as another node has them",
        ),
        (
            nodes(BIG + "\ndistances = [11]"),
            "vm.numa[0].distances[0]",
            "11",
            "10, the distance of a node to itself",
        ),
        (
            nodes(BIG + "\ndistances = [10, 10]", ALONE + "\ndistances = [20, 10]"),
            "vm.numa[0].distances[1]",
            "10",
            "an integer from 11 to 254 to another node",
        ),
        (
            nodes(BIG + "\ndistances = [10, 20]", ALONE + "\ndistances = [21, 10]"),
            "vm.numa[1].distances[0]",
            "21",
            "20, as from node 0 to node 1",
        ),
        (
            nodes(BIG + "\ndistances = [255]"),
            "vm.numa[0].distances[0]",
            "255",
            "an integer from 10 to 254",
        ),
        (nodes(*[BIG] * 65), "vm.numa", "", "a list, at most 64"),
        (nodes(BIG + "\ncpus = 1"), "vm.numa[0].cpus", 'the unknown key "cpus"', "llcs, memory"),
    ],
)
def test_a_mistake_about_nodes(text: str, key: str, found: str, allowed: str) -> None:
    problem = next(problem for problem in problems(text) if problem.key == key)
    assert found in problem.found
    assert allowed in problem.allowed
    assert problem.line is not None
    assert {other.key[:6] for other in problems(text)} <= {"vm.num", "vm.mem"}


def test_without_a_division_no_cpuset_is_judged() -> None:
    text = nodes(BIG, BIG).replace("{ llc = 0 }", "{ numa = 2 }")
    assert [problem.key for problem in problems(text)] == ["vm.numa"]
    text = nodes(BIG + "\nllcs = 2", BIG).replace("{ llc = 0 }", "{ numa = 2 }")
    assert only(text).allowed == "a node from 0 to 1 (topology 2n3l1c1t)"
