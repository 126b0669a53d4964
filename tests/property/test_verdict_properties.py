# SPDX-License-Identifier: GPL-2.0-only
"""Laws of verdicts."""

import json
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ktstr.errors import ExitCode
from ktstr.telemetry import TaggedReport, WorkerReport
from ktstr.verdict import (
    WORKER_CHECKS,
    Assert,
    AssertDetail,
    AssertResult,
    DetailKind,
    Fail,
    Inconclusive,
    InfoNote,
    Outcome,
    Pass,
    PassDetail,
    Skip,
    Surroundings,
    Verdict,
    evaluate,
    exit_code,
)

# A busy machine is slow, which says nothing about the code.
PURE = settings(
    deadline=None,
    max_examples=60,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)

DETAIL = AssertDetail(DetailKind.OTHER, "x")
OUTCOMES = st.lists(
    st.sampled_from([Fail(DETAIL), Inconclusive(DETAIL), Pass(), Skip(DETAIL)]), max_size=8
)


@PURE
@given(OUTCOMES, OUTCOMES)
def test_precedence_is_by_presence(first: list[Outcome], second: list[Outcome]) -> None:
    kinds = {type(outcome) for outcome in first + second}
    merged = AssertResult(list(first)).merge(AssertResult(list(second)))
    if Fail in kinds:
        expected = ExitCode.FAIL
    elif Inconclusive in kinds or not kinds:
        expected = ExitCode.INCONCLUSIVE
    else:
        expected = ExitCode.PASS
    assert exit_code(merged) is expected
    assert exit_code(AssertResult(second + first)) is expected


FLAG = st.one_of(st.none(), st.booleans())
CHECKS = st.builds(
    Assert,
    not_starved=FLAG,
    isolation=FLAG,
    strict=FLAG,
    enforce_monitor_thresholds=FLAG,
    max_gap_ms=st.one_of(st.none(), st.integers(0, 5000)),
    **{
        name: st.one_of(st.none(), st.floats(0, high))
        for name, high in (
            ("max_spread_pct", 100),
            ("max_throughput_cv", 2),
            ("min_work_rate", 10),
            ("min_iteration_rate", 1e6),
            ("max_migration_ratio", 2),
            ("max_wake_latency_cv", 2),
            ("min_page_locality", 1),
            ("max_cross_node_migration_ratio", 2),
            ("max_slow_tier_ratio", 1),
            ("max_imbalance_ratio", 4),
        )
    },
)


@PURE
@given(CHECKS, CHECKS, CHECKS)
def test_levels_are_associative_with_an_identity(a: Assert, b: Assert, c: Assert) -> None:
    assert a.merge(b).merge(c) == a.merge(b.merge(c))
    assert a.merge(Assert()) == Assert().merge(a) == a


@st.composite
def tagged_reports(draw: st.DrawFn) -> list[TaggedReport]:
    reports = []
    for number in range(draw(st.integers(0, 5))):
        wall = draw(st.integers(0, 10**10))
        report = WorkerReport(
            completed=draw(st.booleans()),
            work_units=draw(st.integers(0, 3)),
            cpu_time_ns=draw(st.integers(0, wall)),
            migration_count=draw(st.integers(0, 9)),
            wake_latencies_ns=np.array(draw(st.lists(st.integers(0, 99))), dtype=np.uint64),
            wake_sample_total=draw(st.integers(100, 1000)),
            numa_pages=draw(st.dictionaries(st.integers(0, 2), st.integers(0, 9))),
            iterations=draw(st.integers(0, 10**7)),
            wall_time_ns=wall,
            off_cpu_ns=draw(st.integers(0, wall)),
            max_gap_ms=draw(st.integers(0, 6000)),
            cpus_used=draw(st.frozensets(st.integers(0, 3))),
        )
        step, cgroup = draw(st.integers(0, 2)), draw(st.sampled_from("ab"))
        reports.append(TaggedReport(step, cgroup, 0, 0, number, "Mixed", report))
    return reports


AROUND = Surroundings(
    cpusets={(1, "a"): frozenset({0, 1}), (2, "b"): None},
    expected_nodes={(1, "a"): frozenset({0})},
    memory_only_nodes={2},
)


@PURE
@given(CHECKS, tagged_reports(), st.randoms(use_true_random=False))
def test_a_verdict_is_never_silent_and_never_depends_on_order(
    checks: Assert, reports: list[TaggedReport], random: Any
) -> None:
    result = evaluate(checks, reports, AROUND)
    dead = any(tagged.report.is_sentinel for tagged in reports)
    # Spread alone, as not_starved brings it along, needs no second worker.
    if dead or any(check.in_force(checks) is not None for check in WORKER_CHECKS):
        assert not result.nothing_evaluated()
    assert result.is_fail() or not dead
    shuffled = list(reports)
    random.shuffle(shuffled)
    assert evaluate(checks, shuffled, AROUND) == result


RESULTS = st.builds(
    AssertResult,
    outcomes=OUTCOMES,
    passes=st.lists(st.builds(PassDetail, st.text(), st.sampled_from(["eq", "le"]), st.text())),
    measurements=st.dictionaries(
        st.text(),
        st.one_of(
            st.booleans(),
            st.integers(-(2**63), 2**64 - 1),
            st.floats(allow_nan=False, allow_infinity=False),
            st.text(),
        ),
    ),
    info_notes=st.lists(st.builds(InfoNote, st.text(), st.one_of(st.none(), st.text()))),
)


@PURE
@given(RESULTS)
def test_a_verdict_survives_its_record(result: AssertResult) -> None:
    again = AssertResult.from_record(json.loads(json.dumps(result.to_record())), "x")
    assert again == result
    assert [type(v) for v in again.measurements.values()] == [
        type(v) for v in result.measurements.values()
    ]


@PURE
@given(RESULTS, RESULTS, RESULTS)
def test_merging_is_associative_with_an_identity(
    a: AssertResult, b: AssertResult, c: AssertResult
) -> None:
    assert a.merge(b).merge(c) == a.merge(b.merge(c))
    assert a.merge(AssertResult()) == AssertResult().merge(a) == a


@PURE
@given(st.integers(), st.integers(), st.integers())
def test_comparators_agree_with_the_language(value: int, low: int, high: int) -> None:
    def passes(claim: Any) -> bool:
        verdict = Verdict()
        claim(verdict.claim("x", value))
        return verdict.passed

    assert passes(lambda c: c.at_least(low)) == (value >= low)
    assert passes(lambda c: c.lt(low)) != (value >= low)
    assert passes(lambda c: c.at_most(low)) == (value <= low)
    assert passes(lambda c: c.gt(low)) != (value <= low)
    assert passes(lambda c: c.eq(low)) == (value == low)
    assert passes(lambda c: c.between(low, high)) == (low <= value <= high)
