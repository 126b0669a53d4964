# SPDX-License-Identifier: GPL-2.0-only
"""Kernel source trees: from what the user names to a tree on disk, unpacked once.

::

    ROOT/sources/DIGEST/{source.json, tree/}    written aside, then renamed
    ROOT/locks/source-DIGEST.lock               shared by users, alone to remove

A folder of the user's (``path:DIR``) stays where it is.
"""

import json
import os
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from anyio import to_thread

from ktstr.errors import HostUnfit, KernelUnfit
from ktstr.kernels import debian
from ktstr.kernels.apt import AptState, Progress
from ktstr.kernels.build.origins import (
    NoSuchSource,
    Origin,
    debian_origin,
    git_origin,
    tar_origin,
    tree_origin,
)
from ktstr.kernels.cache import KernelCache
from ktstr.kernels.kernel import Kernel
from ktstr.kernels.locks import exclusive_now, shared

KINDS = ("debian-source", "git", "tar", "path")
"""What a source specification can begin with."""

SOURCE_FORMS = "debian-source:VERSION, git:URL#REF, tar:URL#sha256=HEX, path:DIR"

_VERSION_LINE = re.compile(r"^(VERSION|PATCHLEVEL|SUBLEVEL|EXTRAVERSION)[ \t]*=[ \t]*(\S*)", re.M)
_IN_PLACE = (".config", "include/config", "arch/x86/include/generated")
_UNPACK_SECONDS = 3600.0
_MAX_MAKEFILE = 1 << 20


@dataclass(frozen=True, slots=True)
class SourceTree:
    """The source of one kernel, on disk.

    :param path: the folder with the kernel's top Makefile.
    :param version: upstream version, as ``make kernelversion`` prints it.
    :param digest: identity of the content, hexadecimal; not a hash over the files.
    :param facts: where it came from, for a kernel's ``origin``.
    :param kept: it lies in the cache, where nobody changes it.
    :param notes: what the user should know about how it was chosen.
    """

    path: Path
    version: str
    digest: str
    facts: Mapping[str, str]
    kept: bool = True
    notes: tuple[str, ...] = ()


def is_source_tree(path: Path) -> bool:
    """Whether *path* is the top folder of a kernel source tree."""
    return all((path / name).is_file() for name in ("Makefile", "Kconfig", "arch/x86/Kconfig"))


def is_source_spec(spec: str) -> bool:
    """Whether *spec* names a source to build from rather than a kernel that is built."""
    kind, colon, value = spec.partition(":")
    if not colon or kind not in KINDS:
        return False
    return kind != "path" or is_source_tree(Path(os.path.expanduser(value)))


def configured_in(tree: Path) -> str | None:
    """What a make in *tree* has left there; the kernel's make then refuses any other folder."""
    return next((name for name in _IN_PLACE if (tree / name).exists()), None)


def version_of(tree: Path) -> str:
    """The version that the tree's top Makefile states.

    :raise KernelUnfit: it states none.
    """
    try:
        with (tree / "Makefile").open(encoding="utf-8", errors="replace") as file:
            text = file.read(_MAX_MAKEFILE)
    except OSError as error:
        raise KernelUnfit(f"{tree} is no kernel source: its Makefile: {error.strerror}") from error
    fields = {match[1]: match[2] for match in _VERSION_LINE.finditer(text)}
    numbers = [fields.get(name, "") for name in ("VERSION", "PATCHLEVEL", "SUBLEVEL")]
    if not all(number.isdecimal() for number in numbers[:2]):
        raise KernelUnfit(f"{tree} is no kernel source: its Makefile states no VERSION")
    return ".".join(number for number in numbers if number) + fields.get("EXTRAVERSION", "")


async def ensure_source(
    spec: str,
    *,
    cache: KernelCache,
    progress: Progress,
    apt: AptState | None = None,
) -> SourceTree:
    """The tree *spec* means, fetched and unpacked when the cache does not have it.

    :param spec: one of :data:`SOURCE_FORMS`.
    :param apt: the package state to fetch through; default: the cache's own.
    :raise KernelUnfit: there is no such source, or it is not a kernel's.
    :raise HostUnfit: this machine cannot fetch, unpack or store it.
    """
    origin = await find_origin(spec, cache=cache, progress=progress, apt=apt)
    return await realize(origin, cache=cache, progress=progress)


@asynccontextmanager
async def open_source(
    spec: str, *, cache: KernelCache, progress: Progress
) -> AsyncIterator[SourceTree]:
    """:func:`ensure_source`, with the tree held in the cache inside the block."""
    tree = await ensure_source(spec, cache=cache, progress=progress)
    with locked(tree, cache):
        yield tree


async def find_origin(
    spec: str, *, cache: KernelCache, progress: Progress, apt: AptState | None = None
) -> Origin:
    """What *spec* means, with its digest, before anything large is fetched.

    :raise KernelUnfit: there is no such source.
    :raise HostUnfit: this machine cannot find out.
    """
    kind, _, value = spec.partition(":")
    if kind == "debian-source":
        try:
            return await debian_origin(spec, value, apt or AptState(cache.apt_root), progress)
        except HostUnfit as error:
            kept = _newest_kept(cache, value)
            if kept is None:
                raise
            note = f"the source in the cache is used: {error.message}"
            return Origin(kept.digest, kept.facts, _nothing_to_do, notes=(note,))
    if kind == "git":
        return await git_origin(spec, value)
    if kind == "tar":
        return tar_origin(spec, value)
    if kind == "path":
        folder = _absolute(value)
        if not is_source_tree(folder):
            raise KernelUnfit(f"{folder} is not the top folder of a kernel source tree")
        return await tree_origin(folder)
    raise KernelUnfit(f"unknown kernel source {spec!r}", hint=f"one of {SOURCE_FORMS}")


async def realize(origin: Origin, *, cache: KernelCache, progress: Progress) -> SourceTree:
    """The tree of *origin*, from the cache or made now.

    :raise KernelUnfit: it is not what its checksum or name says, or no kernel source.
    :raise HostUnfit: it cannot be fetched, unpacked or stored.
    """
    if origin.path is not None:
        version = version_of(origin.path)
        return SourceTree(
            origin.path, version, origin.digest, origin.facts, kept=False, notes=origin.notes
        )
    home = cache.root / "sources" / origin.digest
    async with cache.making(f"source {origin.digest}", _UNPACK_SECONDS):
        found = _load(home, origin.notes)
        if found is not None:
            written = configured_in(found.path)
            if written is None:
                return found
            progress(f"removing the source {found.version}: somebody ran make in it", None)
            await to_thread.run_sync(_give_up, found, written, cache)
        with cache.staging() as folder:
            tree = folder / "made" / "tree"
            tree.mkdir(parents=True)
            await origin.fill(tree, progress)
            version = version_of(tree)
            if not is_source_tree(tree):
                raise KernelUnfit(f"what {origin.facts['source']} holds is no kernel source tree")
            facts = {"version": version, "facts": dict(origin.facts)}
            (tree.parent / "source.json").write_text(json.dumps(facts), encoding="utf-8")
            home.parent.mkdir(parents=True, exist_ok=True)
            await to_thread.run_sync(_discard, home, cache)
            tree.parent.rename(home)
    return SourceTree(home / "tree", version, origin.digest, origin.facts, notes=origin.notes)


def _give_up(tree: SourceTree, written: str, cache: KernelCache) -> None:
    """Remove a tree of the cache that somebody ran make in.

    :raise HostUnfit: it is in use.
    """
    with exclusive_now(cache.root / "locks" / f"source-{tree.digest}.lock") as free:
        if not free:
            raise HostUnfit(
                f"{tree.path} was configured in place ({written} is there) and is in use",
                hint="try again when no other ktstr works with that source",
            )
        _discard(tree.path.parent, cache)


def _discard(home: Path, cache: KernelCache) -> None:
    """Take a tree away at once: its tens of thousands of files may take minutes to remove."""
    if not home.exists():
        return
    with cache.staging() as grave:
        home.rename(grave / "source")


async def source_of(
    kernel: Kernel, *, cache: KernelCache, progress: Progress, apt: AptState | None = None
) -> SourceTree | None:
    """The tree that *kernel* was built from; ``None`` when nobody can tell or it is gone.

    For a kernel built here that is its own source, for a prebuilt one of Debian's the
    ``linux-source`` package of the same upstream version, for a vmlinux in a build folder the
    tree the folder belongs to.

    :raise HostUnfit: there is one, but it cannot be fetched or unpacked now.
    """
    entry = next((e for e in cache.entries() if e.digest == kernel.digest), None)
    origin = entry.origin if entry is not None else {}
    if "source_digest" in origin:
        found = _load(cache.root / "sources" / origin["source_digest"], ())
        if found is not None:
            return found
        try:
            tree = await ensure_source(origin["source"], cache=cache, progress=progress, apt=apt)
        except NoSuchSource:
            return None
        return tree if tree.digest == origin["source_digest"] else None
    if "package" in origin:
        spec = "debian-source:" + ".".join(map(str, debian.numbers(origin["version"])))
        try:
            return await ensure_source(spec, cache=cache, progress=progress, apt=apt)
        except NoSuchSource:
            return None
    for folder in (kernel.image.parent, kernel.image.parent / "source"):
        if is_source_tree(folder):
            spec = f"path:{folder.resolve()}"
            return await ensure_source(spec, cache=cache, progress=progress)
    return None


@contextmanager
def locked(tree: SourceTree, cache: KernelCache) -> Iterator[None]:
    """Keep a tree of the cache from being removed inside the block.

    :raise KernelUnfit: it has been removed already.
    :raise HostUnfit: the lock could not be taken in time.
    """
    if not tree.kept:
        yield
        return
    with shared(cache.root / "locks" / f"source-{tree.digest}.lock"):
        if not tree.path.is_dir():
            raise KernelUnfit(
                f"the source {tree.version} was removed from the cache meanwhile",
                hint="run the same command again; it is fetched anew",
            )
        os.utime(tree.path.parent)
        yield


def remove_unused(cache: KernelCache) -> list[Path]:
    """Remove the trees that nobody is using, and return the folders that were removed."""
    removed: list[Path] = []
    for home in (cache.root / "sources").glob("*"):
        lock = cache.root / "locks" / f"source-{home.name}.lock"
        with exclusive_now(lock) as free:
            if free:
                _discard(home, cache)
                lock.unlink(missing_ok=True)
                removed.append(home)
    return removed


def _absolute(name: str) -> Path:
    return Path(os.path.abspath(os.path.expanduser(name)))


def _load(home: Path, notes: tuple[str, ...]) -> SourceTree | None:
    """A tree of the cache; ``None`` when there is none or what is there cannot be used."""
    try:
        data = json.loads((home / "source.json").read_text(encoding="utf-8"))
        facts = {str(k): str(v) for k, v in data["facts"].items()}
        version = str(data["version"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    if not is_source_tree(home / "tree"):
        return None
    return SourceTree(home / "tree", version, home.name, facts, notes=notes)


def _newest_kept(cache: KernelCache, wanted: str) -> SourceTree | None:
    """The newest Debian tree in the cache that *wanted* means, without any network."""
    trees = [_load(home, ()) for home in (cache.root / "sources").glob("*")]
    fit = [
        tree
        for tree in trees
        if tree is not None
        and "source_package" in tree.facts
        and debian.means(wanted, tree.version)
    ]
    return max(fit, key=lambda tree: debian.numbers(tree.version), default=None)


async def _nothing_to_do(tree: Path, progress: Progress) -> None:
    raise KernelUnfit("the source was removed from the cache meanwhile", hint="try again")
