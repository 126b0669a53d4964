# SPDX-License-Identifier: GPL-2.0-only
"""Claims about the fields of finished reports and statistics, each under its field's own name.

``verdict.claim_report(report).max_gap_ms.at_most(50)`` needs no name spelled out. Fields that are
maps or transport for other figures have no claim: for those the figures exist.
"""

from typing import Any, Generic, TypeVar

from ktstr.telemetry import Migration, WorkerExitInfo
from ktstr.verdict.claims import ClaimBuilder, Log, SeqClaim, SetClaim
from ktstr.verdict.result import AssertResult

T = TypeVar("T")


class FieldClaims:
    """Claims about one object.

    :param name: put before each field's name, with a dot; of use where several are judged.
    """

    __slots__ = ("_log", "_name", "_result", "_subject")

    def __init__(
        self, result: AssertResult, subject: object, name: str = "", log: Log | None = None
    ) -> None:
        self._result = result
        self._subject = subject
        self._name = name
        self._log = log

    def _arguments(self, field: str) -> tuple[AssertResult, str, Any, Log | None]:
        name = f"{self._name}.{field}" if self._name else field
        return self._result, name, getattr(self._subject, field), self._log


class _Field(Generic[T]):
    """An attribute that starts a claim about the field of its name."""

    _field: str

    def __set_name__(self, owner: type[FieldClaims], name: str) -> None:
        self._field = name


class Scalar(_Field[T]):
    """A field claimed as a value."""

    def __get__(self, claims: FieldClaims, owner: object = None) -> ClaimBuilder[T]:
        return ClaimBuilder(*claims._arguments(self._field))


class Members(_Field[T]):
    """A field claimed as a set."""

    def __get__(self, claims: FieldClaims, owner: object = None) -> SetClaim[T]:
        return SetClaim(*claims._arguments(self._field))


class Elements(_Field[T]):
    """A field claimed as a sequence."""

    def __get__(self, claims: FieldClaims, owner: object = None) -> SeqClaim[T]:
        return SeqClaim(*claims._arguments(self._field))


class ReportClaims(FieldClaims):
    """Claims about a WorkerReport: all fields but ``numa_pages``, ``phase_slices`` and
    ``taobench_whole`` (seed 003)."""

    __slots__ = ()

    tid = Scalar[int]()
    work_units = Scalar[int]()
    cpu_time_ns = Scalar[int]()
    wall_time_ns = Scalar[int]()
    off_cpu_ns = Scalar[int]()
    migration_count = Scalar[int]()
    cpus_used = Members[int]()
    migrations = Elements[Migration]()
    max_gap_ms = Scalar[int]()
    max_gap_cpu = Scalar[int]()
    max_gap_at_ms = Scalar[int]()
    wake_latencies_ns = Elements[int]()
    wake_sample_total = Scalar[int]()
    iteration_costs_ns = Elements[int]()
    iteration_cost_sample_total = Scalar[int]()
    timer_latencies_ns = Elements[int]()
    timer_sample_total = Scalar[int]()
    iterations = Scalar[int]()
    schedstat_run_delay_ns = Scalar[int]()
    schedstat_run_count = Scalar[int]()
    schedstat_cpu_time_ns = Scalar[int]()
    completed = Scalar[bool]()
    vmstat_numa_pages_migrated = Scalar[int]()
    exit_info = Scalar[WorkerExitInfo | None]()
    is_messenger = Scalar[bool]()
    group_idx = Scalar[int]()
    affinity_error = Scalar[str | None]()
    sched_policy_error = Scalar[str | None]()


class CgroupClaims(FieldClaims):
    """Claims about a CgroupStats: all fields but ``taobench_whole`` and ``ext_metrics``.

    A figure that was not measured is None, which ``eq`` and ``ne`` can speak of; for the others
    the ``*_measured`` flags say whether a zero is one.
    """

    __slots__ = ()

    cgroup_name = Scalar[str]()
    num_workers = Scalar[int]()
    cpus_used = Members[int]()
    num_cpus = Scalar[int]()
    avg_off_cpu_pct = Scalar[float | None]()
    min_off_cpu_pct = Scalar[float | None]()
    max_off_cpu_pct = Scalar[float | None]()
    spread = Scalar[float | None]()
    max_gap_ms = Scalar[int]()
    max_gap_cpu = Scalar[int]()
    total_migrations = Scalar[int]()
    migration_ratio = Scalar[float]()
    p99_wake_latency_us = Scalar[float]()
    median_wake_latency_us = Scalar[float]()
    wake_latency_cv = Scalar[float]()
    wake_measured = Scalar[bool]()
    median_timer_latency_us = Scalar[float]()
    p99_timer_latency_us = Scalar[float]()
    p999_timer_latency_us = Scalar[float]()
    worst_timer_latency_us = Scalar[float]()
    timer_measured = Scalar[bool]()
    total_iterations = Scalar[int]()
    total_cpu_time_ns = Scalar[int]()
    mean_run_delay_us = Scalar[float]()
    worst_run_delay_us = Scalar[float]()
    run_delay_measured = Scalar[bool]()
    page_locality = Scalar[float | None]()
    cross_node_migration_ratio = Scalar[float | None]()


class PhaseCgroupClaims(FieldClaims):
    """Claims about a PhaseCgroupStats: all fields but ``metrics`` and the engines' histograms."""

    __slots__ = ()

    num_workers = Scalar[int]()
    cpus_used = Members[int]()
    wake_latencies_ns = Elements[int]()
    wake_sample_total = Scalar[int]()
    timer_latencies_ns = Elements[int]()
    timer_sample_total = Scalar[int]()
    run_delays_ns = Elements[int]()
    off_cpu_pcts = Elements[float]()
    total_migrations = Scalar[int]()
    total_iterations = Scalar[int]()
    total_cpu_time_ns = Scalar[int]()
    numa_pages_local = Scalar[int | None]()
    numa_pages_total = Scalar[int]()
    cross_node_migrated = Scalar[int]()
    max_gap_ms = Scalar[int]()
    max_gap_cpu = Scalar[int]()
    stripped = Scalar[bool]()
