# SPDX-License-Identifier: GPL-2.0-only
"""What a worker does for a client: the functions that travel by name through Dask.

A run is a process of its own (:mod:`ktstr.fleet.child`), so that it can be cancelled, uses no
memory of the worker's and has an event loop to itself. The worker's loop starts it, passes on what
it tells, and looks whether Dask still wants it: a client that cancels, or is gone, ends it.
"""

import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import distributed

from ktstr.errors import CannotRun, ExitCode, KtstrError
from ktstr.fleet import delivery
from ktstr.fleet.child import END_S, OUT
from ktstr.fleet.parcel import Parcel
from ktstr.fleet.store import Store
from ktstr.fleet.versions import versions
from ktstr.gauntlet.cells import CellResult
from ktstr.session.ends import End

CHILD: Final = (sys.executable, "-m", "ktstr.fleet.child")

LOOK_S: Final = 0.5
"""How often a run looks whether it is still wanted."""

LONGEST_S: Final = 12 * 3600.0
"""A run, or a kernel's build, that takes longer is ended."""

LINE_BYTES: Final = 8 << 20
_TAIL: Final = 2000


@dataclass(slots=True)
class Host:
    """What a worker's process knows of itself.

    :param cache: folder for what was sent here; workers of a host share it.
    :param cpus: vCPUs of guests at a time.
    :param memory_mib: memory for guests; None when not known.
    :param obstacle: why it can run nothing; empty when it can.
    :param child: the program that makes a run.
    :ivar running: the runs' processes by the key of their task, with the gauntlet they are of.
    """

    name: str
    cache: Path
    cpus: int
    memory_mib: int | None
    obstacle: str = ""
    accelerator: str = ""
    child: Sequence[str] = CHILD
    running: dict[str, tuple[str, asyncio.subprocess.Process]] = field(default_factory=dict)

    @property
    def store(self) -> Store:
        """The files that were sent here."""
        return Store(self.cache)


_HOSTS: list[Host] = []


def be(host: Host) -> None:
    """Say what this process is, before it joins."""
    _HOSTS[:] = [host]


def _here() -> Host:
    if not _HOSTS:
        raise CannotRun(
            "this Dask worker was not started by `ktstr fleet worker`",
            hint="start workers with `ktstr fleet worker --cluster ADDRESS`",
        )
    return _HOSTS[0]


def facts() -> dict[str, Any]:
    """What a client has to know of this worker."""
    host = _here()
    return {
        "name": host.name,
        "cpus": host.cpus,
        "memory_mib": host.memory_mib,
        "obstacle": host.obstacle,
        "accelerator": host.accelerator,
        "versions": versions(),
    }


def storage_obstacle(url: str) -> str:
    """Why results cannot be written to an address from here; empty when they can."""
    try:
        delivery.storage(url, writable=True)
    except CannotRun as error:
        return error.message
    return ""


def lacking(digests: Sequence[str]) -> list[str]:
    """Which of the contents have to be sent."""
    return _here().store.lacking(digests)


def take(digest: str, sender: str, offset: int, part: bytes, size: int) -> None:
    """Take a part of a file (:meth:`ktstr.fleet.store.Store.take`)."""
    # Workers of one host share the store, and a sender may send to all of them at the same time.
    _here().store.take(digest, f"{sender} {os.getpid()}", offset, part, size)


async def prepare(kernel: str) -> str:
    """Get a kernel into this host's cache; why that failed, empty when it did not."""
    host = _here()
    run = _Run(host, f"prepare {kernel}", "", lambda line: None)
    try:
        result = await run.result({"prepare": kernel})
    except OSError as error:
        return f"the process that gets it cannot be started: {error.strerror}"
    return "" if result.exit_code == ExitCode.PASS else result.reason


async def run(plain: dict[str, Any], key: str, gauntlet: str, artifacts: str | None) -> Any:
    """Run a parcel; the task that a client submits.

    :param key: the task's own.
    :param artifacts: address of the folder that takes what the run leaves; None: send it back.
    :return: the result and its files, as plain values and bytes.
    """
    host, worker = _here(), distributed.get_worker()
    parcel = Parcel.from_json(plain)

    def tell(line: Mapping[str, Any]) -> None:
        kept = {name: line[name] for name in ("say", "warning") if name in line}
        worker.log_event(topic(gauntlet), {"key": key, **kept})

    tell({"say": "starting"})
    folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="ktstr-fleet-"))
    try:
        bundle, out = folder / "bundle", folder / OUT
        await asyncio.to_thread(host.store.lay_out, parcel, bundle)
        order = {
            "parcel": parcel.to_json(),
            "folder": str(bundle),
            "guests": str(host.cache / "guests"),
        }
        process = _Run(host, key, gauntlet, tell, partial(_wanted, worker, key))
        result = await process.result(order)
        return await asyncio.to_thread(_delivered, result, out, artifacts)
    except (KtstrError, OSError) as error:
        return _delivered(CellResult.of(End.of_error(error)), folder / "none", None)
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


async def stop(gauntlet: str) -> int:
    """End the runs of a gauntlet here and wait for their guests' end; how many there were."""
    found = [process for of, process in _here().running.values() if of == gauntlet]
    await asyncio.gather(*(_end(process) for process in found))
    return len(found)


def topic(gauntlet: str) -> str:
    """What the events of a gauntlet's runs are logged under."""
    return f"ktstr-{gauntlet}"


def _wanted(worker: "distributed.Worker", key: str) -> bool:
    """Whether somebody still waits for a task."""
    task = worker.state.tasks.get(key)
    return task is not None and task.state == "executing"


def _delivered(result: CellResult, out: Path, artifacts: str | None) -> dict[str, Any]:
    files = delivery.made_in(out) if out.is_dir() else []
    found: dict[str, Any] = {
        "result": result.to_json(),
        "out": str(out),
        "files": [asdict(made) for made in files],
        "contents": {},
    }
    if artifacts is None:
        found["contents"] = delivery.inline(out, files)
        return found
    try:
        delivery.push(artifacts, out, files)
    except KtstrError as error:
        # The verdict is known; without its record nobody may act on it.
        found["result"] = CellResult.of(End.of_error(error), result.wall_s).to_json()
        found["files"] = []
    return found


class _Run:
    """One process, from its start to its result."""

    def __init__(
        self,
        host: Host,
        key: str,
        gauntlet: str,
        tell: Any,
        wanted: Any = lambda: True,
    ) -> None:
        self._host = host
        self._key = key
        self._gauntlet = gauntlet
        self._tell = tell
        self._wanted = wanted

    async def result(self, order: Mapping[str, Any]) -> CellResult:
        """Start it, pass on what it tells, and return how it went."""
        with tempfile.TemporaryFile() as errors:
            process = await asyncio.create_subprocess_exec(
                *self._host.child,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                limit=LINE_BYTES,
                start_new_session=True,
            )
            self._host.running[self._key] = self._gauntlet, process
            try:
                assert process.stdin is not None
                process.stdin.write(json.dumps(order).encode() + b"\n")
                reading = asyncio.ensure_future(self._read(process))
                return await self._until(reading, process, errors)
            finally:
                await asyncio.shield(_end(process))
                self._host.running.pop(self._key, None)

    async def _until(
        self, reading: "asyncio.Future[CellResult | None]", process: Any, errors: Any
    ) -> CellResult:
        deadline = asyncio.get_running_loop().time() + LONGEST_S
        while not reading.done():
            await asyncio.wait([reading], timeout=LOOK_S)
            if not self._wanted():
                await _end(process)
                return _cancelled("cancelled")
            if asyncio.get_running_loop().time() > deadline:
                await _end(process)
                return _cancelled(f"ended after {LONGEST_S / 3600:.0f} h")
        result = reading.result()
        if result is None:
            await _end(process)
            result = _broke(process.returncode, errors)
        return result

    async def _read(self, process: asyncio.subprocess.Process) -> CellResult | None:
        """The result, if the process told one before its output ended."""
        assert process.stdout is not None
        result = None
        while True:
            try:
                text = await process.stdout.readline()
            except ValueError:  # a line without end
                return None
            if not text:
                return result
            try:
                line = json.loads(text)
                if "result" in line:
                    result = CellResult.from_json(line["result"], "the result of a run")
                else:
                    self._tell(line)
            except (ValueError, TypeError, KtstrError):
                continue


async def _end(process: asyncio.subprocess.Process) -> None:
    """Have a run clean up and end; kill it, with all it started, when it does not."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        await asyncio.wait_for(process.wait(), END_S + 5)
    except TimeoutError:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def _cancelled(why: str) -> CellResult:
    return CellResult("not run", ExitCode.INTERRUPTED, reason=why)


def _broke(status: int, errors: Any) -> CellResult:
    """A run whose process ended without a word of how it went."""
    # By a signal it was killed, with its guest: memory, most likely. Else ktstr itself went wrong.
    killed = status < 0
    how = f"signal {-status}" if killed else f"status {status}"
    errors.seek(0, os.SEEK_END)
    errors.seek(max(0, errors.tell() - _TAIL))
    lines = errors.read().decode("utf-8", "replace").strip().splitlines()
    said = f": {lines[-1].strip()}" if lines else ""
    return CellResult(
        "guest lost" if killed else "cannot run",
        ExitCode.GUEST_LOST if killed else ExitCode.CANNOT_RUN,
        reason=f"the process of the run ended with {how} and without a result{said}",
        details=tuple(lines[-20:]),
    )
