# SPDX-License-Identifier: GPL-2.0-only
"""The metric registry against rows typed from the reference."""

import math
from collections import Counter as Tally

import pytest

from ktstr.metrics import METRICS, RENDER_SUPPRESSED_COMPONENTS, metric_def
from ktstr.metrics.kinds import HIGHER_BETTER, LOWER_BETTER, Counter, Peak, Rate
from ktstr.metrics.registry import FAMILIES, TYPED_FIELD_NAMES, MetricDef, Source

BY_LETTER = {"H": "HigherBetter", "L": "LowerBetter", "I": "Informational"}

# name | polarity | kind and its parameters | absolute | relative | unit
ROWS = """
worst_spread | L | Gauge(Last) last | 5 | .25 | %
worst_gap_ms | L | Peak | 500 | .50 | ms
total_migrations | L | Counter | 10 | .30 |
worst_migration_ratio | L | Gauge(Last) last | .05 | .20 |
max_imbalance_ratio | L | Peak | 1 | .25 | x
avg_imbalance_ratio | L | Gauge(Avg) avg | .5 | .25 | x
max_dsq_depth | L | Peak | 10 | .50 |
avg_dsq_depth | L | Gauge(Avg) avg | 5 | .50 |
stuck_count | L | Counter | 1 | .50 |
total_fallback | L | Counter | 5 | .30 |
total_keep_last | L | Counter | 5 | .30 |
avg_nr_running | L | Gauge(Avg) avg | .5 | .20 |
total_run_delay | I | Counter | 1000000 | .10 | ns
total_yld_count | I | Counter | 100 | .10 |
total_run_delay_ns_per_sched | L | Rate total_run_delay total_pcount | 1000 | .15 | ns
ttwu_local_fraction | H | Rate total_ttwu_local total_ttwu_count | .05 | .10 |
sched_goidle_fraction | I | Rate total_sched_goidle total_sched_count | .05 | .10 |
sched_goidle_per_sec | I | Rate total_sched_goidle total_schedstat_wall_sec | 100 | .10 | /s
run_delay_per_sec | I | Rate total_run_delay total_schedstat_wall_sec | 1000000 | .10 | ns/s
worst_p99_wake_latency_us | L | Distribution wake_latencies_ns p99 | 50 | .25 | µs
worst_median_wake_latency_us | L | Distribution wake_latencies_ns median | 20 | .25 | µs
worst_wake_latency_cv | L | Distribution wake_latencies_ns cv | .10 | .25 |
worst_p999_timer_latency_us | L | Distribution timer_latencies_ns p999 | 100 | .25 | µs
worst_timer_latency_us | L | Distribution timer_latencies_ns worst | 200 | .25 | µs
iteration_rate | H | Rate total_phase_iterations total_phase_duration_sec | 1 | .30 | iter/s
total_iterations | H | Counter | 100 | .10 |
total_phase_duration_sec | H | Counter | 1 | .30 | s
iterations_per_cpu_sec | H | Rate total_iterations_pooled total_cpu_time_sec | 10 | .10 | iter/cpu-s
system_time_ns | L | PerPhaseDeltaSum | 1000000 | .30 | ns
user_time_ns | L | PerPhaseDeltaSum | 1000000 | .30 | ns
total_hardirqs | I | Counter | 1000 | .50 |
total_softirq_net_tx | I | Counter | 500 | .50 |
total_softirq_sched | I | Counter | 1000 | .50 |
total_steal_time_ns | I | Counter | 1000000 | .50 | ns
avg_irq_util | L | Gauge(Avg) avg | 20 | .30 |
max_avg_irq_util | L | Peak | 50 | .30 |
hardirq_rate | I | Rate total_hardirqs total_phase_wall_sec | 10 | .30 | irq/s
net_rx_softirq_rate | I | Rate total_softirq_net_rx total_phase_wall_sec | 10 | .30 | softirq/s
irq_time_fraction | L | Rate total_irq_time_ns total_phase_wall_ns | .02 | .30 |
total_phase_wall_sec | I | Counter | .1 | .30 | s
total_phase_wall_ns | I | Counter | 1000000 | .30 | ns
max_cpu_softirq_net_rx | I | Peak | 500 | .50 |
max_cpu_hardirq_concentration | L | Peak | 1 | .25 | x
max_cgroup_irq_pressure | I | Peak | 1000 | .50 | µs
max_cgroup_psi_irq_avg10 | L | Peak | 5 | .30 | %
psi_irq_full_avg10 | L | Gauge(Avg) avg | 5 | .30 | %
total_irq_pressure_us | I | Counter | 1000 | .50 | µs
worst_mean_run_delay_us | L | Distribution run_delays_ns mean | 50 | .25 | µs
worst_run_delay_us | L | Distribution run_delays_ns worst | 100 | .50 | µs
worst_wake_latency_tail_ratio | L | WakeLatencyTailRatio | .5 | .25 | x
worst_iterations_per_worker | H | WorstLowest iterations num_workers | 10 | .10 |
worst_iterations_per_cpu_sec | H | WorstLowest iterations cpu_time_ns | 10 | .10 | iter/cpu-s
worst_page_locality | H | WorstLowest numa_local numa_total | .05 | .10 |
worst_cross_node_migration_ratio | L | WorstCrossNodeRatio | .05 | .20 |
wakeup_p50_latency_us | L | PerPhase | 20 | .25 | µs
request_p999_latency_us | L | PerPhase | 50 | .25 | µs
request_max_latency_us | L | PerPhase | 50 | .50 | µs
wakeup_min_latency_us_whole | L | PerRunDistribution | 20 | .25 | µs
request_p90_latency_us_whole | L | PerRunDistribution | 20 | .25 | µs
sched_delay_worker_us | L | PerPhase | 50 | .25 | µs
schbench_loop_count | H | PerPhase | 10 | .30 |
rps_p20 | H | PerPhase | 100 | .10 | req/s
rps_max_whole | H | PerRunDistribution | 100 | .10 | req/s
total_schbench_worker_run_delay_ns | L | Counter | 1000 | .10 | ns
total_schbench_worker_pcount | I | Counter | 100 | .10 |
total_schbench_loops | H | Counter | 100 | .10 |
taobench_fast_qps | H | PerPhase | 1000 | .10 | ops/s
taobench_slow_qps | I | PerPhase | 1000 | .10 | ops/s
taobench_hit_rate | I | PerPhase | .02 | .05 |
taobench_serve_p99_us | L | PerPhase | 50 | .25 | µs
taobench_serve_max_us_whole | L | PerRunDistribution | 50 | .50 | µs
total_taobench_slow_ops | I | Counter | 1000 | .10 |
total_taobench_wall_sec | H | Counter | 1 | .30 | s
taobench_total_ops_per_sec|H|Rate total_taobench_ops total_taobench_wall_sec|1000|.10|ops/s
taobench_hit_fraction | I | Rate total_taobench_fast_ops total_taobench_ops | .02 | .05 |
taobench_command_hit_rate | I | Rate total_taobench_get_hits total_taobench_get_cmds | .02 | .05 |
p99_wake_latency_us | L | PerPhase | 50 | .25 | µs
p999_timer_latency_us | L | PerPhase | 100 | .25 | µs
max_run_delay_us | L | PerPhase | 100 | .50 | µs
off_cpu_spread_pct | L | PerPhase | 5 | .25 | %
iterations_per_worker | H | PerPhase | 10 | .10 |
page_locality | H | PerPhase | .05 | .10 |
total_cpu_time_ns | H | Counter | 100 | .10 | ns
"""

COUNTS = {
    "Fairness and placement": 4,
    "Run queues and dispatch": 8,
    "Scheduler statistics": 7 + 3 + 1 + 6,
    "Wake and timer latency": 3 + 4,
    "Throughput": 7,
    "CPU time": 2,
    "Interrupts": 5 + 3 + 2 + 3 + 2 + 4,
    "Interrupt pressure": 5,
    "Run delay, efficiency and NUMA": 7,
    "schbench, one phase": 12 + 2 + 1 + 5,
    "schbench, whole run": 12 + 5 + 5 + 2,
    "taobench, one phase": 5 + 6,
    "taobench, whole run": 4 + 4 + 3 + 6,
    "One cgroup in one phase": 16 + 1,
}


@pytest.mark.parametrize(
    "row", ROWS.strip().splitlines(), ids=lambda row: row.split("|")[0].strip()
)
def test_a_row_is_as_the_reference_has_it(row: str) -> None:
    name, letter, kind, absolute, relative, unit = (cell.strip() for cell in row.split("|"))
    metric = metric_def(name)
    assert metric is not None
    assert metric.name == name
    assert str(metric.polarity) == BY_LETTER[letter]
    assert [str(metric.kind), *metric.kind.parameters().values()] == kind.split()
    assert (metric.default_abs, metric.default_rel) == (float(absolute), float(relative))
    assert metric.display_unit == unit


def test_every_family_is_complete() -> None:
    assert {family.title: len(family.metrics) for family in FAMILIES} == COUNTS
    assert len(METRICS) == 165


def test_names_are_unique_and_found() -> None:
    assert [name for name, n in Tally(metric.name for metric in METRICS).items() if n > 1] == []
    assert all(metric_def(metric.name) is metric for metric in METRICS)
    assert metric_def("no_such_metric") is None


def test_both_gates_of_every_metric_can_be_cleared() -> None:
    for metric in METRICS:
        for gate in (metric.default_abs, metric.default_rel):
            assert math.isfinite(gate) and gate > 0, metric.name
        assert metric.default_rel < 1, metric.name


def test_a_rate_divides_two_counters() -> None:
    rates = [metric for metric in METRICS if isinstance(metric.kind, Rate)]
    assert len(rates) == 9 + 2 + 3 + 2 + 5
    for metric in rates:
        assert isinstance(metric.kind, Rate)
        for name in (metric.kind.numerator, metric.kind.denominator):
            component = metric_def(name)
            assert component is not None and isinstance(component.kind, Counter), name


def test_what_is_hidden_from_lists() -> None:
    words = "phase_iterations phase_duration_sec iterations_pooled cpu_time_sec"
    words += " taobench_ops taobench_fast_ops taobench_slow_ops taobench_wall_sec"
    words += " schbench_msg_run_delay_ns schbench_msg_pcount"
    words += " schbench_worker_run_delay_ns schbench_worker_pcount"
    assert {f"total_{word}" for word in words.split()} == RENDER_SUPPRESSED_COMPONENTS


def test_what_has_a_field_of_its_own() -> None:
    words = "max_dsq_depth max_imbalance_ratio total_fallback total_keep_last stuck_count"
    words += " total_iterations total_migrations"
    assert set(words.split()) == TYPED_FIELD_NAMES


def test_special_names_are_registered() -> None:
    special = RENDER_SUPPRESSED_COMPONENTS | TYPED_FIELD_NAMES
    assert {name for name in special if metric_def(name) is None} == set()


def test_every_source_is_read() -> None:
    assert [family.title for family in FAMILIES if not family.source.available] == []
    assert {family.source for family in FAMILIES} == set(Source)


@pytest.mark.parametrize(
    ("delta", "baseline", "significant"),
    [
        (10.0, 20.0, True),  # both gates met exactly
        (-10.0, 20.0, True),  # direction is not the gates' business
        (10.0, -20.0, True),
        (9.9, 10.0, False),  # 99 percent of little
        (49.0, 100.0, False),  # below half
        (50.0, 100.0, True),
        (1000.0, 0.0, False),  # no share of zero
        (1000.0, 1e-17, False),
        (0.0, 100.0, False),
        (math.nan, 100.0, False),
    ],
)
def test_a_change_counts_only_when_it_clears_both_gates(
    delta: float, baseline: float, significant: bool
) -> None:
    assert MetricDef("depth", LOWER_BETTER, Peak(), 10, 0.5).significant(delta, baseline) is (
        significant
    )


def test_significance_knows_no_polarity() -> None:
    for polarity in (LOWER_BETTER, HIGHER_BETTER):
        assert MetricDef("x", polarity, Peak(), 1, 0.1).significant(-1.0, 10.0)
