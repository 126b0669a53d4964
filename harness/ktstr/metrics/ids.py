# SPDX-License-Identifier: GPL-2.0-only
"""Names of metrics that a type checker can read (reference-06 section 1.4)."""

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, Self, TypeAlias

from ktstr.metrics.registry import MetricDef, metric_def


class BuiltinMetric(Enum):
    """One member for each row of the registry; its value is the name that travels.

    :cvar ALL: every member, in registry order.
    """

    ALL: ClassVar[tuple["BuiltinMetric", ...]]

    WorstSpread = "worst_spread"
    WorstGapMs = "worst_gap_ms"
    TotalMigrations = "total_migrations"
    WorstMigrationRatio = "worst_migration_ratio"
    MaxImbalanceRatio = "max_imbalance_ratio"
    AvgImbalanceRatio = "avg_imbalance_ratio"
    MaxDsqDepth = "max_dsq_depth"
    AvgDsqDepth = "avg_dsq_depth"
    StuckCount = "stuck_count"
    TotalFallback = "total_fallback"
    TotalKeepLast = "total_keep_last"
    AvgNrRunning = "avg_nr_running"
    TotalRunDelay = "total_run_delay"
    TotalPcount = "total_pcount"
    TotalSchedCount = "total_sched_count"
    TotalYldCount = "total_yld_count"
    TotalSchedGoidle = "total_sched_goidle"
    TotalTtwuCount = "total_ttwu_count"
    TotalTtwuLocal = "total_ttwu_local"
    TotalRunDelayNsPerSched = "total_run_delay_ns_per_sched"
    TtwuLocalFraction = "ttwu_local_fraction"
    SchedGoidleFraction = "sched_goidle_fraction"
    TotalSchedstatWallSec = "total_schedstat_wall_sec"
    RunDelayPerSec = "run_delay_per_sec"
    PcountPerSec = "pcount_per_sec"
    SchedCountPerSec = "sched_count_per_sec"
    YldCountPerSec = "yld_count_per_sec"
    TtwuCountPerSec = "ttwu_count_per_sec"
    SchedGoidlePerSec = "sched_goidle_per_sec"
    WorstP99WakeLatencyUs = "worst_p99_wake_latency_us"
    WorstMedianWakeLatencyUs = "worst_median_wake_latency_us"
    WorstWakeLatencyCv = "worst_wake_latency_cv"
    WorstP99TimerLatencyUs = "worst_p99_timer_latency_us"
    WorstMedianTimerLatencyUs = "worst_median_timer_latency_us"
    WorstP999TimerLatencyUs = "worst_p999_timer_latency_us"
    WorstTimerLatencyUs = "worst_timer_latency_us"
    IterationRate = "iteration_rate"
    TotalIterations = "total_iterations"
    TotalPhaseIterations = "total_phase_iterations"
    TotalPhaseDurationSec = "total_phase_duration_sec"
    TotalCpuTimeSec = "total_cpu_time_sec"
    TotalIterationsPooled = "total_iterations_pooled"
    IterationsPerCpuSec = "iterations_per_cpu_sec"
    SystemTimeNs = "system_time_ns"
    UserTimeNs = "user_time_ns"
    TotalHardirqs = "total_hardirqs"
    TotalSoftirqNetRx = "total_softirq_net_rx"
    TotalSoftirqNetTx = "total_softirq_net_tx"
    TotalSoftirqTimer = "total_softirq_timer"
    TotalSoftirqSched = "total_softirq_sched"
    TotalIrqTimeNs = "total_irq_time_ns"
    TotalSoftirqTimeNs = "total_softirq_time_ns"
    TotalStealTimeNs = "total_steal_time_ns"
    AvgIrqUtil = "avg_irq_util"
    MaxAvgIrqUtil = "max_avg_irq_util"
    HardirqRate = "hardirq_rate"
    NetRxSoftirqRate = "net_rx_softirq_rate"
    IrqTimeFraction = "irq_time_fraction"
    TotalPhaseWallSec = "total_phase_wall_sec"
    TotalPhaseWallNs = "total_phase_wall_ns"
    MaxCpuHardirqs = "max_cpu_hardirqs"
    MaxCpuHardirqConcentration = "max_cpu_hardirq_concentration"
    MaxCpuSoftirqNetRx = "max_cpu_softirq_net_rx"
    MaxCpuSoftirqNetRxConcentration = "max_cpu_softirq_net_rx_concentration"
    MaxCgroupIrqPressure = "max_cgroup_irq_pressure"
    MaxCgroupIrqPressureConcentration = "max_cgroup_irq_pressure_concentration"
    MaxCgroupPsiIrqAvg10 = "max_cgroup_psi_irq_avg10"
    PsiIrqFullAvg10 = "psi_irq_full_avg10"
    TotalIrqPressureUs = "total_irq_pressure_us"
    WorstMeanRunDelayUs = "worst_mean_run_delay_us"
    WorstRunDelayUs = "worst_run_delay_us"
    WorstWakeLatencyTailRatio = "worst_wake_latency_tail_ratio"
    WorstIterationsPerWorker = "worst_iterations_per_worker"
    WorstIterationsPerCpuSec = "worst_iterations_per_cpu_sec"
    WorstPageLocality = "worst_page_locality"
    WorstCrossNodeMigrationRatio = "worst_cross_node_migration_ratio"
    WakeupP50LatencyUs = "wakeup_p50_latency_us"
    WakeupP90LatencyUs = "wakeup_p90_latency_us"
    WakeupP99LatencyUs = "wakeup_p99_latency_us"
    WakeupP999LatencyUs = "wakeup_p999_latency_us"
    WakeupMinLatencyUs = "wakeup_min_latency_us"
    WakeupMaxLatencyUs = "wakeup_max_latency_us"
    RequestP50LatencyUs = "request_p50_latency_us"
    RequestP90LatencyUs = "request_p90_latency_us"
    RequestP99LatencyUs = "request_p99_latency_us"
    RequestP999LatencyUs = "request_p999_latency_us"
    RequestMinLatencyUs = "request_min_latency_us"
    RequestMaxLatencyUs = "request_max_latency_us"
    SchedDelayMsgUs = "sched_delay_msg_us"
    SchedDelayWorkerUs = "sched_delay_worker_us"
    SchbenchLoopCount = "schbench_loop_count"
    RpsP20 = "rps_p20"
    RpsP50 = "rps_p50"
    RpsP90 = "rps_p90"
    RpsMin = "rps_min"
    RpsMax = "rps_max"
    WakeupP50LatencyUsWhole = "wakeup_p50_latency_us_whole"
    WakeupP90LatencyUsWhole = "wakeup_p90_latency_us_whole"
    WakeupP99LatencyUsWhole = "wakeup_p99_latency_us_whole"
    WakeupP999LatencyUsWhole = "wakeup_p999_latency_us_whole"
    WakeupMinLatencyUsWhole = "wakeup_min_latency_us_whole"
    WakeupMaxLatencyUsWhole = "wakeup_max_latency_us_whole"
    RequestP50LatencyUsWhole = "request_p50_latency_us_whole"
    RequestP90LatencyUsWhole = "request_p90_latency_us_whole"
    RequestP99LatencyUsWhole = "request_p99_latency_us_whole"
    RequestP999LatencyUsWhole = "request_p999_latency_us_whole"
    RequestMinLatencyUsWhole = "request_min_latency_us_whole"
    RequestMaxLatencyUsWhole = "request_max_latency_us_whole"
    RpsP20Whole = "rps_p20_whole"
    RpsP50Whole = "rps_p50_whole"
    RpsP90Whole = "rps_p90_whole"
    RpsMinWhole = "rps_min_whole"
    RpsMaxWhole = "rps_max_whole"
    TotalSchbenchMsgRunDelayNs = "total_schbench_msg_run_delay_ns"
    TotalSchbenchMsgPcount = "total_schbench_msg_pcount"
    TotalSchbenchWorkerRunDelayNs = "total_schbench_worker_run_delay_ns"
    TotalSchbenchWorkerPcount = "total_schbench_worker_pcount"
    TotalSchbenchLoops = "total_schbench_loops"
    SchbenchMsgRunDelayNsPerSched = "schbench_msg_run_delay_ns_per_sched"
    SchbenchWorkerRunDelayNsPerSched = "schbench_worker_run_delay_ns_per_sched"
    TaobenchTotalQps = "taobench_total_qps"
    TaobenchFastQps = "taobench_fast_qps"
    TaobenchSlowQps = "taobench_slow_qps"
    TaobenchHitRatio = "taobench_hit_ratio"
    TaobenchHitRate = "taobench_hit_rate"
    TaobenchServeP50Us = "taobench_serve_p50_us"
    TaobenchServeP90Us = "taobench_serve_p90_us"
    TaobenchServeP99Us = "taobench_serve_p99_us"
    TaobenchServeP999Us = "taobench_serve_p999_us"
    TaobenchServeMinUs = "taobench_serve_min_us"
    TaobenchServeMaxUs = "taobench_serve_max_us"
    TotalTaobenchOps = "total_taobench_ops"
    TotalTaobenchFastOps = "total_taobench_fast_ops"
    TotalTaobenchSlowOps = "total_taobench_slow_ops"
    TotalTaobenchWallSec = "total_taobench_wall_sec"
    TaobenchTotalOpsPerSec = "taobench_total_ops_per_sec"
    TaobenchFastOpsPerSec = "taobench_fast_ops_per_sec"
    TaobenchSlowOpsPerSec = "taobench_slow_ops_per_sec"
    TaobenchHitFraction = "taobench_hit_fraction"
    TotalTaobenchGetCmds = "total_taobench_get_cmds"
    TotalTaobenchGetHits = "total_taobench_get_hits"
    TaobenchCommandHitRate = "taobench_command_hit_rate"
    TaobenchServeP50UsWhole = "taobench_serve_p50_us_whole"
    TaobenchServeP90UsWhole = "taobench_serve_p90_us_whole"
    TaobenchServeP99UsWhole = "taobench_serve_p99_us_whole"
    TaobenchServeP999UsWhole = "taobench_serve_p999_us_whole"
    TaobenchServeMinUsWhole = "taobench_serve_min_us_whole"
    TaobenchServeMaxUsWhole = "taobench_serve_max_us_whole"
    P99WakeLatencyUs = "p99_wake_latency_us"
    MedianWakeLatencyUs = "median_wake_latency_us"
    WakeLatencyCv = "wake_latency_cv"
    P99TimerLatencyUs = "p99_timer_latency_us"
    MedianTimerLatencyUs = "median_timer_latency_us"
    P999TimerLatencyUs = "p999_timer_latency_us"
    MeanRunDelayUs = "mean_run_delay_us"
    MaxRunDelayUs = "max_run_delay_us"
    AvgOffCpuPct = "avg_off_cpu_pct"
    MinOffCpuPct = "min_off_cpu_pct"
    MaxOffCpuPct = "max_off_cpu_pct"
    OffCpuSpreadPct = "off_cpu_spread_pct"
    MigrationRatio = "migration_ratio"
    IterationsPerWorker = "iterations_per_worker"
    PageLocality = "page_locality"
    CrossNodeMigrationRatio = "cross_node_migration_ratio"
    TotalCpuTimeNs = "total_cpu_time_ns"

    def wire_name(self) -> str:
        """The metric's name in the registry and in every record."""
        return str(self.value)

    @classmethod
    def from_wire_name(cls, name: str) -> Self | None:
        """The member of that name; ``None`` when the registry has none."""
        return cls(name) if name in _NAMES else None

    def definition(self) -> MetricDef:
        """The metric's row."""
        row = metric_def(self.wire_name())
        assert row is not None  # Members and rows are the same set.
        return row

    def_ = definition


BuiltinMetric.ALL = tuple(BuiltinMetric)

_NAMES = frozenset(metric.wire_name() for metric in BuiltinMetric)


@dataclass(frozen=True, slots=True)
class MetricId:
    """A metric by name, registered or of a scheduler's own.

    Text that names a registered metric becomes the builtin, so equal metrics are equal ids
    however they were written.
    """

    key: BuiltinMetric | str

    def __post_init__(self) -> None:
        if isinstance(self.key, str) and (known := BuiltinMetric.from_wire_name(self.key)):
            object.__setattr__(self, "key", known)

    @classmethod
    def of(cls, metric: "MetricLike") -> "MetricId":
        """The id of whatever an accessor was given."""
        return metric if isinstance(metric, MetricId) else cls(metric)

    def as_str(self) -> str:
        """The name under which maps and records hold the metric."""
        return self.key if isinstance(self.key, str) else self.key.wire_name()

    def definition(self) -> MetricDef | None:
        """The metric's row; ``None`` for a dynamic one, whose kind nobody may guess."""
        return None if isinstance(self.key, str) else self.key.definition()

    def_ = definition


MetricLike: TypeAlias = MetricId | BuiltinMetric | str
"""What accessors take for a metric."""
