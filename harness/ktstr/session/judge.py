# SPDX-License-Identifier: GPL-2.0-only
"""From what was recorded to the verdict: statistics, checks, and how the scheduler fared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ktstr.metrics.fold import fold_run
from ktstr.metrics.phase import Phase
from ktstr.model.op_programs import RunPayload
from ktstr.model.topology import Topology
from ktstr.series.monitor.report import MonitorReport, phase_readings
from ktstr.series.monitor.samples import MonitorSample, monitor_samples
from ktstr.series.sample import SampleSeries
from ktstr.session.definition import Definition
from ktstr.session.payloads import PayloadResult
from ktstr.session.phase_checks import phase_checks
from ktstr.session.recorder import Recorder, SchedulerExit
from ktstr.session.temporal import TemporalCheck, judge_temporal, temporal_checks
from ktstr.telemetry.decode import printable
from ktstr.verdict import (
    Assert,
    AssertDetail,
    AssertResult,
    DetailKind,
    Surroundings,
    evaluate,
    require_evaluated,
)
from ktstr.verdict.death import DeathCause, SchedulerDeath
from ktstr.verdict.load_failure import LOAD_FAILED, mismatch, refusal
from ktstr.verdict.phase_checks import PhaseCheck, judge_phases

FIRST_ERROR_KIND = 1024
"""SCX_EXIT_ERROR in kernel/sched/ext_internal.h: kinds from here on are failures."""


@dataclass(frozen=True, slots=True)
class Expectations:
    """What the definition lets the judge expect.

    :param checks: the thresholds in force.
    :param cpusets: CPUs of each (step, cgroup) that is confined.
    :param snapshots: how many periodic samples were asked for.
    :param silenced: (step, cgroup) pairs of which an op ended workers, so that reports may lack.
    :param payloads: by name, the ops that start programs and say how they should end.
    :param across: comparisons between phases.
    :param temporal: patterns that figures have to follow over time.
    :param scheduler_active: whether anything but the kernel's own scheduler was asked for.
    """

    checks: Assert
    cpusets: Mapping[tuple[int, str], frozenset[int]]
    steps: int
    snapshots: int
    silenced: frozenset[tuple[int, str]] = frozenset()
    payloads: Mapping[str, RunPayload] = field(default_factory=dict)
    across: tuple[PhaseCheck, ...] = ()
    temporal: tuple[TemporalCheck, ...] = ()
    topology: Topology = field(default_factory=Topology)
    scheduler_active: bool = True

    @classmethod
    def of(cls, definition: Definition) -> "Expectations":
        """What follows from a definition; its checks lie on top of its scheduler's."""
        scenario = definition.scenario
        return cls(
            checks=Assert.levels(*map(Assert.from_checks, scenario.check_levels())),
            cpusets=definition.cpusets,
            steps=len(definition.holds_ms),
            snapshots=len(definition.boundaries_ms),
            silenced=definition.silenced,
            payloads=definition.payloads,
            across=phase_checks(scenario),
            temporal=temporal_checks(scenario),
            topology=definition.topology,
            scheduler_active=scenario.scheduler.kind != "none",
        )

    def expected_nodes(self) -> dict[tuple[int, str], frozenset[int]]:
        """The NUMA nodes of each confined cgroup's CPUs, where its memory should be."""
        return {
            label: frozenset(self.topology.node_of(cpu) for cpu in cpus)
            for label, cpus in self.cpusets.items()
        }


def judge(
    recorder: Recorder,
    samples: SampleSeries,
    expected: Expectations,
    report: MonitorReport | None = None,
) -> AssertResult:
    """The verdict of a run that reached its Goodbye.

    A run in which nothing was evaluated is inconclusive, never a silent pass.

    :param report: what the monitor saw; without it, snapshots stand in.
    """
    notes: list[str] = []
    reports = recorder.reports
    nodes = expected.expected_nodes()
    readings = phase_readings(report, samples)
    stats = fold_run(
        samples, recorder.events, reports, expected_nodes=nodes, monitor=readings, notes=notes
    )
    exit_record = recorder.scheduler_exit
    result = AssertResult(stats=stats)
    if exit_record is not None and recorder.attached_at is None:
        # Nothing ran, so there is nothing the checks could speak of.
        result.record_fail(_not_attached(exit_record, recorder))
    else:
        if exit_record is not None and exit_record.stage is not None:
            result.record_fail(_not_attached(exit_record, recorder))
        elif exit_record is not None:
            result.record_fail(_death(recorder, exit_record, expected.steps).detail())
        judged = [report for report in reports if _ran_to_its_end(recorder, report.step_index)]
        if len(judged) < len(reports):
            notes.append("checks speak of completed steps only: one was cut short")
        if judged or not (exit_record or reports):
            around = Surroundings(
                cpusets=expected.cpusets,
                expected_nodes=nodes,
                memory_only_nodes=range(expected.topology.numa_nodes, expected.topology.nodes),
                monitor=_judged_readings(report, samples, expected, notes),
                scheduler_active=expected.scheduler_active,
            )
            result.extend(evaluate(expected.checks, judged, around))
        begun = {event.step_index for event in recorder.events if event.step_index}
        cut_short = {Phase(step) for step in begun if not _ran_to_its_end(recorder, step)}
        judge_phases(result, stats, expected.across, cut_short)
        judge_temporal(result, samples, expected.temporal)
    for error in recorder.agent_errors:
        result.record_fail(AssertDetail(DetailKind.OTHER, f"the scenario could not go on: {error}"))
    for (step, cgroup), count in sorted(recorder.missing_reports().items()):
        if (step, cgroup) in expected.silenced:
            continue
        message = f"{count} worker reports of {Phase(step)}, cgroup {cgroup!r} never arrived"
        result.record_inconclusive(AssertDetail(DetailKind.OTHER, message))
    _judge_payloads(result, recorder.payloads, expected.payloads)
    _judge_samples(result, samples, expected.snapshots, exit_record is not None)
    for note in [*notes, *recorder.notes]:
        result.note(note)
    return require_evaluated(result)


def _judged_readings(
    report: MonitorReport | None, samples: SampleSeries, expected: Expectations, notes: list[str]
) -> list[MonitorSample]:
    """What the monitor's limits are judged by: its readings, or snapshots where it saw nothing."""
    if report is not None and report.saw_something:
        return report.judged_samples()
    captured = monitor_samples(samples.periodic_only())
    watched = expected.scheduler_active and expected.checks.watches_monitor()
    if watched and captured:
        notes.append("the monitor saw nothing: its limits are judged by the snapshots")
    return captured


def _judge_payloads(
    result: AssertResult, payloads: Sequence[PayloadResult], expected: Mapping[str, RunPayload]
) -> None:
    """Numbers that payloads printed become measurements; a wrong exit status fails the run."""
    for payload in payloads:
        op = expected.get(payload.name)
        if op is None:
            result.note(f"the guest told of a payload {payload.name!r} that nobody started")
            continue
        name = f"payload.{payload.name}"
        result.note_value(f"{name}.wall_ms", payload.wall_ms)
        for path, value in payload.metrics().items() if op.output == "json" else ():
            result.note_value(f"{name}.{path}", value)
        if payload.killed is not None:
            result.note(f"payload {payload.name!r} was killed: {payload.killed}")
        if payload.cut:
            result.note(f"payload {payload.name!r} printed more than is kept")
        failure = payload.failure(op.exit_code)
        if failure is not None:
            result.record_fail(AssertDetail(DetailKind.OTHER, failure))


def _judge_samples(
    result: AssertResult, samples: SampleSeries, asked: int, scheduler_died: bool
) -> None:
    good = sum(1 for sample in samples.periodic_only().iter_samples() if sample.snapshot)
    result.note_value("snapshots_asked", asked)
    result.note_value("snapshots_taken", good)
    if asked and not good and not scheduler_died:
        message = f"none of the {asked} snapshots could be taken"
        result.record_inconclusive(AssertDetail(DetailKind.MONITOR, message))
    elif good < asked:
        result.note(f"{good} of {asked} snapshots were taken")


LAST_LINES, LAST_WORDS_CHARS = 3, 400


def _last_words(recorder: Recorder) -> str:
    """The end of what the scheduler printed: a program's own account of its failure."""
    lines = [line for line in recorder.scheduler_log.text().split("\n") if line.strip()]
    return printable("\n".join(lines[-LAST_LINES:])[-LAST_WORDS_CHARS:])


def _not_attached(record: SchedulerExit, recorder: Recorder) -> AssertDetail:
    stage = f" at {record.stage}" if record.stage else ""
    why = _misfit(record, recorder)
    if why is None:
        why = _first_line(record.message) or record.reason or record.process
        if record.stage in (None, "start") and (said := _last_words(recorder)):
            # The loader names what failed; of any other program nobody but itself can.
            why = f"{why}: {said}"
    return AssertDetail(
        DetailKind.SCHEDULER_CRASHED,
        f"the scheduler did not attach{stage}: {why} (its log has the details)",
    )


def _ran_to_its_end(recorder: Recorder, step: int) -> bool:
    return recorder.ended_at is not None or step in recorder.step_ends


def _misfit(record: SchedulerExit, recorder: Recorder) -> str | None:
    """Why libbpf or the verifier refused the scheduler, when it was one of them.

    The loader passes their words on in its message; any program that uses libbpf prints them.
    """
    log = recorder.scheduler_log.text()
    release = None if recorder.hello is None else recorder.hello.release
    why = mismatch(log, release)
    reason = refusal(record.message) or (refusal(log) if LOAD_FAILED in log else None)
    if why is not None or reason is None:
        return why
    return f"the verifier refused it: {printable(reason)[:LAST_WORDS_CHARS]}"


def _first_line(message: str) -> str:
    return next((line.strip() for line in message.splitlines() if line.strip()), "")


def _death(recorder: Recorder, record: SchedulerExit, steps: int) -> SchedulerDeath:
    if record.kind is not None:
        failed = record.kind >= FIRST_ERROR_KIND
        cause = DeathCause.CRASHED if failed else DeathCause.EXITED_CLEANLY
    elif "signal" in record.process or record.kernel_log:
        cause = DeathCause.CRASHED
    else:
        cause = DeathCause.UNKNOWN
    kind = f"{record.kind_name or 'exit kind'} ({record.kind})" if record.kind is not None else ""
    parts = [kind, record.reason, record.message]
    reason = ": ".join(part for part in parts if part) or _last_kernel_line(record)
    last = recorder.events[-1].elapsed_ms / 1000 if recorder.events else 0.0
    return SchedulerDeath(
        cause=cause,
        elapsed_s=recorder.scheduler_died_s or last,
        completed_steps=len(recorder.step_ends),
        total_steps=steps,
        reason=reason or ": ".join(filter(None, (record.process, _last_words(recorder)))),
    )


def _last_kernel_line(record: SchedulerExit) -> str:
    lines = [line for line in record.kernel_log.splitlines() if "disabled" in line]
    return lines[-1] if lines else ""


def why_not_attached(recorder: Recorder) -> str:
    """Why the scheduler did not attach, in a sentence."""
    record = recorder.scheduler_exit
    if record is None:
        return "the scheduler did not attach, and nothing was said of it"
    return _not_attached(record, recorder).message
