# SPDX-License-Identifier: GPL-2.0-only
"""Where kernel sources come from: Debian's packages, git, tarballs, folders.

An origin has its digest before anything large is fetched, so that a kernel that was built from it
is found without the tree. The digest names content: a package version of a signed archive, a
commit, a tarball's checksum; for a folder, its commit and what differs from it.
"""

import hashlib
import os
import re
import shutil
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio
from anyio import to_thread

from ktstr.errors import HostUnfit, KernelUnfit
from ktstr.kernels import debian
from ktstr.kernels.apt import AptState, PackageVersion, Progress, extract
from ktstr.kernels.build.command import stream
from ktstr.kernels.build.download import download

PACKAGES = r"linux-source-\d+\.\d+"
"""Names of Debian's packages with the patched tree as a tarball under ``usr/src``."""

_TARBALL = re.compile(r"usr/src/linux-source-[\d.]+\.tar\.(?:xz|gz|bz2|zst)")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_RECEIVED = re.compile(r"(Receiving objects|Resolving deltas|Updating files): +(\d+)%")
_QUICK_SECONDS = 120.0
_FETCH_SECONDS = 3600.0
_UNPACK_SECONDS = 1800.0
_BUILD_PRODUCTS = (".o", ".cmd", ".a", ".ko", ".mod", ".symvers", ".order")


class NoSuchSource(KernelUnfit):
    """What was asked for is not to be had anywhere."""


@dataclass(frozen=True, slots=True)
class Origin:
    """A source that is known and may be fetched.

    :param digest: identity of its content, hexadecimal.
    :param facts: for a kernel's ``origin``; ``source`` is the specification that means it.
    :param fill: puts the tree into an empty folder.
    :param path: the tree itself, when it stays where it is.
    """

    digest: str
    facts: Mapping[str, str]
    fill: Callable[[Path, Progress], Awaitable[None]]
    path: Path | None = None
    notes: tuple[str, ...] = ()


async def debian_origin(spec: str, wanted: str, apt: AptState, progress: Progress) -> Origin:
    """The newest ``linux-source`` package whose upstream version *wanted* means.

    :raise NoSuchSource: there is none.
    :raise HostUnfit: there is no package index and none can be fetched.
    """
    if not wanted or debian.numbers(wanted) == () or not debian.is_version(wanted):
        raise KernelUnfit(f"{spec!r} names no version", hint="debian-source:7, debian-source:6.12")
    notes = await apt.refresh(progress=progress)
    known = sorted(await apt.find(PACKAGES), key=lambda p: debian.numbers(p.version), reverse=True)
    package = next((p for p in known if debian.means(wanted, p.version)), None)
    if package is None:
        versions = dict.fromkeys(_upstream(p) for p in known)
        raise NoSuchSource(
            f"{spec}: Debian has no source package of that version",
            hint=f"there are: {', '.join(versions) or 'none at all'}",
        )
    facts = {
        "source": f"debian-source:{_upstream(package)}",
        "source_package": package.name,
        "source_version": package.version,
        "source_suite": package.suite,
    }
    fill = partial(_fill_from_package, apt, package)
    return Origin(_digest("debian", package.name, package.version), facts, fill, notes=notes)


async def git_origin(spec: str, value: str) -> Origin:
    """The commit that a branch, tag or commit name means in a repository.

    :raise NoSuchSource: the repository does not have it.
    """
    url, _, ref = value.rpartition("#")
    if not url or not ref or url.startswith("-") or ref.startswith("-"):
        raise KernelUnfit(f"{spec!r} names no repository and reference", hint="git:URL#REF")
    if _COMMIT.fullmatch(ref):
        commit = ref
    else:
        said: list[str] = []
        argv = ["git", "ls-remote", "--", url, ref, f"{ref}^{{}}"]
        status, tail = await stream(argv, seconds=_QUICK_SECONDS, env=_GIT, on_line=said.append)
        if status:
            raise HostUnfit(f"{spec}: {_last(tail)}", hint="check the address and the network")
        names = {name: commit for commit, _, name in (line.partition("\t") for line in said)}
        wanted = (f"{ref}^{{}}", f"refs/tags/{ref}^{{}}", ref, f"refs/tags/{ref}")
        found = [names[n] for n in (*wanted, f"refs/heads/{ref}") if n in names]
        if not found:
            raise NoSuchSource(f"{spec}: the repository has no branch or tag {ref!r}")
        commit = found[0]
    facts = {"source": f"git:{url}#{commit}", "commit": commit}
    return Origin(_digest("git", commit), facts, partial(_fill_from_git, url, ref, commit))


def tar_origin(spec: str, value: str) -> Origin:
    """A tarball, by its address and checksum.

    :raise KernelUnfit: the specification lacks one of them.
    """
    url, _, checksum = value.rpartition("#sha256=")
    if not re.match(r"(https?|file)://", url) or not re.fullmatch(r"[0-9a-f]{64}", checksum):
        raise KernelUnfit(
            f"{spec!r} names no tarball with its checksum", hint="tar:https://…#sha256=64 digits"
        )
    return Origin(
        _digest("tar", checksum), {"source": spec}, partial(_fill_from_tar, url, checksum)
    )


async def tree_origin(folder: Path) -> Origin:
    """A folder of the user's, as it is now.

    Of a git work tree the commit and the differences count, of any other names, sizes and times.
    """
    said: list[str] = []
    git = ["git", "-c", "core.fsmonitor=false", "-C", str(folder)]
    status = await _quiet([*git, "rev-parse", "--show-toplevel", "HEAD"], on_line=said.append)
    facts = {"source": f"path:{folder}"}
    if status == 0 and len(said) == 2 and _same(said[0], folder):
        facts["commit"] = said[1]
        changes = hashlib.sha256()
        await _quiet(
            [*git, "diff", "--no-ext-diff", "--no-textconv", "--binary", "HEAD"],
            sink=changes.update,
        )
        others: list[str] = []
        await _quiet([*git, "ls-files", "-o", "--exclude-standard"], on_line=others.append)
        for name in sorted(others):
            changes.update(_stat_line(folder, name))
        digest = _digest("tree", str(folder), said[1], changes.hexdigest())
    else:
        walked = await to_thread.run_sync(_walk_digest, folder)
        digest = _digest("tree", str(folder), walked)
    return Origin(digest, facts, _stays, path=folder)


async def unpack_tarball(file: Path, tree: Path, label: str, progress: Progress) -> None:
    """Unpack a tarball with one folder at its top, whose content goes into *tree*.

    :raise KernelUnfit: it is damaged, or not of a kind that ``tar`` unpacks here.
    """
    option = next((o for magic, o in _PACKERS if _begins(file, magic)), None)
    with file.open("rb") as archive:
        size = os.fstat(archive.fileno()).st_size or 1
        argv = ["tar", "-x", *([option] if option else []), "-f", "-", "-C", str(tree)]
        argv += ["--strip-components=1", "--no-same-owner", "--no-same-permissions"]

        async def watch() -> None:
            while True:  # the program reads from our descriptor, so our offset is its own
                done = os.lseek(archive.fileno(), 0, os.SEEK_CUR) / size
                progress(f"unpacking {label}", min(1.0, done))
                await anyio.sleep(0.2)

        async with anyio.create_task_group() as group:
            group.start_soon(watch)
            status, tail = await stream(argv, seconds=_UNPACK_SECONDS, stdin=archive.fileno())
            group.cancel_scope.cancel()
    if status:
        if any("No space left" in line for line in tail):
            raise HostUnfit(f"{label} cannot be unpacked: the disk is full", hint="free 2 GB")
        raise KernelUnfit(f"{label} cannot be unpacked: {_last(tail)}")


_PACKERS = (
    (b"\xfd7zXZ\x00", "--xz"),
    (b"\x1f\x8b", "--gzip"),
    (b"BZh", "--bzip2"),
    (b"\x28\xb5\x2f\xfd", "--zstd"),
)
_GIT = {"GIT_TERMINAL_PROMPT": "0"}


async def _fill_from_package(
    apt: AptState, package: PackageVersion, tree: Path, progress: Progress
) -> None:
    deb = await apt.fetch(
        package.name,
        tree.parent / "debs",
        suite=package.suite,
        version=package.version,
        progress=progress,
    )
    progress(f"taking the source out of {package.name}", None)
    wanted = lambda name: bool(_TARBALL.fullmatch(name))  # noqa: E731
    files = await to_thread.run_sync(extract, deb, wanted, tree.parent / "debs")
    if not files:
        raise KernelUnfit(f"the package {package.name} {package.version} holds no source tarball")
    deb.unlink()
    await unpack_tarball(files[0], tree, f"linux {_upstream(package)}", progress)
    shutil.rmtree(tree.parent / "debs", ignore_errors=True)


async def _fill_from_git(url: str, ref: str, commit: str, tree: Path, progress: Progress) -> None:
    def tell(line: str) -> None:
        if match := _RECEIVED.search(line):
            progress(f"fetching {url}: {match[1].lower()}", int(match[2]) / 100)

    progress(f"fetching {url}", None)
    git = ["git", "-C", str(tree)]
    status, tail = await stream(["git", "init", "-q", str(tree)], seconds=_QUICK_SECONDS, env=_GIT)
    for name in dict.fromkeys((ref, commit)) if not status else ():
        argv = [*git, "fetch", "--progress", "--depth=1", "--no-tags", "--", url, name]
        status, tail = await stream(argv, seconds=_FETCH_SECONDS, env=_GIT, on_line=tell)
        if not status:
            argv = [*git, "rev-parse", "FETCH_HEAD^{commit}"]
            _, got = await stream(argv, seconds=_QUICK_SECONDS, env=_GIT)
            if got == [commit]:
                argv = [*git, "checkout", "-q", "--progress", commit]
                status, tail = await stream(argv, seconds=_FETCH_SECONDS, env=_GIT, on_line=tell)
                break
            tail = [f"{ref} is no longer {commit}"]
            status = 1
    if status:
        raise HostUnfit(
            f"git:{url}#{ref} could not be fetched: {_last(tail)}",
            hint="check the address and the network",
        )
    # Without history the tree is a third smaller, and its build asks git for no version.
    await to_thread.run_sync(shutil.rmtree, tree / ".git")


async def _fill_from_tar(url: str, checksum: str, tree: Path, progress: Progress) -> None:
    name = url.rpartition("/")[2] or "the tarball"
    file = tree.parent / "tarball"
    got = await download(url, file, label=name, progress=progress)
    if got != checksum:
        raise KernelUnfit(
            f"{url} has the checksum {got}, and {checksum} was asked for",
            hint="the file is damaged, was changed, or the checksum is another file's",
        )
    await unpack_tarball(file, tree, name, progress)
    file.unlink()


async def _stays(tree: Path, progress: Progress) -> None:
    raise AssertionError("a folder of the user's is not copied")


async def _quiet(
    argv: list[str],
    *,
    on_line: Callable[[str], None] | None = None,
    sink: Callable[[bytes], object] | None = None,
) -> int:
    """Run git if there is one: a folder without git is identified by walking it."""
    if shutil.which("git") is None:
        return 1
    status, _ = await stream(argv, seconds=_QUICK_SECONDS, env=_GIT, on_line=on_line, sink=sink)
    return status


def _walk_digest(folder: Path) -> str:
    found = hashlib.sha256()
    for name in _files(folder):
        found.update(_stat_line(folder, name))
    return found.hexdigest()


def _files(folder: Path) -> Iterator[str]:
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name != ".git")
        for name in sorted(names):
            if not name.endswith(_BUILD_PRODUCTS):
                yield os.path.relpath(os.path.join(where, name), folder)


def _stat_line(folder: Path, name: str) -> bytes:
    try:
        status = os.lstat(folder / name)
    except OSError:  # gone meanwhile: the build will tell
        return os.fsencode(name) + b"\0-\n"
    return os.fsencode(name) + f"\0{status.st_size} {status.st_mtime_ns}\n".encode()


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _upstream(package: PackageVersion) -> str:
    return ".".join(map(str, debian.numbers(package.version)))


def _same(path: str, folder: Path) -> bool:
    return os.path.realpath(path) == os.path.realpath(folder)


def _begins(file: Path, magic: bytes) -> bool:
    with file.open("rb") as opened:
        return opened.read(len(magic)) == magic


def _last(tail: list[str]) -> str:
    """The line that says most about a failure: git's and tar's own word for it, else the last."""
    marks = ("fatal: ", "error: ", "tar: ", "xz: ")
    told = [line for line in tail if line.startswith(marks)]
    return (told or tail or ["it printed nothing"])[0][:400]
