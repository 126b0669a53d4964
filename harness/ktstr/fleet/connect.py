# SPDX-License-Identifier: GPL-2.0-only
"""A client of a cluster, from its first word to its last."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Final

import anyio

from ktstr.errors import HostUnfit
from ktstr.fleet import worker as service
from ktstr.fleet.client import END_S, NOBODY_S, Fleet, Tell, Watch
from ktstr.fleet.security import Tls, security, settle
from ktstr.session.scopes import task_scope
from ktstr.session.several import Heard

CONNECT_S: Final = 30.0
"""How long the scheduler may take to answer."""

CLOSE_S: Final = 10.0


@asynccontextmanager
async def connected(
    address: str,
    out_dir: Path,
    *,
    tls: Tls | None = None,
    artifacts: str | None = None,
    watch: Watch | None = None,
    tell: Tell = lambda text: None,
    connect_s: float = CONNECT_S,
    nobody_s: float = NOBODY_S,
) -> AsyncIterator[Fleet]:
    """The cluster's workers, for as long as the block lasts; what runs then is ended there.

    :param address: as :func:`ktstr.fleet.security.address` gives it.
    :raise HostUnfit: when the scheduler does not answer.
    :raise FleetLost: when no worker that can be used comes.
    """
    settle()
    from distributed import Client

    client = Client(
        address,
        asynchronous=True,
        security=security(tls),
        timeout=connect_s,
        set_as_default=False,
    )
    try:
        await client
    except (OSError, TimeoutError) as error:
        with anyio.move_on_after(CLOSE_S, shield=True):
            await client.close()
        raise HostUnfit(
            f"no Dask scheduler answers at {address} within {connect_s:.0f} s",
            hint="`ktstr fleet scheduler` starts one; look at the address and at TLS",
        ) from error
    try:
        async with task_scope() as tasks:
            fleet = Fleet(
                client,
                address,
                tasks,
                out_dir,
                artifacts=artifacts,
                watch=watch or (lambda cell: nullcontext(Heard())),
                tell=tell,
                nobody_s=nobody_s,
            )
            topics = ("all", service.topic(fleet.name))
            for topic in topics:
                client.subscribe_topic(topic, fleet.heard)
            await fleet.refresh()
            tasks.start_soon(fleet.watch)
            try:
                yield fleet
            finally:
                with anyio.move_on_after(END_S, shield=True):
                    await fleet.end()
                if client.status == "running":
                    for topic in topics:
                        client.unsubscribe_topic(topic)
    finally:
        with anyio.move_on_after(CLOSE_S, shield=True):
            await client.close()
