# SPDX-License-Identifier: GPL-2.0-only
"""Which cgroups exist, with which CPUs, at every point of a scenario.

The table follows the order the guest keeps: the Backdrop's cgroups, then its ops; per step first
the ops, then the step's cgroups, then the hold, then their removal. Walking it finds ops that
name what is not there, and the CPUs each cgroup's workers may have used.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from ktstr.model.cpuset import CpusetSpec, require_cpus
from ktstr.model.locate import KeyPath
from ktstr.model.source import Unknown
from ktstr.model.topology import Topology, format_cpulist

Label = tuple[int, str]
"""Step index (1-based, 0 for the Backdrop) and cgroup that a worker's report is filed under."""

Report = Callable[[KeyPath, str], None]
"""Takes a mistake: where, and what would be allowed."""


@dataclass(slots=True)
class _Cgroup:
    cpus: frozenset[int] | None
    permanent: bool


@dataclass(slots=True)
class _Workers:
    label: Label
    home: set[str] = field(default_factory=set)


class CgroupTable:
    """The state of all cgroups while a scenario is walked."""

    def __init__(self, topology: Topology, report: Report, unknown: Unknown) -> None:
        self.topology = topology
        self.step = 0
        self.allowed: dict[Label, frozenset[int] | None] = {}
        self._report = report
        self._unknown = unknown
        self._cgroups: dict[str, _Cgroup] = {}
        self._workers: dict[Label, _Workers] = {}

    def find(self, name: str, at: KeyPath) -> _Cgroup | None:
        """The cgroup of that name; a mistake is reported when there is none."""
        cgroup = self._cgroups.get(name)
        if cgroup is None and not self._unknown.cgroups:
            names = ", ".join(self._cgroups) or "none"
            where = "of the Backdrop or from an AddCgroup before this op" if self.step else "listed"
            self._report(
                at,
                f"a cgroup {where} (here: {names})"
                + ("; a step's own cgroups are set up after its ops" if self.step else ""),
            )
        return cgroup

    def add(self, name: str, at: KeyPath, cpus: frozenset[int] | None = None) -> None:
        """Create a cgroup; it goes with the step it was created in."""
        known = self._cgroups.get(name)
        if known is not None and not self._unknown.history:
            kind = "the Backdrop's" if known.permanent and self.step else "those before it"
            self._report(at, f"a name that differs from {kind}: {', '.join(self._cgroups)}")
        elif known is None:
            self._cgroups[name] = _Cgroup(cpus, permanent=self.step == 0)

    def remove(self, name: str, at: KeyPath) -> None:
        """Drop a cgroup and its workers."""
        if self.find(name, at):
            self.stop(name, at)
            del self._cgroups[name]

    def stop(self, name: str, at: KeyPath) -> None:
        """Drop the workers that live in a cgroup."""
        if self.find(name, at):
            for label, workers in list(self._workers.items()):
                workers.home.discard(name)
                if not workers.home:
                    del self._workers[label]

    def set_cpus(self, name: str, at: KeyPath, cpus: frozenset[int] | None) -> None:
        """Give a cgroup other CPUs; ``None`` lifts the limit."""
        if cgroup := self.find(name, at):
            cgroup.cpus = cpus

    def swap_cpus(self, one: str, one_at: KeyPath, other: str, other_at: KeyPath) -> None:
        """Exchange the CPUs of two cgroups."""
        a, b = self.find(one, one_at), self.find(other, other_at)
        if a and b:
            a.cpus, b.cpus = b.cpus, a.cpus

    def move(self, source: str, source_at: KeyPath, target: str, target_at: KeyPath) -> None:
        """Move all workers of one cgroup to another."""
        a, b = self.find(source, source_at), self.find(target, target_at)
        if not a or not b:
            return
        if a.permanent and not b.permanent:
            self._report(target_at, "a cgroup of the Backdrop: its tasks outlive the step")
            return
        for workers in self._workers.values():
            if source in workers.home:
                workers.home.discard(source)
                workers.home.add(target)

    def spawn(self, name: str) -> None:
        """Start workers in a cgroup that exists."""
        if name in self._cgroups:
            label = (self.step, name)
            self._workers.setdefault(label, _Workers(label)).home.add(name)

    def populated(self) -> list[str]:
        """Names of the cgroups that have workers."""
        return sorted({name for workers in self._workers.values() for name in workers.home})

    def resolve(self, spec: CpusetSpec | None, at: KeyPath) -> frozenset[int] | None:
        """CPUs of a specification; a mistake is reported when the topology cannot give them."""
        if self._unknown.topology:
            return None
        try:
            return None if spec is None else spec.resolve(self.topology)
        except ValueError as error:
            self._report(at, str(error))
            return None

    def check_affinity(self, cpus: frozenset[int] | None, name: str, at: KeyPath) -> None:
        """Report an affinity that the topology lacks or that the cgroup's cpuset rules out."""
        if cpus is None or self._unknown.topology:
            return
        try:
            require_cpus(cpus, self.topology)
        except ValueError as error:
            self._report(at, str(error))
            return
        cgroup = None if self._unknown.history else self._cgroups.get(name)
        if cgroup and cgroup.cpus is not None and not cpus & cgroup.cpus:
            self._report(at, f"some of the cgroup's CPUs {format_cpulist(cgroup.cpus)}")

    def observe(self, *, holding: bool = False) -> None:
        """Record where each cgroup's workers may run now; called after everything that changes it.

        :param holding: the step's hold begins, so that permanent workers have a per-step record.
        """
        for label, workers in self._workers.items():
            homes = [self._cgroups[name].cpus for name in workers.home]
            cpus: frozenset[int] | None = frozenset()
            for home in homes:
                cpus = None if cpus is None or home is None else cpus | home
            self._record(label, cpus)
            if holding and label[0] != self.step:
                self._record((self.step, label[1]), cpus)

    def end_step(self) -> None:
        """Remove the cgroups that belong to the step alone, and all workers it started."""
        for label in [label for label in self._workers if label[0] == self.step]:
            del self._workers[label]
        for name in [n for n, cgroup in self._cgroups.items() if not cgroup.permanent]:
            self.remove(name, ())

    def _record(self, label: Label, cpus: frozenset[int] | None) -> None:
        before = self.allowed.get(label, frozenset())
        self.allowed[label] = None if cpus is None or before is None else before | cpus
