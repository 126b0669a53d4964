# SPDX-License-Identifier: GPL-2.0-only
"""The statistics relay against a real socket server that behaves well or badly."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.loop import Loop
from agent.relay import REPLY_CAP, REQUEST_CAP, StatsRelay
from ktstr.wire import MsgType, WireError, pack_payload

LONG_S = 30.0


class Served:
    """A relay and the scheduler's end of its socket."""

    def __init__(self, loop: Loop, heard: Any, path: Path) -> None:
        self.loop, self.heard = loop, heard
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen(1)
        self.listener.settimeout(LONG_S)
        self.relay = StatsRelay(loop, heard, str(path))

    def ask(self, number: int, line: object = b'{"req":"stats"}\n') -> None:
        payload = pack_payload({"id": number, "line": line})
        self.heard.handlers[MsgType.STATS_REQUEST](payload)

    def accept(self) -> socket.socket:
        peer, _ = self.listener.accept()
        peer.settimeout(LONG_S)
        return peer

    def replies(self, count: int) -> list[dict[str, Any]]:
        done = self.loop.run(
            time.monotonic() + LONG_S, lambda: len(self.heard.of(MsgType.STATS_REPLY)) >= count
        )
        assert done, self.heard.sent
        return self.heard.of(MsgType.STATS_REPLY)


@pytest.fixture
def served(loop: Loop, heard: Any, tmp_path: Path) -> Iterator[Served]:
    made = Served(loop, heard, tmp_path / "stats")
    yield made
    made.relay.close()
    made.listener.close()


def test_answers_come_back_under_their_number_over_one_connection(served: Served) -> None:
    served.ask(7)
    peer = served.accept()
    assert peer.recv(100) == b'{"req":"stats"}\n'
    peer.sendall(b'{"a":')
    served.loop.run(time.monotonic() + 0.01)
    assert served.heard.of(MsgType.STATS_REPLY) == []
    peer.sendall(b"1}\n")
    assert served.replies(1) == [{"id": 7, "line": b'{"a":1}', "error": None, "kind": None}]
    served.ask(8)
    peer.sendall(b"two\n")
    assert served.replies(2)[1] == {"id": 8, "line": b"two", "error": None, "kind": None}
    peer.close()


def test_a_line_nobody_asked_for_is_not_the_next_answer(served: Served) -> None:
    served.ask(1)
    peer = served.accept()
    peer.sendall(b"one\n")
    served.replies(1)
    peer.sendall(b"stale\n")
    served.loop.run(time.monotonic() + 0.02)
    served.ask(2)
    peer.sendall(b"fresh\n")
    assert served.replies(2)[1]["line"] == b"fresh"
    peer.close()


def test_a_newer_request_replaces_the_one_that_waits(served: Served) -> None:
    served.ask(1)
    first = served.accept()
    served.ask(2)
    assert served.replies(1)[0]["id"] == 1
    assert "newer request" in served.replies(1)[0]["error"]
    assert served.replies(1)[0]["kind"] == "cancelled"
    second = served.accept()
    first.close()
    second.sendall(b"fine\n")
    assert served.replies(2)[1] == {"id": 2, "line": b"fine", "error": None, "kind": None}
    second.close()


def test_a_closed_socket_is_an_error_and_the_next_request_connects_anew(served: Served) -> None:
    served.ask(1)
    served.accept().close()
    assert "closed its statistics socket" in served.replies(1)[0]["error"]
    served.ask(2)
    peer = served.accept()
    peer.sendall(b"again\n")
    assert served.replies(2)[1]["line"] == b"again"
    peer.close()


def test_an_endless_answer_is_cut(served: Served) -> None:
    served.ask(1)
    peer = served.accept()
    peer.setblocking(False)
    sent = 0
    while not served.heard.of(MsgType.STATS_REPLY) and sent < 4 * REPLY_CAP:
        try:
            sent += peer.send(b"x" * 65536)
        except BlockingIOError:
            served.loop.run(time.monotonic() + 0.001)
        except BrokenPipeError:
            break
    assert "exceeds 1 MiB" in served.replies(1)[0]["error"]
    assert served.replies(1)[0]["kind"] == "response_too_large"
    peer.close()


def test_without_a_scheduler_the_error_names_the_socket(served: Served) -> None:
    served.listener.close()
    served.ask(3)
    reply = served.replies(1)[0]
    assert (reply["id"], reply["line"]) == (3, None)
    assert reply["error"].endswith("stats: Connection refused")
    assert reply["kind"] == "no_scheduler"


def test_a_server_that_accepts_nobody_does_not_stop_the_agent(served: Served) -> None:
    for number in range(8):  # beyond the backlog, where connect(2) would block
        served.ask(number)
    errors = [reply["error"] for reply in served.heard.of(MsgType.STATS_REPLY)]
    assert any("Resource temporarily unavailable" in error for error in errors)


@pytest.mark.parametrize("line", [None, "text", b"x" * (REQUEST_CAP + 1)])
def test_requests_out_of_bounds_are_answered_with_an_error(served: Served, line: object) -> None:
    served.ask(4, line)
    assert "16 KiB" in served.replies(1)[0]["error"]
    assert served.replies(1)[0]["kind"] == "request_too_large"


def test_a_request_without_a_number_is_refused(served: Served) -> None:
    with pytest.raises(WireError, match="'id'"):
        served.heard.handlers[MsgType.STATS_REQUEST](pack_payload({"line": b"x"}))
