# SPDX-License-Identifier: GPL-2.0-only
"""Rules of ``[[vm.numa]]``: what each node says, what they say together, and what divides CPUs."""

from collections.abc import Iterator
from typing import Final

from ktstr.model.definition import Scenario
from ktstr.model.locate import KeyPath
from ktstr.model.numa import LOCAL_DISTANCE, MAX_DISTANCE, llcs_of_nodes
from ktstr.model.source import Mistake

MIN_MEMORY: Final = 128 << 20
"""Least memory of a guest."""

MIN_NODE_MEMORY: Final = 32 << 20
"""Least memory of a node; Linux leaves out nodes below 4 MiB and needs some to describe one."""

_NODES: Final[KeyPath] = ("vm", "numa")


def node_mistakes(scenario: Scenario) -> Iterator[Mistake]:
    """Mistakes in the nodes' memory and distances."""
    vm = scenario.vm
    for index, node in enumerate(vm.numa):
        if node.memory < MIN_NODE_MEMORY or node.memory % (1 << 20):
            yield Mistake((*_NODES, index, "memory"), 'whole MiB, at least "32M"')
    total = sum(node.memory for node in vm.numa)
    if vm.numa and total < MIN_MEMORY:
        yield Mistake(_NODES, 'nodes with at least "128M" in total')
    if vm.numa and "memory" in vm.model_fields_set and vm.memory != total:
        allowed = f'the memory of all nodes, "{total >> 20}M" (or leave it out)'
        yield Mistake(("vm", "memory"), allowed)
    if vm.node_distances is not None:
        yield from _distances(vm.node_distances)


def _distances(rows: tuple[tuple[int, ...], ...]) -> Iterator[Mistake]:
    count = len(rows)
    for here, row in enumerate(rows):
        at = (*_NODES, here, "distances")
        if len(row) != count:
            every = "" if row else ", as another node has them"
            yield Mistake(at, f"{count} distances, one to each node{every}")
            continue
        for there, distance in enumerate(row):
            back = rows[there][here] if there < here and len(rows[there]) == count else distance
            if here == there and distance != LOCAL_DISTANCE:
                yield Mistake((*at, there), f"{LOCAL_DISTANCE}, the distance of a node to itself")
            elif here != there and distance == LOCAL_DISTANCE:
                allowed = f"an integer from {LOCAL_DISTANCE + 1} to {MAX_DISTANCE} to another node"
                yield Mistake((*at, there), allowed)
            elif distance != back:
                yield Mistake((*at, there), f"{back}, as from node {there} to node {here}")


def division_mistakes(scenario: Scenario) -> Iterator[Mistake]:
    """Mistakes in how the nodes divide the topology's CPUs."""
    nodes, topology = scenario.vm.numa, scenario.vm.topology
    if not nodes:
        return
    memory_only = [node.llcs == 0 for node in nodes]
    if all(memory_only):
        yield Mistake((*_NODES, 0, "llcs"), "at least 1 in one of the nodes: there are CPUs")
        return
    if memory_only != sorted(memory_only):
        # Linux counts nodes as the firmware's tables name them, and those of CPUs come first.
        yield Mistake(
            (*_NODES, memory_only.index(True), "llcs"), "0 only in the last nodes, after all others"
        )
    own = len(nodes) - sum(memory_only)
    if topology.nodes > 1 and (topology.numa_nodes, topology.nodes) != (own, len(nodes)):
        allowed = f"the nodes of topology {topology}, {topology.numa_nodes} with CPUs"
        if topology.memory_only_nodes:
            allowed += f" and {topology.memory_only_nodes} with llcs = 0"
        yield Mistake(_NODES, f"{allowed} (or 1n in the topology, and the nodes only here)")
    try:
        llcs_of_nodes(nodes, topology.llcs)
    except ValueError as error:
        yield Mistake(_NODES, str(error))
