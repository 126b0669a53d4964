# SPDX-License-Identifier: GPL-2.0-only
"""From a scenario and a topology to what the guest runs: plain data, nothing left to resolve."""

from typing import Final

import msgpack

from ktstr.errors import DefinitionInvalid
from ktstr.model.cgroups import Label
from ktstr.model.definition import Scenario
from ktstr.model.rules.scenario import walk_cgroups
from ktstr.model.source import Mistake, Unknown
from ktstr.model.topology import Topology
from ktstr.model.workspec import PlanValue

PLAN_VERSION: Final = 1
MAX_PLAN_SIZE: Final = 256 << 10


def build_plan(scenario: Scenario, topology: Topology) -> dict[str, PlanValue]:
    """The plan for the guest: maps, lists, text, integers, booleans and ``None`` only.

    Times are milliseconds, CPU sets are kernel CPU lists (``"0-1,3"``) or ``None`` for no limit.
    A step's list order is the order of doing: ``ops``, then ``cgroups``, then ``hold_ms``; where
    ``loop_ms`` is given, the ops come after the cgroups and again after each such time.

    :raises DefinitionInvalid: when the topology cannot give what the scenario asks for, or the
        plan is larger than the guest's mailbox takes.
    """
    mistakes, _ = walk_cgroups(scenario, topology, Unknown())
    if mistakes:
        raise DefinitionInvalid(scenario.source.problems(mistakes))
    plan: dict[str, PlanValue] = {
        "version": PLAN_VERSION,
        "name": scenario.name,
        "clock": scenario.run.clock,
        "seed": scenario.run.seed,
        "jitter_us": scenario.run.jitter_us,
        "duration_ms": workload_ms(scenario),
        "settle_ms": scenario.run.settle,
        "cpus": topology.cpus,
        "expected_topology": _topology(topology),
        "scheduler": scenario.scheduler.plan(),
        "backdrop": {
            "cgroups": [cgroup.plan(topology) for cgroup in scenario.backdrop.cgroups],
            "ops": [op.plan(topology) for op in scenario.backdrop.ops],
        },
        "steps": [
            {
                "index": index + 1,
                "name": scenario.step_name(index),
                "hold_ms": hold_ms,
                "loop_ms": step.hold.loop_ms,
                "ops": [op.plan(topology) for op in step.ops],
                "cgroups": [cgroup.plan(topology) for cgroup in step.cgroups],
            }
            for index, (step, hold_ms) in enumerate(
                zip(scenario.steps, scenario.holds_ms(), strict=True)
            )
        ],
    }
    size = len(msgpack.packb(plan))
    if size >= MAX_PLAN_SIZE:
        too_large = Mistake(("steps",), "a plan below 256 KiB", f"a plan of {size >> 10} KiB")
        raise DefinitionInvalid(scenario.source.problems([too_large]))
    return plan


def workload_ms(scenario: Scenario) -> int:
    """Length of the workload: all holds together, in ms."""
    return sum(scenario.holds_ms())


def expected_cpusets(scenario: Scenario, topology: Topology) -> dict[Label, frozenset[int]]:
    """CPUs that each report's workers may have used, for the isolation check.

    Keys are ``(step index, cgroup)`` as on worker reports: ``(k, name)`` for a group started in
    step k, ``(0, name)`` for one of the Backdrop over the whole run, and ``(k, name)`` for a
    Backdrop group during step k alone. Ops that change a cpuset or move tasks while a group runs
    widen its set to the union of what it ever had. A group that was without a limit at any time
    has no entry.
    """
    _, allowed = walk_cgroups(scenario, topology, Unknown())
    return {label: cpus for label, cpus in allowed.items() if cpus is not None}


def _topology(topology: Topology) -> PlanValue:
    return {
        "cpus": topology.cpus,
        "llcs": [list(topology.llc_cpus(llc)) for llc in range(topology.llcs)],
        "nodes": [list(topology.node_cpus(node)) for node in range(topology.nodes)],
    }
