# SPDX-License-Identifier: GPL-2.0-only
"""A daemon's supervisor whose runs follow scripts (:mod:`ktstr.testing.fake_runner`)."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from ktstr.daemon.settings import Settings
from ktstr.daemon.submission import RunRow, ScenarioText, Submission
from ktstr.daemon.supervisor import Supervisor, supervising
from ktstr.session.room import Room

PATIENCE_S = 30.0
FAKE = Settings(work="ktstr.testing.fake_runner", room=lambda: Room(4, 4000))


def script(*lines: str, share: str = "default", priority: int = 0) -> Submission:
    """A submission whose run does these things."""
    return Submission(ScenarioText("\n".join(lines), "fake"), share=share, priority=priority)


async def over(supervisor: Supervisor, row: RunRow) -> RunRow:
    """The row of a run once it is over."""
    with anyio.fail_after(PATIENCE_S):
        async for _ in supervisor.follow(row.id):
            pass
    return await supervisor.row(row.id)


async def until(supervisor: Supervisor, row: RunRow, *states: str) -> RunRow:
    """The row of a run once it is in one of these states."""
    with anyio.fail_after(PATIENCE_S):
        async for event in supervisor.follow(row.id):
            if event.data.get("state") in states:
                return await supervisor.row(row.id)
    raise AssertionError(f"it ended as {(await supervisor.row(row.id)).state}")


async def eventually(holds: Callable[[], bool]) -> None:
    """Wait until it holds."""
    for _ in range(int(PATIENCE_S / 0.02)):
        if holds():
            return
        await anyio.sleep(0.02)
    raise AssertionError("it never held")


def is_there(path: str) -> bool:
    """Whether the path exists."""
    return Path(path).exists()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The daemon runs on asyncio alone."""
    return "asyncio"


Serving = Callable[..., AbstractAsyncContextManager[Supervisor]]


@pytest.fixture
def serving(tmp_path: Path) -> Serving:
    """A supervisor of scripted runs in the test's own folder, as often as it is asked for."""

    @asynccontextmanager
    async def serve(**changes: Any) -> AsyncIterator[Supervisor]:
        settings = replace(FAKE, **changes)
        async with supervising(tmp_path / "state", settings) as supervisor:
            yield supervisor

    return serve
