# SPDX-License-Identifier: GPL-2.0-only
"""Parts of a worker report: CPU migrations and per-phase slices."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ktstr.telemetry.decode import Fields
from ktstr.telemetry.vectors import ByValue, Samples, no_samples, require_samples

EPOCH_GAP = (1 << 32) - 1
"""``phase_epoch`` of the time between two steps: it belongs to no phase."""

MAX_STEP = 0xFFFF
"""Largest step index on the wire."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One observed move of a worker between CPUs.

    :param at_ns: nanoseconds since the worker started.
    """

    at_ns: int
    from_cpu: int
    to_cpu: int

    @staticmethod
    def from_wire(fields: Fields) -> "Migration":
        """:raise TelemetryError: when a field is missing or out of range."""
        migration = Migration(fields.u64("at_ns"), fields.cpu("from_cpu"), fields.cpu("to_cpu"))
        fields.done()
        return migration

    def to_wire(self) -> dict[str, object]:
        """The wire map."""
        return {"at_ns": self.at_ns, "from_cpu": self.from_cpu, "to_cpu": self.to_cpu}


@dataclass(frozen=True, slots=True, eq=False)
class PhaseSlice(ByValue):
    """What a persistent worker did within one phase's hold (seed 003; reference-06 section 22).

    :param phase_epoch: 1-based step; 0 is BASELINE, :data:`EPOCH_GAP` the time between steps.
    :param wall_ns: 0 when the wall time was not measured.
    :param run_delay_ns: schedstat run delay within the phase; likewise the other counters.
    """

    phase_epoch: int
    cpus_used: frozenset[int] = frozenset()
    wake_latencies_ns: Samples = field(default_factory=no_samples)
    wake_sample_total: int = 0
    timer_latencies_ns: Samples = field(default_factory=no_samples)
    timer_sample_total: int = 0
    run_delay_ns: int = 0
    off_cpu_ns: int = 0
    wall_ns: int = 0
    migration_count: int = 0
    iterations: int = 0
    schedstat_cpu_time_ns: int = 0
    numa_pages: Mapping[int, int] = field(default_factory=dict)
    vmstat_numa_pages_migrated: int = 0
    max_gap_ms: int = 0
    max_gap_cpu: int = 0

    def __post_init__(self) -> None:
        for name in ("wake_latencies_ns", "timer_latencies_ns"):
            require_samples("PhaseSlice", name, getattr(self, name))

    @staticmethod
    def from_wire(fields: Fields) -> "PhaseSlice":
        """:raise TelemetryError: when a field is missing, out of range or unknown."""
        wake, wake_total = fields.reservoir("wake_latencies_ns", "wake_sample_total")
        timer, timer_total = fields.reservoir("timer_latencies_ns", "timer_sample_total")
        wall = fields.u64("wall_ns")
        epoch = fields.integer("phase_epoch", 0, EPOCH_GAP)
        if MAX_STEP < epoch < EPOCH_GAP:
            fields.refuse("phase_epoch", epoch, f"a step up to {MAX_STEP} or {EPOCH_GAP}")
        part = PhaseSlice(
            phase_epoch=epoch,
            cpus_used=fields.cpu_set("cpus_used"),
            wake_latencies_ns=wake,
            wake_sample_total=wake_total,
            timer_latencies_ns=timer,
            timer_sample_total=timer_total,
            run_delay_ns=fields.u64("run_delay_ns"),
            off_cpu_ns=fields.integer("off_cpu_ns", 0, wall),
            wall_ns=wall,
            migration_count=fields.u64("migration_count"),
            iterations=fields.u64("iterations"),
            schedstat_cpu_time_ns=fields.u64("schedstat_cpu_time_ns"),
            numa_pages=fields.node_pages("numa_pages"),
            vmstat_numa_pages_migrated=fields.u64("vmstat_numa_pages_migrated"),
            max_gap_ms=fields.u64("max_gap_ms"),
            max_gap_cpu=fields.cpu("max_gap_cpu"),
        )
        fields.done()
        return part

    def to_wire(self) -> dict[str, object]:
        """The wire map; sample vectors as little-endian bytes."""
        return {
            "phase_epoch": self.phase_epoch,
            "cpus_used": sorted(self.cpus_used),
            "wake_latencies_ns": self.wake_latencies_ns.astype("<u8").tobytes(),
            "wake_sample_total": self.wake_sample_total,
            "timer_latencies_ns": self.timer_latencies_ns.astype("<u8").tobytes(),
            "timer_sample_total": self.timer_sample_total,
            "run_delay_ns": self.run_delay_ns,
            "off_cpu_ns": self.off_cpu_ns,
            "wall_ns": self.wall_ns,
            "migration_count": self.migration_count,
            "iterations": self.iterations,
            "schedstat_cpu_time_ns": self.schedstat_cpu_time_ns,
            "numa_pages": dict(self.numa_pages),
            "vmstat_numa_pages_migrated": self.vmstat_numa_pages_migrated,
            "max_gap_ms": self.max_gap_ms,
            "max_gap_cpu": self.max_gap_cpu,
        }
