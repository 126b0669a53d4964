# SPDX-License-Identifier: GPL-2.0-only
"""From captures, stimulus and reports to the scenario's statistics, in the seeds' order."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from ktstr.metrics.bucket import PhaseBucket, fold_guest_per_cgroup_into_host_buckets
from ktstr.metrics.build import build_phase_buckets_with_stimulus
from ktstr.metrics.derive import derive_phase_metrics
from ktstr.metrics.inject import monitor_run_metrics
from ktstr.metrics.populate import populate_run_ext_all
from ktstr.metrics.scenario import ScenarioStats
from ktstr.metrics.stimulus import StimulusEvent
from ktstr.series.monitor.samples import MonitorSample
from ktstr.series.sample import SampleSeries
from ktstr.telemetry.carrier import PhaseCgroupStats, phase_cgroup_stats, phase_slice_carriers
from ktstr.telemetry.cgroup import cgroup_stats
from ktstr.telemetry.report import TaggedReport

ExpectedNodes = Mapping[tuple[int, str], Collection[int]]
"""NUMA nodes a cgroup's memory should be on, by step index and cgroup name."""


def group_reports(reports: Iterable[TaggedReport]) -> dict[tuple[int, str], list[TaggedReport]]:
    """Reports by step and cgroup, in step order; within a group by work item and worker."""
    groups: dict[tuple[int, str], list[TaggedReport]] = {}
    order = sorted(reports, key=lambda r: (r.step_index, r.cgroup, r.work_idx, r.worker))
    for report in order:
        groups.setdefault((report.step_index, report.cgroup), []).append(report)
    return groups


def guest_carriers(
    reports: Sequence[TaggedReport], expected_nodes: ExpectedNodes | None = None
) -> list[PhaseBucket]:
    """One carrier bucket per step, merged over each cgroup's work items.

    A persistent worker (step index 0) is no carrier of BASELINE: its report spans the run. Its
    phase slices are carriers of the steps they belong to. A worker of one step carries what its
    report says, and its engine's data from the one slice it sends for them.
    """
    nodes = expected_nodes or {}
    steps: dict[int, dict[str, PhaseCgroupStats]] = {}
    for (reported_step, cgroup), group in group_reports(reports).items():
        expected = nodes.get((reported_step, cgroup))
        for tagged in group:
            for step, carrier in _carriers_of(tagged, expected).items():
                cgroups = steps.setdefault(step, {})
                known = cgroups.get(cgroup)
                cgroups[cgroup] = carrier if known is None else known.merge(carrier)
    return [PhaseBucket.carrier(step, steps[step]) for step in sorted(steps)]


def _carriers_of(
    tagged: TaggedReport, expected: Collection[int] | None
) -> dict[int, PhaseCgroupStats]:
    """One worker's carriers by step."""
    report, step = [tagged.report], tagged.step_index
    slices = phase_slice_carriers(report, expected)
    if step > 0:
        whole = phase_cgroup_stats(report, expected, stripped=tagged.stripped)
        if (engine := slices.get(step)) is not None:
            whole = replace(whole, schbench=engine.schbench, taobench=engine.taobench)
        return {step: whole}
    return {
        part: replace(carrier, stripped=tagged.stripped and _had_samples(carrier))
        for part, carrier in slices.items()
    }


def _had_samples(carrier: PhaseCgroupStats) -> bool:
    return carrier.wake_sample_total + carrier.timer_sample_total > 0


def fold_run(
    samples: SampleSeries,
    stimulus_events: Sequence[StimulusEvent],
    tagged_reports: Sequence[TaggedReport],
    *,
    expected_nodes: ExpectedNodes | None = None,
    monitor: Sequence[MonitorSample] = (),
    notes: list[str] | None = None,
) -> ScenarioStats:
    """The statistics of one run.

    :param samples: all captures; only periodic ones are folded.
    :param monitor: host readings on the clock of ``stimulus_events``.
    :param notes: takes a sentence for everything that had to be merged against expectation.
    """
    periodic = samples.periodic_only()
    cgroups = [
        cgroup_stats(
            [tagged.report for tagged in group],
            cgroup_name=cgroup,
            expected_nodes=(expected_nodes or {}).get((step, cgroup)),
        )
        for (step, cgroup), group in group_reports(tagged_reports).items()
    ]
    pre_derive = fold_guest_per_cgroup_into_host_buckets(
        build_phase_buckets_with_stimulus(periodic, stimulus_events, monitor=monitor),
        guest_carriers(tagged_reports, expected_nodes),
        notes,
    )
    stats = populate_run_ext_all(ScenarioStats.from_cgroups(cgroups, phases=pre_derive), periodic)
    return replace(
        stats,
        phases=tuple(derive_phase_metrics(pre_derive)),
        ext_metrics={**stats.ext_metrics, **monitor_run_metrics(monitor)},
    )
