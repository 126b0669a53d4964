# SPDX-License-Identifier: GPL-2.0-only
"""Clients that do not come to the point, or come in numbers."""

import socket
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from tests.unit.daemon.served import served

from ktstr.daemon.api import bodies
from ktstr.daemon.server import MAX_HEAD, PatientProtocol

pytestmark = pytest.mark.anyio


def rest(made: socket.socket) -> bytes:
    """Everything until the other end closes."""
    found = b""
    try:
        while part := made.recv(65536):
            found += part
    except ConnectionResetError:
        pass
    return found


@pytest.mark.parametrize(
    "said", [b"", b"G", b"GET /v1/health HTTP/1.1\r\nHost: kt", b"GET / HTTP/1.1\r\nA: b\r\n"]
)
async def test_a_head_that_does_not_come_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr(PatientProtocol, "head_timeout_s", 0.3)
    async with served(tmp_path) as site:
        with site.connection() as made:
            made.sendall(said)
            assert await anyio.to_thread.run_sync(rest, made) == b""
        assert (await site.ask("GET", "/v1/health")).status == 200


async def test_a_head_that_trickles_does_not_win_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PatientProtocol, "head_timeout_s", 0.4)
    async with served(tmp_path) as site:
        with site.connection() as made:

            def trickle() -> int:
                for count in range(200):
                    try:
                        made.sendall(b"G" if count == 0 else b"E")
                    except OSError:
                        return count
                    made.settimeout(0.05)
                    try:
                        if made.recv(1) == b"":
                            return count
                    except TimeoutError:
                        pass
                return -1

            assert 0 <= await anyio.to_thread.run_sync(trickle) < 199


async def test_a_second_request_on_the_connection_has_its_own_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PatientProtocol, "head_timeout_s", 0.3)
    request = b"GET /v1/health HTTP/1.1\r\nHost: ktstr\r\n\r\n"
    async with served(tmp_path) as site:
        with site.connection() as made:
            for _ in range(2):
                made.sendall(request)
                found = b""
                while not found.endswith(b"true}"):
                    more = await anyio.to_thread.run_sync(made.recv, 65536)
                    assert more, f"it hung up after {found!r}"
                    found += more
                # Longer than a head may take: between requests a connection may rest.
                await anyio.sleep(0.5)
            made.sendall(request[:10])
            assert await anyio.to_thread.run_sync(rest, made) == b""


async def test_a_body_that_does_not_come_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "BODY_TIMEOUT_S", 0.3)
    head = b"POST /v1/runs HTTP/1.1\r\nHost: ktstr\r\nContent-Type: application/json\r\n"
    async with served(tmp_path) as site:
        with site.connection() as made:
            made.sendall(head + b'Content-Length: 100\r\n\r\n{"scen')
            said = await anyio.to_thread.run_sync(rest, made)
        assert b" 408 " in said
        assert b"did not arrive" in said


async def test_a_client_that_leaves_within_its_body_leaves_nothing(tmp_path: Path) -> None:
    head = b"POST /v1/runs HTTP/1.1\r\nHost: ktstr\r\nContent-Type: application/json\r\n"
    async with served(tmp_path) as site:
        for _ in range(5):
            with site.connection() as made:
                made.sendall(head + b'Content-Length: 100\r\n\r\n{"scen')
        assert (await site.ask("GET", "/v1/health")).status == 200
        assert site.supervisor.runs == {}


async def test_a_head_without_end_is_refused(tmp_path: Path) -> None:
    async with served(tmp_path) as site:
        with site.connection() as made:

            def send() -> bytes:
                try:
                    made.sendall(b"GET / HTTP/1.1\r\nX: " + b"x" * (4 * MAX_HEAD))
                except OSError:
                    return b" 400 "
                return rest(made)

            assert b" 400 " in await anyio.to_thread.run_sync(send)


@pytest.mark.parametrize("said", [b"\x16\x03\x01\x02\x00", b"NONSENSE\r\n\r\n", b"\r\n" * 50])
async def test_what_is_not_http_harms_nobody(tmp_path: Path, said: bytes) -> None:
    async with served(tmp_path) as site:
        with site.connection() as made:
            made.sendall(said)
        assert (await site.ask("GET", "/v1/health")).status == 200
