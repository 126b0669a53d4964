# SPDX-License-Identifier: GPL-2.0-only
"""Work types that move memory or themselves between NUMA nodes; both need two nodes."""

from typing import Final

from ktstr.model.work_type import Param, WorkType
from ktstr.model.works.churn import MAX_MS

NUMA: Final[tuple[WorkType, ...]] = (
    WorkType(
        "NumaWorkingSetSweep",
        "writes to every page of a region that is bound to one NUMA node after the other",
        (
            Param("region_kib", 4096, 4, 1 << 20, "size of the region"),
            Param("sweep_period_ms", 100, 1, MAX_MS, "time on each node, in ms"),
            Param("target_nodes", 0, 0, 64, "nodes to go round; 0: all that have memory"),
        ),
        memory_nodes=2,
    ),
    WorkType(
        "NumaMigrationChurn",
        "spins and binds itself to the CPUs of one NUMA node after the other",
        (Param("period_ms", 100, 1, MAX_MS, "time on each node, in ms"),),
        cpu_nodes=2,
    ),
)
"""In the order of the documentation."""
