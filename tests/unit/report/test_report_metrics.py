# SPDX-License-Identifier: GPL-2.0-only
"""Metrics on the screen: which, in what order, with which unit."""

import io

import pytest
from rich.console import Console

from ktstr.errors import ExitCode
from ktstr.metrics import METRICS, RENDER_SUPPRESSED_COMPONENTS, PhaseBucket, ScenarioStats
from ktstr.report.metrics import MAIN, MAX_COLUMNS
from ktstr.report.printable import figure, number
from ktstr.report.verdict import IN_BRIEF, Sections, print_record
from ktstr.session.record import RunRecord
from ktstr.telemetry import CgroupStats, PhaseCgroupStats
from ktstr.verdict import AssertResult

LEFT = CgroupStats(
    cgroup_name="left",
    num_workers=2,
    spread=12.5,
    max_gap_ms=40,
    total_migrations=7,
    total_iterations=10,
)


def bucket(step: int, **metrics: float) -> PhaseBucket:
    carrier = PhaseCgroupStats(num_workers=2, total_iterations=10, metrics={"wake_latency_cv": 2})
    return PhaseBucket(step, f"Step[{step - 1}]", metrics=metrics, per_cgroup={"left": carrier})


def made(*phases: PhaseBucket, **run: float) -> RunRecord:
    stats = ScenarioStats.from_cgroups([LEFT], phases=phases, ext_metrics=run)
    facts = {"steps": [{"index": 1, "name": "calm"}, {"index": 2, "name": None}]}
    return RunRecord("id", "demo", ExitCode.PASS, AssertResult(stats=stats), facts=facts)


def tables(record: RunRecord, sections: Sections = IN_BRIEF) -> list[list[list[str]]]:
    """The tables of the screen, as rows of words."""
    out = io.StringIO()
    print_record(Console(file=out, width=80, soft_wrap=True), record, sections)
    blocks = [block.splitlines() for block in out.getvalue().split("\n\n")]
    return [[line.split() for line in block if line.strip()] for block in blocks]


def test_every_run_prints_the_main_metrics_with_their_units() -> None:
    record = made(
        bucket(1, iteration_rate=5000.25, total_phase_iterations=9.0),
        bucket(2, iteration_rate=0.0),
        iteration_rate=2500.0,
        worst_p99_wake_latency_us=40.25,
        worst_wake_latency_cv=3.0,
    )
    assert tables(record)[1] == [
        ["metric", "unit", "run", "Step[0]", "calm", "Step[1]"],
        ["worst_spread", "%", "12.5", "–", "–"],
        ["worst_gap_ms", "ms", "40", "–", "–"],
        ["total_migrations", "7", "0", "0"],
        ["worst_p99_wake_latency_us", "µs", "40.2", "–", "–"],
        ["iteration_rate", "iter/s", "2,500", "5,000", "0"],
    ]


def test_all_metrics_are_in_the_order_of_the_registry_without_the_parts_of_rates() -> None:
    everything = {metric.name: 1.0 for metric in reversed(METRICS)}
    record = made(bucket(1), zz_own=1.5, aa_own=0.25, **everything)
    (_, rows, *_) = tables(record, Sections(metrics=True))
    names = [row[0] for row in rows[1:]]
    known = [metric.name for metric in METRICS if metric.name not in RENDER_SUPPRESSED_COMPONENTS]
    # Names that have a home of their own are not read from the map, so some may be missing.
    assert [name for name in names if name in known] == names[:-2]
    assert names[:-2] == [name for name in known if name in names]
    assert names[-2:] == ["aa_own", "zz_own"], "those that nobody registered come last"
    assert not RENDER_SUPPRESSED_COMPONENTS & set(names)
    assert {"worst_wake_latency_cv", "worst_spread"} <= set(names)


def test_many_phases_leave_the_run_in_short_and_share_tables_in_full() -> None:
    phases = [bucket(step, iteration_rate=float(step)) for step in range(1, MAX_COLUMNS + 3)]
    record = made(*phases, iteration_rate=3.0)
    assert tables(record)[1][0] == ["metric", "unit", "run"]
    first, second = (
        rows for rows in tables(record, Sections(metrics=True)) if rows and rows[0][0] == "metric"
    )
    assert first[0][2:] == ["run", "Step[0]", "calm", "Step[1]", "Step[2]", "Step[3]", "Step[4]"]
    assert second[0][2:] == ["Step[5]", "Step[6]", "Step[7]"]
    rate = next(row for row in second if row[0] == "iteration_rate")
    assert rate[2:] == ["6", "7", "8"]


def test_each_cgroup_of_a_phase_can_be_shown() -> None:
    (_, rows, *_) = tables(made(bucket(1)), Sections(phases=True))
    assert rows == [
        ["Step[0]", "calm", "unit", "left"],
        ["total_migrations", "0"],
        ["total_iterations", "10"],
        ["wake_latency_cv", "2"],
        ["total_cpu_time_ns", "ns", "0"],
    ]


def test_without_a_verdict_there_is_no_table() -> None:
    record = RunRecord("id", "demo", ExitCode.GUEST_LOST, error="gone")
    (lines,) = tables(record, Sections(metrics=True, phases=True))
    assert lines == [["GUEST", "LOST", "demo", "exit", "3"], ["gone"]]


def test_the_main_metrics_are_registered() -> None:
    assert {metric.name for metric in METRICS} >= MAIN


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.0, "0"),
        (5.0, "5"),
        (0.04449, "0.0445"),
        (40.25, "40.2"),
        (99.96, "100"),
        (1234.5, "1,234"),
        (-0.5, "-0.5"),
        (float("inf"), "inf"),
    ],
)
def test_a_figure_keeps_three_digits(value: float | None, text: str) -> None:
    assert figure(value) == text


def test_a_number_keeps_one_decimal_while_small() -> None:
    assert [number(v) for v in (None, 0.0, 999.94, 1000.4)] == ["–", "0.0", "999.9", "1,000"]
