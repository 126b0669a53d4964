# SPDX-License-Identifier: GPL-2.0-only
"""The process of a worker: looks what its host can do, joins the scheduler, serves."""

import os
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread
from platformdirs import user_cache_path

from ktstr.errors import HostUnfit, KtstrError
from ktstr.fleet import worker as service
from ktstr.fleet.security import Tls, security, settle
from ktstr.fleet.store import Store
from ktstr.session.room import RESERVE_SHARE, Room, host_room
from ktstr.vm.accel import choose_accelerator
from ktstr.vm.qemu import find_qemu

if TYPE_CHECKING:
    from distributed import Worker

JOIN_S: Final = 60.0
"""How long a worker looks for its scheduler."""

CLOSE_S: Final = 40.0
"""How long runs may take to clean up, and the worker to say goodbye."""

LEAST_DISK_MIB: Final = 1024
"""Less free space than this holds no image, no template and no evidence."""

LEAST_MEMORY_MIB: Final = 512

VM, MEM = "VM", "MEM"
"""Dask's resources: vCPUs of guests that may run at a time, and memory for them, MiB."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What a worker is to offer.

    :param slots: vCPUs of guests at a time; None: one for each CPU of the host.
    :param name: what it is called; None: host and process.
    :param host: address it listens at; None: the one that leads to the scheduler.
    :param child: the program that makes a run.
    """

    slots: int | None = None
    name: str | None = None
    host: str | None = None
    child: Sequence[str] = service.CHILD


async def examined(offer: Offer, cache: Path | None = None) -> service.Host:
    """What this host can do, and what it lacks."""
    cache = cache or user_cache_path("ktstr") / "fleet"
    room = await anyio.to_thread.run_sync(host_room)
    memory = room.memory_mib
    if memory is not None:
        memory -= memory // RESERVE_SHARE
    accelerator, obstacle = "", ""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        await anyio.to_thread.run_sync(Store(cache).prune)
        obstacle = _short_of(room, cache)
        await anyio.to_thread.run_sync(find_qemu)
        accelerator = (await choose_accelerator("auto")).name
    except KtstrError as error:
        obstacle = error.message
    except OSError as error:
        obstacle = f"{cache} cannot be used: {error.strerror}"
    return service.Host(
        offer.name or f"{socket.gethostname()}-{os.getpid()}",
        cache,
        offer.slots or room.cpus,
        memory,
        obstacle,
        accelerator,
        offer.child,
    )


def _short_of(room: Room, cache: Path) -> str:
    if room.memory_mib is not None and room.memory_mib < LEAST_MEMORY_MIB:
        return f"{room.memory_mib} MiB of memory are free, {LEAST_MEMORY_MIB} are needed"
    for folder in (cache, Path(tempfile.gettempdir())):
        free = shutil.disk_usage(folder).free >> 20
        if free < LEAST_DISK_MIB:
            return f"{free} MiB are free below {folder}, {LEAST_DISK_MIB} are needed"
    return ""


@asynccontextmanager
async def joined(
    address: str, host: service.Host, offer: Offer, tls: Tls | None
) -> AsyncIterator["Worker"]:
    """A worker of that scheduler, for as long as the block lasts.

    :raise HostUnfit: when the scheduler cannot be reached.
    """
    settle()
    from distributed import Worker

    service.be(host)
    resources = {VM: float(host.cpus if not host.obstacle else 0)}
    if host.memory_mib is not None:
        resources[MEM] = float(host.memory_mib)
    worker = Worker(
        address,
        # A run is a process: what a worker's own threads do is next to nothing.
        nthreads=max(host.cpus, 1),
        name=host.name,
        resources=resources,
        host=offer.host,
        security=security(tls),
        memory_limit=None,
        # Dask removes there what a worker that was killed left.
        local_directory=str(host.cache / "dask"),
        death_timeout=JOIN_S,
        dashboard=False,
        dashboard_address="127.0.0.1:0",
    )
    try:
        await worker
    except (OSError, TimeoutError) as error:
        await worker.close()
        raise HostUnfit(
            f"no scheduler answers at {address} within {JOIN_S:.0f} s: {error}",
            hint="`ktstr fleet scheduler` starts one; look at the address and at TLS",
        ) from error
    try:
        yield worker
    finally:
        # Also when cancelled: a worker that is not closed talks on.
        with anyio.move_on_after(CLOSE_S, shield=True):
            await worker.close(reason="ktstr-fleet-worker-ends")


async def serve(
    address: str,
    offer: Offer,
    tls: Tls | None,
    tell: Callable[[str], None],
    cache: Path | None = None,
) -> None:
    """Join and serve, until cancelled or until the scheduler lets go.

    :param tell: gets a sentence when something happened.
    :raise HostUnfit: when the scheduler cannot be reached, or is gone.
    """
    host = await examined(offer, cache)
    async with joined(address, host, offer, tls) as worker:
        tell(f"worker {host.name} at {worker.address} joined {address}")
        memory = "" if host.memory_mib is None else f", {host.memory_mib} MiB"
        if host.obstacle:
            tell(f"it gets no runs: {host.obstacle}")
        else:
            tell(f"it takes guests with {host.cpus} vCPUs at a time{memory}; {host.accelerator}")
        await worker.finished()
    raise HostUnfit(
        f"the scheduler at {address} is gone, or let this worker go",
        hint="start it again; a supervisor such as systemd can do that by itself",
    )
