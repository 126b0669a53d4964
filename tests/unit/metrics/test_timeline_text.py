# SPDX-License-Identifier: GPL-2.0-only
"""The text of a timeline, against text typed by hand."""

import numpy as np
import pytest

from ktstr.metrics import StimulusEvent, Timeline, TimelineContext
from ktstr.metrics.timeline import Direction, PhaseChange, PhaseMetrics, TimelinePhase
from ktstr.telemetry import PhaseCgroupStats

STEP = StimulusEvent(500, "StepStart[0]", "ops=3", "2 cgroups, 4 workers", 0, 1)


def carrier() -> PhaseCgroupStats:
    return PhaseCgroupStats(
        num_workers=2,
        wake_latencies_ns=np.array([1_000, 9_000, 5_000], dtype=np.uint64),
        wake_sample_total=3,
        run_delays_ns=np.array([4_000, 2_000], dtype=np.uint64),
        off_cpu_pcts=np.array([10.0, 30.5]),
        total_iterations=1234,
        total_migrations=5,
        max_gap_ms=17,
        max_gap_cpu=3,
    )


def test_the_whole_text() -> None:
    timeline = Timeline(
        (
            TimelinePhase(0, 0, 500, PhaseMetrics(1, 1.0, 1.25, 0.4, 2)),
            TimelinePhase(
                index=1,
                start_ms=500,
                end_ms=2750,
                stimulus=STEP,
                metrics=PhaseMetrics(9, 1.75, 4.0, 3.6, 12, 2, 20.4, 0.0, 15000.4),
                changes=(
                    PhaseChange(Direction.DEGRADED, "imbalance", 1.0, 1.75),
                    PhaseChange(Direction.IMPROVED, "keep_last", 40.0, 0.0),
                ),
                per_cgroup={
                    "worker": carrier(),
                    "cut": PhaseCgroupStats(total_iterations=7, stripped=True),
                    "idle": PhaseCgroupStats(),
                },
            ),
        )
    )
    context = TimelineContext("7.2.0", "1n1l2c1t", "scx_simple", "fairness", 12.34)
    assert timeline.format_with_context(context) == (
        "--- timeline ---\n"
        "kernel: 7.2.0  topology: 1n1l2c1t  scheduler: scx_simple  scenario: fairness"
        "  duration: 12.3s\n"
        "\n"
        "BASELINE (settle, 500ms, 1 samples):\n"
        "  imbalance: avg=1.0 max=1.2 | dsq: avg=0 max=2\n"
        "\n"
        "Phase 1: StepStart[0] ops=3 (2250ms, 9 samples):\n"
        "  imbalance: avg=1.8 max=4.0 | dsq: avg=4 max=12 | fallback: 20/s | keep_last: 0/s"
        " | throughput: 15000 iter/s\n"
        "  stalls: 2\n"
        "  per-cgroup:\n"
        "    cut: samples stripped (size limit) | iters=7 migrations=0\n"
        "    idle: off-cpu n/a | iters=0 migrations=0\n"
        "    worker: off-cpu avg=20.2% min=10.0% max=30.5% spread=20.5%"
        " | wake p99=9us median=5us | run-delay mean=3us worst=4us"
        " | iters=1234 migrations=5 | gap=17ms@cpu3\n"
        "  >>> StepStart[0]: ops=3 (2 cgroups, 4 workers)\n"
        "  >>> DEGRADATION: imbalance +0.8\n"
        "  >>> IMPROVEMENT: keep_last -40.0"
    )


def test_no_phases_is_no_text() -> None:
    assert Timeline().format_with_context(TimelineContext(kernel="7.2")) == ""


def lines(phase: TimelinePhase) -> list[str]:
    head, *rest = Timeline((phase,)).format_with_context().split("\n")
    assert (head, rest[0]) == ("--- timeline ---", ""), "no context, no line for it"
    return rest[1:]


@pytest.mark.parametrize(
    ("metrics", "line"),
    [
        (PhaseMetrics(), "  [no samples]"),
        (
            PhaseMetrics(iteration_rate=0.0),
            "  [no samples] | throughput: 0 iter/s (stimulus-derived)",
        ),
        (
            PhaseMetrics(avg_imbalance=2.0, iteration_rate=3.0),
            (
                "  imbalance: avg=2.0 max=n/a | dsq: avg=n/a max=n/a"
                " | throughput: 3 iter/s (stimulus-derived)"
            ),
        ),
        (
            PhaseMetrics(4, iteration_rate=3.0),
            "  imbalance: avg=n/a max=n/a | dsq: avg=n/a max=n/a | throughput: 3 iter/s",
        ),
        (
            PhaseMetrics(4, max_dsq_depth=0, keep_last_rate=2.6),
            "  imbalance: avg=n/a max=n/a | dsq: avg=n/a max=0 | keep_last: 3/s",
        ),
        (PhaseMetrics(4, stall_count=0), "  imbalance: avg=n/a max=n/a | dsq: avg=n/a max=n/a"),
    ],
)
def test_what_was_not_measured_is_said_so(metrics: PhaseMetrics, line: str) -> None:
    assert lines(TimelinePhase(0, 0, 9, metrics))[1:] == [line]


@pytest.mark.parametrize(
    ("stimulus", "title", "action"),
    [
        (None, "Phase 4: ? (9ms, 0 samples):", []),
        (StimulusEvent(0, "Step[3]", step_index=4), "Phase 4: Step[3] (9ms, 0 samples):", []),
        (
            StimulusEvent(0, "Step[3]", "ops=2", step_index=4),
            "Phase 4: Step[3] ops=2 (9ms, 0 samples):",
            ["  >>> Step[3]: ops=2"],
        ),
    ],
)
def test_the_title_says_what_opened_the_phase(
    stimulus: StimulusEvent | None, title: str, action: list[str]
) -> None:
    phase = TimelinePhase(4, 0, 9, PhaseMetrics(), stimulus)
    assert lines(phase) == [title, "  [no samples]", *action]


def test_a_window_nobody_measured_has_no_duration() -> None:
    phase = TimelinePhase(2, 0, 0, PhaseMetrics(), not_measured_window=True)
    assert lines(phase)[0] == "Phase 2: ? (window not measured, 0 samples):"
    baseline = TimelinePhase(0, 5, 1, PhaseMetrics(), not_measured_window=True)
    assert lines(baseline)[0] == "BASELINE (settle, window not measured, 0 samples):"


@pytest.mark.parametrize(
    ("count", "last"),
    [
        (16, "    cg15: off-cpu n/a | iters=0 migrations=0"),
        (17, "    (+1 more cgroup)"),
        (20, "    (+4 more cgroups)"),
    ],
)
def test_sixteen_cgroups_are_listed_by_name(count: int, last: str) -> None:
    cgroups = {f"cg{i:02}": PhaseCgroupStats() for i in reversed(range(count))}
    found = lines(TimelinePhase(0, 0, 1, PhaseMetrics(), per_cgroup=cgroups))[2:]
    assert found[0] == "  per-cgroup:"
    assert found[1].startswith("    cg00:")
    assert found[16].startswith("    cg15:")
    assert found[-1] == last
    assert len(found) == 17 + (count > 16)


def test_a_guest_cannot_write_lines_of_its_own() -> None:
    cgroups = {"a\n--- verdict ---\x1b[2J": PhaseCgroupStats()}
    found = lines(TimelinePhase(0, 0, 1, PhaseMetrics(), per_cgroup=cgroups))
    assert found[-1] == "    a --- verdict ---\ufffd[2J: off-cpu n/a | iters=0 migrations=0"
    assert len(found) == 4


def test_context_that_is_not_known_is_left_out() -> None:
    timeline = Timeline((TimelinePhase(0, 0, 1, PhaseMetrics()),))
    context = TimelineContext(topology="1n1l2c1t", duration_s=0.0)
    text = timeline.format_with_context(context)
    assert text.split("\n")[1] == "topology: 1n1l2c1t  duration: 0.0s"
