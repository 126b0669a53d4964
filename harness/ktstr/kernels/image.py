# SPDX-License-Identifier: GPL-2.0-only
"""The x86 bzImage: its setup header and its compressed payload.

Layout: Documentation/arch/x86/boot.rst of the kernel ("The Real-Mode Kernel Header"); payload
formats: scripts/Makefile.lib. All but gzip have the unpacked size appended as a u32, and gzip
ends with it by definition, so the last four bytes always tell how much must come out.
"""

import bz2
import lzma
import mmap
import shutil
import struct
import subprocess
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from ktstr.errors import HostUnfit
from ktstr.kernels.elf import Elf, ImageError

MAX_IMAGE = 2 << 30
_CHUNK = 1 << 16
_MAGICS = (
    (b"\x1f\x8b\x08", "gzip"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\x02\x21\x4c\x18", "lz4"),
    (b"\x89LZO", "lzo"),
    (b"BZh", "bzip2"),
    (b"\x5d\x00\x00", "lzma"),
    (b"\x7fELF", "none"),
)
_PROGRAMS = {"zstd": "zstd", "lz4": "lz4", "lzo": "lzop"}
_UNPACK_SECONDS = 120.0


class _Decompressor(Protocol):
    def decompress(self, data: bytes, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class BootHeader:
    """What the setup header of a bzImage tells.

    :param release: first word of the version string, or ``None`` when the image has none.
    :param offset: of the payload in the file, bytes.
    :param length: of the payload, bytes.
    """

    release: str | None
    offset: int
    length: int


@contextmanager
def mapped(path: Path) -> Iterator[mmap.mmap]:
    """Map a file read-only.

    :raise ImageError: it is empty or larger than any kernel.
    """
    with path.open("rb") as file:
        size = path.stat().st_size
        if not 0 < size <= MAX_IMAGE:
            raise ImageError(f"{size} bytes long, which no kernel image is")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield data


def read_header(data: mmap.mmap | bytes) -> BootHeader | None:
    """Read the setup header; ``None`` when *data* is not a bzImage.

    :raise ImageError: it is one, but too old to carry a payload or cut short.
    """
    if len(data) < 0x250 or data[0x202:0x206] != b"HdrS":
        return None
    (version,) = struct.unpack_from("<H", data, 0x206)
    if version < 0x208:
        raise ImageError(f"boot protocol {version >> 8}.{version & 255:02} has no payload fields")
    (text_at,) = struct.unpack_from("<H", data, 0x20E)
    release = None
    if text_at:
        text = bytes(data[text_at + 0x200 : text_at + 0x200 + 256]).split(b"\0")[0]
        release = text.decode("ascii", "replace").partition(" ")[0] or None
    offset, length = struct.unpack_from("<II", data, 0x248)
    start = ((data[0x1F1] or 4) + 1) * 512 + offset
    if length < 8 or start + length > len(data):
        raise ImageError(
            f"the payload ({length} bytes at {start:#x}) is not inside the file of {len(data)}"
            " bytes: the image is cut short"
        )
    return BootHeader(release, start, length)


def compression_of(payload: bytes) -> str | None:
    """Name the format of a payload by its magic number; ``None`` when it is none we know."""
    return next((name for magic, name in _MAGICS if payload.startswith(magic)), None)


def unpack(data: mmap.mmap | bytes, header: BootHeader, dest: Path) -> str | None:
    """Decompress the payload of a bzImage to *dest* as a plain ELF file.

    Returns the compression, or ``None`` when it is unknown (then nothing is written).

    :raise ImageError: the payload is damaged or is no ELF file.
    :raise HostUnfit: the program that unpacks this format is not installed, or failed to write.
    """
    payload = bytes(data[header.offset : header.offset + header.length])
    kind = compression_of(payload)
    if kind is None:
        return None
    with dest.open("wb") as out:
        if kind == "none":
            out.write(payload)
        else:
            (expected,) = struct.unpack_from("<I", payload, len(payload) - 4)
            _decompress(kind, payload, expected, out)
            if out.tell() != expected:
                raise ImageError(
                    f"the {kind} payload unpacks to {out.tell()} bytes, its trailer says {expected}"
                )
    with mapped(dest) as vmlinux:
        extent = Elf(vmlinux).extent()
    with dest.open("r+b") as out:
        out.truncate(extent)
    return kind


def _decompress(kind: str, payload: bytes, expected: int, out: IO[bytes]) -> None:
    if kind in _PROGRAMS:
        _pipe(kind, memoryview(payload)[:-4], out)
        return
    decoder: _Decompressor
    if kind == "gzip":
        decoder = zlib.decompressobj(31)
    elif kind == "bzip2":
        decoder = bz2.BZ2Decompressor()
    else:
        decoder = lzma.LZMADecompressor(
            lzma.FORMAT_XZ if kind == "xz" else lzma.FORMAT_ALONE, memlimit=256 << 20
        )
    try:
        for at in range(0, len(payload), _CHUNK):
            out.write(decoder.decompress(payload[at : at + _CHUNK]))
            if out.tell() > expected or getattr(decoder, "eof", False):
                return
    except (zlib.error, lzma.LZMAError, OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk, not the data: bz2 raises OSError without a number for bad data
        raise ImageError(f"the {kind} payload is damaged: {error}") from error


def _pipe(kind: str, payload: memoryview, out: IO[bytes]) -> None:
    program = shutil.which(_PROGRAMS[kind])
    if program is None:
        raise HostUnfit(
            f"the kernel image is compressed with {kind} and there is no `{_PROGRAMS[kind]}`"
            " program to unpack it",
            hint=f"apt-get install {_PROGRAMS[kind]}",
        )
    try:
        done = subprocess.run(
            [program, "-dcq"],
            input=payload,
            stdout=out,
            stderr=subprocess.PIPE,
            timeout=_UNPACK_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise HostUnfit(
            f"{program} did not unpack the kernel within {_UNPACK_SECONDS:.0f} s",
            hint="the machine is overloaded: try again",
        ) from error
    out.seek(0, 2)
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip()[:300]
        if "No space left" in said:
            raise HostUnfit(f"{program} could not write {out.name}: {said}", hint="free disk space")
        raise ImageError(f"the {kind} payload is damaged: {said}")
