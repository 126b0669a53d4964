# SPDX-License-Identifier: GPL-2.0-only
"""Leases that all runs of a host respect, whichever process, user or daemon they belong to.

A run's memory is leased while it has a guest, its CPUs while the guest's vCPUs run
(:mod:`ktstr.session.lease`). The ledger is a folder of locked files (:mod:`ktstr.leases.ledger`);
where it cannot be used, runs go without, and say so.
"""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import anyio

from ktstr.errors import HostUnfit
from ktstr.leases.fit import Want
from ktstr.leases.ledger import FOLDER_VARIABLE, Ledger, in_words, shared_ledger
from ktstr.leases.ledger import Lease as Entry
from ktstr.session.events import Emit, Note, StageProgress
from ktstr.session.lease import Lease
from ktstr.session.pool import Cost
from ktstr.session.stages import stage

LONGEST_WAIT_S: Final = 4 * 3600.0
"""How long others may be waited for; every run has a limit of its own, but there may be many."""

_FIRST_LOOK_S: Final = 0.02
_LAST_LOOK_S: Final = 0.25


class HostLease(Lease):
    """A run's lease of host CPUs: of its pool first, where it is in one, then of the host's ledger.

    :param inner: the lease that a pool gives.
    :param want: the CPUs.
    :param what: the run, for those who wait for it.
    :param tell: called with whom it waits for.
    :ivar cpus: the host CPUs it holds; None while it holds none, or where no ledger tells.
    """

    def __init__(
        self,
        inner: Lease,
        ledger: Ledger,
        want: Want,
        what: str,
        tell: Callable[[str], None] = lambda who: None,
    ) -> None:
        super().__init__()
        self.shared = inner.shared
        self.cpus: frozenset[int] | None = None
        self._inner = inner
        self._ledger = ledger
        self._want = want
        self._what = what
        self._tell = tell
        self._entry: Entry | None = None

    def enter_now(self) -> bool:
        """Whether the vCPUs may run, without waiting for anybody."""
        if self._held:
            return True
        if not self._inner.enter_now():
            return False
        try:
            entry = self._ledger.ask(self._want, self._what)
        except OSError:
            # Whoever waits says so.
            return False
        if entry.cpus is None:
            # The place in the queue is kept for who waits next.
            self._entry = entry
            return False
        self._take(entry)
        self._held = True
        return True

    async def _granted(self) -> None:
        await self._inner.enter()
        try:
            entry, self._entry = self._entry, None
            want, what = self._want, self._what
            self._take(await _held(self._ledger, want, what, "CPUs", entry, self._tell))
        except BaseException:
            self._inner.leave()
            raise

    async def enter(self) -> float:
        """Wait until the vCPUs may run; at once when they may already.

        :return: how long that took, seconds.
        :raise HostUnfit: when others have not given CPUs back for hours, or there is no ledger.
        """
        waited_s = await super().enter()
        self._inner.waited_s = self.waited_s
        return waited_s

    def _take(self, entry: Entry) -> None:
        self._entry, self.cpus = entry, entry.cpus

    def _given_back(self) -> None:
        self.withdraw()
        self._inner.leave()

    def withdraw(self) -> None:
        """Give up what is held or queued for in the ledger; any number of times."""
        if self._entry is not None:
            self._entry.close()
            self._entry, self.cpus = None, None

    def leave(self) -> None:
        """The vCPUs have nothing more to do that counts; any number of times."""
        super().leave()
        self.withdraw()
        self._inner.leave()


@asynccontextmanager
async def on_this_host(
    lease: Lease, cost: Cost, what: str, emit: Emit, *, exclusive_llc: bool = False
) -> AsyncIterator[Lease]:
    """Lease the memory of a run, and have its CPUs leased under what is yielded.

    :param lease: of the run's pool, or one that has the process to itself.
    :param exclusive_llc: no other run may use the last-level caches its CPUs belong to.
    :raise HostUnfit: when others have not given memory back for hours.
    """
    ledger = shared_ledger()
    if ledger is None:
        yield lease
        return
    try:
        memory = ledger.ask(Want(memory_mib=cost.memory_mib), what)
    except OSError as error:
        emit(
            Note(
                f"other runs on this host are not heeded: {ledger.folder}: {error.strerror}"
                f" ({FOLDER_VARIABLE} names another folder)",
                warning=True,
            )
        )
        yield lease
        return
    try:
        if memory.cpus is None:
            with stage(emit, "memory", "waiting for memory"):
                tell = _teller(emit, "memory", "memory")
                await _held(ledger, memory.want, what, "memory", memory, tell)
        crowded, crowd = lease.crowded, lease.crowd
        want = Want(cost.cpus, exclusive_llc=exclusive_llc, crowded=crowded, crowd=crowd)
        own = HostLease(lease, ledger, want, what, _teller(emit, "turn", "CPUs"))
        try:
            yield own
        finally:
            own.leave()
    finally:
        memory.close()


async def _held(
    ledger: Ledger,
    want: Want,
    what: str,
    kind: str,
    entry: Entry | None,
    tell: Callable[[str], None],
) -> Entry:
    """The entry, once it holds what is wanted; it is closed when that does not come about.

    :raise HostUnfit: when it takes longer than :data:`LONGEST_WAIT_S`, or the ledger is gone.
    """
    began, pause, told = time.monotonic(), _FIRST_LOOK_S, ""
    try:
        entry = entry or ledger.ask(want, what)
        while not ledger.try_again(entry):
            who = in_words(ledger.in_the_way(entry))
            if who != told:
                tell(told := who)
            if time.monotonic() - began > LONGEST_WAIT_S:
                raise HostUnfit(
                    f"no {kind} in {LONGEST_WAIT_S / 3600:.0f} h: they are held by {who}",
                    hint=f"`ktstr locks` shows who has what; {FOLDER_VARIABLE}=off heeds nobody",
                )
            await anyio.sleep(pause)
            pause = min(_LAST_LOOK_S, pause * 1.5)
    except OSError as error:
        if entry is not None:
            entry.close()
        raise HostUnfit(
            f"the ledger of this host's runs cannot be used: {ledger.folder}: {error.strerror}",
            hint=f"make the folder writable, or name another with {FOLDER_VARIABLE}",
        ) from error
    except BaseException:
        if entry is not None:
            entry.close()
        raise
    return entry


def _teller(emit: Emit, key: str, kind: str) -> Callable[[str], None]:
    def tell(who: str) -> None:
        emit(StageProgress(key, f"waiting for {kind} that are held by {who}", None))

    return tell
