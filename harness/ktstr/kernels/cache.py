# SPDX-License-Identifier: GPL-2.0-only
"""The kernel cache: one folder per image digest, complete or absent, locked while used.

::

    ROOT/entries/DIGEST/{entry.json, image, vmlinux, config, modules}
                                                               written aside, then renamed
    ROOT/entries/DIGEST/tools/                                 made of its source when asked for
    ROOT/locks/DIGEST.lock                                     shared by users, alone to remove
    ROOT/staging/                                              entries being made
    ROOT/boots/DIGEST.json                                     how long it took to boot
    ROOT/apt/                                                  the private apt state
    ROOT/sources/, ROOT/builds/                                see ``ktstr.kernels.build``
"""

import errno
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from platformdirs import user_cache_dir

from ktstr.errors import HostUnfit, KernelUnfit
from ktstr.kernels.kernel import KernelFeatures
from ktstr.kernels.locks import exclusive, exclusive_now, shared

_SCHEMA = 1
_MAX_METADATA = 1 << 20
_MAKE_SECONDS = 1200.0
_STALE_STAGING_SECONDS = 6 * 3600.0
_FILES = ("image", "vmlinux", "config", "modules")


class EntryDamaged(Exception):
    """A cache entry is incomplete or not what its metadata says; the message tells how."""


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """One kernel in the cache.

    :param origin: where it came from (``package``, ``version``, ``suite`` or ``path``; of one
        that was built here ``source`` and more).
    :param made_at: Unix time it was made; *used_at*: it was last used.
    :param size: bytes on disk.
    """

    digest: str
    path: Path
    release: str
    spec: str
    origin: Mapping[str, str]
    features: KernelFeatures
    made_at: float
    used_at: float
    size: int

    def file(self, name: str) -> Path | None:
        """The entry's file *name*, one of those above, if it has one."""
        path = self.path / name
        return path if path.exists() else None


def sha256_of(path: Path) -> str:
    """Digest of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class KernelCache:
    """The kernel cache under *root* (default: ``kernels`` in the user's XDG cache folder)."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root if root is not None else Path(user_cache_dir("ktstr")) / "kernels"
        self._entries = self.root / "entries"

    @property
    def apt_root(self) -> Path:
        """Folder of the private apt state that belongs to this cache."""
        return self.root / "apt"

    def entries(self) -> list[CacheEntry]:
        """Whole entries, the most recently used first; damaged ones are left out."""
        found: list[CacheEntry] = []
        for path in self._entries.glob("*"):
            with suppress(EntryDamaged):
                found.append(self._load(path))
        return sorted(found, key=lambda entry: entry.used_at, reverse=True)

    def damaged(self) -> dict[str, str]:
        """Digest and reason of each entry that can no longer be read."""
        found: dict[str, str] = {}
        for path in self._entries.glob("*"):
            try:
                self._load(path)
            except EntryDamaged as error:
                found[path.name] = str(error)
        return found

    def find(self, digest: str) -> CacheEntry | None:
        """The entry of an image digest after checking its files; ``None`` when there is none.

        :raise EntryDamaged: there is one, but it must be made again.
        """
        path = self._entries / digest
        if not path.is_dir():
            return None
        entry = self._load(path)
        self._verify(entry)
        with suppress(OSError):  # a cache on a read-only file system still serves
            os.utime(path)
        return entry

    def salvage(self, digest: str) -> tuple[CacheEntry, dict[str, Path]] | None:
        """What is still good of a damaged entry: its metadata and the intact files by name.

        ``None`` when the metadata, the image or the modules are lost.
        """
        path = self._entries / digest
        intact: dict[str, Path] = {}
        try:
            entry = self._load(path)
            files = _metadata(path)[0]["files"]
            for name, recorded in files.items():
                with suppress(OSError):
                    if sha256_of(path / name) == recorded["sha256"]:
                        intact[name] = path / name
        except EntryDamaged:
            return None
        # Nothing else can be made again from the image.
        lost = {"image", *({"modules"} & files.keys())} - intact.keys()
        return None if lost else (entry, intact)

    def find_package(self, package: str, version: str) -> str | None:
        """Digest of the entry that was made from a package version, if there is one."""
        for entry in self.entries():
            if (entry.origin.get("package"), entry.origin.get("version")) == (package, version):
                return entry.digest
        return None

    def find_recipe(self, key: str) -> str | None:
        """Digest of the entry that was built by the recipe *key*, if there is one."""
        for entry in self.entries():
            if key in entry.origin.get("recipes", "").split():
                return entry.digest
        return None

    def tools(self, digest: str) -> Path:
        """Folder of the programs made from a kernel's source; it goes with the entry."""
        return self._entries / digest / "tools"

    @contextmanager
    def locked(self, entry: CacheEntry | str) -> Iterator[None]:
        """Keep an entry (or the one of this digest) from being removed inside the block.

        :raise KernelUnfit: it has been removed already.
        :raise HostUnfit: the lock could not be taken in time.
        """
        digest = entry if isinstance(entry, str) else entry.digest
        with shared(self._lock(digest)):
            if not (self._entries / digest).is_dir():
                raise KernelUnfit(
                    f"kernel {digest[:12]} was removed from the cache meanwhile",
                    hint="run the same command again; it is fetched anew",
                )
            yield

    def making(self, key: str, seconds: float = _MAKE_SECONDS) -> AbstractAsyncContextManager[None]:
        """Lock out other processes that make the same thing (*key*: a package or digest).

        :param seconds: how long to wait for them.
        """
        name = hashlib.sha256(key.encode()).hexdigest()[:32]
        return exclusive(
            self.root / "locks" / f"make-{name}.lock",
            seconds,
            f"another ktstr is preparing {key}",
        )

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """A folder to make an entry in, removed at the end of the block.

        :raise HostUnfit: the cache cannot be written, now or inside the block.
        """
        with self._writing():
            base = self.root / "staging"
            base.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=base, ignore_cleanup_errors=True) as folder:
                yield Path(folder)

    def commit(
        self,
        folder: Path,
        digest: str,
        *,
        spec: str,
        release: str,
        origin: Mapping[str, str],
        features: KernelFeatures,
    ) -> CacheEntry:
        """Move a staged *folder* into place as the entry *digest*, replacing a damaged one.

        :raise HostUnfit: the cache cannot be written.
        """
        with self._writing():
            files: dict[str, dict[str, Any]] = {}
            for name in _FILES:
                path = folder / name
                if path.exists():
                    _sync(path)
                    files[name] = {"sha256": sha256_of(path), **_stat(path)}
            data = {
                "schema": _SCHEMA,
                "digest": digest,
                "release": release,
                "spec": spec,
                "origin": dict(origin),
                "features": features.to_dict(),
                "files": files,
                "made_at": time.time(),
            }
            (folder / "entry.json").write_text(json.dumps(data, indent=1), encoding="utf-8")
            _sync(folder / "entry.json")
            self._entries.mkdir(parents=True, exist_ok=True)
            target = self._entries / digest
            self._discard(target)
            try:
                folder.rename(target)
            except OSError as error:
                # Another process has just made the same entry: content-addressed, so equal.
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
            _sync(self._entries)
            return self._load(target)

    def clean(self, keep: int = 0) -> tuple[list[CacheEntry], list[CacheEntry]]:
        """Remove all but the *keep* most recently used entries, and what crashes left behind.

        Returns the removed entries and those kept only because they are in use.
        """
        removed: list[CacheEntry] = []
        busy: list[CacheEntry] = []
        whole = self.entries()
        for entry in whole[keep:]:
            (removed if self._remove(entry.path) else busy).append(entry)
        for entry in removed:
            (self.root / "boots" / f"{entry.digest}.json").unlink(missing_ok=True)
        for digest in self.damaged():
            self._remove(self._entries / digest)
        for lock in (self.root / "locks").glob("make-*.lock"):
            with exclusive_now(lock) as free:
                if free:
                    lock.unlink(missing_ok=True)
        self._clean_staging()
        return removed, busy

    def in_use(self, entry: CacheEntry) -> bool:
        """Whether some process holds the entry's lock now."""
        with exclusive_now(self._lock(entry.digest)) as free:
            return not free

    def _lock(self, digest: str) -> Path:
        return self.root / "locks" / f"{digest}.lock"

    def _remove(self, path: Path) -> bool:
        lock = self._lock(path.name)
        with exclusive_now(lock) as free:
            if free:
                self._discard(path)
                lock.unlink(missing_ok=True)
        return free

    def _discard(self, path: Path) -> None:
        """Take an entry away at once, so that nobody meets half of it."""
        if not path.exists():
            return
        base = self.root / "staging"
        base.mkdir(parents=True, exist_ok=True)
        grave = Path(tempfile.mkdtemp(dir=base))
        with suppress(FileNotFoundError):
            path.rename(grave / "entry")
        shutil.rmtree(grave, ignore_errors=True)

    def _clean_staging(self) -> None:
        for path in (self.root / "staging").glob("*"):
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > _STALE_STAGING_SECONDS:
                    shutil.rmtree(path, ignore_errors=True)

    def _load(self, path: Path) -> CacheEntry:
        data, used_at = _metadata(path)
        try:
            files = data["files"]
            return CacheEntry(
                digest=path.name,
                path=path,
                release=str(data["release"]),
                spec=str(data["spec"]),
                origin={str(k): str(v) for k, v in data["origin"].items()},
                features=KernelFeatures.from_dict(data["features"]),
                made_at=float(data["made_at"]),
                used_at=used_at,
                # a vmlinux that was built here is the image itself, under a second name
                size=sum({f["sha256"]: int(f["size"]) for f in files.values()}.values()),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise EntryDamaged(f"its metadata is incomplete ({error!r})") from error

    def _verify(self, entry: CacheEntry) -> None:
        """Compare the files with the metadata.

        The image is hashed each time, because its digest goes into reports; the others only when
        their size or time changed since they were written.
        """
        files = _metadata(entry.path)[0]["files"]
        for name, recorded in files.items():
            path = entry.path / name
            try:
                same = _stat(path) == {k: recorded[k] for k in ("size", "mtime_ns")}
                if (name == "image" or not same) and sha256_of(path) != recorded["sha256"]:
                    raise EntryDamaged(f"its {name} has changed since it was written")
            except OSError as error:
                raise EntryDamaged(f"its {name} cannot be read: {error.strerror}") from error
        if "image" in files and files["image"]["sha256"] != entry.digest:
            raise EntryDamaged("its image is not the one the entry is named after")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
                raise
            raise HostUnfit(
                f"the kernel cache {self.root} cannot be written: {error.strerror}",
                hint="free disk space (`ktstr kernel clean`) or set XDG_CACHE_HOME",
            ) from error


def _metadata(path: Path) -> tuple[dict[str, Any], float]:
    """An entry's metadata and when it was last used."""
    file = path / "entry.json"
    try:
        if file.stat().st_size > _MAX_METADATA:
            raise EntryDamaged(f"its metadata is larger than {_MAX_METADATA} bytes")
        data = json.loads(file.read_text(encoding="utf-8"))
        used_at = path.stat().st_mtime
    except OSError as error:
        raise EntryDamaged(f"its metadata cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise EntryDamaged("its metadata is not JSON") from error
    if not isinstance(data, dict) or data.get("schema") != _SCHEMA:
        raise EntryDamaged("it was written by another version of ktstr")
    if data.get("digest") != path.name:
        raise EntryDamaged("its metadata belongs to another entry")
    return data, used_at


def _stat(path: Path) -> dict[str, int]:
    status = path.stat()
    return {"size": status.st_size, "mtime_ns": status.st_mtime_ns}


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
