# SPDX-License-Identifier: GPL-2.0-only
"""The OpenAPI document: every route is in it, and what is answered is what it says."""

import json
from pathlib import Path
from typing import Any

import pytest
from starlette.routing import Route
from tests.unit.daemon.schema_check import mistakes
from tests.unit.daemon.served import SMALL, TOKEN, Reply, Served, served

from ktstr.daemon.app import create_app
from ktstr.daemon.submission import RunState
from ktstr.daemon.wire import EVENTS, event_to_json
from ktstr.session.events import Froze, Reading

pytestmark = pytest.mark.anyio


async def document(site: Served) -> Any:
    reply = await site.ask("GET", "/openapi.json")
    assert reply.status == 200
    return reply.json


async def test_routes_and_document_are_the_same(tmp_path: Path) -> None:
    async with served(tmp_path) as site:
        found = await document(site)
        described = {
            (method.upper(), path) for path, item in found["paths"].items() for method in item
        }
        app = create_app(site.supervisor, token=None)
        served_ = {
            (method, route.path.replace(":str}", "}"))
            for route in app.routes
            if isinstance(route, Route)
            for method in (route.methods or set()) - {"HEAD"}
        }
        assert described == served_
        names = [item["operationId"] for path in found["paths"].values() for item in path.values()]
        assert len(names) == len(set(names))
        text = json.dumps(found)
        for name in found["components"]["schemas"]:
            if not name.startswith("Event") and name != "Nothing":
                assert f"#/components/schemas/{name}" in text, f"{name} is used nowhere"
        assert "security" not in found


async def test_the_token_is_in_the_document(tmp_path: Path) -> None:
    async with served(tmp_path, token=TOKEN) as site:
        reply = await site.ask("GET", "/openapi.json", headers={"Authorization": f"Bearer {TOKEN}"})
        assert reply.json["security"] == [{"token": []}]


def as_described(found: Any, method: str, path: str, reply: Reply) -> None:
    """The reply is one of those that the document has for the operation."""
    answers = found["paths"][path][method.lower()]["responses"]
    assert str(reply.status) in answers, f"{method} {path}: {reply.status} is not described"
    content = answers[str(reply.status)]["content"]
    kind = reply.headers["content-type"].partition(";")[0]
    assert kind in content, f"{method} {path}: {kind}, described are {list(content)}"
    if "schema" in content[kind]:
        assert mistakes(reply.json, content[kind]["schema"], found, path) == []


async def test_answers_are_what_the_document_says(tmp_path: Path) -> None:
    async with served(tmp_path) as site:
        found = await document(site)
        reply = await site.ask("POST", "/v1/runs", SMALL)
        as_described(found, "POST", "/v1/runs", reply)
        run_id = reply.json["id"]
        folder = site.supervisor.runs[run_id].folder
        assert folder is not None
        sidecar, evidence = folder / "a.ktstr.json", folder / "a.evidence"
        sidecar.write_text('{"schema": 1}')
        evidence.mkdir()
        (evidence / "console.log").write_text("hello")
        (folder / "a.ktckpt").write_bytes(b"c")
        full = {
            "scenario": {"path": "/tmp/a.toml"},
            "options": {
                "flags": ["a"],
                "clock": "virtual",
                "timeout_s": 1.5,
                "auto_repro": False,
                "out_dir": "/tmp/x",
                "deadlines": {"boot": 5.0},
            },
            "priority": -3,
            "share": "ci:main",
            "cwd": "/tmp",
        }
        schemas = found["components"]["schemas"]
        assert mistakes(full, schemas["Submission"], found) == []
        as_described(found, "POST", "/v1/runs", await site.ask("POST", "/v1/runs", full))
        as_described(found, "POST", "/v1/runs", await site.ask("POST", "/v1/runs", {}))
        as_described(found, "POST", "/v1/runs", await site.ask("POST", "/v1/runs", b"x"))
        site.supervisor.change(
            run_id,
            state=RunState.FINISHED,
            verdict="fail",
            exit_code=1,
            started_at=1.5,
            ended_at=2.5,
            sidecar=sidecar,
            evidence=evidence,
            checkpoint=folder / "a.ktckpt",
            cpus=2,
        )
        for path in (
            "/v1/runs",
            "/v1/runs?limit=0",
            "/v1/runs/{run_id}",
            "/v1/runs/{run_id}/sidecar",
            "/v1/runs/{run_id}/evidence",
            "/v1/runs/{run_id}/checkpoint",
            "/v1/runs/{run_id}/events",
            "/v1/runs/{run_id}/page",
            "/v1/runs/{run_id}/data",
            "/v1/health",
            "/metrics",
            "/login",
            "/openapi.json",
        ):
            reply = await site.ask("GET", path.format(run_id=run_id))
            as_described(found, "GET", path.partition("?")[0], reply)
            if "{" in path:
                reply = await site.ask("GET", path.format(run_id="20261121-120000-ffff"))
                assert reply.status == 404
                as_described(found, "GET", path, reply)
        for what in ("cancel", "release"):
            path = "/v1/runs/{run_id}/" + what
            reply = await site.ask("POST", path.format(run_id=run_id))
            assert reply.status == 409
            as_described(found, "POST", path, reply)


async def test_a_wrong_submission_is_wrong_by_the_document_too(tmp_path: Path) -> None:
    async with served(tmp_path) as site:
        found = await document(site)
    schema = found["components"]["schemas"]["Submission"]
    for body in (
        {},
        {**SMALL, "extra": 1},
        {**SMALL, "priority": 11},
        {**SMALL, "options": {"topologie": "x"}},
        {**SMALL, "options": {"clock": "sand"}},
        {**SMALL, "share": "a b"},
        {"scenario": {"path": "a.toml"}},
        {"scenario": {"toml": "", "name": "../a"}},
    ):
        assert mistakes(body, schema, found) != []


async def test_events_are_what_the_document_says(tmp_path: Path) -> None:
    async with served(tmp_path) as site:
        found = await document(site)
    schemas = found["components"]["schemas"]
    names = {"Event" + "".join(map(str.capitalize, name.split("_"))) for name in EVENTS}
    assert names == {name for name in schemas if name.startswith("Event")}
    for event, name in (
        (Froze("periodic_000", 1.5, None, 3, None), "EventFroze"),
        (Reading(5, ((1, 0.5, None), (None, None, 2))), "EventReading"),
    ):
        body = {key: value for key, value in event_to_json(event).items() if key != "type"}
        assert mistakes(body, schemas[name], found) == []
        assert mistakes({**body, "more": 1}, schemas[name], found) != []
