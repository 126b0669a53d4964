# SPDX-License-Identifier: GPL-2.0-only
"""Laws of reports and carriers: the wire loses nothing, merging forgets nothing."""

from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ktstr.telemetry import (
    CgroupStats,
    Exited,
    Migration,
    Panicked,
    Pct,
    PhaseCgroupStats,
    PhaseSlice,
    PlatStats,
    RecordError,
    SchbenchPhaseStats,
    Signaled,
    TaggedReport,
    TaobenchPhaseStats,
    TaobenchStats,
    TelemetryError,
    TimedOut,
    WaitFailed,
    WorkerReport,
    cgroup_stats,
    phase_cgroup_stats,
    phase_slice_carriers,
    weighted_merge_reservoirs,
)
from ktstr.telemetry.decode import Fields
from ktstr.telemetry.xorshift import xorshift64_stream

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
    st.builds(Panicked, st.text(max_size=20)),
)
MICROSECONDS = st.lists(
    st.one_of(st.integers(0, 600), st.integers(0, 2**32 - 1), st.just(2**64 - 1)), max_size=8
)


def vector(values: list[int]) -> np.ndarray:
    return np.array(values, dtype=np.uint64)


HISTOGRAM = MICROSECONDS.map(vector).map(PlatStats.from_values)
SCHBENCH = st.builds(SchbenchPhaseStats, HISTOGRAM, HISTOGRAM, HISTOGRAM, U64, U64, U64, U64, U64)
TAOBENCH_COUNTERS = st.builds(TaobenchStats, U64, U64, U64, U64, U64)
TAOBENCH = st.builds(TaobenchPhaseStats, TAOBENCH_COUNTERS, HISTOGRAM)


@st.composite
def reservoirs(draw: st.DrawFn) -> tuple[np.ndarray, int]:
    values = draw(st.lists(U64, max_size=6))
    return vector(values), draw(st.integers(len(values), 2**64 - 1))


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
        draw(st.none() | SCHBENCH),
        draw(st.none() | TAOBENCH),
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
        taobench_whole=draw(st.none() | TAOBENCH_COUNTERS),
    )


FINITE = st.floats(allow_nan=False, allow_infinity=False)
NAMED = st.dictionaries(st.text(max_size=8), FINITE, max_size=3)


@st.composite
def carriers(draw: st.DrawFn) -> PhaseCgroupStats:
    return PhaseCgroupStats(
        draw(st.integers(0, 1000)),
        draw(st.frozensets(CPU, max_size=3)),
        *draw(reservoirs()),
        *draw(reservoirs()),
        vector(draw(st.lists(U64, max_size=4))),
        np.array(draw(st.lists(FINITE, max_size=4)), dtype=np.float64),
        draw(U64),
        draw(U64),
        draw(U64),
        draw(st.none() | U64),
        draw(U64),
        draw(U64),
        draw(U64),
        draw(CPU),
        draw(st.booleans()),
        draw(NAMED),
        draw(st.none() | SCHBENCH),
        draw(st.none() | TAOBENCH),
    )


CGROUP_STATS = st.builds(
    CgroupStats,
    cgroup_name=st.text(max_size=20),
    num_workers=st.integers(0, 1000),
    cpus_used=st.frozensets(CPU, max_size=3),
    num_cpus=st.integers(0, 8192),
    avg_off_cpu_pct=st.none() | FINITE,
    spread=st.none() | FINITE,
    max_gap_ms=U64,
    max_gap_cpu=CPU,
    total_iterations=U64,
    p99_wake_latency_us=FINITE,
    wake_measured=st.booleans(),
    page_locality=st.none() | FINITE,
    taobench_whole=st.none() | TAOBENCH_COUNTERS,
    ext_metrics=NAMED,
)


@PURE
@given(worker_reports(), st.integers(0, 65_535), st.booleans())
def test_a_report_survives_the_wire(report: WorkerReport, step: int, stripped: bool) -> None:
    tagged = TaggedReport(step, "cg", 1, 2, 3, "Mixed", report, stripped)
    packed = msgpack.packb(tagged.to_wire(), use_bin_type=True)
    assert TaggedReport.from_wire(msgpack.unpackb(packed, strict_map_key=False)) == tagged


@PURE
@given(st.one_of(worker_reports(), carriers(), slices(), CGROUP_STATS, SCHBENCH, TAOBENCH))
def test_everything_survives_both_forms(thing: Any) -> None:
    assert type(thing).from_record(thing.to_record(), "it") == thing
    packed = msgpack.packb(thing.to_wire(), use_bin_type=True)
    wire = msgpack.unpackb(packed, strict_map_key=False)
    read = type(thing).read(Fields(wire, "it", error=TelemetryError))
    assert read == thing
    assert read.to_record().keys() == thing.to_record().keys()


def assert_text_keys(value: object) -> None:
    """Only what a sidecar can hold."""
    if isinstance(value, dict):
        assert all(type(key) is str for key in value)
        for item in value.values():
            assert_text_keys(item)
    elif isinstance(value, list):
        for item in value:
            assert_text_keys(item)
    else:
        assert value is None or type(value) in (bool, int, float, str, np.ndarray)


@PURE
@given(st.one_of(worker_reports(), carriers(), CGROUP_STATS))
def test_a_record_holds_plain_values_and_arrays(thing: Any) -> None:
    assert_text_keys(thing.to_record())


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


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value in nested maps and lists."""
    found = [path] if path else []
    inner = value.items() if isinstance(value, dict) else ()
    inner = enumerate(value) if isinstance(value, list) else inner
    for key, item in inner:
        found += places(item, (*path, key))
    return found


@PURE
@given(carriers(), st.data())
def test_a_damaged_carrier_is_read_or_refused_and_nothing_else(
    carrier: PhaseCgroupStats, data: st.DataObject
) -> None:
    record: Any = carrier.to_record()
    *way, last = data.draw(st.sampled_from(places(record)))
    place = record
    for key in way:
        place = place[key]
    place[last] = data.draw(JUNK)
    try:
        read = PhaseCgroupStats.from_record(record, "cgroup 'a' of phase 2")
    except RecordError as error:
        assert str(error).startswith("cgroup 'a' of phase 2: field ")
        assert error.field.split(".")[0].split("[")[0] == (way or [last])[0]
    else:
        assert PhaseCgroupStats.from_record(read.to_record(), "it") == read


@PURE
@given(JUNK)
def test_junk_is_never_a_report(junk: Any) -> None:
    with pytest.raises(TelemetryError):
        WorkerReport.from_wire(junk)
    with pytest.raises(RecordError):
        PhaseCgroupStats.from_record(junk, "it")


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


@PURE
@given(carriers(), carriers(), carriers())
def test_carriers_of_every_kind_merge_associatively(
    x: PhaseCgroupStats, y: PhaseCgroupStats, z: PhaseCgroupStats
) -> None:
    assert x.merge(y).merge(z) == x.merge(y.merge(z))
    assert x.merge(y).metrics == {}


@PURE
@given(st.lists(st.lists(slices(), max_size=3), min_size=1, max_size=4), st.integers(0, 4))
def test_slices_fold_in_pieces_as_at_once(parts: list[list[PhaseSlice]], cut: int) -> None:
    reports = [WorkerReport(phase_slices=tuple(each)) for each in parts]
    head, tail = phase_slice_carriers(reports[:cut]), phase_slice_carriers(reports[cut:])
    pieces = {
        step: head[step].merge(tail[step]) if step in head and step in tail else (head | tail)[step]
        for step in head.keys() | tail.keys()
    }
    assert pieces == phase_slice_carriers(reports)


def slow_bucket(value: int) -> int:
    """The bucket, bit by bit."""
    shift = max(value.bit_length() - 9, 0)
    return min(value if shift == 0 else (shift + 1) * 256 + (value >> shift) % 256, 4863)


def slow_middle(bucket: int) -> int:
    """The value halfway between the first of this bucket and the first of the next."""
    if bucket < 512:
        return bucket
    shift = bucket // 256 - 1
    first = (256 + bucket % 256) << shift
    return first + 2**shift // 2


@PURE
@given(MICROSECONDS, MICROSECONDS)
def test_histograms_against_plain_lists(left: list[int], right: list[int]) -> None:
    both = PlatStats.from_values(vector(left)).combine(PlatStats.from_values(vector(right)))
    assert both == PlatStats.from_values(vector(left + right))
    values = sorted(min(value, 2**32 - 1) for value in left + right)
    buckets = [slow_bucket(value) for value in values]
    assert {int(b): int(both.plat[b]) for b in np.flatnonzero(both.plat)} == {
        b: buckets.count(b) for b in buckets
    }
    assert (both.nr_samples, both.max) == (len(values), max(values, default=0))
    assert both.min == min((value for value in values if value), default=0)
    for pct, thousandths in zip(Pct, (200, 500, 900, 990, 999), strict=True):
        reached = [b for i, b in enumerate(buckets, 1) if i * 1000 >= thousandths * len(values)]
        assert both.percentile(pct) == (slow_middle(reached[0]) if reached else 0)


def slow_step(x: int) -> int:
    x ^= (x << 13) % 2**64
    x ^= x >> 7
    return x ^ (x << 17) % 2**64


@PURE
@given(st.integers(1, 2**64 - 1), st.integers(0, 700))
def test_the_stream_is_the_plain_loop(seed: int, count: int) -> None:
    expected, state = [], seed
    for _ in range(count):
        state = slow_step(state)
        expected.append(state)
    assert xorshift64_stream(seed, count).tolist() == expected


def slow_merge(a: list[int], w_a: int, b: list[int], w_b: int, cap: int) -> list[int]:
    def rotated(x: int, by: int) -> int:
        return (x << by) % 2**64 | x >> (64 - by)

    mixed = w_a ^ rotated(w_b, 32) ^ rotated(len(a), 16) ^ len(b)
    state = mixed * 0x9E3779B97F4A7C15 % 2**64 or 0x9E3779B97F4A7C15
    if w_a == w_b == 0:
        w_a, w_b = len(a), len(b)
    drawn = []
    for _ in range(cap if a or b else 0):
        state = slow_step(state)
        source = a if not b or (a and state % (w_a + w_b) < w_a) else b
        state = slow_step(state)
        drawn.append(source[state % len(source)])
    return drawn


WEIGHT = st.one_of(st.integers(0, 3), st.integers(0, 2**63 - 1))


@PURE
@given(st.lists(U64, max_size=9), WEIGHT, st.lists(U64, max_size=9), WEIGHT, st.integers(0, 150))
def test_a_weighted_merge_is_the_plain_loop(
    a: list[int], w_a: int, b: list[int], w_b: int, cap: int
) -> None:
    merged = weighted_merge_reservoirs(vector(a), w_a, vector(b), w_b, cap)
    assert merged.dtype == np.uint64
    assert merged.tolist() == slow_merge(a, w_a, b, w_b, cap)


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
