# SPDX-License-Identifier: GPL-2.0-only
"""What holds of every comparison, whatever was measured."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.history.made import row

from ktstr.history.compare import Comparison, Outcome, compare
from ktstr.history.group import PairKey
from ktstr.history.rows import VERDICTS, Row, RowPhase

NAMES = (
    *("worst_gap_ms", "iteration_rate", "total_phase_iterations", "total_phase_duration_sec"),
    *(
        "avg_nr_running",
        "total_hardirqs",
        "worst_p99_wake_latency_us",
        "mine",
        "ttwu_local_fraction",
    ),
)
values = st.one_of(
    st.sampled_from([0.0, 1.0, -1.0, 1e-9, 1e15]),
    st.floats(min_value=-1e12, max_value=1e12, allow_nan=False),
)
metrics = st.dictionaries(st.sampled_from(NAMES), values)
phases = st.lists(
    st.tuples(st.integers(0, 3), st.one_of(st.none(), st.integers(0, 99)), metrics),
    max_size=3,
    unique_by=lambda each: each[0],
)


@st.composite
def rows(draw: st.DrawFn) -> list[Row]:
    made = []
    for number in range(draw(st.integers(0, 5))):
        found = draw(phases)
        made.append(
            row(
                number,
                draw(st.sampled_from([*VERDICTS, "pass", "pass", "pass"])),
                scenario=draw(st.sampled_from(["one", "two"])),
                metrics=draw(metrics),
                run_sample_count=draw(st.one_of(st.none(), st.integers(0, 99))),
                phases=tuple(
                    RowPhase(step, f"Step[{step}]", None, samples, measured)
                    for step, samples, measured in found
                ),
            )
        )
    return made


def place(found: Comparison) -> dict[tuple[object, ...], Outcome]:
    return {(c.pair, c.step_index, c.metric): c.outcome for c in found.changes}


@given(rows(), st.booleans())
def test_a_set_compared_with_itself_shows_nothing(side: list[Row], test: bool) -> None:
    found = compare(side, side, test=test)
    assert not found.of(
        *(Outcome.REGRESSION, Outcome.IMPROVEMENT, Outcome.CHANGED, Outcome.NOISE),
        *(Outcome.ONLY_A, Outcome.ONLY_B),
    )
    assert (found.verdicts, found.only_a, found.only_b, found.unpaired_phases) == ((), (), (), ())
    assert found.exit_code == (0 if any(each.passed for each in side) else 2)


OPPOSITE = {
    Outcome.REGRESSION: Outcome.IMPROVEMENT,
    Outcome.IMPROVEMENT: Outcome.REGRESSION,
    Outcome.ONLY_A: Outcome.ONLY_B,
    Outcome.ONLY_B: Outcome.ONLY_A,
}


@given(rows(), rows())
def test_swapped_sides_swap_better_and_worse(a: list[Row], b: list[Row]) -> None:
    """Gates are a share of the baseline, so that what passes them one way may not the other way;
    but nothing is worse both ways, and what only one side has stays with it."""
    there, back = place(compare(a, b)), place(compare(b, a))
    assert there.keys() == back.keys()
    for key, outcome in there.items():
        if outcome in (Outcome.REGRESSION, Outcome.IMPROVEMENT):
            assert back[key] is not outcome
        if outcome in (Outcome.ONLY_A, Outcome.ONLY_B):
            assert back[key] is OPPOSITE[outcome]
        if outcome is Outcome.SUPPRESSED:
            assert back[key] is outcome
    mine, theirs = compare(a, b), compare(b, a)
    assert [g.key for g in mine.only_a] == [g.key for g in theirs.only_b]
    swapped = {True: False, False: True, None: None}
    assert [swapped[v.worse] for v in mine.verdicts] == [v.worse for v in theirs.verdicts]


@given(rows(), rows())
def test_every_metric_of_either_side_is_accounted_for_once(a: list[Row], b: list[Row]) -> None:
    found = compare(a, b)
    expected: set[tuple[PairKey, int | None, str]] = set()
    for pair in found.pairs:
        if not pair.compared:
            continue
        passing = (*pair.a.passing, *pair.b.passing)
        expected |= {(pair.key, None, name) for each in passing for name in each.metrics}
        steps = pair.a.steps().keys() & pair.b.steps().keys()
        expected |= {
            (pair.key, phase.step_index, name)
            for each in passing
            for phase in each.phases
            if phase.step_index in steps
            for name in phase.metrics
        }
    keys = Counter((c.pair, c.step_index, c.metric) for c in found.changes)
    assert set(keys) == expected and set(keys.values()) <= {1}
    for change in found.changes:
        assert (change.a is None) == (change.outcome is Outcome.ONLY_B or not change.n_a)
        assert (change.b is None) == (change.outcome is Outcome.ONLY_A or not change.n_b)


@given(rows(), rows())
def test_every_run_is_in_one_place(a: list[Row], b: list[Row]) -> None:
    found = compare(a, b)
    mine = [r for pair in found.pairs for r in pair.a.rows] + [
        r for g in found.only_a for r in g.rows
    ]
    theirs = [r for pair in found.pairs for r in pair.b.rows] + [
        r for g in found.only_b for r in g.rows
    ]
    assert sorted(each.run_id for each in mine) == sorted(each.run_id for each in a)
    assert sorted(each.run_id for each in theirs) == sorted(each.run_id for each in b)
