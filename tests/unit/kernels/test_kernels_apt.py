# SPDX-License-Identifier: GPL-2.0-only
"""The private apt state, with the real apt-get on an archive made by hand: no network."""

import io
import os
import shutil
import tarfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest

from ktstr.errors import HostUnfit
from ktstr.kernels.apt import AptState, PackageVersion
from ktstr.kernels.deb import extract
from ktstr.kernels.process import Finished, run
from ktstr.kernels.sysroot import libbpf_sysroot

if TYPE_CHECKING:
    from conftest import Archive


@pytest.fixture
def apt(archive: "Archive", tmp_path: Path) -> AptState:
    archive.add("sid", "tool", "2.0-1", {"usr/share/tool/data": b"newer"})
    archive.add("sid", "tool-extra", "2.0-1", {"usr/share/x": b"x"})
    archive.add("bookworm-backports", "tool", "1.0-1~bpo", {"usr/share/tool/data": b"older"})
    archive.publish()
    return AptState(tmp_path / "apt", etc_apt=archive.etc_apt, suites=("sid", "bookworm-backports"))


async def test_refresh_find_fetch_extract(apt: AptState, tmp_path: Path) -> None:
    assert apt.age() is None
    assert await apt.refresh() == ()
    assert (apt.age() or 0.0) < 60
    found = await apt.find("tool")
    assert [(p.name, p.version, p.suite) for p in found] == [
        ("tool", "2.0-1", "sid"),
        ("tool", "1.0-1~bpo", "bookworm-backports"),
    ]
    stages: list[tuple[str, float | None]] = []
    deb = await apt.fetch("tool", tmp_path / "got", progress=lambda *a: stages.append(a))
    assert found[0].size == deb.stat().st_size
    assert stages[0][0].startswith("downloading tool (")
    older = await apt.fetch("tool", tmp_path / "got", suite="bookworm-backports")
    assert sorted(p.name for p in (tmp_path / "got").iterdir()) == sorted([deb.name, older.name])
    (file,) = extract(older, ["usr/share/tool/data"], tmp_path / "out")
    assert file == tmp_path / "out/usr/share/tool/data"
    assert file.read_bytes() == b"older"


async def test_second_use_starts_no_process(apt: AptState, monkeypatch: pytest.MonkeyPatch) -> None:
    await apt.refresh()
    first = await apt.find("tool.*")
    monkeypatch.setenv("PATH", "/nonexistent")
    assert await apt.refresh() == ()
    assert await AptState(apt.root).find("tool.*") == first
    assert [p.name for p in first] == ["tool", "tool-extra", "tool"]


async def test_the_system_is_not_touched(apt: AptState) -> None:
    def state() -> list[tuple[str, int]]:
        lists = Path("/var/lib/apt/lists")
        return sorted((p.name, p.stat().st_mtime_ns) for p in lists.iterdir())

    before = state()
    await apt.refresh()
    assert state() == before
    text = (apt.root / "apt.conf").read_text()
    assert "Post-Invoke" not in text
    assert (apt.root / "apt.conf").stat().st_mode & 0o077 == 0


async def test_old_index_serves_when_the_archive_is_gone(
    apt: AptState, archive: "Archive", tmp_path: Path
) -> None:
    await apt.refresh()
    shutil.rmtree(archive.root)
    days_ago = time.time() - 3 * 86400
    os.utime(apt.root / "refreshed", (days_ago, days_ago))
    (note,) = await apt.refresh()
    assert note.startswith("the package index is 3.0 days old and was not refreshed")
    (note,) = await apt.refresh()
    assert "the last attempt failed" in note
    assert len(await apt.find("tool")) == 2
    with pytest.raises(HostUnfit, match=r"tool=2\.0-1 could not be downloaded"):
        await apt.fetch("tool", tmp_path / "got")
    assert list((tmp_path / "got").iterdir()) == []


async def test_no_index_at_all(apt: AptState, archive: "Archive") -> None:
    with pytest.raises(HostUnfit, match="no package index"):
        await apt.find("tool")
    shutil.rmtree(archive.root)
    with pytest.raises(HostUnfit, match="could not be fetched") as caught:
        await apt.refresh()
    assert "path:FILE" in (caught.value.hint or "")


async def test_missing_suite_is_noted_and_the_rest_works(apt: AptState, archive: "Archive") -> None:
    shutil.rmtree(archive.root / "dists/bookworm-backports")
    (note,) = await apt.refresh()
    assert "part of the package index is missing" in note
    assert [p.suite for p in await apt.find("tool")] == ["sid"]


async def test_unknown_package_or_version(apt: AptState, tmp_path: Path) -> None:
    await apt.refresh()
    with pytest.raises(HostUnfit, match=r"no tool 9 in sid"):
        await apt.fetch("tool", tmp_path, suite="sid", version="9")
    with pytest.raises(HostUnfit, match="no absent"):
        await apt.fetch("absent", tmp_path)


async def test_refresh_sees_new_packages(apt: AptState, archive: "Archive") -> None:
    await apt.refresh()
    assert await apt.find("later") == []
    archive.add("sid", "later", "1", {})
    archive.publish()
    assert await apt.find("later") == []
    await apt.refresh(max_age=0.0)
    assert [p.name for p in await apt.find("later")] == ["later"]


async def test_damaged_answers_are_scanned_again(apt: AptState) -> None:
    await apt.refresh()
    first = await apt.find("tool")
    (apt.root / "answers.json").write_text('{"tool": [{"name": 1}]}')
    assert await apt.find("tool") == first


async def test_two_at_once(apt: AptState, tmp_path: Path) -> None:
    other = AptState(apt.root, etc_apt=apt._etc_apt, suites=apt.suites)
    await apt.refresh()
    got: list[Path] = []

    async def fetch(state: AptState, folder: str) -> None:
        got.append(await state.fetch("tool", tmp_path / folder))

    async with anyio.create_task_group() as group:
        group.start_soon(fetch, apt, "one")
        group.start_soon(fetch, other, "two")
    assert {p.parent.name for p in got} == {"one", "two"}


async def test_sysroot_comes_from_backports_once(archive: "Archive", tmp_path: Path) -> None:
    header = b"#define LIBBPF_MAJOR_VERSION 1\n#define LIBBPF_MINOR_VERSION 6\n"
    files = {
        "usr/include/bpf/libbpf_version.h": header,
        "usr/include/bpf/libbpf.h": b"",
        "usr/lib/x86_64-linux-gnu/libbpf.a": b"!<arch>\n",
        "usr/share/doc/libbpf-dev/copyright": b"",
    }
    archive.add("bookworm-backports", "libbpf-dev", "1.6-1", files)
    archive.publish()
    cache, empty = tmp_path / "cache", tmp_path / "empty"
    apt = AptState(tmp_path / "apt", etc_apt=archive.etc_apt, suites=("bookworm-backports",))
    root = await libbpf_sysroot(cache, apt=apt, system=empty)
    assert root == cache / "sysroot/libbpf-1.6"
    assert (root / "usr/lib/x86_64-linux-gnu/libbpf.a").read_bytes() == b"!<arch>\n"
    assert not (root / "usr/share").exists()
    shutil.rmtree(archive.root)
    assert await libbpf_sysroot(cache, system=empty) == root
    assert await libbpf_sysroot(tmp_path / "unused", system=root) == root
    assert not (tmp_path / "unused").exists()


async def test_sysroot_refuses_an_old_libbpf(archive: "Archive", tmp_path: Path) -> None:
    header = b"#define LIBBPF_MAJOR_VERSION 1\n#define LIBBPF_MINOR_VERSION 3\n"
    files = {
        "usr/include/bpf/libbpf_version.h": header,
        "usr/lib/x86_64-linux-gnu/libbpf.a": b"!<arch>\n",
    }
    archive.add("bookworm-backports", "libbpf-dev", "1.3-1", files)
    archive.publish()
    apt = AptState(tmp_path / "apt", etc_apt=archive.etc_apt, suites=("bookworm-backports",))
    with pytest.raises(HostUnfit, match=r"libbpf \(1, 3\)"):
        await libbpf_sysroot(tmp_path / "cache", apt=apt, system=tmp_path / "empty")
    assert [p.name for p in (tmp_path / "cache/sysroot").iterdir()] == [".lock"]


def test_damaged_package_is_a_sentence(archive: "Archive", tmp_path: Path) -> None:
    deb = archive.add("sid", "big", "1", {"usr/share/big": os.urandom(200_000)})
    deb.write_bytes(deb.read_bytes()[:100_000])
    with pytest.raises(HostUnfit, match=r"big_1_sid\.deb is damaged"):
        extract(deb, lambda name: True, tmp_path / "out")


def test_names_that_leave_the_folder_and_links_are_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name in ("./good", "../evil", "/abs", "./a/../../evil"):
            member = tarfile.TarInfo(name)
            member.size = 1
            tar.addfile(member, io.BytesIO(b"x"))
        link = tarfile.TarInfo("./link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    (tmp_path / "data.tar").write_bytes(stream.getvalue())
    fake = tmp_path / "bin" / "dpkg-deb"
    fake.parent.mkdir()
    fake.write_text('#!/bin/sh\nexec cat "$2"\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
    out = tmp_path / "deep" / "out"
    assert extract(tmp_path / "data.tar", lambda name: True, out) == [out / "good"]
    assert [p.name for p in (tmp_path / "deep").rglob("*")] == ["out", "good"]


async def test_run_times_out_and_leaves_no_process() -> None:
    with pytest.raises(HostUnfit, match=r"`sleep 987.5` did not end within 0 s"):
        await run(["sleep", "987.5"], 0.2)
    listed = await anyio.run_process(["ps", "-eo", "args"])
    assert b"sleep 987.5" not in listed.stdout.splitlines()


async def test_cancelled_run_takes_its_children_along() -> None:
    with anyio.move_on_after(0.5) as scope:
        await run(["sh", "-c", f"sleep 9{os.getpid()} & sleep 9{os.getpid()}"], 60)
    assert scope.cancelled_caught
    listed = await anyio.run_process(["ps", "-eo", "args"])
    assert f"sleep 9{os.getpid()}" not in listed.stdout.decode().splitlines()


async def test_run_names_a_missing_program() -> None:
    with pytest.raises(HostUnfit, match="`no-such-program` is not on this machine"):
        await run(["no-such-program"], 1.0)


def test_complaints_are_the_first_and_a_count() -> None:
    text = "noise\nW: one\nW: one\nE: two\nW: Some index files failed to download.\n"
    assert Finished(1, "", text).complaints == "one (and 1 more)"
    assert Finished(7, "", "noise").complaints == "status 7"


def test_package_versions_compare_by_value() -> None:
    assert PackageVersion("a", "1", "sid", 3) == PackageVersion("a", "1", "sid", 3)
