# SPDX-License-Identifier: GPL-2.0-only
"""The order of the eight steps, by what happens when two neighbours change places.

The first step comes before the second because the second keeps what it finds. Every later step
writes a family of its own and reads only the run, never the map: with the registry as it is, those
cannot be told apart by a swap. Each of them but the last also divides components that are in the
map by then, so the order shows as soon as a rate spans two families; a registry with such a rate
stands in for that here.
"""

from collections.abc import Callable

import numpy as np
import pytest

from ktstr.metrics import METRICS, Phase, PhaseBucket, ScenarioStats, populate_run_ext_all
from ktstr.metrics import aggregate as aggregate_module
from ktstr.metrics import populate as populate_module
from ktstr.metrics.kinds import (
    Counter,
    Distribution,
    Peak,
    PerRunDistribution,
    Rate,
    WakeLatencyTailRatio,
    WorstCrossNodeRatio,
    WorstLowest,
)
from ktstr.series.host import HostReading, PerCpuTime
from ktstr.series.sample import Sample, SampleSeries
from ktstr.series.snapshot import SchedExtState, Snapshot
from ktstr.telemetry import (
    CgroupStats,
    PhaseCgroupStats,
    PlatStats,
    SchbenchPhaseStats,
    TaobenchPhaseStats,
    TaobenchStats,
)

STEPS = (
    "populate_run_ext_metrics",
    "populate_run_ext_metrics_from_phases",
    "populate_run_pooled_iterations_per_cpu_sec",
    "populate_run_pooled_taobench",
    "populate_run_pooled_taobench_distribution",
    "populate_run_pooled_schbench",
    "populate_run_pooled_schbench_distribution",
    "populate_run_distribution_metrics",
)


def reading(number: int, ms: int, hardirqs: int) -> Sample:
    host = HostReading(per_cpu_time=(PerCpuTime(0, hardirqs),))
    snapshot = Snapshot("7.2", (), (), SchedExtState(), host=host)
    return Sample(f"periodic_{number:03}", ms, ms, 1, snapshot)


SERIES = SampleSeries([reading(0, 1000, 100), reading(1, 3000, 500)])
TIMES = PlatStats.from_values(np.array([3, 4], dtype=np.uint64))


def run(**phase_metrics: float) -> ScenarioStats:
    """A run in which every step finds something to write."""
    carrier = PhaseCgroupStats(
        num_workers=1,
        wake_latencies_ns=np.array([1000, 2000], dtype=np.uint64),
        wake_sample_total=2,
        schbench=SchbenchPhaseStats(TIMES, msg_run_delay_ns=8, msg_pcount=2, loop_count=5),
        taobench=TaobenchPhaseStats(TaobenchStats(), TIMES),
    )
    whole = TaobenchStats(fast_ops=0, slow_ops=0, get_cmds=4, elapsed_ns=10**9)
    cgroup = CgroupStats("a", 1, total_iterations=50, total_cpu_time_ns=1, taobench_whole=whole)
    bucket = PhaseBucket(1, str(Phase(1)), 0, 9, 1, phase_metrics, {"a": carrier})
    return ScenarioStats.from_cgroups([cgroup], phases=[bucket])


def populate(stats: ScenarioStats, order: tuple[str, ...] = STEPS) -> dict[str, float]:
    """The steps one after the other, in any order."""
    arguments = {
        "populate_run_ext_metrics": SERIES,
        "populate_run_distribution_metrics": stats,
        "populate_run_pooled_iterations_per_cpu_sec": stats.cgroups,
        "populate_run_pooled_taobench": stats.cgroups,
    }
    target: dict[str, float] = {}
    for name in order:
        step: Callable[..., None] = getattr(populate_module, name)
        step(arguments.get(name, stats.phases), target)
    return target


def swapped(first: int) -> tuple[str, ...]:
    """The order with step ``first``, counted from 1, and the next in each other's place."""
    order = list(STEPS)
    order[first - 1], order[first] = order[first], order[first - 1]
    return tuple(order)


def written_by(name: str, stats: ScenarioStats) -> set[str]:
    return set(populate(stats, (name,)))


def test_the_steps_are_run_in_the_stated_order(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []
    for name in STEPS:
        monkeypatch.setattr(populate_module, name, lambda *_, name=name: called.append(name))
    populate_run_ext_all(run(), SERIES)
    assert tuple(called) == STEPS


def test_the_whole_run_is_read_before_its_phases() -> None:
    # 400 interrupts over the whole run's 2 s; the phases saw 90 of them in 0.5 s.
    stats = run(total_hardirqs=90.0, total_phase_wall_sec=0.5)
    right, wrong = populate(stats), populate(stats, swapped(1))
    assert (right["total_hardirqs"], right["total_phase_wall_sec"]) == (400.0, 2.0)
    assert (right["hardirq_rate"], wrong["hardirq_rate"]) == (200.0, 180.0)
    assert populate_run_ext_all(stats, SERIES).ext_metrics == right


def test_phases_come_before_the_counters_that_replace_theirs() -> None:
    # Steps 2 and 4, two apart: the fraction of the phases outlives a run without operations.
    stats = run(total_taobench_ops=10.0, total_taobench_fast_ops=5.0)
    assert populate(stats)["taobench_hit_fraction"] == 0.5
    order = (STEPS[0], STEPS[3], STEPS[1], *STEPS[4:])
    assert "taobench_hit_fraction" not in populate(stats, order)


@pytest.mark.parametrize("first", range(2, 8))
def test_later_neighbours_write_families_of_their_own(first: int) -> None:
    stats = run(total_cpu_time_sec=7.0, total_iterations_pooled=14.0, total_pcount=2.0)
    one, two = STEPS[first - 1], STEPS[first]
    assert written_by(one, stats) and written_by(two, stats)
    if first > 2:  # the second step writes whatever phases hold, and the third replaces it
        assert written_by(one, stats).isdisjoint(written_by(two, stats))
    assert populate(stats) == populate(stats, swapped(first))


@pytest.mark.parametrize(
    ("first", "numerator", "denominator", "phase_metrics"),
    [
        # The rate of the phases' components stays when the better ones cannot be divided.
        (2, "total_pcount", "total_cpu_time_sec", {"total_pcount": 1e305}),
        (3, "total_iterations_pooled", "total_taobench_ops", {"total_taobench_ops": 10.0}),
        # A distribution is divided by the step after it, not by its own.
        (4, "taobench_serve_p50_us_whole", "total_taobench_wall_sec", {}),
        (5, "taobench_serve_p50_us_whole", "total_schbench_loops", {}),
        (6, "wakeup_p50_latency_us_whole", "total_schbench_loops", {}),
    ],
)
def test_a_rate_over_two_families_shows_the_order(
    monkeypatch: pytest.MonkeyPatch,
    first: int,
    numerator: str,
    denominator: str,
    phase_metrics: dict[str, float],
) -> None:
    rates = (*aggregate_module.RATES, ("spanning", Rate(numerator, denominator)))
    monkeypatch.setattr(aggregate_module, "RATES", rates)
    stats = run(total_cpu_time_sec=1.0, **phase_metrics)
    order = STEPS if first != 4 else STEPS[:5]  # without the later step that divides again
    right = populate(stats, order)
    other = populate(stats, tuple(name for name in swapped(first) if name in order))
    assert right != other
    assert ("spanning" in right) != ("spanning" in other)


def test_the_last_two_steps_cannot_meet() -> None:
    # Neither divides, and each writes kinds of metrics that the other never does.
    stats = run()
    kinds = {metric.name: metric.kind for metric in METRICS}
    seventh, last = (written_by(name, stats) for name in STEPS[6:])
    assert seventh and all(isinstance(kinds[name], PerRunDistribution) for name in seventh)
    assert last and all(
        isinstance(
            kinds[name], Distribution | WorstLowest | WakeLatencyTailRatio | WorstCrossNodeRatio
        )
        for name in last
    )
    assert not any(isinstance(kinds[name], Counter | Peak) for name in seventh | last)
