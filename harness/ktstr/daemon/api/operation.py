# SPDX-License-Identifier: GPL-2.0-only
"""One operation of the HTTP interface, and the route that it becomes."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import anyio
import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from ktstr.daemon.api.service import Service
from ktstr.daemon.problems import Problem
from ktstr.errors import ServiceRefused

JSON: Final = "application/json"
Handler = Callable[[Request, Service], Awaitable[Response]]
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of the path, the query or the head.

    :param place: ``path``, ``query`` or ``header``.
    """

    name: str
    place: str
    about: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """What an operation answers with.

    :param schema: name of the schema of its JSON; None where it is another type of content.
    """

    about: str
    schema: str | None = None
    content: str = JSON


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation: what a client has to know, and who answers.

    :param name: its operationId.
    :param body: name of the schema of the body's JSON; None where there is none.
    :param refusals: statuses of the problems it may answer with.
    """

    method: str
    path: str
    name: str
    about: str
    handler: Handler
    answers: Mapping[int, Answer]
    parameters: Sequence[Parameter] = ()
    body: str | None = None
    refusals: Sequence[int] = ()
    tag: str = field(default="runs")


def route(operation: Operation, service: Service) -> Route:
    """The route that answers ``operation``."""

    async def endpoint(request: Request) -> Response:
        began = anyio.current_time()
        run_id = request.path_params.get("run_id")
        words = {} if run_id is None else {"run": run_id}
        try:
            _check_query(operation, request)
            response = await operation.handler(request, service)
        except ClientDisconnect:
            # Nobody is there to read an answer.
            return Response(status_code=499)
        except Problem as problem:
            response = problem.response()
            words["problem"] = problem.detail
        except ServiceRefused as error:
            # Nothing is taken now, or the database cannot be read.
            found = Problem(
                503, error.message, error.hint, headers={"Retry-After": "10"}, exit_code=4
            )
            response = found.response()
            words["problem"] = found.detail
        took_ms = round(1000 * (anyio.current_time() - began), 1)
        tell = log.info if operation.method != "GET" else log.debug
        tell("request", operation=operation.name, status=response.status_code, ms=took_ms, **words)
        return response

    path = re.sub(r"\{(\w+)\}", r"{\1:str}", operation.path)
    return Route(path, endpoint, methods=[operation.method], name=operation.name)


def _check_query(operation: Operation, request: Request) -> None:
    allowed = [each.name for each in operation.parameters if each.place == "query"]
    for name in request.query_params:
        if name not in allowed:
            known = f"allowed: {', '.join(allowed)}" if allowed else "it takes none"
            raise Problem(400, f"the query has an unknown parameter {name!r:.80}", known)
