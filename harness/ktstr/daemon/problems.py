# SPDX-License-Identifier: GPL-2.0-only
"""What a request is refused with: a JSON problem object (RFC 9457) with a sentence and a hint."""

import json
from collections.abc import Mapping
from typing import Any, Final

from starlette.responses import Response

TYPE: Final = "application/problem+json"

TITLES: Final = {
    400: "the request is wrong",
    401: "no token, or a wrong one",
    403: "this client may not do that",
    404: "there is no such thing",
    405: "not this method",
    408: "the request took too long to arrive",
    409: "not in this state",
    413: "too large",
    415: "not this type of content",
    421: "not this host",
    422: "the definition is wrong",
    500: "ktstr itself went wrong",
    503: "the daemon cannot do that now",
}
"""What each status means here."""


class Problem(Exception):
    """A request that is refused.

    :param status: one of :data:`TITLES`.
    :param detail: what happened and what was found, one sentence.
    :param hint: what the client can do about it.
    :param extra: further members of the problem object.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        hint: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.hint = hint
        self.headers = dict(headers or {})
        self.extra = extra

    def response(self) -> Response:
        """The answer that carries it."""
        found: dict[str, Any] = {"title": TITLES[self.status], "status": self.status}
        found["detail"] = self.detail
        if self.hint is not None:
            found["hint"] = self.hint
        text = json.dumps(found | self.extra)
        return Response(text, self.status, self.headers, media_type=TYPE)
