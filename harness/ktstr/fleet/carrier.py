# SPDX-License-Identifier: GPL-2.0-only
"""Carries one run to one worker and its result back, or tells that the worker was lost."""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from ktstr.errors import CannotRun, KtstrError
from ktstr.fleet import worker as service
from ktstr.fleet.join import MEM, VM
from ktstr.fleet.pack import Packed
from ktstr.fleet.placement import Place
from ktstr.fleet.roster import Roster
from ktstr.fleet.store import PART_BYTES
from ktstr.gauntlet.cells import CellResult
from ktstr.session.ends import End
from ktstr.session.events import StageStarted
from ktstr.session.several import Heard
from ktstr.telemetry.decode import printable

if TYPE_CHECKING:
    from distributed import Client, Future


class WorkerLost(Exception):
    """The worker that a run was on is gone, or does not answer any more."""


class Carrier:
    """Runs on their way.

    :param name: of the gauntlet; no other client's is the same.
    :param artifacts: address of a folder for what runs leave; None: it comes back.
    :param suspect: called when a worker seems to be gone.
    """

    def __init__(
        self,
        client: "Client",
        roster: Roster,
        name: str,
        artifacts: str | None,
        suspect: Callable[[], object],
    ) -> None:
        self._client = client
        self._roster = roster
        self._name = name
        self._artifacts = artifacts
        self._suspect = suspect
        self._heard: dict[str, tuple[Heard, str]] = {}
        self._sending: dict[tuple[str, str], anyio.Lock] = {}

    def key(self, cell: str) -> str:
        """The key of an attempt's task: no other attempt's is the same."""
        return f"ktstr-{cell}-{secrets.token_hex(4)}"

    def target(self, key: str) -> str | None:
        """Where what an attempt leaves is written; None when it comes back."""
        if self._artifacts is None:
            return None
        return f"{self._artifacts.rstrip('/')}/{self._name}/{key}"

    async def carry(
        self, key: str, place: Place, worker: str, packed: Packed, heard: Heard, gone: anyio.Event
    ) -> Any:
        """Run it there; the value that came back, or a result in its place.

        :param worker: what the worker is called.
        :param gone: set when the worker is.
        :raise WorkerLost: when it went before there was a value.
        :raise KtstrError: when the files cannot be sent.
        :raise Dropped: when Dask gave it up, as it does without a scheduler.
        """
        self._heard[key] = heard, worker
        future: Future[Any] | None = None
        try:
            await self._send(place.site.address, packed)
            future = self._submit(key, place, packed)
            return await self._value(future, gone)
        finally:
            del self._heard[key]
            if future is not None:
                # Dask forgets the task; a run that still goes on is ended by its worker.
                future.release()

    def _submit(self, key: str, place: Place, packed: Packed) -> "Future[Any]":
        resources = {VM: place.cpus}
        if place.site.memory_mib is not None:
            resources[MEM] = place.memory_mib
        return self._client.submit(
            service.run,
            packed.parcel.to_json(),
            key,
            self._name,
            self.target(key),
            key=key,
            workers=[place.site.address],
            allow_other_workers=False,
            resources=resources,
            pure=False,
            retries=0,
        )

    async def _value(self, future: "Future[Any]", gone: anyio.Event) -> Any:
        value = asyncio.ensure_future(future.result())
        lost = asyncio.ensure_future(gone.wait())
        try:
            await asyncio.wait([value, lost], return_when=asyncio.FIRST_COMPLETED)
            if not value.done():
                raise WorkerLost
            try:
                return value.result()
            except Exception as error:
                if isinstance(error, CancelledError):
                    raise Dropped(str(future.key)) from None
                # What a run itself meets comes as a result: an OSError is that of the way back.
                if isinstance(error, OSError) or type(error).__name__ == "KilledWorker":
                    raise WorkerLost from None
                wrong = CannotRun(f"ktstr itself went wrong on the worker: {error!r}")
                return plain(CellResult.of(End.of_error(wrong)))
        finally:
            for waiting in (value, lost):
                waiting.cancel()

    async def _send(self, address: str, packed: Packed) -> None:
        for digest, source in packed.sources.items():
            # Runs of the same scheduler begin together; it travels once.
            async with self._sending.setdefault((address, digest), anyio.Lock()):
                if await self._asked(address, service.lacking, [digest]):
                    await self._send_file(address, digest, source)

    async def _send_file(self, address: str, digest: str, source: Path) -> None:
        try:
            size = (await anyio.Path(source).stat()).st_size
            offset = 0
            while offset < size or not offset:
                part = await anyio.to_thread.run_sync(_part, source, offset)
                await self._asked(address, service.take, digest, self._name, offset, part, size)
                if not part:
                    break
                offset += len(part)
        except OSError as error:
            raise CannotRun(f"{source} cannot be sent: {error.strerror}") from error

    async def _asked(self, address: str, question: Callable[..., Any], *args: Any) -> Any:
        answer = await self._roster.ask(address, question, *args)
        if isinstance(answer, KtstrError):
            raise answer
        if isinstance(answer, BaseException):
            self._suspect()
            raise WorkerLost
        return answer

    def hear(self, message: Mapping[str, Any]) -> None:
        """What a run tells while it runs; it comes from a guest's neighbourhood: shown, no more."""
        found = self._heard.get(str(message.get("key")))
        if found is None:
            return
        heard, worker = found
        if "say" in message:
            text = printable(str(message["say"])).removesuffix(" ...")
            heard(StageStarted("fleet", f"{worker}: {text}"))
        if "warning" in message:
            heard.warned(printable(str(message["warning"])))


class Dropped(Exception):
    """Dask dropped a task that nobody here cancelled."""


def plain(result: CellResult) -> dict[str, Any]:
    """A result as a task returns it that left no files."""
    return {"result": result.to_json(), "out": "", "files": [], "contents": {}}


def _part(source: Path, offset: int) -> bytes:
    with source.open("rb") as stream:
        stream.seek(offset)
        return stream.read(PART_BYTES)
