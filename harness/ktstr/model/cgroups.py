# SPDX-License-Identifier: GPL-2.0-only
"""Which cgroups exist, with which CPUs, at every point of a scenario.

The table follows the order the guest keeps: the Backdrop's cgroups, then its ops; per step first
the ops, then the step's cgroups (in a looping step the cgroups first), then the hold, then their
removal. Walking it finds ops that name what is not there, and the CPUs each cgroup's workers may
have used.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from ktstr.model.cgroup_def import CgroupDef
from ktstr.model.cpuset import CpusetSpec, require_cpus
from ktstr.model.locate import KeyPath
from ktstr.model.programs import Programs
from ktstr.model.source import Unknown
from ktstr.model.topology import Topology, format_cpulist
from ktstr.model.workspec import Work

Label = tuple[int, str]
"""Step index (1-based, 0 for the Backdrop) and cgroup that a worker's report is filed under."""

Report = Callable[[KeyPath, str], None]
"""Takes a mistake: where, and what would be allowed."""

HOST: Final = "/"
"""The root cgroup, under which the reports of SpawnHost's workers are filed."""


@dataclass(slots=True)
class _Cgroup:
    cpus: frozenset[int] | None
    permanent: bool
    limited: bool = False
    frozen: bool = False


def parent_of(name: str) -> str:
    """Name of the cgroup around this one; empty for one at the top."""
    return name.rpartition("/")[0]


@dataclass(slots=True)
class _Workers:
    label: Label
    home: set[str] = field(default_factory=set)


class CgroupTable:
    """The state of all cgroups while a scenario is walked.

    :param attached: whether a scheduler of ktstr's is attached at the start.
    """

    def __init__(
        self, topology: Topology, report: Report, unknown: Unknown, *, attached: bool = True
    ) -> None:
        self.topology = topology
        self.step = 0
        self.looping = False
        self.allowed: dict[Label, frozenset[int] | None] = {}

        def unless_unknown(at: KeyPath, allowed: str) -> None:
            # An op that cannot be read may have attached the scheduler or begun the payload.
            if not (unknown.history or unknown.scheduler):
                report(at, allowed)

        self.programs = Programs(attached, unless_unknown)
        self._report = report
        self._unknown = unknown
        self._cgroups: dict[str, _Cgroup] = {}
        self._workers: dict[Label, _Workers] = {}
        self._crowded: set[tuple[str, str]] = set()

    def find(self, name: str, at: KeyPath) -> _Cgroup | None:
        """The cgroup of that name; a mistake is reported when there is none."""
        cgroup = self._cgroups.get(name)
        if cgroup is None and not self._unknown.cgroups:
            names = ", ".join(self._cgroups) or "none"
            where = "of the Backdrop or from an AddCgroup before this op" if self.step else "listed"
            late = self.step and not self.looping
            self._report(
                at,
                f"a cgroup {where} (here: {names})"
                + ("; a step's own cgroups are set up after its ops" if late else ""),
            )
        return cgroup

    def add(
        self,
        name: str,
        at: KeyPath,
        cpus: frozenset[int] | None = None,
        *,
        limited: bool = False,
    ) -> None:
        """Create a cgroup; it goes with the step it was created in."""
        known = self._cgroups.get(name)
        above = parent_of(name)
        if above and above not in self._cgroups and not self._unknown.cgroups:
            self._report(at, f"a name below a cgroup that exists: {above} does not")
        elif known is not None and not self._unknown.history:
            kind = "the Backdrop's" if known.permanent and self.step else "those before it"
            self._report(at, f"a name that differs from {kind}: {', '.join(self._cgroups)}")
        if known is None:
            self._cgroups[name] = _Cgroup(cpus, permanent=self.step == 0, limited=limited)
            self._check_inner(at)

    def define(self, cgroup: CgroupDef, at: KeyPath) -> None:
        """Create a cgroup with its limits and workers."""
        cpus = self.resolve(cgroup.cpuset, (*at, "cpuset"))
        self.add(cgroup.name, (*at, "name"), cpus, limited=cgroup.limited)
        for number, work in enumerate(cgroup.works):
            place = (*at, "works", number)
            self.check_place(work, cgroup.name, place)
            self.spawn(cgroup.name, place)

    def remove(self, name: str, at: KeyPath) -> None:
        """Drop a cgroup, those below it, and their workers."""
        if self.find(name, at):
            for inner in [n for n in self._cgroups if n == name or n.startswith(f"{name}/")]:
                self._stop(inner)
                del self._cgroups[inner]

    def stop(self, name: str, at: KeyPath) -> None:
        """Drop the workers that live in a cgroup."""
        if self.find(name, at):
            self._stop(name)

    def _stop(self, name: str) -> None:
        for label, workers in list(self._workers.items()):
            workers.home.discard(name)
            if not workers.home:
                del self._workers[label]

    def set_cpus(self, name: str, at: KeyPath, cpus: frozenset[int] | None) -> None:
        """Give a cgroup other CPUs; ``None`` lifts the limit."""
        if cgroup := self.find(name, at):
            cgroup.cpus = cpus
            self.limit(name, at)

    def swap_cpus(self, one: str, one_at: KeyPath, other: str, other_at: KeyPath) -> None:
        """Exchange the CPUs of two cgroups."""
        a, b = self.find(one, one_at), self.find(other, other_at)
        if a and b:
            a.cpus, b.cpus = b.cpus, a.cpus
            self.limit(one, one_at)
            self.limit(other, other_at)

    def limit(self, name: str, at: KeyPath) -> None:
        """Use a controller in a cgroup."""
        if cgroup := self.find(name, at):
            cgroup.limited = True
            self._check_inner(at)

    def freeze(self, name: str, at: KeyPath, *, frozen: bool) -> None:
        """Stop a cgroup, or let it run."""
        if cgroup := self.find(name, at):
            cgroup.frozen = frozen

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
        self._check_inner(target_at)

    def spawn(self, name: str, at: KeyPath) -> None:
        """Start workers in a cgroup that exists."""
        if name == HOST or name in self._cgroups:
            label = (self.step, name)
            self._workers.setdefault(label, _Workers(label)).home.add(name)
            self._check_thawed(name, at)
            self._check_inner(at)

    def run_in(self, name: str, at: KeyPath) -> None:
        """Start a program that is no worker in a cgroup."""
        if self.find(name, at):
            self._check_thawed(name, at)

    def _check_thawed(self, name: str, at: KeyPath) -> None:
        while name in self._cgroups:
            if self._cgroups[name].frozen and not self._unknown.history:
                self._report(at, f"UnfreezeCgroup before it: nothing starts while {name} is frozen")
                return
            name = parent_of(name)

    def _check_inner(self, at: KeyPath) -> None:
        """Report tasks beside cgroups that controllers divide the CPU between.

        The kernel has no way to weigh a task against a group: cgroup_migrate_vet_dst and
        cgroup_vet_subtree_control_enable in kernel/cgroup/cgroup.c answer EBUSY.
        """
        populated = set(self.populated())
        for name, cgroup in self._cgroups.items():
            pair = (parent_of(name), name)
            if cgroup.limited and pair[0] in populated and pair not in self._crowded:
                self._crowded.add(pair)
                if not self._unknown.history:
                    self._report(
                        at,
                        f"workers below {pair[0]} or in it, not both: {name} in it has limits of "
                        "its own",
                    )

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
        own = None if self._unknown.history else self._cpus(name)
        if own is not None and not cpus & own:
            self._report(at, f"some of the cgroup's CPUs {format_cpulist(own)}")

    def check_place(self, work: Work, name: str, at: KeyPath) -> None:
        """Report what topology or cgroup cannot give to a work, or to one it is composed with."""
        for key, each in work.all_works():
            self.check_affinity(each.cpus, name, (*at, *key, "affinity"))
            if self._unknown.topology:
                continue
            own = None if self._unknown.history else self._cpus(name)
            for wrong, allowed in each.place_mistakes(self.topology, own):
                self._report((*at, *key, wrong), allowed)

    def _cpus(self, name: str) -> frozenset[int] | None:
        """CPUs in force: the cgroup's within its parent's, which also stand in for none."""
        if name not in self._cgroups:
            return None
        own, above = self._cgroups[name].cpus, self._cpus(parent_of(name))
        if own is None or above is None:
            return above if own is None else own
        return own & above or above

    def observe(self, *, holding: bool = False) -> None:
        """Record where each cgroup's workers may run now; called after everything that changes it.

        :param holding: the step's hold begins, so that permanent workers have a per-step record.
        """
        for label, workers in self._workers.items():
            cpus: frozenset[int] | None = frozenset()
            for home in map(self._cpus, workers.home):
                cpus = None if cpus is None or home is None else cpus | home
            self._record(label, cpus)
            if holding and label[0] != self.step:
                self._record((self.step, label[1]), cpus)

    def end_step(self) -> None:
        """Remove what belongs to the step alone, and thaw what it froze."""
        for label in [label for label in self._workers if label[0] == self.step]:
            del self._workers[label]
        for name in [n for n, cgroup in self._cgroups.items() if not cgroup.permanent]:
            if name in self._cgroups:  # not gone with the one around it
                self.remove(name, ())
        for cgroup in self._cgroups.values():
            cgroup.frozen = False
        self.programs.end_step()

    def _record(self, label: Label, cpus: frozenset[int] | None) -> None:
        before = self.allowed.get(label, frozenset())
        self.allowed[label] = None if cpus is None or before is None else before | cpus
