# SPDX-License-Identifier: GPL-2.0-only
"""Files and programs of the host that a person takes along into a guest."""

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ktstr.errors import HostUnfit
from ktstr.vm.closure import library_entries
from ktstr.vm.cpio import Entry

GUEST_FOLDER: Final = "/include"
"""Where they lie, unless another place is named; it stands in the guest's PATH."""

MAX_FILES: Final = 20_000

_MOUNTED_OVER: Final = ("/proc", "/sys", "/dev", "/tmp", "/run")
_ELF: Final = b"\x7fELF"
_TERMINFO: Final = ("/etc/terminfo", "/lib/terminfo", "/usr/share/terminfo")
# A compressed archive and its files are in the guest's memory at once while it boots.
_SHARE_OF_MEMORY: Final = 0.35


@dataclass(frozen=True, slots=True)
class Include:
    """A file, program or folder of the host, and its absolute path in the guest."""

    host: Path
    guest: str


def parse_include(text: str, folder: Path) -> Include:
    """``PATH``, or ``NAME`` of a program in PATH, or either with ``:/PLACE`` in the guest.

    :param folder: where relative paths start.
    :raise HostUnfit: there is no such file, or the place cannot be in a guest.
    """
    name, colon, place = text.rpartition(":/")
    if not colon:
        name, place = text, ""
    host = folder / name
    if not host.exists() and name and "/" not in name:
        found = shutil.which(name)
        host = Path(found) if found else host
    if not name or not host.exists():
        raise HostUnfit(
            f"--include {text}: there is no such file, nor a program of that name in PATH",
            hint="name a file, a folder or a program; FILE:/PLACE puts it elsewhere in the guest",
        )
    guest = (
        os.path.normpath(f"/{place}")
        if colon
        else f"{GUEST_FOLDER}/{os.path.basename(os.path.abspath(host))}"
    )
    top = "/" + guest.lstrip("/").partition("/")[0]
    if top in ("/", "/init", "/ktstr", *_MOUNTED_OVER):
        raise HostUnfit(
            f"--include {text}: nothing can be put into {top} of a guest",
            hint=f"leave the place out ({GUEST_FOLDER}), or choose another folder",
        )
    return Include(host, "/" + guest.lstrip("/"))


def include_entries(includes: Sequence[Include], memory_mib: int, term: str = "") -> list[Entry]:
    """Archive members of all of them, programs with their libraries; blocks.

    :param memory_mib: the guest's; the files lie in it.
    :param term: the terminal whose description programs may look for.
    :raise HostUnfit: they cannot be read, or are too large for the guest.
    :raise GuestBuildFailed: a program's library is missing.
    """
    if not includes:
        return []
    packed = _Packed(memory_mib)
    programs: list[Path] = []
    for include in includes:
        try:
            for host, entry in _members(include):
                packed.add(entry)
                if entry.data[:4] == _ELF:
                    programs.append(host)
        except OSError as error:
            raise HostUnfit(f"--include {include.host}: {error.strerror}") from error
    for entry in library_entries(programs) if programs else ():
        packed.add(entry)
    for entry in _terminfo(term):
        packed.add(entry)
    return list(packed.entries.values())


class _Packed:
    """The members so far, within a guest's memory; of two in one place the first stays."""

    def __init__(self, memory_mib: int) -> None:
        self.entries: dict[str, Entry] = {}
        self._memory_mib = memory_mib
        self._size = 0

    def add(self, entry: Entry) -> None:
        """Take one more.

        :raise HostUnfit: when it is too much.
        """
        if self.entries.setdefault(entry.path, entry) is not entry:
            return
        self._size += len(entry.data)
        if len(self.entries) > MAX_FILES:
            raise HostUnfit(
                f"there are more than {MAX_FILES} files to include",
                hint="include a smaller folder, or an archive of it",
            )
        if self._size > self._memory_mib * (1 << 20) * _SHARE_OF_MEMORY:
            raise HostUnfit(
                f"the files to include take more than {self._size >> 20} MiB, too much for a guest "
                f"with {self._memory_mib} MiB, in which they lie",
                hint="give the guest more with --memory, or include less",
            )


def _members(include: Include) -> Iterator[tuple[Path, Entry]]:
    """What an include consists of: the host's files and their members."""
    base = include.guest.lstrip("/")
    if not include.host.is_dir():
        yield include.host, _file(include.host, base)
        return
    yield include.host, Entry.directory(base)
    for folder, folders, files in os.walk(include.host, onerror=_raise):
        folders.sort()
        where = Path(folder)
        for name in sorted([*folders, *files]):
            path = where / name
            member = f"{base}/{path.relative_to(include.host)}"
            if path.is_symlink():
                yield path, Entry.symlink(member, os.readlink(path))
            elif path.is_dir():
                yield path, Entry.directory(member)
            elif path.is_file():
                yield path, _file(path, member)


def _raise(error: OSError) -> None:
    raise error


def _file(path: Path, member: str) -> Entry:
    return Entry.file(member, path.read_bytes(), path.stat().st_mode & 0o777)


def _terminfo(term: str) -> Iterator[Entry]:
    """The description of a terminal, where the host's libraries look for it."""
    if not term or "/" in term or term.startswith("."):
        return
    for folder in _TERMINFO:
        path = Path(folder) / term[0] / term
        if path.is_file():
            yield Entry.file(str(path).lstrip("/"), path.read_bytes())
            return
