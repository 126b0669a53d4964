# SPDX-License-Identifier: GPL-2.0-only
"""How workers are placed, scheduled and composed: what is accepted, planned and refused."""

import pytest

from ktstr.errors import DefinitionInvalid
from ktstr.model.plan import build_plan
from ktstr.model.scenario import scenario_from_toml
from ktstr.model.works.registry import WORK_TYPES
from ktstr.session.definition import reporting_workers


def scenario(work: str, cpuset: str = "", topology: str = "2n2l4c1t"):
    return scenario_from_toml(
        f"""
        vm = {{ topology = "{topology}" }}
        scheduler = {{ kernel_default = true }}
        steps = [{{ hold = "1s", cgroups = [
            {{ name = "a", {cpuset} works = [{{ {work} }}] }},
        ] }}]
        """
    )


def planned(work: str, **more: str):
    made = scenario(work, **more)
    plan = build_plan(made, made.vm.topology)
    return plan, plan["steps"][0]["cgroups"][0]["works"][0]


def test_what_is_given_reaches_the_guest_and_nothing_else() -> None:
    _, plain = planned('type = "SpinWait"')
    assert set(plain) == {"type", "workers", "policy", "rt_prio", "nice", "affinity", "params"}
    _, work = planned(
        'type = "SpinWait", clone = "thread", comm = "a b", policy = "deadline", '
        "dl_runtime_us = 1, dl_deadline_us = 2, dl_period_us = 2, affinity = "
        '"random", mempolicy = "bind", mem_nodes = "0-1", mem_flags = ["static"]'
    )
    assert {key: value for key, value in work.items() if plain.get(key) != value} == {
        "clone": "thread",
        "comm": "a b",
        "policy": "deadline",
        "dl_runtime_us": 1,
        "dl_deadline_us": 2,
        "dl_period_us": 2,
        "affinity": "random",
        "mempolicy": "bind",
        "mem_nodes": "0-1",
        "mem_flags": "static",
    }


def test_composed_works_are_numbered_and_their_reports_expected() -> None:
    composed = '{ type = "PipeIo" }, { type = "Mixed", workers = 3 }'
    plan, work = planned(f'type = "SpinWait", workers = 2, composed = [{composed}]')
    found = [(w["type"], w["group_idx"], w["workers"]) for w in work["composed"]]
    assert found == [("PipeIo", 1, 2), ("Mixed", 2, 3)]
    assert reporting_workers(plan) == {(1, "a"): 2 + 2 + 3}


@pytest.mark.parametrize(
    ("work", "cpuset", "key", "words"),
    [
        ('policy = "deadline"', "", "policy", "all three given"),
        (
            'policy = "deadline", dl_runtime_us = 3, dl_deadline_us = 2, dl_period_us = 4',
            "", "policy", "dl_runtime_us <= dl_deadline_us",
        ),
        ("dl_period_us = 3", "", "dl_period_us", "only with policy deadline"),
        ('affinity = "smt-pair"', "", "affinity", "2 threads per core"),
        ('affinity = "somewhere"', "", "affinity", '"smt-pair" or a CPU list'),
        ('mempolicy = "bind"', "", "mem_nodes", "needs it"),
        ('mempolicy = "local", mem_nodes = "0"', "", "mem_nodes", "names no nodes"),
        ('mempolicy = "preferred", mem_nodes = "0-1"', "", "mem_nodes", "exactly one"),
        ('mempolicy = "bind", mem_nodes = "2"', "", "mem_nodes", "0 to 1 (not 2)"),
        (
            'mempolicy = "bind", mem_nodes = "2", mem_flags = ["static"]',
            "", "mem_nodes", "0 to 1 (not 2)",
        ),
        (
            'mempolicy = "bind", mem_nodes = "0"',
            "cpuset = { numa = 1 },", "mem_nodes", "cgroup's cpuset, 1",
        ),
        (
            'mempolicy = "bind", mem_nodes = "0", mem_flags = ["static", "relative"]',
            "", "mem_flags", "exclude each other",
        ),
        ('comm = "sixteen letters!"', "", "comm", "1 to 15 printable"),
        ('command = "x"', "", "command", "nothing with other types"),
        ('args = ["x"]', "", "args", "only with Custom"),
        ('composed = [{ type = "PipeIo", workers = 3 }]', "", "composed[0].workers", "of 2"),
        (
            'composed = [{ type = "Mixed", composed = [] }]',
            "", "composed[0].composed", "",
        ),
    ],
)  # fmt: skip
def test_refusals_name_key_and_rule(work: str, cpuset: str, key: str, words: str) -> None:
    with pytest.raises(DefinitionInvalid) as caught:
        scenario(f'type = "SpinWait", {work}', cpuset)
    text = str(caught.value) + repr(getattr(caught.value, "problems", ""))
    assert f"steps[0].cgroups[0].works[0].{key}" in text
    assert words in text


@pytest.mark.parametrize(("flags", "nodes"), [('"relative"', "7"), ('"static"', "0"), ("", "1")])
def test_flags_decide_which_nodes_are_taken(flags: str, nodes: str) -> None:
    work = f'type = "SpinWait", mempolicy = "bind", mem_nodes = "{nodes}", mem_flags = [{flags}]'
    scenario(work, "cpuset = { numa = 1 },")


PROCESS_WIDE = {"ForkExit", "CgroupChurn", "CgroupAttachStorm"}
MAKES_TASKS = {"ForkExit", "CgroupAttachStorm", "Schbench", "Taobench"}
DEADLINE = 'policy = "deadline", dl_runtime_us = 1, dl_deadline_us = 2, dl_period_us = 2'


def refused(kind: str, keys: str) -> str | None:
    """What a scenario with this work is refused for; ``None`` when it is accepted."""
    command = ', command = "/bin/true"' if kind == "Custom" else ""
    try:
        scenario(f'type = "{kind}", {keys}{command}')
    except DefinitionInvalid as error:
        return str(error)
    return None


@pytest.mark.parametrize("kind", WORK_TYPES)
def test_what_befalls_the_whole_process_is_refused_of_threads(kind: str) -> None:
    found = refused(kind, 'clone = "thread"')
    if kind in PROCESS_WIDE | {"Custom"}:
        assert found is not None
        assert f'works[0].clone: found "thread"; allowed: fork with {kind}: ' in found
    else:
        assert found is None
    assert refused(kind, 'clone = "fork"') is None


@pytest.mark.parametrize("kind", WORK_TYPES)
def test_what_makes_tasks_is_refused_with_a_deadline(kind: str) -> None:
    found = refused(kind, DEADLINE)
    if kind in MAKES_TASKS:
        assert found is not None
        assert (
            f'works[0].policy: found "deadline"; allowed: another than deadline with {kind}: '
            in found
        )
        assert found.startswith("1 mistake")  # nothing about the keys that go with it
    else:
        assert found is None
