# SPDX-License-Identifier: GPL-2.0-only
"""Files that were sent to a worker, by content: ``blobs/DIGEST`` in its cache.

A file gets its name only when it is whole and its digest is right, so that what has a name can be
used by any run, now and later.
"""

import hashlib
import os
import shutil
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from ktstr.errors import CannotRun, HostUnfit
from ktstr.fleet.parcel import Parcel, is_digest

PART_BYTES: Final = 4 << 20
"""Bytes of a file in one message: the scheduler passes it on, and does nothing else meanwhile."""

UNUSED_S: Final = 14 * 24 * 3600.0
"""What no run has used for so long is removed when a worker starts."""

SCENARIO: Final = "scenario.toml"


class Store:
    """The files below one folder."""

    def __init__(self, root: Path) -> None:
        self._blobs = root / "blobs"
        self._staging = root / "staging"

    def lacking(self, digests: Iterable[str]) -> list[str]:
        """Which of the contents are not here."""
        return [digest for digest in digests if not self._path(digest).is_file()]

    def take(self, digest: str, sender: str, offset: int, part: bytes, size: int) -> None:
        """Take a part of a file, the parts in order; the last one gives it its name.

        :param sender: a name that no other sender of the same content has at the same time.
        :raise CannotRun: when it is not what was announced.
        :raise HostUnfit: when it cannot be written.
        """
        target = self._path(digest)
        half = self._staging / f"{digest}-{hashlib.sha256(sender.encode()).hexdigest()[:16]}"
        try:
            self._staging.mkdir(parents=True, exist_ok=True)
            with half.open("r+b" if offset else "wb") as out:
                out.seek(offset)
                out.write(part)
            if offset + len(part) < size:
                return
            with half.open("rb") as whole:
                found = hashlib.file_digest(whole, "sha256").hexdigest()
            if found != digest or half.stat().st_size != size:
                half.unlink()
                raise CannotRun("a file changed while it was sent", hint="run it again")
            target.parent.mkdir(parents=True, exist_ok=True)
            half.replace(target)
        except OSError as error:
            with suppress(OSError):
                half.unlink()
            raise HostUnfit(f"a file that was sent cannot be kept: {error.strerror}") from error

    def lay_out(self, parcel: Parcel, folder: Path) -> Path:
        """Lay a run's scenario and files out in ``folder``; the scenario's file.

        :raise CannotRun: when a file was not sent.
        :raise HostUnfit: when they cannot be written.
        """
        scenario = folder / SCENARIO
        try:
            folder.mkdir(parents=True, exist_ok=True)
            scenario.write_text(parcel.toml, "utf-8")
            for file in parcel.files:
                place = folder / file.name
                place.parent.mkdir(parents=True, exist_ok=True)
                source = self._path(file.digest)
                os.utime(source)
                # A copy: what a run's programs do to their files must not befall the next run.
                shutil.copyfile(source, place)
                place.chmod(0o755 if file.executable else 0o644)
        except FileNotFoundError as error:
            raise CannotRun(f"a file of {parcel.name} was not sent: {error.filename}") from error
        except OSError as error:
            raise HostUnfit(f"the files of a run cannot be laid out: {error.strerror}") from error
        return scenario

    def prune(self, unused_s: float = UNUSED_S) -> None:
        """Remove what was not used for long, and what was never finished."""
        before = time.time() - unused_s
        for folder in (self._blobs, self._staging):
            for path in folder.glob("*") if folder.is_dir() else ():
                with suppress(OSError):
                    if path.stat().st_mtime < before:
                        path.unlink()

    def _path(self, digest: str) -> Path:
        if not is_digest(digest):
            raise CannotRun(f"{digest!r:.80} is no digest of a file")
        return self._blobs / digest
