# SPDX-License-Identifier: GPL-2.0-only
"""What a gauntlet has to know of a scenario before it boots anything."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ktstr.model.gauntlet_def import Constraints
from ktstr.model.packing import packed_files
from ktstr.model.scenario import Scenario, load_scenario
from ktstr.model.topology import Topology
from ktstr.model.works.of import all_works
from ktstr.session.identity import digest_of_file
from ktstr.session.options import RunOptions
from ktstr.session.prepare import needed_features

CROWD = 2
"""Workers of one work, above which a cgroup counts as crowded (reference-04, section 10.8)."""


@dataclass(frozen=True, slots=True)
class Facts:
    """A scenario as its file and the options of a cell make it.

    :param group: the folder it lies in.
    :param kernel: the kernel it asks for, when nobody asks for another.
    :param topology: its own, when nobody asks for another.
    :param memory_mib: its own.
    :param workload_s: what its steps hold, seconds.
    :param crowded: a work has more than :data:`CROWD` workers.
    :param virtual: it runs by the virtual clock.
    :param flags: flags of the scheduler in force.
    :param excluded: flags it must not have.
    :param needs: features that its kernel must not lack.
    :param digest: of its text and of every file it takes into the guest.
    """

    name: str
    group: str
    kernel: str
    topology: Topology
    memory_mib: int
    workload_s: float
    crowded: bool
    virtual: bool
    flags: tuple[str, ...]
    excluded: tuple[str, ...]
    constraints: Constraints
    needs: frozenset[str]
    digest: str


def read_facts(path: Path, options: RunOptions) -> Facts:
    """Read a scenario with the scheduler, flags, clock and work type of ``options``.

    :raise DefinitionInvalid: with every mistake found.
    """
    scenario = load_scenario(
        path,
        scheduler=options.scheduler,
        work_type=options.work_type,
        flags=options.flags,
        clock=options.clock,
        seed=options.seed,
    )
    scheduler = scenario.scheduler
    return Facts(
        name=scenario.name,
        group=path.absolute().parent.name,
        kernel=scenario.kernel,
        topology=scenario.vm.guest_topology,
        memory_mib=scenario.vm.memory_mib,
        workload_s=sum(scenario.holds_ms()) / 1000,
        crowded=any(work.worker_count > CROWD for _, work in all_works(scenario)),
        virtual=scenario.run.clock == "virtual",
        flags=tuple(scheduler.flags),
        excluded=tuple(scheduler.excluded_flags),
        constraints=scenario.gauntlet,
        needs=needed_features(scenario),
        digest=_digest(scenario),
    )


def _digest(scenario: Scenario) -> str:
    whole = hashlib.sha256()
    for part in _parts(scenario):
        whole.update(hashlib.sha256(part.encode()).digest())
    return whole.hexdigest()


def _parts(scenario: Scenario) -> Iterator[str]:
    yield scenario.source.text
    for file in packed_files(scenario):
        yield file.guest
        try:
            yield digest_of_file(file.host)
        except OSError as error:
            yield f"unreadable: {error.strerror}"
