# SPDX-License-Identifier: GPL-2.0-only
"""A QEMU newer than the host's, unpacked in the cache out of Debian's packages; not installed."""

import hashlib
import json
import re
import shutil
import tempfile
import time
from pathlib import Path
from typing import Final

from anyio import to_thread
from platformdirs import user_cache_dir

from ktstr.errors import HostUnfit
from ktstr.kernels.apt import AptState, Progress, extract
from ktstr.kernels.locks import exclusive
from ktstr.vm.qemu import Qemu, qemu_at
from ktstr.vm.qemu_version import installed_version, shares_turns

SUITE: Final = "bookworm-backports"
"""Built against the oldest libraries, those that Debian 12's own QEMU has brought along."""

PROGRAM: Final = "usr/bin/qemu-system-x86_64"
DIGESTS: Final = "digests.json"

RETRY_SECONDS: Final = 600.0
"""How long after a failure it is not tried again, so that not every run waits for the network."""

_PACKAGE = "qemu-system-x86"
_DATA = "qemu-system-data"
# The firmware that a machine of ours runs, and the ROMs that q35 and -kernel bring in.
_WANTED = re.compile(
    rf"{PROGRAM}|usr/share/qemu/(qboot\.rom|(kvmvapic|linuxboot(_dma)?|multiboot(_dma)?|pvh)\.bin)"
    rf"|usr/share/doc/({_PACKAGE}|{_DATA})/copyright"
)
_LOCK_SECONDS = 900.0


class QemuStore:
    """The QEMUs in the cache, each in a folder that is named after its package's version.

    :param root: the cache folder, by default the user's.
    :param apt: where packages come from, by default the state that kernels come from too.
    """

    def __init__(self, root: Path | None = None, *, apt: AptState | None = None) -> None:
        cache = root if root is not None else Path(user_cache_dir("ktstr"))
        self.home = cache / "qemu"
        self._apt = apt if apt is not None else AptState(cache / "kernels" / "apt")
        self._failed = self.home / "failed"

    async def newest(self, progress: Progress | None = None, *, insist: bool = False) -> Qemu:
        """The newest QEMU in the cache; where there is none, one is fetched (12 MB).

        Every file is held against its digest, and what is damaged is fetched again.

        :param insist: try, though the last attempt has failed just now.
        :raise HostUnfit: there is none, and none can be fetched that runs here.
        """
        if found := await to_thread.run_sync(self.kept):
            return found[-1]
        async with exclusive(
            self.home / ".lock", _LOCK_SECONDS, "another ktstr is fetching a newer QEMU"
        ):
            if found := await to_thread.run_sync(self.kept):
                return found[-1]
            if not insist and (reason := self._just_failed()) is not None:
                raise HostUnfit(reason)
            try:
                made = await self._fetched(progress)
            except HostUnfit as error:
                self._failed.write_text(error.message, encoding="utf-8")
                raise HostUnfit(
                    error.message,
                    hint="install a newer QEMU, or name one with KTSTR_QEMU",
                ) from error
            self._failed.unlink(missing_ok=True)
            return made

    def kept(self) -> list[Qemu]:
        """The whole and undamaged QEMUs in the cache, the newest last."""
        folders = sorted(self.home.glob(f"*/{DIGESTS}"), key=lambda file: _order(file.parent.name))
        return [qemu_at(file.parent / PROGRAM) for file in folders if undamaged(file.parent)]

    def _just_failed(self) -> str | None:
        try:
            age = time.time() - self._failed.stat().st_mtime
            if age < RETRY_SECONDS:
                return f"{self._failed.read_text(encoding='utf-8')} ({age:.0f} s ago)"
        except OSError:
            pass
        return None

    async def _fetched(self, progress: Progress | None) -> Qemu:
        await self._apt.refresh(progress=progress)
        # Both at once: a scan of the index takes a second.
        known = await self._apt.find(f"(?:{_PACKAGE}|{_DATA})")
        versions = [p.version for p in known if (p.name, p.suite) == (_PACKAGE, SUITE)]
        if not versions:
            raise HostUnfit(f"the package index has no {_PACKAGE} in {SUITE}")
        version = versions[0]
        with tempfile.TemporaryDirectory(prefix=".new-", dir=self.home) as name:
            folder, root = Path(name), Path(name) / "root"
            for package in (_PACKAGE, _DATA):
                deb = await self._apt.fetch(
                    package, folder, suite=SUITE, version=version, progress=progress
                )
                await to_thread.run_sync(extract, deb, _is_wanted, root)
            await self._check(root, version)
            target = self.home / re.sub(r"[^\w.+~-]", "_", version.partition(":")[2] or version)
            await to_thread.run_sync(_seal, root, target)
        return qemu_at(target / PROGRAM)

    async def _check(self, root: Path, version: str) -> None:
        """Refuse a program that does not start here, or that is not what it was fetched for."""
        program = root / PROGRAM
        if not program.is_file():
            raise HostUnfit(f"{_PACKAGE} {version} has no {PROGRAM}")
        program.chmod(0o755)
        told = await installed_version(program)
        if not shares_turns(told):
            raise HostUnfit(f"{_PACKAGE} {version} in {SUITE} is QEMU {told}, no newer one")


def undamaged(folder: Path) -> bool:
    """Whether every file of an unpacked QEMU is as it was when it was fetched (20 ms)."""
    try:
        digests = json.loads((folder / DIGESTS).read_text(encoding="utf-8"))
        return PROGRAM in digests and digests == _digests(folder, digests)
    except (OSError, ValueError, TypeError):
        return False


def _is_wanted(name: str) -> bool:
    return _WANTED.fullmatch(name) is not None


def _digests(root: Path, names: object) -> dict[str, str]:
    if not isinstance(names, dict | list):
        raise TypeError("no names of files")
    found = {}
    for name in names:
        with (root / str(name)).open("rb") as file:
            found[str(name)] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _seal(root: Path, target: Path) -> None:
    """Give an unpacked QEMU its digests and, all at once, its name."""
    names = sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
    (root / DIGESTS).write_text(json.dumps(_digests(root, names), indent=1), encoding="utf-8")
    if target.exists():  # a damaged one: another would have been used
        shutil.rmtree(target)
    root.rename(target)


def _order(name: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", name))
