# SPDX-License-Identifier: GPL-2.0-only
"""A private apt: own sources, lists and caches under one folder; no root, nothing installed.

The system's apt configuration (proxies, certificates, time-outs) is taken over, except for its
folders and its hooks: those are meant for the system's own state. Signatures are checked by apt
as always.
"""

import json
import os
import re
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import anyio

from ktstr.errors import HostUnfit
from ktstr.kernels.deb import extract
from ktstr.kernels.locks import exclusive
from ktstr.kernels.process import Finished, run
from ktstr.kernels.sources import SUITES, debian_mirror, render_sources

__all__ = ["AptState", "PackageVersion", "Progress", "extract"]

_HELPER = "/usr/lib/apt/apt-helper"
_NOT_TAKEN_OVER = re.compile(
    r"(APT::(Update|Periodic|Archives|Architectures?|Sandbox)|DPkg|Dir|CommandLine)\b",
    re.IGNORECASE,
)
_UPDATE_SECONDS = 180.0
_FETCH_SECONDS = 900.0
_READ_SECONDS = 60.0
_RETRY_SECONDS = 600.0
_OFFLINE = "check the network, or use a kernel file (path:FILE)"

Progress = Callable[[str, float | None], None]
"""Called with a stage's text and the fraction done (``None`` when that is not known)."""


@dataclass(frozen=True, slots=True)
class PackageVersion:
    """One version of a package in one suite; *size* is the download in bytes."""

    name: str
    version: str
    suite: str
    size: int


class AptState:
    """A private apt state under *root*.

    :param etc_apt: the system's apt configuration folder, from which the mirror is derived.
    :param suites: the suites to read, newest first.
    """

    def __init__(
        self, root: Path, *, etc_apt: Path = Path("/etc/apt"), suites: Sequence[str] = SUITES
    ) -> None:
        self.root = root
        self.suites = tuple(suites)
        self._etc_apt = etc_apt
        self._lists = root / "lists"
        self._answers = root / "answers.json"
        self._stamp = root / "refreshed"
        self._failed = root / "refresh-failed"

    def age(self) -> float | None:
        """Seconds since the index was last refreshed; ``None`` when there is none."""
        return _age(self._stamp)

    async def refresh(
        self, max_age: float = 86400.0, *, progress: Progress | None = None
    ) -> tuple[str, ...]:
        """Bring the package index up to date unless it is younger than *max_age* seconds.

        Returns notes: what could not be refreshed, while an older index is still there.

        :raise HostUnfit: there is no index and none could be fetched.
        """
        if self._fresh(max_age):
            return ()
        async with self._locked():
            if self._fresh(max_age):  # another process has just done it
                return ()
            failed = _age(self._failed)
            if self.age() is not None and failed is not None and failed < _RETRY_SECONDS:
                return (self._stale(f"the last attempt failed {failed:.0f} s ago"),)
            if progress is not None:
                progress("reading the package index", None)
            await self._configure()
            # With an older index at hand a dead network must not cost apt's patience as well.
            patience = () if self.age() is None else ("-o", "Acquire::Retries=0")
            done = await self._apt("apt-get", *patience, "update", seconds=_UPDATE_SECONDS)
            if not _reached(done.output) or not any(self._lists.glob("*Packages*")):
                if self.age() is None:
                    raise HostUnfit(
                        f"the package index could not be fetched: {done.complaints}", hint=_OFFLINE
                    )
                _write_atomically(self._failed, "")
                return (self._stale(done.complaints),)
            self._answers.unlink(missing_ok=True)
            self._failed.unlink(missing_ok=True)
            _write_atomically(self._stamp, "")
        if done.status or "W: " in done.messages:
            return (f"part of the package index is missing: {done.complaints}",)
        return ()

    async def find(self, pattern: str) -> list[PackageVersion]:
        """Packages of the index whose whole name matches the regular expression *pattern*.

        Newest suite first. Answers are kept until the next refresh, so that asking again starts
        no process.

        :raise HostUnfit: there is no index yet (call :meth:`refresh`) or apt cannot read it.
        """
        if self.age() is None:
            raise HostUnfit(f"there is no package index in {self.root}", hint=_OFFLINE)
        known = self._known()
        if pattern not in known:
            async with self._locked():
                known = {**self._known(), pattern: await self._scan(pattern)}
                plain = {k: [asdict(package) for package in v] for k, v in known.items()}
                _write_atomically(self._answers, json.dumps(plain))
        return known[pattern]

    async def fetch(
        self,
        name: str,
        dest: Path,
        *,
        suite: str | None = None,
        version: str | None = None,
        progress: Progress | None = None,
    ) -> Path:
        """Download a package into the folder *dest* and return the ``.deb``.

        :param suite: take it from this suite; else from the first one that has it.
        :param version: this version exactly.
        :raise HostUnfit: no such package, or it could not be downloaded.
        """
        known = [p for packages in self._known().values() for p in packages if p.name == name]
        for package in known or await self.find(re.escape(name)):
            if suite in (None, package.suite) and version in (None, package.version):
                return await self._download(package, dest, progress)
        wanted = name + (f" {version}" if version else "") + (f" in {suite}" if suite else "")
        raise HostUnfit(f"the package index has no {wanted}", hint="`ktstr kernel list --remote`")

    async def _download(
        self, package: PackageVersion, dest: Path, progress: Progress | None
    ) -> Path:
        wanted = f"{package.name}={package.version}"
        label = f"downloading {package.name} ({package.size / 1e6:.1f} MB)"
        with _staging(dest) as part:
            async with self._locked(), anyio.create_task_group() as group:
                await self._configure()
                if progress is not None:
                    group.start_soon(_watch_size, part, package.size, label, progress)
                done = await self._apt(
                    "apt-get", "download", wanted, seconds=_FETCH_SECONDS, cwd=Path(part)
                )
                group.cancel_scope.cancel()
            return _take_deb(part, dest, wanted, done)

    def _fresh(self, max_age: float) -> bool:
        age = self.age()
        return age is not None and age < max_age

    def _stale(self, why: str) -> str:
        days = (self.age() or 0.0) / 86400
        return f"the package index is {days:.1f} days old and was not refreshed: {why}"

    @asynccontextmanager
    async def _locked(self) -> AsyncIterator[None]:
        async with exclusive(
            self.root / "state.lock", _FETCH_SECONDS, "another ktstr is using the package index"
        ):
            yield

    async def _apt(self, *argv: str, seconds: float, cwd: Path | None = None) -> Finished:
        env = {"APT_CONFIG": str(self.root / "apt.conf")}
        return await run(argv, seconds, env=env, cwd=cwd, hint=_OFFLINE)

    async def _configure(self) -> None:
        """Write the private sources list and an apt.conf that replaces the system's."""
        for folder in (self._lists / "partial", self.root / "cache"):
            folder.mkdir(parents=True, exist_ok=True)
        sources = render_sources(debian_mirror(self._etc_apt), self.suites)
        _write_atomically(self.root / "private.sources", sources)
        system = await run(["apt-config", "dump"], _READ_SECONDS)
        if system.status:
            raise HostUnfit(f"`apt-config dump` failed: {system.complaints}")
        own = {
            "Dir": "/",
            "Dir::State::lists": self._lists,
            "Dir::State::status": "/dev/null",
            "Dir::Cache": self.root / "cache",
            # pkgcache.bin alone makes downloads start in 0.4 s; a second 50 MB copy gains nothing.
            "Dir::Cache::srcpkgcache": "",
            "Dir::Etc::sourcelist": self.root / "private.sources",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::Etc::main": "/dev/null",
            "Dir::Etc::parts": "/dev/null",
            "Dir::Etc::preferences": "/dev/null",
            "Dir::Etc::preferencesparts": "/dev/null",
            "Acquire::Languages": "none",
            "APT::Architecture": "amd64",
            # The unprivileged download user cannot write to a private folder.
            "APT::Sandbox::User": "root",
        }
        lines = [line for line in system.output.splitlines() if not _NOT_TAKEN_OVER.match(line)]
        lines += [f'{key} "{value}";' for key, value in own.items()]
        _write_atomically(self.root / "apt.conf", "\n".join(lines) + "\n")

    async def _scan(self, pattern: str) -> list[PackageVersion]:
        wanted = re.compile(rb"\nPackage: (?:" + pattern.encode() + rb")\n")
        fields = ("indextargets", "--format", "$(RELEASE)|$(FILENAME)", "Created-By: Packages")
        targets = await self._apt("apt-get", *fields, seconds=_READ_SECONDS)
        if targets.status:
            raise HostUnfit(f"`apt-get indextargets` failed: {targets.complaints}")
        found: list[PackageVersion] = []
        for line in targets.output.splitlines():
            suite, _, file = line.partition("|")
            scan = _IndexScan(wanted, suite)
            done = await run([_HELPER, "cat-file", file], _READ_SECONDS, sink=scan.feed)
            if done.status:
                raise HostUnfit(
                    f"the package index {file} cannot be read: {done.complaints}",
                    hint=f"remove {self.root} and try again",
                )
            found += scan.finish()
        order = {suite: i for i, suite in enumerate(self.suites)}
        return sorted(found, key=lambda p: (order.get(p.suite, len(order)), p.name))

    def _known(self) -> dict[str, list[PackageVersion]]:
        try:
            data = json.loads(self._answers.read_text(encoding="utf-8"))
            return {k: [PackageVersion(**p) for p in v] for k, v in data.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}  # absent or damaged: the scan fills it again


class _IndexScan:
    """Finds packages in a Packages index that arrives in pieces (65 MB for sid, never whole)."""

    def __init__(self, wanted: re.Pattern[bytes], suite: str) -> None:
        self._wanted = wanted
        self._suite = suite
        self._rest = b"\n"
        self._found: list[PackageVersion] = []

    def feed(self, chunk: bytes) -> None:
        head, end, self._rest = (self._rest + chunk).rpartition(b"\n\n")
        if end:
            self._rest = b"\n" + self._rest
            self._search(head + b"\n\n")

    def finish(self) -> list[PackageVersion]:
        self._search(self._rest + b"\n\n")
        return self._found

    def _search(self, block: bytes) -> None:
        for match in self._wanted.finditer(block):
            start = max(0, block.rfind(b"\n\n", 0, match.start() + 1))
            stanza = block[start : block.index(b"\n\n", match.end() - 1)].decode("utf-8", "replace")
            fields = dict(line.partition(": ")[::2] for line in stanza.splitlines())
            size = fields.get("Size", "")
            if fields.get("Version") and size.isdecimal():
                self._found.append(
                    PackageVersion(fields["Package"], fields["Version"], self._suite, int(size))
                )


def _reached(output: str) -> bool:
    """Whether ``apt-get update`` got the Release file of any suite, by its progress lines.

    Its status and warnings do not tell: it calls success what used old files throughout.
    """
    lines = re.findall(r"^(Get|Hit|Ign|Err):(\d+) .*\b(?:In)?Release\b", output, re.MULTILINE)
    failed = {number for word, number in lines if word in ("Ign", "Err")}
    return any(number not in failed for _, number in lines)


def _age(stamp: Path) -> float | None:
    try:
        return max(0.0, time.time() - stamp.stat().st_mtime)
    except FileNotFoundError:
        return None


def _staging(dest: Path) -> "tempfile.TemporaryDirectory[str]":
    dest.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryDirectory(prefix=".fetch-", dir=dest)


def _take_deb(part: str, dest: Path, wanted: str, done: Finished) -> Path:
    files = sorted(Path(part).glob("*.deb"))
    if done.status or len(files) != 1:
        raise HostUnfit(f"{wanted} could not be downloaded: {done.complaints}", hint=_OFFLINE)
    return files[0].replace(dest / files[0].name)


async def _watch_size(folder: str, size: int, label: str, progress: Progress) -> None:
    while True:
        progress(label, min(1.0, _bytes_below(folder) / size) if size else None)
        await anyio.sleep(0.1)


def _bytes_below(folder: str) -> int:
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(where, name)).st_size
            except FileNotFoundError:  # apt renamed it
                continue
    return total


def _write_atomically(path: Path, text: str) -> None:
    """Replace *path*; only the owner may read it (proxy settings may hold credentials)."""
    fd, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
