# SPDX-License-Identifier: GPL-2.0-only
"""Scalars of schbench and taobench, per phase and over the run, worked out by hand."""

from typing import Any

import numpy as np
import pytest

from ktstr.metrics import (
    Phase,
    PhaseBucket,
    ScenarioStats,
    derive_phase_metrics,
    metric_def,
    populate_run_ext_all,
)
from ktstr.metrics.derive import write_carrier_scalars, write_engine_scalars
from ktstr.metrics.populate_engines import (
    populate_run_pooled_schbench,
    populate_run_pooled_schbench_distribution,
    populate_run_pooled_taobench,
    populate_run_pooled_taobench_distribution,
)
from ktstr.series.sample import SampleSeries
from ktstr.telemetry import (
    CgroupStats,
    PhaseCgroupStats,
    PlatStats,
    SchbenchPhaseStats,
    TaobenchPhaseStats,
    TaobenchStats,
)

U64_MAX = 2**64 - 1


def histogram(*values: int) -> PlatStats:
    """Values below 512 keep their identity in the histogram."""
    return PlatStats.from_values(np.array(values, dtype=np.uint64))


def phase(step: int, **cgroups: PhaseCgroupStats) -> PhaseBucket:
    return PhaseBucket(step, str(Phase(step)), 0, 1, per_cgroup=cgroups)


def schbench(*wakeups: int, **fields: Any) -> PhaseCgroupStats:
    stats = SchbenchPhaseStats(wakeup=histogram(*wakeups), **fields)
    return PhaseCgroupStats(num_workers=1, schbench=stats)


def taobench(*served: int, **counters: int) -> PhaseCgroupStats:
    stats = TaobenchPhaseStats(TaobenchStats(**counters), histogram(*served))
    return PhaseCgroupStats(num_workers=1, taobench=stats)


def test_schbench_scalars_of_a_cgroup_and_of_the_phase() -> None:
    one = schbench(10, 20, 30, 40, msg_run_delay_ns=6000, msg_pcount=3, loop_count=5)
    two = schbench(50, msg_run_delay_ns=1000, msg_pcount=1, worker_run_delay_ns=500,
                   worker_pcount=2, loop_count=7)  # fmt: skip
    (derived,) = derive_phase_metrics([phase(1, one=one, two=two)])
    own = derived.per_cgroup["one"].metrics
    engine = {name: own[name] for name in own if name.startswith(("wakeup", "sched", "schbench"))}
    assert engine == {
        "wakeup_p50_latency_us": 20.0,
        "wakeup_p90_latency_us": 40.0,
        "wakeup_p99_latency_us": 40.0,
        "wakeup_p999_latency_us": 40.0,
        "wakeup_min_latency_us": 10.0,
        "wakeup_max_latency_us": 40.0,
        "sched_delay_msg_us": 2.0,
        "schbench_loop_count": 5.0,
    }
    assert derived.metrics == {
        "wakeup_p50_latency_us": 30.0,
        "wakeup_p90_latency_us": 50.0,
        "wakeup_p99_latency_us": 50.0,
        "wakeup_p999_latency_us": 50.0,
        "wakeup_min_latency_us": 10.0,
        "wakeup_max_latency_us": 50.0,
        "sched_delay_msg_us": 1.75,  # 7000 ns over 4, not the mean of 2 and 1
        "sched_delay_worker_us": 0.25,
        "schbench_loop_count": 12.0,
    }


def test_taobench_scalars_of_a_cgroup_and_of_the_phase() -> None:
    one = taobench(
        100, 200, get_cmds=10, get_misses=4, fast_ops=6, slow_ops=2, elapsed_ns=2_000_000_000
    )
    two = taobench(get_cmds=10, get_misses=1, fast_ops=12, slow_ops=0, elapsed_ns=4_000_000_000)
    (derived,) = derive_phase_metrics([phase(1, one=one, two=two)])
    own = derived.per_cgroup["one"].metrics
    assert {name: own[name] for name in own if name.startswith("taobench")} == {
        "taobench_total_qps": 4.0,
        "taobench_fast_qps": 3.0,
        "taobench_slow_qps": 1.0,
        "taobench_hit_ratio": 0.75,
        "taobench_hit_rate": 0.6,
        "taobench_serve_p50_us": 100.0,
        "taobench_serve_p90_us": 200.0,
        "taobench_serve_p99_us": 200.0,
        "taobench_serve_p999_us": 200.0,
        "taobench_serve_min_us": 100.0,
        "taobench_serve_max_us": 200.0,
    }
    assert derived.get("taobench_total_qps") == 5.0  # 20 in the common window of 4 s
    assert derived.get("taobench_hit_ratio") == 0.9
    assert derived.get("taobench_hit_rate") == 0.75
    assert not any("serve" in name for name in derived.per_cgroup["two"].metrics)


@pytest.mark.parametrize(
    ("counters", "expected"),
    [
        ({}, {}),
        (
            {"elapsed_ns": 10**9},
            {"taobench_total_qps": 0.0, "taobench_fast_qps": 0.0, "taobench_slow_qps": 0.0},
        ),
        ({"fast_ops": 1, "slow_ops": 3}, {"taobench_hit_ratio": 0.25}),
        ({"get_cmds": 4}, {"taobench_hit_rate": 1.0}),
        ({"get_cmds": 4, "get_misses": 5}, {"taobench_hit_rate": 0.0}),
    ],
)
def test_a_taobench_scalar_needs_its_denominator(
    counters: dict[str, int], expected: dict[str, float]
) -> None:
    assert write_engine_scalars(taobench(**counters)) == expected


def test_an_idle_schbench_phase_measured_zero_loops_and_nothing_else() -> None:
    assert write_engine_scalars(schbench()) == {"schbench_loop_count": 0.0}
    assert write_engine_scalars(PhaseCgroupStats(num_workers=1)) == {}


def test_request_rates_have_percentiles_of_their_own() -> None:
    rates = SchbenchPhaseStats(rps=histogram(100, 200, 300, 400, 500), request=histogram(7))
    scalars = write_engine_scalars(PhaseCgroupStats(schbench=rates))
    assert {name: scalars[name] for name in scalars if name.startswith("rps")} == {
        "rps_p20": 100.0,
        "rps_p50": 300.0,
        "rps_p90": 500.0,
        "rps_min": 100.0,
        "rps_max": 500.0,
    }
    assert scalars["request_p999_latency_us"] == 7.0
    assert not any(name.startswith("wakeup") for name in scalars)


def test_whole_run_taobench_pools_counters_over_the_common_window() -> None:
    cgroups = [
        CgroupStats("a", 1, taobench_whole=TaobenchStats(2000, 400, 1500, 100, 2_000_000_000)),
        CgroupStats("b", 1, taobench_whole=TaobenchStats(1000, 100, 850, 50, 5_000_000_000)),
        CgroupStats("c", 1),
    ]
    target: dict[str, float] = {}
    populate_run_pooled_taobench(cgroups, target)
    assert target == {
        "total_taobench_ops": 2500.0,
        "total_taobench_fast_ops": 2350.0,
        "total_taobench_slow_ops": 150.0,
        "total_taobench_wall_sec": 5.0,
        "total_taobench_get_cmds": 3000.0,
        "total_taobench_get_hits": 2500.0,
        "taobench_total_ops_per_sec": 500.0,
        "taobench_fast_ops_per_sec": 470.0,
        "taobench_slow_ops_per_sec": 30.0,
        "taobench_hit_fraction": 0.94,
        "taobench_command_hit_rate": 2500 / 3000,
    }


@pytest.mark.parametrize("whole", [None, TaobenchStats(fast_ops=5)])
def test_taobench_without_a_window_was_not_measured(whole: TaobenchStats | None) -> None:
    target: dict[str, float] = {}
    populate_run_pooled_taobench([CgroupStats("a", 1, taobench_whole=whole)], target)
    assert target == {}


def test_taobench_that_did_nothing_measured_zero() -> None:
    target: dict[str, float] = {}
    whole = TaobenchStats(elapsed_ns=10**9)
    populate_run_pooled_taobench([CgroupStats("a", 1, taobench_whole=whole)], target)
    assert target["taobench_total_ops_per_sec"] == 0.0
    assert "taobench_hit_fraction" not in target
    assert "taobench_command_hit_rate" not in target


def test_whole_run_schbench_sums_phases_and_keeps_the_roles_apart() -> None:
    phases = [
        phase(1, a=schbench(msg_run_delay_ns=100, msg_pcount=1, loop_count=2)),
        phase(
            2,
            a=schbench(msg_run_delay_ns=500, msg_pcount=2, loop_count=3),
            b=schbench(loop_count=4),
            c=PhaseCgroupStats(num_workers=1),
        ),
    ]
    target: dict[str, float] = {}
    populate_run_pooled_schbench(phases, target)
    assert target == {
        "total_schbench_loops": 9.0,
        "total_schbench_msg_run_delay_ns": 600.0,
        "total_schbench_msg_pcount": 3.0,
        "schbench_msg_run_delay_ns_per_sched": 200.0,
    }
    target = {}
    populate_run_pooled_schbench([phase(1, c=PhaseCgroupStats())], target)
    assert target == {}
    populate_run_pooled_schbench([phase(1, a=schbench(loop_count=U64_MAX), b=schbench())], target)
    assert target == {"total_schbench_loops": float(U64_MAX)}


def test_whole_run_percentiles_come_from_the_union_of_histograms() -> None:
    phases = [
        phase(1, a=schbench(10, 10, 10), b=taobench(5)),
        phase(2, a=schbench(20), b=taobench(9, 9, 9)),
    ]
    target: dict[str, float] = {}
    populate_run_pooled_schbench_distribution(phases, target)
    assert target == {
        "wakeup_p50_latency_us_whole": 10.0,
        "wakeup_p90_latency_us_whole": 20.0,
        "wakeup_p99_latency_us_whole": 20.0,
        "wakeup_p999_latency_us_whole": 20.0,
        "wakeup_min_latency_us_whole": 10.0,
        "wakeup_max_latency_us_whole": 20.0,
    }
    target = {}
    populate_run_pooled_taobench_distribution(phases, target)
    assert target == {
        "taobench_serve_p50_us_whole": 9.0,
        "taobench_serve_p90_us_whole": 9.0,
        "taobench_serve_p99_us_whole": 9.0,
        "taobench_serve_p999_us_whole": 9.0,
        "taobench_serve_min_us_whole": 5.0,
        "taobench_serve_max_us_whole": 9.0,
    }


def full_carrier() -> PhaseCgroupStats:
    """A carrier that measured everything."""
    ones = np.ones(2, dtype=np.uint64)
    some = histogram(1, 2, 3)
    return PhaseCgroupStats(
        num_workers=2,
        wake_latencies_ns=ones,
        wake_sample_total=2,
        timer_latencies_ns=ones,
        timer_sample_total=2,
        run_delays_ns=ones,
        off_cpu_pcts=np.ones(2),
        total_iterations=4,
        total_cpu_time_ns=1,
        numa_pages_local=1,
        numa_pages_total=1,
        schbench=SchbenchPhaseStats(some, some, some, 5, 1, 5, 1, 2),
        taobench=TaobenchPhaseStats(TaobenchStats(4, 1, 2, 1, 10**9), some),
    )


def test_every_scalar_is_registered() -> None:
    carrier = full_carrier()
    own, engines = write_carrier_scalars(carrier), write_engine_scalars(carrier)
    assert (len(own), len(engines)) == (17, 6 + 6 + 5 + 3 + 6 + 5)
    whole = CgroupStats("a", 2, taobench_whole=TaobenchStats(4, 1, 2, 1, 10**9))
    stats = ScenarioStats.from_cgroups([whole], phases=[phase(1, a=carrier)])
    run = populate_run_ext_all(stats, SampleSeries.empty()).ext_metrics
    unknown = {name for name in (*own, *engines, *run) if metric_def(name) is None}
    assert unknown == set()


def test_what_a_phase_derives_never_reaches_the_run() -> None:
    whole = CgroupStats("a", 2, taobench_whole=TaobenchStats(4, 1, 2, 1, 10**9))
    before = ScenarioStats.from_cgroups(
        [whole], phases=[phase(1, a=full_carrier()), phase(2, a=full_carrier())]
    )
    after = ScenarioStats.from_cgroups([whole], phases=derive_phase_metrics(before.phases))
    assert before.phases != after.phases
    runs = [populate_run_ext_all(stats, SampleSeries.empty()) for stats in (before, after)]
    assert runs[0].ext_metrics == runs[1].ext_metrics
    assert derive_phase_metrics(after.phases) == list(after.phases)
