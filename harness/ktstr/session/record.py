# SPDX-License-Identifier: GPL-2.0-only
"""Everything known about one finished run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ktstr.errors import ExitCode
from ktstr.metrics import METRICS, PhaseBucket, ScenarioStats
from ktstr.metrics.fold import ExpectedNodes, fold_run
from ktstr.metrics.phase import Phase
from ktstr.metrics.stimulus import StimulusEvent
from ktstr.series.monitor.report import MonitorReport, phase_readings
from ktstr.series.sample import SampleSeries
from ktstr.series.snapshot import Snapshot
from ktstr.telemetry import TaggedReport
from ktstr.verdict import AssertResult


@dataclass(slots=True)
class RunRecord:
    """Everything known about one finished run.

    ``error`` is set when the guest was lost, ``result`` when there is a verdict;
    ``output_error`` when neither record nor evidence could be written. ``facts`` says what ran on
    what; ``host`` holds what differs between two otherwise equal runs (times, paths);
    ``monitor`` what the monitor saw; ``expected_nodes`` where the memory of confined cgroups should
    be; ``last`` what memory showed at the end, which is not in the sidecar.
    """

    run_id: str
    name: str
    exit_code: ExitCode
    result: AssertResult | None = None
    error: str | None = None
    output_error: str | None = None
    samples: SampleSeries = field(default_factory=SampleSeries.empty)
    monitor: MonitorReport | None = None
    events: list[StimulusEvent] = field(default_factory=list)
    reports: list[TaggedReport] = field(default_factory=list)
    expected_nodes: ExpectedNodes = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    host: dict[str, Any] = field(default_factory=dict)
    sidecar: Path | None = None
    evidence: Path | None = None
    console_tail: tuple[str, ...] = ()
    scheduler_tail: tuple[str, ...] = ()
    last: Snapshot | None = field(default=None, repr=False)

    @property
    def verdict(self) -> str:
        """One word: pass, skip, fail, inconclusive or lost."""
        if self.result is None:
            return "lost"
        return self.result.outcome().name.lower()

    @property
    def phases(self) -> tuple[PhaseBucket, ...]:
        """The phases of the run; none without a verdict."""
        return () if self.result is None else self.result.stats.phases

    def fold_again(self) -> ScenarioStats:
        """The statistics, once more from the captures, the stimulus and the reports."""
        return fold_run(
            self.samples,
            self.events,
            self.reports,
            expected_nodes=self.expected_nodes,
            monitor=phase_readings(self.monitor, self.samples),
        )

    def step_name(self, step_index: int) -> str | None:
        """The name that a step was given; ``None`` when it has none."""
        steps = self.facts.get("steps", ())
        return next((step["name"] for step in steps if step["index"] == step_index), None)

    def phase_title(self, step_index: int) -> str:
        """How a phase is called wherever people read of it; see :func:`phase_title`."""
        return phase_title(step_index, self.step_name(step_index))

    def run_metrics(self) -> dict[str, float]:
        """Every run-level metric that was measured, in the registry's order, others after them."""
        if self.result is None:
            return {}
        stats = self.result.stats
        found = {metric.name: stats.run_metric(metric.name) for metric in METRICS}
        measured = {name: value for name, value in found.items() if value is not None}
        return measured | in_order(stats.ext_metrics)

    @property
    def scheduler_ended(self) -> bool:
        """Whether the scheduler ended, or never attached, while it was needed."""
        return bool(self.facts.get("scheduler", {}).get("exit"))


_PLACE = {metric.name: place for place, metric in enumerate(METRICS)}


def in_order(metrics: Mapping[str, float]) -> dict[str, float]:
    """``metrics`` in the registry's order; what it does not know comes last, by name."""
    names = sorted(metrics, key=lambda name: (_PLACE.get(name, len(_PLACE)), name))
    return {name: metrics[name] for name in names}


def phase_title(step_index: int, name: str | None = None) -> str:
    """The phase's label and, for a step that was given one, its name: ``Step[0] steady``.

    :param step_index: 1-based step; 0 is the time before the first.
    """
    label = str(Phase(step_index))
    return f"{label} {name}" if name else label
