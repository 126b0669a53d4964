# SPDX-License-Identifier: GPL-2.0-only
"""One finished run as the comparison sees it (reference-06 section 21).

Everything that was not recorded or not measured is ``None`` or absent, never zero.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

VERDICTS: Final = ("pass", "skip", "inconclusive", "fail", "lost")
"""Every verdict, from the best to the worst."""


@dataclass(frozen=True, slots=True)
class RowPhase:
    """One phase of a run.

    :param step_index: 0 is BASELINE, 1 the first step.
    :param label: ``Step[0]``, or ``BASELINE``.
    :param name: what the scenario calls the step.
    :param samples: captures that fell into it; weighs its averages.
    :param metrics: what was measured, by name.
    """

    step_index: int
    label: str
    name: str | None = None
    samples: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """Label and name."""
        return f"{self.label} {self.name}" if self.name else self.label


@dataclass(frozen=True, slots=True)
class Row:
    """One run.

    :param path: its sidecar.
    :param started: when the run began, UTC, as ``2026-11-21 18:17:29``.
    :param error: how the guest was lost.
    :param reason: the first reason of a verdict that is no pass.
    :param kernel: release of the guest's kernel.
    :param kernel_spec: how the kernel was asked for.
    :param kernel_commit: of the tree that the kernel was built from.
    :param scheduler: the scheduler's file without folder; ``none`` is the kernel's own.
    :param flags: the profile of flags that the scheduler ran with.
    :param work_type: the types of all works, sorted, joined by ``+``.
    :param project_commit: of the repository the scenario file is in: 7 digits, ``-dirty`` where
        files differ from it.
    :param run_source: ``ci`` or ``local``.
    :param cpu_budget: host CPUs that the run could use.
    :param vcpus: CPUs of the guest.
    :param clock: ``wall`` or ``virtual``.
    :param seed: of a run by the virtual clock.
    :param steps: name and length, ms, of each step.
    :param identity: digest of all that a run by the virtual clock did.
    :param run_sample_count: the monitor's readings; weighs the run's averages.
    :param metrics: run-level metrics that were measured, by name.
    :param not_finite: metrics whose value is no finite number, dropped from ``metrics``.
    """

    path: Path
    run_id: str
    scenario: str
    verdict: str
    exit_code: int
    started: str | None = None
    error: str | None = None
    reason: str | None = None
    kernel: str | None = None
    kernel_spec: str | None = None
    kernel_commit: str | None = None
    scheduler: str | None = None
    flags: str | None = None
    topology: str | None = None
    work_type: str | None = None
    project_commit: str | None = None
    run_source: str | None = None
    cpu_budget: int | None = None
    vcpus: int | None = None
    clock: str | None = None
    seed: int | None = None
    identity: str | None = None
    steps: tuple[tuple[str | None, int | None], ...] = ()
    wall_s: float | None = None
    run_sample_count: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    phases: tuple[RowPhase, ...] = ()
    not_finite: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether its figures count."""
        return self.verdict == "pass"

    @property
    def skipped(self) -> bool:
        """Whether the run had no place to be judged."""
        return self.verdict == "skip"

    @property
    def inconclusive(self) -> bool:
        """Whether it could not be judged."""
        return self.verdict == "inconclusive"

    def metric(self, name: str) -> float | None:
        """A run-level metric; ``None`` when it was not measured."""
        return self.metrics.get(name)

    def phase(self, step_index: int) -> RowPhase | None:
        """A phase by its step; ``None`` when the run did not get there."""
        return next((each for each in self.phases if each.step_index == step_index), None)
