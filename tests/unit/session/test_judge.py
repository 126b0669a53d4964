# SPDX-License-Identifier: GPL-2.0-only
"""Verdicts from hand-made recorders: what fails, what is in doubt, what is silent."""

from dataclasses import replace
from typing import Any

import pytest

from ktstr.errors import ExitCode
from ktstr.metrics.stimulus import StimulusEvent
from ktstr.series.sample import MissingStats, MissingStatsReason, Sample, SampleSeries
from ktstr.session.judge import Expectations, judge
from ktstr.session.recorder import Recorder, SchedulerExit
from ktstr.telemetry import TaggedReport, WorkerReport
from ktstr.verdict import AssertResult, DetailKind, exit_code

HEALTHY = WorkerReport(
    tid=7,
    work_units=10,
    cpu_time_ns=900_000_000,
    wall_time_ns=1_000_000_000,
    off_cpu_ns=100_000_000,
    cpus_used=frozenset({0}),
    iterations=500,
    completed=True,
)
EXIT = SchedulerExit(
    during="step 1",
    process="exited with status 1",
    kind=1026,
    kind_name="SCX_EXIT_ERROR_STALL",
    exit_code=0,
    reason="runnable task stall",
    message="worker[7] failed to run for 5.0s",
    dump="",
    stage=None,
    kernel_log="",
)


def tagged(step: int = 1, **changes: Any) -> TaggedReport:
    return TaggedReport(
        step_index=step,
        cgroup="left",
        group_idx=0,
        work_idx=0,
        worker=0,
        work_type="SpinWait",
        report=replace(HEALTHY, **changes),
    )


def recorder(*, steps_ended: int = 1, ended: bool = True, reports: int = 1) -> Recorder:
    """One step of a second with one worker, by default run to its end."""
    made = Recorder({(1, "left"): 1})
    made.attached_at, made.started_at = 9.0, 10.0
    made.events = [StimulusEvent(0, "StepStart[0]", total_iterations=0, step_index=1)]
    if steps_ended:
        made.step_ends = {1}
        end = StimulusEvent(1000, "StepEnd[0]", total_iterations=500, step_index=1)
        made.events.append(replace(end, is_step_end=True))
    if ended:
        made.ended_at = 11.0
        made.events.append(StimulusEvent.terminal(1000, 500))
    for _ in range(reports):
        made.reports.append(tagged())
        made._left[(1, "left")] -= 1
    return made


def verdict(made: Recorder, samples: SampleSeries | None = None, **changes: Any) -> AssertResult:
    expected = Expectations(checks={"not_starved": True}, cpusets={}, steps=1, snapshots=0)
    return judge(made, samples or SampleSeries.empty(), replace(expected, **changes))


def failures(result: AssertResult) -> list[tuple[DetailKind, str]]:
    return [(detail.kind, detail.message) for detail in result.failure_details()]


def doubts(result: AssertResult) -> list[str]:
    return [detail.message for detail in result.inconclusive_details()]


def test_a_healthy_run_passes() -> None:
    result = verdict(recorder())
    assert result.outcome().name == "Pass"
    assert exit_code(result) == ExitCode.PASS


def test_a_worker_that_did_nothing_fails() -> None:
    made = recorder(reports=0)
    made.reports, made._left = [tagged(iterations=0, work_units=0)], {}
    assert exit_code(verdict(made)) == ExitCode.FAIL


def test_a_scheduler_that_never_attached_fails_with_its_stage_and_nothing_else() -> None:
    made = Recorder({(1, "left"): 1})
    log = "0: (85) call foo\nR1 is a scalar\nprocessed 9 insns (limit 1000000)\nverification failed"
    made.scheduler_exit = replace(EXIT, kind=None, stage="load", message=log)
    result = verdict(made)
    ((kind, message),) = failures(result)
    assert kind is DetailKind.SCHEDULER_CRASHED
    assert "did not attach at load: the verifier refused it: R1 is a scalar" in message
    assert doubts(result) == []


def test_a_scheduler_that_died_in_a_step_fails_by_its_reason() -> None:
    made = recorder(steps_ended=0, ended=False, reports=0)
    made.scheduler_exit, made.scheduler_died_s = EXIT, 0.5
    result = verdict(made)
    ((kind, message),) = failures(result)
    assert kind is DetailKind.SCHEDULER_CRASHED
    assert "runnable task stall" in message and "SCX_EXIT_ERROR_STALL (1026)" in message
    assert doubts(result) == [], "a step cut short owes no reports"


def test_reports_of_a_step_cut_short_are_not_judged() -> None:
    made = recorder(steps_ended=0, ended=False, reports=0)
    made.scheduler_exit = EXIT
    made.reports = [tagged(iterations=0, work_units=0)]
    result = verdict(made)
    assert [kind for kind, _ in failures(result)] == [DetailKind.SCHEDULER_CRASHED]
    assert any("one was cut short" in note.message for note in result.info_notes)


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"kind": 64, "kind_name": "SCX_EXIT_UNREG"}, DetailKind.SCHEDULER_EXITED_CLEANLY),
        ({"kind": 1023}, DetailKind.SCHEDULER_EXITED_CLEANLY),
        ({"kind": 1024}, DetailKind.SCHEDULER_CRASHED),
        ({"kind": None, "process": "killed by signal 9"}, DetailKind.SCHEDULER_CRASHED),
        ({"kind": None, "process": "exited"}, DetailKind.SCHEDULER_DIED_UNKNOWN_REASON),
    ],
)
def test_how_the_scheduler_ended_is_the_kind(changes: dict[str, Any], kind: DetailKind) -> None:
    made = recorder(ended=False)
    made.scheduler_exit = replace(EXIT, **changes)
    assert failures(verdict(made))[0][0] is kind


def test_a_missing_report_is_a_doubt_that_names_its_cgroup() -> None:
    result = verdict(recorder(reports=0))
    assert exit_code(result) == ExitCode.INCONCLUSIVE
    assert any("1 worker reports of step 1, cgroup 'left'" in text for text in doubts(result))


def test_nothing_evaluated_is_no_pass() -> None:
    result = verdict(recorder(), checks={})
    assert exit_code(result) == ExitCode.INCONCLUSIVE
    assert "no check was evaluated" in doubts(result)[0]


def test_an_agent_that_gave_up_fails() -> None:
    made = recorder()
    made.agent_errors.append("cgroup 'left' cannot be made: EBUSY")
    assert failures(verdict(made)) == [
        (DetailKind.OTHER, "the scenario could not go on: cgroup 'left' cannot be made: EBUSY")
    ]


def test_notes_of_the_link_reach_the_verdict() -> None:
    made = recorder()
    made.note("the bulk port carried damage: 5 bytes dropped")
    notes = [note.message for note in verdict(made).info_notes]
    assert "the bulk port carried damage: 5 bytes dropped" in notes


def sample(ordinal: int, snapshot: Any) -> Sample:
    return Sample(
        tag=f"periodic_{ordinal:03d}",
        elapsed_ms=100,
        boundary_offset_ms=100,
        step_index=1,
        snapshot=snapshot,
        stats=MissingStatsReason(MissingStats.NO_SCHEDULER_BINARY),
        paused_ns=None,
        error="RuntimeError: no",
    )


def test_no_snapshot_at_all_is_a_doubt_unless_the_scheduler_died() -> None:
    broken = SampleSeries([sample(0, None)])
    assert doubts(verdict(recorder(), broken, snapshots=2)) == [
        "none of the 2 snapshots could be taken"
    ]
    made = recorder()
    made.scheduler_exit = EXIT
    result = verdict(made, broken, snapshots=2)
    assert doubts(result) == []
    assert result.measurements["snapshots_taken"] == 0
    assert result.measurements["snapshots_asked"] == 2
