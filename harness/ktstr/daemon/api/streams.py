# SPDX-License-Identifier: GPL-2.0-only
"""Events as they happen: of one run, and of all."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, contextmanager
from typing import Any, cast

from starlette.requests import Request
from starlette.responses import Response

from ktstr.daemon.api.bodies import whole_number
from ktstr.daemon.api.runs import listed
from ktstr.daemon.api.service import Service
from ktstr.daemon.problems import Problem
from ktstr.daemon.sse import EventStream, Frame

MAX_SEQ = (1 << 63) - 1


async def run_events(request: Request, service: Service) -> Response:
    """What happens in one run: what is kept of its past, then what comes, until it is over."""
    after = _last_seen(request)
    row = await service.row(request.path_params["run_id"])
    return EventStream(_of_run(service, row.id, after), service.closing)


async def changes(request: Request, service: Service) -> Response:
    """Each run that changes, from now on."""
    return EventStream(_of_all(service), service.closing)


def _last_seen(request: Request) -> int:
    text = request.headers.get("last-event-id", "") or request.query_params.get("after", "0")
    number = whole_number(text, MAX_SEQ)
    if number is None:
        raise Problem(400, f"Last-Event-ID is {text!r:.40}", "the number of the last event seen")
    return number


async def _of_run(service: Service, run_id: str, after: int) -> AsyncGenerator[Frame, None]:
    with _counted(service):
        async with aclosing(_generator(service.supervisor.follow(run_id, after))) as events:
            async for event in events:
                yield Frame(event.type, {**event.data, "at": event.at}, event.seq)
        try:
            row = await service.supervisor.row(run_id)
        except KeyError:
            return
        # Only a run that is over has an end; a follower that was dropped comes again.
        if row.state.over:
            yield Frame("end", listed(row))


async def _of_all(service: Service) -> AsyncGenerator[Frame, None]:
    with _counted(service):
        async with aclosing(_generator(service.supervisor.changes())) as rows:
            async for row in rows:
                yield Frame("run", listed(row))


@contextmanager
def _counted(service: Service) -> Any:
    service.metrics.followers += 1
    try:
        yield
    finally:
        service.metrics.followers -= 1


def _generator(found: AsyncIterator[Any]) -> AsyncGenerator[Any, None]:
    """The supervisor's iterators are generators: they can be closed."""
    return cast(AsyncGenerator[Any, None], found)
