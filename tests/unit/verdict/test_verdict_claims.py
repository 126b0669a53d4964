# SPDX-License-Identifier: GPL-2.0-only
"""Claims: every comparator's confirmation and failure text, typed by hand."""

import math
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from ktstr.metrics.phase import Phase
from ktstr.telemetry import CgroupStats, Migration, PhaseCgroupStats, Signaled, WorkerReport
from ktstr.verdict import (
    COMPARATOR_VOCABULARY,
    Assert,
    AssertResult,
    CgroupClaims,
    DetailKind,
    PassDetail,
    PhaseCgroupClaims,
    ReportClaims,
    SeqClaim,
    SetClaim,
    Verdict,
    current_phase_label,
    phase_label,
)

# claim, comparator, shown value, shown limit, a claim that fails, its message
SCALARS: list[tuple[Any, ...]] = [
    (lambda v: v.claim("x", 3).eq(3), "eq", "3", "3"),
    (lambda v: v.claim("x", 3).ne(4), "ne", "3", "4"),
    (lambda v: v.claim("x", 3).at_least(3), "ge", "3", "3"),
    (lambda v: v.claim("x", 2.5).at_most(2.5), "le", "2.5", "2.5"),
    (lambda v: v.claim("x", 3).lt(4), "lt", "3", "4"),
    (lambda v: v.claim("x", 3).gt(2), "gt", "3", "2"),
    (lambda v: v.claim("x", 3).between(3, 3), "in_range", "3", "[3, 3]"),
    (lambda v: v.claim("x", 2.5).near(2.0, 0.5), "near_within", "2.5", "2.0 ± 0.5"),
    (lambda v: v.claim("x", math.inf).near(math.inf, 0.0), "near_within", "inf", "inf ± 0.0"),
    (lambda v: v.claim("x", 2.5).is_finite(), "is_finite", "2.5", None),
    (lambda v: v.claim("x", None).eq(None), "eq", "none", "none"),
    (lambda v: v.claim("x", True).eq(True), "eq", "true", "true"),
    (lambda v: v.claim("x", "a\x1b").ne("b"), "ne", '"a\ufffd"', '"b"'),
]
SETS: list[tuple[Any, ...]] = [
    (lambda v: v.claim_set("x", set()).empty(), "set_is_empty", "0", None),
    (lambda v: v.claim_set("x", {1}).nonempty(), "set_is_non_empty", "1", None),
    (lambda v: v.claim_set("x", {1, 5}).len_eq(2), "set_len_eq", "2", "2"),
    (lambda v: v.claim_set("x", {1, 5}).len_at_most(3), "set_len_le", "2", "3"),
    (lambda v: v.claim_set("x", {1, 5}).len_at_least(1), "set_len_ge", "2", "1"),
    (lambda v: v.claim_set("x", {5, 1}).contains(1), "set_contains", "{1, 5}", "1"),
    (lambda v: v.claim_set("x", {1}).subset_of({2, 1}), "subset_of", "{1}", "{1, 2}"),
    (lambda v: v.claim_set("x", {1}).disjoint_from({2}), "disjoint_from", "{1}", "{2}"),
]
SEQUENCES: list[tuple[Any, ...]] = [
    (lambda v: v.claim_seq("x", []).empty(), "sequence_is_empty", "0", None),
    (lambda v: v.claim_seq("x", (7,)).nonempty(), "sequence_is_non_empty", "1", None),
    (lambda v: v.claim_seq("x", [7, 7]).len_eq(2), "sequence_len_eq", "2", "2"),
    (lambda v: v.claim_seq("x", [7]).len_at_most(1), "sequence_len_le", "1", "1"),
    (lambda v: v.claim_seq("x", [7]).len_at_least(0), "sequence_len_ge", "1", "0"),
    (lambda v: v.claim_seq("x", [9, 7]).contains(7), "sequence_contains", "[9, 7]", "7"),
]


@pytest.mark.parametrize(("claim", "comparator", "value", "expected"), SCALARS + SETS + SEQUENCES)
def test_what_holds_is_confirmed(
    claim: Callable[[Verdict], object], comparator: str, value: str, expected: str | None
) -> None:
    verdict = Verdict()
    claim(verdict)
    result = verdict.into_result()
    assert result.passes == [PassDetail("x", comparator, value, expected)]
    assert result.outcomes == []
    assert verdict.passed and not result.nothing_evaluated()


def test_sets_and_sequences_have_no_order() -> None:
    for name in ("at_least", "at_most", "lt", "gt", "between", "near"):
        assert not hasattr(SetClaim, name) and not hasattr(SeqClaim, name)
    assert not hasattr(SeqClaim, "subset_of")


def test_the_vocabulary_is_what_claims_use() -> None:
    assert {row[1] for row in SCALARS + SETS + SEQUENCES} == COMPARATOR_VOCABULARY
    assert len(COMPARATOR_VOCABULARY) == 23


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        (lambda v: v.claim("x", 3).eq(4), "x: expected 4, was 3"),
        (lambda v: v.claim("x", 3).ne(3), "x: expected != 3, was 3"),
        (lambda v: v.claim("x", 3).at_least(4), "x: expected at least 4, was 3"),
        (lambda v: v.claim("x", 3).at_most(2), "x: expected at most 2, was 3"),
        (lambda v: v.claim("x", 3).lt(3), "x: expected less than 3, was 3"),
        (lambda v: v.claim("x", 3).gt(3), "x: expected greater than 3, was 3"),
        (lambda v: v.claim("x", math.nan).at_least(0.0), "x: expected at least 0.0, was nan"),
        (lambda v: v.claim("x", 3).between(4, 9), "x: expected between 4 and 9, was 3"),
        (lambda v: v.claim("x", 3).between(9, 4), "x: caller error: interval inverted [9, 4]"),
        (
            lambda v: v.claim("x", 3.0).between(math.nan, 4.0),
            "x: caller error: interval inverted [nan, 4.0]",
        ),
        (lambda v: v.claim("x", 2.6).near(2.0, 0.5), "x: expected within 0.5 of 2.0, was 2.6"),
        (lambda v: v.claim("x", 2.0).near(2.0, -1.0), "x: caller error: tolerance negative -1.0"),
        (
            lambda v: v.claim("x", math.inf).near(-math.inf, 1.0),
            "x: expected within 1.0 of -inf, was inf",
        ),
        (lambda v: v.claim("x", math.inf).is_finite(), "x: expected finite, was inf"),
        (lambda v: v.claim_set("x", {3, 1}).empty(), "x: expected empty, was 2: {1, 3}"),
        (lambda v: v.claim_set("x", set()).nonempty(), "x: expected not empty, was empty"),
        (lambda v: v.claim_set("x", {1}).len_eq(2), "x: expected 2 elements, was 1: {1}"),
        (
            lambda v: v.claim_set("x", {1, 2}).len_at_most(1),
            "x: expected at most 1 element, was 2: {1, 2}",
        ),
        (
            lambda v: v.claim_set("x", {1}).len_at_least(2),
            "x: expected at least 2 elements, was 1: {1}",
        ),
        (lambda v: v.claim_set("x", {1}).contains(2), "x: expected to contain 2, was {1}"),
        (
            lambda v: v.claim_set("x", {1, 2, 9}).subset_of({1}),
            "x: expected subset of {1}, has {2, 9} beside",
        ),
        (
            lambda v: v.claim_set("x", {1, 2}).disjoint_from({2, 3}),
            "x: expected disjoint from {2, 3}, shares {2}",
        ),
        (
            lambda v: v.claim_seq("x", "ab").contains("c"),
            'x: expected to contain "c", was ["a", "b"]',
        ),
        (
            lambda v: v.claim_seq("x", range(12)).empty(),
            "x: expected empty, was 12: [0, 1, 2, 3, 4, 5, 6, 7, ... 4 more]",
        ),
    ],
)
def test_what_does_not_hold_fails(claim: Callable[[Verdict], object], message: str) -> None:
    verdict = Verdict()
    claim(verdict)
    result = verdict.into_result()
    assert [(d.kind, d.message) for d in result.failure_details()] == [(DetailKind.OTHER, message)]
    assert result.passes == []
    assert not verdict.passed


def test_a_reason_and_a_kind_hold_for_the_whole_claim() -> None:
    verdict = Verdict()
    claim = verdict.claim("gap", 70).at_most(50).because("idle host").at_least(1)
    verdict.claim("other", 1).eq(2)
    claim.kind(DetailKind.STUCK).eq(0)
    assert [d.display_with_kind() for d in verdict.into_result().failure_details()] == [
        "[Stuck] gap: expected at most 50, was 70 (idle host)",
        "[Other] other: expected 2, was 1",
        "[Stuck] gap: expected 0, was 70 (idle host)",
    ]


def test_sample_vectors_are_searched_as_they_are() -> None:
    big = 2**64 - 1
    vector = np.array([5, big], dtype=np.uint64)
    verdict = Verdict()
    verdict.claim_seq("samples", vector).contains(big).contains(5).len_eq(2)
    assert verdict.passed
    verdict.claim_seq("samples", vector).contains(big - 1).contains(-1).contains(2**64)
    assert verdict.detail_count == 3
    assert verdict.into_result().failure_details()[0].message == (
        f"samples: expected to contain {big - 1}, was [5, {big}]"
    )


def test_notes_skips_and_doubts() -> None:
    verdict = Verdict()
    verdict.note("a note")
    verdict.note_value("rate", 2.5)
    assert not verdict.skip_if(False, "no")
    assert verdict.skip_if(True, "one CPU only")
    result = verdict.into_result()
    assert result.is_skip() and not verdict.passed
    assert (verdict.detail_count, result.measurements) == (1, {"rate": 2.5})
    assert [note.message for note in result.info_notes] == ["a note"]
    verdict.inconclusive("no samples", DetailKind.MONITOR)
    assert verdict.into_result().is_inconclusive()


def test_verdicts_merge_in_order_and_claims_stay_amendable() -> None:
    first, second = Verdict(), Verdict(Assert(max_gap_ms=3))
    claim = first.claim("a", 1).eq(2)
    second.claim("b", 1).eq(2)
    second.claim("c", 1).eq(1)
    first.merge(second)
    first.merge(AssertResult.skip("late"))
    claim.because("amended")
    result = first.into_result()
    assert [d.message for d in result.failure_details()] == [
        "a: expected 2, was 1 (amended)",
        "b: expected 2, was 1",
    ]
    assert [p.name for p in result.passes] == ["c"]
    assert first.detail_count == 3
    assert second.checks.max_gap_ms == 3 and first.checks == Assert()


def test_confirmations_can_be_logged() -> None:
    seen: list[PassDetail] = []
    verdict = Verdict(log_passes=seen.append)
    verdict.claim("x", 1).eq(1).eq(2)
    verdict.claim_report(WorkerReport()).tid.eq(0)
    assert [p.name for p in seen] == ["x", "tid"]


REPORT = WorkerReport(
    tid=7,
    max_gap_ms=9,
    cpus_used=frozenset({0, 3}),
    migrations=(Migration(1, 0, 3),),
    migration_count=1,
    wake_latencies_ns=np.array([4, 8], dtype=np.uint64),
    wake_sample_total=2,
    completed=True,
    exit_info=Signaled(9),
)


def test_reports_are_claimed_by_field() -> None:
    verdict = Verdict()
    report = verdict.claim_report(REPORT, "worker 3")
    report.max_gap_ms.at_most(5)
    report.cpus_used.subset_of({0})
    report.migrations.len_eq(2)
    report.wake_latencies_ns.contains(8)
    report.exit_info.ne(None).eq(Signaled(9))
    report.affinity_error.eq(None)
    assert [d.message for d in verdict.into_result().failure_details()] == [
        "worker 3.max_gap_ms: expected at most 5, was 9",
        "worker 3.cpus_used: expected subset of {0}, has {3} beside",
        (
            "worker 3.migrations: expected 2 elements, was 1: "
            "[Migration(at_ns=1, from_cpu=0, to_cpu=3)]"
        ),
    ]
    assert [p.name.removeprefix("worker 3.") for p in verdict.into_result().passes] == [
        "wake_latencies_ns",
        "exit_info",
        "exit_info",
        "affinity_error",
    ]


@pytest.mark.parametrize(
    ("claims", "owner", "without"),
    [
        (ReportClaims, WorkerReport, {"numa_pages", "phase_slices", "taobench_whole"}),
        (CgroupClaims, CgroupStats, {"taobench_whole", "ext_metrics"}),
        (PhaseCgroupClaims, PhaseCgroupStats, {"metrics", "schbench", "taobench"}),
    ],
)
def test_every_field_can_be_claimed(claims: type, owner: type, without: set[str]) -> None:
    names = {item.name for item in fields(owner)}
    assert {name for name in vars(claims) if not name.startswith("_")} == names - without
    result = AssertResult()
    subject = claims(result, owner())
    for name in names - without:
        claim = getattr(subject, name)
        claim.eq(getattr(owner(), name)) if hasattr(claim, "eq") else claim.empty()
    assert {p.name for p in result.passes} == names - without
    assert result.outcomes == []


def test_other_statistics_are_claimed_by_field_too() -> None:
    verdict = Verdict()
    verdict.claim_cgroup(CgroupStats(spread=4.5), "left").spread.eq(None)
    verdict.claim_phase_cgroup(PhaseCgroupStats(num_workers=2)).num_workers.at_least(3)
    assert [d.message for d in verdict.into_result().failure_details()] == [
        "left.spread: expected none, was 4.5",
        "num_workers: expected at least 3, was 2",
    ]


def test_records_carry_the_phase_they_were_made_in() -> None:
    verdict = Verdict()
    with phase_label(Phase.step(0)):
        verdict.claim("x", 1).eq(2).eq(1)
        with phase_label("inner"):
            verdict.note("n")
        late = verdict.claim("y", 1).eq(2)
    late.because("amended outside")
    verdict.skip("whole run")
    result = verdict.into_result()
    assert [(d.message, d.phase) for d in result.failure_details()] == [
        ("x: expected 2, was 1", "Step[0]"),
        ("y: expected 2, was 1 (amended outside)", "Step[0]"),
    ]
    assert result.passes[0].phase == "Step[0]"
    assert result.info_notes[0].phase == "inner"
    assert result.skip_details()[0].phase is None
    assert current_phase_label() is None


def test_a_phase_ends_with_its_block_even_by_an_exception() -> None:
    with pytest.raises(KeyError), phase_label("a"):
        raise KeyError
    assert current_phase_label() is None
    assert replace(PassDetail("n", "eq", "1"), name="m").phase is None
