# SPDX-License-Identifier: GPL-2.0-only
"""One figure for several runs, by the kind of the metric."""

import pytest
from tests.unit.history.made import phase, row

from ktstr.history.dimensions import Dimension
from ktstr.history.group import Group, Reading, fold, grouped
from ktstr.metrics import metric_def
from ktstr.metrics.kinds import MetricKind


def kind(name: str) -> MetricKind:
    found = metric_def(name)
    assert found is not None
    return found.kind


def readings(*values: dict[str, float], samples: tuple[int | None, ...] = ()) -> list[Reading]:
    weights = samples or (None,) * len(values)
    return list(zip(values, weights, strict=True))


def test_counters_are_averaged_so_that_sides_of_any_size_compare() -> None:
    found = readings({"total_iterations": 10.0}, {"total_iterations": 20.0}, {})
    assert fold("total_iterations", kind("total_iterations"), found) == 15.0


def test_rates_are_sums_over_sums() -> None:
    name, over, per = "iteration_rate", "total_phase_iterations", "total_phase_duration_sec"
    found = readings(
        {name: 100.0, over: 100.0, per: 1.0},
        {name: 10.0, over: 90.0, per: 9.0},
        # It tells no components: nothing to pool.
        {name: 1e9},
    )
    assert fold(name, kind(name), found) == 19.0
    assert fold(name, kind(name), readings({name: 4.0}, {name: 8.0})) == 6.0


def test_peaks_are_the_largest_where_as_many_runs_had_the_chance() -> None:
    found = readings({"worst_gap_ms": 10.0}, {"worst_gap_ms": 40.0})
    assert fold("worst_gap_ms", kind("worst_gap_ms"), found) == 40.0
    assert fold("worst_gap_ms", kind("worst_gap_ms"), found, peaks=False) == 25.0
    worst = readings({"worst_run_delay_us": 10.0}, {"worst_run_delay_us": 40.0})
    assert fold("worst_run_delay_us", kind("worst_run_delay_us"), worst) == 40.0


def test_averages_are_weighted_by_captures() -> None:
    name = "avg_nr_running"
    values = {name: 1.0}, {name: 4.0}
    assert fold(name, kind(name), readings(*values, samples=(30, 10))) == 1.75
    assert fold(name, kind(name), readings(*values)) == 2.5
    assert fold(name, kind(name), readings(*values, samples=(0, 0))) == 2.5


@pytest.mark.parametrize(
    "name",
    [
        "worst_p99_wake_latency_us",
        "worst_spread",
        "system_time_ns",
        "rps_p50_whole",
        "worst_page_locality",
    ],
)
def test_what_cannot_be_pooled_is_the_mean_of_the_runs(name: str) -> None:
    assert fold(name, kind(name), readings({name: 2.0}, {name: 6.0}, {})) == 4.0


def test_what_was_not_measured_has_no_figure() -> None:
    assert fold("total_iterations", kind("total_iterations"), readings({}, {})) is None
    assert fold("mine", None, readings({"mine": 1.0}, {"mine": 2.0})) == 1.5


def test_runs_group_by_what_pairs() -> None:
    rows = [
        row(1),
        row(2, project_commit="aaaaaaa-dirty"),
        row(3, kernel="6.12.1"),
        row(4, scenario="other"),
        row(5, cpu_budget=None),
    ]
    sizes = {key: len(group.rows) for key, group in grouped(rows, [Dimension.KERNEL]).items()}
    assert sorted(sizes.values()) == [1, 1, 3]
    ignored = grouped(rows, [Dimension.KERNEL], [Dimension.CPU_BUDGET])
    assert sorted(len(group.rows) for group in ignored.values()) == [1, 4]


def test_the_worst_verdict_speaks_for_a_group() -> None:
    rows = (row(1), row(2, "fail", reason="a gap"), row(3, "fail"), row(4, "inconclusive"))
    group = Group(("crowd",), rows)
    assert (group.verdict, group.verdict_text, group.reason) == ("fail", "fail 2/4", "a gap")
    assert [each.run_id for each in group.passing] == [rows[0].run_id]
    assert Group(("crowd",), rows[:1]).verdict_text == "pass"


def test_a_phase_that_a_run_did_not_get_to_measured_nothing() -> None:
    rows = (row(1, phases=(phase(1, 5, x=1.0),)), row(2), row(3, "fail", phases=(phase(2, x=9.0),)))
    group = Group(("crowd",), rows)
    assert group.readings(1) == [({"x": 1.0}, 5), ({}, None)]
    assert group.steps() == {1: "Step[0]"}
