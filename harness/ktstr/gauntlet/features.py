# SPDX-License-Identifier: GPL-2.0-only
"""What running a cell covers: words that a choice within a budget counts.

The properties are those of the reference's budgeted selection (reference-04, section 10.8), with
names in place of hashes, so that no two schedulers share a bit. To them come the kernel, and the
pairs in which schedulers break: a code path of a scheduler is taken for a topology, by a kind of
work, under some kernel, with some flag.
"""

from collections.abc import Iterator
from typing import Final

from ktstr.gauntlet.plan import Entry
from ktstr.model.presets import topology_named

KERNELS_OWN: Final = "none"
"""How a command names the scheduler that the kernel has without sched_ext."""

_CPUS: Final = (8, 16, 64, 128)
_LLCS: Final = (1, 2, 4, 8)
_NODES: Final = (1, 2, 4)
_SECONDS: Final = (2, 10)


def features(entry: Entry) -> frozenset[str]:
    """Everything that running this cell covers."""
    return frozenset([*_properties(entry), *_pairs(entry)])


def pairings(entry: Entry) -> frozenset[str]:
    """What is left to cover once everything is: each scenario in each place, part by part."""
    cell = entry.cell
    return frozenset(f"{cell.name} at {part}" for part in cell.place)


def _properties(entry: Entry) -> Iterator[str]:
    cell, facts = entry.cell, entry.facts
    preset, kernel, scheduler = cell.place
    topology = facts.topology if cell.preset is None else topology_named(cell.preset)
    yield f"scenario {cell.name}"
    yield f"group {facts.group}"
    yield f"preset {preset}"
    yield f"kernel {kernel}"
    yield f"scheduler {scheduler}"
    yield f"cpus {_class(topology.cpus, _CPUS)}"
    yield f"llcs {_class(topology.llcs, _LLCS)}"
    yield f"numa {_class(topology.nodes, _NODES)}"
    yield f"seconds {_class(facts.workload_s, _SECONDS)}"
    if topology.threads_per_core > 1:
        yield "smt"
    if facts.crowded:
        yield "crowded"
    if facts.virtual:
        yield "virtual clock"
    for flag in facts.flags:
        yield f"flag {flag}"
    for flag in facts.excluded:
        yield f"without flag {flag}"


def _pairs(entry: Entry) -> Iterator[str]:
    cell, facts = entry.cell, entry.facts
    preset, kernel, scheduler = cell.place
    topology = facts.topology if cell.preset is None else topology_named(cell.preset)
    llcs = _class(topology.llcs, _LLCS)
    yield f"scheduler {scheduler} on {preset}"
    yield f"scheduler {scheduler} under {kernel}"
    yield f"scheduler {scheduler} with {facts.group}"
    if cell.scheduler != KERNELS_OWN:
        # The kernel's own scheduler is there to be compared with; once it was everywhere, enough.
        yield f"scheduler {scheduler} in {cell.name}"
    yield f"kernel {kernel} on {preset}"
    yield f"group {facts.group} on llcs {llcs}"
    yield f"group {facts.group} under {kernel}"
    if topology.nodes > 1:
        yield f"group {facts.group} on numa {_class(topology.nodes, _NODES)}"
    if topology.threads_per_core > 1:
        yield f"group {facts.group} on smt"


def _class(value: float, limits: tuple[int, ...]) -> str:
    """The first limit that a value does not exceed, as a word."""
    return next((f"<={limit}" for limit in limits if value <= limit), f">{limits[-1]}")
