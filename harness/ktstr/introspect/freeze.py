# SPDX-License-Identifier: GPL-2.0-only
"""Copying a plan's bytes while the guest stands still, and nothing else."""

import time

from ktstr.introspect.memory import PhysicalMemory
from ktstr.introspect.plan import SnapshotPlan
from ktstr.introspect.regions import Captured


def copy(plan: SnapshotPlan, memory: PhysicalMemory) -> Captured:
    """Copy the planned bytes; call it between ``stop`` and ``cont``.

    No map is decoded. The only pointers followed are those that cannot be known before: each
    runqueue's current task, the bounded lists of processes and cgroups when they changed, and the
    chains of hashes without a copied element area, at most ``plan.limits.max_chased`` of their
    elements in all.
    """
    began = time.perf_counter_ns()
    read = memory.read
    buffers = [read(address, length) for address, length in plan.ranges]
    captured = Captured(plan.ranges, tuple(address for address, _ in plan.ranges), buffers)
    plan.runqueues.chase(captured, plan.space)
    captured.processes = plan.task_trail.copy()
    captured.cgroups = plan.pressure_trail.copy()
    budget = plan.limits.max_chased
    for chaser in plan.chasers:
        budget -= chaser.chase(captured, plan.space, budget)
    captured.copy_ns = time.perf_counter_ns() - began
    return captured
