# SPDX-License-Identifier: GPL-2.0-only
"""Laws of verdicts."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ktstr.errors import ExitCode
from ktstr.telemetry import TaggedReport, WorkerReport
from ktstr.verdict import (
    Assert,
    AssertDetail,
    AssertResult,
    DetailKind,
    Fail,
    Inconclusive,
    Outcome,
    Pass,
    Skip,
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
    max_gap_ms=st.one_of(st.none(), st.integers(0, 5000)),
    max_spread_pct=st.one_of(st.none(), st.floats(0, 100)),
    min_iteration_rate=st.one_of(st.none(), st.floats(0, 1e6)),
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
            iterations=draw(st.integers(0, 10**7)),
            wall_time_ns=wall,
            off_cpu_ns=draw(st.integers(0, wall)),
            max_gap_ms=draw(st.integers(0, 6000)),
            cpus_used=draw(st.frozensets(st.integers(0, 3))),
        )
        step, cgroup = draw(st.integers(0, 2)), draw(st.sampled_from("ab"))
        reports.append(TaggedReport(step, cgroup, 0, 0, number, "Mixed", report))
    return reports


@PURE
@given(CHECKS, tagged_reports(), st.randoms(use_true_random=False))
def test_a_verdict_is_never_silent_and_never_depends_on_order(
    checks: Assert, reports: list[TaggedReport], random: Any
) -> None:
    cpusets = {(1, "a"): frozenset({0, 1}), (2, "b"): None}
    result = evaluate(checks, reports, cpusets)
    if checks.asks_for_anything() or any(t.report.is_sentinel for t in reports):
        assert not result.nothing_evaluated()
    shuffled = list(reports)
    random.shuffle(shuffled)
    assert evaluate(checks, shuffled, cpusets).to_plain() == result.to_plain()
