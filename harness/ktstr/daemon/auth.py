# SPDX-License-Identifier: GPL-2.0-only
"""Who may talk to the daemon.

Over the Unix socket it is whoever may open it: its mode is 0600. A browser that reaches it through
a forwarded port must have meant to, so requests that another site's page could make are refused.
Over TCP every request carries the token, or the cookie that was given for it at ``/login``.
"""

import hashlib
import hmac
from http.cookies import CookieError, SimpleCookie
from typing import Final
from urllib.parse import SplitResult, urlsplit

from starlette.datastructures import Headers
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ktstr.daemon.problems import Problem

COOKIE: Final = "ktstr"
MIN_TOKEN: Final = 16
"""Fewest characters of a token; 128 random bits are 22 of base64."""

MAX_TOKEN: Final = 1024
OPEN_PATHS: Final = frozenset(("/login",))
"""What is answered without a token."""

_LOCAL_NAMES: Final = frozenset(("localhost", "127.0.0.1", "::1", "ktstr"))
_SAFE: Final = frozenset(("GET", "HEAD", "OPTIONS"))


def cookie_value(token: str) -> str:
    """What a browser keeps in place of the token: it opens this daemon's doors, and no other's."""
    return hmac.new(token.encode(), b"ktstr page", hashlib.sha256).hexdigest()


def same(given: str, due: str) -> bool:
    """Whether two secrets are equal, in a time that does not tell how much of them is."""
    return hmac.compare_digest(given.encode(errors="replace"), due.encode())


class Doorkeeper:
    """Lets requests through to ``app`` that may be made.

    :param token: what each request has to carry; None: the socket's mode has decided already.
    """

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self._app = app
        self._token = token
        self._cookie = None if token is None else cookie_value(token)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http":
            try:
                self._check(scope)
            except Problem as problem:
                answer = _door(scope) if problem.status == 401 else None
                await (answer or problem.response())(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        if self._token is None:
            self._check_host(headers)
            self._check_origin(scope, headers)
        elif scope["path"] not in OPEN_PATHS:
            self._check_token(scope, headers, self._token)

    def _check_host(self, headers: Headers) -> None:
        # A foreign name that was made to point at a forwarded port (DNS rebinding).
        given = headers.get("host", "")
        parts = _split(f"//{given}")
        if parts is None or parts.hostname not in _LOCAL_NAMES:
            raise Problem(
                421,
                f"the Host is {given!r:.80}, which is not this machine's",
                f"use one of {', '.join(sorted(_LOCAL_NAMES))}",
            )

    def _check_origin(self, scope: Scope, headers: Headers) -> None:
        origin = headers.get("origin")
        if scope["method"] in _SAFE or origin is None:
            return
        parts = _split(origin)
        if parts is None or parts.netloc != headers.get("host"):
            raise Problem(
                403,
                "the request was made by a page of another site",
                "use the daemon's own page, or a client that sends no Origin",
            )

    def _check_token(self, scope: Scope, headers: Headers, token: str) -> None:
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind:
            if kind.lower() == "bearer" and same(given.strip(), token):
                return
            raise _unknown("the token is wrong")
        kept = _kept(headers.get("cookie", ""))
        if kept is None:
            raise _unknown("there is no token in the request")
        if self._cookie is None or not same(kept, self._cookie):
            raise _unknown("the cookie is of another token")
        self._check_origin(scope, headers)


def _door(scope: Scope) -> Response | None:
    """Where a browser that opens a page finds the form; None for other clients."""
    page = scope["method"] == "GET" and not scope["path"].startswith("/v1/")
    if page and "text/html" in Headers(scope=scope).get("accept", ""):
        return RedirectResponse("/login", 303)
    return None


def _unknown(detail: str) -> Problem:
    return Problem(
        401,
        detail,
        "send the header Authorization: Bearer TOKEN, or open /login in a browser; "
        "the token is in the file that ktstr serve was given as --token-file",
        headers={"WWW-Authenticate": "Bearer"},
    )


def _split(text: str) -> SplitResult | None:
    try:
        return urlsplit(text)
    except ValueError:
        # Such as a bracket that is not closed.
        return None


def _kept(text: str) -> str | None:
    try:
        found = SimpleCookie(text).get(COOKIE)
    except CookieError:
        return None
    return None if found is None else found.value
