# SPDX-License-Identifier: GPL-2.0-only
"""A gauntlet on the workers of a Dask cluster: the same plan, journal and matrix."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import anyio.abc
from rich.console import RenderableType
from rich.text import Text

from ktstr.cli.fleet_options import need_dask
from ktstr.cli.gauntlet_runner import Asked, GauntletRunner
from ktstr.cli.logs import configure_logging
from ktstr.cli.reports import Reports, check_reports
from ktstr.cli.screen import open_standard_streams
from ktstr.errors import ExitCode
from ktstr.gauntlet.host import EMULATED_PER_CPU, HostLimits
from ktstr.gauntlet.plan import Wanted
from ktstr.gauntlet.run import Executor
from ktstr.report.many_live import ManyProgress


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster as the command line names it.

    :param address: of its scheduler.
    :param tls: files of authority, certificate and key; None: without TLS.
    :param artifacts: address of a folder for what runs leave; None: it comes back.
    """

    address: str
    tls: tuple[Path, Path, Path] | None = None
    artifacts: str | None = None

    @classmethod
    def of(
        cls,
        text: str,
        ca: Path | None,
        cert: Path | None,
        key: Path | None,
        artifacts: str | None,
    ) -> "Cluster":
        """The cluster, once it is sure that it can be spoken with.

        :raise CannotRun: when the address or the files are not right, or Dask is not installed.
        """
        need_dask()
        from ktstr.fleet.delivery import storage
        from ktstr.fleet.security import Tls, address

        tls = Tls.of(ca, cert, key)
        if artifacts is not None:
            storage(artifacts, writable=True)
        files = None if tls is None else (tls.ca, tls.cert, tls.key)
        return cls(address(text, tls), files, artifacts)


class FleetGauntletRunner(GauntletRunner):
    """A gauntlet whose cells run on a cluster."""

    def __init__(
        self, asked: Asked, reports: Reports, cluster: Cluster, *, only_plan: bool
    ) -> None:
        from ktstr.fleet.client import Fleet

        super().__init__(asked, reports, only_plan=only_plan)
        self._cluster = cluster
        self._fleet: Fleet | None = None

    async def run_all(self, helpers: anyio.abc.TaskGroup) -> None:
        """Plan and run while there is a connection; what runs when it ends is ended there."""
        from ktstr.fleet.connect import connected
        from ktstr.fleet.security import Tls

        there = self._cluster
        async with connected(
            there.address,
            # A later resumption may start elsewhere.
            self._asked.folder.absolute(),
            tls=None if there.tls is None else Tls(*there.tls),
            artifacts=there.artifacts,
            tell=self.say,
        ) as fleet:
            self._fleet = fleet
            await fleet.someone()
            await super().run_all(helpers)

    async def limits(self, wanted: Wanted) -> HostLimits:
        """How large a guest may be on the largest worker."""
        assert self._fleet is not None
        sites, asked = self._fleet.sites, self._asked.max_cpus
        accelerators = {member.accelerator for member in self._fleet.roster.members.values()}
        cpus = max((site.cpus for site in sites), default=1)
        emulated = "kvm" not in accelerators
        known = [site.memory_mib for site in sites if site.memory_mib is not None]
        return HostLimits(
            "tcg" if emulated else "kvm",
            cpus,
            asked or cpus * (EMULATED_PER_CPU if emulated else 1),
            max(known) if known and len(known) == len(sites) else None,
            asked=asked is not None,
            machines=max(1, len(sites)),
        )

    def summary(self, wall_s: float) -> Iterator[RenderableType]:
        """What people read in the end: the matrix, then who did what."""
        yield from super().summary(wall_s)
        if self._fleet is not None:
            yield from (Text(line, style="dim") for line in self._fleet.report())

    def executor(self, progress: ManyProgress, *, limited: bool) -> Executor:
        """What runs the cells, and decides which of them at the same time."""
        assert self._fleet is not None
        self._fleet.prepare(self.watching(progress), self._asked.jobs)
        return self._fleet


def run_fleet_gauntlet(
    asked: Asked, reports: Reports, cluster: Cluster, *, only_plan: bool = False
) -> ExitCode:
    """Run a gauntlet on a cluster and return how the process is to exit.

    :raise CannotRun: when a report cannot be written where it is wanted.
    """
    open_standard_streams()
    configure_logging(verbose=asked.verbose)
    check_reports(reports)
    return FleetGauntletRunner(asked, reports, cluster, only_plan=only_plan).main()
