# SPDX-License-Identifier: GPL-2.0-only
"""Makes runs: in an event loop of their own, so that tests need none and may have another."""

import fcntl
import logging
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import structlog
from anyio.from_thread import start_blocking_portal

from ktstr.errors import HostUnfit
from ktstr.pytest_plugin.request import RunRequest
from ktstr.session.events import Emit
from ktstr.session.options import RunOptions
from ktstr.session.record import RunRecord
from ktstr.session.run import run_scenario

Executor = Callable[[Path, RunOptions, Emit], Awaitable[RunRecord]]
"""What makes a run; ``run_scenario`` is one, and what takes its place."""

SLOT_S: Final = 3600.0
"""Longest wait for one of ``--ktstr-jobs``, seconds."""

_LOOK_S: Final = 0.1


def run_blocking(execute: Executor, request: RunRequest) -> RunRecord:
    """Make the run in an event loop of another thread, and wait for it.

    Ctrl-C, and the signal by which pytest-timeout ends a test, come to the waiting thread: they
    cancel the run, and leave here when its guest has ended and all is cleaned up.
    """
    with start_blocking_portal("asyncio", name="ktstr run") as portal:
        return portal.call(execute, request.scenario, request.options, request.emit)


def run_here(request: RunRequest) -> RunRecord:
    """Make the run in this process."""
    _quieten()
    return run_blocking(run_scenario, request)


def _quieten() -> None:
    """What ktstr logs goes to :mod:`logging`, where pytest shows it beside a failure."""
    # It logs every step of the protocol.
    logging.getLogger("qemu.qmp").setLevel(logging.CRITICAL)
    if not structlog.is_configured():
        structlog.configure(
            processors=[
                structlog.contextvars.merge_contextvars,
                structlog.processors.KeyValueRenderer(key_order=["event"]),
            ],
            wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
            logger_factory=structlog.stdlib.LoggerFactory(),
        )


@contextmanager
def slot(folder: Path | None, jobs: int | None) -> Iterator[None]:
    """Hold one of ``jobs`` slots, which are files that workers lock in ``folder``.

    :raise HostUnfit: when none became free within :data:`SLOT_S`.
    """
    if folder is None or jobs is None:
        yield
        return
    deadline = time.monotonic() + SLOT_S
    while True:
        for number in range(jobs):
            descriptor = os.open(folder / f"slot-{number}", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                continue
            try:
                yield
            finally:
                os.close(descriptor)
            return
        if time.monotonic() >= deadline:
            raise HostUnfit(
                f"none of the {jobs} guests that --ktstr-jobs allows ended within {SLOT_S:.0f} s",
                hint="allow more with --ktstr-jobs, or start fewer workers",
            )
        time.sleep(_LOOK_S)
