# SPDX-License-Identifier: GPL-2.0-only
"""The first run of a guest on a host builds its template; others of the same guest wait for that.

What builds nothing, because a template is there already, only looks at a mark.
"""

import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import anyio

from ktstr.kernels.locks import exclusive_now
from ktstr.session.events import Emit, Note, RunEvent, StageDone

BUILD_S: Final = 600.0
"""How long a run waits for another to boot; then it boots beside it."""

BUILT: Final = "scheduler"
"""The stage at whose end a guest has been kept at both of its levels."""

_POLL_S: Final = 0.1


@asynccontextmanager
async def first_builds(
    folder: Path, guest: str, emit: Emit, wait_s: float = BUILD_S
) -> AsyncIterator[Emit]:
    """Run the block alone among those of the same guest on this host, until its guest was kept.

    :param folder: for the marks and locks, shared by all workers of the host.
    :param guest: digest of what shapes the guest.
    :param emit: told when the others are not waited for.
    :return: has to be told the run's events.
    """
    mark = folder / f"{guest}.built"
    with ExitStack() as alone:
        try:
            if not await _alone_or_built(mark, folder / f"{guest}.lock", wait_s, alone):
                emit(Note(f"another run has been booting this guest for {wait_s:.0f} s"))
        except OSError as error:
            emit(Note(f"this guest may be booted twice: {error}"))

        def watching(event: RunEvent) -> None:
            if isinstance(event, StageDone) and event.key == BUILT:
                with suppress(OSError):
                    mark.touch()
                alone.close()

        yield watching


async def _alone_or_built(mark: Path, lock: Path, wait_s: float, alone: ExitStack) -> bool:
    """Wait until the lock is ours or the guest was built; False when neither came in time."""
    deadline = time.monotonic() + wait_s
    while not await anyio.Path(mark).exists():
        with ExitStack() as attempt:
            if attempt.enter_context(exclusive_now(lock)):
                alone.enter_context(attempt.pop_all())
                return True
        if time.monotonic() >= deadline:
            return False
        await anyio.sleep(_POLL_S)
    return True
