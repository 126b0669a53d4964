# SPDX-License-Identifier: GPL-2.0-only
"""What a page draws: figures worked out by hand, places of findings, bounds, nothing made up."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.unit.report.page_records import STEP_MS, hostile, lost, run, section

from ktstr.errors import ExitCode
from ktstr.report.page.cgroups import distribution
from ktstr.report.page.columns import Columns
from ktstr.report.page.counters import MAX_LEAVES
from ktstr.report.page.data import page_data
from ktstr.report.page.facts import again_command
from ktstr.report.page.limits import Limits
from ktstr.report.page.schema import PageData, Pin
from ktstr.series.monitor.report import MonitorReport
from ktstr.series.sample import Sample, SampleSeries
from ktstr.session.record import RunRecord
from ktstr.session.sidecar.read import read_sidecar
from ktstr.session.sidecar.write import write_sidecar
from ktstr.verdict import AssertDetail, AssertResult, DetailKind


def test_columns_up_to_the_limit_are_the_readings() -> None:
    columns = Columns(4, 4)
    assert columns.times([1, 2, 3, 4]) == [1, 2, 3, 4]
    assert columns.of([5, None, 0, 7]) == [5, None, 0, 7]


def test_of_every_stretch_the_lowest_and_the_highest_stay_in_their_order() -> None:
    columns = Columns(8, 4)
    assert columns.times([0, 10, 20, 30, 40, 50, 60, 70]) == [0, 20, 40, 60]
    # The spike of the first half comes before its dip, those of the second the other way round.
    assert columns.of([3, 9, 1, 3, None, 2, 8, None]) == [9, 1, 2, 8]
    assert columns.of([None] * 4 + [5, None, 5, 5]) == [None, None, 5, 5]


def test_no_extreme_of_many_readings_is_lost() -> None:
    values = [abs(math.sin(place)) for place in range(1003)]
    values[501], values[777] = 50.0, -50.0
    drawn = Columns(1003, 100).of(values)
    assert len(drawn) == 100
    assert (max(v for v in drawn if v is not None), min(v for v in drawn if v is not None)) == (
        50.0,
        -50.0,
    )


def test_latencies_fall_into_ten_bins_a_decade() -> None:
    # 10^2.0, 10^2.05, 10^2.1 and 10^3 ns: bins 20, 20, 21 and 30.
    found = distribution(np.array([100, 112, 126, 1000], dtype=np.uint64), 9)
    assert found == {
        "samples": 4,
        "total": 9,
        "min": 100,
        "p50": 112,
        "p99": 1000,
        "p999": 1000,
        "max": 1000,
        "first_bin": 20,
        "counts": [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1],
    }
    assert distribution(np.array([], dtype=np.uint64), 0) is None
    zero = distribution(np.array([0, 1], dtype=np.uint64), 2)
    assert zero is not None and (zero["first_bin"], zero["counts"], zero["min"]) == (0, [2], 0)


def test_cpus_are_shown_as_the_monitor_read_them() -> None:
    cpus = page_data(run(readings=60, cpus=4))["cpus"]
    assert cpus is not None
    assert (cpus["source"], cpus["readings"], cpus["left_out"]) == ("monitor", 60, 0)
    assert cpus["at_ms"][:3] == [0, 100, 200] and cpus["cpus"] == [0, 1, 2, 3]
    assert cpus["nr_running"][2][9] == round(2 + 2 * math.sin(1 + 2))
    assert cpus["local_dsq"][1][:3] == [1, 2, 0]
    # The share of time is of the stretch before a reading, so the first has none.
    assert [row[:3] for row in cpus["busy_pct"]] == [
        [None, 0, 0],
        [None, 25, 25],
        [None, 50, 50],
        [None, 75, 75],
    ]
    # Of 2, 4, 4 and 2 tasks the longest over the shortest.
    assert cpus["imbalance"][0] == 2.0
    # Counters that grew come first; what did not grow is a measured zero.
    assert next(iter(cpus["events"])) == "dispatch_keep_last"
    assert cpus["events"]["dispatch_keep_last"][:3] == [0, 3, 6]
    assert set(cpus["events"]["select_cpu_fallback"]) == {0}


def test_readings_between_steps_are_counted_and_not_drawn() -> None:
    record = run(readings=30)
    assert record.monitor is not None
    samples = [
        replace(sample, held=place % 3 != 0) for place, sample in enumerate(record.monitor.samples)
    ]
    record.monitor = MonitorReport.of(samples)
    cpus = page_data(record)["cpus"]
    assert cpus is not None and (cpus["readings"], cpus["left_out"]) == (20, 10)


def test_without_a_monitor_the_snapshots_are_shown() -> None:
    record = run(samples=5)
    record.monitor = None
    cpus = page_data(record)["cpus"]
    assert cpus is not None
    assert (cpus["source"], cpus["readings"]) == ("snapshots", 5)
    assert [row[0] for row in cpus["nr_running"]] == [0, 1, 2, 3]
    assert cpus["busy_pct"][0][:2] == [None, 50]


def test_a_cpu_that_came_later_is_not_measured_before() -> None:
    record = run(readings=10, cpus=3)
    assert record.monitor is not None
    first, *rest = record.monitor.samples
    record.monitor = MonitorReport.of([replace(first, cpus=first.cpus[:1]), *rest])
    cpus = page_data(record)["cpus"]
    assert cpus is not None and cpus["nr_running"][2][0] is None
    assert cpus["nr_running"][2][1] is not None and cpus["busy_pct"][2][1] is None


def test_phases_are_the_holds_with_their_names() -> None:
    phases = page_data(run(steps=2))["phases"]
    assert [(p["title"], p["start_ms"], p["end_ms"], p["detail"]) for p in phases] == [
        ("Step[0] step 1", 0, STEP_MS, "ops=0, 2 cgroups, 4 workers"),
        ("Step[1] step 2", STEP_MS, 2 * STEP_MS, "ops=0, 2 cgroups, 4 workers"),
    ]


def test_a_step_that_never_ended_lasts_to_the_end() -> None:
    record = run(steps=2)
    record.events = [e for e in record.events if not (e.is_step_end and e.step_index == 2)]
    phase = page_data(record)["phases"][1]
    assert (phase["start_ms"], phase["end_ms"]) == (STEP_MS, 2 * STEP_MS)


def test_cgroups_are_told_phase_by_phase() -> None:
    cgroup = page_data(run(cgroups=2, steps=2))["cgroups"][1]
    assert cgroup["name"] == "cg1"
    carrier = cgroup["phases"][1]
    # Two workers of 500 * 2 iterations in 2 s, each half of its time off the CPU.
    assert (carrier["step"], carrier["workers"], carrier["cpus"]) == (2, 2, "0-1")
    assert (carrier["iterations"], carrier["iterations_per_s"]) == (2000, 1000.0)
    assert (carrier["off_cpu_pct"], carrier["off_cpu_max_pct"]) == (50.0, 50.0)
    assert carrier["timer"] is None and carrier["wake"] is not None
    assert sum(carrier["wake"]["counts"]) == carrier["wake"]["samples"] == 1000


def counter(data: PageData, name: str) -> list[object]:
    (found,) = [c["values"] for c in data["counters"] if c["name"] == name]
    return list(found)


def test_every_number_of_the_scheduler_is_followed_over_the_snapshots() -> None:
    data = page_data(run(samples=4, steps=2, counters=2))
    assert data["captures"]["at_ms"] == [500, 1500, 2500, 3500]
    assert counter(data, "nr_1") == [0, 2, 4, 6]
    assert counter(data, "constant") == [5, 5, 5, 5]
    assert counter(data, "served") == [0, 10, 20, 30]
    assert counter(data, "nested.deep[0]") == [0, 1, 2, 3]
    # Beyond 2**53 a number of JavaScript would lose its last digits.
    assert counter(data, "huge")[:2] == ["9223372036854775808", "9223372036854775809"]
    names = [c["name"] for c in data["counters"]]
    assert "limit" not in names, "constants of .rodata are no counters"
    assert names.index("nr_1") < names.index("served") < names.index("constant")


def test_a_snapshot_that_failed_leaves_a_gap() -> None:
    record = run(samples=3)
    first, second, third = record.samples.iter_samples()
    broken = replace(second, snapshot=None, error="no memory")
    record.samples = SampleSeries([first, broken, third])
    data = page_data(record)
    assert counter(data, "nr_0") == [0, None, 2]
    assert [freeze["error"] for freeze in data["freezes"]] == [None, "no memory", None]
    assert data["freezes"][0]["paused_ms"] == 1.25


def pins_of(details: list[tuple[DetailKind, str, str | None]]) -> list[Pin]:
    record = run(failing=False)
    assert record.result is not None
    for kind, message, phase in details:
        record.result.record_fail(AssertDetail(kind, message, phase=phase))
    return page_data(record)["reasons"]


@pytest.mark.parametrize(
    ("kind", "message", "phase", "place"),
    [
        # A worker's clock begins with its phase, so 900 ms lie in the second step.
        (
            DetailKind.STUCK,
            "Step[1] cg0: tid 7 stuck 700ms on cpu1 at +900ms",
            "Step[1]",
            (2, 2900, "cg0", 1),
        ),
        (
            DetailKind.STUCK,
            "Step[1] cg0: tid 7 stuck 2700ms on cpu1 at +2900ms",
            "Step[1]",
            (2, 4000, "cg0", 1),
        ),
        # A series names its sample and the time of the whole run.
        (
            DetailKind.TEMPORAL,
            "nr_0 (nondecreasing): decreased at periodic_001 (+750ms, Step[0])",
            "Step[0]",
            (1, 750, None, None),
        ),
        (
            DetailKind.TEMPORAL,
            "nr_0: fell between a and b (+1234ms, Step[0])",
            None,
            (None, 1234, None, None),
        ),
        (DetailKind.UNFAIR, "Step[0] cg1: unfair cgroup", "Step[0]", (1, None, "cg1", None)),
        (DetailKind.BENCHMARK, "cg1.p99: expected less", "Step[2]", (3, None, "cg1", None)),
        (
            DetailKind.MONITOR,
            "monitor: cpu3 runqueue clock stuck for 5 samples",
            None,
            (None, None, None, 3),
        ),
        (
            DetailKind.SCHEDULER_CRASHED,
            "scheduler process died unexpectedly after completing step 1 of 3 (2.5s into test)",
            None,
            (None, 2500, None, None),
        ),
        # Several CPUs are no place, and neither is a name that only looks like a cgroup's.
        (
            DetailKind.ISOLATION,
            "Step[0] cg11: ran on cpus 2-3 outside",
            "Step[0]",
            (1, None, None, None),
        ),
    ],
)
def test_a_finding_is_pinned_where_its_sentence_says(
    kind: DetailKind,
    message: str,
    phase: str | None,
    place: tuple[int | None, int | None, str | None, int | None],
) -> None:
    (pin,) = pins_of([(kind, message, phase)])
    assert (pin["step"], pin["at_ms"], pin["cgroup"], pin["cpu"]) == place
    assert pin["kind"] == kind.value


def test_failures_stand_before_doubts_and_name_the_steps() -> None:
    reasons = page_data(run())["reasons"]
    assert [(pin["level"], pin["kind"]) for pin in reasons] == [
        ("fail", "Stuck"),
        ("fail", "Unfair"),
        ("inconclusive", "Other"),
    ]
    assert reasons[1]["message"] == "Step[1] step 2 cg1: unfair cgroup: spread=80.0%"


def test_the_name_of_a_step_may_have_backslashes() -> None:
    record = run()
    record.facts["steps"][1]["name"] = r"\1 \g<0> C:\new"
    assert page_data(record)["reasons"][1]["message"].startswith(r"Step[1] \1 \g<0> C:\new cg1: ")


def test_a_lost_guest_is_the_finding() -> None:
    data = page_data(lost())
    assert (data["verdict"], data["exit_code"], data["cpus"]) == ("lost", 3, None)
    assert [pin["kind"] for pin in data["reasons"]] == ["GuestLost"]
    assert data["logs"][0]["lines"] == ["[2.0] the last word"]
    json.dumps(data, allow_nan=False)


def test_what_runs_it_again_can_be_pasted_into_a_shell() -> None:
    record = run()
    assert again_command(record) == """ktstr-run '/tmp/it'"'"'s.toml'"""
    record.host["again"] |= {"kernel": "debian:7", "topology": None, "flags": ["a", "b"]}
    record.facts["virtual"] = {"seed": 7, "shift": 1}
    assert again_command(record) == (
        """ktstr-run '/tmp/it'"'"'s.toml' --kernel debian:7 --flags a+b """
        "--clock virtual --seed 7"
    )
    record.host.clear()
    assert again_command(record) is None


def test_what_was_said_twice_is_one_note() -> None:
    record = run()
    record.facts["notes"] = ["a word of the run", "a word of the monitor"]
    record.host["notes"] = ["a word of the run"]
    assert page_data(record)["notes"] == [
        {"message": "a word of the verdict", "step": 1},
        {"message": "a word of the run", "step": None},
        {"message": "a word of the monitor", "step": None},
    ]


def test_limits_hold_and_what_is_left_out_is_said() -> None:
    record = run(samples=40, readings=400, cpus=8, cgroups=6, counters=50)
    assert record.result is not None
    for number in range(20):
        record.result.record_fail(AssertDetail(DetailKind.OTHER, f"no {number}", phase=None))
    limits = Limits(
        columns=100, cpus=4, counters=7, captures=16, carriers=5, phases=2, reasons=3, log_lines=1
    )
    record.console_tail = ("a", "b", "c")
    data = page_data(record, limits=limits)
    cpus = data["cpus"]
    assert cpus is not None and len(cpus["at_ms"]) == 100 and cpus["readings"] == 400
    assert all(len(row) == 100 for row in cpus["nr_running"]) and len(cpus["cpus"]) == 4
    assert len(data["counters"]) == 7 and len(data["captures"]["at_ms"]) == 16
    assert sum(len(cgroup["phases"]) for cgroup in data["cgroups"]) == 5
    assert len(data["phases"]) == 2
    assert [log["lines"] for log in data["logs"]][1] == ["c"]
    assert data["left_out"] == [
        "19 more findings in the record",
        "13 more cgroups' phases in the record",
        # 50 and the constant and the huge one, and three that it serves; seven are there.
        "48 more counters in the record",
        "4 more CPUs in the record",
        "1 more phase in the record",
        "24 more snapshots in the record",
    ]


def test_a_map_of_very_many_variables_is_cut_short() -> None:
    record = run(samples=1)
    (sample,) = record.samples.iter_samples()
    many = section("vast.bss", 1, {f"v{number}": number for number in range(MAX_LEAVES + 100)})
    snapshot = replace(sample.snapshot, maps=(many,))  # type: ignore[type-var]
    record.samples = SampleSeries([replace(sample, snapshot=snapshot)])
    data = page_data(record)
    assert len(data["counters"]) == 400
    assert f"{MAX_LEAVES - 400} more counters in the record" in data["left_out"]


def test_texts_are_harmless_and_short() -> None:
    data = page_data(hostile())
    text = json.dumps(data, ensure_ascii=False)
    assert "\u202e" not in text
    assert "</script>" in text, "markup is the page's business, not lost"
    record = RunRecord("id", "n" * 10_000, ExitCode.PASS, result=AssertResult())
    assert len(page_data(record)["name"]) <= 1001


def test_a_record_from_a_file_gives_the_same_page(tmp_path: Path) -> None:
    record = run()
    record.sidecar = write_sidecar(tmp_path, record)
    assert page_data(read_sidecar(record.sidecar)) == page_data(record)


def test_on_demand_snapshots_without_a_time_are_listed_but_not_drawn() -> None:
    record = run(samples=2)
    record.samples = SampleSeries([*record.samples.iter_samples(), Sample("on_demand")])
    data = page_data(record)
    assert data["freezes"][-1]["at_ms"] is None and len(data["captures"]["at_ms"]) == 2
