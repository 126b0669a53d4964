# SPDX-License-Identifier: GPL-2.0-only
"""The HTTP interface over a real Unix socket: runs, refusals, bounds."""

import contextlib
import socket
import stat
from pathlib import Path

import anyio.to_thread
import pytest
from tests.unit.daemon.served import SMALL, Served, served

from ktstr.daemon.listen import unix_listener
from ktstr.daemon.submission import RunState, ScenarioFile
from ktstr.daemon.wire import row_from_json
from ktstr.errors import ServiceRefused

pytestmark = pytest.mark.anyio


async def submitted(site: Served) -> str:
    reply = await site.ask("POST", "/v1/runs", SMALL)
    assert reply.status == 201, reply.body
    run_id: str = reply.json["id"]
    return run_id


async def test_a_submission_is_answered_with_its_row(tmp_path: Path) -> None:
    async with served(tmp_path) as site:
        body = {
            "scenario": {"path": "/tmp/a.toml"},
            "options": {"topology": "1n2l2c1t", "out_dir": "/tmp/out", "seed": 7},
            "priority": 3,
            "share": "ci",
        }
        reply = await site.ask("POST", "/v1/runs", body)
        assert reply.status == 201
        assert reply.headers["location"] == f"/v1/runs/{reply.json['id']}"
        row = row_from_json(reply.json)
        assert row == site.supervisor.runs[row.id]
        assert row.submission.scenario == ScenarioFile(Path("/tmp/a.toml"))
        assert row.submission.options.seed == 7
        assert (row.submission.priority, row.submission.share) == (3, "ci")
        one = await site.ask("GET", f"/v1/runs/{row.id}")
        assert row_from_json(one.json) == row


async def test_a_scenario_of_the_catalogue_goes_by_its_name(tmp_path: Path) -> None:
    async with served(tmp_path) as site:
        reply = await site.ask("POST", "/v1/runs", {"scenario": {"catalogue": "two_cgroups"}})
        assert reply.status == 201
        assert reply.json["submission"]["scenario"]["path"].endswith("/two_cgroups.toml")
        for name in ("nothing_like_it", "../two_cgroups", "", "/etc/passwd"):
            reply = await site.ask("POST", "/v1/runs", {"scenario": {"catalogue": name}})
            assert reply.status == 400
            assert "scenario.catalogue" in reply.json["detail"]


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({}, "scenario is missing"),
        ({**SMALL, "piority": 1}, "priority"),
        ({**SMALL, "options": {"topologie": "x"}}, "topology"),
        ({**SMALL, "options": {"seed": "x"}}, "options.seed"),
        ({**SMALL, "priority": 11}, "-10 to 10"),
        ({**SMALL, "share": "a b"}, "share"),
        ({"scenario": {"path": "a.toml"}}, "absolute"),
        ({"scenario": {"toml": "", "name": "../a"}}, "scenario.name"),
        ({**SMALL, "options": {"out_dir": "runs"}}, "absolute"),
    ],
)
async def test_a_wrong_submission_is_refused_with_the_key(
    tmp_path: Path, body: object, word: str
) -> None:
    async with served(tmp_path) as site:
        reply = await site.ask("POST", "/v1/runs", body)
        assert reply.status == 400
        assert reply.headers["content-type"] == "application/problem+json"
        assert word in reply.json["detail"] + reply.json["hint"]
        assert site.supervisor.runs == {}


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b'{"scenario": NaN}', "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b"{}", "text/plain", 415),
        (b"{}", "", 415),
    ],
)
async def test_what_is_no_json_object_is_refused(
    tmp_path: Path, body: bytes, kind: str, status: int
) -> None:
    async with served(tmp_path) as site:
        reply = await site.ask("POST", "/v1/runs", body, {"Content-Type": kind} if kind else {})
        assert reply.status == status
        assert reply.json["status"] == status
        assert reply.json["detail"]


def _flood(connection: socket.socket) -> bytes:
    """Send more than is taken; what is answered."""
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    with contextlib.suppress(OSError):
        for _ in range(64):
            connection.sendall(chunk)
    with contextlib.suppress(ConnectionResetError):
        return connection.recv(64)
    return b"cut off"


async def test_a_body_beyond_the_bound_is_refused(tmp_path: Path) -> None:
    head = b"POST /v1/runs HTTP/1.1\r\nHost: ktstr\r\nContent-Type: application/json\r\n"
    async with served(tmp_path) as site:
        with site.connection() as connection:
            # Its length alone is enough; nothing of it has to be sent.
            connection.sendall(head + b"Content-Length: 1048577\r\n\r\n")
            assert b" 413 " in await anyio.to_thread.run_sync(connection.recv, 64)
        with site.connection() as connection:
            # Without a length it is counted as it comes.
            connection.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
            said = await anyio.to_thread.run_sync(_flood, connection)
            assert b" 413 " in said or said == b"cut off"
        assert site.supervisor.runs == {}


async def test_a_daemon_that_takes_nothing_says_so(tmp_path: Path) -> None:
    async with served(tmp_path) as site:
        site.supervisor.refusal = ServiceRefused("the daemon is ending", hint="start it again")
        reply = await site.ask("POST", "/v1/runs", SMALL)
        assert reply.status == 503
        assert reply.headers["retry-after"]
        assert (reply.json["detail"], reply.json["hint"]) == (
            "the daemon is ending",
            "start it again",
        )
        assert (await site.ask("GET", "/v1/health")).json["accepting"] is False


@pytest.mark.parametrize("path", ["/v1/runs", "/v1/runs/20261121-120000-0000"])
async def test_a_database_that_cannot_be_read_is_no_defect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    async def unread(*_: object, **__: object) -> None:
        raise ServiceRefused("the database cannot be read: disk I/O error")

    async with served(tmp_path) as site:
        monkeypatch.setattr(site.supervisor, "rows", unread)
        monkeypatch.setattr(site.supervisor, "row", unread)
        reply = await site.ask("GET", path)
        assert (reply.status, reply.headers["retry-after"]) == (503, "10")
        assert "disk I/O error" in reply.json["detail"]


async def test_lists_are_newest_first_filtered_and_without_texts(tmp_path: Path) -> None:
    async with served(tmp_path) as site:
        ids = [await submitted(site) for _ in range(4)]
        site.supervisor.change(ids[1], state=RunState.RUNNING)
        listed = (await site.ask("GET", "/v1/runs")).json["runs"]
        assert [row["id"] for row in listed] == ids[::-1]
        assert {row["submission"]["scenario"]["toml"] for row in listed} == {""}
        assert [row_from_json(row).name for row in listed] == ["a"] * 4
        running = (await site.ask("GET", "/v1/runs?state=running,kept")).json["runs"]
        assert [row["id"] for row in running] == [ids[1]]
        older = (await site.ask("GET", f"/v1/runs?limit=1&before={ids[2]}")).json["runs"]
        assert [row["id"] for row in older] == [ids[1]]


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=1001", "limit=x", "limit=-1", "state=asleep", "before=../x", "stat=queued"],
)
async def test_a_wrong_query_is_refused(tmp_path: Path, query: str) -> None:
    async with served(tmp_path) as site:
        reply = await site.ask("GET", f"/v1/runs?{query}")
        assert reply.status == 400
        assert reply.json["hint"]


async def test_cancel_and_release_reach_the_supervisor_once_it_can_be(tmp_path: Path) -> None:
    async with served(tmp_path) as site:
        run_id = await submitted(site)
        assert (await site.ask("POST", f"/v1/runs/{run_id}/release")).status == 409
        site.supervisor.change(run_id, state=RunState.KEPT)
        assert (await site.ask("POST", f"/v1/runs/{run_id}/release", {})).json[
            "state"
        ] == "finished"
        assert (await site.ask("POST", f"/v1/runs/{run_id}/cancel")).status == 409
        other = await submitted(site)
        assert (await site.ask("POST", f"/v1/runs/{other}/cancel", {"now": 1})).status == 400
        assert (await site.ask("POST", f"/v1/runs/{other}/cancel")).json["state"] == "cancelled"
        assert site.supervisor.asked == [("release", run_id), ("cancel", other)]


@pytest.mark.parametrize(
    "path",
    [
        "/v1/runs/20261121-120000-ffff",
        "/v1/runs/..%2f..%2fetc%2fpasswd",
        "/v1/runs/../../etc/passwd",
        "/v1/runs/%2e%2e/sidecar",
        "/v1/runs/20261121-120000-0000%00/sidecar",
        "/v1/runs/20261121-120000-0000%0a/page",
        "/v1/runs/20261121-120000-0000/../../x/evidence",
        "/v1/runs//checkpoint",
        "/runs/..%2f..%2fetc%2fpasswd",
        "/nothing",
    ],
)
async def test_what_is_no_run_is_not_found(tmp_path: Path, path: str) -> None:
    async with served(tmp_path) as site:
        await submitted(site)
        reply = await site.ask("GET", path)
        assert reply.status == 404
        assert reply.json["detail"]
        assert reply.json["hint"]


async def test_a_wrong_method_is_refused(tmp_path: Path) -> None:
    async with served(tmp_path) as site:
        assert (await site.ask("DELETE", "/v1/runs")).status == 405


async def test_the_socket_is_its_owners_alone(tmp_path: Path) -> None:
    door = unix_listener(tmp_path / "new" / "ktstr" / "d.sock")
    assert stat.S_IMODE((tmp_path / "new" / "ktstr" / "d.sock").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "new" / "ktstr").stat().st_mode) == 0o700
    door.close()
    assert not (tmp_path / "new" / "ktstr" / "d.sock").exists()


@pytest.mark.parametrize("number", ["000001000" + "9" * 20, "0" * 30, "9" * 5000, "-1", "1e3", ""])
async def test_a_number_of_any_length_is_bounded(tmp_path: Path, number: str) -> None:
    async with served(tmp_path) as site:
        run_id = await submitted(site)
        assert (await site.ask("GET", f"/v1/runs?limit={number}")).status == 400
        path = f"/v1/runs/{run_id}/events"
        # In 20 digits that begin with zeros it is small.
        long = "0" * 20 + number if number.isdigit() else number
        reply = await site.ask("GET", path, None, {"Last-Event-ID": long or "x"})
        assert reply.status == 400
