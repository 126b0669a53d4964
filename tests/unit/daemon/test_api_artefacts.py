# SPDX-License-Identifier: GPL-2.0-only
"""What a run left, over HTTP: whole, typed, and never anything that lies elsewhere."""

import io
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest
from tests.unit.daemon.served import SMALL, Served, served

from ktstr.daemon.api import artefacts
from ktstr.daemon.submission import RunState

pytestmark = pytest.mark.anyio


async def finished(site: Served, **fields: Any) -> str:
    """A run that is over; ``fields`` are of its row, paths relative to its folder."""
    run_id: str = (await site.ask("POST", "/v1/runs", SMALL)).json["id"]
    folder = site.supervisor.runs[run_id].folder
    assert folder is not None
    paths = {name: folder / value for name, value in fields.items()}
    site.supervisor.change(run_id, state=RunState.FINISHED, **paths)
    return run_id


async def test_files_come_whole(tmp_path: Path) -> None:
    async with served(tmp_path) as site:
        run_id = await finished(site, sidecar="a.ktstr.json", checkpoint="a.ktckpt")
        content = os.urandom((1 << 20) + 17)
        (tmp_path / run_id / "a.ktstr.json").write_bytes(b'{"schema": 1}')
        (tmp_path / run_id / "a.ktckpt").write_bytes(content)
        record = await site.ask("GET", f"/v1/runs/{run_id}/sidecar")
        assert record.json == {"schema": 1}
        kept = await site.ask("GET", f"/v1/runs/{run_id}/checkpoint")
        assert kept.body == content
        assert kept.headers["content-length"] == str(len(content))
        assert f'filename="{run_id}.ktckpt"' in kept.headers["content-disposition"]


async def test_evidence_is_a_tar_without_links_and_devices(tmp_path: Path) -> None:
    async with served(tmp_path) as site:
        run_id = await finished(site, evidence="a.evidence")
        folder = tmp_path / run_id / "a.evidence"
        (folder / "sub").mkdir(parents=True)
        large = os.urandom(600_000)
        (folder / "console.log").write_bytes(large)
        (folder / "sub" / ("long-name-" * 15)).write_text("x")
        (folder / "empty").touch()
        (folder / "link").symlink_to("/etc/passwd")
        (folder / "outside").symlink_to("/etc")
        os.mkfifo(folder / "pipe")
        reply = await site.ask("GET", f"/v1/runs/{run_id}/evidence")
        assert reply.status == 200
        with tarfile.open(fileobj=io.BytesIO(reply.body)) as tar:
            found = {member.name: member for member in tar.getmembers()}
            assert sorted(found) == [
                "a.evidence/console.log",
                "a.evidence/empty",
                "a.evidence/sub/" + "long-name-" * 15,
            ]
            assert all(member.isreg() for member in found.values())
            taken = tar.extractfile("a.evidence/console.log")
            assert taken is not None
            assert taken.read() == large


@pytest.mark.parametrize("what", ["sidecar", "evidence", "checkpoint", "page", "data"])
async def test_what_is_not_there_is_not_found(tmp_path: Path, what: str) -> None:
    async with served(tmp_path) as site:
        run_id: str = (await site.ask("POST", "/v1/runs", SMALL)).json["id"]
        early = await site.ask("GET", f"/v1/runs/{run_id}/{what}")
        assert (early.status, "queued" in early.json["detail"]) == (404, True)
        field = "sidecar" if what in ("page", "data") else what
        site.supervisor.change(run_id, state=RunState.FINISHED, **{field: tmp_path / run_id / "x"})
        gone = await site.ask("GET", f"/v1/runs/{run_id}/{what}")
        assert (gone.status, "cannot be read" in gone.json["detail"]) == (404, True)


@pytest.mark.parametrize("what", ["sidecar", "evidence", "checkpoint", "page", "data"])
@pytest.mark.parametrize("how", ["absolute", "dots", "link", "folder itself"])
async def test_what_lies_elsewhere_is_not_told(tmp_path: Path, what: str, how: str) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "file").write_text("do not tell")
    async with served(tmp_path) as site:
        run_id: str = (await site.ask("POST", "/v1/runs", SMALL)).json["id"]
        folder = tmp_path / run_id
        (folder / "link").symlink_to(secret)
        target = {
            "absolute": secret,
            "dots": folder / ".." / "secret",
            "link": folder / "link",
            "folder itself": folder / ".",
        }[how]
        if what != "evidence":
            target = target / "file"
        field = "sidecar" if what in ("page", "data") else what
        site.supervisor.change(run_id, state=RunState.FINISHED, **{field: target})
        reply = await site.ask("GET", f"/v1/runs/{run_id}/{what}")
        assert reply.status == 404
        assert b"do not tell" not in reply.body


async def test_files_of_the_runs_own_folder_are_told_wherever_that_is(tmp_path: Path) -> None:
    out = tmp_path / "elsewhere"
    out.mkdir()
    (out / "a.ktstr.json").write_text('{"schema": 2}')
    async with served(tmp_path) as site:
        body = {**SMALL, "options": {"out_dir": str(out)}}
        run_id: str = (await site.ask("POST", "/v1/runs", body)).json["id"]
        site.supervisor.change(run_id, state=RunState.FINISHED, sidecar=out / "a.ktstr.json")
        assert (await site.ask("GET", f"/v1/runs/{run_id}/sidecar")).json == {"schema": 2}


async def test_a_page_that_cannot_be_made_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(tmp_path) as site:
        run_id = await finished(site, sidecar="a.ktstr.json")
        (tmp_path / run_id / "a.ktstr.json").write_text("{}")
        reply = await site.ask("GET", f"/v1/runs/{run_id}/page")
        assert (reply.status, "ktstr show" in reply.json["hint"]) == (500, True)
        monkeypatch.setattr(artefacts, "RENDER_TIMEOUT_S", 0.01)
        reply = await site.ask("GET", f"/v1/runs/{run_id}/data")
        assert (reply.status, "took longer" in reply.json["detail"]) == (500, True)
