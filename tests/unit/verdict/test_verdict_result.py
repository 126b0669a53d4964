# SPDX-License-Identifier: GPL-2.0-only
"""Outcomes, their precedence, the accumulator and its exit status."""

import itertools
import json
import math
import re
from functools import reduce
from typing import Any

import pytest

from ktstr.errors import ExitCode
from ktstr.metrics import ScenarioStats
from ktstr.telemetry import CgroupStats
from ktstr.telemetry.decode import RecordError
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
    phase_label,
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


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, None, b"x"])
def test_measurements_are_what_a_record_can_carry(value: Any) -> None:
    with pytest.raises(ValueError, match="allowed: a boolean, a text"):
        AssertResult().note_value("x", value)


def recorded() -> AssertResult:
    result = AssertResult([FAIL, PASS, INCONCLUSIVE, SKIP])
    result.stats = ScenarioStats.from_cgroups([CgroupStats("a", 1, spread=0.0)])
    with phase_label("Step[1]"):
        result.record_fail(AssertDetail(DetailKind.SLOW_TIER, "μ\n"))
        result.record_pass(PassDetail("x", "le", "1", "2"))
        result.record_pass(PassDetail("y", "is_finite", "1.0"))
        result.note("n")
    for name, value in MEASUREMENTS.items():
        result.note_value(name, value)
    return result


MEASUREMENTS = {
    "int": 1,
    "float": 1.0,
    "flag": True,
    "text": "1",
    "largest": 2**64 - 1,
    "smallest": -(2**63),
    "tiny": 5e-324,
}


def test_the_record_is_json_and_reads_back_the_same() -> None:
    result = recorded()
    record = json.loads(json.dumps(result.to_record(), allow_nan=False))
    assert record["outcomes"][:2] == [
        {"outcome": "fail", "detail": {"kind": "Other", "message": "why", "phase": None}},
        {"outcome": "pass", "detail": None},
    ]
    with phase_label("reading happens elsewhere"):
        again = AssertResult.from_record(record, "the sidecar")
    assert again == result
    assert {k: type(v) for k, v in again.measurements.items()} == {
        k: type(v) for k, v in MEASUREMENTS.items()
    }
    assert AssertResult.from_record(AssertResult().to_record(), "x") == AssertResult()


@pytest.mark.parametrize(
    ("path", "value", "field", "expected"),
    [
        (("outcomes", 0, "outcome"), "Fail", "outcomes[0].outcome", "pass, fail, inconclusive"),
        (("outcomes", 0, "detail"), None, "outcomes[0].detail", "a map beside 'fail'"),
        (("outcomes", 1, "detail"), {}, "outcomes[1].detail", "nil beside a pass"),
        (("outcomes", 0, "detail", "kind"), "Odd", "outcomes[0].detail.kind", "one of NoProgress"),
        (("passes", 0, "value"), 1, "passes[0].value", "text"),
        (("info_notes", 0, "phase"), 1, "info_notes[0].phase", "text"),
        (("measurements", "float"), math.inf, "measurements.float", "a number"),
        (("measurements", "text"), None, "measurements.text", "a number"),
        (("stats", "cgroups", 0, "num_workers"), -1, "stats.cgroups[0].num_workers", "from 0"),
        (("outcome",), "Pass", "outcome", "no field of that name"),
    ],
)
def test_a_damaged_record_is_refused(
    path: tuple[Any, ...], value: object, field: str, expected: str
) -> None:
    record: Any = recorded().to_record()
    record = json.loads(json.dumps(record))
    holder = record
    for part in path[:-1]:
        holder = holder[part]
    holder[path[-1]] = value
    with pytest.raises(RecordError, match=re.escape(expected)) as caught:
        AssertResult.from_record(record, "run.ktstr.json")
    assert caught.value.subject == "run.ktstr.json"
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("outcomes", "options", "code"),
    [
        ([PASS], {"expect_err": True}, ExitCode.FAIL),
        ([FAIL], {"expect_err": True}, ExitCode.PASS),
        ([SKIP], {"expect_err": True}, ExitCode.PASS),
        ([INCONCLUSIVE], {"expect_err": True}, ExitCode.INCONCLUSIVE),
        ([INCONCLUSIVE], {"allow_inconclusive": True}, ExitCode.PASS),
        ([], {"allow_inconclusive": True}, ExitCode.PASS),
        ([FAIL, INCONCLUSIVE], {"allow_inconclusive": True}, ExitCode.FAIL),
        ([SKIP], {"no_skip": True}, ExitCode.FAIL),
        ([SKIP, PASS], {"no_skip": True}, ExitCode.PASS),
    ],
)
def test_what_changes_the_exit_status(
    outcomes: list[Outcome], options: dict[str, bool], code: ExitCode
) -> None:
    assert exit_code(AssertResult(outcomes), **options) is code


def test_precedence_over_every_order() -> None:
    for order in itertools.permutations([FAIL, INCONCLUSIVE, PASS, SKIP]):
        for count in range(1, 5):
            some = list(order[:count])
            best = min(some, key=[FAIL, INCONCLUSIVE, PASS, SKIP].index)
            assert AssertResult(some).outcome() == best
            assert reduce(Outcome.merge, some) == best
    first, second = (Fail(AssertDetail(DetailKind.OTHER, text)) for text in "ab")
    assert AssertResult([PASS, first, second]).outcome() is first
    assert first.merge(second) is first


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
