# SPDX-License-Identifier: GPL-2.0-only
"""Outcomes, their precedence, the accumulator and its exit status."""

import json
import math

import pytest

from ktstr.errors import ExitCode
from ktstr.metrics import ScenarioStats
from ktstr.telemetry import CgroupStats
from ktstr.verdict import (
    MAX_RECORDED_PASSES,
    PASSES_TRUNCATION_SENTINEL_NAME,
    AssertDetail,
    AssertResult,
    DeathCause,
    DetailKind,
    Fail,
    Inconclusive,
    Outcome,
    Pass,
    PassDetail,
    SchedulerDeath,
    Skip,
    exit_code,
    require_evaluated,
)

WHY = AssertDetail(DetailKind.OTHER, "why")
FAIL, INCONCLUSIVE, PASS, SKIP = Fail(WHY), Inconclusive(WHY), Pass(), Skip(WHY)


@pytest.mark.parametrize(
    ("outcomes", "strongest", "code"),
    [
        ([SKIP, PASS, INCONCLUSIVE, FAIL], FAIL, ExitCode.FAIL),
        ([SKIP, PASS, INCONCLUSIVE], INCONCLUSIVE, ExitCode.INCONCLUSIVE),
        ([SKIP, PASS], PASS, ExitCode.PASS),
        ([SKIP], SKIP, ExitCode.PASS),
    ],
)
@pytest.mark.parametrize("backwards", [False, True])
def test_precedence(
    outcomes: list[Outcome], strongest: Outcome, code: ExitCode, backwards: bool
) -> None:
    result = AssertResult(list(reversed(outcomes)) if backwards else list(outcomes))
    assert result.outcome() == strongest
    assert exit_code(result) is code
    flags = (result.is_fail(), result.is_inconclusive(), result.is_pass(), result.is_skip())
    assert flags == tuple(strongest == kind for kind in (FAIL, INCONCLUSIVE, PASS, SKIP))


def test_an_empty_result_is_a_pass_that_nothing_stands_for() -> None:
    result = AssertResult.pass_()
    assert result.outcome().is_pass()
    assert result.nothing_evaluated()
    assert exit_code(result) is ExitCode.INCONCLUSIVE
    required = require_evaluated(result)
    assert required.is_inconclusive()
    assert "no check was evaluated" in required.inconclusive_details()[0].message
    assert result.nothing_evaluated()  # untouched
    judged = AssertResult([PASS])
    assert require_evaluated(judged) is judged


def test_recording_and_reading_back() -> None:
    result = AssertResult()
    first, second = (AssertDetail(DetailKind.STUCK, text) for text in ("one", "two"))
    result.record_fail(first)
    result.record_skip(second)
    result.record_inconclusive(second)
    result.record_pass()
    result.record_outcome(Fail(second))
    assert result.failure_details() == [first, second]
    assert result.skip_details() == [second]
    assert result.inconclusive_details() == [second]
    assert first.display_with_kind() == "[Stuck] one"
    assert AssertResult.fail(first).is_fail()
    assert AssertResult.skip("not here").skip_details()[0].kind is DetailKind.SKIP


def confirmations(count: int) -> AssertResult:
    result = AssertResult()
    for number in range(count):
        result.record_pass(PassDetail(f"p{number}", "le", "1", "2"))
    return result


def test_confirmations_are_capped_with_one_sentinel() -> None:
    full = confirmations(MAX_RECORDED_PASSES)
    assert len(full.passes) == MAX_RECORDED_PASSES == 10_000
    assert not full.passes_truncated()
    over = confirmations(MAX_RECORDED_PASSES + 5)
    assert len(over.passes) == MAX_RECORDED_PASSES + 1
    assert over.passes[-1].name == PASSES_TRUNCATION_SENTINEL_NAME == "__ktstr_passes_truncated__"
    assert over.passes[-1].comparator == "truncated"
    assert over.passes[-2].name == "p9999"
    twice = over.merge(over)
    assert len(twice.passes) == MAX_RECORDED_PASSES + 1
    assert [p.name for p in twice.passes].count(PASSES_TRUNCATION_SENTINEL_NAME) == 1
    small = confirmations(3).merge(over)
    assert len(small.passes) == MAX_RECORDED_PASSES + 1 and small.passes_truncated()
    assert confirmations(4).merge(confirmations(3)).passes[4].name == "p0"


def test_merge_keeps_everything_in_order() -> None:
    a = AssertResult([PASS], stats=ScenarioStats.from_cgroups([CgroupStats("a", 1)]))
    a.note_value("x", 1)
    a.note_value("y", "old")
    a.note("first", "Step[0]")
    b = AssertResult([FAIL, SKIP], stats=ScenarioStats.from_cgroups([CgroupStats("b", 2)]))
    b.note_value("y", 2.5)
    b.note("second")
    merged = a.merge(b)
    assert merged.outcomes == [PASS, FAIL, SKIP]
    assert merged.measurements == {"x": 1, "y": 2.5}
    assert [note.message for note in merged.info_notes] == ["first", "second"]
    assert merged.stats.total_workers == 3
    assert a.outcomes == [PASS] and a.measurements["y"] == "old"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_measurements_are_finite(value: float) -> None:
    with pytest.raises(ValueError, match="'x'"):
        AssertResult().note_value("x", value)


def test_plain_form_is_json() -> None:
    result = AssertResult([FAIL, PASS])
    result.note_value("rate", 2.5)
    plain = json.loads(json.dumps(result.to_plain(), allow_nan=False))
    assert plain["outcome"] == "Fail"
    assert plain["outcomes"] == [
        {"outcome": "Fail", "detail": {"kind": "Other", "message": "why", "phase": None}},
        {"outcome": "Pass", "detail": None},
    ]
    assert plain["measurements"] == {"rate": 2.5}


@pytest.mark.parametrize(
    ("death", "kind", "message"),
    [
        (
            SchedulerDeath(DeathCause.CRASHED, 4.23, 3, 10, "runnable task\n stall\n"),
            DetailKind.SCHEDULER_CRASHED,
            (
                "scheduler process died unexpectedly after completing step 3 of 10 "
                "(4.2s into test): runnable task stall"
            ),
        ),
        (
            SchedulerDeath(DeathCause.EXITED_CLEANLY, 12.08, 7, 7),
            DetailKind.SCHEDULER_EXITED_CLEANLY,
            (
                "scheduler process died unexpectedly "
                "(detected after all 7 steps completed, 12.1s elapsed)"
            ),
        ),
        (
            SchedulerDeath(DeathCause.UNKNOWN, 2.04, 0, 3),
            DetailKind.SCHEDULER_DIED_UNKNOWN_REASON,
            "scheduler process died unexpectedly during workload (2.0s into test)",
        ),
        (
            SchedulerDeath(DeathCause.UNKNOWN, 1.0, 0, 0),
            DetailKind.SCHEDULER_DIED_UNKNOWN_REASON,
            "scheduler process died unexpectedly during workload (1.0s into test)",
        ),
    ],
)
def test_scheduler_death(death: SchedulerDeath, kind: DetailKind, message: str) -> None:
    assert death.detail() == AssertDetail(kind, message)
