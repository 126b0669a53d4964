# SPDX-License-Identifier: GPL-2.0-only
"""Seeds as people write them; classes of failures; how far metrics spread."""

import pytest

from ktstr.errors import ExitCode
from ktstr.session.record import RunRecord
from ktstr.session.seeds import (
    MOST_SEEDS,
    Tried,
    failure_classes,
    parse_seeds,
    shape_of,
    spreads,
)
from ktstr.verdict import AssertDetail, AssertResult, DetailKind


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("7", (7,)),
        ("0..3", (0, 1, 2, 3)),
        ("5..5", (5,)),
        ("1,5,10..12", (1, 5, 10, 11, 12)),
        # Each once, where it comes first.
        ("3,1..4,3", (3, 1, 2, 4)),
        (" 1 .. 2 , 9 ", (1, 2, 9)),
        ("9223372036854775807", (9223372036854775807,)),
        (f"1..{MOST_SEEDS}", tuple(range(1, MOST_SEEDS + 1))),
    ],
)
def test_seeds_as_written(text: str, seeds: tuple[int, ...]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "'' is no seed"),
        ("1..", "'1..' is no seed"),
        ("..4", "'..4' is no seed"),
        ("1,,2", "'' is no seed"),
        ("-1", "'-1' is no seed"),
        ("1...3", "'1...3' is no seed"),
        ("1e3", "'1e3' is no seed"),
        ("٣", "'٣' is no seed"),
        ("9223372036854775808", "is no seed"),
        ("200..0", "'200..0' ends before it begins"),
        (f"0..{MOST_SEEDS}", f"is more than {MOST_SEEDS} seeds"),
        (f"0,1..{MOST_SEEDS}", f"is more than {MOST_SEEDS} seeds"),
        ("0..9223372036854775807", f"is more than {MOST_SEEDS} seeds"),
    ],
)
def test_what_is_no_seed(text: str, words: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_seeds(text)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("reason", "shape"),
    [
        (
            "[Stuck] Step[0] load busy: tid 110 stuck 1124ms on cpu1 at +1499ms (threshold 500ms)",
            "[Stuck] Step[0] load busy: tid # stuck #ms on cpu1 at +#ms (threshold #ms)",
        ),
        ("[Unfair] cg_0: spread=71.1% (4.5-75.6%)", "[Unfair] cg_0: spread=#% (#-#%)"),
        ("worker-3[1234] failed to run for 2.001s", "worker-#[#] failed to run for #s"),
        ("at 0xffff8880 of 1,234 bytes", "at # of # bytes"),
        ("nothing to count", "nothing to count"),
    ],
)
def test_the_shape_of_a_reason(reason: str, shape: str) -> None:
    assert shape_of(reason) == shape


def tried(seed: int, *reasons: str, verdict: str = "fail", **metrics: float) -> Tried:
    code = {"fail": ExitCode.FAIL, "guest lost": ExitCode.GUEST_LOST}.get(verdict, ExitCode.PASS)
    return Tried(seed, verdict, code, 1.0, reasons, metrics)


def test_runs_that_fail_alike_are_one_class() -> None:
    classes = failure_classes(
        [
            tried(9, "[Stuck] a: stuck 7ms"),
            tried(2, "[Stuck] b: stuck 7ms"),
            tried(4, "[Stuck] a: stuck 900ms", "[Unfair] a: spread=3%"),
            tried(5, verdict="pass"),
            tried(6, "[Stuck] a: stuck 7ms", verdict="guest lost"),
            # Two workers of one run are one run.
            tried(7, "[Stuck] a: stuck 1ms", "[Stuck] a: stuck 2ms"),
        ]
    )
    assert [(each.verdict, each.shape, each.seeds, each.example) for each in classes] == [
        ("fail", "[Stuck] a: stuck #ms", (4, 7, 9), "[Stuck] a: stuck 900ms"),
        ("fail", "[Stuck] b: stuck #ms", (2,), "[Stuck] b: stuck 7ms"),
        ("fail", "[Unfair] a: spread=#%", (4,), "[Unfair] a: spread=3%"),
        ("guest lost", "[Stuck] a: stuck #ms", (6,), "[Stuck] a: stuck 7ms"),
    ]


def test_spreads_name_the_seeds_of_the_extremes() -> None:
    found = spreads(
        [
            tried(3, total_migrations=8.0, mine=1.0),
            tried(1, total_migrations=2.0),
            tried(2, total_migrations=2.0),
            tried(5, total_migrations=8.0),
            tried(4, verdict="guest lost"),
        ]
    )
    # The registry's metrics come first.
    assert [each.metric for each in found] == ["total_migrations", "mine"]
    assert (found[0].runs, found[0].median) == (4, 5.0)
    assert (found[0].low, found[0].low_seed) == (2.0, 1)
    assert (found[0].high, found[0].high_seed) == (8.0, 3)
    assert (found[1].low_seed, found[1].median, found[1].high_seed) == (3, 1.0, 3)


def test_the_median_of_an_odd_number_is_one_of_them() -> None:
    found = spreads([tried(1, m=9.0), tried(2, m=1.0), tried(3, m=4.0)])
    assert found[0].median == 4.0


def test_what_a_record_tells() -> None:
    result = AssertResult()
    result.record_inconclusive(AssertDetail(DetailKind.OTHER, "no report"))
    doubtful = RunRecord("id", "name", ExitCode.INCONCLUSIVE, result)
    assert Tried.of(7, doubtful, 1.5).reasons == ("[Other] no report",)
    assert not Tried.of(7, doubtful, 1.5).failed
    result.record_fail(AssertDetail(DetailKind.STUCK, "it stood"))
    failed = Tried.of(7, RunRecord("id", "name", ExitCode.FAIL, result), 1.5)
    assert (failed.seed, failed.verdict, failed.wall_s) == (7, "fail", 1.5)
    assert failed.failed and failed.reasons == ("[Stuck] it stood",)
    lost = Tried.of(8, RunRecord("id", "n", ExitCode.GUEST_LOST, error="panic\nmore"), 2.0)
    assert (lost.verdict, lost.failed, lost.reasons) == ("guest lost", True, ("panic",))
    assert lost.identity == "" and lost.metrics == {}
    facts = {"identity": "abc"}
    assert Tried.of(9, RunRecord("id", "n", ExitCode.PASS, facts=facts), 1.0).identity == "abc"
