# SPDX-License-Identifier: GPL-2.0-only
"""Whether a scenario has a place on a topology that is offered to it, and what it gets there."""

from dataclasses import replace
from pathlib import Path

from ktstr.errors import DefinitionInvalid
from ktstr.model.gauntlet_def import AXES, Constraints, gauntlet_memory_mib
from ktstr.model.presets import topology_named
from ktstr.model.scenario import Scenario, load_scenario
from ktstr.model.topology import MAX_CPUS
from ktstr.pytest_plugin.asked import Variant
from ktstr.session.lineup import surveyed
from ktstr.session.matrix import Turn
from ktstr.session.options import RunOptions


def on_its_own(path: Path, options: RunOptions) -> Scenario | None:
    """The scenario on its own topology; ``None`` when it is none there, which its run tells."""
    try:
        return load_scenario(
            path,
            scheduler=options.scheduler,
            work_type=options.work_type,
            flags=options.flags,
            clock=options.clock,
            seed=options.seed,
        )
    except DefinitionInvalid:
        return None


def no_place(path: Path, options: RunOptions, variant: Variant, own: Scenario | None) -> str:
    """Why the scenario is not to run on the topology it is offered; empty when it is.

    Of its ``[gauntlet]`` counts what the file says; the defaults there are for gauntlets, and who
    names topologies for a test knows them.
    """
    if not variant.offered or variant.topology is None:
        return ""
    if own is not None:
        try:
            topology = topology_named(variant.topology)
        except ValueError:
            return ""  # its run tells what is allowed
        reason = _said(own.gauntlet).why_not(topology, variant.topology)
        if reason:
            return f"not on topology {variant.topology}: {reason}"
    (turn,) = surveyed([Turn(path, options, topology=variant.topology)])
    return turn.skipped


def with_memory(options: RunOptions, variant: Variant, own: Scenario | None) -> RunOptions:
    """The options, with as much memory as a guest of the offered topology gets in a gauntlet."""
    if not variant.offered or variant.topology is None or own is None:
        return options
    try:
        topology = topology_named(variant.topology)
    except ValueError:
        return options
    memory_mib = gauntlet_memory_mib(topology, own.vm.memory_mib)
    return replace(options, memory_mib=memory_mib) if memory_mib > own.vm.memory_mib else options


def _said(constraints: Constraints) -> Constraints:
    """The constraints that the file has, all others open."""
    said = {name: getattr(constraints, name) for name in constraints.model_fields_set}
    return Constraints(**{f"max_{axis}": MAX_CPUS for axis in AXES} | said)
