# SPDX-License-Identifier: GPL-2.0-only
"""The life of a daemon: its sockets, its supervisor, and how it ends."""

import logging
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import anyio
import structlog

from ktstr.daemon.address import socket_path
from ktstr.daemon.app import create_app
from ktstr.daemon.listen import (
    Listener,
    inherited,
    notify,
    read_token,
    tcp_listener,
    unix_listener,
)
from ktstr.daemon.metrics import Metrics
from ktstr.daemon.server import serve_all
from ktstr.daemon.settings import Settings as Runs
from ktstr.daemon.supervisor import DRAIN_DEADLINE_S, Supervisor, supervising
from ktstr.errors import HostUnfit
from ktstr.session.scopes import task_scope

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Settings:
    """What a person can set for a daemon.

    :param socket: its Unix socket; None: systemd's, or the usual one.
    :param tcp: ``HOST:PORT`` to listen at as well.
    :param token_file: whose first line clients there have to know.
    :param state: where it keeps its runs.
    :param runs: how it runs and remembers them.
    :param allow_paths: let clients that come by TCP name files of this host.
    :param drain_s: how long runs may take to end once the daemon is to.
    """

    state: Path
    socket: Path | None = None
    tcp: str | None = None
    token_file: Path | None = None
    runs: Runs = field(default_factory=Runs)
    allow_paths: bool = False
    drain_s: float = DRAIN_DEADLINE_S


def configure_logging(*, verbose: bool) -> None:
    """JSON lines on stderr, one an event; for people where that is a terminal."""
    shown = sys.stderr.isatty()
    renderer = structlog.dev.ConsoleRenderer() if shown else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.DEBUG if verbose else logging.INFO
        ),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    # What uvicorn has to say of a connection that ended early is no news; of the rest app tells.
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)


@contextmanager
def listeners(settings: Settings) -> Iterator[list[Listener]]:
    """The sockets to serve, closed at the end.

    :raise HostUnfit: when one cannot be had, or would be open to everybody.
    """
    if settings.tcp is not None and settings.token_file is None:
        raise HostUnfit(
            "over TCP anybody could start programs here: --tcp needs --token-file FILE",
            hint="(umask 077; openssl rand -base64 32 > ktstr.token), "
            "then --token-file ktstr.token",
        )
    with ExitStack() as stack:
        found = inherited()
        for each in found:
            stack.callback(each.close)
        if any(each.remote for each in found) and settings.token_file is None:
            raise HostUnfit(
                "systemd passed a TCP socket, and there is no --token-file FILE",
                hint="add --token-file to ExecStart=, or leave out that ListenStream=",
            )
        if not found or settings.socket is not None:
            found.append(unix_listener(settings.socket or socket_path()))
            stack.callback(found[-1].close)
        if settings.tcp is not None:
            found.append(tcp_listener(settings.tcp))
            stack.callback(found[-1].close)
        yield found


async def serve(settings: Settings) -> None:
    """Run a daemon until a signal ends it and what ran has ended.

    :raise CannotRun: when it cannot start.
    """
    token = None if settings.token_file is None else read_token(settings.token_file)
    with listeners(settings) as doors:
        await _serve(settings, doors, token)


async def _serve(settings: Settings, doors: list[Listener], token: str | None) -> None:
    metrics, closing = Metrics(), anyio.Event()
    owned = supervising(settings.state, settings.runs)
    with anyio.open_signal_receiver(*SIGNALS) as received:
        async with owned as supervisor, task_scope() as group:
            group.start_soon(_observe, supervisor, metrics)
            group.start_soon(_end_on_signal, received, supervisor, settings, closing)
            applications = [
                create_app(
                    supervisor,
                    token=token if door.remote else None,
                    allow_paths=settings.allow_paths or not door.remote,
                    metrics=metrics,
                    closing=closing,
                )
                for door in doors
            ]
            for door in doors:
                log.info("listening", where=door.where, state=str(settings.state))
            notify("READY=1")
            await serve_all(list(zip(doors, applications, strict=True)), closing)
    log.info("ended")


async def _observe(supervisor: Supervisor, metrics: Metrics) -> None:
    async for row in supervisor.changes():
        metrics.observe(row)
        if row.state.over:
            words = {"name": row.name, "state": row.state.value, "verdict": row.verdict}
            log.info("over", run=row.id, **words, exit_code=row.exit_code, error=row.error)


async def _end_on_signal(
    received: AsyncIterator[signal.Signals],
    supervisor: Supervisor,
    settings: Settings,
    closing: anyio.Event,
) -> None:
    """The first signal lets what runs come to its end; the second does not wait for it."""
    drained = anyio.CancelScope()

    async def drain() -> None:
        with drained:
            await supervisor.drain(settings.drain_s)
        if drained.cancelled_caught:
            await supervisor.drain(0)
        closing.set()

    async with anyio.create_task_group() as group:
        async for number in received:
            log.info("ending", signal=signal.Signals(number).name)
            notify("STOPPING=1")
            if drained.cancel_called:
                continue
            if supervisor.draining:
                drained.cancel()
                continue
            group.start_soon(drain)
