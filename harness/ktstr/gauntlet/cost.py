# SPDX-License-Identifier: GPL-2.0-only
"""How long a cell will take: by what was measured here, else by the reference's formula."""

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from ktstr.gauntlet.cells import Cell, CellResult
from ktstr.gauntlet.host import HostLimits
from ktstr.gauntlet.plan import Entry
from ktstr.kernels.boot_times import BootTime
from ktstr.model.presets import topology_named
from ktstr.session.virtual import slowdown

BOOT_S: Final = 10
"""From the start to a guest that waits for its scenario (reference-04, section 10.8)."""

AFTER_S: Final = 2
"""From the scenario's end to the record."""

EASY_CPUS: Final = 16
CPUS_PER_S: Final = 10
"""Above :data:`EASY_CPUS`, a second for each so many CPUs more."""

EMULATED_EASY: Final = 2
"""Emulated vCPUs for a host CPU up to which a boot takes no longer; beyond, in proportion."""

JUDGED: Final = ("pass", "fail", "inconclusive")
"""Verdicts of runs that lasted as long as such runs do."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """How long a cell is going to take.

    :param wall_s: from its start to its record, seconds.
    :param share: the part of all machines that it takes meanwhile, up to 1.
    :param source: what the figure rests on: ``run``, ``topology``, ``boot`` or ``formula``.
    """

    wall_s: float
    share: float
    source: str

    @property
    def cost_s(self) -> float:
        """What it takes of a budget that the whole host may spend, seconds."""
        return self.wall_s * self.share


@dataclass(frozen=True, slots=True)
class Measured:
    """A run of an earlier gauntlet."""

    cell: Cell
    result: CellResult

    @property
    def overhead_s(self) -> float:
        """What it took beside what its steps held, seconds."""
        return max(0.0, self.result.wall_s - (self.result.workload_s or 0.0))


class Estimator:
    """Knows what was measured.

    :param measured: runs of earlier gauntlets on this host.
    :param boots: boot times of a kernel, by its digest.
    :param jobs: runs at a time, where that was asked for.
    """

    def __init__(
        self,
        host: HostLimits,
        measured: Iterable[Measured] = (),
        boots: Callable[[str], Iterable[BootTime]] = lambda digest: (),
        jobs: int | None = None,
    ) -> None:
        self._host = host
        self._boots = boots
        self._jobs = jobs
        self._same: dict[tuple[str, ...], list[float]] = defaultdict(list)
        self._beside: dict[tuple[str, ...], list[float]] = defaultdict(list)
        for each in measured:
            accelerator = each.result.facts.get("accelerator")
            if each.result.verdict in JUDGED and accelerator == host.accelerator:
                self._same[_run(each.cell)].append(each.result.wall_s)
                self._beside[_guest(each.cell)].append(each.overhead_s)

    def of(self, entry: Entry) -> Estimate:
        """The estimate for a cell."""
        wall_s, source = self._wall(entry)
        return Estimate(wall_s, self._share(entry), source)

    def _share(self, entry: Entry) -> float:
        machines = self._host.machines
        if self._jobs is not None:
            return 1 / (self._jobs * machines)
        return min(1.0, entry.cost.cpus / self._host.cpus) / machines

    def _wall(self, entry: Entry) -> tuple[float, str]:
        cell, facts = entry.cell, entry.facts
        if same := self._same.get(_run(cell)):
            return statistics.median(same), "run"
        topology = facts.topology if cell.preset is None else topology_named(cell.preset)
        workload_s = facts.workload_s * (slowdown(topology.cpus) if facts.virtual else 1)
        if beside := self._beside.get(_guest(cell)):
            return statistics.median(beside) + workload_s, "topology"
        for boot in self._boots(entry.kernel_digest):
            if (boot.cpus, boot.accelerator) == (topology.cpus, self._host.accelerator):
                return boot.median_s + workload_s + AFTER_S, "boot"
        return self._boot_s(topology.cpus) + workload_s + AFTER_S, "formula"

    def _boot_s(self, cpus: int) -> float:
        """The reference's formula, for emulated CPUs in proportion to those of the host."""
        real = BOOT_S + max(0, (cpus - EASY_CPUS) // CPUS_PER_S)
        if self._host.accelerator == "kvm":
            return real
        return real * max(1.0, cpus / (EMULATED_EASY * self._host.cpus))


def _run(cell: Cell) -> tuple[str, ...]:
    return cell.name, cell.topology, *cell.place, cell.options.clock or ""


def _guest(cell: Cell) -> tuple[str, ...]:
    return cell.topology, cell.options.clock or ""
