# SPDX-License-Identifier: GPL-2.0-only
"""Task scopes that raise what went wrong, not a group around it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from anyio.abc import TaskGroup


@asynccontextmanager
async def task_scope() -> AsyncIterator[TaskGroup]:
    """A task group that is cancelled when its block ends.

    An error of the block, or of a task, leaves the scope by itself; when several happened,
    the first is raised, for the rest are mostly its consequences.
    """
    try:
        async with anyio.create_task_group() as group:
            yield group
            group.cancel_scope.cancel()
    except BaseExceptionGroup as errors:
        raise _first(errors) from None


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
