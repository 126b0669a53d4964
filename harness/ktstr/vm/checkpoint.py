# SPDX-License-Identifier: GPL-2.0-only
"""A checkpoint file: a guest's RAM and devices in one compressed, portable file.

Layout, little-endian. The header has the size of the whole file and, for each section, its place
and checksum::

    header      magic, version, crc32 of the header, size of the file, then of each section:
                offset u64, size u64, crc32 u32, padding u32
    data        pages that are not all zeros, in address order, packed into chunks of 16 pages,
                each chunk compressed by itself (zlib)
    manifest    JSON (checkpoint_manifest.py)
    extents     runs of neighbouring pages: guest-physical page u64, pages u64
    chunks      place of each chunk: offset u64, bytes u32, crc32 u32
    state       the devices, as QEMU's migration stream without RAM, compressed; empty without
    registers   what QEMU said about its vCPUs, compressed; empty without

A page's place in the data follows from the extents before it, so one chunk is read to read it.
"""

import os
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np

from ktstr.errors import CheckpointUnusable, OutputUnwritable
from ktstr.vm.checkpoint_manifest import Manifest
from ktstr.vm.checkpoint_ram import CHUNK, PAGE, CheckpointRam, ChunkPlace
from ktstr.vm.ram import GuestRam
from ktstr.vm.sparse import data_extents

SUFFIX: Final = ".checkpoint"
MAGIC: Final = b"KTSTRCKP"
VERSION: Final = 1

MAX_MANIFEST: Final = 1 << 20
MAX_EXTENTS: Final = 1 << 26
MAX_STATE: Final = 64 << 20
"""Bytes of the devices' state once unpacked; half a megabyte is usual."""
MAX_REGISTERS: Final = 16 << 20

LEVEL: Final = 1
"""zlib's fastest: 104 MiB of a booted guest become 24.9 MiB in 0.8 s, and 22.7 in 2.8 s at 6."""

_PREFIX = struct.Struct("<8sIIQ")
_SECTION = struct.Struct("<QQII")
_SECTIONS: Final = ("manifest", "extents", "chunks", "state", "registers")
HEADER_SIZE: Final = _PREFIX.size + len(_SECTIONS) * _SECTION.size
_CHUNK_ENTRY = struct.Struct("<QII")
_SCAN: Final = 4 << 20
_BATCH: Final = 64
_THREADS: Final = 4


def touched(ram: GuestRam) -> Iterator[tuple[int, memoryview]]:
    """The parts of a guest's RAM that it, or anybody, has touched: address and window, in order.

    Looking at the others would make the host allocate them.
    """
    extents = [list(data_extents(fd)) for fd in ram.fds]
    for segment in ram.segments:
        for start, stop in extents[segment.backing]:
            # Memory files have data in whole pages.
            first = max(start, segment.offset)
            last = min(stop, segment.offset + segment.size)
            if first < last:
                address = segment.address + first - segment.offset
                yield address, ram.view(address, last - first)


def write_checkpoint(
    target: Path,
    manifest: Manifest,
    memory: Iterable[tuple[int, memoryview]],
    state: bytes | None = None,
    registers: str | None = None,
    check: Callable[[], object] = lambda: None,
) -> int:
    """Write a checkpoint whole or not at all; blocks for about a second per 100 MiB touched.

    :param memory: pieces of guest-physical memory in address order, whole pages each, that do not
        overlap; all else is zeros.
    :param state: what QEMU wrote about the devices.
    :param registers: what QEMU says about its vCPUs.
    :param check: called now and then; whatever it raises ends the writing and leaves nothing.
    :return: bytes of the file.
    :raises OutputUnwritable: when the folder refuses.
    """
    scratch: str | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        number, scratch = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        with os.fdopen(number, "wb") as out:
            size = _Writer(out.fileno(), check).write(manifest, memory, state, registers)
            os.fsync(out.fileno())
        os.chmod(scratch, 0o644)
        os.replace(scratch, target)
        scratch = None
    except OSError as error:
        raise OutputUnwritable(
            f"the checkpoint {target} cannot be written: {error.strerror}",
            hint="free space there, or choose another folder with --out",
        ) from error
    finally:
        if scratch is not None:
            with suppress(OSError):
                os.unlink(scratch)
    return size


class _Writer:
    def __init__(self, fd: int, check: Callable[[], object]) -> None:
        self._fd = fd
        self._check = check
        self._at = HEADER_SIZE
        self._extents: list[tuple[int, int]] = []
        self._chunks = bytearray()

    def write(
        self,
        manifest: Manifest,
        memory: Iterable[tuple[int, memoryview]],
        state: bytes | None,
        registers: str | None,
    ) -> int:
        self._write_pages(memory)
        sections = {
            "manifest": manifest.to_bytes(),
            "extents": np.array(self._extents, dtype="<u8").tobytes(),
            "chunks": bytes(self._chunks),
            "state": b"" if state is None else zlib.compress(state, LEVEL),
            "registers": b"" if registers is None else zlib.compress(registers.encode(), LEVEL),
        }
        table = b""
        for name in _SECTIONS:
            data = sections[name]
            table += _SECTION.pack(self._at, len(data), zlib.crc32(data), 0)
            self._append(data)
        bare = _PREFIX.pack(MAGIC, VERSION, 0, self._at) + table
        header = _PREFIX.pack(MAGIC, VERSION, zlib.crc32(bare), self._at) + table
        _write_all(self._fd, header, 0)
        return self._at

    def _append(self, data: bytes) -> None:
        _write_all(self._fd, data, self._at)
        self._at += len(data)

    def _write_pages(self, memory: Iterable[tuple[int, memoryview]]) -> None:
        waiting = bytearray()
        threads = max(1, min(_THREADS, os.cpu_count() or 1))
        with ThreadPoolExecutor(threads) as pool:
            for run in self._runs(memory):
                waiting += run
                if len(waiting) >= _BATCH * CHUNK:
                    whole = len(waiting) // CHUNK * CHUNK
                    self._write_chunks(pool, bytes(waiting[:whole]))
                    del waiting[:whole]
            self._write_chunks(pool, bytes(waiting))

    def _write_chunks(self, pool: ThreadPoolExecutor, data: bytes) -> None:
        self._check()
        parts = [data[start : start + CHUNK] for start in range(0, len(data), CHUNK)]
        # zlib lets other threads run meanwhile.
        for packed in pool.map(_packed, parts):
            self._chunks += _CHUNK_ENTRY.pack(self._at, len(packed), zlib.crc32(packed))
            self._append(packed)

    def _runs(self, memory: Iterable[tuple[int, memoryview]]) -> Iterator[bytes]:
        """The bytes of runs of pages that are not all zeros, their places noted."""
        for address, window in memory:
            for start in range(0, len(window), _SCAN):
                part = window[start : start + _SCAN]
                yield from self._runs_of((address + start) // PAGE, part)

    def _runs_of(self, page: int, window: memoryview) -> Iterator[bytes]:
        words = np.frombuffer(window, dtype="<u8").reshape(-1, PAGE // 8)
        used = np.flatnonzero(words.any(axis=1))
        if not len(used):
            return
        breaks = np.flatnonzero(np.diff(used) != 1) + 1
        for run in np.split(used, breaks):
            first, count = int(run[0]), len(run)
            last = self._extents[-1] if self._extents else (0, 0)
            if last[1] and sum(last) == page + first:
                self._extents[-1] = (last[0], last[1] + count)
            else:
                self._extents.append((page + first, count))
            yield words[first : first + count].tobytes()


def _packed(data: bytes) -> bytes:
    return zlib.compress(data, LEVEL)


def _write_all(fd: int, data: bytes, at: int) -> None:
    view = memoryview(data)
    while view:
        done = os.pwrite(fd, view, at)
        view, at = view[done:], at + done


def is_checkpoint(path: Path) -> bool:
    """Whether a file begins as a checkpoint does; ``False`` also for what cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


class Checkpoint:
    """A checkpoint opened for reading; use it in a ``with`` block.

    Nothing the file says is believed: sizes are held against the file and against limits, and
    every part has its checksum.

    :ivar manifest: what it says about itself.
    :ivar memory: the guest's RAM, read and unpacked where it is asked for.
    :raises CheckpointUnusable: when it is none, or is damaged, saying what is wrong.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise CheckpointUnusable(f"{path}: {error.strerror}") from None
        try:
            self._sections = self._read_header()
            self.manifest = Manifest.from_bytes(self._section("manifest", MAX_MANIFEST), path)
            self.memory = self._open_memory()
        except BaseException:
            os.close(self._fd)
            raise

    def state(self) -> bytes:
        """The devices, as QEMU wrote them.

        :raises CheckpointUnusable: when there are none, or they are damaged.
        """
        if not self._sections["state"][1]:
            why = self.manifest.stateless or "it does not say why"
            raise CheckpointUnusable(
                f"{self.path} has memory only, so it cannot be resumed: {why}",
                hint="ktstr dump reads it",
            )
        return self._unpacked("state", MAX_STATE)

    def registers(self) -> str | None:
        """What QEMU said about its vCPUs; ``None`` when it was not there to ask.

        :raises CheckpointUnusable: when that is damaged.
        """
        if not self._sections["registers"][1]:
            return None
        return self._unpacked("registers", MAX_REGISTERS).decode("utf-8", "replace")

    def close(self) -> None:
        """Close the file; its memory cannot be read any more."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _read_header(self) -> dict[str, tuple[int, int, int]]:
        size = os.fstat(self._fd).st_size
        header = self._read(0, min(size, HEADER_SIZE), "its header")
        if header[: len(MAGIC)] != MAGIC:
            raise CheckpointUnusable(f"{self.path} is no checkpoint: it begins with {header[:8]!r}")
        if len(header) < HEADER_SIZE:
            raise CheckpointUnusable(f"{self.path} is cut short: it has {size} bytes")
        _, version, crc, whole = _PREFIX.unpack_from(header)
        if version != VERSION:
            raise CheckpointUnusable(
                f"{self.path} has format {version}; this ktstr reads format {VERSION}",
                hint="use the ktstr that wrote it",
            )
        bare = _PREFIX.pack(MAGIC, VERSION, 0, whole) + header[_PREFIX.size :]
        if zlib.crc32(bare) != crc:
            raise CheckpointUnusable(f"{self.path} is damaged: its header has another checksum")
        if size != whole:
            how = "cut short" if size < whole else "damaged"
            raise CheckpointUnusable(
                f"{self.path} is {how}: {size} bytes are there, {whole} were written",
                hint="copy it again",
            )
        found = {}
        for number, name in enumerate(_SECTIONS):
            at = _PREFIX.size + number * _SECTION.size
            offset, length, checksum, _ = _SECTION.unpack_from(header, at)
            if offset < HEADER_SIZE or offset + length > size:
                raise CheckpointUnusable(f"{self.path} is damaged: {name} lies outside the file")
            found[name] = (offset, length, checksum)
        return found

    def _open_memory(self) -> CheckpointRam:
        extents = np.frombuffer(self._section("extents", MAX_EXTENTS * 16), dtype="<u8")
        raw = self._section("chunks", MAX_EXTENTS * 16)
        if len(extents) % 2 or len(raw) % _CHUNK_ENTRY.size:
            raise CheckpointUnusable(f"{self.path} is damaged: its index is not whole")
        chunks = [ChunkPlace(*entry) for entry in _CHUNK_ENTRY.iter_unpack(raw)]
        return CheckpointRam(
            str(self.path),
            self.manifest.machine.segments(),
            extents.reshape(-1, 2),
            chunks,
            lambda place, what: self._read(place.offset, place.size, what),
        )

    def _section(self, name: str, most: int) -> bytes:
        offset, length, checksum = self._sections[name]
        if length > most:
            raise CheckpointUnusable(
                f"{self.path}: {name} of {length} bytes; at most {most} are read"
            )
        data = self._read(offset, length, name)
        if zlib.crc32(data) != checksum:
            raise CheckpointUnusable(f"{self.path} is damaged: {name} has another checksum")
        return data

    def _unpacked(self, name: str, most: int) -> bytes:
        unpack = zlib.decompressobj()
        try:
            data = unpack.decompress(self._section(name, most), most)
        except zlib.error as error:
            raise CheckpointUnusable(f"{self.path} is damaged: {name}: {error}") from None
        if not unpack.eof:
            raise CheckpointUnusable(f"{self.path}: {name} is longer than {most} bytes, or no end")
        return data

    def _read(self, offset: int, size: int, what: str) -> bytes:
        if self._fd < 0:
            raise CheckpointUnusable(f"{self.path} is closed")
        data = b""
        try:
            while len(data) < size and (
                more := os.pread(self._fd, size - len(data), offset + len(data))
            ):
                data += more
        except OSError as error:
            raise CheckpointUnusable(f"{self.path}: {what}: {error.strerror}") from None
        if len(data) < size:
            raise CheckpointUnusable(f"{self.path} is cut short: {what} is not whole")
        return data
