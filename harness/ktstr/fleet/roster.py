# SPDX-License-Identifier: GPL-2.0-only
"""The workers of a cluster as a client sees them: who is there, who can be used, and why not."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import anyio

from ktstr.fleet import worker as service
from ktstr.fleet.placement import Site
from ktstr.fleet.versions import difference, versions
from ktstr.telemetry.decode import Fields, RecordError, printable

if TYPE_CHECKING:
    from distributed import Client

ANSWER_S: Final = 60.0
"""How long a worker may take to answer a question."""

RUNNING: Final = "running"
_MANY: Final = 1 << 24


@dataclass(frozen=True, slots=True)
class Member:
    """A worker that was asked.

    :param obstacle: why it gets no runs; empty when it does.
    """

    address: str
    name: str
    cpus: int
    memory_mib: int | None
    accelerator: str = ""
    obstacle: str = ""

    def site(self) -> Site:
        """Its place among those that runs are given to."""
        return Site(self.address, self.cpus, self.memory_mib)


class Roster:
    """The workers, by address.

    :param came: called with each worker that was not there before, usable or not.
    :param went: called with each that is there no longer.
    :param artifacts: where results are to be written, which each worker is asked for.
    """

    def __init__(
        self,
        client: "Client",
        came: Callable[[Member], object],
        went: Callable[[Member], object],
        artifacts: str | None = None,
    ) -> None:
        self.members: dict[str, Member] = {}
        self._client = client
        self._came = came
        self._went = went
        self._artifacts = artifacts
        self._here = versions()

    async def refresh(self) -> None:
        """Look who is there.

        :raise OSError: when the scheduler does not answer.
        """
        if self._client.scheduler is None:
            raise OSError("the connection is closed")
        with anyio.fail_after(ANSWER_S):
            found = await self._client.scheduler.identity()
        there = {
            address: about
            for address, about in found["workers"].items()
            if about.get("status") == RUNNING
        }
        for address in [known for known in self.members if known not in there]:
            self._went(self.members.pop(address))
        for address in [new for new in there if new not in self.members]:
            member = await self._asked(address, str(there[address].get("name", address)))
            if address in self.members:
                # Somebody else looked at the same time: a worker comes once.
                continue
            self.members[address] = member
            self._came(member)

    async def _asked(self, address: str, name: str) -> Member:
        answer = await self.ask(address, service.facts)
        if isinstance(answer, BaseException):
            return Member(address, name, 0, None, obstacle=_why_silent(answer))
        try:
            member = _member(address, answer)
            obstacle = member.obstacle or difference(self._here, answer["versions"])
        except (RecordError, KeyError, AttributeError) as error:
            return Member(address, name, 0, None, obstacle=f"its answer cannot be read: {error}")
        if not obstacle and self._artifacts is not None:
            found = await self.ask(address, service.storage_obstacle, self._artifacts)
            obstacle = str(found)
        return Member(
            address,
            member.name,
            member.cpus,
            member.memory_mib,
            member.accelerator,
            printable(obstacle),
        )

    async def ask(self, address: str, question: Callable[..., Any], *args: Any) -> Any:
        """Have a worker execute one of :mod:`ktstr.fleet.worker`'s functions.

        :return: the answer, or the exception that came in its place.
        """
        try:
            with anyio.fail_after(ANSWER_S):
                answers = await self._client.run(
                    question, *args, workers=[address], on_error="return"
                )
        except (OSError, TimeoutError, ValueError) as error:
            return error
        return answers.get(address, OSError("it is gone"))


def _member(address: str, answer: object) -> Member:
    found = Fields(answer, f"the worker at {address}")
    return Member(
        address,
        found.text("name", 200),
        found.integer("cpus", 1, _MANY),
        found.optional("memory_mib", lambda name: found.integer(name, 0, _MANY)),
        found.text("accelerator", 20),
        found.text("obstacle", 1000),
    )


def _why_silent(error: BaseException) -> str:
    if isinstance(error, ImportError):
        return f"ktstr is not installed there, or another one: {error}"
    return printable(f"it does not answer: {getattr(error, 'message', None) or error!r}")
