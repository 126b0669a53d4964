# SPDX-License-Identifier: GPL-2.0-only
"""Verdicts from hand-made recorders: what fails, what is in doubt, what is silent."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ktstr.errors import ExitCode
from ktstr.metrics.phase import Phase
from ktstr.metrics.stimulus import StimulusEvent
from ktstr.model.topology import Topology
from ktstr.series.monitor.report import MonitorReport
from ktstr.series.monitor.samples import CpuReading, MonitorSample
from ktstr.series.sample import MissingStats, MissingStatsReason, Sample, SampleSeries
from ktstr.series.snapshot import CpuSnapshot, SchedExtState, Snapshot
from ktstr.session.definition import define
from ktstr.session.judge import Expectations, judge
from ktstr.session.options import RunOptions
from ktstr.session.recorder import Recorder, SchedulerExit
from ktstr.telemetry import TaggedReport, WorkerReport
from ktstr.verdict import Assert, AssertResult, DetailKind, exit_code
from ktstr.verdict.phase_checks import PhaseCheck

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
    expected = Expectations(Assert(not_starved=True), cpusets={}, steps=1, snapshots=0)
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


def test_a_program_that_never_attached_is_quoted() -> None:
    made = Recorder({(1, "left"): 1})
    made.scheduler_log.add("one\ntwo\n\nno such\tlayer\x1b[31m\n" + "w" * 30 + "\n")
    ended = "exited with status 3 before it was attached"
    made.scheduler_exit = replace(EXIT, kind=None, reason="", stage="start", message=ended)
    ((_, message),) = failures(verdict(made))
    assert f"did not attach at start: {ended}: two no such layer\ufffd[31m {'w' * 30}" in message
    # A loader that names what failed needs no quotation.
    made.scheduler_exit = replace(made.scheduler_exit, stage="set", message="no such global")
    ((_, message),) = failures(verdict(made))
    assert "at set: no such global (" in message
    made.scheduler_log.add("x" * 5000)
    made.scheduler_exit = replace(made.scheduler_exit, stage="start")
    assert len(failures(verdict(made))[0][1]) < 600


def test_a_program_made_for_another_kernel_is_told_by_what_the_kernel_lacks() -> None:
    made = Recorder({(1, "left"): 1})
    made.scheduler_log.add(
        "libbpf: extern (func ksym) 'scx_bpf_quux': not found in kernel or module BTFs\n"
        "libbpf: failed to load BPF skeleton 'scx_simple': -3\n"
    )
    ended = "exited with status 1 before it was attached"
    made.scheduler_exit = replace(EXIT, kind=None, reason="", stage="start", message=ended)
    ((_, message),) = failures(verdict(made))
    assert message == (
        "the scheduler did not attach at start: the kernel has no kfunc scx_bpf_quux; the scheduler"
        " was built for another kernel (its log has the details)"
    )
    assert exit_code(verdict(made)) == ExitCode.FAIL


def test_a_program_that_the_verifier_refused_is_told_by_its_reason() -> None:
    accepted = "R9 is of a program that was accepted\nprocessed 3 insns (limit 1000000)\n"
    made = Recorder({(1, "left"): 1})
    made.scheduler_log.add(accepted)
    made.scheduler_exit = replace(EXIT, kind=None, reason="", stage="start", message="late")
    assert "did not attach at start: late: R9 is of" in failures(verdict(made))[0][1]
    made.scheduler_log.add(
        "libbpf: prog 'x_enqueue': BPF program load failed: Permission denied\n"
        "R2 !read_ok\nprocessed 4 insns (limit 1000000)\nlibbpf: failed to load: -13\n"
    )
    ((_, message),) = failures(verdict(made))
    assert "did not attach at start: the verifier refused it: R2 !read_ok (its log" in message


def test_a_program_that_died_in_a_step_is_quoted_where_the_kernel_is_silent() -> None:
    made = recorder(steps_ended=0, ended=False, reports=0)
    made.scheduler_log.add("panicked: index 9 of 2\n")
    made.scheduler_exit = replace(EXIT, kind=None, kind_name=None, reason="", message="")
    ((_, message),) = failures(verdict(made))
    assert message.endswith(": exited with status 1: panicked: index 9 of 2")


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


FASTER = PhaseCheck("iteration_rate", Phase.step(1), Phase.step(0), at_least=1.5)


def two_steps(*, second_ends: bool) -> Recorder:
    """500 iterations in the first second, 1000 in the second."""
    made = recorder(ended=False)
    made.events.append(
        StimulusEvent(1000, "StepStart[1]", total_iterations=500, step_index=2),
    )
    end = StimulusEvent(2000, "StepEnd[1]", total_iterations=1500, step_index=2)
    made.events.append(replace(end, is_step_end=True))
    if second_ends:
        made.step_ends.add(2)
    return made


def test_phases_are_compared() -> None:
    result = verdict(two_steps(second_ends=True), across=(FASTER,))
    (held,) = [one for one in result.passes if one.name == "iteration_rate"]
    assert (held.value, held.expected, held.phase) == ("2.0", "1.5", "Step[1]")
    assert result.measurements["iteration_rate Step[1]/Step[0]"] == 2.0
    slower = verdict(two_steps(second_ends=True), across=(replace(FASTER, at_least=2.5),))
    assert [kind for kind, _ in failures(slower)] == [DetailKind.BENCHMARK]


def test_a_phase_cut_short_is_not_compared() -> None:
    made = two_steps(second_ends=False)
    made.scheduler_exit = EXIT
    result = verdict(made, across=(FASTER,))
    assert doubts(result) == ["iteration_rate: Step[1] was cut short"]


def test_without_a_scheduler_nothing_is_compared() -> None:
    made = recorder(steps_ended=0, ended=False, reports=0)
    made.attached_at, made.scheduler_exit = None, replace(EXIT, stage="load")
    result = verdict(made, across=(FASTER,))
    assert doubts(result) == [] and len(failures(result)) == 1


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
    assert any("1 worker reports of Step[0], cgroup 'left'" in text for text in doubts(result))


def test_nothing_evaluated_is_no_pass() -> None:
    result = verdict(recorder(), checks=Assert())
    assert exit_code(result) == ExitCode.INCONCLUSIVE
    assert "no check was evaluated" in doubts(result)[0]


def test_an_agent_that_gave_up_fails() -> None:
    made = recorder()
    made.agent_errors.append("cgroup 'left' cannot be made: EBUSY")
    assert failures(verdict(made)) == [
        (DetailKind.OTHER, "the scenario could not go on: cgroup 'left' cannot be made: EBUSY")
    ]


def test_reports_of_a_step_that_did_not_begin_did_arrive() -> None:
    made = recorder(steps_ended=0, ended=False)
    made.reports = [tagged()]
    made.agent_errors.append("step 1: SetWeight: gone")
    result = verdict(made)
    assert [message for _, message in failures(result)] == [
        "the scenario could not go on: step 1: SetWeight: gone"
    ]
    assert doubts(result) == []


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


def test_memory_is_expected_on_the_nodes_of_the_cpuset() -> None:
    made = recorder(reports=0)
    made.reports, made._left = [tagged(numa_pages={0: 30, 1: 10})], {}
    result = verdict(
        made,
        checks=Assert(min_page_locality=0.8),
        cpusets={(1, "left"): frozenset({0, 1})},
        topology=Topology.parse("2n2l2c1t"),
    )
    assert failures(result) == [
        (
            DetailKind.PAGE_LOCALITY,
            "Step[0] left: page locality 0.7500 below floor 0.8 (30 of 40 pages on nodes 0)",
        )
    ]
    assert [cgroup.page_locality for cgroup in result.stats.cgroups] == [0.75]


def test_memory_only_nodes_are_those_of_the_topology() -> None:
    made = recorder(reports=0)
    made.reports, made._left = [tagged(numa_pages={0: 30, 1: 10})], {}
    result = verdict(
        made,
        checks=Assert(max_slow_tier_ratio=0.2),
        topology=Topology.parse("1n1l2c1t+1m"),
    )
    assert failures(result) == [
        (
            DetailKind.SLOW_TIER,
            (
                "Step[0] left: slow-tier ratio 0.2500 above limit 0.2 "
                "(10 of 40 pages on memory-only nodes 1)"
            ),
        )
    ]


def frozen(ordinal: int) -> Sample:
    cpus = tuple(CpuSnapshot(cpu, nr_running=1 + 8 * cpu, clock=ordinal) for cpu in (0, 1))
    snapshot = Snapshot("7.0", (), cpus, SchedExtState())
    taken = sample(ordinal, snapshot)
    return replace(taken, elapsed_ms=100 * ordinal, boundary_offset_ms=100 * ordinal, error=None)


def test_snapshots_are_what_the_monitors_limits_are_judged_by() -> None:
    series = SampleSeries([frozen(1), frozen(2)])
    checks = Assert(max_imbalance_ratio=4.0, sustained_samples=2, enforce_monitor_thresholds=True)
    assert failures(verdict(recorder(), series, checks=checks, snapshots=2)) == [
        (
            DetailKind.MONITOR,
            "monitor: imbalance ratio up to 9.0 above limit 4 for 2 samples in a row (threshold 2)",
        )
    ]
    unowned = verdict(recorder(), series, checks=checks, snapshots=2, scheduler_active=False)
    assert unowned.is_skip()


def watched(count: int, longest: int, *, held: bool = True) -> MonitorReport:
    return MonitorReport.of(
        [
            MonitorSample(
                100 * n,
                (CpuReading(0, 1, rq_clock=n), CpuReading(1, longest, rq_clock=n)),
                held=held,
                step_index=1 if held else None,
            )
            for n in range(count)
        ]
    )


def test_the_monitor_goes_before_snapshots() -> None:
    series = SampleSeries([frozen(1), frozen(2)])
    checks = Assert(max_imbalance_ratio=4.0, sustained_samples=2, enforce_monitor_thresholds=True)
    calm = judge(recorder(), series, Expectations(checks, {}, 1, 2), watched(3, 1))
    assert calm.failure_details() == []
    crowded = judge(recorder(), SampleSeries.empty(), Expectations(checks, {}, 1, 0), watched(3, 9))
    assert [detail.message for detail in crowded.failure_details()] == [
        "monitor: imbalance ratio up to 9.0 above limit 4 for 3 samples in a row (threshold 2)"
    ]


def test_snapshots_stand_in_for_a_monitor_that_saw_nothing() -> None:
    series = SampleSeries([frozen(1), frozen(2)])
    checks = Assert(max_imbalance_ratio=4.0, sustained_samples=2, enforce_monitor_thresholds=True)
    for blind in (MonitorReport(), watched(9, 1, held=False)):
        result = judge(recorder(), series, Expectations(checks, {}, 1, 2), blind)
        assert len(result.failure_details()) == 1
        notes = [note.message for note in result.info_notes]
        assert "the monitor saw nothing: its limits are judged by the snapshots" in notes
    nothing = judge(recorder(), SampleSeries.empty(), Expectations(checks, {}, 1, 0), blind)
    assert nothing.is_inconclusive()


def test_expectations_follow_from_a_definition(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text(
        """
vm.topology = "2n2l2c1t"
scheduler = { kernel_default = true, checks = { max_gap_ms = 7, strict = true } }
steps = [{ hold = 1, cgroups = [{ name = "a", cpuset = "2-3" }, { name = "b" }] }]
checks = { max_gap_ms = 9, not_starved = true }
"""
    )
    expected = Expectations.of(define(path, RunOptions()))
    assert expected.checks == Assert.levels(Assert(max_gap_ms=9, strict=True, not_starved=True))
    assert (expected.steps, expected.snapshots, expected.scheduler_active) == (1, 0, False)
    assert expected.expected_nodes() == {}
    with_workers = path.read_text().replace('"2-3"', '"2-3", works = [{ type = "SpinWait" }]')
    path.write_text(with_workers)
    assert Expectations.of(define(path, RunOptions())).expected_nodes() == {(1, "a"): {1}}


def test_expectations_know_the_explicit_nodes(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text(
        """
vm = { topology = "1n3l1c1t", numa = [
    { memory = "256M", llcs = 2 }, { memory = "96M" }, { memory = "64M", llcs = 0 },
] }
scheduler = { kernel_default = true }
steps = [{ hold = 1, cgroups = [
    { name = "a", cpuset = { numa = 1 }, works = [{ type = "SpinWait" }] },
] }]
checks = { max_slow_tier_ratio = 0.2 }
"""
    )
    expected = Expectations.of(define(path, RunOptions()))
    assert expected.expected_nodes() == {(1, "a"): {1}}
    made = recorder(reports=0)
    made.reports, made._left = [tagged(numa_pages={1: 30, 2: 10})], {}
    assert failures(judge(made, SampleSeries([]), expected)) == [
        (
            DetailKind.SLOW_TIER,
            (
                "Step[0] left: slow-tier ratio 0.2500 above limit 0.2 "
                "(10 of 40 pages on memory-only nodes 2)"
            ),
        )
    ]
