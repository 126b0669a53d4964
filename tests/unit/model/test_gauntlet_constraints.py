# SPDX-License-Identifier: GPL-2.0-only
"""``[gauntlet]``: which presets a scenario is run on, by the reference's table."""

import pytest

from ktstr.errors import DefinitionInvalid
from ktstr.model.gauntlet_def import Constraints, gauntlet_memory_mib
from ktstr.model.presets import presets
from ktstr.model.scenario import scenario_from_toml
from ktstr.model.topology import Topology

# reference-04, section 5.2
SMALL = {"tiny-1llc", "tiny-2llc", "odd-3llc", "odd-5llc", "odd-7llc", "smt-2llc", "smt-3llc"}
MEDIUM = {"medium-4llc", "medium-8llc", "medium-4llc-nosmt", "medium-8llc-nosmt"}
LARGE = {"large-4llc", "large-8llc", "large-4llc-nosmt", "large-8llc-nosmt"}
HUGE = {"near-max-llc", "near-max-llc-nosmt", "max-cpu", "max-cpu-nosmt"}
NUMA2 = {"numa2-4llc", "numa2-8llc", "numa2-8llc-nosmt"}
NUMA4 = {"numa4-8llc", "numa4-12llc"}


def accepted(**keys: object) -> set[str]:
    found = Constraints.model_validate(keys)
    return {name for name, preset in presets().items() if not found.why_not(preset.topology, name)}


def test_the_presets_are_the_references() -> None:
    assert set(presets()) == SMALL | MEDIUM | LARGE | HUGE | NUMA2 | NUMA4
    assert len(presets()) == 24


def test_by_default_fifteen_are_active() -> None:
    assert accepted() == SMALL | MEDIUM | LARGE and len(accepted()) == 15


@pytest.mark.parametrize(
    ("keys", "names"),
    [
        (
            {"min_llcs": 2, "requires_smt": True},
            {"smt-2llc", "smt-3llc", "medium-4llc", "medium-8llc", "large-4llc", "large-8llc"},
        ),
        ({"max_numa_nodes": 2}, SMALL | MEDIUM | LARGE | NUMA2),
        ({"min_numa_nodes": 2, "max_numa_nodes": 4}, NUMA2 | NUMA4),
        ({"max_llcs": 15, "max_cpus": 252}, SMALL | MEDIUM | LARGE | HUGE),
        ({"max_llcs": 14, "max_cpus": 252, "min_cpus": 200}, {"max-cpu", "max-cpu-nosmt"}),
        ({"max_cpus": 9, "exclude": ["tiny-1llc"]}, {"tiny-2llc", "odd-3llc", "smt-2llc"}),
        ({"min_cpus": 14, "max_cpus": 15}, {"odd-5llc", "odd-7llc"}),
    ],
)
def test_constraints_leave(keys: dict[str, object], names: set[str]) -> None:
    assert accepted(**keys) == names


@pytest.mark.parametrize(
    ("topology", "reason"),
    [
        ("2n4l4c1t", "max_numa_nodes = 1, it has 2"),
        ("1n13l1c1t", "max_llcs = 12, it has 13"),
        ("1n8l32c1t", "max_cpus = 192, it has 256"),
    ],
)
def test_the_reason_names_key_and_figure(topology: str, reason: str) -> None:
    assert Constraints().why_not(Topology.parse(topology)) == reason


def test_a_gauntlet_narrows_what_scenarios_say_and_widens_their_defaults() -> None:
    outer = Constraints(max_numa_nodes=2, max_cpus=16, exclude=("max-cpu",), requires_smt=False)
    assert Constraints().within(outer).max_numa_nodes == 2
    both = Constraints(max_cpus=64, min_llcs=2, requires_smt=True, exclude=("tiny-1llc",))
    found = both.within(outer)
    assert (found.max_cpus, found.min_llcs, found.max_llcs) == (16, 2, 12)
    assert found.requires_smt and found.exclude == ("tiny-1llc", "max-cpu")
    assert Constraints(max_cpus=8).within(outer).max_cpus == 8
    assert Constraints(min_cpus=2).within(Constraints(min_cpus=4)).min_cpus == 4


def test_memory_grows_with_the_cpus_and_never_below_the_files() -> None:
    sizes = [gauntlet_memory_mib(Topology.parse(t), 100) for t in ("1n1l2c1t", "1n4l8c1t")]
    assert sizes == [256, 2048]
    assert gauntlet_memory_mib(Topology.parse("1n4l8c1t"), 4096) == 4096


SCENARIO = """
[scheduler]
kernel_default = true
[[steps]]
hold = "1s"
[gauntlet]
"""


def test_a_scenario_says_so_in_its_file() -> None:
    found = scenario_from_toml(SCENARIO + "max_numa_nodes = 4\nrequires_smt = true")
    assert found.gauntlet == Constraints(max_numa_nodes=4, requires_smt=True)
    assert scenario_from_toml(SCENARIO).gauntlet == Constraints()


def test_mistakes_are_told_together() -> None:
    text = SCENARIO + 'min_llcs = 13\nmin_cpus = 4\nmax_cpus = 2\nexclude = ["tiny1llc"]\nx = 1'
    with pytest.raises(DefinitionInvalid) as error:
        scenario_from_toml(text)
    told = {problem.key: problem for problem in error.value.problems}
    assert set(told) == {
        "gauntlet.min_llcs",
        "gauntlet.max_cpus",
        "gauntlet.exclude[0]",
        "gauntlet.x",
    }
    assert "which is the default" in told["gauntlet.min_llcs"].allowed
    assert 'did you mean "tiny-1llc"' in told["gauntlet.exclude[0]"].allowed


def test_other_memory_than_the_files_but_not_than_the_nodes() -> None:
    assert scenario_from_toml(SCENARIO, memory_mib=300).vm.memory_mib == 300
    nodes = SCENARIO + '[vm]\ntopology = "1n1l1c1t"\nnuma = [{ memory = "200M" }]'
    assert scenario_from_toml(nodes, memory_mib=300).vm.memory_mib == 200
