# SPDX-License-Identifier: GPL-2.0-only
"""One worker's report, as the worker sent it (seed 003)."""

from dataclasses import dataclass, field
from typing import Annotated

from ktstr.telemetry.codec import (
    U64,
    Coded,
    Cpu,
    CpuSet,
    Flag,
    NodePages,
    Reservoir,
    check_reservoirs,
    integer,
    many,
    one_or_nil,
    text_or_nil,
)
from ktstr.telemetry.decode import DecodeFailure, Fields, RecordError, TelemetryError
from ktstr.telemetry.engines import TaobenchStats
from ktstr.telemetry.exit_info import ExitInfo
from ktstr.telemetry.slices import Migration, PhaseSlice
from ktstr.telemetry.vectors import ByValue, no_samples, require_samples

MAX_MIGRATIONS = 4096
"""Migrations kept per worker; ``migration_count`` stays true beyond it."""

MAX_PHASE_SLICES = 4096

Index = Annotated[int, integer(0, 0xFFFF)]
ErrorText = Annotated[str | None, text_or_nil(4096)]


@dataclass(frozen=True, slots=True, eq=False)
class WorkerReport(Coded, ByValue):
    """Telemetry of one worker: 31 fields in the seed's order, all zero by default.

    Times are nanoseconds unless the name says otherwise. ``work_units`` feeds the progress check,
    ``iterations`` every throughput figure. ``off_cpu_ns`` is wall minus thread CPU time, of an
    engine the mean of its threads' (``cpu_time_ns`` is their sum); that clock is another than
    ``schedstat_cpu_time_ns``. ``vmstat_numa_pages_migrated`` is system-wide, so
    it folds by maximum. A sentinel (a worker that left no report) has ``exit_info`` and
    ``completed`` false. ``taobench_whole`` has counters of the whole run: windows of its phases
    overlap between threads, so they cannot be added up to the run's.
    """

    tid: Annotated[int, integer(0, (1 << 31) - 1)] = 0
    work_units: U64 = 0
    cpu_time_ns: U64 = 0
    wall_time_ns: U64 = 0
    off_cpu_ns: U64 = 0
    migration_count: U64 = 0
    cpus_used: CpuSet = frozenset()
    migrations: Annotated[tuple[Migration, ...], many(Migration, MAX_MIGRATIONS)] = ()
    max_gap_ms: U64 = 0
    max_gap_cpu: Cpu = 0
    max_gap_at_ms: U64 = 0
    wake_latencies_ns: Reservoir = field(default_factory=no_samples)
    wake_sample_total: U64 = 0
    iteration_costs_ns: Reservoir = field(default_factory=no_samples)
    iteration_cost_sample_total: U64 = 0
    timer_latencies_ns: Reservoir = field(default_factory=no_samples)
    timer_sample_total: U64 = 0
    iterations: U64 = 0
    schedstat_run_delay_ns: U64 = 0
    schedstat_run_count: U64 = 0
    schedstat_cpu_time_ns: U64 = 0
    completed: Flag = False
    numa_pages: NodePages = field(default_factory=dict)
    vmstat_numa_pages_migrated: U64 = 0
    exit_info: ExitInfo = None
    is_messenger: Flag = False
    group_idx: Index = 0
    affinity_error: ErrorText = None
    sched_policy_error: ErrorText = None
    phase_slices: Annotated[tuple[PhaseSlice, ...], many(PhaseSlice, MAX_PHASE_SLICES)] = ()
    taobench_whole: Annotated[TaobenchStats | None, one_or_nil(TaobenchStats)] = None

    def __post_init__(self) -> None:
        for name in ("wake_latencies_ns", "iteration_costs_ns", "timer_latencies_ns"):
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
        return WorkerReport.read(Fields(values, worker, error=TelemetryError))

    def check(self, fields: Fields) -> None:
        """Refuse a report that contradicts itself."""
        if self.off_cpu_ns > self.wall_time_ns:
            most = f"at most the {self.wall_time_ns} of wall_time_ns"
            fields.refuse("off_cpu_ns", self.off_cpu_ns, most)
        check_reservoirs(
            fields,
            wake_sample_total=(self.wake_latencies_ns, self.wake_sample_total),
            iteration_cost_sample_total=(self.iteration_costs_ns, self.iteration_cost_sample_total),
            timer_sample_total=(self.timer_latencies_ns, self.timer_sample_total),
        )
        if self.migration_count < len(self.migrations):
            least = f"at least the {len(self.migrations)} migrations listed"
            fields.refuse("migration_count", self.migration_count, least)
        if self.completed and self.exit_info is not None:
            fields.refuse("completed", True, "false beside an exit_info")


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
        return _read_tagged(values, "an unnamed worker", TelemetryError)

    @staticmethod
    def from_record(values: object, subject: str) -> "TaggedReport":
        """Read what :meth:`to_record` made.

        :raise RecordError: naming subject, worker and field.
        """
        return _read_tagged(values, subject, RecordError)

    def to_wire(self) -> dict[str, object]:
        """The worker frame's map."""
        return self._frame(self.report.to_wire())

    def to_record(self) -> dict[str, object]:
        """The map that goes into the sidecar."""
        return self._frame(self.report.to_record())

    def _frame(self, report: dict[str, object]) -> dict[str, object]:
        frame: dict[str, object] = {
            "step": self.step_index,
            "cgroup": self.cgroup,
            "group_idx": self.group_idx,
            "work_idx": self.work_idx,
            "worker": self.worker,
            "work_type": self.work_type,
            "report": report,
        }
        if self.stripped:
            frame["stripped"] = True
        return frame


def _read_tagged(values: object, subject: str, error: DecodeFailure) -> TaggedReport:
    """The tag is read first, so that an error in the report can name the worker."""
    fields = Fields(values, subject, error=error)
    step = fields.integer("step", 0, 0xFFFF)
    cgroup = fields.name("cgroup", 255)
    worker = fields.integer("worker", 0, 0xFFFF)
    work_type = fields.name("work_type", 64)
    name = f"worker {worker} ({work_type}) of cgroup {cgroup!r} in step {step}"
    fields.subject = name if error is TelemetryError else f"{subject}: {name}"
    tagged = TaggedReport(
        step_index=step,
        cgroup=cgroup,
        group_idx=fields.integer("group_idx", 0, 0xFFFF),
        work_idx=fields.integer("work_idx", 0, 0xFFFF),
        worker=worker,
        work_type=work_type,
        report=WorkerReport.read(Fields(fields.take("report"), fields.subject, error=error)),
        stripped=fields.boolean("stripped") if fields.has("stripped") else False,
    )
    fields.done()
    return tagged
