# SPDX-License-Identifier: GPL-2.0-only
"""What a check is asked about, and what it may answer."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ktstr.metrics.fold import ExpectedNodes
from ktstr.model.topology import format_cpulist
from ktstr.series.monitor.samples import MonitorSample
from ktstr.telemetry.report import TaggedReport, WorkerReport
from ktstr.verdict.detail import AssertDetail, DetailKind, PassDetail
from ktstr.verdict.outcome import Fail, Inconclusive

CpuSets = Mapping[tuple[int, str], frozenset[int] | None]
"""CPUs a cgroup is confined to, by step index and name. No entry: it is not confined. ``None``:
it was, but not to one set that could be judged."""

Finding = Fail | Inconclusive | PassDetail
Found = Iterator[Finding]
"""What a check says: failures, doubts, and what held."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is known of a run beside the reports.

    :param expected_nodes: NUMA nodes a cgroup's memory should be on, by step index and name.
    :param memory_only_nodes: nodes of the guest that have memory and no CPU.
    :param monitor: readings in the order of time, without those of a warm-up.
    :param scheduler_active: whether anything but the kernel's own scheduler was asked for.
    """

    cpusets: CpuSets = field(default_factory=dict)
    expected_nodes: ExpectedNodes = field(default_factory=dict)
    memory_only_nodes: Collection[int] = frozenset()
    monitor: Sequence[MonitorSample] = ()
    scheduler_active: bool = True


@dataclass(frozen=True, slots=True)
class Group:
    """The living workers of one cgroup in one step, at least one.

    :param phase: label of the step's phase; BASELINE for persistent workers.
    """

    step: int
    phase: str
    cgroup: str
    live: Sequence[TaggedReport]
    around: Surroundings

    @property
    def where(self) -> str:
        """Phase and cgroup, as every message starts."""
        return f"{self.phase} {self.cgroup}"

    @property
    def reports(self) -> list[WorkerReport]:
        """The workers' reports."""
        return [tagged.report for tagged in self.live]

    @property
    def key(self) -> tuple[int, str]:
        """Step index and cgroup name."""
        return self.step, self.cgroup

    @staticmethod
    def name_of(tagged: TaggedReport) -> str:
        """A worker in words: its number counts within one work item, so type and tid go along."""
        return f"worker {tagged.worker} ({tagged.work_type}, tid {tagged.report.tid})"

    def fail(self, kind: DetailKind, message: str) -> Fail:
        """The check does not hold here."""
        return Fail(AssertDetail(kind, f"{self.where}: {message}", self.phase))

    def inconclusive(self, kind: DetailKind, message: str) -> Inconclusive:
        """The check cannot be judged here."""
        return Inconclusive(AssertDetail(kind, f"{self.where}: {message}", self.phase))

    def confirm(self, name: str, comparator: str, value: str, limit: str) -> PassDetail:
        """The check holds here."""
        return PassDetail(f"{self.cgroup}.{name}", comparator, value, limit, self.phase)


def cpu_list(cpus: Collection[int]) -> str:
    """CPUs or nodes in the kernel's list form, ``0-3,6``; ``none`` for none."""
    return format_cpulist(cpus) or "none"
