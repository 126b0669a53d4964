# SPDX-License-Identifier: GPL-2.0-only
"""Take single files out of a Debian package without installing it."""

import subprocess
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath

from ktstr.errors import HostUnfit

MAX_FILE = 1 << 30
_CHUNK = 1 << 20


def extract(deb: Path, wanted: Callable[[str], bool] | Iterable[str], dest: Path) -> list[Path]:
    """Unpack the wanted regular files of *deb* below *dest*, keeping their paths.

    Links, devices and names that leave *dest* are never unpacked; permissions are the caller's.

    :param wanted: a predicate on paths without leading ``./``, or the paths themselves.
    :raise HostUnfit: ``dpkg-deb`` is missing, or the package is damaged.
    """
    keep = wanted if callable(wanted) else set(wanted).__contains__
    found: list[Path] = []
    try:
        process = subprocess.Popen(
            ["dpkg-deb", "--fsys-tarfile", str(deb)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except FileNotFoundError as error:
        raise HostUnfit(
            "`dpkg-deb` is not on this machine, and prebuilt kernels come in Debian packages",
            hint="use a kernel file (path:FILE) or this machine's own (host)",
        ) from error
    with process:
        assert process.stdout is not None and process.stderr is not None
        try:
            with tarfile.open(fileobj=process.stdout, mode="r|") as tar:
                for member in tar:
                    name = PurePosixPath(member.name)
                    if not member.isreg() or name.is_absolute() or ".." in name.parts:
                        continue
                    if keep(str(name)):
                        found.append(_write(tar, member, dest / name))
            process.stdout.read()
        except tarfile.TarError as error:
            process.kill()
            said = process.stderr.read(2000).decode("utf-8", "replace").strip()
            raise HostUnfit(f"the package {deb} is damaged: {said or error}") from error
        except BaseException:
            process.kill()
            raise
    return found


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> Path:
    if member.size > MAX_FILE:
        raise tarfile.TarError(f"{member.name} claims {member.size} bytes")
    source = tar.extractfile(member)
    if source is None:
        raise tarfile.TarError(f"{member.name} has no content")
    target.parent.mkdir(parents=True, exist_ok=True)
    with source, target.open("wb") as out:
        while chunk := source.read(_CHUNK):
            out.write(chunk)
    return target
