# SPDX-License-Identifier: GPL-2.0-only
"""One worker's report, as the worker sent it (seed 003)."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ktstr.telemetry.decode import Fields
from ktstr.telemetry.exit_info import WorkerExitInfo
from ktstr.telemetry.slices import Migration, PhaseSlice
from ktstr.telemetry.vectors import ByValue, Samples, no_samples, require_samples

MAX_MIGRATIONS = 4096
"""Migrations kept per worker; ``migration_count`` stays true beyond it."""

MAX_PHASE_SLICES = 4096

_RESERVOIRS = ("wake_latencies_ns", "iteration_costs_ns", "timer_latencies_ns")


@dataclass(frozen=True, slots=True, eq=False)
class WorkerReport(ByValue):
    """Telemetry of one worker: 31 fields in the seed's order, all zero by default.

    Times are nanoseconds unless the name says otherwise. ``work_units`` feeds the progress check,
    ``iterations`` every throughput figure. ``off_cpu_ns`` is wall minus thread CPU time, which is
    another clock than ``schedstat_cpu_time_ns``. ``vmstat_numa_pages_migrated`` is system-wide, so
    it folds by maximum. A sentinel (a worker that left no report) has ``exit_info`` and
    ``completed`` false.
    """

    tid: int = 0
    work_units: int = 0
    cpu_time_ns: int = 0
    wall_time_ns: int = 0
    off_cpu_ns: int = 0
    migration_count: int = 0
    cpus_used: frozenset[int] = frozenset()
    migrations: tuple[Migration, ...] = ()
    max_gap_ms: int = 0
    max_gap_cpu: int = 0
    max_gap_at_ms: int = 0
    wake_latencies_ns: Samples = field(default_factory=no_samples)
    wake_sample_total: int = 0
    iteration_costs_ns: Samples = field(default_factory=no_samples)
    iteration_cost_sample_total: int = 0
    timer_latencies_ns: Samples = field(default_factory=no_samples)
    timer_sample_total: int = 0
    iterations: int = 0
    schedstat_run_delay_ns: int = 0
    schedstat_run_count: int = 0
    schedstat_cpu_time_ns: int = 0
    completed: bool = False
    numa_pages: Mapping[int, int] = field(default_factory=dict)
    vmstat_numa_pages_migrated: int = 0
    exit_info: WorkerExitInfo | None = None
    is_messenger: bool = False
    group_idx: int = 0
    affinity_error: str | None = None
    sched_policy_error: str | None = None
    phase_slices: tuple[PhaseSlice, ...] = ()
    taobench_whole: None = None

    def __post_init__(self) -> None:
        for name in _RESERVOIRS:
            require_samples("WorkerReport", name, getattr(self, name))

    @property
    def is_sentinel(self) -> bool:
        """Whether the worker died or was killed before it could report."""
        return self.exit_info is not None or not self.completed

    @staticmethod
    def from_wire(values: object, *, worker: str = "a worker") -> "WorkerReport":
        """Read the report map of a worker frame.

        :param worker: whose report it is, for the error text.
        :raise TelemetryError: naming worker and field, for anything missing, mistyped, out of
            range, contradictory or unknown.
        """
        fields = Fields(values, worker)
        wake, wake_total = fields.reservoir("wake_latencies_ns", "wake_sample_total")
        costs, costs_total = fields.reservoir("iteration_costs_ns", "iteration_cost_sample_total")
        timer, timer_total = fields.reservoir("timer_latencies_ns", "timer_sample_total")
        wall = fields.u64("wall_time_ns")
        migrations = tuple(map(Migration.from_wire, fields.maps("migrations", MAX_MIGRATIONS)))
        fields.nil("taobench_whole", "no work type of this version fills it")
        exit_fields = fields.map_or_none("exit_info")
        report = WorkerReport(
            tid=fields.integer("tid", 0, (1 << 31) - 1),
            work_units=fields.u64("work_units"),
            cpu_time_ns=fields.u64("cpu_time_ns"),
            wall_time_ns=wall,
            off_cpu_ns=fields.integer("off_cpu_ns", 0, wall),
            migration_count=fields.u64("migration_count"),
            cpus_used=fields.cpu_set("cpus_used"),
            migrations=migrations,
            max_gap_ms=fields.u64("max_gap_ms"),
            max_gap_cpu=fields.cpu("max_gap_cpu"),
            max_gap_at_ms=fields.u64("max_gap_at_ms"),
            wake_latencies_ns=wake,
            wake_sample_total=wake_total,
            iteration_costs_ns=costs,
            iteration_cost_sample_total=costs_total,
            timer_latencies_ns=timer,
            timer_sample_total=timer_total,
            iterations=fields.u64("iterations"),
            schedstat_run_delay_ns=fields.u64("schedstat_run_delay_ns"),
            schedstat_run_count=fields.u64("schedstat_run_count"),
            schedstat_cpu_time_ns=fields.u64("schedstat_cpu_time_ns"),
            completed=fields.boolean("completed"),
            numa_pages=fields.node_pages("numa_pages"),
            vmstat_numa_pages_migrated=fields.u64("vmstat_numa_pages_migrated"),
            exit_info=None if exit_fields is None else WorkerExitInfo.from_wire(exit_fields),
            is_messenger=fields.boolean("is_messenger"),
            group_idx=fields.integer("group_idx", 0, 0xFFFF),
            affinity_error=fields.text_or_none("affinity_error", 4096),
            sched_policy_error=fields.text_or_none("sched_policy_error", 4096),
            phase_slices=tuple(
                map(PhaseSlice.from_wire, fields.maps("phase_slices", MAX_PHASE_SLICES))
            ),
        )
        fields.done()
        if report.migration_count < len(migrations):
            fields.refuse(
                "migration_count",
                report.migration_count,
                f"at least the {len(migrations)} migrations listed",
            )
        if report.completed and report.exit_info is not None:
            fields.refuse("completed", True, "false beside an exit_info")
        return report

    def to_wire(self) -> dict[str, object]:
        """The report map in the seed's order; sample vectors as little-endian bytes."""
        wire: dict[str, object] = {name: getattr(self, name) for name in WIRE_ORDER}
        for name in _RESERVOIRS:
            vector: Samples = getattr(self, name)
            wire[name] = vector.astype("<u8").tobytes()
        wire["cpus_used"] = sorted(self.cpus_used)
        wire["migrations"] = [migration.to_wire() for migration in self.migrations]
        wire["numa_pages"] = dict(self.numa_pages)
        wire["exit_info"] = None if self.exit_info is None else self.exit_info.to_wire()
        wire["phase_slices"] = [part.to_wire() for part in self.phase_slices]
        return wire


WIRE_ORDER: tuple[str, ...] = tuple(WorkerReport.__dataclass_fields__)
"""The 31 field names in the seed's order."""


@dataclass(frozen=True, slots=True)
class TaggedReport:
    """A report with its place in the scenario.

    :param step_index: 1-based step; 0 is the backdrop, whose workers live through all steps.
    :param worker: index within its work item.
    :param stripped: the sample vectors were left out to fit the frame; counters are true.
    """

    step_index: int
    cgroup: str
    group_idx: int
    work_idx: int
    worker: int
    work_type: str
    report: WorkerReport
    stripped: bool = False

    @staticmethod
    def from_wire(values: object) -> "TaggedReport":
        """Read one decoded worker frame.

        :raise TelemetryError: as :meth:`WorkerReport.from_wire`.
        """
        fields = Fields(values, "an unnamed worker")
        step = fields.integer("step", 0, 0xFFFF)
        cgroup = fields.name("cgroup", 255)
        worker = fields.integer("worker", 0, 0xFFFF)
        work_type = fields.name("work_type", 64)
        name = f"worker {worker} ({work_type}) of cgroup {cgroup!r} in step {step}"
        fields.worker = name
        tagged = TaggedReport(
            step_index=step,
            cgroup=cgroup,
            group_idx=fields.integer("group_idx", 0, 0xFFFF),
            work_idx=fields.integer("work_idx", 0, 0xFFFF),
            worker=worker,
            work_type=work_type,
            report=WorkerReport.from_wire(fields.take("report"), worker=name),
            stripped=fields.boolean("stripped") if fields.has("stripped") else False,
        )
        fields.done()
        return tagged

    def to_wire(self) -> dict[str, object]:
        """The worker frame's map."""
        wire: dict[str, object] = {
            "step": self.step_index,
            "cgroup": self.cgroup,
            "group_idx": self.group_idx,
            "work_idx": self.work_idx,
            "worker": self.worker,
            "work_type": self.work_type,
            "report": self.report.to_wire(),
        }
        if self.stripped:
            wire["stripped"] = True
        return wire
