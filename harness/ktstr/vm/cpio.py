# SPDX-License-Identifier: GPL-2.0-only
"""Writing an initramfs: a cpio archive in the kernel's "newc" form, the same bytes every time.

Format: Documentation/driver-api/early-userspace/buffer-format.rst in the kernel tree.
"""

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Literal, Self

_MAGIC = b"070701"
_TRAILER = "TRAILER!!!"
_MAX_BYTES = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class Entry:
    """One member of an archive; owner is root, the time stamp is the epoch.

    :param path: relative to the root of the archive.
    :param mode: file type and permissions, as in ``st_mode``.
    :param data: a file's content, a symlink's target.
    :param device: major and minor number of a device node.
    :raises ValueError: when the path is absolute, empty or leaves the archive, or the data do not
        fit the format.
    """

    path: str
    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        path = PurePosixPath(self.path)
        if path.is_absolute() or ".." in path.parts or self.path in (".", "") or "\0" in self.path:
            raise ValueError(f"archive path {self.path!r} must be relative and inside the archive")
        if str(path) != self.path:
            raise ValueError(f"archive path {self.path!r} must be written {str(path)!r}")
        if len(self.data) > _MAX_BYTES:
            raise ValueError(f"archive member {self.path!r}: the format ends at 4 GiB")

    @classmethod
    def file(cls, path: str, data: bytes, mode: int = 0o644) -> Self:
        """A regular file."""
        return cls(path, stat.S_IFREG | mode, data)

    @classmethod
    def directory(cls, path: str, mode: int = 0o755) -> Self:
        """A folder."""
        return cls(path, stat.S_IFDIR | mode)

    @classmethod
    def symlink(cls, path: str, target: str) -> Self:
        """A symbolic link."""
        return cls(path, stat.S_IFLNK | 0o777, target.encode())

    @classmethod
    def node(
        cls, path: str, kind: Literal["char", "block"], major: int, minor: int, mode: int = 0o600
    ) -> Self:
        """A device node."""
        kind_bits = stat.S_IFCHR if kind == "char" else stat.S_IFBLK
        return cls(path, kind_bits | mode, device=(major, minor))


def with_parents(entries: Iterable[Entry]) -> list[Entry]:
    """The entries in path order, with the folders they miss.

    The kernel drops a member whose folder it has not seen yet, without a word.

    :raises ValueError: when two different entries claim one path.
    """
    members: dict[str, Entry] = {}
    for entry in entries:
        if members.setdefault(entry.path, entry) != entry:
            raise ValueError(f"archive path {entry.path!r} is claimed by two different entries")
    for name in list(members):
        for parent in PurePosixPath(name).parents:
            if str(parent) != ".":
                members.setdefault(str(parent), Entry.directory(str(parent)))
    return [members[name] for name in sorted(members, key=lambda name: name.split("/"))]


def write_cpio(path: Path, entries: Iterable[Entry]) -> None:
    """Write an archive with all the folders it needs, replacing ``path`` once it is complete.

    Its size is a multiple of 4, so that several in a row make one initramfs.

    :raises ValueError: when two different entries claim one path.
    :raises OSError: when the archive cannot be written.
    """
    members = with_parents(entries)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with scratch.open("wb") as out:
            for inode, entry in enumerate(members, start=1):
                _header(out, entry.path, inode, entry.mode, len(entry.data), entry.device)
                out.write(entry.data)
                _pad(out)
            _header(out, _TRAILER, 0, 0, 0, (0, 0))
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def _header(
    out: BinaryIO, path: str, inode: int, mode: int, size: int, device: tuple[int, int]
) -> None:
    name = path.encode() + b"\0"
    links = 2 if stat.S_ISDIR(mode) else 1
    # ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
    fields = (inode, mode, 0, 0, links, 0, size, 0, 0, *device, len(name), 0)
    out.write(_MAGIC + b"".join(b"%08X" % field for field in fields) + name)
    _pad(out)


def _pad(out: BinaryIO) -> None:
    out.write(bytes(-out.tell() % 4))
