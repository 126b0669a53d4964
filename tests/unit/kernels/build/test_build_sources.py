# SPDX-License-Identifier: GPL-2.0-only
"""Source trees from every kind of specification, kept once, and every way they can fail."""

import hashlib
import io
import shutil
import tarfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ktstr.errors import HostUnfit, KernelUnfit
from ktstr.kernels import Kernel, KernelCache, resolve_kernel
from ktstr.kernels.apt import AptState
from ktstr.kernels.build.origins import NoSuchSource
from ktstr.kernels.build.source import (
    ensure_source,
    find_origin,
    is_source_spec,
    locked,
    open_source,
    realize,
    remove_unused,
    source_of,
    version_of,
)


async def test_git_branch_tag_and_commit(
    cache: KernelCache, repository: SimpleNamespace, told: Any
) -> None:
    repository.git("tag", "-a", "v1", "-m", "one")
    commit = repository.git("rev-parse", "HEAD")
    url = f"git:{repository.path}"
    trees = [
        await ensure_source(f"{url}#{ref}", cache=cache, progress=told)
        for ref in ("main", "v1", commit, "HEAD")
    ]
    first = trees[0]
    assert [tree.path for tree in trees] == [first.path] * 4
    assert first.path.is_relative_to(cache.root) and first.version == "7.9.1"
    assert first.facts == {"source": f"{url}#{commit}", "commit": commit}
    assert (first.path / "code/one.c").read_text() == "int one;\n"
    assert not (first.path / ".git").exists()
    assert [text for text in told.texts if text.startswith("fetching")], "fetching is told"

    (repository.path / "code/one.c").write_text("int another;\n")
    repository.git("commit", "-qam", "two")
    moved = await ensure_source(f"{url}#main", cache=cache, progress=told)
    assert moved.digest != first.digest
    assert (moved.path / "code/one.c").read_text() == "int another;\n"
    still = await ensure_source(f"{url}#v1", cache=cache, progress=told)
    assert still.path == first.path and (still.path / "code/one.c").read_text() == "int one;\n"


async def test_a_branch_that_moves_meanwhile(
    cache: KernelCache, repository: SimpleNamespace, told: Any
) -> None:
    origin = await find_origin(f"git:{repository.path}#main", cache=cache, progress=told)
    (repository.path / "code/one.c").write_text("int another;\n")
    repository.git("commit", "-qam", "two")
    tree = await realize(origin, cache=cache, progress=told)
    assert (tree.path / "code/one.c").read_text() == "int one;\n"


async def test_git_mistakes(cache: KernelCache, repository: SimpleNamespace, told: Any) -> None:
    async def ask(spec: str) -> Any:
        return await ensure_source(spec, cache=cache, progress=told)

    with pytest.raises(NoSuchSource, match="no branch or tag 'v9'"):
        await ask(f"git:{repository.path}#v9")
    with pytest.raises(KernelUnfit, match="names no repository and reference"):
        await ask(f"git:{repository.path}")
    with pytest.raises(KernelUnfit, match="names no repository and reference"):
        await ask("git:--upload-pack=touch#main")
    with pytest.raises(HostUnfit, match="nowhere") as caught:
        await ask(f"git:{repository.path}/nowhere#main")
    assert caught.value.hint == "check the address and the network"
    with pytest.raises(HostUnfit, match="could not be fetched"):
        await ask(f"git:{repository.path}#{'0' * 40}")
    assert not list((cache.root / "sources").glob("*")), "nothing half is kept"


async def test_git_work_of_another_repository_around_it(
    cache: KernelCache,
    repository: SimpleNamespace,
    make_tree: Callable[..., Path],
    told: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """GIT_DIR of a hook that ktstr runs in must not lead git astray."""
    other = make_tree("other")
    repository.git("init", "-q", str(other))
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    tree = await ensure_source(f"git:{repository.path}#main", cache=cache, progress=told)
    assert (tree.path / "code/one.c").exists()


async def test_a_folder_of_git(cache: KernelCache, repository: SimpleNamespace, told: Any) -> None:
    async def digest() -> str:
        tree = await ensure_source(f"path:{repository.path}", cache=cache, progress=told)
        assert tree.path == repository.path and not tree.kept
        assert tree.facts["commit"] == repository.git("rev-parse", "HEAD")
        return tree.digest

    clean = await digest()
    file = repository.path / "code/one.c"
    file.touch()
    assert await digest() == clean, "the content counts, not the time"
    file.write_text("int " + "o" * 5000 + "ne;\n")
    changed = await digest()
    file.write_text("int " + "o" * 5000 + "nf;\n")
    assert len({clean, changed, await digest()}) == 3, "differences in long lines count"
    file.write_text("int one;\n")
    assert await digest() == clean
    (repository.path / "code/four.c").write_text("int four;\n")
    new = await digest()
    assert new != clean, "a new file is part of the tree"
    repository.git("add", "-A")
    assert await digest() != clean
    (repository.path / ".gitignore").write_text("*.o\n")
    repository.git("add", "-A")
    repository.git("commit", "-qm", "two")
    ignoring = await digest()
    (repository.path / "code/four.o").write_text("object")
    assert await digest() == ignoring, "what git leaves out does not count"


async def test_a_folder_without_git(
    cache: KernelCache, make_tree: Callable[..., Path], told: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = make_tree()

    async def digest() -> str:
        return (await ensure_source(f"path:{tree}", cache=cache, progress=told)).digest

    first = await digest()
    assert await digest() == first
    (tree / "code/one.o").write_text("object")
    assert await digest() == first
    (tree / "code/one.c").write_text("int o;\n")
    second = await digest()
    assert second != first
    monkeypatch.setenv("PATH", "/nonexistent")
    assert await digest() == second, "a machine without git will do"
    other = make_tree("other")
    assert (await ensure_source(f"path:{other}", cache=cache, progress=told)).digest != first


async def test_not_a_tree(cache: KernelCache, tmp_path: Path, told: Any) -> None:
    assert not is_source_spec(f"path:{tmp_path}") and not is_source_spec("debian:7")
    with pytest.raises(KernelUnfit, match="not the top folder of a kernel source tree"):
        await ensure_source(f"path:{tmp_path}", cache=cache, progress=told)
    with pytest.raises(KernelUnfit, match="unknown kernel source 'debian:7'"):
        await ensure_source("debian:7", cache=cache, progress=told)
    (tmp_path / "Makefile").write_text("all:\n")
    with pytest.raises(KernelUnfit, match="states no VERSION"):
        version_of(tmp_path)
    (tmp_path / "Makefile").write_text(
        "VERSION = 7\nPATCHLEVEL = 4\nSUBLEVEL = 0\nEXTRAVERSION = -rc2\n"
    )
    assert version_of(tmp_path) == "7.4.0-rc2"


def tarball(tree: Path, mode: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:
        tar.add(tree, "linux-7.9.1")
    return out.getvalue()


@pytest.fixture
def server() -> Iterator[SimpleNamespace]:
    """Serves the bytes in ``files`` on the loopback; ``short`` sends less than it announces."""
    files: dict[str, bytes] = {}
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            data = files.get(self.path)
            if data is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2] if "short" in self.path else data)

        def log_message(self, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        url = f"http://127.0.0.1:{http.server_port}"
        yield SimpleNamespace(url=url, files=files, asked=asked)
        http.shutdown()
        thread.join()


@pytest.mark.parametrize("mode", ["w:xz", "w:gz", "w:bz2", "w"])
async def test_tarball(
    cache: KernelCache,
    server: SimpleNamespace,
    make_tree: Callable[..., Path],
    told: Any,
    mode: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    data = tarball(make_tree(), mode)
    server.files["/linux.tar"] = data
    spec = f"tar:{server.url}/linux.tar#sha256={hashlib.sha256(data).hexdigest()}"
    tree = await ensure_source(spec, cache=cache, progress=told)
    assert tree.version == "7.9.1" and (tree.path / "code/two.c").read_text() == "int two;\n"
    assert tree.facts == {"source": spec}
    again = await ensure_source(spec, cache=cache, progress=told)
    assert again.path == tree.path and server.asked == ["/linux.tar"], "it is fetched once"
    assert ("unpacking linux.tar", 1.0) in told.calls or any(
        text == "unpacking linux.tar" for text in told.texts
    )


async def test_tarball_mistakes(
    cache: KernelCache,
    server: SimpleNamespace,
    make_tree: Callable[..., Path],
    told: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    async def ask(name: str, data: bytes, checksum: str | None = None) -> Any:
        server.files[f"/{name}"] = data
        checksum = checksum or hashlib.sha256(data).hexdigest()
        spec = f"tar:{server.url}/{name}#sha256={checksum}"
        return await ensure_source(spec, cache=cache, progress=told)

    good = tarball(make_tree(), "w:gz")
    other = hashlib.sha256(b"another").hexdigest()
    with pytest.raises(KernelUnfit, match=f"checksum {hashlib.sha256(good).hexdigest()}"):
        await ask("changed", good, other)
    with pytest.raises(HostUnfit, match="ended after"):
        await ask("short", good)
    with pytest.raises(KernelUnfit, match="cannot be unpacked"):
        await ask("torn", good[: len(good) // 2])
    empty = io.BytesIO()
    with tarfile.open(fileobj=empty, mode="w:gz") as tar:
        tar.addfile(tarfile.TarInfo("top/README"), io.BytesIO(b""))
    with pytest.raises(KernelUnfit, match="no kernel source"):
        await ask("empty", empty.getvalue())
    with pytest.raises(HostUnfit, match="404"):
        await ensure_source(f"tar:{server.url}/absent#sha256={other}", cache=cache, progress=told)
    for spec in (f"tar:{server.url}/x", f"tar:{server.url}/x#sha256=12", f"tar:x#sha256={other}"):
        with pytest.raises(KernelUnfit, match="names no tarball with its checksum"):
            await ensure_source(spec, cache=cache, progress=told)
    assert not list((cache.root / "sources").glob("*")), "nothing half is kept"


async def test_debian_source(
    cache: KernelCache, archive: Any, make_tree: Callable[..., Path], told: Any
) -> None:
    data = tarball(make_tree(), "w:xz")
    for suite, series, version in (
        ("sid", "7.9", "7.9.1-1"),
        ("trixie-backports", "7.10", "7.10.2-1~bpo13+1"),
        ("bookworm-backports", "6.12", "6.12.95-1~bpo12+1"),
    ):
        file = f"usr/src/linux-source-{series}.tar.xz"
        archive.add(suite, f"linux-source-{series}", version, {file: data})
    archive.publish()
    apt = AptState(cache.apt_root, etc_apt=archive.etc_apt)

    async def ask(wanted: str) -> Any:
        return await ensure_source(f"debian-source:{wanted}", cache=cache, progress=told, apt=apt)

    assert (await ask("7")).facts["source_version"] == "7.10.2-1~bpo13+1", "the newest of them"
    assert (await ask("6.12.95")).facts["source_package"] == "linux-source-6.12"
    tree = await ask("7.9")
    assert tree.facts["source"] == "debian-source:7.9.1" and (tree.path / "code/one.c").exists()
    assert {home.name for home in (tree.path.parents[1]).iterdir() if home != tree.path.parent}
    with pytest.raises(NoSuchSource, match="no source package of that version") as caught:
        await ask("7.1")
    assert caught.value.hint == "there are: 7.10.2, 7.9.1, 6.12.95"
    with pytest.raises(KernelUnfit, match="names no version"):
        await ask("sid")


async def test_source_of_a_prebuilt_kernel(
    cache: KernelCache,
    archive: Any,
    build: SimpleNamespace,
    make_tree: Callable[..., Path],
    told: Any,
) -> None:
    release = "7.9.1+deb14-cloud-amd64"
    image = build.bzimage(build.compress("gzip", build.elf(release=release)), release=release)
    archive.add_kernel("sid", release, image)
    old = "7.8.3+deb13-cloud-amd64"
    image = build.bzimage(build.compress("gzip", build.elf(release=old)), release=old)
    archive.add_kernel("trixie-backports", old, image)
    data = tarball(make_tree(), "w:xz")
    archive.add("sid", "linux-source-7.9", "1.0-2", {"usr/src/linux-source-7.9.tar.xz": data})
    archive.publish()
    apt = AptState(cache.apt_root, etc_apt=archive.etc_apt)
    kernel = await resolve_kernel("debian:7.9", cache=cache, apt=apt)
    tree = await source_of(kernel, cache=cache, progress=told, apt=apt)
    assert tree is not None, "a rebuilt package has the same upstream version"
    assert tree.facts["source_version"] == "1.0-2"
    (cache.root / "entries" / kernel.digest / "entry.json").unlink()
    assert await source_of(kernel, cache=cache, progress=told, apt=apt) is None


async def test_source_of_a_vmlinux(
    cache: KernelCache, make_tree: Callable[..., Path], tmp_path: Path, told: Any
) -> None:
    tree = make_tree()

    async def ask(vmlinux: Path) -> Any:
        shutil.copyfile(tree / "elf", vmlinux)
        kernel: Kernel = await resolve_kernel(f"path:{vmlinux}", cache=cache)
        return await source_of(kernel, cache=cache, progress=told)

    assert (await ask(tree / "vmlinux")).path == tree
    out = tmp_path / "out"
    out.mkdir()
    assert await ask(out / "vmlinux") is None
    (out / "source").symlink_to(tree)
    assert (await ask(out / "vmlinux")).path == tree


async def test_a_tree_in_use_stays(
    cache: KernelCache, repository: SimpleNamespace, told: Any
) -> None:
    spec = f"git:{repository.path}#main"
    async with open_source(spec, cache=cache, progress=told) as tree:
        assert remove_unused(cache) == [] and tree.path.is_dir()
    assert remove_unused(cache) == [tree.path.parent] and not tree.path.exists()
    with pytest.raises(KernelUnfit, match="removed from the cache meanwhile"), locked(tree, cache):
        pass
    again = await ensure_source(spec, cache=cache, progress=told)
    assert again.path.is_dir()
    (again.path / "Kconfig").unlink()
    await ensure_source(spec, cache=cache, progress=told)
    assert (again.path / "Kconfig").is_file(), "a damaged tree is made again"


async def test_a_tree_that_somebody_ran_make_in(
    cache: KernelCache, repository: SimpleNamespace, told: Any
) -> None:
    spec = f"git:{repository.path}#main"
    tree = await ensure_source(spec, cache=cache, progress=told)
    (tree.path / "include/config").mkdir(parents=True)
    with locked(tree, cache), pytest.raises(HostUnfit, match="include/config is there"):
        await ensure_source(spec, cache=cache, progress=told)
    again = await ensure_source(spec, cache=cache, progress=told)
    assert again.path == tree.path and not (tree.path / "include/config").exists()
