# SPDX-License-Identifier: GPL-2.0-only
"""Explicit NUMA nodes in a real VM: the guest has them, and memory can be bound to each."""

import pytest

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]

MEMORY_MIB = (256, 160, 96)
DISTANCES = [[10, 21, 31], [21, 10, 41], [31, 41, 10]]
BUFFER_PAGES = 2048

NODES = """
name = "nodes"
[vm]
topology = "1n3l1c1t"
[[vm.numa]]
memory = "256M"
llcs = 2
distances = [10, 21, 31]
[[vm.numa]]
memory = "160M"
distances = [21, 10, 41]
[[vm.numa]]
memory = "96M"
llcs = 0
distances = [31, 41, 10]
[scheduler]
bpf = "scx_ktstr"
[run]
num_snapshots = 1
[[steps]]
hold = "1s"
[[steps.cgroups]]
name = "slow"
[[steps.cgroups.works]]
type = "CachePressure"
params = { size_kib = 8192, stride = 4096 }
mempolicy = "bind"
mem_nodes = "2"
[[steps.cgroups]]
name = "near"
cpuset = { numa = 1 }
[[steps.cgroups.works]]
type = "CachePressure"
params = { size_kib = 8192, stride = 4096 }
mempolicy = "bind"
mem_nodes = "1"
[checks]
max_slow_tier_ratio = 0.5
"""


def test_the_guest_has_the_nodes_and_memory_is_bound_to_them(ktstr, scenario_file) -> None:
    done = ktstr.run(scenario_file(NODES))
    assert done.code == 1, done.output
    record = done.record
    nodes = record["numa_nodes"]
    assert [node["node"] for node in nodes] == [0, 1, 2]
    assert [node["cpus"] for node in nodes] == ["0-1", "2", ""]
    assert [node["distances"] for node in nodes] == DISTANCES
    for node, mib in zip(nodes, MEMORY_MIB, strict=True):
        assert (mib - 8) * 1024 <= node["memory_kib"] <= mib * 1024
    assert record["memory_mib"] == sum(MEMORY_MIB)
    assert [sample["error"] for sample in record["samples"]] == [None]

    pages = {worker["cgroup"]: worker["report"]["numa_pages"] for worker in record["workers"]}
    assert pages["slow"]["2"] >= BUFFER_PAGES
    assert pages["near"]["1"] >= BUFFER_PAGES
    assert "2" not in pages["near"]
    # What only one of the two exceeds: memory on a node without CPUs.
    (failure,) = done.details()
    total = sum(pages["slow"].values())
    assert failure == (
        f"Step[0] slow: slow-tier ratio {pages['slow']['2'] / total:.4f} above limit 0.5 "
        f"({pages['slow']['2']} of {total} pages on memory-only nodes 2)"
    )


def test_a_guest_without_the_nodes_is_refused(ktstr, scenario_file) -> None:
    # The kernel then puts everything into one node, whatever the firmware says.
    text = NODES.replace('bpf = "scx_ktstr"', 'bpf = "scx_ktstr"\nkernel_args = ["numa=off"]')
    done = ktstr.run(scenario_file(text))
    assert done.code == 4, done.output
    assert "the guest's topology is not 2n3l1c1t+1m" in done.output
    assert "NUMA nodes: asked {0} {1} {2}, the guest has {0}" in done.output
    assert "NUMA node 0, CPUs: asked {0,1}, the guest has {0,1,2}" in done.output
