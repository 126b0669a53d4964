# SPDX-License-Identifier: GPL-2.0-only
"""Parts of a worker report: CPU migrations and per-phase slices."""

from dataclasses import dataclass, field
from typing import Annotated

from ktstr.telemetry.codec import (
    U64,
    Coded,
    Cpu,
    CpuSet,
    NodePages,
    Reservoir,
    check_reservoirs,
    integer,
    one_or_nil,
)
from ktstr.telemetry.decode import Fields
from ktstr.telemetry.engines import SchbenchPhaseStats, TaobenchPhaseStats
from ktstr.telemetry.vectors import ByValue, no_samples, require_samples

EPOCH_GAP = (1 << 32) - 1
"""``phase_epoch`` of the time between two steps: it belongs to no phase."""

MAX_STEP = 0xFFFF
"""Largest step index on the wire."""


@dataclass(frozen=True, slots=True)
class Migration(Coded):
    """One observed move of a worker between CPUs.

    :param at_ns: nanoseconds since the worker started.
    """

    at_ns: U64
    from_cpu: Cpu
    to_cpu: Cpu


@dataclass(frozen=True, slots=True, eq=False)
class PhaseSlice(Coded, ByValue):
    """What a persistent worker did within one phase's hold (seed 003; reference-06 section 22).

    :param phase_epoch: 1-based step; 0 is BASELINE, :data:`EPOCH_GAP` the time between steps.
    :param wall_ns: 0 when the wall time was not measured.
    :param run_delay_ns: schedstat run delay within the phase; likewise the other counters.
    :param schbench: only a worker that runs that engine has it, and may leave it out otherwise;
        likewise ``taobench``.
    """

    phase_epoch: Annotated[int, integer(0, EPOCH_GAP)]
    cpus_used: CpuSet = frozenset()
    wake_latencies_ns: Reservoir = field(default_factory=no_samples)
    wake_sample_total: U64 = 0
    timer_latencies_ns: Reservoir = field(default_factory=no_samples)
    timer_sample_total: U64 = 0
    run_delay_ns: U64 = 0
    off_cpu_ns: U64 = 0
    wall_ns: U64 = 0
    migration_count: U64 = 0
    iterations: U64 = 0
    schedstat_cpu_time_ns: U64 = 0
    numa_pages: NodePages = field(default_factory=dict)
    vmstat_numa_pages_migrated: U64 = 0
    max_gap_ms: U64 = 0
    max_gap_cpu: Cpu = 0
    schbench: Annotated[
        SchbenchPhaseStats | None, one_or_nil(SchbenchPhaseStats, required=False)
    ] = None
    taobench: Annotated[
        TaobenchPhaseStats | None, one_or_nil(TaobenchPhaseStats, required=False)
    ] = None

    def __post_init__(self) -> None:
        for name in ("wake_latencies_ns", "timer_latencies_ns"):
            require_samples("PhaseSlice", name, getattr(self, name))

    def check(self, fields: Fields) -> None:
        """Refuse an epoch that is no step, and more off-CPU time or samples than there were."""
        if MAX_STEP < self.phase_epoch < EPOCH_GAP:
            fields.refuse("phase_epoch", self.phase_epoch, f"up to {MAX_STEP} or {EPOCH_GAP}")
        if self.off_cpu_ns > self.wall_ns:
            fields.refuse("off_cpu_ns", self.off_cpu_ns, f"at most the {self.wall_ns} of wall_ns")
        check_reservoirs(
            fields,
            wake_sample_total=(self.wake_latencies_ns, self.wake_sample_total),
            timer_sample_total=(self.timer_latencies_ns, self.timer_sample_total),
        )
