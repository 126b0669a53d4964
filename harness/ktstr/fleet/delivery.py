# SPDX-License-Identifier: GPL-2.0-only
"""What comes back from a worker: a run's files, each with its digest, inline or by fsspec.

A file is written under another name first and then renamed; a manifest, with the digests of all,
is written last. Where the manifest is, everything is.
"""

import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ktstr.errors import HostUnfit, OutputUnwritable
from ktstr.telemetry.decode import Fields

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

INLINE_BYTES: Final = 32 << 20
"""Most bytes of files that come back with a result; the scheduler passes them on."""

MANIFEST: Final = "manifest.json"
MAX_FILES: Final = 10_000


@dataclass(frozen=True, slots=True)
class Made:
    """A file that a run left.

    :param name: where it lies, seen from the run's folder.
    :param size: its length, bytes.
    :param digest: SHA-256 of its content, in hexadecimal.
    """

    name: str
    size: int
    digest: str

    @classmethod
    def from_json(cls, values: object, subject: str) -> "Made":
        """The file that a worker or a manifest tells of.

        :raise RecordError: when it is none, or would lie outside the run's folder.
        """
        found = Fields(values, subject)
        name = found.text("name", 1024)
        parts = Path(name).parts
        if not parts or name.startswith("/") or "\0" in name or ".." in parts:
            found.refuse("name", name, "a path inside the run's folder")
        made = cls(name, found.integer("size", 0, 1 << 50), found.text("digest", 64))
        found.done()
        return made


def made_in(folder: Path) -> list[Made]:
    """The files of a run, small ones and records first; blocks."""
    found = []
    for path in sorted(_files(folder)):
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        found.append(Made(str(path.relative_to(folder)), path.stat().st_size, digest))
    return sorted(found, key=lambda made: ("/" in made.name, made.size))


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            yield path


def inline(folder: Path, files: Sequence[Made], most: int = INLINE_BYTES) -> dict[str, bytes]:
    """The contents of as many of the files as may come back with the result; blocks."""
    found: dict[str, bytes] = {}
    left = most
    for made in files:
        if made.size <= left:
            left -= made.size
            found[made.name] = (folder / made.name).read_bytes()
    return found


def unpack(made: Made, content: bytes, folder: Path) -> Path:
    """Write a file that came, whole or not at all; blocks.

    :raise HostUnfit: when it is not what was announced.
    :raise OutputUnwritable: when the folder refuses.
    """
    check(made, content)
    target = folder / made.name
    fresh = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with fresh.open("xb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        fresh.replace(target)
    except OSError as error:
        with suppress(OSError):
            fresh.unlink()
        raise OutputUnwritable(
            f"{made.name} cannot be written to {folder}: {error.strerror}",
            hint="free space there, or choose another folder with --out",
        ) from error
    return target


def check(made: Made, content: bytes) -> None:
    """Hold what came against what was announced.

    :raise HostUnfit: when it is something else.
    """
    if len(content) != made.size or hashlib.sha256(content).hexdigest() != made.digest:
        raise HostUnfit(
            f"{made.name} came damaged: {len(content)} bytes of {made.size}, or another content",
            hint="run the cell again with --resume",
        )


def storage(url: str, writable: bool = False) -> tuple["AbstractFileSystem", str]:
    """The file system that an address means, and the folder in it.

    :raise HostUnfit: when there is none, or what speaks with it is not installed.
    """
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise HostUnfit(
            f"--artifacts {url}: fsspec is not installed", hint="pip install 'ktstr[fleet]'"
        ) from error
    try:
        found: tuple[AbstractFileSystem, str] = url_to_fs(url)
        if writable:
            found[0].makedirs(found[1], exist_ok=True)
    except (ImportError, ValueError, OSError) as error:
        raise HostUnfit(
            f"--artifacts {url}: {error}",
            hint="memory:// and file:/// are always there; s3:// needs s3fs on every machine",
        ) from error
    return found


def push(url: str, folder: Path, files: Sequence[Made]) -> None:
    """Write a run's files below an address, the manifest last; blocks.

    :raise HostUnfit: when they cannot be written.
    """
    system, root = storage(url, writable=True)
    try:
        for made in files:
            _put(system, f"{root}/{made.name}", (folder / made.name).read_bytes())
        manifest = {"files": [asdict(made) for made in files]}
        _put(system, f"{root}/{MANIFEST}", json.dumps(manifest, indent=1).encode())
    except OSError as error:
        raise HostUnfit(f"the results cannot be written to {url}: {error}") from error


def _put(system: "AbstractFileSystem", target: str, content: bytes) -> None:
    # Where a file can be seen half-written it gets its name when it is whole; an object store
    # shows an object only then.
    if "file" not in _protocols(system):
        system.makedirs(target.rpartition("/")[0], exist_ok=True)
        system.pipe_file(target, content)
        return
    fresh = f"{target}.{secrets.token_hex(4)}.part"
    system.makedirs(target.rpartition("/")[0], exist_ok=True)
    system.pipe_file(fresh, content)
    os.replace(fresh, target)


def _protocols(system: "AbstractFileSystem") -> Sequence[str]:
    protocol: Any = system.protocol
    return (protocol,) if isinstance(protocol, str) else tuple(protocol)


def fetch(url: str, made: Made) -> bytes:
    """A file below an address, held against its digest; blocks.

    :raise HostUnfit: when it is not there or is another.
    """
    system, root = storage(url)
    try:
        content = bytes(system.cat_file(f"{root}/{made.name}"))
    except OSError as error:
        raise HostUnfit(f"{made.name} cannot be read from {url}: {error}") from error
    check(made, content)
    return content


def complete(url: str) -> list[Made] | None:
    """The files of a run below an address; None when they were never all written. Blocks.

    :raise HostUnfit: when what is there cannot be read.
    """
    system, root = storage(url)
    try:
        text = bytes(system.cat_file(f"{root}/{MANIFEST}"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise HostUnfit(f"{url} cannot be read: {error}") from error
    try:
        listed = json.loads(text)["files"][:MAX_FILES]
    except (ValueError, KeyError, TypeError) as error:
        raise HostUnfit(f"{url}/{MANIFEST} is no manifest: {error}") from error
    return [Made.from_json(values, f"{url}/{MANIFEST}") for values in listed]
