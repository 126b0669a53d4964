# SPDX-License-Identifier: GPL-2.0-only
"""Executes the cells of a gauntlet on the workers of a Dask cluster.

Which worker a run goes to is decided here (:mod:`ktstr.fleet.placement`), so that a guest's
template is used where it is, and so that it is known what a lost worker took along. Dask carries
the runs, watches the workers, and keeps other users of the cluster within its resources.
"""

import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from ktstr.errors import CannotRun, ExitCode, KtstrError
from ktstr.fleet import worker as service
from ktstr.fleet.arrival import arrived
from ktstr.fleet.carrier import Carrier, Dropped, WorkerLost, plain
from ktstr.fleet.pack import Packed, pack
from ktstr.fleet.placement import Need, Place, Placement, Site
from ktstr.fleet.roster import RUNNING, Member, Roster
from ktstr.gauntlet.cells import Cell, CellResult
from ktstr.session.ends import End
from ktstr.session.events import StageStarted
from ktstr.session.several import Heard
from ktstr.telemetry.decode import printable

if TYPE_CHECKING:
    from distributed import Client

LOOK_S: Final = 1.0
"""How often it is looked who is there, beside Dask's own word of it."""

NOBODY_S: Final = 60.0
"""How long runs wait for a worker while there is none that can be used."""

MAX_LOSSES: Final = 3
"""Workers that a run may take along, the last one while it is alone there, before that is its
result."""

SETTLE_S: Final = 0.2
"""How long the loss of one connection is ahead of that of another at most."""

SPARE: Final = 2
"""Cells that are packed and wait while all workers are busy."""

END_S: Final = 40.0
"""How long the workers may take to end what runs."""

Watch = Callable[[Cell], AbstractContextManager[Heard]]
Tell = Callable[[str], object]


class FleetLost(CannotRun):
    """The scheduler is gone, or all workers are: nothing can run any more."""


class Fleet:
    """The workers of a cluster. Calling it executes a cell; :meth:`drive` decides when.

    :param out_dir: folder for records and evidence.
    :param artifacts: address of a folder, as fsspec takes it, for what runs leave; None: it comes
        back through the scheduler.
    :param watch: shows a cell while it runs.
    :param tell: gets a sentence when something happens with a worker.
    """

    def __init__(
        self,
        client: "Client",
        address: str,
        tasks: TaskGroup,
        out_dir: Path,
        *,
        artifacts: str | None = None,
        watch: Watch = lambda cell: nullcontext(Heard()),
        tell: Tell = lambda text: None,
        nobody_s: float = NOBODY_S,
    ) -> None:
        self.name = secrets.token_hex(4)
        self.roster = Roster(client, self._came, self._went, artifacts)
        self._carrier = Carrier(client, self.roster, self.name, artifacts, self._suspect)
        self._client = client
        self._address = address
        self._tasks = tasks
        self._out_dir = out_dir
        self._watch = watch
        self._tell = tell
        self._nobody_s = nobody_s
        self._jobs: int | None = None
        self._placement = Placement()
        self._granted: dict[int, Place] = {}
        self._changed = anyio.Event()
        self._look = anyio.Event()
        self._gone: dict[str, anyio.Event] = {}
        self._names: dict[str, str] = {}
        self._preparing: set[tuple[str, str]] = set()
        self._ran: Counter[str] = Counter()
        self._gone_names: list[str] = []
        self._repeated = 0
        self._lost = ""
        self._ended = False

    @property
    def sites(self) -> Sequence[Site]:
        """The workers that runs are given to."""
        return list(self._placement.sites)

    def report(self) -> Iterator[str]:
        """Who did what, a line each, once it is over."""
        if self._ran:
            shares = ", ".join(f"{name} {count}" for name, count in sorted(self._ran.items()))
            yield f"runs by worker: {shares}"
        if self._gone_names:
            lost = ", ".join(self._gone_names)
            runs = f"{self._repeated} run{'' if self._repeated == 1 else 's'}"
            again = f"; {runs} repeated" if self._repeated else ""
            yield f"workers that went: {lost}{again}"
        for member in self.roster.members.values():
            if member.obstacle:
                yield f"worker {member.name} got no runs: {member.obstacle}"

    def prepare(self, watch: Watch, jobs: int | None = None) -> None:
        """Have cells be shown so from now on, and at most ``jobs`` run at a time."""
        self._watch = watch
        self._jobs = jobs

    async def someone(self) -> None:
        """Wait until there is a worker that runs can be given to.

        :raise FleetLost: when none comes.
        """
        until = anyio.current_time() + self._nobody_s
        if not self.sites:
            self._tell(f"waiting for a worker that can be used{self._reasons()}")
        while not self.sites:
            self._check()
            if anyio.current_time() > until:
                self._lose(self._deserted())
            with anyio.move_on_after(LOOK_S):
                await self._changed.wait()

    async def drive(self, cells: Sequence[Cell], one: Callable[[int], Awaitable[None]], /) -> None:
        """Begin cells in their order as the workers have room."""
        going = 0

        async def begun(place: int) -> None:
            nonlocal going
            try:
                await one(place)
            finally:
                going -= 1
                self._wake()

        async with anyio.create_task_group() as tasks:
            for place in range(len(cells)):
                while going >= self._room():
                    await self._changed.wait()
                going += 1
                tasks.start_soon(begun, place)

    def _room(self) -> int:
        """How many cells may be begun at a time."""
        most = SPARE + sum(site.cpus for site in self._placement.sites)
        return most if self._jobs is None else min(most, self._jobs)

    async def __call__(self, cell: Cell) -> CellResult:
        """Execute a cell on whichever worker has room; what goes wrong with it is its result.

        :raise FleetLost: when there is no cluster any more.
        """
        try:
            packed = await anyio.to_thread.run_sync(pack, cell)
        except (KtstrError, OSError) as error:
            return CellResult.of(End.of_error(error, cell.kernel))
        need = Need(
            packed.parcel.cpus, packed.parcel.memory_mib, packed.parcel.guest, packed.parcel.fetch
        )
        losses: list[str] = []
        with self._watch(cell) as heard:
            while len(losses) < MAX_LOSSES:
                heard(StageStarted("fleet", "waiting for a worker"))
                # Whether it takes its workers along, or fell with others, shows when it is alone.
                alone = len(losses) == MAX_LOSSES - 1
                place = await self._place(replace(need, alone=alone))
                if isinstance(place, str):
                    return CellResult.of(End.of_error(CannotRun(place)))
                name = self._name(place.site.address)
                try:
                    result = await self._attempt(cell, packed, place, heard)
                except WorkerLost:
                    losses.append(name)
                    self._tell(f"{cell.label}: worker {name} was lost while it ran there")
                    continue
                finally:
                    self._placement.give_back(place)
                    self._grant()
                self._ran[name] += 1
                self._repeated += bool(losses)
                notes = [f"repeated after worker {lost} was lost" for lost in losses]
                facts = {**result.facts, "worker": name}
                return replace(result, notes=(*notes, *result.notes), facts=facts)
        return CellResult(
            "guest lost",
            ExitCode.GUEST_LOST,
            reason=f"guest lost: took {len(losses)} workers along: {', '.join(losses)}",
            facts={"worker": losses[-1]},
        )

    async def _attempt(self, cell: Cell, packed: Packed, place: Place, heard: Heard) -> CellResult:
        address = place.site.address
        if address not in self._gone:
            raise WorkerLost
        key = self._carrier.key(cell.key or cell.name)
        gone, name = self._gone[address], self._name(address)
        try:
            value = await self._carrier.carry(key, place, name, packed, heard, gone)
            if self._lost:
                self._check()
            target = self._carrier.target(key)
            return await anyio.to_thread.run_sync(arrived, value, self._out_dir, key, target)
        except Dropped:
            await anyio.sleep(SETTLE_S)
            await self.refresh()
            self._check()
            result = CellResult.not_run("cancelled on the cluster by somebody else")
            return await anyio.to_thread.run_sync(arrived, plain(result), self._out_dir, key, None)
        except WorkerLost:
            # A scheduler that went takes its workers along: that is noticed a moment later.
            await anyio.sleep(SETTLE_S)
            await self.refresh()
            self._check()
            raise
        except KtstrError as error:
            if isinstance(error, FleetLost):
                raise
            return CellResult.of(End.of_error(error))

    # Where

    async def _place(self, need: Need) -> Place | str:
        """A place for a run, once there is one; or why there never will be."""
        number = self._placement.ask(need)
        try:
            while True:
                self._prepare(need.kernel)
                self._grant()
                if number in self._granted:
                    return self._granted.pop(number)
                self._check()
                if self._placement.hopeless(need):
                    return self._why_hopeless(need)
                if not self.sites:
                    await self.someone()
                with anyio.move_on_after(LOOK_S):
                    await self._changed.wait()
        finally:
            self._placement.withdraw(number)
            if (place := self._granted.pop(number, None)) is not None:
                self._placement.give_back(place)

    def _grant(self) -> None:
        granted = False
        while (found := self._placement.grant()) is not None:
            number, self._granted[number] = found[0], found[1]
            granted = True
        if granted:
            self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    def _why_hopeless(self, need: Need) -> str:
        why = {f"{self._name(site.address)}: {site.obstacle(need)}" for site in self.sites}
        return "no worker can run it: " + "; ".join(sorted(why)[:3])

    def _deserted(self) -> str:
        return f"no worker could be used for {self._nobody_s:.0f} s{self._reasons()}"

    def _reasons(self) -> str:
        """Why the workers that are there get no runs."""
        members = [member for member in self.roster.members.values() if member.obstacle]
        return "".join(f"; {member.name}: {member.obstacle}" for member in members[:3])

    def _prepare(self, kernel: str) -> None:
        """Have every worker get a kernel that it was not asked for yet."""
        for site in self.sites if kernel else ():
            if (site.address, kernel) not in self._preparing:
                self._preparing.add((site.address, kernel))
                self._tasks.start_soon(self._prepared, site, kernel)

    async def _prepared(self, site: Site, kernel: str) -> None:
        try:
            answers = await self._client.run(
                service.prepare, kernel, workers=[site.address], on_error="return"
            )
        except (OSError, ValueError, TimeoutError):
            return  # it is gone, which is told elsewhere
        if answer := answers.get(site.address, ""):
            site.lacks[kernel] = f"kernel {kernel}: {printable(str(answer))}"
            self._tell(f"worker {self._name(site.address)} gets no runs of {site.lacks[kernel]}")
        else:
            site.kernels.add(kernel)
        self._wake()

    # Who is there

    async def watch(self) -> None:
        """Keep an eye on the cluster, until cancelled."""
        while True:
            with anyio.move_on_after(LOOK_S):
                await self._look.wait()
            self._look = anyio.Event()
            await self.refresh()

    async def refresh(self) -> None:
        """Look who is there."""
        try:
            if self._client.status == RUNNING:
                await self.roster.refresh()
        except (OSError, TimeoutError) as error:
            self._lose(str(error) or "it does not answer")
        # Dask would connect again; but what runs is lost with the connection.
        if self._client.status != RUNNING:
            self._lose("the connection was lost")
        self._wake()

    def _suspect(self) -> None:
        self._look.set()

    def _lose(self, why: str) -> None:
        if self._lost or self._ended:
            return
        self._lost = why
        for gone in self._gone.values():
            gone.set()
        self._wake()

    def _check(self) -> None:
        if self._lost:
            raise FleetLost(
                f"the cluster at {self._address} cannot be used any more: {self._lost}",
                hint="start its scheduler and workers; `ktstr gauntlet --resume` goes on from here",
            )

    def heard(self, event: tuple[Any, Any]) -> None:
        """An event of Dask's: what a run tells, or that a worker came or went."""
        message = event[1]
        if not isinstance(message, Mapping):
            return
        if message.get("action") in ("add-worker", "remove-worker"):
            self._suspect()
        else:
            self._carrier.hear(message)

    def _came(self, member: Member) -> None:
        if member.obstacle:
            self._tell(f"worker {member.name} gets no runs: {member.obstacle}")
            return
        self._gone[member.address] = anyio.Event()
        self._placement.add(member.site())
        memory = "" if member.memory_mib is None else f", {member.memory_mib} MiB"
        self._tell(f"worker {member.name}: {member.cpus} vCPUs{memory}, {member.accelerator}")

    def _went(self, member: Member) -> None:
        gone = self._gone.pop(member.address, None)
        if gone is None:
            return
        self._placement.remove(member.address)
        self._names[member.address] = member.name
        self._preparing = {each for each in self._preparing if each[0] != member.address}
        gone.set()
        if self._ended:
            return
        self._gone_names.append(member.name)
        self._tell(f"worker {member.name} has gone")

    def _name(self, address: str) -> str:
        member = self.roster.members.get(address)
        return member.name if member is not None else self._names.get(address, address)

    async def end(self) -> None:
        """Have the workers end what still runs of this gauntlet, and wait for that."""
        self._ended = True
        if self._lost:
            return
        async with anyio.create_task_group() as asking:
            for address in list(self._gone):
                asking.start_soon(self.roster.ask, address, service.stop, self.name)
