# SPDX-License-Identifier: GPL-2.0-only
"""A scheduler for a fleet: Dask's own, with nothing open beside its one port."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import anyio

from ktstr.errors import HostUnfit
from ktstr.fleet.security import Tls, check_exposure, security, settle

if TYPE_CHECKING:
    from distributed import Scheduler

CLOSE_S: Final = 10.0
"""How long the workers may take to be told."""


@asynccontextmanager
async def scheduling(
    host: str, port: int, tls: Tls | None = None, *, insecure: bool = False
) -> AsyncIterator["Scheduler"]:
    """A scheduler at that address, for as long as the block lasts.

    :param port: 0 for any that is free.
    :raise CannotRun: when strangers could use it.
    :raise HostUnfit: when it cannot listen there.
    """
    check_exposure(host, tls, insecure)
    settle()
    from distributed import Scheduler

    scheduler = Scheduler(
        host=host,
        port=port,
        protocol="tls" if tls is not None else "tcp",
        security=security(tls),
        dashboard=False,
        dashboard_address="127.0.0.1:0",
    )
    try:
        await scheduler
    except OSError as error:
        await scheduler.close()
        raise HostUnfit(
            f"nothing can listen at {host}:{port}: {error.strerror or error}",
            hint="choose another with --host and --port",
        ) from error
    try:
        yield scheduler
    finally:
        with anyio.move_on_after(CLOSE_S, shield=True):
            await scheduler.close(reason="ktstr-fleet-scheduler-ends")
