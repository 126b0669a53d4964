# SPDX-License-Identifier: GPL-2.0-only
"""The daemon's HTTP interface as one ASGI application."""

import anyio
import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response

from ktstr.daemon.api.operation import route
from ktstr.daemon.api.service import Service
from ktstr.daemon.api.table import OPERATIONS
from ktstr.daemon.auth import Doorkeeper
from ktstr.daemon.metrics import Metrics
from ktstr.daemon.problems import TITLES, Problem
from ktstr.daemon.supervisor import Supervisor
from ktstr.daemon.version import stamp

log = structlog.get_logger()


def create_app(
    supervisor: Supervisor,
    *,
    token: str | None,
    allow_paths: bool | None = None,
    metrics: Metrics | None = None,
    closing: anyio.Event | None = None,
) -> Starlette:
    """The application behind one door.

    :param token: what every request has to carry; None where only the owner can connect.
    :param allow_paths: whether clients may name files of this host; by default those without a
        token may.
    :param metrics: what has been counted so far.
    :param closing: set when the daemon ends: streams end, and health says so.
    """
    # What is asked for later must be what runs now.
    stamp()
    service = Service(
        supervisor,
        metrics=metrics or Metrics(),
        token=token,
        allow_paths=token is None if allow_paths is None else allow_paths,
        closing=closing or anyio.Event(),
    )
    return Starlette(
        routes=[route(operation, service) for operation in OPERATIONS],
        middleware=[Middleware(Doorkeeper, token=token)],
        exception_handlers={HTTPException: _refused, Exception: _wrong},
    )


async def _refused(request: Request, error: Exception) -> Response:
    """What Starlette itself refuses: no such path, not this method."""
    assert isinstance(error, HTTPException)
    status = error.status_code if error.status_code in TITLES else 400
    hint = "the paths and their methods are in /openapi.json"
    path = f"{request.method} {request.url.path}"
    return Problem(status, f"{path:.200} is not of this service", hint).response()


async def _wrong(request: Request, error: Exception) -> Response:
    log.error("request failed", path=request.url.path, exc_info=error)
    return Problem(
        500,
        f"{type(error).__name__} while answering",
        "the daemon's log has the place; this is a defect of ktstr",
    ).response()
