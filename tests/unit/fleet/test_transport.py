# SPDX-License-Identifier: GPL-2.0-only
"""Files on their way to a worker and back: whole and right, or refused."""

import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path

import pytest

from ktstr.errors import CannotRun, ExitCode, HostUnfit
from ktstr.fleet import delivery
from ktstr.fleet import worker as service
from ktstr.fleet.arrival import arrived
from ktstr.fleet.delivery import Made
from ktstr.fleet.store import Store
from ktstr.gauntlet.cells import CellResult
from ktstr.telemetry.decode import RecordError

CONTENT = b"one content\n" * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def test_a_file_in_parts_is_there_only_when_it_is_whole(tmp_path: Path) -> None:
    store = Store(tmp_path)
    half = len(CONTENT) // 2
    store.take(DIGEST, "me", 0, CONTENT[:half], len(CONTENT))
    assert store.lacking([DIGEST]) == [DIGEST]
    # Somebody else sends the same at the same time.
    store.take(DIGEST, "you", 0, CONTENT[:5], len(CONTENT))
    store.take(DIGEST, "me", half, CONTENT[half:], len(CONTENT))
    assert store.lacking([DIGEST]) == []
    assert (tmp_path / "blobs" / DIGEST).read_bytes() == CONTENT


def test_a_file_that_changed_on_its_way_is_not_kept(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(CannotRun, match="changed while it was sent"):
        store.take(DIGEST, "me", 0, CONTENT[:-1] + b"x", len(CONTENT))
    assert store.lacking([DIGEST]) == [DIGEST]
    assert list((tmp_path / "staging").iterdir()) == []


def test_two_workers_of_a_host_take_the_same_file_from_one_sender(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    half, whole = len(CONTENT) // 2, len(CONTENT)
    service.be(service.Host("one", tmp_path, 1, None))
    try:
        for offset, part in ((0, CONTENT[:half]), (half, CONTENT[half:])):
            for pid in (1, 2):
                monkeypatch.setattr(service.os, "getpid", lambda pid=pid: pid)
                service.take(DIGEST, "the same gauntlet", offset, part, whole)
    finally:
        service._HOSTS.clear()
    assert (tmp_path / "blobs" / DIGEST).read_bytes() == CONTENT
    assert list((tmp_path / "staging").iterdir()) == []


def test_an_empty_file_travels_too(tmp_path: Path) -> None:
    digest = hashlib.sha256(b"").hexdigest()
    store = Store(tmp_path)
    store.take(digest, "me", 0, b"", 0)
    assert store.lacking([digest]) == []


@pytest.mark.parametrize("digest", ["../../etc/x", "", "0" * 63, "G" * 64])
def test_no_digest_names_another_file(tmp_path: Path, digest: str) -> None:
    with pytest.raises(CannotRun, match="no digest"):
        Store(tmp_path).take(digest, "me", 0, b"", 0)
    with pytest.raises(CannotRun, match="no digest"):
        Store(tmp_path).lacking([digest])


def test_what_nobody_used_for_long_is_removed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.take(DIGEST, "me", 0, CONTENT, len(CONTENT))
    store.prune(3600)
    assert store.lacking([DIGEST]) == []
    os.utime(tmp_path / "blobs" / DIGEST, (0, 0))
    store.prune(3600)
    assert store.lacking([DIGEST]) == [DIGEST]


def left(folder: Path) -> list[Made]:
    (folder / "run.evidence").mkdir(parents=True)
    (folder / "run.ktstr.json").write_text(json.dumps({"evidence": str(folder / "run.evidence")}))
    (folder / "run.evidence/log").write_bytes(CONTENT)
    return delivery.made_in(folder)


@pytest.mark.parametrize("url", ["memory://fleet-{}", "file://{}/shared"])
def test_what_was_pushed_is_complete_and_can_be_fetched(tmp_path: Path, url: str) -> None:
    url = url.format(tmp_path) if url.startswith("file") else url.format(tmp_path.name)
    assert delivery.complete(url) is None
    files = left(tmp_path / "out")
    delivery.push(url, tmp_path / "out", files)
    assert delivery.complete(url) == files
    assert delivery.fetch(url, Made("run.evidence/log", len(CONTENT), DIGEST)) == CONTENT


def test_what_cannot_all_be_pushed_is_not_complete(tmp_path: Path) -> None:
    files = left(tmp_path / "out")
    (tmp_path / "out/run.evidence/log").unlink()
    url = f"file://{tmp_path}/shared"
    with pytest.raises(HostUnfit, match="cannot be written to"):
        delivery.push(url, tmp_path / "out", files)
    assert delivery.complete(url) is None


def test_a_file_that_was_damaged_is_refused(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/shared"
    files = left(tmp_path / "out")
    delivery.push(url, tmp_path / "out", files)
    (tmp_path / "shared/run.evidence/log").write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(HostUnfit, match="came damaged"):
        delivery.fetch(url, next(made for made in files if made.digest == DIGEST))


def test_an_address_that_nothing_speaks_with_is_said_at_once() -> None:
    with pytest.raises(HostUnfit, match="--artifacts nonsense://x: "):
        delivery.storage("nonsense://x")


def value(out: Path, **instead: object) -> dict[str, object]:
    files = delivery.made_in(out)
    result = CellResult(
        "fail",
        ExitCode.FAIL,
        out / "run.ktstr.json",
        evidence=out / "run.evidence",
    )
    return {
        "result": result.to_json(),
        "out": str(out),
        "files": [asdict(made) for made in files],
        "contents": delivery.inline(out, files),
        **instead,
    }


def test_what_came_lies_as_a_run_of_this_machine_leaves_it(tmp_path: Path) -> None:
    left(tmp_path / "there")
    here = tmp_path / "here"
    result = arrived(value(tmp_path / "there"), here, "key", None)
    assert (result.sidecar, result.evidence) == (here / "run.ktstr.json", here / "run.evidence")
    assert json.loads((here / "run.ktstr.json").read_text())["evidence"] == str(result.evidence)
    assert (here / "run.evidence/log").read_bytes() == CONTENT


def test_two_runs_of_one_name_do_not_overwrite_each_other(tmp_path: Path) -> None:
    left(tmp_path / "there")
    first = arrived(value(tmp_path / "there"), tmp_path / "here", "k1", None)
    second = arrived(value(tmp_path / "there"), tmp_path / "here", "k2", None)
    assert first.sidecar == tmp_path / "here/run.ktstr.json"
    assert second.sidecar == tmp_path / "here/k2/run.ktstr.json"
    assert second.sidecar.exists()


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", ""])
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    left(tmp_path / "there")
    bad = value(
        tmp_path / "there",
        files=[{"name": name, "size": 1, "digest": "0" * 64}],
        contents={name: b"x"},
    )
    with pytest.raises(RecordError, match="'name' is"):
        arrived(bad, tmp_path / "here", "key", None)
    assert not (tmp_path / "here").exists() and not (tmp_path / "x").exists()


def test_a_content_that_is_another_is_not_written(tmp_path: Path) -> None:
    left(tmp_path / "there")
    bad = value(tmp_path / "there")
    contents = bad["contents"]
    assert isinstance(contents, dict)
    bad["contents"] = {**contents, "run.evidence/log": CONTENT[:-1] + b"x"}
    with pytest.raises(HostUnfit, match=r"run\.evidence/log came damaged"):
        arrived(bad, tmp_path / "here", "key", None)
    assert not (tmp_path / "here/run.evidence/log").exists()


def test_only_so_much_comes_back_inline_records_first(tmp_path: Path) -> None:
    files = left(tmp_path / "out")
    record = (tmp_path / "out/run.ktstr.json").stat().st_size
    assert set(delivery.inline(tmp_path / "out", files, record)) == {"run.ktstr.json"}
    assert len(delivery.inline(tmp_path / "out", files, record + len(CONTENT))) == 2
