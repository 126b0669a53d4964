# SPDX-License-Identifier: GPL-2.0-only
"""The metric registry: one row per metric, by family (reference-06 sections 1.2 and 1.5).

A row reads: name, polarity, kind, absolute gate, relative gate, unit.
"""

import sys
from dataclasses import dataclass
from enum import Enum

from ktstr.metrics.kinds import (
    HIGHER_BETTER,
    INFORMATIONAL,
    LOWER_BETTER,
    Counter,
    Distribution,
    Gauge,
    GaugeAgg,
    MetricKind,
    Peak,
    PerPhase,
    PerPhaseDeltaSum,
    PerRunDistribution,
    Polarity,
    Rate,
    SampleReduction,
    WakeLatencyTailRatio,
    WorstCrossNodeRatio,
    WorstLowest,
    WorstLowestDenominator,
    WorstLowestNumerator,
)
from ktstr.telemetry.cgroup import SampleSource


@dataclass(frozen=True, slots=True)
class MetricDef:
    """One metric.

    :param default_abs: absolute gate, in the metric's unit.
    :param default_rel: relative gate, a fraction.
    :param display_unit: empty for a bare number.
    """

    name: str
    polarity: Polarity
    kind: MetricKind
    default_abs: float
    default_rel: float
    display_unit: str = ""

    def gates(self) -> tuple[str, str]:
        """Both gates as people write them: 1000000, not 1e+06."""
        return f"{self.default_abs:.10g}", f"{self.default_rel:.10g}"

    def significant(self, delta: float, baseline: float) -> bool:
        """Whether a change of ``delta`` from ``baseline`` clears both gates, each inclusive.

        No change is a share of zero, so nothing that starts there clears the relative gate.
        """
        if abs(baseline) < sys.float_info.epsilon:
            return False
        return abs(delta) >= self.default_abs and abs(delta / baseline) >= self.default_rel


class Source(Enum):
    """What fills a family of metrics; :attr:`available` tells whether this version reads it."""

    WORKERS = ("workers", True, "reports and phase slices of the worker processes")
    CAPTURES = ("captures", True, "run queues and sched_ext state in guest memory, at each freeze")
    SCHEDSTAT = ("schedstat", True, "scheduler statistics of each run queue, by the monitor")
    CPU_TIME = ("CPU time", True, "kernel and user time of each thread group")
    INTERRUPTS = ("interrupts", True, "interrupt counts, times and load of each CPU")
    PRESSURE = ("pressure", True, "interrupt stall times (PSI) of the system and each cgroup")
    SCHBENCH = ("schbench engine", True, "histograms and counters of schbench workers")
    TAOBENCH = ("taobench engine", True, "histograms and counters of taobench workers")

    def __init__(self, label: str, available: bool, about: str) -> None:
        self.label = label
        self.available = available
        self.about = about


@dataclass(frozen=True, slots=True)
class MetricFamily:
    """Metrics that belong together and are filled from one source.

    :param about: what they measure, one sentence.
    """

    title: str
    about: str
    source: Source
    metrics: tuple[MetricDef, ...]


# Short words, so that a row of the table stays on its line.
M = MetricDef
H, L, I = HIGHER_BETTER, LOWER_BETTER, INFORMATIONAL  # noqa: E741
COUNT, DELTA, PEAK = Counter(), PerPhaseDeltaSum(), Peak()
LAST, AVG = Gauge(GaugeAgg.LAST), Gauge(GaugeAgg.AVG)
PHASE, WHOLE = PerPhase(), PerRunDistribution()
WAKE, TIMER = SampleSource.WAKE_LATENCY_NS, SampleSource.TIMER_LATENCY_NS
DELAY = SampleSource.RUN_DELAY_NS
R, Lowest = SampleReduction, WorstLowest
ITERATIONS, LOCAL = WorstLowestNumerator.ITERATIONS, WorstLowestNumerator.NUMA_LOCAL
PER_WORKER, PER_CPU_TIME, PER_PAGE = (
    WorstLowestDenominator.NUM_WORKERS,
    WorstLowestDenominator.CPU_TIME_NS,
    WorstLowestDenominator.NUMA_TOTAL,
)


def _latencies(pattern: str, kind: MetricKind) -> tuple[MetricDef, ...]:
    """The six figures of a latency histogram; ``{}`` in ``pattern`` takes the figure's name."""
    gates = {
        **{"p50": (20, 0.25), "p90": (20, 0.25), "p99": (50, 0.25), "p999": (50, 0.25)},
        **{"min": (20, 0.25), "max": (50, 0.50)},
    }
    return tuple(M(pattern.format(p), L, kind, a, r, "µs") for p, (a, r) in gates.items())


def _requests(pattern: str, kind: MetricKind) -> tuple[MetricDef, ...]:
    """The five figures of the requests-per-second histogram."""
    names = ("p20", "p50", "p90", "min", "max")
    return tuple(M(pattern.format(name), H, kind, 100, 0.10, "req/s") for name in names)


# fmt: off
FAMILIES: tuple[MetricFamily, ...] = (
    MetricFamily("Fairness and placement",
                 "How evenly the workers ran, and how often they moved.",
                 Source.WORKERS, (
        M("worst_spread", L, LAST, 5, .25, "%"),
        M("worst_gap_ms", L, PEAK, 500, .50, "ms"),
        M("total_migrations", L, COUNT, 10, .30),
        M("worst_migration_ratio", L, LAST, .05, .20),
    )),
    MetricFamily("Run queues and dispatch",
                 "Load balance, queue depths, stuck CPUs, and sched_ext events.",
                 Source.CAPTURES, (
        M("max_imbalance_ratio", L, PEAK, 1, .25, "x"),
        M("avg_imbalance_ratio", L, AVG, .5, .25, "x"),
        M("max_dsq_depth", L, PEAK, 10, .50),
        M("avg_dsq_depth", L, AVG, 5, .50),
        M("stuck_count", L, COUNT, 1, .50),
        M("total_fallback", L, COUNT, 5, .30),
        M("total_keep_last", L, COUNT, 5, .30),
        M("avg_nr_running", L, AVG, .5, .20),
    )),
    MetricFamily("Scheduler statistics",
                 "Run delay, switches and wake-ups, summed over the run queues.",
                 Source.SCHEDSTAT, (
        M("total_run_delay", I, COUNT, 1e6, .10, "ns"),
        M("total_pcount", I, COUNT, 100, .10),
        M("total_sched_count", I, COUNT, 100, .10),
        M("total_yld_count", I, COUNT, 100, .10),
        M("total_sched_goidle", I, COUNT, 100, .10),
        M("total_ttwu_count", I, COUNT, 100, .10),
        M("total_ttwu_local", I, COUNT, 100, .10),
        M("total_run_delay_ns_per_sched", L, Rate("total_run_delay", "total_pcount"),
          1000, .15, "ns"),
        M("ttwu_local_fraction", H, Rate("total_ttwu_local", "total_ttwu_count"), .05, .10),
        M("sched_goidle_fraction", I, Rate("total_sched_goidle", "total_sched_count"), .05, .10),
        # The reference states no gates for the rest: the clock has those of total_phase_wall_sec,
        # a rate has its counter's polarity and relative gate, and that counter's absolute gate
        # over one second.
        M("total_schedstat_wall_sec", I, COUNT, .1, .30, "s"),
        M("run_delay_per_sec", I, Rate("total_run_delay", "total_schedstat_wall_sec"),
          1e6, .10, "ns/s"),
        M("pcount_per_sec", I, Rate("total_pcount", "total_schedstat_wall_sec"), 100, .10, "/s"),
        M("sched_count_per_sec", I, Rate("total_sched_count", "total_schedstat_wall_sec"),
          100, .10, "/s"),
        M("yld_count_per_sec", I, Rate("total_yld_count", "total_schedstat_wall_sec"),
          100, .10, "/s"),
        M("ttwu_count_per_sec", I, Rate("total_ttwu_count", "total_schedstat_wall_sec"),
          100, .10, "/s"),
        M("sched_goidle_per_sec", I, Rate("total_sched_goidle", "total_schedstat_wall_sec"),
          100, .10, "/s"),
    )),
    MetricFamily("Wake and timer latency",
                 "Samples of all workers, pooled over phases and cgroups.",
                 Source.WORKERS, (
        M("worst_p99_wake_latency_us", L, Distribution(WAKE, R.P99), 50, .25, "µs"),
        M("worst_median_wake_latency_us", L, Distribution(WAKE, R.MEDIAN), 20, .25, "µs"),
        M("worst_wake_latency_cv", L, Distribution(WAKE, R.CV), .10, .25),
        M("worst_p99_timer_latency_us", L, Distribution(TIMER, R.P99), 50, .25, "µs"),
        M("worst_median_timer_latency_us", L, Distribution(TIMER, R.MEDIAN), 20, .25, "µs"),
        M("worst_p999_timer_latency_us", L, Distribution(TIMER, R.P999), 100, .25, "µs"),
        M("worst_timer_latency_us", L, Distribution(TIMER, R.WORST), 200, .25, "µs"),
    )),
    MetricFamily("Throughput",
                 "Work finished per wall second and per CPU second, with the sums behind both.",
                 Source.WORKERS, (
        M("iteration_rate", H, Rate("total_phase_iterations", "total_phase_duration_sec"),
          1, .30, "iter/s"),
        M("total_iterations", H, COUNT, 100, .10),
        M("total_phase_iterations", H, COUNT, 100, .10),
        M("total_phase_duration_sec", H, COUNT, 1, .30, "s"),
        M("total_cpu_time_sec", H, COUNT, 1, .30, "s"),
        M("total_iterations_pooled", H, COUNT, 100, .10),
        M("iterations_per_cpu_sec", H, Rate("total_iterations_pooled", "total_cpu_time_sec"),
          10, .10, "iter/cpu-s"),
    )),
    MetricFamily("CPU time",
                 "Kernel and user time, counted per thread group from first to last sight.",
                 Source.CPU_TIME, (
        M("system_time_ns", L, DELTA, 1e6, .30, "ns"),
        M("user_time_ns", L, DELTA, 1e6, .30, "ns"),
    )),
    MetricFamily("Interrupts",
                 "Interrupts and the time they take, in all and on the busiest CPU.",
                 Source.INTERRUPTS, (
        M("total_hardirqs", I, COUNT, 1000, .50),
        M("total_softirq_net_rx", I, COUNT, 500, .50),
        M("total_softirq_net_tx", I, COUNT, 500, .50),
        M("total_softirq_timer", I, COUNT, 1000, .50),
        M("total_softirq_sched", I, COUNT, 1000, .50),
        M("total_irq_time_ns", I, COUNT, 1e6, .50, "ns"),
        M("total_softirq_time_ns", I, COUNT, 1e6, .50, "ns"),
        M("total_steal_time_ns", I, COUNT, 1e6, .50, "ns"),
        M("avg_irq_util", L, AVG, 20, .30),
        M("max_avg_irq_util", L, PEAK, 50, .30),
        M("hardirq_rate", I, Rate("total_hardirqs", "total_phase_wall_sec"), 10, .30, "irq/s"),
        M("net_rx_softirq_rate", I, Rate("total_softirq_net_rx", "total_phase_wall_sec"),
          10, .30, "softirq/s"),
        M("irq_time_fraction", L, Rate("total_irq_time_ns", "total_phase_wall_ns"), .02, .30),
        M("total_phase_wall_sec", I, COUNT, .1, .30, "s"),
        M("total_phase_wall_ns", I, COUNT, 1e6, .30, "ns"),
        M("max_cpu_hardirqs", I, PEAK, 500, .50),
        M("max_cpu_hardirq_concentration", L, PEAK, 1, .25, "x"),
        M("max_cpu_softirq_net_rx", I, PEAK, 500, .50),
        M("max_cpu_softirq_net_rx_concentration", L, PEAK, 1, .25, "x"),
    )),
    MetricFamily("Interrupt pressure",
                 "Time tasks stood still for interrupts, in all and in the worst cgroup.",
                 Source.PRESSURE, (
        M("max_cgroup_irq_pressure", I, PEAK, 1000, .50, "µs"),
        M("max_cgroup_irq_pressure_concentration", L, PEAK, 1, .25, "x"),
        M("max_cgroup_psi_irq_avg10", L, PEAK, 5, .30, "%"),
        M("psi_irq_full_avg10", L, AVG, 5, .30, "%"),
        M("total_irq_pressure_us", I, COUNT, 1000, .50, "µs"),
    )),
    MetricFamily("Run delay, efficiency and NUMA",
                 "Waiting to run, and the cgroup that came off worst.",
                 Source.WORKERS, (
        M("worst_mean_run_delay_us", L, Distribution(DELAY, R.MEAN), 50, .25, "µs"),
        M("worst_run_delay_us", L, Distribution(DELAY, R.WORST), 100, .50, "µs"),
        M("worst_wake_latency_tail_ratio", L, WakeLatencyTailRatio(), .5, .25, "x"),
        M("worst_iterations_per_worker", H, Lowest(ITERATIONS, PER_WORKER), 10, .10),
        M("worst_iterations_per_cpu_sec", H, Lowest(ITERATIONS, PER_CPU_TIME),
          10, .10, "iter/cpu-s"),
        M("worst_page_locality", H, Lowest(LOCAL, PER_PAGE), .05, .10),
        M("worst_cross_node_migration_ratio", L, WorstCrossNodeRatio(), .05, .20),
    )),
    MetricFamily("schbench, one phase",
                 "Latency and request rate of the message-passing benchmark.",
                 Source.SCHBENCH, (
        *_latencies("wakeup_{}_latency_us", PHASE),
        *_latencies("request_{}_latency_us", PHASE),
        M("sched_delay_msg_us", L, PHASE, 50, .25, "µs"),
        M("sched_delay_worker_us", L, PHASE, 50, .25, "µs"),
        M("schbench_loop_count", H, PHASE, 10, .30),
        *_requests("rps_{}", PHASE),
    )),
    MetricFamily("schbench, whole run",
                 "The same from the union of all phases' histograms, and sums over the run.",
                 Source.SCHBENCH, (
        *_latencies("wakeup_{}_latency_us_whole", WHOLE),
        *_latencies("request_{}_latency_us_whole", WHOLE),
        *_requests("rps_{}_whole", WHOLE),
        M("total_schbench_msg_run_delay_ns", L, COUNT, 1000, .10, "ns"),
        M("total_schbench_msg_pcount", I, COUNT, 100, .10),
        M("total_schbench_worker_run_delay_ns", L, COUNT, 1000, .10, "ns"),
        M("total_schbench_worker_pcount", I, COUNT, 100, .10),
        M("total_schbench_loops", H, COUNT, 100, .10),
        M("schbench_msg_run_delay_ns_per_sched", L,
          Rate("total_schbench_msg_run_delay_ns", "total_schbench_msg_pcount"), 1000, .10, "ns"),
        M("schbench_worker_run_delay_ns_per_sched", L,
          Rate("total_schbench_worker_run_delay_ns", "total_schbench_worker_pcount"),
          1000, .10, "ns"),
    )),
    # Gates of the serve latencies are schbench's; those of the command counters and their rate
    # are the operation counters' and the hit fraction's. The reference states none for them.
    MetricFamily("taobench, one phase",
                 "Operations per second, cache hits, and latency from intended arrival to answer.",
                 Source.TAOBENCH, (
        M("taobench_total_qps", H, PHASE, 1000, .10, "ops/s"),
        M("taobench_fast_qps", H, PHASE, 1000, .10, "ops/s"),
        M("taobench_slow_qps", I, PHASE, 1000, .10, "ops/s"),
        M("taobench_hit_ratio", I, PHASE, .02, .05),
        M("taobench_hit_rate", I, PHASE, .02, .05),
        *_latencies("taobench_serve_{}_us", PHASE),
    )),
    MetricFamily("taobench, whole run",
                 "The same from the run's own counters and the union of all phases' histograms.",
                 Source.TAOBENCH, (
        M("total_taobench_ops", H, COUNT, 1000, .10),
        M("total_taobench_fast_ops", H, COUNT, 1000, .10),
        M("total_taobench_slow_ops", I, COUNT, 1000, .10),
        M("total_taobench_wall_sec", H, COUNT, 1, .30, "s"),
        M("taobench_total_ops_per_sec", H, Rate("total_taobench_ops", "total_taobench_wall_sec"),
          1000, .10, "ops/s"),
        M("taobench_fast_ops_per_sec", H,
          Rate("total_taobench_fast_ops", "total_taobench_wall_sec"), 1000, .10, "ops/s"),
        M("taobench_slow_ops_per_sec", I,
          Rate("total_taobench_slow_ops", "total_taobench_wall_sec"), 1000, .10, "ops/s"),
        M("taobench_hit_fraction", I, Rate("total_taobench_fast_ops", "total_taobench_ops"),
          .02, .05),
        M("total_taobench_get_cmds", I, COUNT, 1000, .10),
        M("total_taobench_get_hits", I, COUNT, 1000, .10),
        M("taobench_command_hit_rate", I,
          Rate("total_taobench_get_hits", "total_taobench_get_cmds"), .02, .05),
        *_latencies("taobench_serve_{}_us_whole", WHOLE),
    )),
    MetricFamily("One cgroup in one phase",
                 "What the workers of one cgroup did in one phase.",
                 Source.WORKERS, (
        M("p99_wake_latency_us", L, PHASE, 50, .25, "µs"),
        M("median_wake_latency_us", L, PHASE, 20, .25, "µs"),
        M("wake_latency_cv", L, PHASE, .10, .25),
        M("p99_timer_latency_us", L, PHASE, 50, .25, "µs"),
        M("median_timer_latency_us", L, PHASE, 20, .25, "µs"),
        M("p999_timer_latency_us", L, PHASE, 100, .25, "µs"),
        M("mean_run_delay_us", L, PHASE, 50, .25, "µs"),
        M("max_run_delay_us", L, PHASE, 100, .50, "µs"),
        M("avg_off_cpu_pct", L, PHASE, 5, .25, "%"),
        M("min_off_cpu_pct", L, PHASE, 5, .25, "%"),
        M("max_off_cpu_pct", L, PHASE, 5, .25, "%"),
        M("off_cpu_spread_pct", L, PHASE, 5, .25, "%"),
        M("migration_ratio", L, PHASE, .05, .20),
        M("iterations_per_worker", H, PHASE, 10, .10),
        M("page_locality", H, PHASE, .05, .10),
        M("cross_node_migration_ratio", L, PHASE, .05, .20),
        M("total_cpu_time_ns", H, COUNT, 100, .10, "ns"),
    )),
)
# fmt: on
"""Every metric, by family, in the order reports print them."""

METRICS: tuple[MetricDef, ...] = tuple(m for family in FAMILIES for m in family.metrics)
"""Every metric."""

TYPED_FIELD_NAMES = frozenset(
    {
        "max_dsq_depth",
        "max_imbalance_ratio",
        "total_fallback",
        "total_keep_last",
        "stuck_count",
        "total_iterations",
        "total_migrations",
    }
)
"""Metrics with a typed home of their own: never written to the run-level map."""

RENDER_SUPPRESSED_COMPONENTS = frozenset(
    {
        "total_phase_iterations",
        "total_phase_duration_sec",
        "total_iterations_pooled",
        "total_cpu_time_sec",
        "total_taobench_ops",
        "total_taobench_fast_ops",
        "total_taobench_slow_ops",
        "total_taobench_wall_sec",
        "total_schbench_msg_run_delay_ns",
        "total_schbench_msg_pcount",
        "total_schbench_worker_run_delay_ns",
        "total_schbench_worker_pcount",
    }
)
"""Parts of rates: kept in every record, left out where metrics are listed for people."""

_BY_NAME = {metric.name: metric for metric in METRICS}


def metric_def(name: str) -> MetricDef | None:
    """The row of ``name``; ``None`` when it is not registered."""
    return _BY_NAME.get(name)
