# SPDX-License-Identifier: GPL-2.0-only
"""A scenario's patterns on hand-made samples: where figures come from and what becomes of them."""

from typing import Any

import pytest

from ktstr.model.scenario import scenario_from_toml
from ktstr.model.temporal import Figure
from ktstr.series.field import Number
from ktstr.series.lazy import LazyValue
from ktstr.series.maps import Entry, MapSnapshot, PerCpuEntry
from ktstr.series.phase import Phase
from ktstr.series.sample import MissingStats, MissingStatsReason, Sample, SampleSeries
from ktstr.series.snapshot import SchedExtState, Snapshot
from ktstr.series.values import (
    Array,
    Bool,
    Char,
    Enum,
    Float,
    Int,
    Ptr,
    RenderedValue,
    SnapshotError,
    Struct,
    Uint,
)
from ktstr.series.values_json import Recorded
from ktstr.session.figures import project
from ktstr.session.temporal import judge_temporal, temporal_checks
from ktstr.verdict import AssertResult

U64_MAX = (1 << 64) - 1


def lazy(value: RenderedValue) -> LazyValue:
    return LazyValue(b"", Recorded(value))


def struct(**members: RenderedValue) -> Struct:
    return Struct(None, tuple(members.items()))


def u64(value: int) -> Uint:
    return Uint(64, value)


def bpf_map(name: str, **content: Any) -> MapSnapshot:
    return MapSnapshot(name, 1, 2, "array", 4, 8, 4, **content)


def text_key(text: str) -> LazyValue:
    return lazy(Array(8, tuple(Char(code) for code in text.encode().ljust(8, b"\0"))))


def sample(
    index: int,
    step: int | None,
    *maps: MapSnapshot,
    stats: Any = None,
    **changes: Any,
) -> Sample:
    snapshot = Snapshot("7.0", maps, (), SchedExtState())
    missing = MissingStatsReason(MissingStats.NO_SCHEDULER, "gone")
    return Sample(
        **{
            "tag": f"periodic_{index:03d}",
            "elapsed_ms": 100 * (index + 1),
            "step_index": step,
            "snapshot": snapshot,
            "stats": missing if stats is None else stats,
            **changes,
        }
    )


GLOBALS = struct(
    nr=u64(U64_MAX),
    low=Int(32, -5),
    on=Bool(True),
    share=Float(64, 0.25),
    mode=Enum(32, 2, "BUSY"),
    at=Ptr(1 << 63),
    live=struct(ns=u64(7)),
    per=Array(2, (u64(3), u64(4))),
)
SAMPLE = sample(
    0,
    1,
    bpf_map("sched.bss", value=lazy(GLOBALS)),
    bpf_map(
        "hash",
        entries=[
            Entry(lazy(u64(9)), lazy(struct(a=u64(90)))),
            Entry(lazy(u64(0)), lazy(struct(a=u64(10)))),
            Entry(text_key("x"), lazy(struct(a=u64(20)))),
        ],
    ),
    bpf_map(
        "cpus",
        percpu_entries=[
            PerCpuEntry(lazy(u64(0)), {0: lazy(u64(5)), 1: None, 2: lazy(u64(8))}),
            PerCpuEntry(lazy(u64(1)), {0: None}),
        ],
    ),
    stats={
        "busy": 0.5,
        "on": True,
        "layers": [{"util": 3}],
        "name": "x",
        "high": U64_MAX,
        "low": -(1 << 63),
        "too": {"high": U64_MAX + 1, "low": -(1 << 63) - 1},
    },
)


def read(figure: dict[str, Any], of: Sample = SAMPLE) -> Number | str:
    field = project(SampleSeries([of]), Figure.model_validate(figure))
    (value,) = field.values_iter()
    return str(value) if isinstance(value, SnapshotError) else value


@pytest.mark.parametrize(
    ("figure", "value"),
    [
        ({"var": "nr"}, U64_MAX),
        ({"var": "low"}, -5),
        ({"var": "on"}, 1),
        ({"var": "share"}, 0.25),
        ({"var": "mode"}, 2),
        ({"var": "at"}, 1 << 63),
        ({"var": "live.ns"}, 7),
        ({"var": "per.1"}, 4),
        ({"map": "sched.bss", "field": "live.ns"}, 7),
        ({"map": "hash", "key": 0, "field": "a"}, 10),
        ({"map": "hash", "key": 9, "field": "a"}, 90),
        ({"map": "hash", "key": "x", "field": "a"}, 20),
        ({"map": "hash", "key": 0, "cpu": 3, "field": "a"}, 10),
        ({"map": "cpus", "key": 0, "cpu": 2}, 8),
        ({"map": "cpus", "key": 0, "cpu": "sum"}, 13),
        ({"map": "cpus", "key": 0, "cpu": "max"}, 8),
        ({"map": "cpus", "key": 0, "cpu": "min"}, 5),
        ({"stats": "busy"}, 0.5),
        ({"stats": "on"}, 1),
        ({"stats": "high"}, U64_MAX),
        ({"stats": "low"}, -(1 << 63)),
        ({"stats": "layers.0.util"}, 3),
    ],
)
def test_figures(figure: dict[str, Any], value: Number) -> None:
    found = read(figure)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("figure", "words"),
    [
        ({"var": "nothing"}, "variables here: nr, low, on"),
        ({"var": "live"}, "a struct with ns is not a number"),
        ({"var": "per"}, "array is not an unsigned number"),
        ({"map": "nowhere"}, "maps here: sched.bss, hash, cpus"),
        ({"map": "hash", "key": 4}, "no entry matches; keys: 9, 0"),
        ({"map": "hash", "key": "y", "field": "a"}, "no entry matches"),
        ({"map": "hash"}, "has no single value"),
        ({"map": "hash", "key": 9, "field": "b"}, "there: a"),
        ({"map": "cpus", "key": 0}, 'the value is per CPU: give cpu, a number or "sum"'),
        ({"map": "cpus", "key": 0, "cpu": 1}, "the value of CPU 1 could not be read"),
        ({"map": "cpus", "key": 1, "cpu": "sum"}, "no CPU's value could be read"),
        ({"stats": "bussy"}, "the value has no 'bussy'; there: busy, high, layers, low"),
        ({"stats": "layers.1"}, "layers has no '1'; there: 0"),
        ({"stats": "busy.x"}, "busy is 0.5, it has no 'x'"),
        ({"stats": "name"}, "name: a text is not a number"),
        ({"stats": "layers"}, "layers: a list is not a number of 64 bits"),
        ({"stats": "too.high"}, " is not a number of 64 bits"),
        ({"stats": "too.low"}, "too.low: -"),
        ({"map": "hash", "key": 3}, "no entry matches"),
    ],
)
def test_figures_that_are_not_there(figure: dict[str, Any], words: str) -> None:
    found = read(figure)
    assert isinstance(found, str) and words in found


def test_samples_without_their_half() -> None:
    failed = sample(0, 1, snapshot=None, error="the guest moved")
    assert read({"var": "nr"}, failed) == "the capture failed: the guest moved"
    assert read({"stats": "busy"}, failed) == "no statistics: no scheduler: gone"
    infinite = sample(0, 1, stats={"x": float("inf")})
    assert "not a number of 64 bits" in str(read({"stats": "x"}, infinite))


def test_tags_times_and_phases_go_along() -> None:
    samples = SampleSeries([sample(0, 2, elapsed_ms=None), sample(1, None)])
    field = project(samples, Figure(var="nr"))
    assert [(p.tag, p.elapsed_ms, p.phase) for p in field] == [
        ("periodic_000", None, Phase.step(1)),
        ("periodic_001", 200, None),
    ]


SCENARIO = """\
[scheduler]
bpf = "scx_ktstr"
[run]
num_snapshots = 6
[[steps]]
hold = "400ms"
[[steps]]
name = "second"
hold = "1s"
[[checks.temporal]]
"""


def judge(check: str, values: dict[int, list[int | None]], **others: list[int]) -> AssertResult:
    """The verdict on ``nr`` at 100, 200 ... ms; values by step, None for a sample without it.

    :param others: more variables, over all samples.
    """
    made, index = [], 0
    for step, ones in values.items():
        for value in ones:
            more = {name: u64(column[index]) for name, column in others.items()}
            there = {} if value is None else {"nr": u64(value)}
            found = bpf_map("sched.bss", value=lazy(struct(**there, **more)))
            made.append(sample(index, step, found))
            index += 1
    # A capture on demand would be out of step, and spoil every pattern here.
    made.insert(1, sample(0, 1, bpf_map("s.bss", value=lazy(struct(nr=u64(999)))), tag="asked"))
    result = AssertResult()
    scenario = scenario_from_toml(SCENARIO + check)
    judge_temporal(result, SampleSeries(made), temporal_checks(scenario))
    return result


RISING: dict[int, list[int | None]] = {1: [10, 20, 30], 2: [40, 80, 120]}
ACROSS = 'pattern = "ratio_across_phases"\nearlier = "step1"\nlater = "second"\n'
RESET: dict[int, list[int | None]] = {1: [10, 20, 30], 2: [0, 5, 9]}


def outcome(result: AssertResult) -> str:
    return "nothing" if result.nothing_evaluated() else result.outcome().name


@pytest.mark.parametrize(
    ("check", "values", "name"),
    [
        ('pattern = "nondecreasing"', RISING, "Pass"),
        ('pattern = "nondecreasing"', RESET, "Fail"),
        ('pattern = "nondecreasing"\nper = "run"', RESET, "Fail"),
        ('pattern = "nondecreasing"\nper = "phase"', RESET, "Pass"),
        ('pattern = "strictly_increasing"', RISING, "Pass"),
        ('pattern = "strictly_increasing"', {1: [1, 1]}, "Fail"),
        ('pattern = "rate_within"\nat_least = 0.1\nat_most = 0.4', RISING, "Pass"),
        ('pattern = "rate_within"\nat_most = 0.4', RISING, "Pass"),
        ('pattern = "rate_within"\nat_most = 0.39', RISING, "Fail"),
        ('pattern = "rate_within"\nat_least = 0.11', RISING, "Fail"),
        ('pattern = "rate_within"\nat_most = 0.1\nphase = "step1"', RISING, "Pass"),
        ('pattern = "rate_within"\nat_most = 0.1\nphase = "second"', RISING, "Fail"),
        # The mean of Step[0] is 20, all lie within 10 of it; of 80 and 120, within 20 of 100.
        ('pattern = "steady_within"\ntolerance = 0.5\nphase = "step1"', RISING, "Pass"),
        ('pattern = "steady_within"\ntolerance = 0.49\nphase = "step1"', RISING, "Fail"),
        # The second step begins at 400 ms, so 100 ms later is 500 ms: 80 and 120 are left.
        (
            'pattern = "steady_within"\ntolerance = 0.2\nwarmup = "100ms"\nphase = "second"',
            RISING,
            "Pass",
        ),
        ('pattern = "steady_within"\ntolerance = 0.2\nphase = "second"', RISING, "Fail"),
        ('pattern = "steady_within"\ntolerance = 0.2\nwarmup = "500ms"', RISING, "Pass"),
        ('pattern = "steady_within"\ntolerance = 0.3\nwarmup = "400ms"', RISING, "Fail"),
        (
            (
                'pattern = "converges_to"\ntarget = 80\ntolerance = 40\ndeadline = "200ms"\n'
                'phase = "second"'
            ),
            RISING,
            "Pass",
        ),
        (
            'pattern = "converges_to"\ntarget = 80\ntolerance = 40\ndeadline = "200ms"',
            RISING,
            "Inconclusive",
        ),
        (
            'pattern = "converges_to"\ntarget = 80\ntolerance = 40\ndeadline = "500ms"',
            RISING,
            "Fail",
        ),
        ('pattern = "always_true"', RISING, "Pass"),
        ('pattern = "always_true"', RESET, "Fail"),
        ('pattern = "each"\nat_least = 10', RISING, "Pass"),
        ('pattern = "each"\nat_least = 11', RISING, "Fail"),
        ('pattern = "each"\nat_most = 120', RISING, "Pass"),
        ('pattern = "each"\nat_most = 119', RISING, "Fail"),
        ('pattern = "each"\nat_least = 10\nat_most = 120', RISING, "Pass"),
        ('pattern = "each"\nat_least = 40\nper = "phase"', RISING, "Fail"),
        (ACROSS + "at_most = 4", RISING, "Pass"),
        (ACROSS + "at_most = 3.9", RISING, "Fail"),
        # How far it got within each step: 80 over 20, then 9 over 20.
        (ACROSS + 'at_most = 3.9\nreduce = "delta"', RISING, "Fail"),
        (ACROSS + 'at_most = 4\nreduce = "delta"', RISING, "Pass"),
        (ACROSS + 'at_most = 0.45\nreduce = "delta"', RESET, "Pass"),
        (
            'pattern = "ratio_across_phases"\nearlier = "baseline"\nlater = "second"\nat_most = 9',
            RISING,
            "Inconclusive",
        ),
    ],
)
def test_patterns(check: str, values: dict[int, list[int | None]], name: str) -> None:
    assert outcome(judge(f'var = "nr"\n{check}', values)) == name


def test_a_figure_over_another() -> None:
    check = 'var = "nr"\npattern = "ratio_within"\nover = { var = "all" }\nat_most = 0.5\n'
    half = [20, 40, 60, 80, 160, 240]
    assert outcome(judge(check, RISING, all=half)) == "Pass"
    assert outcome(judge(check + 'per = "phase"', RISING, all=half)) == "Pass"
    result = judge(check, RISING, all=[*half[:5], 200])
    (detail,) = result.failure_details()
    assert detail.message == (
        "nr (ratio_within): ratio 0.6 at sample periodic_005 (+600ms, Step[1]) is outside "
        "[-inf, 0.5]: nr 120 over all 200"
    )


def test_confirmations_carry_their_phase() -> None:
    result = judge('var = "nr"\npattern = "nondecreasing"\nper = "phase"', RISING)
    assert [(p.phase, p.value) for p in result.passes] == [
        ("Step[0]", "2 pairs"),
        ("Step[1]", "2 pairs"),
    ]


def test_a_counter_reset_within_a_phase_is_noted() -> None:
    check = 'pattern = "ratio_across_phases"\nearlier = "step1"\nlater = "second"\nat_most = 1'
    result = judge(f'var = "nr"\n{check}\nreduce = "delta"', {1: [5, 9], 2: [7, 3]})
    assert outcome(result) == "Pass"
    assert "nr went backward in Step[1], from 7 to 3" in result.info_notes[0].message


@pytest.mark.parametrize(
    ("check", "values", "words"),
    [
        (
            'pattern = "nondecreasing"',
            {1: [None, None]},
            (
                "nr (nondecreasing): the 2 samples leave nothing to judge: "
                "periodic_000 (+100ms, Step[0]), periodic_001 (+200ms, Step[0]): no variable 'nr'"
            ),
        ),
        ('pattern = "nondecreasing"', {1: [1]}, "the 1 samples leave nothing to judge"),
        (
            'pattern = "nondecreasing"\nphase = "second"',
            {1: [1, 2]},
            "the 0 samples of Step[1] leave nothing to judge",
        ),
        ('pattern = "nondecreasing"\nper = "phase"', {1: [1], 2: [0]}, "the 2 samples leave"),
    ],
)
def test_silence_is_no_pass(check: str, values: dict[int, list[int | None]], words: str) -> None:
    result = judge(f'var = "nr"\n{check}', values)
    assert outcome(result) == "Inconclusive"
    (detail,) = result.inconclusive_details()
    assert words in detail.message
    assert result.info_notes == []


def test_one_silent_phase_among_others_is_a_note() -> None:
    result = judge('var = "nr"\npattern = "nondecreasing"\nper = "phase"', {1: [1, 2], 2: [0]})
    assert outcome(result) == "Pass"
    assert [note.phase for note in result.info_notes] == ["Step[1]"]


def test_several_checks_are_judged_one_by_one() -> None:
    more = 'var = "nr"\npattern = "nondecreasing"\n[[checks.temporal]]\nvar = "no"\n'
    result = judge(more + 'pattern = "nondecreasing"', RISING)
    assert len(result.passes) == 1 and len(result.inconclusive_details()) == 1
