# SPDX-License-Identifier: GPL-2.0-only
"""Engine components: how they merge, travel in slices and reports, and reach the carriers."""

import numpy as np
import pytest

from ktstr.telemetry import (
    PhaseCgroupStats,
    PhaseSlice,
    PlatStats,
    SchbenchPhaseStats,
    TaobenchPhaseStats,
    TaobenchStats,
    TelemetryError,
    WorkerReport,
    cgroup_stats,
    phase_slice_carriers,
)

U64_MAX = 2**64 - 1


def plat(*values: int) -> PlatStats:
    return PlatStats.from_values(np.array(values, dtype=np.uint64))


def test_schbench_merges_component_by_component() -> None:
    a = SchbenchPhaseStats(plat(1, 2), plat(30), plat(4), 100, 2, 300, 4, 50)
    b = SchbenchPhaseStats(plat(3), plat(10, 20), plat(), 1, 20, 3, 40, U64_MAX)
    assert a.merge(b) == SchbenchPhaseStats(
        plat(1, 2, 3), plat(10, 20, 30), plat(4), 101, 22, 303, 44, U64_MAX
    )


def test_taobench_adds_operations_and_shares_the_window() -> None:
    a = TaobenchStats(get_cmds=10, get_misses=2, fast_ops=7, slow_ops=2, elapsed_ns=900)
    b = TaobenchStats(get_cmds=U64_MAX, get_misses=3, fast_ops=1, slow_ops=1, elapsed_ns=500)
    assert a.merge(b) == b.merge(a) == TaobenchStats(U64_MAX, 5, 8, 3, 900)
    assert (a.total_ops, a.get_hits) == (9, 8)
    assert TaobenchStats(fast_ops=U64_MAX, slow_ops=1).total_ops == U64_MAX
    assert TaobenchStats(get_cmds=1, get_misses=2).get_hits == 0


def test_a_taobench_phase_merges_counters_and_latencies() -> None:
    a = TaobenchPhaseStats(TaobenchStats(1, 1, 1, 1, 1), plat(5))
    b = TaobenchPhaseStats(TaobenchStats(2, 2, 2, 2, 2), plat(6))
    assert a.merge(b) == TaobenchPhaseStats(TaobenchStats(3, 3, 3, 3, 2), plat(5, 6))


def test_a_carrier_keeps_the_engine_only_one_side_ran() -> None:
    schbench = SchbenchPhaseStats(wakeup=plat(1), loop_count=3)
    taobench = TaobenchPhaseStats(TaobenchStats(fast_ops=2))
    one, other = PhaseCgroupStats(schbench=schbench), PhaseCgroupStats(taobench=taobench)
    for merged in (one.merge(other), other.merge(one)):
        assert (merged.schbench, merged.taobench) == (schbench, taobench)
    twice = one.merge(one)
    assert twice.schbench is not None and twice.taobench is None
    assert (twice.schbench.wakeup, twice.schbench.loop_count) == (plat(1, 1), 6)


def test_slices_carry_the_engines_to_their_steps() -> None:
    schbench = SchbenchPhaseStats(request=plat(8), loop_count=1)
    taobench = TaobenchPhaseStats(TaobenchStats(slow_ops=4, elapsed_ns=9), plat(7))
    parts = (PhaseSlice(1, schbench=schbench), PhaseSlice(2, taobench=taobench))
    found = phase_slice_carriers([WorkerReport(phase_slices=parts)] * 2)
    assert (found[1].taobench, found[2].schbench) == (None, None)
    assert found[1].schbench == SchbenchPhaseStats(request=plat(8, 8), loop_count=2)
    assert found[2].taobench == TaobenchPhaseStats(
        TaobenchStats(slow_ops=8, elapsed_ns=9), plat(7, 7)
    )


def test_a_cgroup_pools_the_whole_runs_counters() -> None:
    ran = [
        WorkerReport(taobench_whole=TaobenchStats(5, 1, 3, 1, 700)),
        WorkerReport(),
        WorkerReport(taobench_whole=TaobenchStats(7, 2, 4, 1, 800)),
    ]
    assert cgroup_stats(ran).taobench_whole == TaobenchStats(12, 3, 7, 2, 800)
    assert cgroup_stats(ran[1:2]).taobench_whole is None
    measured_zero = cgroup_stats([WorkerReport(taobench_whole=TaobenchStats())])
    assert measured_zero.taobench_whole == TaobenchStats()


def test_a_worker_without_engines_may_leave_the_keys_out() -> None:
    wire = WorkerReport(phase_slices=(PhaseSlice(1),)).to_wire()
    parts = wire["phase_slices"]
    assert isinstance(parts, list)
    assert parts[0]["schbench"] is None and parts[0]["taobench"] is None
    del parts[0]["schbench"], parts[0]["taobench"]
    assert WorkerReport.from_wire(wire).phase_slices == (PhaseSlice(1),)


@pytest.mark.parametrize(
    ("engine", "path", "value"),
    [
        ("schbench", "wakeup.nr_samples", 5),
        ("schbench", "msg_pcount", -1),
        ("schbench", "loop_count", 2**64),
        ("taobench", "counters.fast_ops", True),
        ("taobench", "counters.elapsed_ns", 1.5),
        ("taobench", "serve_lat.max", 1),
        ("taobench", "serve_lat", None),
    ],
)
def test_a_hostile_engine_names_its_field(engine: str, path: str, value: object) -> None:
    part = PhaseSlice(1, schbench=SchbenchPhaseStats(), taobench=TaobenchPhaseStats())
    wire = WorkerReport(phase_slices=(part,)).to_wire()
    parts = wire["phase_slices"]
    assert isinstance(parts, list)
    *outer, last = path.split(".")
    place = parts[0][engine]
    for name in outer:
        place = place[name]
    place[last] = value
    with pytest.raises(TelemetryError, match="worker 3") as caught:
        WorkerReport.from_wire(wire, worker="worker 3")
    assert caught.value.field == f"phase_slices[0].{engine}.{path}"
