# SPDX-License-Identifier: GPL-2.0-only
"""Who gets in: tokens, cookies, foreign pages, and what a client from elsewhere may name."""

from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from pydantic import BaseModel
from tests.unit.daemon.served import SMALL, TOKEN, Served, served

from ktstr.daemon.auth import COOKIE, cookie_value
from ktstr.daemon.host_paths import BUILT_IN, FILE_KEYS
from ktstr.daemon.listen import tcp_listener
from ktstr.model.definition import Scenario
from ktstr.model.fields import HostFile
from ktstr.model.scheduler_def import BUILT_IN_BPF
from ktstr.model.workspec import WorkSpec

pytestmark = pytest.mark.anyio

BEARER = {"Authorization": f"Bearer {TOKEN}"}


def remote(folder: Path, **given: Any) -> Any:
    return served(folder, tcp_listener("127.0.0.1:0"), token=TOKEN, **given)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong-token-of-length"},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": f"Bearer {TOKEN[:-1]}"},
        {"Authorization": "Bearer "},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": TOKEN},
        {"Authorization": "Bearer \xff\xfe"},
        {"Cookie": f"{COOKIE}={TOKEN}"},
        {"Cookie": f"{COOKIE}={cookie_value('another-token-of-length')}"},
        {"Cookie": "=;;="},
        {"X-Forwarded-For": "127.0.0.1"},
    ],
)
@pytest.mark.parametrize("path", ["/v1/runs", "/metrics", "/openapi.json", "/", "/nothing"])
async def test_nothing_is_told_without_the_token(
    tmp_path: Path, headers: dict[str, str], path: str
) -> None:
    async with remote(tmp_path) as site:
        reply = await site.ask("GET", path, headers=headers)
        assert reply.status == 401
        assert reply.headers["www-authenticate"] == "Bearer"
        assert "--token-file" in reply.json["hint"]
        assert TOKEN not in reply.body.decode()


async def test_the_token_opens(tmp_path: Path) -> None:
    async with remote(tmp_path) as site:
        assert (await site.ask("GET", "/v1/runs", headers=BEARER)).status == 200
        assert (await site.ask("POST", "/v1/runs", SMALL, BEARER)).status == 201


async def test_a_browser_gives_the_token_once(tmp_path: Path) -> None:
    async with remote(tmp_path) as site:
        assert (await site.ask("GET", "/login")).status == 200
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        wrong = await site.ask("POST", "/login", b"token=wrong", form)
        assert wrong.status == 401
        assert "set-cookie" not in wrong.headers
        given = await site.ask("POST", "/login", f"token={TOKEN}".encode(), form)
        assert (given.status, given.headers["location"]) == (303, "/")
        cookie, *attributes = given.headers["set-cookie"].split("; ")
        assert {"HttpOnly", "SameSite=strict"} <= set(attributes)
        assert TOKEN not in cookie
        assert (await site.ask("GET", "/v1/runs", headers={"Cookie": cookie})).status == 200
        host, port = site.target
        own = {"Cookie": cookie, "Host": f"{host}:{port}", "Origin": f"http://{host}:{port}"}
        assert (await site.ask("POST", "/v1/runs", SMALL, own)).status == 201
        foreign = {**own, "Origin": "http://elsewhere.example"}
        assert (await site.ask("POST", "/v1/runs", SMALL, foreign)).status == 403


async def test_a_browser_without_the_token_comes_to_the_form(tmp_path: Path) -> None:
    html = {"Accept": "text/html,*/*"}
    async with remote(tmp_path) as site:
        page = await site.ask("GET", "/", headers=html)
        assert (page.status, page.headers["location"]) == (303, "/login")
        assert (await site.ask("GET", "/v1/runs", headers=html)).status == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "localhost:8642"}, 201),
        ({"Host": "localhost:8642", "Origin": "http://localhost:8642"}, 201),
        ({"Host": "localhost:8642", "Origin": "http://elsewhere.example"}, 403),
        ({"Host": "localhost:8642", "Origin": "null"}, 403),
        ({"Host": "localhost:8642", "Origin": "http://[::1"}, 403),
        ({"Host": "elsewhere.example"}, 421),
        ({"Host": "[::1"}, 421),
    ],
)
async def test_a_foreign_page_cannot_use_a_forwarded_socket(
    tmp_path: Path, headers: dict[str, str], status: int
) -> None:
    async with served(tmp_path) as site:
        assert (await site.ask("POST", "/v1/runs", SMALL, headers)).status == status


async def refused_key(site: Served, body: object) -> str:
    reply = await site.ask("POST", "/v1/runs", body, BEARER)
    assert reply.status == 403, reply.body
    key: str = reply.json["key"]
    return key


def text(toml: str, **options: str) -> dict[str, Any]:
    return {"scenario": {"toml": toml, "name": "a"}, "options": options}


@pytest.mark.parametrize(
    ("body", "key"),
    [
        ({"scenario": {"path": "/etc/passwd"}}, "scenario.path"),
        ({**SMALL, "cwd": "/"}, "cwd"),
        (text("", out_dir="/tmp"), "options.out_dir"),
        (text("", kernel="path:/boot/vmlinuz"), "options.kernel"),
        (text("", kernel="/boot/vmlinuz"), "options.kernel"),
        (text("", kernel="vmlinuz"), "options.kernel"),
        (text("", kernel="git:https://elsewhere.example/linux#x"), "options.kernel"),
        (text("", kernel="tar:https://elsewhere.example/x#sha256=0"), "options.kernel"),
        (text("", scheduler="/bin/sh"), "options.scheduler"),
        (text("", scheduler="kernel:../../bin/sh"), "options.scheduler"),
        (text('kernel = "path:/x"'), "scenario.toml: kernel"),
        (text('[scheduler]\nbpf = "/x.o"'), "scenario.toml: scheduler.bpf"),
        (text('[scheduler]\nbinary = "x"'), "scenario.toml: scheduler.binary"),
        (text('[scheduler]\nbpf = "scx_ktstr"\nconfig_file = "/etc/shadow"'), "scheduler.config"),
        (
            text('[[steps]]\nops = [{ op = "RunPayload", name = "a", command = "/bin/sh" }]'),
            "scenario.toml: steps[0].ops[0].command",
        ),
        (
            text('[[steps]]\nops = [{ op = "RunPayload", files = ["/etc/shadow"] }]'),
            "scenario.toml: steps[0].ops[0].files",
        ),
        (
            text('[[backdrop.cgroups]]\nworks = [{ python = "/a.py:f" }]'),
            "scenario.toml: backdrop.cgroups[0].works[0].python",
        ),
    ],
)
async def test_a_client_from_elsewhere_names_nothing_of_the_host(
    tmp_path: Path, body: dict[str, Any], key: str
) -> None:
    async with remote(tmp_path) as site:
        assert key in await refused_key(site, body)
        assert site.supervisor.runs == {}
    (tmp_path / "b").mkdir()
    async with remote(tmp_path / "b", allow_paths=True) as site:
        assert (await site.ask("POST", "/v1/runs", body, BEARER)).status == 201


async def test_a_scenario_too_deep_to_be_looked_through_is_refused(tmp_path: Path) -> None:
    async with remote(tmp_path) as site:
        # Reading it would take an hour.
        reply = await site.ask("POST", "/v1/runs", text(".".join(["a"] * 250_000) + " = 1"), BEARER)
        assert reply.status == 400
        assert "too deep" in reply.json["detail"]
        assert site.supervisor.runs == {}


@pytest.mark.parametrize(
    "body",
    [
        text('kernel = "debian:7"\n[scheduler]\nbpf = "scx_ktstr"'),
        text('kernel = "debian-source:6.12"\n[scheduler]\nbinary = "kernel:scx_simple"'),
        text('kernel = "stock-6.12"\n[scheduler]\nkernel_default = true', kernel="host"),
        text("", scheduler="none"),
        text("", scheduler="scx_ktstr"),
        text("this is no TOML"),
        {"scenario": {"catalogue": "two_cgroups"}},
    ],
)
async def test_what_needs_nothing_of_the_host_is_taken(
    tmp_path: Path, body: dict[str, Any]
) -> None:
    async with remote(tmp_path) as site:
        assert (await site.ask("POST", "/v1/runs", body, BEARER)).status == 201


def test_every_key_that_takes_a_file_is_known() -> None:
    found: set[str] = set()
    seen: set[type] = set()

    def look(hint: Any, name: str) -> None:
        if hint == HostFile:
            found.add(name)
        elif isinstance(hint, type) and issubclass(hint, BaseModel):
            if hint not in seen:
                seen.add(hint)
                for key, each in get_type_hints(hint, include_extras=True).items():
                    look(each, key)
        else:
            for each in get_args(hint):
                look(each, name)

    look(Scenario, "")
    assert "python" in WorkSpec.model_fields
    assert {*found, "python"} == FILE_KEYS
    assert BUILT_IN == BUILT_IN_BPF
