# SPDX-License-Identifier: GPL-2.0-only
"""What comes with a request, bounded in size and time before anybody looks into it."""

import json
from typing import Any, Final

import anyio
from starlette.requests import Request

from ktstr.daemon.problems import Problem

MAX_BODY: Final = 1 << 20
BODY_TIMEOUT_S: Final = 20.0


async def read_body(request: Request) -> bytes:
    """The body, at most :data:`MAX_BODY` bytes.

    :raise Problem: when it is larger, or does not arrive in time.
    """
    length = request.headers.get("content-length", "")
    if length.isascii() and length.isdigit() and int(length) > MAX_BODY:
        raise _too_large()
    found = bytearray()
    try:
        with anyio.fail_after(BODY_TIMEOUT_S):
            async for part in request.stream():
                found += part
                if len(found) > MAX_BODY:
                    raise _too_large()
    except TimeoutError:
        raise Problem(
            408,
            f"the body did not arrive within {BODY_TIMEOUT_S:.0f} s",
            "send it at once",
            headers={"Connection": "close"},
        ) from None
    return bytes(found)


async def read_json(request: Request, *, required: bool = True) -> dict[str, Any]:
    """The body as a JSON object; empty where none came and none is ``required``.

    :raise Problem: when it is none.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = await read_body(request)
    if not body and not required:
        return {}
    if kind != "application/json":
        raise Problem(
            415,
            f"the body is {kind!r:.80}" if kind else "the body has no Content-Type",
            "send JSON with the header Content-Type: application/json",
        )
    try:
        found = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Problem(400, f"the body is not JSON: {error}", "send one JSON object") from None
    if not isinstance(found, dict):
        raise Problem(400, "the body is JSON, but no object", "send one JSON object")
    return found


def whole_number(text: str, most: int) -> int | None:
    """A number from 0 to ``most`` in no more digits than that has; None for the rest."""
    if not text.isascii() or not text.isdigit() or len(text) > len(str(most)):
        return None
    return int(text) if int(text) <= most else None


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is no number")


def _too_large() -> Problem:
    return Problem(
        413,
        f"the body is larger than {MAX_BODY >> 20} MiB",
        "a scenario is at most a few KiB; schedulers are named by their path",
        headers={"Connection": "close"},
    )
