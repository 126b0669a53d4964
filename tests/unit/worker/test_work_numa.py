# SPDX-License-Identifier: GPL-2.0-only
"""NUMA work types: what they need, and what they do where they have it."""

import os
from pathlib import Path

import pytest

from ktstr.errors import DefinitionInvalid
from ktstr.model.scenario import scenario_from_toml

NODES = Path("/sys/devices/system/node")


def node_list(name: str) -> list[int]:
    text = (NODES / name).read_text().strip() if (NODES / name).exists() else "0"
    numbers = []
    for part in text.split(","):
        low, _, high = part.partition("-")
        numbers += range(int(low), int(high or low) + 1)
    return numbers


@pytest.mark.parametrize(
    ("name", "listed", "having"),
    [
        ("NumaWorkingSetSweep", "has_memory", "memory"),
        ("NumaMigrationChurn", "has_cpu", "CPUs"),
    ],
)
def test_one_node_is_too_few(lead, name, listed, having):
    if len(node_list(listed)) > 1:
        pytest.skip("this machine has several nodes")
    error = lead(type=name, workers=1).error()
    assert error.endswith(f": needs at least 2 NUMA nodes with {having}, there are 1")


def test_the_task_goes_round_the_nodes(lead, until):
    nodes = node_list("has_cpu")
    if len(nodes) < 2:
        pytest.skip("this machine has one node with CPUs")
    leader = lead(type="NumaMigrationChurn", workers=1, period_ms=10)
    (pid,) = leader.ready()
    leader.send(b"S")
    wanted = {(NODES / f"node{n}/cpulist").read_text().strip() for n in nodes}
    seen = set()

    def all_seen():
        text = Path(f"/proc/{pid}/status").read_text()
        seen.add(text.partition("\nCpus_allowed_list:")[2].split()[0])
        return wanted <= seen

    until("every node", all_seen)
    leader.collect()


def test_the_region_goes_round_the_nodes(lead):
    nodes = node_list("has_memory")
    if len(nodes) < 2:
        pytest.skip("this machine has one node with memory")
    (message,) = lead(
        type="NumaWorkingSetSweep", workers=1, region_kib=256, sweep_period_ms=10
    ).run(0.3)
    report = message["report"]
    # The region only, and after the last bind all of it on one node.
    assert sorted(report["numa_pages"].values()) == [64]
    assert os.sysconf("SC_PAGESIZE") == 4096


SCENARIO = """
[vm]
topology = "{topology}"
[scheduler]
kernel_default = true
[[steps]]
hold = "1s"
[[steps.cgroups]]
name = "a"
works = [{{ type = "{name}" }}]
"""


@pytest.mark.parametrize(
    ("name", "topology", "allowed"),
    [
        ("NumaWorkingSetSweep", "1n1l2c1t", "a topology with 2 NUMA nodes, not 1n1l2c1t"),
        (
            "NumaMigrationChurn",
            "1n1l2c1t+1m",
            "a topology with 2 NUMA nodes that have CPUs, not 1n1l2c1t+1m",
        ),
    ],
)
def test_the_model_names_the_topology_that_is_needed(name, topology, allowed):
    with pytest.raises(DefinitionInvalid) as caught:
        scenario_from_toml(SCENARIO.format(name=name, topology=topology))
    assert f"{name} only on {allowed}" in str(caught.value)
    assert "steps[0].cgroups[0].works[0].type" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "topology"),
    [
        ("NumaWorkingSetSweep", "2n2l1c1t"),
        ("NumaWorkingSetSweep", "1n1l2c1t+1m"),
        ("NumaMigrationChurn", "2n2l1c1t"),
    ],
)
def test_two_nodes_are_enough(name, topology):
    scenario_from_toml(SCENARIO.format(name=name, topology=topology))
