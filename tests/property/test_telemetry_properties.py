# SPDX-License-Identifier: GPL-2.0-only
"""Laws of reports and carriers: the wire loses nothing, merging forgets nothing."""

from typing import Any

import msgpack
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ktstr.telemetry import (
    Exited,
    Migration,
    PhaseCgroupStats,
    PhaseSlice,
    Signaled,
    TaggedReport,
    TelemetryError,
    TimedOut,
    WaitFailed,
    WorkerReport,
    cgroup_stats,
    phase_cgroup_stats,
)

# A busy machine is slow, which says nothing about the code.
PURE = settings(
    deadline=None,
    max_examples=60,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)

U64 = st.one_of(st.sampled_from([0, 1, 2**32, 2**63, 2**64 - 1]), st.integers(0, 2**64 - 1))
CPU = st.integers(0, 8191)
PAGES = st.dictionaries(st.integers(0, 1023), U64, max_size=3)
TEXT = st.one_of(st.none(), st.text(max_size=20))
EXIT = st.one_of(
    st.builds(Exited, st.integers(-(2**31), 2**31 - 1)),
    st.builds(Signaled, st.integers(1, 127)),
    st.just(TimedOut()),
    st.builds(WaitFailed, st.text(max_size=20)),
)


@st.composite
def reservoirs(draw: st.DrawFn) -> tuple[np.ndarray, int]:
    values = draw(st.lists(U64, max_size=6))
    total = draw(st.integers(len(values), 2**64 - 1))
    return np.array(values, dtype=np.uint64), total


@st.composite
def slices(draw: st.DrawFn) -> PhaseSlice:
    wake, timer, wall = draw(reservoirs()), draw(reservoirs()), draw(U64)
    return PhaseSlice(
        draw(st.one_of(st.integers(0, 65_535), st.just(2**32 - 1))),
        draw(st.frozensets(CPU, max_size=3)),
        *wake,
        *timer,
        draw(U64),
        draw(st.integers(0, wall)),
        wall,
        draw(U64),
        draw(U64),
        draw(U64),
        draw(PAGES),
        draw(U64),
        draw(U64),
        draw(CPU),
    )


@st.composite
def worker_reports(draw: st.DrawFn, living_only: bool = False) -> WorkerReport:
    wake, cost, timer = draw(reservoirs()), draw(reservoirs()), draw(reservoirs())
    migrations = draw(st.lists(st.builds(Migration, U64, CPU, CPU), max_size=3))
    wall = draw(U64)
    sentinel = not living_only and draw(st.booleans())
    return WorkerReport(
        tid=draw(st.integers(0, 2**31 - 1)),
        work_units=draw(U64),
        cpu_time_ns=draw(U64),
        wall_time_ns=wall,
        off_cpu_ns=draw(st.integers(0, wall)),
        migration_count=draw(st.integers(len(migrations), 2**64 - 1)),
        cpus_used=draw(st.frozensets(CPU, max_size=4)),
        migrations=tuple(migrations),
        max_gap_ms=draw(U64),
        max_gap_cpu=draw(CPU),
        max_gap_at_ms=draw(U64),
        wake_latencies_ns=wake[0],
        wake_sample_total=wake[1],
        iteration_costs_ns=cost[0],
        iteration_cost_sample_total=cost[1],
        timer_latencies_ns=timer[0],
        timer_sample_total=timer[1],
        iterations=draw(U64),
        schedstat_run_delay_ns=draw(U64),
        schedstat_run_count=draw(U64),
        schedstat_cpu_time_ns=draw(U64),
        completed=not sentinel,
        numa_pages=draw(PAGES),
        vmstat_numa_pages_migrated=draw(U64),
        exit_info=draw(EXIT) if sentinel else None,
        is_messenger=draw(st.booleans()),
        group_idx=draw(st.integers(0, 65_535)),
        affinity_error=draw(TEXT),
        sched_policy_error=draw(TEXT),
        phase_slices=() if living_only else tuple(draw(st.lists(slices(), max_size=2))),
    )


@PURE
@given(worker_reports(), st.integers(0, 65_535), st.booleans())
def test_a_report_survives_the_wire(report: WorkerReport, step: int, stripped: bool) -> None:
    tagged = TaggedReport(step, "cg", 1, 2, 3, "Mixed", report, stripped)
    packed = msgpack.packb(tagged.to_wire(), use_bin_type=True)
    assert TaggedReport.from_wire(msgpack.unpackb(packed, strict_map_key=False)) == tagged


JUNK: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=5),
    st.binary(max_size=20),
    st.lists(st.integers(-2, 9000), max_size=3),
    st.dictionaries(st.one_of(st.text(max_size=4), st.integers()), st.integers(), max_size=3),
)


@PURE
@given(worker_reports(), st.data())
def test_a_damaged_report_is_read_or_refused_and_nothing_else(
    report: WorkerReport, data: st.DataObject
) -> None:
    wire = TaggedReport(1, "cg", 0, 0, 3, "Mixed", report).to_wire()
    inner = wire["report"]
    assert isinstance(inner, dict)
    victim = data.draw(st.sampled_from(sorted(inner)))
    inner[victim] = data.draw(JUNK)
    try:
        read = TaggedReport.from_wire(wire)
    except TelemetryError as error:
        assert "worker 3 (Mixed) of cgroup 'cg' in step 1" in str(error)
    else:
        assert TaggedReport.from_wire(read.to_wire()) == read


@PURE
@given(JUNK)
def test_junk_is_never_a_report(junk: Any) -> None:
    try:
        WorkerReport.from_wire(junk)
    except TelemetryError:
        return
    raise AssertionError("junk was read as a report")


def carrier_of(reports: list[WorkerReport]) -> PhaseCgroupStats:
    return phase_cgroup_stats(reports, {0, 1})


REPORTS = st.lists(worker_reports(living_only=True), min_size=1, max_size=4)


@PURE
@given(REPORTS, REPORTS, REPORTS)
def test_merging_is_associative_below_the_cap(
    a: list[WorkerReport], b: list[WorkerReport], c: list[WorkerReport]
) -> None:
    x, y, z = carrier_of(a), carrier_of(b), carrier_of(c)
    assert x.merge(y).merge(z) == x.merge(y.merge(z))


@PURE
@given(REPORTS, st.integers(0, 5))
def test_all_at_once_equals_in_pieces(reports: list[WorkerReport], cut: int) -> None:
    whole = carrier_of(reports)
    if 0 < cut < len(reports):
        assert carrier_of(reports[:cut]).merge(carrier_of(reports[cut:])) == whole
    assert whole.num_workers == len(reports)


def slow_saturating(values: list[int]) -> int:
    total = 0
    for value in values:
        total = min(total + value, 2**64 - 1)
    return total


@PURE
@given(REPORTS)
def test_a_carrier_against_plain_lists(reports: list[WorkerReport]) -> None:
    whole = carrier_of(reports)
    assert whole.wake_latencies_ns.tolist() == [
        v for r in reports for v in r.wake_latencies_ns.tolist()
    ]
    assert whole.run_delays_ns.tolist() == [r.schedstat_run_delay_ns for r in reports]
    assert whole.total_iterations == slow_saturating([r.iterations for r in reports])
    assert whole.wake_sample_total == slow_saturating([r.wake_sample_total for r in reports])
    assert whole.numa_pages_total == slow_saturating(
        [pages for r in reports for pages in r.numa_pages.values()]
    )
    assert whole.numa_pages_local == slow_saturating(
        [pages for r in reports for node, pages in r.numa_pages.items() if node < 2]
    )
    assert whole.cross_node_migrated == max(r.vmstat_numa_pages_migrated for r in reports)
    worst = max(r.max_gap_ms for r in reports)
    assert (whole.max_gap_ms, whole.max_gap_cpu) == (
        worst,
        [r.max_gap_cpu for r in reports if r.max_gap_ms == worst][-1],
    )
    assert whole.off_cpu_pcts.tolist() == [
        r.off_cpu_ns / r.wall_time_ns * 100.0 for r in reports if r.wall_time_ns
    ]


@PURE
@given(REPORTS, st.randoms(use_true_random=False))
def test_the_order_of_reports_changes_no_bit(reports: list[WorkerReport], random: Any) -> None:
    shuffled = list(reports)
    random.shuffle(shuffled)
    one, other = cgroup_stats(reports), cgroup_stats(shuffled)
    names = [n for n in CGROUP_FIELDS if n != "max_gap_cpu"]  # the later of equal gaps
    assert [getattr(one, n) for n in names] == [getattr(other, n) for n in names]


CGROUP_FIELDS = tuple(cgroup_stats([]).__dataclass_fields__)
