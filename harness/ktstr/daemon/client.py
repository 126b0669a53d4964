# SPDX-License-Identifier: GPL-2.0-only
"""Talking to a daemon on its Unix socket: the standard library's HTTP, nothing heavier.

Every answer is held against what it has to be; a daemon of another version is told from one that
is broken.
"""

import json
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ktstr.daemon.address import connected
from ktstr.daemon.version import API, package, stamp, version
from ktstr.errors import CannotRun, GuestLost, KtstrError

if TYPE_CHECKING:
    from http.client import HTTPResponse

HELLO_TIMEOUT_S: Final = 2.0
"""How long a daemon may take to say who it is, before a command works without it."""

TIMEOUT_S: Final = 30.0
"""How long any other answer may take."""

MAX_ANSWER: Final = 64 << 20
MAX_LINE: Final = 4 << 20
JSON: Final = "application/json"


class DaemonRefused(CannotRun):
    """The daemon answered that it will not do that."""

    def __init__(self, message: str, *, hint: str | None = None, status: int = 0) -> None:
        super().__init__(message, hint=hint)
        self.status = status


class DaemonLost(GuestLost):
    """The daemon went away, and with it the guest."""


class _Unanswered(Exception):
    """There is no daemon, or no answer of it."""


@dataclass(frozen=True, slots=True)
class Health:
    """What a daemon says about itself."""

    api: int
    version: str
    package: str
    stamp: int
    pid: int
    accepting: bool

    @property
    def foreign(self) -> str:
        """Why this program should not leave its runs to that daemon; empty when it may."""
        if self.api != API:
            return f"it is ktstr {self.version}, this is {version()}"
        if self.package != package():
            return f"it runs the ktstr in {self.package}, this one is in {package()}"
        if self.stamp != stamp():
            return "its program has changed since it was started"
        return "" if self.accepting else "it is ending and takes no more runs"


@dataclass(frozen=True, slots=True)
class Message:
    """One event of a stream.

    :param seq: its number, to continue after it; None for what has none.
    """

    kind: str
    data: Any
    seq: int | None = None


class Daemon:
    """The daemon behind a socket; each call is a connection of its own."""

    def __init__(self, path: Path, timeout_s: float = TIMEOUT_S) -> None:
        self.path = path
        self._timeout_s = timeout_s

    def listens(self) -> bool:
        """Whether anybody listens at the socket."""
        made = connected(self.path, HELLO_TIMEOUT_S)
        if made is None:
            return False
        made.close()
        return True

    def health(self, timeout_s: float = HELLO_TIMEOUT_S) -> Health | None:
        """What the daemon says about itself; None when none answers in time."""
        try:
            found = self._call("GET", "/v1/health", None, timeout_s)
        except (_Unanswered, KtstrError):
            return None
        try:
            return Health(
                api=int(found["api"]),
                version=str(found["version"]),
                package=str(found["package"]),
                stamp=int(found["stamp"]),
                pid=int(found["pid"]),
                accepting=bool(found["accepting"]),
            )
        except (KeyError, TypeError, ValueError):
            return None

    def get(self, path: str) -> Any:
        """The JSON at ``path``.

        :raise DaemonRefused: when it is refused.
        :raise DaemonLost: when the daemon does not answer.
        """
        return self._answer("GET", path, None)

    def post(self, path: str, body: object = None) -> Any:
        """The JSON that a POST of ``body`` is answered with; errors as of :meth:`get`."""
        return self._answer("POST", path, {} if body is None else body)

    def follow(self, path: str, after: int | None = None) -> "Stream":
        """The events at ``path`` that come after number ``after``; errors as of :meth:`get`."""
        headers = {"Accept": "text/event-stream"}
        if after is not None:
            headers["Last-Event-ID"] = str(after)
        try:
            connection, response = self._ask("GET", path, None, headers, self._timeout_s)
        except _Unanswered as error:
            raise self._lost(error) from None
        if response.status != 200:
            with connection:
                _json(response)
                raise DaemonRefused(f"the daemon refused {path}: status {response.status}")
        # Silence is a heartbeat's time; a daemon that is stuck longer than three is gone.
        connection.socket.settimeout(3 * 15.0)
        return Stream(connection, response)

    def _answer(self, method: str, path: str, body: object) -> Any:
        try:
            return self._call(method, path, body, self._timeout_s)
        except _Unanswered as error:
            raise self._lost(error) from None

    def _lost(self, error: _Unanswered) -> DaemonLost:
        return DaemonLost(
            f"the daemon at {self.path} does not answer: {error}",
            hint="`systemctl --user status ktstr`, or start it with `ktstr serve`; "
            "`--no-daemon` runs without it",
        )

    def _call(self, method: str, path: str, body: object, timeout_s: float) -> Any:
        connection, response = self._ask(method, path, body, {"Accept": JSON}, timeout_s)
        with connection:
            return _json(response)

    def _ask(
        self, method: str, path: str, body: object, headers: dict[str, str], timeout_s: float
    ) -> "tuple[_Connection, HTTPResponse]":
        from http.client import HTTPException

        made = connected(self.path, timeout_s)
        if made is None:
            raise _Unanswered("nobody listens there")
        connection = _Connection(made)
        text = None if method == "GET" else json.dumps(body).encode()
        if text is not None:
            headers = {**headers, "Content-Type": JSON}
        try:
            connection.http.request(method, path, text, headers)
            return connection, connection.http.getresponse()
        except (OSError, HTTPException) as error:
            connection.close()
            raise _Unanswered(str(error) or type(error).__name__) from error


class _Connection:
    """One HTTP connection over a socket that is connected already."""

    def __init__(self, made: socket.socket) -> None:
        from http.client import HTTPConnection

        self.socket = made
        self.http: HTTPConnection = HTTPConnection("ktstr")
        self.http.sock = made

    def __enter__(self) -> "_Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.http.close()
        self.socket.close()


class Stream:
    """Server-sent events of one response (WHATWG HTML, section 9.2), one after the other.

    Ends when the daemon ends it; :meth:`close` ends it from another thread.
    """

    def __init__(self, connection: _Connection, response: "HTTPResponse") -> None:
        self._connection = connection
        self._response = response

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self._response.close()
        self._connection.close()

    def close(self) -> None:
        """No more: whoever waits for the next event learns that the stream has ended."""
        with suppress(OSError):
            self._connection.socket.shutdown(socket.SHUT_RDWR)

    def __iter__(self) -> Iterator[Message]:
        kind, seq, data = "message", None, ""
        for line in self._lines():
            if not line:
                if data:
                    yield Message(kind, _parsed(data), seq)
                kind, seq, data = "message", None, ""
                continue
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            match name:
                case "event":
                    kind = value
                case "data":
                    data += value
                case "id":
                    seq = int(value) if value.isascii() and value.isdigit() else None

    def _lines(self) -> Iterator[str]:
        from http.client import HTTPException

        while True:
            try:
                line = self._response.readline(MAX_LINE)
            except (OSError, HTTPException, ValueError):
                return
            if not line.endswith(b"\n"):
                return
            yield line.rstrip(b"\r\n").decode(errors="replace")


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _json(response: "HTTPResponse") -> Any:
    from http.client import HTTPException

    try:
        body = response.read(MAX_ANSWER)
    except (OSError, HTTPException) as error:
        raise _Unanswered(str(error) or type(error).__name__) from error
    try:
        found = json.loads(body) if body else None
    except ValueError:
        found = None
    if 200 <= response.status < 300:
        if found is None:
            raise _Unanswered(f"status {response.status} with no JSON")
        return found
    problem = found if isinstance(found, dict) else {}
    detail, hint = problem.get("detail"), problem.get("hint")
    raise DaemonRefused(
        str(detail) if detail else f"the daemon answered with status {response.status}",
        hint=None if hint is None else str(hint),
        status=response.status,
    )
