# SPDX-License-Identifier: GPL-2.0-only
"""Which worker a run goes to, and who waits: decided without waiting and without a clock."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

MAX_OVERTAKEN: Final = 4
"""How many later runs may go before the one whose turn it is and that fits nowhere yet."""


@dataclass(frozen=True, slots=True)
class Need:
    """What a run takes of a worker.

    :param cpus: vCPUs that may be busy at a time.
    :param memory_mib: guest memory and what QEMU needs beside it.
    :param guest: what shapes its guest; runs with the same continue one template.
    :param kernel: the kernel that has to be there before; empty for one that is sent along.
    :param alone: whether nothing else may run on its worker.
    """

    cpus: int
    memory_mib: int
    guest: str = ""
    kernel: str = ""
    alone: bool = False


@dataclass(slots=True)
class Site:
    """A worker as placement sees it.

    :param cpus: vCPUs of guests it runs at a time.
    :param memory_mib: memory for guests; None when it does not know.
    :ivar guests: shapes of the guests that ran there.
    :ivar kernels: what is in its cache.
    :ivar lacks: kernels that it cannot get, with the reason.
    """

    address: str
    cpus: int
    memory_mib: int | None
    free_cpus: int = field(init=False)
    used_mib: int = field(default=0, init=False)
    runs: int = field(default=0, init=False)
    guests: set[str] = field(default_factory=set, init=False)
    kernels: set[str] = field(default_factory=set, init=False)
    lacks: dict[str, str] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.free_cpus = self.cpus

    def could(self, need: Need) -> bool:
        """Whether the run can go there at all, when nothing else runs."""
        return not self.obstacle(need)

    def obstacle(self, need: Need) -> str:
        """Why a run cannot go there; empty when it can."""
        if self.memory_mib is not None and need.memory_mib > self.memory_mib:
            return f"it has {self.memory_mib} MiB for guests, {need.memory_mib} are needed"
        return self.lacks.get(need.kernel, "")

    def fits(self, need: Need) -> bool:
        """Whether the run may begin there now; one larger than the worker runs there alone."""
        if need.kernel and need.kernel not in self.kernels:
            return False
        if need.alone and self.runs:
            return False
        if min(need.cpus, self.cpus) > self.free_cpus:
            return False
        return self.memory_mib is None or self.used_mib + need.memory_mib <= self.memory_mib


@dataclass(frozen=True, slots=True)
class Place:
    """A run's place: the worker, and what is counted of it there."""

    site: Site
    cpus: int
    memory_mib: int


class Placement:
    """Workers with what is free of each, and the runs that wait for a place, in order.

    When the run whose turn it is fits nowhere, a later one may go, but only
    :data:`MAX_OVERTAKEN` times. A run goes to the workers with enough CPUs for it; where none has
    so many, to the largest. Among those it goes where such a guest ran before, so that its template
    is there, then where most is free.
    """

    def __init__(self) -> None:
        self._sites: dict[str, Site] = {}
        self._waiting: dict[int, Need] = {}
        self._next = 0
        self._overtaken = 0

    @property
    def sites(self) -> Iterable[Site]:
        """The workers there are."""
        return self._sites.values()

    @property
    def waiting(self) -> int:
        """How many runs wait for a place."""
        return len(self._waiting)

    def add(self, site: Site) -> None:
        """A worker has come."""
        self._sites[site.address] = site

    def remove(self, address: str) -> None:
        """A worker has gone; places on it are given back all the same."""
        self._sites.pop(address, None)

    def ask(self, need: Need) -> int:
        """A run waits from now on; the number it is called by."""
        self._next += 1
        self._waiting[self._next] = need
        return self._next

    def withdraw(self, number: int) -> None:
        """A run waits no longer."""
        self._waiting.pop(number, None)

    def hopeless(self, need: Need) -> bool:
        """Whether no worker that is there can ever take it."""
        return bool(self._sites) and not any(site.could(need) for site in self._sites.values())

    def grant(self) -> tuple[int, Place] | None:
        """The next run that may go, and where; None when none may."""
        for turn, (number, need) in enumerate(list(self._waiting.items())):
            if turn and self._overtaken >= MAX_OVERTAKEN:
                return None
            site = self._site_for(need)
            if site is None:
                continue
            self._overtaken = self._overtaken + 1 if turn else 0
            del self._waiting[number]
            return number, self._take(site, need)
        return None

    def give_back(self, place: Place) -> None:
        """A run has ended, wherever its worker is now."""
        place.site.free_cpus += place.cpus
        place.site.used_mib -= place.memory_mib
        place.site.runs -= 1

    def _take(self, site: Site, need: Need) -> Place:
        cpus = site.cpus if need.alone else min(need.cpus, site.cpus)
        site.free_cpus -= cpus
        site.used_mib += need.memory_mib
        site.runs += 1
        site.guests.add(need.guest)
        return Place(site, cpus, need.memory_mib)

    def _site_for(self, need: Need) -> Site | None:
        able = [site for site in self._sites.values() if site.could(need)]
        enough = [site for site in able if site.cpus >= need.cpus]
        if not enough and able:
            most = max(site.cpus for site in able)
            enough = [site for site in able if site.cpus == most]
        fitting = [site for site in enough if site.fits(need)]
        return max(fitting, key=lambda s: (need.guest in s.guests, s.free_cpus), default=None)
